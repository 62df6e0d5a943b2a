"""Score every case of a set under every convention of metrics, and report how the ranking of the cases moves between them.

The masks are read and scored as ``score_cases`` does; the conventions are those of config/conventions
(``glioflow.evaluation.conventions``), each with its own rules for lesions and without its tool's known defects. One pair of
masks shares the work between them. A prediction whose truth, regions and conventions are what they were is taken from the
cache and not read again.

Each convention names the overlap and the distance that its users rank by (``headline``): every region is ranked by both, from
1, the worst, as in ``select_extremes`` (``glioflow.evaluation.rankings.rank_cases``). An undefined value is not ranked. Of a
case with and without test-time augmentation the augmented prediction is ranked. Every ranking is held against that of the
study's convention:

- tau_b: Kendall's tau-b of the two values of the ``n_both`` cases that both rank. 1 is the same order, -1 the opposite one;
  ties count as ties. Undefined below two cases, or where all have one value.
- worst: N, how many of the worst cases are compared: ``extremes``, or half of the cases that both conventions rank if that is
  less, so that no case can be among the worst and among the best.
- shared, entering, leaving: how many of the study's worst N are among this convention's, the cases that are only here, and
  those that are only there; ``leaving_unranked`` are those of the latter that have no value here.

Inputs
------
manifest, predictions : as of score_cases

Outputs
-------
conventions : CSV, a row per case, tta, region and convention: the columns of score_cases under every convention, empty where
    it does not define one, and rank_overlap and rank_distance; ``unit`` is that of its distances, mm or voxels
ranks : CSV, a row per region, kind of headline and convention (``RANK_COLUMNS``); case ids are beside each other with a space

Params
------
regions, trained_regions, truth_regions : as of score_cases
convention : the name of the study's
conventions : content hash of all, so that the rule runs again where a value may change
extremes : how many worst cases to compare
cache : path of the cache
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.cases import Case, case_key, case_rows, pair_cases, read_maps
from glioflow.evaluation.conventions import Convention, conventions
from glioflow.evaluation.rankings import kendall_tau, rank_cases
from glioflow.evaluation.score_tables import is_unseen, with_whole_numbers
from glioflow.evaluation.scoring import Plan, plan_of, score_plans
from glioflow.files import key_of, write_table
from glioflow.models.predictions import augmented_first, read_predictions

# Kind of headline to the column of its ranks.
RANKS = {"overlap": "rank_overlap", "distance": "rank_distance"}
RANK_COLUMNS = (
    *("label", "kind", "convention", "metric", "unit", "study_convention", "study_metric"),
    *("n", "undefined", "infinite", "mean", "n_both", "tau_b"),
    *("worst", "shared", "entering", "leaving", "leaving_unranked", "note"),
)


# A prediction's scores, one for each region, by name of the convention.
Scores = dict[str, list[dict[str, Any]]]


def plans_of(params: Any) -> dict[str, Plan]:
    """Return what is scored of the params' regions under each convention, by its name."""
    return {name: plan_of(params, name, name if each.lesions else None) for name, each in conventions().items()}


def scores_key(case: Case, plans: Mapping[str, Plan]) -> str:
    """Return the content key of a prediction's scores under every convention."""
    scores = {name: case_key(case, plan) for name, plan in plans.items()}
    return key_of({"code": module_fingerprint("compare_conventions"), "scores": scores})


def score_conventions(case: Case, plans: Mapping[str, Plan]) -> Scores:
    """Return a prediction's scores under every convention. Raises ``UserError`` where it cannot be scored."""
    truth, prediction = read_maps(case)
    return dict(zip(plans, score_plans(truth.data, prediction.data, truth.spacing, list(plans.values())), strict=True))


def table_columns(plans: Iterable[Plan]) -> list[str]:
    """Return the columns of all plans, each after the one that it follows in its own; and those of this table."""
    columns = ["patient_id"]
    for plan in plans:
        for before, column in pairwise(plan.columns):
            if column not in columns:
                columns.insert(columns.index(before) + 1, column)
    columns[columns.index("label") + 1 : columns.index("label") + 1] = ["convention", "unit"]
    return [*columns[:-1], *RANKS.values(), *columns[-1:]]


def convention_table(scores: Mapping[Case, Scores], plans: Mapping[str, Plan]) -> pd.DataFrame:
    """Return the table of all scores in the order given, regions in their order and of each the conventions in theirs."""
    rows = []
    for case, scored in scores.items():
        by_convention = [
            [{**row, "convention": name, "unit": plans[name].convention.units} for row in case_rows(case, of_case)]
            for name, of_case in scored.items()
        ]
        rows += [row for of_region in zip(*by_convention, strict=True) for row in of_region]
    table = pd.DataFrame(rows, columns=[name for name in table_columns(plans.values()) if name not in RANKS.values()])
    by_name = {name: plan.convention for name, plan in plans.items()}
    return rank_table(with_whole_numbers(table), by_name)[table_columns(plans.values())]


def headline(convention: Convention, kind: str) -> str | None:
    """Return the column that a convention's users rank by, of a kind of ``RANKS``; None where it has none."""
    return convention.headline.overlap if kind == "overlap" else convention.headline.distance


