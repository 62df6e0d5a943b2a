"""The prediction sets: which cases a set holds, and the table that lists its masks."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from glioflow.files import replacing, sha256_file

COLUMNS = ["case_id", "patient_id", "fold", "prediction", "sha256"]


def set_members(split: pd.DataFrame, set_name: str) -> list[str]:
    """Return the sorted case ids of a set: the training cases for ``cv``, the held-out for ``test``, else all of the cohort."""
    role = {"cv": "train", "test": "test"}.get(set_name)
    cases = split["case_id"] if role is None else split.loc[split["set"] == role, "case_id"]
    return sorted(cases.astype(str))


def place(source: Path, target: Path) -> None:
    """Put a finished mask at ``target``, all or nothing: as a hard link where the file system can, else as a copy."""
    with replacing(target) as temporary:
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)


def prediction_table(folder: Path, patients: Mapping[str, str], folds: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Return predictions.csv for the masks ``<case>.nii.gz`` of ``folder``; ``folds`` only where the set is ``cv``."""
    rows = [
        {
            "case_id": case,
            "patient_id": patient,
            "fold": folds[case] if folds else None,
            "prediction": (folder / f"{case}.nii.gz").as_posix(),
            "sha256": sha256_file(folder / f"{case}.nii.gz"),
        }
        for case, patient in sorted(patients.items())
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"fold": "Int64"})
