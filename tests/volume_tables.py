"""Volumes for the tests of their analyses: masks on disk with what lists them, and tables as measure_volumes writes them."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from conftest import save

import compare_volumes
import measure_volumes
from glioflow.console import Console
from glioflow.files import read_table, sha256_file, write_table

EVERY = ["WT", "TC", "ET", "ED", "NCR"]


class Masks:
    """A cohort's manifest and a table of predictions on disk; a mask is given by its numbers of ET, NCR and ED voxels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truths: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []

    def write(self, name: str, voxels: Sequence[int]) -> dict[str, str]:
        labels = np.zeros(10 * 12 * 8, np.uint8)
        labels[: sum(voxels)] = np.repeat([3, 1, 2], voxels)
        path = save(self.folder / f"{name}.nii.gz", labels.reshape(10, 12, 8))
        return {"path": str(path), "sha256": sha256_file(path)}

    def add(
        self, case: str, patient: str, truth: Sequence[int], prediction: Sequence[int], missing: bool = False, **covariates
    ):
        true, predicted = self.write(f"{case}_truth", truth), self.write(f"{case}_prediction", prediction)
        known = {"case_id": case, "patient_id": patient}
        files = {"label": true["path"], "label_sha256": true["sha256"], "spacing_mm": "1x1x1"}
        self.truths.append({**known, **files, **covariates})
        found = {"fold": None, "tta": None, "prediction": predicted["path"], "sha256": predicted["sha256"], "missing": missing}
        self.predictions.append({**known, **found})

    def measure(self, session_by: str | None = None, trained: Any = EVERY, labelled: Any = EVERY) -> tuple[pd.DataFrame, str]:
        write_table(self.folder / "manifest.csv", pd.DataFrame(self.truths))
        write_table(self.folder / "predictions.csv", pd.DataFrame(self.predictions))
        names = ("manifest", "predictions")
        job = SimpleNamespace(
            input=SimpleNamespace(**{name: self.folder / f"{name}.csv" for name in names}),
            output=SimpleNamespace(volumes=self.folder / "volumes.csv"),
            params=SimpleNamespace(
                session_by=session_by, trained_regions=trained, truth_regions=labelled, cache=self.folder / "cache.jsonl"
            ),
            threads=1,
        )
        said = measure_volumes.main(job, Console())
        return read_table(job.output.volumes, compare_volumes.TEXT), said


def table_of(
    rows: Sequence[tuple[str, float, float]], measure: str = "WT", unit: str = "ml", sessions: int = 1
) -> pd.DataFrame:
    """Return a table of volumes of one measure: patient, truth and prediction of each case."""
    table = pd.DataFrame(rows, columns=["patient_id", "truth", "prediction"])
    seen = table.groupby("patient_id").cumcount() + 1
    times = table.groupby("patient_id")["truth"].transform("size")
    return table.assign(
        case_id=table["patient_id"] + "_" + seen.astype(str), measure=measure, unit=unit, session=seen, sessions=times,
        session_by="case_id", session_time=np.nan, session_unit=None, class_truth=None, class_prediction=None, note=None,
    )  # fmt: skip
