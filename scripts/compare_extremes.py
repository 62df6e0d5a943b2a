"""Compare the radiomic features of the worst and the best cases by Cohen's d, as ``glioflow.failure.effects`` defines it.

Positive: the feature is larger where the model fails.

Inputs:  ``scores`` (the set's score table), ``extremes`` (extremes.csv), ``shards`` (the tables of extract_radiomics).
Outputs: ``radiomics`` (all cases, in the order of ``scores``) and, of the first image and region, ``effects``: feature,
         feature_group, cohens_d, mean_worst, mean_best, sd_pooled, n_worst, n_best, note; the largest effect first, undefined
         ones last.
Params:  ``region``.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.score_tables import read_scores
from glioflow.failure.effects import cohens_d
from glioflow.failure.radiomics_table import KEYS, primary_rows
from glioflow.files import read_table, write_table
from glioflow.study.feature_names import feature_columns, feature_group


def effect_table(radiomics: pd.DataFrame, extremes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``effects.csv`` from the rows of ``radiomics.csv`` and of ``extremes.csv``."""
    cases = {group: extremes.loc[extremes["group"] == group, "case_id"] for group in ("worst", "best")}
    worst, best = (radiomics[radiomics["case_id"].isin(cases[group])] for group in ("worst", "best"))
    rows = [
        {"feature": feature, "feature_group": feature_group(feature), **asdict(cohens_d(worst[feature], best[feature]))}
        for feature in feature_columns(radiomics.columns)
    ]
    table = pd.DataFrame(rows)
    order = table.assign(size=-table["cohens_d"].abs()).sort_values(["size", "feature"], na_position="last").index
    return table.loc[order].reset_index(drop=True)


def gather(case_ids: Sequence[str], extremes: Sequence[str], shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the shards' rows, case by case in the order of ``case_ids``, the set's.

    Raises ``UserError`` where one of the ``extremes`` is missing, or a row is there twice or of a case that is not the set's.
    """
    table = pd.concat([shard for shard in shards if len(shard)] or shards, ignore_index=True)
    found = set(table["case_id"])
    wrong = {*(set(extremes) - found), *(found - set(case_ids)), *table["case_id"][table.duplicated(list(KEYS))]}
    if wrong:
        raise UserError(f"the radiomics shards do not fit the set in {', '.join(sorted(wrong))}; run extract_radiomics again")
    places = {case_id: place for place, case_id in enumerate(case_ids)}
    return table.sort_values("case_id", key=lambda column: column.map(places), kind="stable").reset_index(drop=True)


def main(snakemake: Any, console: Console) -> str:
    """Write ``radiomics.csv`` and ``effects.csv``."""
    scores = read_scores(snakemake.input.scores, snakemake.params.region, ())
    extremes = read_table(snakemake.input.extremes)
    shards = [read_table(path) for path in snakemake.input.shards]
    radiomics = gather(list(scores["case_id"]), list(extremes["case_id"]), shards)
    effects = effect_table(primary_rows(radiomics), extremes)
    write_table(snakemake.output.radiomics, radiomics)
    write_table(snakemake.output.effects, effects)
    undefined = int(effects["cohens_d"].isna().sum())
    strongest = "" if undefined == len(effects) else f", the largest {effects['cohens_d'][0]:+.2f} ({effects['feature'][0]})"
    cases = radiomics["case_id"].nunique()
    return f"{count(cases, 'case')}, {len(effects) - undefined} effect sizes, {undefined} undefined{strongest}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
