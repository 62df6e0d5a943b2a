"""A set's predictions are classified whole or not at all, in order, and nothing unchanged is classified twice."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import classify_failures
from classify_failures import CONFUSION_COLUMNS, confusion_table
from glioflow.console import Console, UserError
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.scoring import Plan
from glioflow.failure.failure_types import COLUMNS, KINDS, classify_pair
from glioflow.files import read_table, sha256_file, write_table
from glioflow.imaging.labels import ED, ET, canonical_labels
from glioflow.imaging.volumes import Volume, write_volume
from glioflow.study.registry import label_schemes

AFFINE = np.diag([1.0, 2.0, 2.0, 1.0])


def labels(*boxes: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return a map of 20 x 4 x 4 voxels with boxes of a label, each from one x to another."""
    found = np.zeros((20, 4, 4), np.uint8)
    for label, start, stop in boxes:
        found[start:stop, 1:3, 1:3] = label
    return found


class Job:
    """A cohort and its predictions in a folder, and the job that classifies their errors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truths: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []

    def write(self, name: str, data: NDArray[np.uint8]) -> str:
        path = self.folder / f"{name}.nii.gz"
        write_volume(path, Volume(data, AFFINE))
        return str(path)

    def add(self, case_id: str, truth: NDArray[np.uint8], prediction: NDArray[np.uint8], **more: object) -> None:
        ids = {"case_id": case_id, "patient_id": f"patient {case_id}"}
        if case_id not in [row["case_id"] for row in self.truths]:
            digest = hashlib.sha256(truth.tobytes()).hexdigest()
            label = self.write(f"{case_id}_truth", truth)
            self.truths.append({**ids, "label": label, "label_sha256": digest, "spacing_mm": "1x2x2"})
        mask = self.write(f"{case_id}_{len(self.predictions)}", prediction)
        self.predictions.append({**ids, "fold": None, "prediction": mask, "sha256": sha256_file(mask), **more})

    def run(self, threads: int = 1, **params: Any) -> tuple[str, pd.DataFrame, pd.DataFrame]:
        write_table(self.folder / "manifest.csv", pd.DataFrame(self.truths))
        write_table(self.folder / "predictions.csv", pd.DataFrame(self.predictions))
        settings: dict[str, Any] = {"regions": ["WT", "ET"], "trained_regions": None, "truth_regions": None}
        settings |= {"convention": "glioflow", "cache": str(self.folder / "cache.jsonl")}
        files = {name: str(self.folder / f"{name}.csv") for name in ("manifest", "predictions", "failure_types", "confusion")}
        job = SimpleNamespace(
            input=SimpleNamespace(**files),
            output=SimpleNamespace(**files),
            params=SimpleNamespace(**{**settings, **params}),
            threads=threads,
        )
        said = classify_failures.main(job, Console(self.folder / "log.txt", "classify_failures"))
        return said, read_table(files["failure_types"]), read_table(files["confusion"])


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Three cases: an island too many; enhancing tumour read as oedema; the same map twice."""
    job = Job(tmp_path)
    job.add("b", labels((ED, 2, 6), (ET, 6, 9)), labels((ED, 2, 9)))
    job.add("a", labels((ED, 2, 6)), labels((ED, 2, 6), (ED, 15, 17)))
    job.add("c", labels((ED, 2, 6)), labels((ED, 2, 6)))
    return job


