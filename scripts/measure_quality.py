"""Gather what tells of the quality of every mask of a set without its truth: probabilities, mask and image.

Inputs:  ``manifest``, ``predictions`` (of a case with and without test-time augmentation the augmented mask counts), and, of
         networks, ``uncertainty`` (what the probabilities told while they were there) and ``network_predictions`` (the masks of
         those probabilities, before post-processing).
Outputs: ``features`` (quality_features.csv, ``COLUMNS``): a row a case and region.
Params:  ``regions`` (those that the model's masks can show), ``channels`` (that the model reads; empty: those of the manifest),
         ``origin`` (``network``, ``ensemble`` or ``precomputed``), ``cache`` (file that keeps finished cases).
Threads: one case each.

Features of the probabilities are those of ``glioflow.models.uncertainty``, features of masks those of
``glioflow.quality.mask_features``. What is undefined is empty, and the note says why. No truth is read. Where post-processing
changed a mask, the probabilities are those of the mask before it, and the note says so; of a region that it took out whole, the
Dice values of the probabilities are empty.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest, read_substituted
from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, read_table, write_table
from glioflow.imaging.volumes import read_labels, read_volume, same_geometry
from glioflow.models.predictions import augmented_first, main_rows, read_predictions, read_tta
from glioflow.models.uncertainty import MEASURES
from glioflow.quality.mask_features import (
    CONTRAST,
    MASK_FEATURES,
    MISSING,
    NOTHING_PREDICTED,
    Surroundings,
    mask_features,
    shown_in,
)
from glioflow.study.registry import CHANNELS

COLUMNS = ("case_id", "patient_id", "fold", "region", *MEASURES, *MASK_FEATURES, "note")
WITHOUT_PROBABILITIES = {
    "precomputed": "precomputed masks have no probabilities",
    "ensemble": "the masks of an ensemble have no probabilities of their own",
}
PROCESSED = "post-processing changed the mask: the probabilities are of the one before it"
OF_MASKS = ("expected_dice", "mirror_dice", "fold_dice")  # what probabilities tell of a mask

Features = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Case:
    """A mask, and for each region the image that its contrast is measured in: path and hash; None where there is none."""

    case_id: str
    prediction: str
    prediction_sha256: str
    images: dict[str, tuple[str, str] | None]


def channel_images(row: Mapping[str, Any], regions: Sequence[str], channels: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Return the image of each region, path and hash, of a row of manifest.csv, and why some have none."""
    present = [name for name in CHANNELS if not pd.isna(row.get(name))]
    read = [name for name in channels or present if name in present]
    stand_ins = read_substituted(row)
    found: dict[str, tuple[str, str] | None] = {}
    notes = []
    for region in regions:
        channel = shown_in(region, list(channels) or read)
        if channel is None or channel not in read:
            notes.append(f"no image of {channel}: no contrast" if channel else "no image: no contrast")
            found[region] = None
        elif channel in stand_ins:
            notes.append(f"{channel} is substituted by {stand_ins[channel]}: no contrast in it")
            found[region] = None
        else:
            found[region] = (str(row[channel]), str(row[f"{channel}_sha256"]))
    return found, "; ".join(dict.fromkeys(notes))


def measure_case(case: Case) -> Features:
    """Return the features of a mask by region. Raises ``UserError`` where it is not on the grid of an image."""
    labels = read_labels(case.prediction)
    data = np.asarray(labels.data, np.uint8)
    around: dict[str, Surroundings] = {}
    for path in dict.fromkeys(image[0] for image in case.images.values() if image):
        volume = read_volume(path)
        if not same_geometry(volume, labels):
            raise UserError(f"{case.case_id}: {case.prediction} and {path} do not lie on one grid; one grid is needed")
        around[path] = Surroundings(volume.data, data)
    found: Features = {}
    for region, image in case.images.items():
        values = mask_features(data, region, labels.spacing, around[image[0]] if image else None)
        found[region] = {name: None if isnan(value) else value for name, value in values.items()}
    return found


def case_key(case: Case) -> str:
    """Return the content key of a case's features."""
    images = {region: image and image[1] for region, image in case.images.items()}
    return key_of({"code": module_fingerprint("measure_quality"), "prediction": case.prediction_sha256, "images": images})


