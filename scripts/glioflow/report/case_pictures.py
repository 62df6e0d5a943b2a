"""The static picture of a case: two axial slices in grey with the outlines of truth and prediction.

The left one goes through the pair of points that attains the Hausdorff distance, with the line between them; the right one is
where the wrong area is largest. Both are cropped alike, so that they have one scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from glioflow.evaluation.witnesses import SIDES, Witness
from glioflow.formatting import number
from glioflow.imaging.volumes import Volume
from glioflow.report.plotting import PREDICTION_COLOUR, TRUTH_COLOUR, AxialLayout, axial_layout, grey_window, new_figure

WIDTH_PX, HEIGHT_PX, DPI = 840, 520, 120
# Picture elements kept around the brain.
MARGIN = 4
# Points closer than this along the axis between feet and head are in one slice.
SAME_SLICE = 0.5
ERROR_ALPHA = 0.42
FAINT = "#d0d0d0"
COLOURS = (TRUTH_COLOUR, PREDICTION_COLOUR)
STYLES = ((0.0, ()), (0.0, (3.2, 1.4)))  # of the truth, and dashed of the prediction

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Slices:
    """The slices of a picture, counted from 0 along the stored axis: through the witness (None without one), of most error."""

    witness: int | None
    error: int


@dataclass(frozen=True)
class Shown:
    """What a picture shows: the image, of every region the masks of truth and prediction, and the witness of the first.

    ``masks``: region to a pair of masks (x, y, z), the ranking region first. ``image_name``, ``title``, ``caption``: words.
    ``note``: why there is no witness, or what is to be said of it.
    """

    image: Volume
    masks: Mapping[str, tuple[Mask, Mask]]
    witness: Witness | None
    note: str
    image_name: str
    title: str
    caption: str

    @property
    def region(self) -> str:
        """The ranking region."""
        return next(iter(self.masks))


def choose_slices(shown: Shown) -> Slices:
    """Return the slices to draw.

    Through the end of the witness that the distance is measured from, since the error is there. The area counted is that of
    wrong voxels of the ranking region; where none is wrong, that of the truth, the prediction or the brain.
    """
    layout = axial_layout(shown.image)
    truth, prediction = shown.masks[shown.region]
    witness = None
    if shown.witness:
        witness = int(np.floor(shown.witness.points[shown.witness.start][layout.axis] + SAME_SLICE))
        witness = min(witness, shown.image.data.shape[layout.axis] - 1)
    for mask in (truth ^ prediction, truth, prediction, shown.image.data != 0):
        areas = layout.areas(mask)
        if areas.any():
            break
    return Slices(witness, int(areas.argmax()))


def draw_picture(shown: Shown, slices: Slices) -> Figure:
    """Return the picture of a case (rows front to back, columns right to left)."""
    layout, image = axial_layout(shown.image), shown.image.data
    everything = np.logical_or.reduce([image != 0, *(mask for pair in shown.masks.values() for mask in pair)])
    box = _box(layout.slice(everything.any(axis=layout.axis, keepdims=True), 0))
    figure = new_figure(WIDTH_PX / DPI, HEIGHT_PX / DPI, layout=None)
    figure.text(0.01, 0.988, shown.title, va="top", fontsize=9, fontweight="bold")
    figure.text(0.01, 0.945, shown.caption, va="top", fontsize=8, color="#333333")
    headings = _witness_heading(shown, layout, slices.witness), f"Slice {slices.error}: the largest wrong area"
    window = grey_window(image)
    for place, index in enumerate((slices.witness, slices.error)):
        left = 0.01 + 0.495 * place
        axes = figure.add_axes((left, 0.085, 0.485, 0.745))
        axes.set(xticks=[], yticks=[], facecolor="black")
        axes.spines[:].set_visible(False)
        figure.text(left, 0.838, headings[place], va="bottom", fontsize=7.5, linespacing=1.25)
        if index is None:
            axes.text(0.5, 0.5, "no line to draw", transform=axes.transAxes, ha="center", color=FAINT, fontsize=8)
            continue
        plane = layout.slice(image, index)[box]
        axes.imshow(plane, cmap="gray", vmin=window[0], vmax=window[1], aspect=layout.aspect, interpolation="bicubic")
        axes.set_adjustable("datalim")
        pairs = [[layout.slice(mask, index)[box].astype(bool) for mask in pair] for pair in shown.masks.values()]
        _draw_masks(axes, pairs)
        if place == 0 and shown.witness:
            if not in_one_slice(shown.witness, layout):
                _draw_projection(axes, shown, layout, box)
            _draw_witness(axes, shown.witness, layout, image.shape, box)
        for side, x, align in (("R", 0.015, "left"), ("L", 0.985, "right")):
            axes.text(x, 0.5, side, transform=axes.transAxes, color=FAINT, fontsize=7.5, ha=align, va="center")
        axes.text(0.985, 0.015, shown.image_name, transform=axes.transAxes, color=FAINT, fontsize=6.5, ha="right")
    _draw_legend(figure, shown)
    return figure


def _witness_heading(shown: Shown, layout: AxialLayout, index: int | None) -> str:
    """Return the words over the slice through the witness, or why there is none."""
    if shown.witness is None:
        return f"No Hausdorff distance of {shown.region}:\n{shown.note}"
    start, other = shown.witness.start, 1 - shown.witness.start
    words = f"Slice {index}: the {SIDES[start]}'s farthest point (disc)"
    if in_one_slice(shown.witness, layout):
        return f"{words},\nthe {SIDES[other]}'s nearest (ring)"
    indices = shown.witness.points[:, layout.axis]
    rise = (indices[other] - indices[start]) * shown.image.spacing[layout.axis] * (1 if layout.rises else -1)
    where = f"slice {number(indices[other], 0)}, {number(abs(rise), 1)} mm {'higher' if rise > 0 else 'lower'}"
    return f"{words}; the {SIDES[other]}'s nearest\n(ring) is in {where}. Dotted: its outline"


def in_one_slice(witness: Witness, layout: AxialLayout) -> bool:
    """Tell whether both points of a witness are in one axial slice."""
    first, second = witness.points[:, layout.axis]
    return bool(abs(first - second) <= SAME_SLICE)


def _draw_masks(axes: Axes, pairs: Sequence[Sequence[Mask]]) -> None:
    """Tint what is wrong in the first region, and outline every region, the first with a thick line."""
    truth, prediction = pairs[0]
    for wrong, colour in ((truth & ~prediction, TRUTH_COLOUR), (prediction & ~truth, PREDICTION_COLOUR)):
        tint = np.zeros((*wrong.shape, 4))
        tint[wrong] = (*_rgb(colour), ERROR_ALPHA)
        axes.imshow(tint, aspect=axes.get_aspect(), interpolation="nearest")
    for place, pair in reversed(list(enumerate(pairs))):
        for mask, colour, style in zip(pair, COLOURS, STYLES, strict=True):
            _outline(axes, mask, colour, style, 1.4 if place == 0 else 0.6)


def _draw_projection(axes: Axes, shown: Shown, layout: AxialLayout, box: tuple[slice, ...]) -> None:
    """Draw the outline that the mask of the witness's near end has over all slices, which the line runs to."""
    assert shown.witness is not None
    side = 1 - shown.witness.start
    mask = np.asarray(shown.masks[shown.region][side].any(axis=layout.axis, keepdims=True))
    _outline(axes, layout.slice(mask, 0)[box].astype(bool), COLOURS[side], (0.0, (0.8, 1.6)), 1.0)


