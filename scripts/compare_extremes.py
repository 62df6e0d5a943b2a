"""Compare the radiomic features of the worst and the best cases by Cohen's d.

d = (mean of the worst - mean of the best) / s, with s = sqrt(((n1 - 1) s1² + (n2 - 1) s2²) / (n1 + n2 - 2)) and s1, s2 the
sample standard deviations (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., section 2.5).
Positive: the feature is larger where the model fails.

Inputs:  ``extremes`` (extremes.csv), ``shards`` (the tables of extract_radiomics).
Outputs: ``radiomics`` (all cases, in the order of extremes.csv) and ``effects``: feature, feature_group, cohens_d, mean_worst,
         mean_best, sd_pooled, n_worst, n_best, note; the largest effect first, undefined ones last.
Params:  none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import read_table, write_table
from glioflow.radiomics_features import feature_group

# A pooled standard deviation below this part of the largest value is rounding: features agree to 2.4e-13 between platforms.
SMALLEST_SPREAD = 1e-12
FEATURE_PREFIX = "original_"


@dataclass(frozen=True)
class Effect:
    """Cohen's d of one feature and what it was computed from; NaN, with a note, where it is undefined."""

    cohens_d: float
    mean_worst: float
    mean_best: float
    sd_pooled: float
    n_worst: int
    n_best: int
    note: str = ""


def cohens_d(worst: ArrayLike, best: ArrayLike) -> Effect:
    """Return the effect size of two groups of values, worst minus best. Values that are not finite are left out."""
    first, second = (values[np.isfinite(values)] for values in (np.asarray(worst, float), np.asarray(best, float)))
    n1, n2 = len(first), len(second)
    mean1, mean2 = (float(values.mean()) if len(values) else np.nan for values in (first, second))
    if min(n1, n2) < 2:
        small = " and ".join(name for name, n in (("worst", n1), ("best", n2)) if n < 2)
        return Effect(np.nan, mean1, mean2, np.nan, n1, n2, f"fewer than two values among the {small} cases")
    squares = float(((first - mean1) ** 2).sum() + ((second - mean2) ** 2).sum())
    pooled = float(np.sqrt(squares / (n1 + n2 - 2)))
    if pooled <= SMALLEST_SPREAD * float(np.abs(np.concatenate([first, second])).max()):
        return Effect(np.nan, mean1, mean2, 0.0, n1, n2, "the feature does not vary within the groups")
    return Effect((mean1 - mean2) / pooled, mean1, mean2, pooled, n1, n2)


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
