"""The report's own figures: tumour volumes, training curves and score distributions, in the house style.

Every function returns a matplotlib figure. Points are spread sideways by a fixed sequence and not at random, so the same
table gives the same picture.
"""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from glioflow.figures import METRIC_NAMES, METRIC_UNITS, REGION_COLOURS, new_figure
from glioflow.metrics import PENALTY

WIDTH_IN = 8.6
# Successive multiples of it, modulo 1, fill an interval evenly however many there are (Weyl sequence).
GOLDEN = (5**0.5 - 1) / 2
# Above this a vector graphic of so many points is slower to open than a picture of them.
MOST_VECTOR_POINTS = 1500
CROWDED = 120
# A penalty this many times the largest measured distance would press all that was measured flat against the axis.
FAR_PENALTY = 1.5


def sideways(values: ArrayLike, width: float) -> NDArray[np.float64]:
    """Return an offset within ±``width``/2 for each value, so that neighbouring values stand apart."""
    order = np.argsort(np.asarray(values, float), kind="stable")
    offsets = np.zeros(len(order))
    if len(order) > 1:
        offsets[order] = ((np.arange(len(order)) * GOLDEN) % 1 - 0.5) * width
    return offsets


def _draw_values(
    axes: Axes, position: float, values: pd.Series, colour: str, width: float, hollow: ArrayLike = False, top: float = np.inf
) -> None:
    """Draw a box (quartiles, whiskers to 1.5 times their distance) and every defined value.

    ``hollow``, for each value or for all: drawn as a ring, or as a triangle at ``top`` where the value is larger.
    """
    defined = values.notna().to_numpy(bool)
    if not defined.any():
        return
    heights = values.to_numpy(float)[defined]
    line = {"color": colour, "linewidth": 1.0}
    axes.boxplot(
        [heights],
        positions=[position],
        widths=width,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": to_rgba(colour, 0.22), "edgecolor": colour, "linewidth": 1.0},
        whiskerprops=line,
        capprops=line,
        medianprops={"color": colour, "linewidth": 2.0},
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
        handles = [_mark("#4d4d4d", name, hollow=place > 0) for place, name in enumerate(groups)]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(groups))
    return figure


def _mark(colour: str, label: str, hollow: bool, marker: str = "o") -> Line2D:
    mark = Line2D([], [], color=colour, linestyle="none", marker=marker, markersize=5, label=label)
    mark.set_markerfacecolor("white" if hollow else colour)
    return mark


def draw_curves(curves: Mapping[int, pd.DataFrame]) -> Figure:
    """Return the course of a model's training: losses and the pseudo-Dice of each region, one line a fold.

    ``curves``: fold to its curves.csv. Folds take steps of one scale from dark to light.
    """
    regions = list(dict.fromkeys(c for table in curves.values() for c in table.columns if c.startswith("pseudo_dice_")))
    figure = new_figure(WIDTH_IN, 3.1)
    panels = figure.subplots(1, 1 + len(regions), width_ratios=[1.35, *[1.0] * len(regions)], squeeze=False)[0]
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
    for number, (axes, column) in enumerate(zip(panels[1:], regions, strict=True)):
        axes.set_title(f"Pseudo-Dice {column.removeprefix('pseudo_dice_')}")
        axes.set_ylim(0, 1)
        if number:
            axes.tick_params(labelleft=False)
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    named = zip(curves, colours, strict=True)
    handles = [Line2D([], [], color=colour, linewidth=2, label=f"fold {fold}") for fold, colour in named]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 10))
    return figure


def draw_scores(scores: pd.DataFrame, metrics: Sequence[str] = ("dice", "hausdorff")) -> Figure:
    """Return the distribution of ``metrics`` by region, side by side, every case a point.

    ``scores``: a score table (label, note and the metrics). Distances that are a penalty and not measured are drawn as rings;
    where they are far beyond what was measured they stand as triangles at the upper end of the axis.
    """
    regions = list(dict.fromkeys(scores["label"]))
    figure = new_figure(WIDTH_IN, 3.5)
    penalty = scores["note"].astype("string").str.startswith(PENALTY).fillna(False).astype(bool)
    marks = {}
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
        unit, values = METRIC_UNITS.get(metric), scores[metric].astype(float)
        rings = penalty & values.notna() if unit else pd.Series(False, index=scores.index)
        top = axis_top(values, rings) if unit else 1.0
        axes.set_ylim(0, top)
        for position, region in enumerate(regions):
            rows = scores["label"] == region
            _draw_values(axes, position, values[rows], REGION_COLOURS[region], 0.56, rings[rows], top)
        if (rings & (values > top)).any():
            marks["^"] = "penalty, beyond the axis: one of the masks is empty"
        if (rings & (values <= top)).any():
            marks["o"] = "penalty: one of the masks is empty"
        defined = [int(values[scores["label"] == region].notna().sum()) for region in regions]
        undefined = [int(values[scores["label"] == region].isna().sum()) for region in regions]
        names = [
            f"{region}\nn = {n}" + (f" ({without} undefined)" if without else "")
            for region, n, without in zip(regions, defined, undefined, strict=True)
        ]
        axes.set_xticks(range(len(regions)), names)
        axes.set_xlim(-0.6, len(regions) - 0.4)
        axes.grid(axis="x", visible=False)
        name = METRIC_NAMES[metric][0].upper() + METRIC_NAMES[metric][1:]
        axes.set_title(f"{name} ({unit})" if unit else name, pad=9)
    if marks:
        handles = [_mark("#4d4d4d", label, hollow=True, marker=marker) for marker, label in marks.items()]
        figure.legend(handles=handles, loc="outside lower right", ncols=2)
    return figure


def axis_top(values: pd.Series, penalised: pd.Series) -> float:
    """Return the upper end of an axis of distances: room for every measured one, and for penalties where these are not far."""
    measured, largest = values[~penalised].max(), values.max()
    if not largest > 0:
        return 1.0
    near = not measured > 0 or largest <= FAR_PENALTY * measured
    return float(1.05 * (largest if near else measured))