def _outline(axes: Axes, mask: Mask, colour: str, style: Any, width: float) -> None:
    if mask.any():
        rows, columns = (np.arange(-1, size + 1) for size in mask.shape)
        axes.contour(columns, rows, np.pad(mask, 1), levels=[0.5], colors=[colour], linestyles=[style], linewidths=width)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


def _draw_witness(axes: Axes, witness: Witness, layout: AxialLayout, shape: Sequence[int], box: tuple[slice, ...]) -> None:
    """Draw the line between the two points, a disc at the far end, a ring at the near one, and its length."""
    rows, columns = zip(*(layout.place(point, shape) for point in witness.points), strict=True)
    x, y = (np.array(values) - part.start for values, part in ((columns, box[1]), (rows, box[0])))
    casing = [withStroke(linewidth=3, foreground="black")]
    axes.plot(x, y, color="white", linewidth=1.2, path_effects=casing, zorder=4)
    for side, colour in enumerate(COLOURS):
        face = colour if side == witness.start else "none"
        axes.plot(
            x[side], y[side], "o", markersize=6, markerfacecolor=face, markeredgecolor="white", markeredgewidth=1.1, zorder=5
        )
    width, height = (part.stop - part.start for part in (box[1], box[0]))
    # Beside the middle of the line, on the side where there is more room.
    right = x.mean() < width / 2
    axes.annotate(
        f"{number(witness.length_mm, 1)} mm",
        (float(x.mean()), float(np.clip(y.mean(), 0.06 * height, 0.94 * height))),
        xytext=(9 if right else -9, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        color="white",
        fontsize=9,
        fontweight="bold",
        path_effects=casing,
        zorder=6,
    )


def _draw_legend(figure: Figure, shown: Shown) -> None:
    """Write what lines, tints and marks mean, below both slices."""
    others, pairs = list(shown.masks)[1:], shown.masks[shown.region]
    handles: list[Line2D | Patch] = [
        Line2D(
            [], [], color=colour, linestyle=style, linewidth=1.6, label=side if mask.any() else f"no {side} of {shown.region}"
        )
        for side, colour, style, mask in zip(SIDES.values(), COLOURS, STYLES, pairs, strict=True)
    ]
    words = ("missed", "too much")
    handles += [Patch(color=colour, alpha=ERROR_ALPHA, label=word) for colour, word in zip(COLOURS, words, strict=True)]
    if shown.witness:
        line: dict[str, Any] = {
            "color": "#777777",
            "marker": "o",
            "markersize": 4.5,
            "markerfacecolor": "none",
            "linewidth": 1.2,
        }
        handles.append(Line2D([], [], **line, label="Hausdorff distance"))
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, -0.01)}
    legend = figure.legend(handles=handles, ncols=5, fontsize=7.5, handlelength=2.0, columnspacing=1.4, **place)
    legend.set_in_layout(False)
    thin = f" · thin: {', '.join(others)}" if others else ""
    figure.text(0.99, 0.032, f"thick: {shown.region}{thin}", ha="right", va="center", fontsize=7.5)


def _box(mask: NDArray[np.generic]) -> tuple[slice, ...]:
    box = []
    for axis in range(2):
        filled = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = (int(filled[0]), int(filled[-1])) if filled.size else (0, mask.shape[axis] - 1)
        box.append(slice(max(first - MARGIN, 0), min(last + MARGIN + 1, mask.shape[axis])))
    return tuple(box)
