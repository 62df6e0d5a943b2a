"""Compare the models that were scored on the same cases: pair by pair, with tests, and by rank.

Which models are compared, and on which set's cases, is decided by ``glioflow.evaluation.comparison_groups``. Where models were
scored on different cases, those that they share count. Of a case with and without test-time augmentation the augmented
prediction (with mirroring) counts, as everywhere. A pair of values of which either is undefined leaves the comparison and is
counted; so does, in the ranks, a case that is undefined for any model. A region that a model cannot show is not compared.
Volume errors are compared by their size, whatever their sign; what is neither better nor worse, such as a volume, is not
compared.

Inputs
------
scores : score tables, in the order of ``sets``

Outputs
-------
comparison : a row per group, region, metric and pair of models (``COLUMNS``). ``n`` cases (pairs of values) of ``patients``,
    ``undefined`` cases without; ``mean_a``, ``mean_b`` and ``median_difference`` (a less b, with its bootstrap interval,
    ``glioflow.evaluation.bootstrap``) over the ``n`` cases; ``better_a``, ``better_b``, ``tied``: in how many of them which is
    better; ``rank_biserial`` (above 0: a has the larger values), ``p`` (``glioflow.evaluation.paired_tests``; both on the mean
    difference of each patient, since cases of one patient are no independent pairs), ``p_holm`` (corrected for the
    ``tests`` of one metric in one group: its regions and pairs of models, which the report shows in one table) and
    ``favours``: the model that the effect size makes the better one
ranks : a row per group, region, metric, way to rank (``glioflow.evaluation.rankings``) and model (``RANK_COLUMNS``), the best
    first: ``value`` (mean or mean rank), ``rank``; of the ranks in bootstrap samples the median, the ends of the central 95 %
    and ``share_rank_1`` …, the share of the samples that put the model at that rank; ``tau`` with its central 95 %, Kendall's
    tau-b of a sample's order and that of all cases (the same for all models of a ranking)

A study without two models to compare gets both tables with their columns and no row.

Params
------
groups : the fields of each ``glioflow.evaluation.comparison_groups.Group``, as dicts
sets : ``model/set`` of each score table
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glioflow.console import Console, count, run_script
from glioflow.evaluation.bootstrap import defined_alike, intervals, weighted_medians
from glioflow.evaluation.comparison_groups import Group
from glioflow.evaluation.paired_tests import holm, signed_rank_test
from glioflow.evaluation.rankings import RANKINGS, Stability, rank_stability
from glioflow.evaluation.score_tables import is_unseen
from glioflow.files import read_table, write_table
from glioflow.models.predictions import augmented_first
from glioflow.study.metric_registry import find_metric

GROUP_COLUMNS = ("cohort", "set", "folds", "folds_by", "label", "metric")
COLUMNS = (
    *(*GROUP_COLUMNS, "model_a", "model_b", "n", "patients", "undefined", "mean_a", "mean_b"),
    *(
        "median_difference",
        "ci_low",
        "ci_high",
        "better_a",
        "better_b",
        "tied",
        "rank_biserial",
        "p",
        "p_holm",
        "tests",
        "favours",
    ),
)
RANK_COLUMNS = (
    *(*GROUP_COLUMNS, "ranking", "model", "n", "patients", "undefined", "value", "rank", "rank_median", "rank_ci_low"),
    *("rank_ci_high", "tau", "tau_ci_low", "tau_ci_high"),
)

Floats = NDArray[np.float64]
Row = dict[str, Any]


def compared_metrics(tables: Iterable[pd.DataFrame]) -> list[str]:
    """Return the metrics to compare that all score tables have, in their order; covariates come after the note."""
    metrics = [list(table.columns[: table.columns.get_loc("note")]) for table in tables]
    first = metrics[0] if metrics else []
    return [name for name in first if find_metric(name).better and all(name in names for names in metrics)]


def case_scores(table: pd.DataFrame, region: str, metrics: Sequence[str]) -> pd.DataFrame | None:
    """Return a model's patient_id and metrics (volume errors by size) by case_id, None where it does not show the region."""
    rows = augmented_first(table[table["label"] == region]).drop_duplicates("case_id").sort_index()
    if rows.empty or is_unseen(rows).any():
        return None
    values = rows[list(metrics)].astype(float)
    errors = {metric: values[metric].abs() for metric in metrics if find_metric(metric).signed}
    return values.assign(**errors, patient_id=rows["patient_id"]).set_axis(rows["case_id"])


