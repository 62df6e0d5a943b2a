"""Draw each selected case: one axial slice with the outlines of truth and prediction.

The slice is the one where the truth's region is largest; the prediction's, where the truth has none; the fullest slice of the
brain, where neither has. Pictures are in radiological convention (anterior at the top, the patient's left on the right) by the
image's affine.

Inputs:  ``extremes`` (extremes.csv), ``scores`` (the table they were selected from), ``manifest``, ``predictions``.
Outputs: ``table`` (overlays.csv): group, rank, case_id, picture, slice, value; and the pictures in ``overlays/`` beside it,
         as ``<group>_<rank>_<case_id>.png``. ``picture`` is relative to the table; ``slice`` counts from 0 along the
         stored axis.
Params:  ``image`` (channel), ``region``, ``rank_by``.
Threads: one case each.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from glioflow.case_cache import compute_cases
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.score_tables import read_scores
from glioflow.failure.case_files import CaseFiles, find_case_files
from glioflow.files import read_table, write_table
from glioflow.imaging.labels import region_mask
from glioflow.imaging.volumes import read_labels, read_volume
from glioflow.models.predictions import read_predictions
from glioflow.report.plotting import (
    CHANNEL_NAMES,
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    AxialLayout,
    axial_layout,
    grey_window,
    metric_text,
    new_figure,
    save_figure,
)
from glioflow.study.metric_registry import find_metric

WIDTH_PX, HEIGHT_PX, DPI = 420, 480, 120
# Picture elements kept around the brain.
MARGIN = 4


@dataclass(frozen=True)
class Overlay:
    """One picture to draw: the case's files, where the picture goes and its heading."""

    files: CaseFiles
    picture: Path
    title: str
    caption: str
    image: str
    region: str


def choose_slice(layout: AxialLayout, truth: NDArray[np.bool_], prediction: NDArray[np.bool_], brain: NDArray[np.bool_]) -> int:
    """Return the index of the slice to draw (all masks on the volume's grid)."""
    for mask in (truth, prediction):
        areas = layout.areas(mask)
        if areas.any():
            return int(areas.argmax())
    return int(layout.areas(brain).argmax())


def draw_case(overlay: Overlay) -> int:
    """Write the picture of one case and return its slice.

    Raises ``UserError`` where image, truth and prediction differ in shape.
    """
    image = read_volume(overlay.files.image)
    masks = []
    for path in (overlay.files.truth, overlay.files.prediction):
        labels = read_labels(path).data
        if labels.shape != image.data.shape:
            raise UserError(
                f"{overlay.files.case_id}: {path} has shape {labels.shape}, but {overlay.files.image} has {image.data.shape}; "
                "a mask must have its image's shape"
            )
        masks.append(region_mask(labels.astype(np.uint8, copy=False), overlay.region))
    layout = axial_layout(image)
    brain = image.data != 0
    index = choose_slice(layout, masks[0], masks[1], brain)
    truth, prediction = (layout.slice(mask, index).astype(bool) for mask in masks)
    box = _box(layout.slice(brain.any(axis=layout.axis, keepdims=True), 0) | truth | prediction)
    figure = draw_overlay(
        layout.slice(image.data, index)[box], truth[box], prediction[box], grey_window(image.data), layout.aspect
    )
    figure.text(0.02, 0.985, overlay.title, va="top", fontsize=8.5, fontweight="bold")
    figure.text(0.02, 0.945, overlay.caption, va="top", fontsize=7.5, color="#333333")
    where = f"{image_name(overlay)}, axial slice {index}"
    figure.text(0.97, 0.082, where, ha="right", va="bottom", fontsize=6.5, color="#d0d0d0")
    save_figure(figure, overlay.picture, dpi=DPI, accents=(TRUTH_COLOUR, PREDICTION_COLOUR))
    return index


def image_name(overlay: Overlay) -> str:
    """Return what a picture shows: ``FLAIR``, or ``FLAIR in place of T1ce`` where the case lacks the channel."""
    name = CHANNEL_NAMES.get(overlay.image, overlay.image)
    shown = overlay.files.substitute
    return f"{CHANNEL_NAMES.get(shown, shown)} in place of {name}" if shown else name


