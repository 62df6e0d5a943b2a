"""Measure the shape of a region in the truth and in the prediction of every case of a set.

Inputs:  ``manifest``, ``predictions`` (of a case with and without test-time augmentation the augmented mask counts).
Outputs: ``shapes`` (shapes.csv, ``COLUMNS``): a row a case and mask (``truth``, ``prediction``).
Params:  ``region``, ``trained_regions`` and ``truth_regions`` as of score_cases, ``cache`` (file that keeps finished cases).
Threads: one case each.

The features are those of ``glioflow.quality.shapes``; what is undefined is empty, and the note tells why.
"""

from collections.abc import Mapping
from math import nan
from typing import Any

import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.cases import Case, pair_cases, read_maps
from glioflow.files import key_of, write_table
from glioflow.imaging.labels import region_mask
from glioflow.models.predictions import main_rows, read_predictions
from glioflow.quality.measures import unseen_notes
from glioflow.quality.shapes import FEATURES, shape_features

COLUMNS = ("patient_id", "case_id", "fold", "mask", "region", *FEATURES, "note")
MASKS = ("truth", "prediction")
MISSING = "prediction missing"

Shapes = dict[str, dict[str, Any]]


def measure_case(case: Case, region: str) -> Shapes:
    """Return features and note of a region in each mask. Raises ``UserError`` where they cannot be read together."""
    found: Shapes = {}
    for name, volume in zip(MASKS, read_maps(case), strict=True):
        features, note = shape_features(region_mask(volume.data, region), volume.affine, volume.spacing)
        found[name] = {"features": {key: None if value != value else value for key, value in features.items()}, "note": note}
    return found


def case_key(case: Case, region: str) -> str:
    """Return the content key of a case's shapes."""
    parts = {"truth": case.truth_sha256, "spacing": case.truth_spacing, "prediction": case.prediction_sha256}
    return key_of({"code": module_fingerprint("measure_shapes"), "region": region, **parts})


def shape_rows(case: Case, shapes: Shapes, region: str, unseen: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a case's row of each mask; ``unseen``: why a mask cannot show the region, empty where it can."""
    rows = []
    for mask in MASKS:
        row = {"patient_id": case.patient_id, "case_id": case.case_id, "fold": case.fold, "mask": mask, "region": region}
        why = unseen[mask] or (MISSING if case.missing and mask == "prediction" else "")
        features = dict.fromkeys(FEATURES, nan) if why else shapes[mask]["features"]
        rows.append({**row, **features, "note": why or shapes[mask]["note"] or None})
    return rows


def main(snakemake: Any, console: Console) -> str:
    """Write ``shapes.csv``. Raises ``UserError``, with a line for each, where cases cannot be measured."""
    source, params = snakemake.input, snakemake.params
    cases, problems = pair_cases(read_manifest(source.manifest), main_rows(read_predictions(source.predictions)))
    shapes, computed = compute_cases(
        measure_case,
        {case.item: case for case in cases},
        params.region,
        threads=snakemake.threads,
        console=console,
        what="shapes measured",
        cache=CaseCache(params.cache),
        keys={case.item: case_key(case, params.region) for case in cases},
        problems=problems,
    )
    if problems:
        raise UserError("\n  ".join(["these cases cannot be measured:", *sorted(set(problems))]))
    seen = unseen_notes(
        params.truth_regions and list(params.truth_regions), params.trained_regions and list(params.trained_regions)
    )
    unseen = dict(zip(MASKS, seen[params.region], strict=True))
    rows = [row for case in cases for row in shape_rows(case, shapes[case.item], params.region, unseen)]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"fold": "Int64", **dict.fromkeys(FEATURES, float)})
    write_table(snakemake.output.shapes, table)
    kept = f", {len(cases) - computed} already measured" if computed < len(cases) else ""
    return f"{count(len(cases), 'case')}, {int(table['ellipsoid_ratio'].notna().sum())} masks with a shape{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