def rank_table(table: pd.DataFrame, conventions: Mapping[str, Convention]) -> pd.DataFrame:
    """Return a table of scores with the columns ``rank_overlap`` and ``rank_distance``, empty where a row is not ranked."""
    ranks = pd.DataFrame(pd.NA, index=table.index, columns=list(RANKS.values()), dtype="Int64")
    main = augmented_first(table).drop_duplicates(["case_id", "label", "convention"])
    for (_, name), rows in main.groupby(["label", "convention"], sort=False):
        for kind, column in RANKS.items():
            if metric := headline(conventions[name], kind):
                order = rank_cases(rows, metric).index
                ranks.loc[order, column] = range(1, len(order) + 1)
    return table.assign(**ranks)


@dataclass(frozen=True)
class Ranking:
    """How one convention ranks the cases of a region: its column, the values and the ranks by case id."""

    convention: str
    metric: str
    values: pd.Series
    ranks: pd.Series

    @property
    def defined(self) -> pd.Index:
        """The cases that have a value."""
        return self.values.index[self.values.notna()]

    def worst(self, number: int) -> list[str]:
        """Return so many of the worst cases, the very worst first."""
        return list(self.ranks.dropna().sort_values().index[:number])


def compare_ranks(table: pd.DataFrame, conventions: Mapping[str, Convention], study: str, extremes: int) -> pd.DataFrame:
    """Return how each convention ranks the cases of each region beside the convention ``study`` (``RANK_COLUMNS``).

    ``table``: of ``rank_table``. A convention without a headline of a kind has no row of it.
    """
    rows = []
    main = augmented_first(table).drop_duplicates(["case_id", "label", "convention"])
    for region, of_region in main.groupby("label", sort=False):
        unseen = of_region.loc[is_unseen(of_region), "note"]
        for kind, column in RANKS.items():
            rankings = {}
            for name, scored in of_region.groupby("convention", sort=False):
                if metric := headline(conventions[name], kind):
                    by_case = scored.set_index("case_id")
                    rankings[name] = Ranking(name, metric, by_case[metric].astype(float), by_case[column])
            for ranking in rankings.values():
                row = {"label": region, "kind": kind, **compare_rankings(ranking, rankings.get(study), extremes)}
                note = {"note": unseen.iloc[0]} if len(unseen) else {}
                unit = conventions[ranking.convention].units if kind == "distance" else None
                rows.append({**row, "unit": unit, "study_convention": study, **note})
    return pd.DataFrame(rows, columns=list(RANK_COLUMNS)).astype({"shared": "Int64", "worst": "Int64"})


def compare_rankings(ranking: Ranking, study: Ranking | None, extremes: int) -> dict[str, Any]:
    """Return one ranking beside the study's, by column of ``RANK_COLUMNS``; ``study`` is None where it has none of the kind."""
    defined = ranking.values[ranking.defined]
    row: dict[str, Any] = {
        "convention": ranking.convention,
        "metric": ranking.metric,
        "n": len(defined),
        "undefined": len(ranking.values) - len(defined),
        "infinite": int(np.isinf(defined).sum()),
        "mean": defined.mean() if len(defined) else nan,
    }
    if study is None:
        return {**row, "note": "the study's convention ranks by nothing of this kind"}
    both = ranking.defined.intersection(study.defined)
    worst = min(extremes, len(both) // 2)
    row |= {"study_metric": study.metric, "n_both": len(both), "worst": worst}
    if not worst:
        return {**row, "note": "fewer than two cases have a value in both"}
    here, there = ranking.worst(worst), study.worst(worst)
    leaving = [case for case in there if case not in here]
    row |= {
        "tau_b": kendall_tau(ranking.values[both], study.values[both]),
        "shared": worst - len(leaving),
        "entering": " ".join(case for case in here if case not in there),
        "leaving": " ".join(leaving),
        "leaving_unranked": " ".join(case for case in leaving if case not in ranking.defined),
    }
    return row if np.isfinite(row["tau_b"]) else {**row, "note": "all cases have one value in one of the two"}


def main(snakemake: Any, console: Console) -> str:
    """Score the predictions, those of the cache excepted, and write both tables.

    Raises ``UserError``, with a line for each, once every other one is scored, where some cannot be.
    """
    params, tables = snakemake.params, snakemake.input
    plans = plans_of(params)
    cases, problems = pair_cases(read_manifest(tables.manifest), read_predictions(tables.predictions))
    scores, computed = compute_cases(
        score_conventions,
        {case.item: case for case in cases},
        plans,
        threads=snakemake.threads,
        console=console,
        what="predictions scored under every convention",
        cache=CaseCache(params.cache),
        keys={case.item: scores_key(case, plans) for case in cases},
        problems=problems,
    )
    if problems:
        raise UserError("\n  ".join(["these cases cannot be scored:", *sorted(set(problems))]))
    table = convention_table({case: scores[case.item] for case in cases}, plans)
    ranks = compare_ranks(table, {name: plan.convention for name, plan in plans.items()}, params.convention, params.extremes)
    write_table(snakemake.output.conventions, table)
    write_table(snakemake.output.ranks, ranks)
    kept = f", {len(cases) - computed} already scored" if computed < len(cases) else ""
    return f"{count(len({case.case_id for case in cases}), 'case')} under {count(len(plans), 'convention')}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
