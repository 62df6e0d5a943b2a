"""Tell how far the cases keep their order in each feature when grey levels are made otherwise.

Of every feature, Spearman's correlation over the cases between its values under other bins, or the other normalisation, and
those of the study: 1 where the order of the cases stays.

Inputs:  ``shards`` (the tables of vary_features); ``scores``, ``manifest``, and ``extremes`` where only they are read, which
         say what the tables must hold.
Outputs: ``binning``: image, region, bin_width or else bin_count, normalise, feature_group, features, n, grey_levels (the
         median), rho_median, rho_lowest, note; a row for each setting and class of features that has to do with grey levels.
Params:  ``images``, ``regions``, ``ranked``, ``parameters``: as of extract_radiomics.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from glioflow.console import Console, run_script
from glioflow.failure.feature_cases import shown_rows
from glioflow.failure.feature_variants import REFERENCE, binning_variants, bins_of
from glioflow.failure.radiomics_parameters import Parameters
from glioflow.failure.radiomics_table import gather_variants
from glioflow.files import write_table
from glioflow.study.feature_names import MASK_GROUP, feature_columns, feature_group

WITHOUT_GREY_LEVELS = (MASK_GROUP, "shape", "shape2D")
FEWEST_CASES = 3
OWN = "the study's own"
COLUMNS = (
    *("image", "region", "bin_width", "bin_count", "normalise", "feature_group", "features", "n", "grey_levels"),
    *("rho_median", "rho_lowest", "note"),
)


def rank_agreement(one: pd.Series, other: pd.Series) -> tuple[int, float]:
    """Return of how many cases both values are known, and Spearman's correlation; NaN below 3 cases or where all are equal."""
    known = one.notna() & other.notna()
    first, second = one[known], other[known]
    if len(first) < FEWEST_CASES or first.nunique() < 2 or second.nunique() < 2:
        return len(first), np.nan
    return len(first), float(stats.spearmanr(first, second).statistic)


def binning_table(varied: pd.DataFrame, parameters: Parameters) -> pd.DataFrame:
    """Return the rows of ``binning.csv`` from the rows of ``vary_features`` and the study's parameters."""
    features = [name for name in feature_columns(varied.columns) if feature_group(name) not in WITHOUT_GREY_LEVELS]
    rows = []
    for (image, region), part in varied.groupby(["image", "region"], sort=False):
        by_variant = {name: group.set_index("case_id") for name, group in part.groupby("variant")}
        for name, used in binning_variants(parameters).items():
            compared = by_variant[name].reindex(by_variant[REFERENCE].index)
            found = {feature: rank_agreement(by_variant[REFERENCE][feature], compared[feature]) for feature in features}
            width, number = bins_of(used)
            for group in dict.fromkeys(map(feature_group, features)):
                of_group = [found[feature] for feature in features if feature_group(feature) == group]
                rhos = [rho for _, rho in of_group if np.isfinite(rho)]
                rows.append(
                    {
                        "image": image,
                        "region": region,
                        "bin_width": width,
                        "bin_count": number,
                        "normalise": bool(used["setting"].get("normalize")),
                        "feature_group": group,
                        "features": len(rhos),
                        "n": max(n for n, _ in of_group),
                        "grey_levels": compared["grey_levels"].median(),
                        "rho_median": np.median(rhos) if rhos else np.nan,
                        "rho_lowest": min(rhos, default=np.nan),
                        "note": _note(name, rhos),
                    }
                )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _note(name: str, rhos: list[float]) -> Any:
    if name == REFERENCE:
        return OWN
    return pd.NA if rhos else f"no feature varies in {FEWEST_CASES} cases or more"


def main(snakemake: Any, console: Console) -> str:
    """Write ``binning.csv``."""
    varied = gather_variants(snakemake.input.shards, shown_rows(snakemake.input, snakemake.params))
    table = binning_table(varied, snakemake.params.parameters)
    write_table(snakemake.output.binning, table)
    others = table[table["note"] != OWN]["rho_lowest"].dropna()
    lowest = f", the lowest rank correlation {others.min():.2f}" if len(others) else ""
    return f"{len(binning_variants(snakemake.params.parameters))} settings{lowest}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
