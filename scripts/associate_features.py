"""Find the radiomic features that go along with the metric over all cases, and describe how they differ between the extremes.

``glioflow.failure.associations`` says how. Positive: the feature is larger where the metric is (rho), or where the model fails
(d).

Inputs:  ``scores`` (the set's score table), ``extremes`` (extremes.csv), ``shards`` (the tables of extract_radiomics).
Outputs: ``radiomics`` (all cases, in the order of ``scores``) and ``associations``: a row for each image, region and feature
         (``glioflow.failure.associations.COLUMNS``), those that go along with the metric most first.
Params:  ``rank_by`` (the metric), ``region``, ``penalised`` (``apart`` or ``include``: what is ranked is analysed), ``cases``
         (``all``, or ``extremes`` where features are of those alone).
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from glioflow.console import Console, count, run_script
from glioflow.evaluation.rankings import rank_cases
from glioflow.evaluation.score_tables import ranked_apart, read_scores
from glioflow.failure.associations import associate
from glioflow.files import PathLike, read_table, write_table
from glioflow.shards import require_each_once

VOLUME = "volume_truth_ml"


def gather(case_ids: Sequence[str], needed: Sequence[str], paths: Sequence[PathLike]) -> pd.DataFrame:
    """Return the rows of the shards' tables in the order of ``case_ids``, the set's.

    Raises ``UserError`` where one of the cases ``needed`` is missing, or a row is there twice or is not the set's.
    """
    shards = [read_table(path) for path in paths]
    table = pd.concat([shard for shard in shards if len(shard)] or shards, ignore_index=True)
    twice = set(table["case_id"][table.duplicated(["case_id", "image", "region"])])
    require_each_once(list(table["case_id"]), needed, case_ids, twice, paths)
    places = {case_id: place for place, case_id in enumerate(case_ids)}
    return table.sort_values("case_id", key=lambda column: column.map(places), kind="stable").reset_index(drop=True)


def analysed_cases(scores: pd.DataFrame, metric: str, penalised: str) -> pd.DataFrame:
    """Return case_id, patient_id and value of the cases that are ranked by the metric, the worst first.

    With ``penalised`` as ``apart`` those without one of the masks are not: the size of a penalty is no measurement that a
    feature could go along with.
    """
    ranked = rank_cases(ranked_apart(scores, penalised)[0], metric)
    return ranked[["case_id", "patient_id"]].assign(value=ranked[metric].astype(float))


def read_volumes(path: PathLike, regions: Sequence[str]) -> dict[str, pd.Series]:
    """Return the true volume by case id of each region. Raises ``UserError`` where the scores have no such region."""
    return {region: read_scores(path, region, (VOLUME,)).set_index("case_id")[VOLUME] for region in regions}


def main(snakemake: Any, console: Console) -> str:
    """Write ``radiomics.csv`` and ``associations.csv``."""
    source, params = snakemake.input, snakemake.params
    scores = read_scores(source.scores, params.region, tuple(dict.fromkeys([params.rank_by, "dice"])))
    extremes = read_table(source.extremes)
    complete = params.cases == "all"
    case_ids = list(scores["case_id"])
    needed = case_ids if complete else list(extremes["case_id"])
    radiomics = gather(case_ids, needed, source.shards)
    volumes = read_volumes(source.scores, list(dict.fromkeys(radiomics["region"])))
    table = associate(radiomics, analysed_cases(scores, params.rank_by, params.penalised), volumes, extremes, complete)
    write_table(snakemake.output.radiomics, radiomics)
    write_table(snakemake.output.associations, table)
    found, tested = int((table["q"] < 0.05).sum()), int(table["p"].notna().sum())
    patients = count(int(table.loc[table["p"].notna(), "n"].max()) if tested else 0, "patient")
    return f"{count(len(radiomics), 'case')}: {tested} of {len(table)} features tested in {patients}, {found} with q < 0.05"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
