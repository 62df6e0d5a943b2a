"""The report on kinds of errors: what keeps each region from a Dice of 1, and what sets the distance of the worst cases.

The kinds and their shares are those of ``glioflow.failure.failure_types``. Sentences are made from the tables alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from glioflow.console import count
from glioflow.evaluation.metrics import NOT_APPLICABLE, NOTE_BOTH_EMPTY
from glioflow.evaluation.score_tables import is_unseen
from glioflow.failure.failure_types import KINDS, LABEL_NAMES, NOTHING_FOUND, NOTHING_THERE
from glioflow.formatting import UNDEFINED, number
from glioflow.report.plotting import new_figure
from glioflow.report.source import Pair, Picture, Source, embed_figure, records
from glioflow.report.tables import Cell, Table, count_cell, join_words, number_cell, together
from glioflow.study.metric_registry import find_metric

# Of the true label, above which a cell of the error matrix is dark and its text white.
DARK_SHARE = 0.55
KIND_NAMES = {
    "missed_lesion": "missed lesion",
    "false_lesion": "false island",
    "swap_out": "given another label",
    "swap_in": "taken from another label",
    "boundary_in": "boundary too far in",
    "boundary_out": "boundary too far out",
    "under": "undersegmented",
    "over": "oversegmented",
}
MANY_OF_KIND = {
    "missed_lesion": "missed lesions",
    "false_lesion": "false islands",
    "swap_out": "parts given another label",
    "swap_in": "parts taken from another label",
    "boundary_in": "boundaries too far in",
    "boundary_out": "boundaries too far out",
    "under": "undersegmented parts",
    "over": "oversegmented parts",
}
NAMED_KINDS = 3  # in a sentence
# What an error of a kind is called where one of them is meant, and from what its distance is measured.
ONE_OF_KIND = {
    "missed_lesion": ("one missed lesion", "prediction"),
    "false_lesion": ("one false island", "truth"),
    "swap_out": ("a part given another label", "prediction"),
    "swap_in": ("a part taken from another label", "truth"),
    "boundary_in": ("a boundary too far in", "prediction"),
    "boundary_out": ("a boundary too far out", "truth"),
    "under": ("an undersegmented part", "prediction"),
    "over": ("an oversegmented part", "truth"),
}
# Okabe & Ito's colours, a hue for each pair of kinds: full for what is missing, pale for what is too much.
HUES = {"lesion": "#D55E00", "swap": "#CC79A7", "boundary": "#0072B2", "rest": "#009E73"}
PALE = 0.45


def _pale(colour: str) -> str:
    """Return a colour mixed with white."""
    red, green, blue = (PALE * part + 1 - PALE for part in to_rgb(colour))
    return str(to_hex((red, green, blue)))


KIND_COLOURS = dict(zip(KINDS, (shade for hue in HUES.values() for shade in (hue, _pale(hue))), strict=True))
SHARES = {kind: f"share_{kind}" for kind in KINDS}
# A distance is that of the farthest error where they differ by no more: conventions measure from voxels' centres or corners.
SAME_DISTANCE = 0.05
WIDTH_IN = 8.6


def failure_types_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of the kinds of errors of a set."""
    types, extremes = applicable(source.failure(pair, "failure_types")), source.failure(pair, "extremes")
    spec, unseen = source.study["failure"], source.unseen(pair)
    groups = {group: list(extremes.loc[extremes["group"] == group, "case_id"]) for group in ("worst", "best")}
    alt = f"Stacked bars of the mean shares of the kinds of errors of {pair.name}; the table that follows has the numbers."
    return {
        "sentences": region_sentences(types),
        "chart": embed_figure(draw_failure_types(types, groups), alt) if len(present(types)) else None,
        "worst": worst_table(ranked(types, extremes, spec["region"]), pair, spec["rank_by"], spec["region"]),
        "kinds": kinds_table(types, pair),
        "confusion": confusion_cells(source.failure(pair, "confusion"), pair),
        "matrix": confusion_picture(source.failure(pair, "confusion"), pair),
        "unseen": "; ".join(dict.fromkeys(reason.removeprefix(f"{NOT_APPLICABLE}: ") for reason in unseen.values())),
    }


