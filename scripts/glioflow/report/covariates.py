"""The report on clinical covariates: what a cohort's cases are like, and which covariates go along with failing."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glioflow.cohorts.covariate_values import all_different, is_identifier, typed_covariate
from glioflow.console import count
from glioflow.formatting import UNDEFINED, number, significant
from glioflow.report.claims import FALSE_DISCOVERIES, FEWEST_CLAIMED, probability
from glioflow.report.source import Pair, Source, records
from glioflow.report.tables import Cell, Table, count_cell, join_words, significant_cell, text_cell, together, without_empty
from glioflow.study.metric_registry import find_metric

SHOWN_LEVELS = 12
SHOWN_ROWS = 12
NAMED = 3


# ---- of a cohort


def covariate_table(name: str, covariates: pd.DataFrame, parts: Mapping[str, Sequence[bool]]) -> Table | None:
    """Return the covariates of a cohort by part: median and quartiles of a number, cases of a level; None where there is none.

    ``covariates``: text, a row a case; ``parts``: a bool per row by name of the part.
    """
    rows = []
    for covariate in map(str, covariates.columns):
        kind, values = typed_covariate(covariates[covariate])
        inside = {part: values[list(members)] for part, members in parts.items()}
        if is_identifier(covariate) or all_different(kind, values):
            reason = "an identifier" if is_identifier(covariate) else "a text that differs in every case"
            rows.append(_row(covariate, reason, [(part.count(), "") for part in inside.values()]))
        elif kind == "number":
            rows.append(_row(covariate, "median [quartiles]", [(part.count(), quartiles(part)) for part in inside.values()]))
        else:
            rows += _level_rows(covariate, values, list(inside.values()))
    heads = [head for part in parts for head in (f"n, {part}", part[0].upper() + part[1:])]
    columns = ["Covariate", "Value", *heads]
    caption = f"Covariates of {name}; n: cases with a value."
    return Table(caption, columns, rows, frozenset(range(2, len(columns))), headers=2) if rows else None


def _row(covariate: str, what: str, values: Sequence[tuple[int, str]]) -> list[Cell]:
    return [Cell(covariate), Cell(what), *(cell for n, text in values for cell in (count_cell(n), Cell(text)))]


def _level_rows(covariate: str, values: pd.Series, parts: Sequence[pd.Series]) -> list[list[Cell]]:
    """Return a row for each level of a category, the most frequent first; those of the rest are counted together."""
    counted = values.value_counts()
    if counted.empty:
        return [_row(covariate, "no case has a value", [(0, "") for _ in parts])]
    levels = list(counted.sort_index().sort_values(ascending=False, kind="stable").index)
    shown = levels if len(levels) <= SHOWN_LEVELS + 1 else levels[:SHOWN_LEVELS]
    groups = [(str(level), [level]) for level in shown]
    if rest := levels[len(shown) :]:
        groups.append((f"{len(rest)} other values", rest))
    return [
        _row(covariate, words, [(part.count(), share_text(int(part.isin(members).sum()), part.count())) for part in parts])
        for words, members in groups
    ]


def quartiles(values: pd.Series) -> str:
    """Return ``median [lower, upper quartile]``, three significant digits or more."""
    if not values.count():
        return UNDEFINED
    low, middle, high = (significant(value, 3) for value in values.quantile([0.25, 0.5, 0.75]))
    return f"{middle} [{low}, {high}]"


def share_text(cases: int, of: int) -> str:
    """Return a number of cases with its share: ``3 (25 %)``."""
    return f"{cases} ({number(100 * cases / of, 0)}\u00a0%)" if of else UNDEFINED


# ---- of a failure analysis


def covariate_effects(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the failure section shows of the covariates: a sentence, a table or None, and what is not in the table."""
    effects = source.covariate_effects(pair)
    compared = effects[effects["effect"].notna() | effects["p"].notna()]
    left_out = effects[effects["effect"].isna() & effects["p"].isna()].drop_duplicates("covariate")
    left_out = left_out[~left_out["covariate"].isin(compared["covariate"])]
    reasons = [f"{row['covariate']} ({row['note']})" for row in records(left_out)]
    return {
        "sentence": covariate_sentence(source, pair),
        "table": effect_table(pair, compared) if len(compared) else None,
        "shown": min(len(compared), SHOWN_ROWS),
        "rows": len(compared),
        "file": f"failure/{pair.model}/{pair.set}/covariates.csv",
        "left_out": f"Not compared: {join_words(reasons)}." if reasons else "",
    }


