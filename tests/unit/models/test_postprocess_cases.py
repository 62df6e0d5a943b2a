"""The masks of a set after post-processing: changed, linked, or not made again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import postprocess_cases as script
from glioflow.console import Console
from glioflow.files import sha256_file, write_json, write_table
from glioflow.imaging.volumes import Volume, read_labels, write_volume
from glioflow.models.predictions import COLUMNS, read_predictions

LARGEST = {"region": "WT", "operation": "largest_component", "value": None, "becomes": 0}
SMALL_ET = {"region": "ET", "operation": "et_threshold_ml", "value": 0.016, "becomes": 1}
AFFINE = np.diag([-2.0, -2.0, 2.0, 1.0])  # voxels of 0.008 ml


class Study:
    """A set of masks on disk, and the job that post-processes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []

    def add(self, case: str, *labels: int, tta: bool | None = True, aside: bool = False) -> None:
        path = self.folder / "raw" / ("without_tta" if aside else "") / f"{case}.nii.gz"
        write_volume(path, Volume(np.array(labels, np.uint8)[:, np.newaxis, np.newaxis], AFFINE))
        row = {"case_id": case, "patient_id": f"p{case}", "fold": None, "tta": tta, "prediction": str(path)}
        self.rows = [old for old in self.rows if old["prediction"] != str(path)] + [{**row, "sha256": sha256_file(path)}]

    def run(self, *steps: dict[str, Any], threads: int = 1) -> tuple[str, pd.DataFrame]:
        write_table(self.folder / "raw/predictions.csv", pd.DataFrame(self.rows, columns=COLUMNS))
        write_json(self.folder / "postprocessing.json", {"steps": list(steps), "tried": []})
        out = self.folder / "clean/predictions.csv"
        job = SimpleNamespace(
            input=SimpleNamespace(
                predictions=self.folder / "raw/predictions.csv", postprocessing=self.folder / "postprocessing.json"
            ),
            output=[out],
            params=SimpleNamespace(cache=self.folder / "cache.jsonl"),
            threads=threads,
        )
        return script.main(job, Console()), read_predictions(out)

    def clean(self, name: str) -> list[int]:
        return read_labels(self.folder / "clean" / f"{name}.nii.gz").data.ravel().tolist()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study(tmp_path)
    study.add("a", 2, 3, 2, 0, 2)
    study.add("b", 2, 3, 3, 2, 0)
    return study


@pytest.mark.parametrize("threads", [1, 2])
def test_the_steps_are_applied_in_order_and_volumes_are_those_of_the_voxels(study, threads):
    said, table = study.run(LARGEST, SMALL_ET, threads=threads)
    assert said == "2 steps changed 1 of 2 masks"
    assert study.clean("a") == [2, 1, 2, 0, 0]
    assert study.clean("b") == [2, 3, 3, 2, 0]
    assert list(table.columns) == COLUMNS
    assert table["case_id"].tolist() == ["a", "b"]
    assert table["sha256"].tolist() == [sha256_file(study.folder / "clean" / f"{case}.nii.gz") for case in "ab"]
    assert table["prediction"].tolist() == [str(study.folder / "clean" / f"{case}.nii.gz") for case in "ab"]
    assert np.array_equal(read_labels(study.folder / "clean/a.nii.gz").affine, AFFINE)


def test_a_mask_that_stays_as_it_is_is_linked_and_raw_masks_are_never_written(study):
    before = {path: sha256_file(path) for path in (study.folder / "raw").glob("*.nii.gz")}
    study.run(SMALL_ET)
    study.run(LARGEST)  # a changes now, over what was linked or written before
    assert (study.folder / "clean/b.nii.gz").stat().st_ino == (study.folder / "raw/b.nii.gz").stat().st_ino
    assert (study.folder / "clean/a.nii.gz").stat().st_ino != (study.folder / "raw/a.nii.gz").stat().st_ino
    assert {path: sha256_file(path) for path in before} == before


def test_without_steps_every_mask_is_its_raw_one(study):
    said, table = study.run()
    assert said == "0 steps changed 0 of 2 masks"
    assert table["sha256"].tolist() == [row["sha256"] for row in study.rows]


def test_masks_without_mirroring_lie_aside_and_keep_their_rows(study):
    study.add("a", 2, 2, 0, 2, 0, tta=False, aside=True)
    said, table = study.run(LARGEST)
    assert study.clean("without_tta/a") == [2, 2, 0, 0, 0]
    assert study.clean("a") == [2, 3, 2, 0, 0]
    assert table[["case_id", "tta"]].to_numpy().tolist() == [["a", True], ["b", True], ["a", False]]
    assert said == "1 step changed 2 of 3 masks"


def test_masks_without_mirroring_lie_in_front_where_there_are_no_others(tmp_path):
    study = Study(tmp_path)
    study.add("a", 2, 0, tta=False)
    study.add("b", 2, 0, tta=None)
    study.run()
    assert study.clean("a") == study.clean("b") == [2, 0]


def test_a_mask_is_made_again_only_where_it_or_the_steps_changed(study, monkeypatch):
    study.run(LARGEST)
    made = []
    process_mask = script.process_mask
    monkeypatch.setattr(script, "process_mask", lambda paths, steps: made.append(paths[1].name) or process_mask(paths, steps))
    assert study.run(LARGEST)[0] == "1 step changed 1 of 2 masks"
    assert made == []
    study.add("b", 2, 0, 2, 2, 0)
    study.run(LARGEST)
    assert made == ["b.nii.gz"]
    assert study.clean("b") == [0, 0, 2, 2, 0]
    (study.folder / "clean/a.nii.gz").unlink()
    study.run(LARGEST)
    assert made == ["b.nii.gz", "a.nii.gz"]
    study.run(LARGEST, SMALL_ET)
    assert sorted(made[2:]) == ["a.nii.gz", "b.nii.gz"]


def test_processing_what_is_processed_changes_nothing_more(study):
    study.run(LARGEST, SMALL_ET)
    once = [study.clean(case) for case in "ab"]
    for case, labels in zip("ab", once, strict=True):
        study.add(case, *labels)
    assert study.run(LARGEST, SMALL_ET)[0] == "2 steps changed 0 of 2 masks"
    assert [study.clean(case) for case in "ab"] == once