def worst_words(source: Source, pair: Pair) -> str:
    """Return in a sentence what is wrong in the worst cases of a set."""
    spec = source.study["failure"]
    types = applicable(source.failure(pair, "failure_types"))
    worst, best = (ranked(types, source.failure(pair, "extremes"), spec["region"], group) for group in ("worst", "best"))
    return together(worst_sentence(worst, best, spec["rank_by"], spec["region"]))


def applicable(types: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the regions that truth and model can show."""
    return pd.DataFrame(types[~is_unseen(types)])


def present(types: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the cases that have the region in one of the maps at least."""
    return pd.DataFrame(types[~types["note"].astype("string").fillna("").str.endswith(NOTE_BOTH_EMPTY).astype(bool)])


def ranked(types: pd.DataFrame, extremes: pd.DataFrame, region: str, group: str = "worst") -> pd.DataFrame:
    """Return the kinds of errors of the worst or the best cases, the most extreme first, with their ``rank`` and ``value``."""
    chosen = extremes.loc[extremes["group"] == group, ["rank", "case_id", "value"]]
    return chosen.merge(types[types["label"] == region], on="case_id").sort_values("rank", ignore_index=True)


def worst_sentence(worst: pd.DataFrame, best: pd.DataFrame, rank_by: str, region: str) -> str:
    """Return what is wrong in the worst cases: what sets the distance, or what costs them most of the Dice.

    ``worst``, ``best``: their rows for ``region`` with ``value``, that of the metric ``rank_by``. Of a Hausdorff distance it is
    the error that is as far away, and whether it is in the best cases as well; of other distances the farthest error, and of
    overlaps the kind with the largest share.
    """
    metric, cases = find_metric(rank_by), len(worst)
    column = "farthest_kind" if metric.kind == "distance" else "dominant"
    found = told_by(worst, rank_by)
    empty = int(worst["flag"].notna().sum())
    absent = f"{_of_cases(empty, cases, 'worst')}, one of the masks has nothing of {region}." if empty else ""
    if worst["dominant"].isna().all():
        return f"The worst cases have no wrong voxel of {region}."
    if found.empty:
        return absent or f"In none of the worst cases is the {metric.name} of {region} that of the farthest wrong voxel."
    kind, times = Counter(found[column]).most_common(1)[0]
    of_kind = found[found[column] == kind]
    dice = f"{'its' if times == 1 else 'their'} Dice is {_range(of_kind['dice'], 3)}"
    also = ""
    if metric.kind != "distance":
        text = f"{MANY_OF_KIND[kind]} cost most of the Dice of {region} ({_range(of_kind[SHARES[kind]], 3)})"
    else:
        name, other = ONE_OF_KIND[kind]
        most = "at most " if times > 1 else ""
        away = f"{_range(of_kind['farthest_mm'], 0)} mm from the {other}"
        error = f"{name} of {most}{number(of_kind['farthest_ml'].max(), 3)} ml, {away}"
        text = f"the farthest error of {region} is {error}"
        if rank_by == "hausdorff":
            text = f"the {metric.name} of {region} is set by {error}"
            alike = told_by(best, rank_by)
            if times_best := int((alike[column] == kind).sum()):
                mm = _range(alike.loc[alike[column] == kind, "farthest_mm"], 0)
                also = f"{_of_cases(times_best, len(best), 'best')} it is set by one of this kind as well, {mm} mm away."
    return " ".join(filter(None, [f"{_of_cases(times, cases, 'worst')}, {text}; {dice}.", also, absent]))


def told_by(cases: pd.DataFrame, rank_by: str) -> pd.DataFrame:
    """Return the cases of which an error tells why they are where they are by a metric: see ``worst_sentence``."""
    if find_metric(rank_by).kind != "distance":
        return pd.DataFrame(cases[cases["dominant"].notna()])
    near = (cases["farthest_mm"] - cases["value"]).abs() <= SAME_DISTANCE * cases["value"]
    return pd.DataFrame(cases[cases["farthest_kind"].notna() & (near if rank_by == "hausdorff" else True)])


def _of_cases(times: int, cases: int, group: str) -> str:
    """Return ``In each of the 5 worst cases``, ``In 3 of the 5 worst cases``, or ``In the worst case`` if there is but one."""
    if cases == 1:
        return f"In the {group} case"
    return f"In {'each' if times == cases else times} of the {cases} {group} cases"


def _range(values: pd.Series, decimals: int) -> str:
    """Return the smallest and the largest value, once where they read the same."""
    ends = [number(values.min(), decimals), number(values.max(), decimals)]
    return "–".join(dict.fromkeys(ends))


def region_sentences(types: pd.DataFrame) -> list[str]:
    """Return what keeps each region from a Dice of 1, in words: the kinds of the largest mean shares, and empty masks."""
    said = []
    for region, rows in present(types).groupby("label", sort=False):
        cases, shares = count(len(rows), "case"), rows[list(SHARES.values())].mean()
        if not (dominant := Counter(rows["dominant"].dropna())):
            said.append(f"{region}: no error ({cases}).")
            continue
        largest = sorted(KINDS, key=lambda kind: -shares[SHARES[kind]])[:NAMED_KINDS]
        parts = [f"{number(shares[SHARES[kind]], 3)} by {MANY_OF_KIND[kind]}" for kind in largest if shares[SHARES[kind]] > 0]
        kind, times = dominant.most_common(1)[0]
        text = (
            f"{region}: the Dice falls short of 1 by {number(shares.sum(), 3)}, the mean of {cases}: {join_words(parts)}. "
            f"{MANY_OF_KIND[kind].capitalize()} cost most in {times} of them."
        )
        flags = Counter(rows["flag"].dropna())
        found = [
            *([f"nothing of it was found in {count(flags[NOTHING_FOUND], 'case')}"] if flags[NOTHING_FOUND] else []),
            *([f"some was found where there is none in {count(flags[NOTHING_THERE], 'case')}"] if flags[NOTHING_THERE] else []),
        ]
        words = join_words(found)
        said.append(text + (f" {words[0].upper()}{words[1:]}." if words else ""))
    return said


def draw_failure_types(types: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> Figure:
    """Return stacked bars: for each region, what keeps all cases, the worst and the best from a Dice of 1, on average.

    ``types``: rows of the regions that apply; a case that has nothing of a region in either map counts in none of its bars.
    ``groups``: name to case ids.
    """
    known = present(types)
    chosen = {"all": list(known["case_id"].unique()), **{name: list(cases) for name, cases in groups.items()}}
    bars, places, place = [], [], 0.0
    for region, rows in known.groupby("label", sort=False):
        for name, cases in chosen.items():
            members = rows[rows["case_id"].isin(cases)]
            if len(members):
                bars.append((f"{region}, {name} (n = {len(members)})", members))
                places.append(place)
                place += 1.0
        place += 0.5
    figure = new_figure(WIDTH_IN, 1.35 + 0.27 * place)
    axes = figure.subplots()
    ends = [0.0] * len(bars)
    for kind in KINDS:
        lengths = [float(members[SHARES[kind]].mean()) for _, members in bars]
        axes.barh(places, lengths, left=ends, height=0.78, color=KIND_COLOURS[kind], edgecolor="white", linewidth=0.4)
        ends = [end + length for end, length in zip(ends, lengths, strict=True)]
    for at, end in zip(places, ends, strict=True):
        axes.annotate(number(end, 3), (end, at), xytext=(3, 0), textcoords="offset points", va="center_baseline", fontsize=7.5)
    axes.set_yticks(places, [name for name, _ in bars])
    axes.set_ylim(max(places, default=0) + 0.6, -0.6)
    axes.set_xlim(0, 1.12 * max(ends, default=0) or 1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("1 − Dice, mean over the cases, divided among the kinds of errors")
    handles = [Patch(color=KIND_COLOURS[kind], label=KIND_NAMES[kind]) for kind in KINDS]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, columnspacing=1.2, handlelength=1.1)
    return figure


def worst_table(worst: pd.DataFrame, pair: Pair, rank_by: str, region: str) -> Table:
    """Return one row a worst case: what costs it most of the Dice, and its farthest error."""
    metric = find_metric(rank_by)
    columns = ["Rank", "Case", metric.heading, *([] if rank_by == "dice" else ["Dice"]), "Largest share of 1 − Dice", "Share"]
    columns += ["Farthest error", "Its volume (ml)", "Its distance (mm)", "False islands", "Missed lesions"]
    rows = []
    for row in records(worst):
        kind = row["dominant"] if pd.notna(row["dominant"]) else None
        cells = [Cell(str(row["rank"])), Cell(row["case_id"]), number_cell(row["value"], metric.decimals)]
        cells += [] if rank_by == "dice" else [number_cell(row["dice"], 3)]
        cells += [Cell(KIND_NAMES[kind] if kind else UNDEFINED), number_cell(row[SHARES[kind]] if kind else None, 3)]
        cells += [Cell(KIND_NAMES.get(row["farthest_kind"], UNDEFINED) if pd.notna(row["farthest_kind"]) else UNDEFINED)]
        cells += [number_cell(row["farthest_ml"], 3), number_cell(row["farthest_mm"], 1)]
        rows.append([*cells, count_cell(row["false_lesions"]), count_cell(row["missed_lesions"])])
    words = {"Case", "Largest share of 1 − Dice", "Farthest error"}
    numeric = frozenset(index for index, column in enumerate(columns) if column not in words)
    return Table(f"What is wrong in {region} of the worst cases of {pair.name}.", columns, rows, numeric, headers=2)


def kinds_table(types: pd.DataFrame, pair: Pair) -> Table:
    """Return one row a region and kind of error that occurs in it."""
    rows = []
    for region, found in present(types).groupby("label", sort=False):
        for kind in KINDS:
            if (cases := int((found[f"n_{kind}"] > 0).sum())) == 0:
                continue
            cells = [Cell(str(region)), Cell(KIND_NAMES[kind], title=kind), count_cell(cases)]
            cells += [count_cell(int((found["dominant"] == kind).sum())), number_cell(found[SHARES[kind]].mean(), 4)]
            rows.append([*cells, number_cell(found[f"gain_{kind}"].mean(), 4), number_cell(found[f"ml_{kind}"].sum(), 2)])
    columns = [
        "Region",
        "Kind of error",
        "Cases with it",
        "Largest share in",
        "Mean share",
        "Mean gain alone",
        "Volume, all cases (ml)",
    ]
    caption = f"Kinds of errors of {pair.name}, means over the cases that have the region in either mask."
    return Table(caption, columns, rows, frozenset(range(2, len(columns))), headers=2)


def confusion_picture(confusion: pd.DataFrame, pair: Pair) -> Picture | None:
    """Return the confusion of labels as a picture; None where no label has a volume."""
    if confusion.loc[confusion["true_label"] != LABEL_NAMES[0], "share"].isna().all():
        return None
    alt = f"Error matrix of the labels of {pair.name}; the table that follows has the numbers."
    return embed_figure(draw_confusion(confusion), alt)


def draw_confusion(confusion: pd.DataFrame) -> Figure:
    """Return the error matrix: a row a true label, a column a predicted one, the darker the larger the share of the true label.

    ``confusion``: confusion.csv. The background has no row: nearly all of it is background in both.
    """
    names = [name for name in LABEL_NAMES.values() if name in set(confusion["true_label"])]
    true = [name for name in names if name != LABEL_NAMES[0]]
    shares = confusion.set_index(["true_label", "predicted_label"])["share"]
    values = np.array([[shares[row, column] for column in names] for row in true], dtype=float)
    figure = new_figure(1.6 + 0.8 * len(names), 1.0 + 0.42 * len(true))
    axes = figure.subplots()
    axes.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(values.shape):
        share = values[row, column]
        text = UNDEFINED if np.isnan(share) else f"{number(100 * share, 1)} %"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > DARK_SHARE else "black")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(true)), true)
    axes.set_xlabel("predicted label")
    axes.set_ylabel("true label")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return figure


def confusion_cells(confusion: pd.DataFrame, pair: Pair) -> Table:
    """Return the confusion of labels: a row a true label, a column a predicted one, in ml and % of the true label's volume.

    Of the background only what was given a label is told, in ml: its volume is that of the image.
    """
    found = {(row["true_label"], row["predicted_label"]): row for row in records(confusion)}
    names = [name for name in LABEL_NAMES.values() if any(name == true for true, _ in found)]

    def cell(true: str, predicted: str) -> Cell:
        row = found[true, predicted]
        if true == predicted == LABEL_NAMES[0]:
            return Cell(UNDEFINED)
        share = "" if true == LABEL_NAMES[0] or pd.isna(row["share"]) else f" ({number(100 * row['share'], 1)} %)"
        return Cell(f"{number(row['ml'], 2)}{share}")

    rows = [[Cell(true), *(cell(true, predicted) for predicted in names)] for true in names]
    columns = ["True label", *(f"predicted {name}" for name in names)]
    caption = f"Confusion of labels over all voxels of {pair.name}: ml (% of the true label)."
    return Table(caption, columns, rows, frozenset(range(1, len(columns))))