def _box(mask: NDArray[np.generic]) -> tuple[slice, ...]:
    box = []
    for axis in range(2):
        filled = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = (int(filled[0]), int(filled[-1])) if filled.size else (0, mask.shape[axis] - 1)
        box.append(slice(max(first - MARGIN, 0), last + MARGIN + 1))
    return tuple(box)


def draw_overlay(
    image: NDArray[np.generic],
    truth: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    window: tuple[float, float],
    aspect: float,
) -> Figure:
    """Return a figure of one slice in grey with the outlines of two masks (rows front to back, columns right to left)."""
    figure = new_figure(WIDTH_PX / DPI, HEIGHT_PX / DPI, layout=None)
    axes = figure.add_axes((0.02, 0.075, 0.96, 0.825))
    axes.set_facecolor("black")
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect, interpolation="bicubic")
    axes.set_adjustable("datalim")
    handles = []
    for mask, name, colour, style, width in (
        (truth, "truth", TRUTH_COLOUR, (0.0, ()), 1.5),
        (prediction, "prediction", PREDICTION_COLOUR, (0.0, (3.2, 1.4)), 1.3),
    ):
        if mask.any():
            rows, columns = (np.arange(-1, size + 1) for size in mask.shape)
            axes.contour(columns, rows, np.pad(mask, 1), levels=[0.5], colors=[colour], linestyles=[style], linewidths=width)
        label = name if mask.any() else f"no {name} here"
        handles.append(Line2D([], [], color=colour, linestyle=style, linewidth=1.6, label=label))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    for side, x, align in (("R", 0.015, "left"), ("L", 0.985, "right")):
        axes.text(x, 0.5, side, transform=axes.transAxes, color="#d0d0d0", fontsize=7.5, ha=align, va="center")
    legend = figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.0, -0.012), ncols=2, fontsize=7.5, handlelength=2.2
    )
    legend.set_in_layout(False)
    return figure


def captions(extremes: pd.DataFrame, scores: pd.DataFrame, region: str, rank_by: str) -> list[str]:
    """Return the line under each case's name: its place, Hausdorff distance and Dice, and the metric it was ranked by."""
    values = {str(row["case_id"]): row for row in scores.to_dict("records")}
    lines = []
    for group, rank, case_id in zip(extremes["group"], extremes["rank"], extremes["case_id"], strict=True):
        metrics = dict.fromkeys([rank_by, "hausdorff", "dice"])
        shown = [metric_text(metric, float(values[case_id][metric])) for metric in metrics]
        lines.append(" · ".join([f"{group} {rank} by {region} {find_metric(rank_by).symbol}", *shown]))
    return lines


def main(snakemake: Any, console: Console) -> str:
    """Write the pictures and their table."""
    params, target = snakemake.params, Path(snakemake.output.table)
    extremes = read_table(snakemake.input.extremes)
    scores = read_scores(snakemake.input.scores, params.region, tuple(dict.fromkeys([params.rank_by, "hausdorff", "dice"])))
    cases = find_case_files(
        extremes["case_id"],
        read_manifest(snakemake.input.manifest),
        read_predictions(snakemake.input.predictions),
        params.image,
    )
    names = [
        f"overlays/{group}_{rank:02d}_{case_id}.png"
        for group, rank, case_id in zip(extremes["group"], extremes["rank"], extremes["case_id"], strict=True)
    ]
    lines = captions(extremes, scores, params.region, params.rank_by)
    overlays = {
        name: Overlay(files, target.parent / name, files.case_id, line, params.image, params.region)
        for files, name, line in zip(cases, names, lines, strict=True)
    }
    slices, _ = compute_cases(draw_case, overlays, threads=snakemake.threads, console=console, what="pictures")
    for left_over in {path.name for path in (target.parent / "overlays").glob("*.png")} - {Path(name).name for name in names}:
        (target.parent / "overlays" / left_over).unlink()
    table = extremes.assign(picture=names, slice=[slices[name] for name in names])
    write_table(target, table[["group", "rank", "case_id", "picture", "slice", "value"]])
    return count(len(overlays), "picture")


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