def test_the_table_has_a_row_a_case_and_region_in_order(job):
    said, table, _ = job.run()
    assert said == "3 cases, 6 rows"
    assert list(table) == list(COLUMNS)
    assert list(zip(table["case_id"], table["label"], strict=True)) == [(c, r) for c in "abc" for r in ("WT", "ET")]
    assert list(table["patient_id"][:2]) == ["patient a", "patient a"]
    island, _, whole, swapped, right, _ = table.to_dict("records")
    assert (island["dominant"], island["n_false_lesion"], island["ml_false_lesion"]) == ("false_lesion", 8, 0.032)
    assert (island["farthest_kind"], island["farthest_mm"], island["farthest_ml"]) == ("false_lesion", 11, 0.032)
    assert island["dice"] == pytest.approx(32 / 40)
    assert [island["share_false_lesion"], island["gain_false_lesion"]] == pytest.approx([1 - 32 / 40] * 2)
    assert (whole["dice"], pd.isna(whole["dominant"])) == (1, True)
    assert (swapped["flag"], swapped["swap_out_pair"], swapped["note"]) == ("nothing_found", "ET>ED", "absent in prediction")
    assert right["dice"] == 1 and pd.isna(right["note"])
    assert set(table.loc[[1, 5], "note"]) == {"absent in truth and prediction"}


def test_the_confusion_is_of_all_voxels_of_the_set(job):
    _, _, confusion = job.run()
    assert list(confusion) == list(CONFUSION_COLUMNS)
    found = confusion.set_index(["true_label", "predicted_label"])
    assert confusion["ml"].sum() == pytest.approx(3 * 20 * 16 * 0.004)
    assert found.loc[("ET", "ED"), "ml"] == pytest.approx(12 * 0.004)
    assert found.loc[("ET", "ED"), "share"] == 1
    assert found.loc[("background", "ED"), "ml"] == pytest.approx(8 * 0.004)
    assert confusion.groupby("true_label")["share"].sum().tolist() == pytest.approx([1, 1, 1])


def test_a_label_that_no_truth_has_has_no_share():
    ml = np.zeros((5, 5))
    ml[0, 0], ml[0, ET] = 3, 1
    table = confusion_table(ml).set_index(["true_label", "predicted_label"])
    assert table.loc[("background", "ET"), "share"] == 0.25
    assert table.loc[("ET", "ET")].isna().tolist() == [False, True]
    assert set(table.index.get_level_values(0)) == {"background", "ET"}


def test_what_is_unchanged_is_not_classified_again_and_what_changed_is(job):
    _, table, confusion = job.run()
    said, again, confused = job.run(threads=2)
    assert said == "3 cases, 6 rows, 3 kept from before"
    pd.testing.assert_frame_equal(again, table)
    pd.testing.assert_frame_equal(confused, confusion)
    job.predictions = [row for row in job.predictions if row["case_id"] != "c"]
    job.add("c", labels((ED, 2, 6)), labels())
    said, changed, _ = job.run()
    assert said == "3 cases, 6 rows, 2 kept from before"
    assert changed["flag"].tolist()[4] == "nothing_found"
    assert job.run(convention="brats2020")[0] == "3 cases, 6 rows"
    assert job.run(regions=["WT"])[0] == "3 cases, 3 rows"


def test_the_convention_decides_the_dice_of_what_neither_map_has(job):
    assert job.run()[1]["dice"].isna().tolist() == [False, True, False, False, False, True]
    assert job.run(convention="brats2020")[1]["dice"].tolist()[1] == 1


def test_of_a_case_with_and_without_augmentation_the_augmented_prediction_is_classified(tmp_path):
    job = Job(tmp_path)
    job.add("a", labels((ED, 2, 6)), labels(), tta=False)
    job.add("a", labels((ED, 2, 6)), labels((ED, 2, 5)), tta=True)
    said, table, _ = job.run(regions=["WT"])
    assert said == "1 case, 1 row"
    assert table["dominant"].tolist() == ["boundary_in"]


def test_a_region_that_the_model_cannot_show_has_its_reason_alone(job):
    _, table, _ = job.run(trained_regions=["WT"])
    unseen = table[table["label"] == "ET"]
    assert set(unseen["note"]) == {"not applicable: the model predicts WT only"}
    assert unseen.drop(columns=["patient_id", "case_id", "label", "note"]).isna().all(axis=None)


def test_a_missing_prediction_counts_as_empty_and_says_so(tmp_path):
    job = Job(tmp_path)
    job.add("a", labels((ED, 2, 6)), labels(), missing=True)
    table = job.run(regions=["WT"])[1]
    assert table["note"].tolist() == ["prediction missing: counted as empty; absent in prediction"]
    assert table["dominant"].tolist() == ["missed_lesion"]


