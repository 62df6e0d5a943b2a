"""The report's own figures: tumour volumes, training curves and score distributions, in the house style.

Every function returns a matplotlib figure. Points are spread sideways by a fixed sequence and not at random, so the same
table gives the same picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from glioflow.evaluation.score_tables import is_penalised
from glioflow.formatting import number
from glioflow.report.plotting import REGION_COLOURS, new_figure
from glioflow.study.metric_registry import DISTANCES, find_metric

WIDTH_IN = 8.6
# Successive multiples of it, modulo 1, fill an interval evenly however many there are (Weyl sequence).
GOLDEN = (5**0.5 - 1) / 2
# Above this a vector graphic of so many points is slower to open than a picture of them.
MOST_VECTOR_POINTS = 1500
CROWDED = 120
# Of the line at the mean, dark and dashed beside the median's in the region's colour.
MEAN_COLOUR, MEAN_DASHES = "#1d2329", (0, (3.0, 1.6))
# What becomes of a case between conventions: colour (Okabe & Ito), mark and words.
FATES = {
    "stays": ("#8a9099", "o", "among the worst under every convention"),
    "leaves": ("#D55E00", "v", "leaves the worst under some"),
    "enters": ("#0072B2", "^", "enters the worst under some"),
}
# A penalty this many times the largest measured distance would press all that was measured flat against the axis.
FAR_PENALTY = 1.5
OUT_OF_SIGHT = 1e6


def sideways(values: ArrayLike, width: float) -> NDArray[np.float64]:
    """Return an offset within ±``width``/2 for each value, so that neighbouring values are apart."""
    order = np.argsort(np.asarray(values, float), kind="stable")
    offsets = np.zeros(len(order))
    if len(order) > 1:
        offsets[order] = ((np.arange(len(order)) * GOLDEN) % 1 - 0.5) * width
    return offsets


def _draw_values(
    axes: Axes,
    position: float,
    values: pd.Series,
    colour: str,
    width: float,
    hollow: ArrayLike = False,
    top: float = np.inf,
    mean: bool = False,
) -> None:
    """Draw a box (quartiles, median, whiskers to 1.5 times the quartiles' distance) and every defined value.

    ``hollow``, for each value or for all: drawn as a ring, or as a triangle at ``top`` where the value is larger. ``mean``:
    whether the mean is drawn too, as a dashed line.
    """
    defined = values.notna().to_numpy(bool)
    if not defined.any():
        return
    heights = values.to_numpy(float)[defined]
    line = {"color": colour, "linewidth": 1.0}
    axes.boxplot(
        # An infinite distance has no place in a mean or a quartile that is drawn; far above the axis is where its line goes.
        [np.minimum(heights, OUT_OF_SIGHT * top)],
        positions=[position],
        widths=width,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": to_rgba(colour, 0.22), "edgecolor": colour, "linewidth": 1.0},
        whiskerprops=line,
        capprops=line,
        medianprops={"color": colour, "linewidth": 2.0},
        showmeans=mean,
        meanline=True,
        meanprops={"color": MEAN_COLOUR, "linewidth": 1.4, "linestyle": MEAN_DASHES, "zorder": 4},
    )
    ring = np.broadcast_to(np.asarray(hollow, bool), values.shape)[defined]
    beyond = ring & (heights > top)
    crowded = len(heights) > CROWDED
    heights, places = np.where(beyond, top, heights), position + sideways(heights, 0.72 * width)
    solid = to_rgba(colour, 0.6 if crowded else 0.9)
    for chosen, marker, face, edge in (
        (~ring, "o", solid, "white"),
        (ring & ~beyond, "o", "white", colour),
        (beyond, "^", "white", colour),
    ):
        axes.scatter(
            places[chosen],
            heights[chosen],
            s=7 if crowded else 17,
            marker=marker,
            facecolors=face,
            edgecolors=edge,
            linewidths=(0.2 if crowded else 0.5) if edge == "white" else 1.1,
            zorder=3,
            clip_on=False,
            rasterized=len(heights) > MOST_VECTOR_POINTS,
        )


def draw_volumes(volumes: pd.DataFrame, groups: Mapping[str, Sequence[bool]]) -> Figure:
    """Return the distribution of region volumes.

    ``volumes``: ml, one row a case and one column a region. ``groups``: name to a bool per row; each group is a box of its
    own. The axis is logarithmic, so cases without the region are counted under its name.
    """
    figure = new_figure(WIDTH_IN, 3.3)
    axes = figure.subplots()
    width = 0.72 / len(groups)
    names = []
    for index, region in enumerate(map(str, volumes)):
        for place, members in enumerate(groups.values()):
            values = volumes[region][np.asarray(members, bool)]
            position = index + (place - (len(groups) - 1) / 2) * width
            # Later groups as rings: two groups must differ in more than their place.
            _draw_values(axes, position, values.where(values > 0), REGION_COLOURS[region], 0.82 * width, hollow=place > 0)
        absent = int((volumes[region] == 0).sum())
        names.append(f"{region}\n(absent in {absent})" if absent else region)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel("volume in ml (logarithmic)")
    axes.grid(axis="x", visible=False)
    if len(groups) > 1:
        handles = [_mark(name, hollow=place > 0) for place, name in enumerate(groups)]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(groups))
    return figure


def _mark(label: str, hollow: bool, marker: str = "o") -> Line2D:
    mark = Line2D([], [], color="#4d4d4d", linestyle="none", marker=marker, markersize=5, label=label)
    mark.set_markerfacecolor("white" if hollow else "#4d4d4d")
    return mark


def draw_curves(curves: Mapping[int, pd.DataFrame]) -> Figure:
    """Return the course of a model's training: losses, learning rate and the pseudo-Dice of each region, one line a fold.

    ``curves``: fold to its curves.csv. Folds take steps of one scale from dark to light. Where no fold noted its learning rate,
    as one trained elsewhere, there is no panel of it.
    """
    regions = list(dict.fromkeys(c for table in curves.values() for c in table.columns if c.startswith("pseudo_dice_")))
    rated = any(table.get("learning_rate", pd.Series(dtype=float)).notna().any() for table in curves.values())
    figure = new_figure(WIDTH_IN, 3.6 if rated else 3.1)
    grid = figure.add_gridspec(2, 1 + len(regions), width_ratios=[1.35, *[1.0] * len(regions)], height_ratios=[2.4, 1])
    loss = figure.add_subplot(grid[0, 0] if rated else grid[:, 0])
    rates = figure.add_subplot(grid[1, 0], sharex=loss) if rated else None
    panels = [loss, *(figure.add_subplot(grid[:, place]) for place in range(1, 1 + len(regions)))]
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.82, len(curves)))
    for colour, table in zip(colours, curves.values(), strict=True):
        mark = "o" if len(table) < 3 else ""
        panels[0].plot(
            table["epoch"],
            table["train_loss"],
            color=colour,
            linewidth=1.0,
            linestyle=(0, (2.2, 1.4)),
            marker=mark,
            markersize=3,
        )
        panels[0].plot(table["epoch"], table["val_loss"], color=colour, linewidth=1.5, marker=mark, markersize=3)
        if rates is not None and "learning_rate" in table:
            rates.plot(table["epoch"], table["learning_rate"], color=colour, linewidth=1.5, marker=mark, markersize=3)
        for axes, column in zip(panels[1:], regions, strict=True):
            if column in table:
                axes.plot(table["epoch"], table[column], color=colour, linewidth=1.5, marker=mark, markersize=3)
    panels[0].set_title("Loss")
    panels[0].legend(
        handles=[
            Line2D([], [], color="#4d4d4d", linewidth=1.0, linestyle=(0, (2.2, 1.4)), label="training"),
            Line2D([], [], color="#4d4d4d", linewidth=1.5, label="validation"),
        ]
    )
    for index, (axes, column) in enumerate(zip(panels[1:], regions, strict=True)):
        axes.set_title(f"Pseudo-Dice {column.removeprefix('pseudo_dice_')}")
        axes.set_ylim(0, 1)
        if index:
            axes.tick_params(labelleft=False)
    if rates is not None:
        rates.set_title("Learning rate")
        rates.set_ylim(bottom=0)
        rates.yaxis.set_major_locator(MaxNLocator(3))
        loss.tick_params(labelbottom=False)
    for axes in [rates or loss, *panels[1:]]:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    named = zip(curves, colours, strict=True)
    handles = [Line2D([], [], color=colour, linewidth=2, label=f"fold {fold}") for fold, colour in named]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 10))
    return figure


def draw_scores(scores: pd.DataFrame, metrics: Sequence[str] = ("dice", "hausdorff")) -> Figure:
    """Return the distribution of ``metrics`` by region, side by side, every case a point, with mean and median as lines.

    ``scores``: a score table (label, note and the metrics). Distances that are a penalty and not measured are drawn as rings;
    where they are far beyond what was measured they are triangles at the upper end of the axis.
    """
    regions = list(dict.fromkeys(scores["label"]))
    figure = new_figure(WIDTH_IN, 3.5)
    penalty = is_penalised(scores)
    marks = {}
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
        known, values = find_metric(metric), scores[metric].astype(float)
        unit = known.unit if metric in DISTANCES else None
        rings = (penalty | np.isinf(values)) & values.notna() if unit else pd.Series(False, index=scores.index)
        top = axis_top(values, rings) if unit else 1.0
        axes.set_ylim(0, top)
        for position, region in enumerate(regions):
            rows = scores["label"] == region
            _draw_values(axes, position, values[rows], REGION_COLOURS[region], 0.56, rings[rows], top, mean=True)
        if (rings & (values > top)).any():
            marks["^"] = "penalty, beyond the axis: one of the masks is empty"
        if (rings & (values <= top)).any():
            marks["o"] = "penalty: one of the masks is empty"
        names = [f"{region}\n{_values_words(values[scores['label'] == region], 1 if unit else 3)}" for region in regions]
        # Six regions leave half the room to each that three do.
        axes.set_xticks(range(len(regions)), names, fontsize=8.5 if len(regions) < 5 else 6)
        axes.set_xlim(-0.6, len(regions) - 0.4)
        axes.grid(axis="x", visible=False)
        name = known.name[0].upper() + known.name[1:]
        axes.set_title(f"{name} ({unit})" if unit else name, pad=9)
    handles = [
        Line2D([], [], color=MEAN_COLOUR, linewidth=2.0, label="median"),
        Line2D([], [], color=MEAN_COLOUR, linewidth=1.4, linestyle=MEAN_DASHES, label="mean"),
        *(_mark(label, hollow=True, marker=marker) for marker, label in marks.items()),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles))
    return figure


def _values_words(values: pd.Series, decimals: int) -> str:
    """Return mean, median and number of the defined values, a line each, and how many are undefined."""
    undefined = int(values.isna().sum())
    words = f"n = {values.count()}" + (f" ({undefined} undefined)" if undefined else "")
    if undefined == len(values):
        return words
    return f"mean {number(values.mean(), decimals)}\nmedian {number(np.median(values.dropna()), decimals)}\n{words}"


def axis_top(values: pd.Series, penalised: pd.Series) -> float:
    """Return the upper end of an axis of distances: room for every measured one, and for penalties where these are not far."""
    finite = values.where(np.isfinite(values))
    measured, largest = finite[~penalised].max(), finite.max()
    if not largest > 0:
        return 1.0
    near = not measured > 0 or largest <= FAR_PENALTY * measured
    return float(1.05 * (largest if near else measured))


def draw_ranks(
    conventions: Sequence[str], cases: Sequence[tuple[str, str, Sequence[int | None], Sequence[int]]], worst: int
) -> Figure:
    """Return how cases rank under each convention: a line a case, the ``worst`` ranks of a convention at the top.

    ``cases``: id, fate (of ``FATES``), and for each convention the rank (None: no value) and the row that it is drawn in, from
    0 at the top. The rows from ``worst`` + 1 on are of other ranks; these are written on the line, – for none.
    """
    rows = 1 + max(row for *_, places in cases for row in places)
    figure = new_figure(WIDTH_IN, 1.2 + 0.19 * rows)
    axes = figure.subplots()
    right = axes.twinx()
    axes.axhspan(-0.6, worst - 0.4, color="#f4f6f8", zorder=0)
    for _, fate, ranks, places in cases:
        colour, marker, _ = FATES[fate]
        for place, ends in enumerate(pairwise(places)):
            # What happens among the worst is what is looked for: strong there, weaker on the way out, faint outside.
            strength = (0.25, 0.5, 0.95)[sum(row < worst for row in ends)]
            axes.plot((place, place + 1), ends, color=colour, linewidth=1.6 * strength**0.5, alpha=strength, zorder=2)
        inside = [place for place, row in enumerate(places) if row < worst]
        axes.scatter(inside, [places[place] for place in inside], s=17, color=colour, marker=marker, zorder=4)
        for place, (rank, row) in enumerate(zip(ranks, places, strict=True)):
            if row >= worst:
                box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": colour, "linewidth": 0.6}
                text = "–" if rank is None else str(rank)
                axes.text(place, row, text, fontsize=6.5, color=colour, ha="center", va="center", bbox=box, zorder=5)
    for side, place in ((axes, 0), (right, -1)):
        side.set_ylim(rows - 0.4, -0.6)
        ordered = sorted((places[place], case, fate) for case, fate, _, places in cases)
        names = [f"{case}   {row + 1}" if side is axes else f"{row + 1}   {case}" for row, case, _ in ordered if row < worst]
        names += [case for row, case, _ in ordered if row >= worst]
        side.set_yticks([row for row, *_ in ordered], names, fontsize=7)
        for tick, (*_, fate) in zip(side.get_yticklabels(), ordered, strict=True):
            tick.set_color(FATES[fate][0] if fate != "stays" else "#4d4d4d")
        side.tick_params(axis="y", length=0)
        side.spines[["left", "right", "bottom"]].set_visible(False)
        side.grid(axis="y", visible=False)
    axes.set_xticks(range(len(conventions)), conventions, fontsize=7.5, rotation=40, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_xlim(-0.3, len(conventions) - 0.7)
    present = {fate for _, fate, *_ in cases}
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4.5, linewidth=1.5, label=words)
        for fate, (colour, marker, words) in FATES.items()
        if fate in present
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@dataclass(frozen=True)
class RankPanel:
    """How models rank in bootstrap samples, NaN for a model that is not ranked here.

    ``shares``: of the samples, an array (models, ranks); ``median``, ``low``, ``high``: of the ranks, arrays (models,).
    """

    shares: NDArray[np.float64]
    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def draw_rank_stability(models: Sequence[str], panels: Mapping[tuple[str, str], RankPanel]) -> Figure:
    """Return how often each model has each rank: a circle of that area, with the median and the central 95 % of the ranks.

    ``panels``: by metric's name and region; a row of panels a metric, a column a region. ``models``: the best at the top.
    """
    metrics, regions = (list(dict.fromkeys(names)) for names in zip(*panels, strict=True))
    height = 0.33 * len(models) + 0.75
    figure = new_figure(WIDTH_IN, height * len(metrics) + 0.35)
    grid = figure.subplots(len(metrics), len(regions), sharex=True, sharey=True, squeeze=False)
    # The area of a circle that is as wide as a row is high, in square points.
    full = (0.3 * 72) ** 2
    ranks = np.arange(1, len(models) + 1)
    line: dict[str, Any] = {"color": "#1d2329", "linewidth": 1.0}
    cross: dict[str, Any] = {"marker": "x", "markersize": 5, "markeredgewidth": 1.4}
    for row, metric in enumerate(metrics):
        for column, region in enumerate(regions):
            axes, panel = grid[row, column], panels.get((metric, region))
            axes.set_title(f"{metric}, {region}")
            axes.set_xlim(0.5, len(models) + 0.5)
            axes.set_ylim(len(models) - 0.5, -0.5)
            axes.set_xticks(ranks)
            axes.set_yticks(range(len(models)), models)
            axes.tick_params(axis="y", length=0)
            if row == len(metrics) - 1:
                axes.set_xlabel("rank")
            if panel is None:
                continue
            for place in range(len(models)):
                shares = np.nan_to_num(panel.shares[place])
                axes.scatter(
                    ranks, [place] * len(ranks), s=full * shares, color=to_rgba(REGION_COLOURS[region], 0.45), linewidths=0
                )
                axes.plot([panel.low[place], panel.high[place]], [place, place], **line)
                axes.plot(panel.median[place], place, **line, **cross)
    circle: dict[str, Any] = {"linestyle": "none", "marker": "o", "color": "#b9bec5", "markeredgewidth": 0}
    handles = [
        Line2D([], [], markersize=(full * share) ** 0.5, label=label, **circle)
        for share, label in ((0.1, "10 %"), (0.5, "50 % of the samples"))
    ]
    handles.append(Line2D([], [], label="median rank and 95 %", **line, **cross))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
