"""The predictions of a set with their truths: paired, known by a key, read, and written as rows of a score table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from glioflow.code_fingerprint import module_fingerprint
from glioflow.console import UserError
from glioflow.evaluation.scoring import Plan, geometry_problems, label_problems, with_missing_note
from glioflow.files import key_of
from glioflow.imaging.volumes import UnreadableVolumeError, Volume, read_labels
from glioflow.models.predictions import Tta, augmented_first, read_tta
from glioflow.shards import in_shard


@dataclass(frozen=True)
class Case:
    """A prediction to score: where its and the truth's canonical label maps are, and what they are known by."""

    case_id: str
    patient_id: str
    fold: int | None
    tta: Tta
    truth: str
    truth_sha256: str
    truth_spacing: str
    prediction: str
    prediction_sha256: str
    missing: bool = False

    @property
    def item(self) -> str:
        """The prediction's name in the cache."""
        return self.case_id if self.tta is None else f"{self.case_id} {'with' if self.tta else 'without'} tta"


def pair_cases(manifest: pd.DataFrame, predictions: pd.DataFrame, shard: str | None = None) -> tuple[list[Case], list[str]]:
    """Return the predictions that have both maps, sorted by case id, and a line for each of the others: of a shard, or all."""
    truths = {row["case_id"]: row for row in manifest.to_dict("records")}
    mine = predictions[in_shard(predictions["case_id"], shard)] if shard else predictions
    rows = augmented_first(mine.assign(tta=read_tta(mine))).to_dict("records")
    times = Counter((row["case_id"], row["tta"]) for row in rows)
    cases, problems = [], list[str]()
    for row in sorted(rows, key=lambda row: row["case_id"]):
        case_id, tta = row["case_id"], row["tta"]
        truth = truths.get(case_id)
        if times[case_id, tta] > 1:
            alike = f"{times[case_id, tta]} rows in the table of predictions"
            problems.append(f"{case_id}: has {alike}; one, or one with and one without test-time augmentation, is right")
        elif truth is None:
            problems.append(f"{case_id}: {row['prediction']} has no case of this id in the manifest; its truth is needed")
        elif pd.isna(truth["label"]):
            problems.append(
                f"{case_id}: {row['prediction']} has a case without a label map in the manifest; its truth is needed"
            )
        elif pd.isna(truth["label_sha256"]) or pd.isna(row["sha256"]):
            # Without both hashes a stale score would pass for a fresh one.
            problems.append(f"{case_id}: {row['prediction']} or its truth has no SHA-256 in its table; both hashes are needed")
        else:
            cases.append(
                Case(
                    case_id=case_id,
                    patient_id=truth["patient_id"],
                    fold=None if pd.isna(row["fold"]) else int(row["fold"]),
                    tta=tta,
                    truth=truth["label"],
                    truth_sha256=truth["label_sha256"],
                    truth_spacing=truth["spacing_mm"],
                    prediction=row["prediction"],
                    prediction_sha256=row["sha256"],
                    missing=bool(row.get("missing", False)),
                )
            )
    return cases, problems


def case_key(case: Case, plan: Plan) -> str:
    """Return the content key of a prediction's scores: they are the same wherever it is the same."""
    return key_of(
        {
            **plan.key_parts(),
            "code": module_fingerprint(__name__),
            "prediction": case.prediction_sha256,
            # The manifest's hash of a truth is of its voxels only.
            "spacing": case.truth_spacing,
            "truth": case.truth_sha256,
        }
    )


def read_maps(case: Case) -> tuple[Volume, Volume]:
    """Return the true and the predicted label map, as uint8.

    Raises ``UserError``, with a line for each problem, where they cannot be scored.
    """
    volumes, problems = [], []
    for path in (case.truth, case.prediction):
        try:
            volume = read_labels(path)
        except UnreadableVolumeError as error:
            problems.append(f"{case.case_id}: {error}")
            continue
        volumes.append(volume)
        problems.extend(f"{case.case_id}: {path}: {problem}" for problem in label_problems(volume))
    if len(volumes) == 2:
        truth, prediction = volumes
        problems.extend(f"{case.case_id}: {case.prediction}: {problem}" for problem in geometry_problems(truth, prediction))
    if problems:
        raise UserError(*problems)
    truth, prediction = (Volume(np.asarray(volume.data, np.uint8), volume.affine) for volume in volumes)
    return truth, prediction


def case_rows(case: Case, scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a prediction in the score table."""
    told = {"patient_id": case.patient_id, "case_id": case.case_id, "fold": case.fold, "tta": case.tta}
    return [{**(with_missing_note(score) if case.missing else score), **told} for score in scores]
