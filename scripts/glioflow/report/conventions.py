"""The report on definitions: what the same masks score, and which cases fail, under other tools' conventions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf
from typing import Any, Literal

import pandas as pd

from glioflow.console import count
from glioflow.formatting import UNDEFINED, number
from glioflow.imaging.labels import REGION_NAMES
from glioflow.report.figures import draw_ranks
from glioflow.report.source import Pair, Picture, Source, embed_figure, records
from glioflow.report.tables import (
    Cell,
    Table,
    join_words,
    number_cell,
    slug,
    text_cell,
    together,
    without_empty,
)
from glioflow.study.metric_registry import DISTANCES, find_metric

# More lines than this cannot be followed with the eye.
MOST_DRAWN = 20
INFINITE = "∞"
# Cases that a sentence names before it counts the others.
NAMED_CASES = 3
KIND_WORDS = {"overlap": "Overlap", "distance": "Distance"}
Fate = Literal["stays", "leaves", "enters"]


@dataclass(frozen=True)
class RankLine:
    """A case in the picture of ranks: its rank under each convention (None: no value), and the row that it is drawn in.

    ``fate``: of the study's worst cases, whether it ``stays`` among the worst everywhere or ``leaves`` them somewhere; of the
    others, that it ``enters`` them somewhere.
    """

    case_id: str
    fate: Fate
    ranks: list[int | None]
    rows: list[int]


@dataclass(frozen=True)
class RankChart:
    """What the picture of ranks shows: the conventions from left to right, the study's first, and the cases.

    The worst ``worst`` cases of every convention are in the rows 0 to ``worst`` - 1, by their rank; all other cases shown
    are below an empty row, in their order, those without a value last.
    """

    conventions: list[str]
    worst: int
    lines: list[RankLine]

    def cases(self, fate: Fate) -> list[str]:
        """Return the ids of the cases with a fate, in the study's order."""
        return [line.case_id for line in self.lines if line.fate == fate]


def convention_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of a set's scores under every convention."""
    compared, region = source.convention_ranks(pair), ranked_region(source)
    rows = compared[(compared["label"] == region) & (compared["kind"] == ranked_kind(source, compared))]
    chart = rank_chart(source.conventions(pair), rows)
    return {
        "name": pair.name,
        "anchor": slug("conventions", pair.model, pair.set),
        "sentence": together(f"{ranking_sentence(rows, region)} {mean_sentence(compared, region)}".strip()),
        "figure": chart and chart_picture(pair, rows, region, chart),
        "drawn": chart.worst if chart else 0,
        "region": region,
        "worst": worst_table(pair, rows, region),
        "means": means_table(pair, compared),
        "file": f"scores/{pair.model}/{pair.set}_convention_ranks.csv",
    }


def ranked_region(source: Source) -> str:
    """Return the region that the failure analysis ranks by; the first that is scored, where it is off and its is none."""
    region = str(source.study["failure"]["region"])
    return region if region in source.regions else source.regions[0]


def ranked_kind(source: Source, compared: pd.DataFrame) -> str:
    """Return the kind of metric that the failure analysis ranks by; overlap where the study's convention has no distance."""
    wanted = "distance" if source.study["failure"]["rank_by"] in DISTANCES else "overlap"
    known = set(compared.loc[compared["convention"] == compared["study_convention"], "kind"])
    return wanted if wanted in known else "overlap"


