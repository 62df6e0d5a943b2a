"""Join the shards' tables of scores into one, add the covariates of the cases, and summarise it over the cases.

Inputs
------
shards : the tables that ``score_cases`` wrote, one a shard
manifest : the cohort's manifest.csv, with the covariates after its own columns
split : the cohort's split.csv, which says which cases the set has

Outputs
-------
scores : the shards' rows, sorted by case id; regions keep their order. Behind them every covariate, as the manifest has it,
    the same in each row of a case and empty where it is undefined
summary : CSV, a row per region, tta and metric (``SUMMARY_COLUMNS``)
groups : CSV, the same for the cases of each value of each covariate of ``group_by`` (``GROUP_COLUMNS``)
warnings : what the scores show of label schemes that may be wrong (``glioflow.evaluation.scheme_checks``), with the columns of
    verification.csv

Params
------
set : the set's name
group_by : names of covariates; none is common
truth_scheme, prediction_scheme : names of the label schemes of the truth and of precomputed masks (None: made by glioflow)
"""

from collections.abc import Sequence
from dataclasses import asdict
from math import ceil, floor, nan
from typing import Any

import numpy as np
import pandas as pd

from glioflow.cohorts.covariate_values import in_one_spelling, in_order, read_covariates
from glioflow.cohorts.problems import PROBLEM_COLUMNS
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.bootstrap import intervals
from glioflow.evaluation.scheme_checks import absent_regions
from glioflow.evaluation.score_tables import ROW_COLUMNS, is_missing, is_penalised, is_unseen, with_whole_numbers
from glioflow.files import PathLike, read_table, write_table
from glioflow.models.predictions import read_tta, set_members, tta_kinds
from glioflow.shards import require_each_once

SUMMARY_COLUMNS = (
    *("label", "tta", "metric", "n", "mean", "sd", "median", "q25", "q75", "min", "max"),
    *("mean_ci_low", "mean_ci_high", "median_ci_low", "median_ci_high"),
    *("undefined", "penalised", "not_applicable", "missing"),
)
GROUP_COLUMNS = ("covariate", "value", *SUMMARY_COLUMNS)
# A covariate of more values, such as an age, does not divide the cases into groups that anyone would read.
MOST_GROUPS = 20


def join_shards(paths: Sequence[PathLike], members: Sequence[str]) -> pd.DataFrame:
    """Return all rows of the shards' tables, sorted by case id, the rows of a case in the order they came in.

    Raises ``UserError`` unless the tables hold every case of the set (``members``) exactly once, and no other.
    """
    shards = [read_table(path) for path in paths]
    table = pd.concat(shards, ignore_index=True)
    twice = set(table["case_id"][table.duplicated(["case_id", "label", "tta"])])
    require_each_once(list(table["case_id"]), members, members, twice, paths)
    return with_whole_numbers(table.sort_values("case_id", kind="stable", ignore_index=True))


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per region (in order of appearance), tta (with augmentation first) and metric.

    ``n`` counts the cases in which the metric is defined, and the statistics are over these. ``not_applicable`` counts those
    whose region the model cannot show, ``undefined`` the others. ``sd`` is the sample standard deviation (n - 1), undefined
    for a single case; quartiles are by linear interpolation. The 95 % confidence intervals of mean and median are from
    resamples of the patients (``glioflow.evaluation.bootstrap``), undefined below two patients. ``penalised`` counts the
    region's cases that an empty mask gave the penalty instead of a measured distance, ``missing`` those whose prediction is
    missing and was counted as an empty one.
    """
    rows, tta = [], read_tta(scores)
    metrics = [column for column in scores.columns if column not in ROW_COLUMNS]
    for label in dict.fromkeys(scores["label"]):
        for kind in tta_kinds(scores):
            region = scores[(scores["label"] == label) & (tta.isna() if kind is None else tta == kind)]
            unseen = is_unseen(region)
            notes = {"penalised": int(is_penalised(region).sum()), "missing": int(is_missing(region).sum())}
            if region.empty:
                continue
            table = region[metrics].astype(float)
            between = asdict(intervals(table.to_numpy(), region["patient_id"].to_numpy(object)))
            for column, metric in enumerate(metrics):
                values = table[metric]
                empty = values.isna()
                known = {"label": label, "tta": kind, "metric": metric, **notes}
                # A region that does not apply has a true volume all the same.
                reasons = {"undefined": int((empty & ~unseen).sum()), "not_applicable": int((empty & unseen).sum())}
                ends = {name: found[column] for name, found in between.items()}
                rows.append({**known, **reasons, **statistics(values), **ends})
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def statistics(values: pd.Series) -> dict[str, float]:
    """Return the statistics of the defined values, by column of the summary; with an infinite one there is no ``sd``."""
    return {
        "n": values.count(),
        "mean": values.mean(),
        "sd": nan if np.isinf(values).any() else values.std(ddof=1),
        "median": quantile(values, 0.5),
        "q25": quantile(values, 0.25),
        "q75": quantile(values, 0.75),
        "min": values.min(),
        "max": values.max(),
    }


def quantile(values: pd.Series, share: float) -> float:
    """Return a quantile of the defined values by linear interpolation, infinite between a finite and an infinite value."""
    if not np.isinf(values).any():
        return float(values.quantile(share))
    ordered = np.sort(values.dropna().to_numpy())
    place = share * (len(ordered) - 1)
    low, high = ordered[floor(place)], ordered[ceil(place)]
    return float(low if low == high else low + (place - floor(place)) * (high - low))


def summarise_groups(scores: pd.DataFrame, covariates: pd.DataFrame, group_by: Sequence[str]) -> pd.DataFrame:
    """Return the summary of the cases of each value of each covariate; the last group, without a value, of those with none.

    ``covariates``: text by case_id. A covariate that the cohort does not have has no rows. Raises ``UserError`` where one has
    too many values.
    """
    tables = []
    for covariate in (name for name in group_by if name in covariates):
        values = in_one_spelling(covariates[covariate]).reindex(scores["case_id"]).set_axis(scores.index)
        present = set(values.dropna())
        if len(present) > MOST_GROUPS:
            raise UserError(
                f"evaluation.group_by: {covariate} has {len(present)} values; a covariate of at most {MOST_GROUPS} is right"
            )
        for value in [*in_order(present), *([None] if values.isna().any() else [])]:
            table = summarise(scores[values.isna() if value is None else values == value])
            tables.append(table.assign(covariate=covariate, value=value))
    return pd.concat([pd.DataFrame(columns=list(GROUP_COLUMNS)), *tables])[list(GROUP_COLUMNS)]


def main(snakemake: Any, console: Console) -> str:
    """Write the joined table and its summaries."""
    members = set_members(read_table(snakemake.input.split), snakemake.params.set)
    scores = join_shards(snakemake.input.shards, members)
    covariates = read_covariates(snakemake.input.manifest)
    group_by = list(snakemake.params.group_by)
    groups = summarise_groups(scores, covariates, group_by)
    write_table(snakemake.output.scores, scores.join(covariates, on="case_id"))
    write_table(snakemake.output.summary, summarise(scores))
    write_table(snakemake.output.groups, groups)
    warnings = absent_regions(scores, snakemake.params.truth_scheme, snakemake.params.prediction_scheme)
    write_table(snakemake.output.warnings, pd.DataFrame(warnings, columns=PROBLEM_COLUMNS))
    for warning in warnings:
        console.say(f"warning: {warning['found']}")
    missing = [f", no {name} in the manifest" for name in group_by if name not in covariates]
    return f"{count(scores['case_id'].nunique(), 'case')}, {count(len(scores), 'row')}{''.join(missing)}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
