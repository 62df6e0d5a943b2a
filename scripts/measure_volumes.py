"""Measure the volumes and the proportions of every case of a set, in its truth and in its prediction.

Inputs:  ``manifest``, ``predictions`` (of a case with and without test-time augmentation the augmented mask counts).
Outputs: ``volumes`` (volumes.csv, ``COLUMNS``): a row a case and measure (``glioflow.quality.measures.MEASURES``).
Params:  ``session_by`` (covariate that orders a patient's sessions, or None), ``trained_regions`` and ``truth_regions`` as of
         score_cases, ``cache`` (file that keeps finished cases).
Threads: one case each.

``truth`` and ``prediction`` are in ``unit``, ml or a share of WT, and empty, with a note, where they are undefined: the share
of an empty tumour, a region that the labels or the model cannot show, a prediction that is missing. A missing prediction is no
volume of 0. ``class_truth`` and ``class_prediction`` are VASARI's classes of a share. The columns of sessions are those of
``glioflow.quality.sessions``, among the patient's cases in this set.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any

import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.covariate_values import read_covariates
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.cases import Case, pair_cases, read_maps
from glioflow.files import key_of, write_table
from glioflow.models.predictions import main_rows, read_predictions
from glioflow.quality.measures import MEASURES, SHARE, region_volumes, unseen_notes, vasari_class
from glioflow.quality.sessions import COLUMNS as SESSION_COLUMNS
from glioflow.quality.sessions import order_sessions

COLUMNS = (
    *("patient_id", "case_id", "fold", *SESSION_COLUMNS, "measure", "unit"),
    *("truth", "prediction", "class_truth", "class_prediction", "note"),
)
MISSING = "prediction missing"
NO_TUMOUR = "the {} has no tumour"

Volumes = dict[str, dict[str, float]]


def measure_case(case: Case) -> Volumes:
    """Return the volumes in ml by region of truth and prediction. Raises ``UserError`` where they cannot be compared."""
    truth, prediction = read_maps(case)
    return {
        name: region_volumes(labels.data, truth.voxel_ml) for name, labels in (("truth", truth), ("prediction", prediction))
    }


def case_key(case: Case) -> str:
    """Return the content key of a case's volumes."""
    parts = {"truth": case.truth_sha256, "spacing": case.truth_spacing, "prediction": case.prediction_sha256}
    return key_of({"code": module_fingerprint("measure_volumes"), **parts})


def measure_rows(volumes: Volumes, missing: bool, unseen: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Return a case's row of every measure; ``unseen``: why truth and prediction cannot have it (``unseen_notes``)."""
    rows = []
    for measure in MEASURES:
        row: dict[str, Any] = {"measure": measure.name, "unit": measure.unit}
        notes = []
        for who, reason in zip(("truth", "prediction"), unseen[measure.name], strict=True):
            why = reason or (MISSING if missing and who == "prediction" else "")
            row[who] = nan if why else measure.value(volumes[who])
            if measure.unit == SHARE:
                row[f"class_{who}"] = vasari_class(row[who]) or None
            notes.append(why or (NO_TUMOUR.format(who) if isnan(row[who]) else ""))
        rows.append({**row, "note": "; ".join(dict.fromkeys(filter(None, notes))) or None})
    return rows


def volume_table(
    cases: Sequence[Case], volumes: Mapping[str, Volumes], sessions: pd.DataFrame, unseen: Mapping[str, tuple[str, ...]]
) -> pd.DataFrame:
    """Return volumes.csv. ``volumes``: by the case's item; ``sessions``: of ``order_sessions``, by case_id."""
    rows = [
        {"patient_id": case.patient_id, "case_id": case.case_id, "fold": case.fold, **sessions.loc[case.case_id], **row}
        for case in cases
        for row in measure_rows(volumes[case.item], case.missing, unseen)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"fold": "Int64"})


def main(snakemake: Any, console: Console) -> str:
    """Write ``volumes.csv``. Raises ``UserError``, with a line for each, where cases cannot be measured."""
    source, params = snakemake.input, snakemake.params
    cases, problems = pair_cases(read_manifest(source.manifest), main_rows(read_predictions(source.predictions)))
    volumes, computed = compute_cases(
        measure_case,
        {case.item: case for case in cases},
        threads=snakemake.threads,
        console=console,
        what="cases measured",
        cache=CaseCache(params.cache),
        keys={case.item: case_key(case) for case in cases},
        problems=problems,
    )
    if problems:
        raise UserError("\n  ".join(["these cases cannot be measured:", *sorted(set(problems))]))
    covariates, name = read_covariates(source.manifest), params.session_by or ""
    times = covariates[name].to_dict() if name in covariates else None
    sessions = order_sessions({case.case_id: case.patient_id for case in cases}, times, name)
    unseen = unseen_notes(
        params.truth_regions and list(params.truth_regions), params.trained_regions and list(params.trained_regions)
    )
    write_table(snakemake.output.volumes, volume_table(cases, volumes, sessions, unseen))
    several = int((sessions["session"] == 2).sum())
    lacking = f", no {name} in the manifest" if name and name not in covariates else ""
    kept = f", {len(cases) - computed} already measured" if computed < len(cases) else ""
    return f"{count(len(cases), 'case')}, {count(several, 'patient')} with several sessions{kept}{lacking}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