def compare_pair(first: pd.DataFrame, second: pd.DataFrame, metrics: Sequence[str]) -> Iterator[Row]:
    """Yield the row of each metric that has a value, of two models' ``case_scores``; nothing where they share no case."""
    shared = first.index[first.index.isin(second.index)]
    if shared.empty:
        return
    patients = first.loc[shared, "patient_id"].to_numpy(object)
    a, b = (table.loc[shared, list(metrics)].to_numpy(float) for table in (first, second))
    differences = subtract(a, b)
    found = intervals(differences, patients)
    for column, metric in enumerate(metrics):
        defined = ~np.isnan(differences[:, column])
        if np.isnan(a[:, column]).all() and np.isnan(b[:, column]).all():
            continue
        values = differences[defined, column]
        with np.errstate(invalid="ignore"):
            by_patient = pd.Series(values).groupby(patients[defined]).mean()
        # What is infinitely better in one case of a patient and infinitely worse in another balances.
        test = signed_rank_test(by_patient.fillna(0.0))
        ahead = find_metric(metric).better * np.sign(values)
        yield {
            "metric": metric,
            "n": len(values),
            "patients": len(by_patient),
            "undefined": len(shared) - len(values),
            "mean_a": a[defined, column].mean() if len(values) else np.nan,
            "mean_b": b[defined, column].mean() if len(values) else np.nan,
            "median_difference": median(values),
            "ci_low": found.median_ci_low[column],
            "ci_high": found.median_ci_high[column],
            "better_a": int((ahead > 0).sum()),
            "better_b": int((ahead < 0).sum()),
            "tied": int((ahead == 0).sum()),
            "rank_biserial": test.rank_biserial,
            "p": test.p,
            "ahead": find_metric(metric).better * test.rank_biserial,
        }


