"""Draw each selected case: the slice through the pair of points that attains its Hausdorff distance beside that of most error.

Pictures are in radiological convention (anterior at the top, the patient's left on the right) by the image's affine. What they
show is in ``glioflow.report.case_pictures``; the pair of points, the witness of the distance, is found as the scores are.

Inputs
------
extremes : extremes.csv
scores : the table they were selected from
manifest, predictions : as of score_cases

Outputs
-------
table : overlays.csv: group, rank, case_id, picture, witness_slice, error_slice, value; and the pictures in ``overlays/`` beside
    it, as ``<group>_<rank>_<case_id>.png``. ``picture`` is relative to the table; slices count from 0 along the stored axis
witnesses : witnesses.csv, a row per case and region: group, rank, case_id and ``glioflow.evaluation.witnesses.COLUMNS``: the
    distance as scored, the length in mm, the side that it is measured from, both points as voxel indices along the stored axes
    and in mm in RAS+ space, and a note. A region that a mask lacks has its note alone

Params
------
image : channel that is shown
region, rank_by : as of select_extremes
regions, trained_regions, truth_regions : as of score_cases
convention : name of the study's: it decides between which points a distance is
conventions : content hash of it, so that the rule runs again where a value may change

Threads: one case each.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.case_cache import compute_cases
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.conventions import Convention
from glioflow.evaluation.score_tables import read_scores
from glioflow.evaluation.scoring import plan_of
from glioflow.evaluation.witnesses import COLUMNS, find_witnesses
from glioflow.failure.case_files import CaseFiles, find_case_files
from glioflow.files import read_table, write_table
from glioflow.imaging.labels import region_mask
from glioflow.imaging.volumes import read_labels, read_volume
from glioflow.models.predictions import read_predictions
from glioflow.report.case_pictures import DPI, Shown, choose_slices, draw_picture
from glioflow.report.plotting import CHANNEL_NAMES, PREDICTION_COLOUR, TRUTH_COLOUR, metric_text, save_figure
from glioflow.study.metric_registry import find_metric


@dataclass(frozen=True)
class Overlay:
    """One picture to draw: the case's files, where the picture goes and its heading; the regions, the ranking one first."""

    files: CaseFiles
    picture: Path
    title: str
    caption: str
    image: str
    regions: tuple[str, ...]
    convention: Convention


def draw_case(overlay: Overlay) -> dict[str, Any]:
    """Write the picture of one case; return the columns of its slices and, by region, those of its witnesses.

    Raises ``UserError`` where image, truth and prediction differ in shape.
    """
    image = read_volume(overlay.files.image)
    truth, prediction = (read_labels(path) for path in (overlay.files.truth, overlay.files.prediction))
    for path, labels in ((overlay.files.truth, truth), (overlay.files.prediction, prediction)):
        if labels.data.shape != image.data.shape:
            raise UserError(
                f"{overlay.files.case_id}: {path} has shape {labels.data.shape}, but {overlay.files.image} has "
                f"{image.data.shape}; a mask must have its image's shape"
            )
    maps = truth.data, prediction.data
    witnesses = find_witnesses(*maps, truth.spacing, overlay.regions, overlay.convention)
    witness, note = witnesses[overlay.regions[0]]
    masks = {region: (region_mask(maps[0], region), region_mask(maps[1], region)) for region in overlay.regions}
    shown = Shown(image, masks, witness, note, image_name(overlay), overlay.title, overlay.caption)
    slices = choose_slices(shown)
    save_figure(draw_picture(shown, slices), overlay.picture, dpi=DPI, accents=(TRUTH_COLOUR, PREDICTION_COLOUR))
    rows = [
        {"label": region, "convention": overlay.convention.name, "units": overlay.convention.units, "note": words or None}
        | (found.row(truth.affine) if found else {})
        for region, (found, words) in witnesses.items()
    ]
    return {"witness_slice": slices.witness, "error_slice": slices.error, "witnesses": rows}


def image_name(overlay: Overlay) -> str:
    """Return what a picture shows: ``FLAIR``, or ``FLAIR in place of T1ce`` where the case lacks the channel."""
    name = CHANNEL_NAMES.get(overlay.image, overlay.image)
    shown = overlay.files.substitute
    return f"{CHANNEL_NAMES.get(shown, shown)} in place of {name}" if shown else name


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
    """Write the pictures and both tables."""
    params, target = snakemake.params, Path(snakemake.output.table)
    plan = plan_of(params, params.convention)
    regions = tuple(dict.fromkeys([params.region, *plan.visible]))
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
        name: Overlay(files, target.parent / name, files.case_id, line, params.image, regions, plan.convention)
        for files, name, line in zip(cases, names, lines, strict=True)
    }
    drawn, _ = compute_cases(draw_case, overlays, threads=snakemake.threads, console=console, what="pictures")
    for left_over in {path.name for path in (target.parent / "overlays").glob("*.png")} - {Path(name).name for name in names}:
        (target.parent / "overlays" / left_over).unlink()
    slices = {column: [drawn[name][column] for name in names] for column in ("witness_slice", "error_slice")}
    table = extremes.assign(picture=names, **slices).astype(dict.fromkeys(slices, "Int64"))
    write_table(target, table[["group", "rank", "case_id", "picture", *slices, "value"]])
    told = ["group", "rank", "case_id"]
    rows = [
        {**dict(zip(told, case, strict=True)), **row}
        for name, case in zip(names, extremes[told].itertuples(index=False), strict=True)
        for row in drawn[name]["witnesses"]
    ]
    write_table(snakemake.output.witnesses, pd.DataFrame(rows, columns=[*told, *COLUMNS]))
    return count(len(overlays), "picture")


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
