"""Tell which features stay what they are when the mask is a voxel smaller or larger, or the image noisier.

The measure is ICC(2,1), as ``glioflow.failure.icc`` defines it, over the case as it is, its mask eroded and dilated by a voxel,
and noise added. A feature is stable from .75 on, where reliability is good (Koo and Li 2016).

Inputs:  ``shards`` (the tables of vary_features); ``scores``, ``manifest``, and ``extremes`` where only they are read, which
         say what the tables must hold.
Outputs: ``stability``: image, region, feature, feature_group, n, icc, ci_low, ci_high, stable, note; the least stable first.
Params:  ``images``, ``regions``, ``ranked``: as of extract_radiomics.
"""

from typing import Any

import pandas as pd

from glioflow.console import Console, run_script
from glioflow.failure.feature_cases import shown_rows
from glioflow.failure.icc import GOOD, agreement
from glioflow.failure.radiomics_table import gather_variants
from glioflow.files import write_table
from glioflow.study.feature_names import feature_columns, feature_group

COLUMNS = ("image", "region", "feature", "feature_group", "n", "icc", "ci_low", "ci_high", "stable", "note")


def stability_table(varied: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``stability.csv`` from the rows of ``vary_features``."""
    rows = []
    for (image, region), part in varied.groupby(["image", "region"], sort=False):
        for feature in feature_columns(varied.columns):
            found = agreement(part.pivot(index="case_id", columns="variant", values=feature).to_numpy(float))
            stable = pd.NA if pd.isna(found.icc) else found.icc >= GOOD
            rows.append(
                {
                    "image": image,
                    "region": region,
                    "feature": feature,
                    "feature_group": feature_group(feature),
                    "n": found.n,
                    "icc": found.icc,
                    "ci_low": found.ci_low,
                    "ci_high": found.ci_high,
                    "stable": stable,
                    "note": found.note or pd.NA,
                }
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"stable": "boolean"})
    places = {kind: place for place, kind in enumerate(zip(table["image"], table["region"], strict=True))}
    order = table.assign(place=[places[kind] for kind in zip(table["image"], table["region"], strict=True)])
    return table.loc[order.sort_values(["place", "icc"], kind="stable").index].reset_index(drop=True)


def main(snakemake: Any, console: Console) -> str:
    """Write ``stability.csv``."""
    table = stability_table(gather_variants(snakemake.input.shards, shown_rows(snakemake.input, snakemake.params)))
    write_table(snakemake.output.stability, table)
    stable, unstable = (int((table["stable"] == kind).sum()) for kind in (True, False))
    return f"{stable} of {len(table)} features stable, {unstable} not, {len(table) - stable - unstable} undefined"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
