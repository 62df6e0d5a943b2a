"""Pack the volumes of the extreme cases, and of those that the study names, for the report's viewer.

Each case is a script beside the table, which a page that is opened from disk may load: every channel, truth, prediction, errors
by kind, the entropy of the network's probabilities where there is a map, and where to go to (``glioflow.report.volumes``).
Nothing in a script names its case.

Inputs
------
extremes : extremes.csv
manifest, predictions : as of score_cases
uncertainty, network_predictions : of networks of the study's, what the probabilities told, and the masks made of them; maps of
    entropy are beside these

Outputs
-------
table : volumes.csv: group (``worst``, ``best`` or ``further``), rank, case_id, path (of the script, relative to the table),
    bytes

Params
------
region, regions, trained_regions, truth_regions, convention, conventions : as of draw_extremes
cases : further cases to pack; those without a prediction in this set are left out

Threads: one case each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import compute_cases
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.conventions import Convention
from glioflow.evaluation.scoring import plan_of
from glioflow.failure.case_files import CaseFiles, find_case_files
from glioflow.files import read_table, write_table, write_text
from glioflow.imaging.volumes import UnreadableVolumeError, read_labels, read_volume
from glioflow.models.predictions import main_rows, read_predictions
from glioflow.models.uncertainty import map_path
from glioflow.report.missing_channels import channel_name
from glioflow.report.volumes import Channel, Uncertainty, pack_case, script_text
from glioflow.study.registry import ROLES

COLUMNS = ["group", "rank", "case_id", "path", "bytes"]
BITS_TOLERANCE = 1e-6  # of 1 bit, which is 255 times what a header has of 1 / 255


@dataclass(frozen=True)
class Packing:
    """A case to pack: its files by channel, where its script goes, and the regions, the ranking one first."""

    files: Mapping[str, CaseFiles]
    target: Path
    regions: tuple[str, ...]
    convention: Convention
    entropy: Path | None = None  # map of the network's mask, where there is one
    processed: bool = False  # whether post-processing changed that mask


def read_uncertainty(packing: Packing, shape: tuple[int, ...]) -> Uncertainty | None:
    """Return the entropy of a case, None where there is no map. Raises ``UserError`` where that is damaged or does not fit."""
    if packing.entropy is None:
        return None
    without = "delete it, and the viewer does without"
    try:
        bits = np.asarray(read_volume(packing.entropy).data, np.float64)
    except UnreadableVolumeError as error:
        raise UserError(f"{packing.entropy}: {error.found}; {without}") from None
    if bits.shape != shape or not (bits.min() >= 0 and bits.max() <= 1 + BITS_TOLERANCE):
        found = f"has shape {bits.shape} and values from {bits.min():g} to {bits.max():g}"
        raise UserError(f"{packing.entropy}: {found}; expected {shape} as the mask, and 0 to 1 bit; {without}")
    return Uncertainty(bits, packing.processed)


def pack(packing: Packing) -> int:
    """Write the script of a case and return its bytes. Raises ``UserError`` where images and masks differ in shape."""
    files = next(iter(packing.files.values()))
    truth, prediction = read_labels(files.truth), read_labels(files.prediction)
    channels = {}
    for role, each in packing.files.items():
        shown = f"{channel_name(each.substitute)} in place of {channel_name(role)}" if each.substitute else channel_name(role)
        channels[role] = Channel(shown, np.asarray(read_volume(each.image).data))
    shapes = {each.image: channels[role].data.shape for role, each in packing.files.items()}
    for path, shape in {**shapes, files.prediction: prediction.data.shape}.items():
        if shape != truth.data.shape:
            expected = f"{truth.data.shape} as {files.truth}"
            raise UserError(f"{files.case_id}: {path} has shape {shape}; expected {expected}")
    uncertainty = read_uncertainty(packing, truth.data.shape)
    text = script_text(pack_case(channels, truth, prediction.data, packing.regions, packing.convention, uncertainty))
    write_text(packing.target, text)
    return len(text.encode())


def chosen_cases(extremes: pd.DataFrame, further: list[str], predicted: set[str]) -> pd.DataFrame:
    """Return group, rank and case_id of the extremes, and after them of the further cases that have a prediction."""
    others = [case for case in further if case in predicted - set(extremes["case_id"].astype(str))]
    more = pd.DataFrame({"group": "further", "rank": range(1, len(others) + 1), "case_id": others})
    return pd.concat([extremes[["group", "rank", "case_id"]], more], ignore_index=True)


def network_masks(path: str | None) -> dict[str, tuple[Path, str]]:
    """Return the mask of each case that a network made, and its SHA-256; nothing where no network of the study's predicted."""
    rows = main_rows(read_predictions(path)).to_dict("records") if path else []
    return {str(row["case_id"]): (Path(row["prediction"]), str(row["sha256"])) for row in rows}


def main(snakemake: Any, console: Console) -> str:
    """Write the scripts and their table."""
    params, target = snakemake.params, Path(snakemake.output.table)
    plan = plan_of(params, params.convention)
    manifest, predictions = read_manifest(snakemake.input.manifest), read_predictions(snakemake.input.predictions)
    predicted = set(main_rows(predictions)["case_id"].astype(str))
    table = chosen_cases(read_table(snakemake.input.extremes), list(map(str, params.cases)), predicted)
    for case in sorted(set(map(str, params.cases)) - predicted):
        console.note(f"report.viewer_cases: {case} has no prediction in this set")
    roles = [role for role in ROLES if role != "label" and f"{role}_sha256" in manifest.columns]
    found = {role: find_case_files(table["case_id"], manifest, predictions, role) for role in roles}
    names = [f"{group}_{rank:02d}.js" for group, rank in zip(table["group"], table["rank"], strict=True)]
    regions = tuple(dict.fromkeys([params.region, *plan.visible]))
    masks = network_masks(snakemake.input.get("network_predictions"))
    packings = {}
    for place, name in enumerate(names):
        files = {role: found[role][place] for role in roles}
        final = files[roles[0]]
        packing = Packing(files, target.parent / name, regions, plan.convention)
        if final.case_id in masks:
            mask, sha256 = masks[final.case_id]
            entropy = map_path(mask)
            processed = sha256 != final.prediction_sha256
            packing = replace(packing, entropy=entropy if entropy.exists() else None, processed=processed)
        packings[name] = packing
    sizes, _ = compute_cases(pack, packings, threads=snakemake.threads, console=console, what="cases packed")
    for left_over in {path.name for path in target.parent.glob("*.js")} - set(names):
        (target.parent / left_over).unlink()
    write_table(target, table.assign(path=names, bytes=[sizes[name] for name in names])[COLUMNS])
    return f"{count(len(names), 'case')}, {sum(sizes.values()) / 1e6:.1f} MB"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