def findings(effects: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of covariates.csv that may be claimed, as ``glioflow.report.claims`` rules, the smallest q first."""
    claimed = (effects["q"] < FALSE_DISCOVERIES) & (effects["patients"] >= FEWEST_CLAIMED)
    return records(effects[claimed].sort_values(["q", "p"], kind="stable"))


def finding_sentence(source: Source, pair: Pair) -> str:
    """Return which covariates the metric goes along with in all cases of a set; nothing where that may be chance."""
    found = findings(source.covariate_effects(pair))
    if not found:
        return ""
    spec = source.study["failure"]
    words = join_words(finding_words(row) for row in found[:NAMED])
    more = f", and goes along with {count(len(found) - NAMED, 'further covariate')}" if len(found) > NAMED else ""
    return f"Over all cases the {find_metric(spec['rank_by']).name} of {spec['region']} {words}{more}."


def finding_words(row: Mapping[str, Any]) -> str:
    """Return one finding in words: ``rises with age_years (Spearman ρ = 0.62, q = 0.004)``."""
    q = probability(row["q"], "= ")
    if row["kind"] == "category":
        h = number(row["kruskal_h"], 2)
        return f"differs between the values of {row['covariate']} (Kruskal–Wallis H = {h}, q {q})"
    direction, rho = ("rises" if row["spearman_rho"] > 0 else "falls"), number(row["spearman_rho"], 2)
    return f"{direction} with {row['covariate']} (Spearman ρ = {rho}, q {q})"


def covariate_sentence(source: Source, pair: Pair) -> str:
    """Return what testing the covariates of a set came to."""
    effects = source.covariate_effects(pair)
    tested = int(effects["q"].notna().sum())
    if effects.empty:
        text = f"The cohort {pair.cohort} has no covariates."
    elif not tested:
        text = "No covariate could be tested."
    elif (most := int(effects.loc[effects["q"].notna(), "patients"].max())) < FEWEST_CLAIMED:
        text = f"Nothing is claimed of covariates: {count(most, 'patient')} are too few ({FEWEST_CLAIMED} are the least)."
    elif not (text := finding_sentence(source, pair)):
        spec = source.study["failure"]
        metric = find_metric(spec["rank_by"]).name
        which = f"Of {tested} covariates tested none goes" if tested > 1 else "The one covariate tested does not go"
        text = f"{which} along with the {metric} of {spec['region']} more than chance may do (q ≥ 0.05)."
    return together(text)


def effect_table(pair: Pair, effects: pd.DataFrame) -> Table:
    """Return the rows with the largest effects, in words and numbers."""
    rows = []
    for row in records(effects.head(SHOWN_ROWS)):
        is_number = row["kind"] == "number"
        rows.append(
            [
                Cell(row["covariate"]),
                Cell("mean" if is_number else f"is {row['level']}"),
                *(significant_cell(row[group]) if is_number else share_cell(row[group]) for group in ("worst", "best")),
                Cell(effect_words(row)),
                *(count_cell(row[column]) for column in ("n_worst", "n_best")),
                Cell(statistic_words(row)),
                *(probability_cell(row[column]) for column in ("p", "q")),
                text_cell(row["note"]),
            ]
        )
    columns = ["Covariate", "Value", "Worst", "Best", "In the worst", "n worst", "n best", "Over all cases", "p", "q", "Note"]
    caption = f"Covariates of the worst and the best cases of {pair.name}, the largest differences first."
    return without_empty(Table(caption, columns, rows, frozenset({2, 3, 5, 6, 8, 9}), headers=2))


def effect_words(row: Mapping[str, Any]) -> str:
    """Return a difference in words: ``higher (d = 0.81)`` of a number, ``more often (+30 points)`` of a level."""
    effect = row["effect"]
    if pd.isna(effect):
        return UNDEFINED
    if row["kind"] == "number":
        direction = "as high" if effect == 0 else "higher" if effect > 0 else "lower"
        return together(f"{direction} (d = {number(effect, 2)})")
    if effect == 0:
        return "as often"
    points = number(100 * effect, 0)
    return f"more often (+{points} points)" if effect > 0 else f"less often ({points} points)"


def statistic_words(row: Mapping[str, Any]) -> str:
    """Return the statistic over all cases: ``ρ = 0.45, n = 18``."""
    symbol, value = ("ρ", row["spearman_rho"]) if row["kind"] == "number" else ("H", row["kruskal_h"])
    if pd.isna(value):
        return ""
    of_patients = "" if row["patients"] == row["n"] else f", {int(row['patients'])} patients"
    return together(f"{symbol} = {number(value, 2)}, n = {int(row['n'])}{of_patients}")


def share_cell(value: Any) -> Cell:
    """Return a cell of a share in per cent."""
    return Cell(UNDEFINED if pd.isna(value) else f"{number(100 * value, 0)}\u00a0%")


def probability_cell(value: Any) -> Cell:
    """Return a cell of a p or q, empty where there is none."""
    return Cell("" if pd.isna(value) else probability(value))
