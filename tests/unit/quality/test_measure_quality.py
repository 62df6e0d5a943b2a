"""From masks, images and records on disk to quality_features.csv."""

from math import isnan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import save

import measure_quality
from glioflow.console import Console, UserError
from glioflow.files import read_table, sha256_file, write_table
from glioflow.models.uncertainty import MEASURES, record_rows, write_records
from glioflow.quality.mask_features import MASK_FEATURES

OWN = {"expected_dice": 0.9, "entropy_mean": 0.2, "mutual_information_mean": 0.01, "mirror_dice": 0.95, "fold_dice": None}


class Job:
    """A set of cases on disk, and the job that measures them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []
        self.records: list[dict[str, Any]] = []
        self.before: list[dict[str, Any]] | None = None  # the masks before post-processing, where they are others

    def add(self, case: str, enhancing: int = 8, record: Any = "whole", missing: bool = False, **columns: Any) -> None:
        rng = np.random.default_rng(len(self.cases))
        labels = np.zeros((12, 12, 12), np.uint8)
        labels[3:8, 3:8, 3:8] = 2
        labels.reshape(-1)[np.flatnonzero(labels)[:enhancing]] = 3
        paths = {"prediction": save(self.folder / f"{case}.nii.gz", labels)}
        row: dict[str, Any] = {"case_id": case, "patient_id": f"p_{case}"}
        for number, channel in enumerate(("t1", "t1ce", "t2", "flair")):
            image = (rng.normal(100, 10, labels.shape) + 30 * (labels > 0) * (1 + number)).astype(np.float32)
            path = save(self.folder / f"{case}_{channel}.nii.gz", image)
            row |= {channel: str(path), f"{channel}_sha256": sha256_file(path)}
        self.cases.append({**row, **columns})
        mask = {"prediction": str(paths["prediction"]), "sha256": sha256_file(paths["prediction"]), "missing": missing}
        self.predictions.append({"case_id": case, "patient_id": f"p_{case}", "fold": 0, "tta": True, **mask})
        if record == "whole":
            record = {"networks": 1, "regions": {"WT": OWN, "TC": OWN, "ET": OWN}}
        self.records += record_rows(case, True, record)

    def run(
        self, origin: str = "network", regions: Any = ("WT", "TC", "ET"), channels: Any = ("t1ce", "flair")
    ) -> pd.DataFrame:
        write_table(self.folder / "manifest.csv", pd.DataFrame(self.cases))
        write_table(self.folder / "predictions.csv", pd.DataFrame(self.predictions))
        write_records(self.folder / "uncertainty.csv", self.records)
        write_table(self.folder / "network_predictions.csv", pd.DataFrame(self.before or self.predictions))
        names = ("manifest", "predictions", "uncertainty", "network_predictions")
        job = SimpleNamespace(
            input=SimpleNamespace(**{name: str(self.folder / f"{name}.csv") for name in names}),
            output=SimpleNamespace(features=str(self.folder / "features.csv")),
            params=SimpleNamespace(
                regions=list(regions), channels=list(channels), origin=origin, cache=str(self.folder / "cache.jsonl")
            ),
            threads=1,
        )
        self.said = measure_quality.main(job, Console())
        return read_table(self.folder / "features.csv", ("region", "note")).set_index(["case_id", "region"])


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_a_row_a_case_and_region_with_what_probabilities_and_mask_tell(job: Job) -> None:
    job.add("a")
    job.add("b", record={"networks": 2, "regions": {"WT": {**OWN, "fold_dice": 0.8}, "TC": OWN, "ET": OWN}})
    table = job.run()
    assert list(table.index) == [(case, region) for case in "ab" for region in ("WT", "TC", "ET")]
    assert table.loc[("a", "WT"), "expected_dice"] == 0.9 and isnan(table.loc[("a", "WT"), "fold_dice"])
    assert table.loc[("b", "WT"), "fold_dice"] == 0.8
    assert table.loc[("a", "WT"), "note"] == "one network: no fold_dice"
    assert pd.isna(table.loc[("b", "WT"), "note"])
    assert table.loc[("a", "WT"), "log_volume_ml"] == pytest.approx(np.log(0.125))
    assert table.loc[("a", "ET"), "log_volume_ml"] == pytest.approx(np.log(0.008))
    # flair for the whole tumour, t1ce for its core: 120 and 60 over a brain of sd 10
    assert table.loc[("a", "WT"), "contrast"] == pytest.approx(12, abs=0.5)
    assert table.loc[("a", "ET"), "contrast"] == pytest.approx(6, abs=1)


def test_no_truth_is_read(job: Job) -> None:
    job.add("a", label=None, label_sha256=None)
    assert job.run()["expected_dice"].notna().all()


def test_precomputed_masks_have_what_needs_no_probabilities(job: Job) -> None:
    job.add("a")
    (job.folder / "uncertainty.csv").unlink(missing_ok=True)
    table = job.run("precomputed", channels=())
    assert table[list(MEASURES)].isna().all(axis=None)
    assert table[list(MASK_FEATURES)].notna().all(axis=None)
    assert set(table["note"]) == {"precomputed masks have no probabilities"}


def test_a_region_that_is_not_predicted_says_so_and_has_no_number_of_a_mask(job: Job) -> None:
    job.add("a", enhancing=0)
    row = job.run().loc[("a", "ET")]
    assert row[list(MASK_FEATURES)].isna().all()
    assert row["note"].startswith("nothing predicted")
    assert row["expected_dice"] == 0.9


def test_of_a_mask_that_post_processing_changed_the_note_says_so_and_a_region_it_took_out_has_no_dice(job: Job) -> None:
    job.add("a", enhancing=0)
    job.add("b")
    job.before = [{**job.predictions[0], "sha256": "another"}, job.predictions[1]]
    table = job.run()
    words = "post-processing changed the mask: the probabilities are of the one before it"
    assert table.loc["a", "note"].str.contains(words).all() and not table.loc["b", "note"].str.contains(words).any()
    row = table.loc[("a", "ET")]
    assert row[["expected_dice", "mirror_dice", "fold_dice"]].isna().all() and row["entropy_mean"] == 0.2
    assert table.loc[("a", "WT"), "expected_dice"] == 0.9


def test_masks_without_images_have_no_contrast(job: Job) -> None:
    job.add("a")
    for channel in ("t1", "t1ce", "t2", "flair"):
        job.cases[0][channel] = None
    row = job.run("precomputed", channels=()).loc[("a", "WT")]
    assert isnan(row["contrast"]) and row["components"] == 1
    assert "no image: no contrast" in row["note"]


def test_a_channel_that_another_stands_in_for_has_no_contrast(job: Job) -> None:
    job.add("a", substituted="t1ce=t1")
    table = job.run()
    assert isnan(table.loc[("a", "ET"), "contrast"]) and not isnan(table.loc[("a", "WT"), "contrast"])
    assert "t1ce is substituted by t1: no contrast in it" in table.loc[("a", "ET"), "note"]


def test_a_missing_prediction_is_no_empty_mask(job: Job) -> None:
    job.add("a", missing=True)
    row = job.run("precomputed").loc[("a", "WT")]
    assert row["note"].startswith("prediction missing") and row[list(MASK_FEATURES)].isna().all()


def test_a_mask_without_a_record_has_a_reason(job: Job) -> None:
    job.add("a", record=None)
    row = job.run().loc[("a", "WT")]
    assert isnan(row["expected_dice"]) and row["components"] == 1
    assert row["note"] == "no record of the probabilities: the trainer predicts in a way of its own"


def test_a_region_that_the_network_gives_no_probability_of_has_a_reason(job: Job) -> None:
    job.add("a")
    row = job.run(regions=["ED"]).loc[("a", "ED")]
    assert isnan(row["expected_dice"]) and row["note"] == "the network has no probability of ED"


def test_of_two_ways_of_predicting_the_mirrored_counts(job: Job) -> None:
    job.add("a")
    plain = {"networks": 1, "regions": {name: {**OWN, "expected_dice": 0.1} for name in ("WT", "TC", "ET")}}
    job.records = [*record_rows("a", False, plain), *job.records]
    job.predictions.append({**job.predictions[0], "tta": False})
    table = job.run()
    assert len(table) == 3 and set(table["expected_dice"]) == {0.9}


def test_what_is_measured_is_not_measured_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.add("a")
    first = job.run()
    monkeypatch.setattr(measure_quality, "measure_case", lambda case: pytest.fail("measured again"))
    assert job.run().equals(first) and job.said.endswith("1 already measured")


def test_a_mask_on_another_grid_than_its_image_is_named(job: Job) -> None:
    job.add("a")
    save(job.folder / "a_flair.nii.gz", np.ones((4, 4, 4), np.float32))
    with pytest.raises(UserError, match=r"a: .*a\.nii\.gz and .*a_flair\.nii\.gz do not lie on one grid"):
        job.run()