def read_uncertainty(path: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of uncertainty.csv by case and region, of the augmented masks; a case without a record has region ''."""
    table = read_table(path, ("region", "note"))
    table = augmented_first(table.assign(tta=read_tta(table))).drop_duplicates(["case_id", "region"])
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        region = "" if pd.isna(row["region"]) else str(row["region"])
        found.setdefault(str(row["case_id"]), {})[region] = {str(name): value for name, value in row.items()}
    return found


def probability_features(own: Mapping[str, Mapping[str, Any]], region: str) -> tuple[dict[str, Any], list[str]]:
    """Return what the probabilities of a case's region told, and why some of it is undefined."""
    if "" in own:
        return {}, [str(own[""]["note"])]
    if region not in own:
        return {}, [f"the network has no probability of {region}"]
    row = own[region]
    notes = ["one network: no fold_dice"] if row["networks"] == 1 else []
    if pd.isna(row["mirror_dice"]):
        notes.append("no mirroring, or nothing in any: no mirror_dice")
    return {name: row[name] for name in MEASURES}, notes


def feature_rows(
    predictions: pd.DataFrame,
    measured: Mapping[str, Features],
    notes: Mapping[str, str],
    regions: Sequence[str],
    uncertainty: Mapping[str, Mapping[str, Mapping[str, Any]]] | str,
    processed: Collection[str] = (),
) -> pd.DataFrame:
    """Return quality_features.csv.

    ``measured`` and ``notes``: features of the masks, and what there is to say of the images, by case. ``uncertainty``: what
    the probabilities told by case and region, or why they told nothing. ``processed``: the cases whose mask is not the one of
    the probabilities.
    """
    rows = []
    for case in predictions.to_dict("records"):
        name = str(case["case_id"])
        missing = bool(case.get("missing", False))
        for region in regions:
            own: dict[str, Any] = dict(measured[name][region]) if not missing else {}
            said: list[str] = [MISSING] if missing else []
            if not missing and own["log_volume_ml"] is None:
                said.append(NOTHING_PREDICTED)
            if isinstance(uncertainty, str):
                said.append(uncertainty)
            else:
                told, why = probability_features(uncertainty.get(name, {}), region)
                own |= told
                said += why
                if told and name in processed:
                    said.append(PROCESSED)
                    own |= dict.fromkeys(OF_MASKS, nan) if own["log_volume_ml"] is None else {}
            if not missing and own[CONTRAST[0]] is None and notes[name]:
                said.append(notes[name])
            row = {"case_id": name, "patient_id": case["patient_id"], "fold": case["fold"], "region": region}
            values = {feature: own.get(feature, nan) for feature in (*MEASURES, *MASK_FEATURES)}
            rows.append({**row, **values, "note": "; ".join(said) or None})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"fold": "Int64"})


def main(snakemake: Any, console: Console) -> str:
    """Write ``quality_features.csv``. Raises ``UserError``, with a line for each, where masks cannot be measured."""
    source, params = snakemake.input, snakemake.params
    predictions = main_rows(read_predictions(source.predictions))
    manifest = {str(row["case_id"]): row for row in read_manifest(source.manifest).to_dict("records")}
    cases, notes = dict[str, Case](), dict[str, str]()
    for row in predictions.to_dict("records"):
        name = str(row["case_id"])
        images, notes[name] = channel_images(manifest[name], params.regions, params.channels)
        if not row.get("missing", False):
            cases[name] = Case(name, str(row["prediction"]), str(row["sha256"]), images)
    measured, computed = compute_cases(
        measure_case,
        cases,
        threads=snakemake.threads,
        console=console,
        what="masks measured",
        cache=CaseCache(params.cache),
        keys={name: case_key(case) for name, case in cases.items()},
    )
    uncertainty: Any = WITHOUT_PROBABILITIES.get(params.origin)
    processed: set[str] = set()
    if uncertainty is None:
        uncertainty = read_uncertainty(source.uncertainty)
        before = main_rows(read_predictions(source.network_predictions)).set_index("case_id")["sha256"]
        processed = {name for name, case in cases.items() if case.prediction_sha256 != before[name]}
    table = feature_rows(predictions, measured, notes, params.regions, uncertainty, processed)
    write_table(snakemake.output.features, table)
    kept = f", {len(cases) - computed} already measured" if computed < len(cases) else ""
    return f"{count(len(predictions), 'case')}, {count(len(params.regions), 'region')}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