def study_first(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a region and kind, that of the study's convention first, then those that agree with it best."""
    order = rows.assign(other=rows["convention"] != rows["study_convention"], disagreement=-rows["tau_b"])
    return records(order.sort_values(["other", "disagreement"], kind="stable").drop(columns=["other", "disagreement"]))


def rank_chart(table: pd.DataFrame, rows: pd.DataFrame) -> RankChart | None:
    """Return the picture of the ranks of one region and kind, None where there are too few cases or conventions to draw.

    ``table``: scores under every convention, with ranks; ``rows``: the conventions' ranks of the region, by one kind.
    """
    ranked = [row for row in study_first(rows) if row["n"]]
    if len(ranked) < 2 or ranked[0]["convention"] != ranked[0]["study_convention"] or pd.isna(ranked[0]["worst"]):
        return None
    worst = min(int(ranked[0]["worst"]), MOST_DRAWN)
    region, kind = ranked[0]["label"], ranked[0]["kind"]
    names = [row["convention"] for row in ranked]
    of_region = table[(table["label"] == region) & table[f"rank_{kind}"].notna()]
    ranks = {name: ranks_of(of_region[of_region["convention"] == name], kind) for name in names}
    shown = {case for found in ranks.values() for case, rank in found.items() if rank <= worst}
    cases = sorted(shown, key=lambda case: (ranks[names[0]].get(case, len(table)), case))
    places = [place_rows(cases, ranks[name], worst) for name in names]
    lines = []
    for case in cases:
        of_case = [ranks[name].get(case) for name in names]
        among = [rank is not None and rank <= worst for rank in of_case]
        fate: Fate = "enters" if not among[0] else "stays" if all(among) else "leaves"
        lines.append(RankLine(case, fate, of_case, [place[case] for place in places]))
    return RankChart(names, worst, lines) if worst else None


def ranks_of(rows: pd.DataFrame, kind: str) -> dict[str, int]:
    """Return the rank of each ranked case of one region and convention."""
    return {case: int(rank) for case, rank in zip(rows["case_id"], rows[f"rank_{kind}"], strict=True)}


def place_rows(cases: Sequence[str], ranks: Mapping[str, int], worst: int) -> dict[str, int]:
    """Return the row of each case: its rank among the worst, counted from 0; the others below an empty row, in their order."""
    below = [case for case in cases if ranks.get(case, worst + 1) > worst]
    below.sort(key=lambda case: ranks.get(case, inf))
    return {case: worst + 1 + below.index(case) if case in below else ranks[case] - 1 for case in cases}


def chart_picture(pair: Pair, rows: pd.DataFrame, region: str, chart: RankChart) -> Picture | None:
    """Return the picture of the ranks, with what it shows in words."""
    metrics = {row["convention"]: metric_name(row) for row in records(rows)}
    figure = draw_ranks(
        [f"{name}\n{metrics[name]}" for name in chart.conventions],
        [(line.case_id, line.fate, line.ranks, line.rows) for line in chart.lines],
        chart.worst,
    )
    fates = {fate: len(chart.cases(fate)) for fate in ("stays", "leaves", "enters")}
    shown = count(len(chart.conventions), "convention")
    alt = (
        f"Ranks of the {chart.worst} worst cases of {pair.name} in {region} under {shown}, {chart.conventions[0]} at the left: "
        f"{fates['stays']} stay among the worst {chart.worst} under each, {fates['leaves']} leave them under some, and "
        f"{fates['enters']} others enter; the table that follows names them."
    )
    return embed_figure(figure, alt)


def ranking_sentence(rows: pd.DataFrame, region: str) -> str:
    """Return in words how far the worst cases depend on the convention."""
    study, *others = study_first(rows)
    compared = [row for row in others if not pd.isna(row["tau_b"])]
    if not compared:
        return f"No other convention ranks enough cases of {region} to be compared."
    # Where a convention ranks fewer cases, fewer of the worst are compared, and they do not add up with the others.
    alike = [row for row in compared if row["worst"] == study["worst"]]
    leaving = {case for row in alike for case in cases_of(row, "leaving")}
    worst, stays = study["worst"], study["worst"] - len(leaving)
    each = "the other convention" if len(alike) == 1 else f"each of {len(alike)} other conventions"
    stay = (
        f"Of the {worst} cases that are worst in {region} ({REGION_NAMES[region]}) under {study['convention']} "
        f"({metric_name(study)}), {stays} {'is' if stays == 1 else 'are'} among the worst {worst} under {each} as well. "
    )
    least = min(compared, key=lambda row: float(row["tau_b"]))
    tau = number(least["tau_b"], 2)
    order = f"The order of all cases agrees least under {least['convention']} ({metric_name(least)}), τ = {tau}."
    return f"{stay if alike else ''}{moved_words(compared)}{order}"


def moved_words(compared: Sequence[Mapping[str, Any]]) -> str:
    """Return under which convention the most of the worst cases change, and which they are; nothing where none does."""
    most = min(compared, key=lambda row: (row["shared"] / row["worst"], row["tau_b"]))
    entering, leaving, unranked = (cases_of(most, name) for name in ("entering", "leaving", "leaving_unranked"))
    if not leaving:
        return ""
    enter, leave = ("enters", "leaves") if len(leaving) == 1 else ("enter", "leave")
    valueless = f", {len(unranked)} without a value" if unranked else ""
    words = f"{few_words(entering)} {enter} and {few_words(leaving)} {leave}{valueless}"
    return f"Most of them change under {most['convention']} ({metric_name(most)}): {words}. "


def few_words(cases: Sequence[str]) -> str:
    """Return the first cases of a list, and how many more there are."""
    if len(cases) <= NAMED_CASES + 1:
        return join_words(cases)
    return f"{', '.join(cases[:NAMED_CASES])} and {len(cases) - NAMED_CASES} more"


def mean_sentence(compared: pd.DataFrame, region: str) -> str:
    """Return how far a region's mean overlap and distance (in mm) depend on the convention."""
    parts = []
    for kind in KIND_WORDS:
        rows = records(compared[(compared["label"] == region) & (compared["kind"] == kind)])
        defined = [row for row in rows if row["n"] and (pd.isna(row["unit"]) or row["unit"] == "mm")]
        ends = [find(defined, key=lambda row: float(row["mean"])) for find in (min, max) if defined]
        if ends and ends[0]["mean"] < ends[1]["mean"]:
            low, high = (f"{mean_text(row)} ({row['convention']}, {metric_name(row)}{fewer_text(row)})" for row in ends)
            parts.append(f"the mean {kind} in {region} is anything from {low} to {high}")
    return f"Of these same masks {join_words(parts)}." if parts else ""


def worst_table(pair: Pair, rows: pd.DataFrame, region: str) -> Table:
    """Return which cases enter and leave the worst of a region under each convention."""
    lines = []
    for row in study_first(rows):
        unranked = cases_of(row, "leaving_unranked")
        leaving = [f"{case} ({UNDEFINED})" if case in unranked else case for case in cases_of(row, "leaving")]
        lines.append(
            [
                Cell(f"{row['convention']} ({metric_name(row)})"),
                Cell(f"{row['n']} of {row['n'] + row['undefined']}"),
                number_cell(row["tau_b"], 2),
                Cell(shared_text(row)),
                Cell(", ".join(cases_of(row, "entering"))),
                Cell(", ".join(leaving)),
                text_cell(row["note"]),
            ]
        )
    columns = ["Convention", "Cases ranked", "τ", "Shared", "Enter", "Leave", "Note"]
    caption = f"How the worst cases of {pair.name} in {region} change with the convention."
    return without_empty(Table(caption, columns, lines, frozenset({1, 2, 3})))


def means_table(pair: Pair, compared: pd.DataFrame) -> Table:
    """Return each region's mean overlap and distance under each convention, and how its order agrees with the study's."""
    lines = []
    for region in dict.fromkeys(compared["label"]):
        of_region = records(compared[compared["label"] == region])
        by_kind = {kind: {row["convention"]: row for row in of_region if row["kind"] == kind} for kind in KIND_WORDS}
        for row in by_kind["overlap"].values():
            cells = [Cell(region), Cell(convention_name(row))]
            for kind in KIND_WORDS:
                cells += mean_cells(by_kind[kind].get(row["convention"]))
            lines.append(cells)
    columns = ["Region", "Convention"]
    columns += [name for words in KIND_WORDS.values() for name in (words, "Mean", "τ", "Shared")]
    caption = f"Means of {pair.name} over cases under each convention, and how the order of its cases agrees with the study's."
    return without_empty(Table(caption, columns, lines, frozenset({3, 4, 5, 7, 8, 9}), headers=2))


def mean_cells(row: Mapping[str, Any] | None) -> list[Cell]:
    """Return name, mean, tau and shared worst cases of a region under a convention; empty cells where it has no such metric."""
    if row is None:
        return [Cell("")] * 4
    return [
        Cell(metric_name(row)),
        Cell(mean_text(row) + fewer_text(row) + infinite_text(row)),
        number_cell(row["tau_b"], 2),
        Cell(shared_text(row)),
    ]


def metric_name(row: Mapping[str, Any]) -> str:
    """Return the name of a ranked column, without its unit."""
    return find_metric(str(row["metric"])).short


def convention_name(row: Mapping[str, Any]) -> str:
    """Return a convention's name, marked where it is the study's."""
    return f"{row['convention']} (the study's)" if row["convention"] == row["study_convention"] else str(row["convention"])


def mean_text(row: Mapping[str, Any]) -> str:
    """Return a mean with its unit, infinite where a value is."""
    value = float(row["mean"])
    text = INFINITE if isinf(value) else number(value, find_metric(row["metric"]).statistic_decimals)
    unit = "" if pd.isna(row["unit"]) or text == UNDEFINED else f" {row['unit']}"
    return text + unit


def fewer_text(row: Mapping[str, Any]) -> str:
    """Return over how many cases a mean is where some have no value."""
    return f", n = {row['n']}" if row["undefined"] and row["n"] else ""


def infinite_text(row: Mapping[str, Any]) -> str:
    """Return in how many cases a distance is infinite."""
    return f" ({row['infinite']} infinite)" if row["infinite"] else ""


def shared_text(row: Mapping[str, Any]) -> str:
    """Return how many of the study's worst cases are worst here, too."""
    return UNDEFINED if pd.isna(row["shared"]) else f"{int(row['shared'])} of {int(row['worst'])}"


def cases_of(row: Mapping[str, Any], column: str) -> list[str]:
    """Return the case ids in a cell of the table of ranks."""
    return [] if pd.isna(row[column]) else str(row[column]).split()