def test_every_case_that_cannot_be_classified_is_named_and_nothing_is_written(job):
    job.add("d", labels((ED, 2, 6)), np.zeros((5, 4, 4), np.uint8))
    job.add("e", labels((ED, 2, 6)), labels((9, 2, 6)))
    with pytest.raises(UserError) as caught:
        job.run()
    first, shape, values = str(caught.value).split("\n  ")
    assert first == "the errors of these cases cannot be classified:"
    assert shape.startswith("d: ") and "found shape (5, 4, 4); expected (20, 4, 4) as the truth" in shape
    assert values.startswith("e: ") and "found the values 9; expected canonical labels, 0 to 4" in values
    assert not (job.folder / "failure_types.csv").exists()


def real_row(real_data: Path, model: str, region: str) -> dict[str, Any]:
    """Return a region's row of the masks that a published model has of a BraTS-Africa case."""
    folder, case = real_data / "brats_africa", "BraTS2024_SSA-00002-000"
    paths = folder / f"images/{case}/{case}_seg.nii.gz", folder / f"predictions/{model}/{case}/{case}_pred.nii.gz"
    if missing := [path for path in paths if not path.is_file()]:
        pytest.skip(f"no real masks: {missing[0]} is missing; set GLIOFLOW_REAL_DATA to the folder that holds it")
    scheme = label_schemes()["et_ncr_ed"]
    truth, prediction = (canonical_labels(np.asarray(nib.load(path).dataobj), scheme)[0] for path in paths)
    (row,) = classify_pair(truth, prediction, (1.0, 1.0, 1.0), Plan([region], conventions()["glioflow"]))["rows"]
    return dict(row)


def test_a_real_enhancing_tumour_is_lost_to_the_necrotic_core(real_data):
    row = real_row(real_data, "nnUnet", "ET")
    assert row["dice"] == pytest.approx(0.795, abs=5e-4)
    assert row["dominant"] == "swap_out"
    assert row["share_swap_out"] == pytest.approx(0.172, abs=5e-4)
    assert row["swap_out_pair"] == "ET>NCR"
    assert sum(row[f"share_{kind}"] for kind in KINDS) == pytest.approx(1 - row["dice"], abs=1e-12)


def test_a_real_whole_tumours_farthest_error_is_a_false_island(real_data):
    row = real_row(real_data, "nnUnet", "WT")
    assert (row["farthest_kind"], row["dominant"]) == ("false_lesion", "boundary_out")
    assert row["farthest_mm"] == pytest.approx(25.554, abs=1e-3)


WORST = ("2013_23_1", "CBICA_ABM_1", "CBICA_AME_1", "TCIA02_135_1", "TCIA01_425_1")


def test_the_farthest_errors_of_real_masks_are_islands_of_a_hundredth_of_a_millilitre(real_data):
    folder, known = real_data / "brats2018_given", label_schemes()
    if not folder.is_dir():
        pytest.skip(f"no real masks: {folder} is missing; set GLIOFLOW_REAL_DATA to the folder that holds it")
    rows = []
    for case in (f"Brats18_{name}" for name in WORST):
        paths = {"brats2021": folder / case / f"{case}_seg.nii.gz", "brats2023": folder / f"predictions/{case}.nii.gz"}
        truth, prediction = (
            canonical_labels(np.asarray(nib.load(path).dataobj), known[name])[0] for name, path in paths.items()
        )
        rows += classify_pair(truth, prediction, (1.0, 1.0, 1.0), Plan(["WT"], conventions()["glioflow"]))["rows"]
    table = pd.DataFrame(rows)
    assert set(table["farthest_kind"]) == {"false_lesion"}
    assert table["farthest_ml"].max() <= 0.01
    assert table["farthest_mm"].round().tolist() == [108, 93, 81, 79, 77]
    assert table["false_lesions"].tolist() == [49, 167, 334, 47, 212]