def subtract(a: Floats, b: Floats) -> Floats:
    """Return a - b; two values that are infinite alike have no difference."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a - b)


def median(values: Floats) -> float:
    """Return the median as the bootstrap takes it; NaN where there is no value."""
    return float(weighted_medians(np.sort(values), np.ones((len(values), 1), np.int32))[0]) if len(values) else np.nan


def compare_groups(groups: Sequence[Group], tables: Mapping[str, pd.DataFrame], metrics: Sequence[str]) -> pd.DataFrame:
    """Return the rows of comparison.csv. ``tables``: score tables by ``model/set``."""
    rows = []
    for group, region, scores in grouped_scores(groups, tables, metrics):
        found = []
        for a, b in (pair for pair in group.pairs if set(pair) <= set(scores)):
            for row in compare_pair(scores[a], scores[b], metrics):
                favours = a if row["ahead"] > 0 else b if row["ahead"] < 0 else None
                found.append({**group.columns, "label": region, **row, "model_a": a, "model_b": b, "favours": favours})
        rows += sorted(found, key=lambda row: metrics.index(row["metric"]))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for _, family in table.groupby(["cohort", "set", "folds", "folds_by", "metric"], dropna=False, sort=False):
        table.loc[family.index, "p_holm"] = holm(family["p"].to_numpy(float))
        table.loc[family.index, "tests"] = int(family["p"].notna().sum())
    return table.astype({"folds": "Int64", "tests": "Int64"})


def grouped_scores(
    groups: Sequence[Group], tables: Mapping[str, pd.DataFrame], metrics: Sequence[str]
) -> Iterator[tuple[Group, str, dict[str, pd.DataFrame]]]:
    """Yield each group with each region and the scores of its models that show it, if they are two or more."""
    for group in groups:
        given = {model: tables[f"{model}/{name}"] for model, name in group.models.items()}
        for region in dict.fromkeys(label for table in given.values() for label in table["label"]):
            scores = {model: case_scores(table, region, metrics) for model, table in given.items()}
            shown = {model: found for model, found in scores.items() if found is not None}
            if len(shown) > 1:
                yield group, region, shown


def rank_groups(groups: Sequence[Group], tables: Mapping[str, pd.DataFrame], metrics: Sequence[str]) -> pd.DataFrame:
    """Return the rows of ranks.csv. ``tables``: score tables by ``model/set``."""
    rows: list[Row] = []
    for group, region, scores in grouped_scores(groups, tables, metrics):
        found = sorted(rank_region(scores, metrics), key=lambda row: metrics.index(row["metric"]))
        rows += [{**group.columns, "label": region, **row} for row in found]
    most = max([1, *(len(group.models) for group in groups)])
    shares = [f"share_rank_{rank}" for rank in range(1, most + 1)]
    return pd.DataFrame(rows, columns=[*RANK_COLUMNS, *shares]).astype({"folds": "Int64"})


def rank_region(scores: Mapping[str, pd.DataFrame], metrics: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of ranks.csv of one region, metrics that are defined in the same cases together."""
    first, *others = scores.values()
    shared = first.index[[all(case in other.index for other in others) for case in first.index]]
    patients = first.loc[shared, "patient_id"].to_numpy(object)
    values = np.stack([table.loc[shared, list(metrics)].to_numpy(float) for table in scores.values()], axis=2)
    larger = np.array([find_metric(metric).better > 0 for metric in metrics])
    for cases, columns in defined_alike(~np.isnan(values).any(axis=2)):
        counts = {"n": int(cases.sum()), "patients": len(set(patients[cases])), "undefined": int((~cases).sum())}
        by_ranking = {
            ranking: rank_stability(values[cases][:, columns], patients[cases], larger[columns], ranking)
            for ranking in RANKINGS
        }
        for place, column in enumerate(columns):
            for ranking, found in by_ranking.items():
                named = {"metric": metrics[column], "ranking": ranking, **counts}
                yield from ({**named, **row} for row in rank_rows(list(scores), found[place]))


def rank_rows(models: Sequence[str], found: Stability) -> Iterator[Row]:
    """Yield the row of each model in one ranking, the best first."""
    for place in np.argsort(found.ranks, kind="stable"):
        yield {
            "model": models[place],
            "value": found.values[place],
            "rank": int(found.ranks[place]),
            "rank_median": found.median[place],
            "rank_ci_low": found.low[place],
            "rank_ci_high": found.high[place],
            "tau": found.tau,
            "tau_ci_low": found.tau_low,
            "tau_ci_high": found.tau_high,
            **{f"share_rank_{rank}": share for rank, share in enumerate(found.shares[place], start=1)},
        }


def main(snakemake: Any, console: Console) -> str:
    """Write both tables."""
    params = snakemake.params
    groups = [Group(**group) for group in params.groups]
    tables = {name: read_table(path) for name, path in zip(params.sets, snakemake.input.scores, strict=True)}
    metrics = compared_metrics(tables.values())
    comparison = compare_groups(groups, tables, metrics)
    write_table(snakemake.output.comparison, comparison)
    write_table(snakemake.output.ranks, rank_groups(groups, tables, metrics))
    if not groups:
        return "no two models to compare"
    tests, different = int(comparison["p"].notna().sum()), int((comparison["p_holm"] < 0.05).sum())
    return f"{count(len(groups), 'group')} of models, {count(tests, 'test')}, {different} below 0.05 after correction"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
