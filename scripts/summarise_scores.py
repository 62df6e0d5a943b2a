"""Join the shards' tables of scores into one, add the covariates of the cases, and summarise it over the cases.

Inputs
------
shards : the tables that ``score_cases`` wrote, one a shard
manifest : the cohort's manifest.csv, with the covariates behind its own columns

Outputs
-------
scores : the shards' rows, sorted by case id; regions keep their order. Behind them every covariate, as the manifest has it,
    the same in each row of a case and empty where it is undefined
summary : CSV, a row per region and metric (``SUMMARY_COLUMNS``)
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from glioflow.console import Console, count, run_script
from glioflow.covariate_values import read_covariates
from glioflow.files import read_table, write_table
from glioflow.metrics import PENALTY

METRICS = (
    *("hausdorff", "dice", "sens", "spec", "iou", "precision", "hd95_mm", "assd_mm"),
    *("volume_truth_ml", "volume_prediction_ml"),
)
SUMMARY_COLUMNS = ("label", "metric", "n", "mean", "sd", "median", "q25", "q75", "min", "max", "undefined", "penalised")


def join_shards(shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return all rows, sorted by case id, the rows of a case in the order they came in."""
    return pd.concat(shards, ignore_index=True).sort_values("case_id", kind="stable", ignore_index=True)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per region (in order of appearance) and metric.

    ``n`` counts the cases in which the metric is defined, and the statistics are over these; ``undefined`` counts the others.
    ``sd`` is the sample standard deviation (n - 1), undefined for a single case; quartiles are by linear interpolation.
    ``penalised`` counts the region's cases that an empty mask gave the penalty instead of a measured distance.
    """
    rows = []
    for label, region in scores.groupby("label", sort=False):
        penalised = int(region["note"].str.startswith(PENALTY).fillna(False).sum())
        for metric in METRICS:
            values = region[metric].astype(float)
            quartiles = values.quantile([0.25, 0.5, 0.75])
            rows.append(
                {
                    "label": label,
                    "metric": metric,
                    "n": values.count(),
                    "mean": values.mean(),
                    "sd": values.std(ddof=1),
                    "median": quartiles[0.5],
                    "q25": quartiles[0.25],
                    "q75": quartiles[0.75],
                    "min": values.min(),
                    "max": values.max(),
                    "undefined": values.isna().sum(),
                    "penalised": penalised,
                }
            )
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def main(snakemake: Any, console: Console) -> str:
    """Write the joined table and its summary."""
    scores = join_shards([read_table(path).astype({"fold": "Int64"}) for path in snakemake.input.shards])
    write_table(snakemake.output.scores, scores.join(read_covariates(snakemake.input.manifest), on="case_id"))
    write_table(snakemake.output.summary, summarise(scores))
    return f"{count(scores['case_id'].nunique(), 'case')}, {count(len(scores), 'row')}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
