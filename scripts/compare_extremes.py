"""Compare the radiomic features of the worst and the best cases by Cohen's d, as ``glioflow.failure.effects`` defines it.

Positive: the feature is larger where the model fails.

Inputs:  ``extremes`` (extremes.csv), ``shards`` (the tables of extract_radiomics).
Outputs: ``radiomics`` (all cases, in the order of extremes.csv) and ``effects``: feature, feature_group, cohens_d, mean_worst,
         mean_best, sd_pooled, n_worst, n_best, note; the largest effect first, undefined ones last.
Params:  none.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.failure.effects import cohens_d
from glioflow.failure.radiomics import feature_group
from glioflow.files import read_table, write_table

FEATURE_PREFIX = "original_"


def effect_table(radiomics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``effects.csv`` from the rows of ``radiomics.csv``."""
    worst, best = (radiomics[radiomics["group"] == group] for group in ("worst", "best"))
    features = [column for column in radiomics.columns if column.startswith(FEATURE_PREFIX)]
    rows = [
        {"feature": feature, "feature_group": feature_group(feature), **asdict(cohens_d(worst[feature], best[feature]))}
        for feature in features
    ]
    table = pd.DataFrame(rows)
    order = table.assign(size=-table["cohens_d"].abs()).sort_values(["size", "feature"], na_position="last").index
    return table.loc[order].reset_index(drop=True)


def gather(extremes: pd.DataFrame, shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the shards' rows in the order of ``extremes``. Raises ``UserError`` where a case is missing or is there twice."""
    table = pd.concat([shard for shard in shards if len(shard)] or shards, ignore_index=True)
    if sorted(table["case_id"]) != sorted(extremes["case_id"]):
        missing = sorted(set(extremes["case_id"]) ^ set(table["case_id"])) or sorted(
            table["case_id"][table.duplicated("case_id")]
        )
        raise UserError(f"the radiomics shards do not fit extremes.csv in {', '.join(missing)}; run extract_radiomics again")
    return table.set_index("case_id", drop=False).loc[list(extremes["case_id"])].reset_index(drop=True)


def main(snakemake: Any, console: Console) -> str:
    """Write ``radiomics.csv`` and ``effects.csv``."""
    radiomics = gather(read_table(snakemake.input.extremes), [read_table(path) for path in snakemake.input.shards])
    effects = effect_table(radiomics)
    write_table(snakemake.output.radiomics, radiomics)
    write_table(snakemake.output.effects, effects)
    undefined = int(effects["cohens_d"].isna().sum())
    strongest = "" if undefined == len(effects) else f", the largest {effects['cohens_d'][0]:+.2f} ({effects['feature'][0]})"
    return f"{count(len(radiomics), 'case')}, {len(effects) - undefined} effect sizes, {undefined} undefined{strongest}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
