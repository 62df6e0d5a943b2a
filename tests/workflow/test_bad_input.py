"""Wrong input, seen as a user sees it: every problem at once, exit status not zero, nothing trained, no traceback."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import AFFINE, save, write_case
from workflows import copy_checkout, snakemake

MODEL = {"cohort": "c", "folds": 2, "epochs": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("bad") / "glioflow")


def run(checkout: Path, study: dict, tmp_path: Path, target: str = "all"):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"results": str(tmp_path / "results"), **study}))
    return snakemake(checkout, target, "--configfile", str(path))


def stopped(result, tmp_path: Path) -> str:
    """Assert that the run stopped as a user's mistake should, and return what it said."""
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    assert not (tmp_path / "results/models").exists(), "something was planned or trained"
    return result.stdout


def test_every_problem_of_every_case_is_listed_before_anything_is_trained(checkout, brats_folder, tmp_path):
    def file(number: int, role: str) -> Path:
        return brats_folder / f"BraTS2021_{number:05d}/BraTS2021_{number:05d}_{role}.nii.gz"

    file(0, "t2").unlink()
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[2:4, 2:4, 2:4] = 3
    save(file(1, "seg"), labels)
    save(file(2, "seg"), np.ones((10, 12, 9), np.uint8))
    shifted = AFFINE.copy()
    shifted[2, 3] = 4
    save(file(3, "flair"), np.arange(960, dtype=np.int16).reshape(10, 12, 8), shifted)
    save(file(4, "t1"), np.full((10, 12, 8), np.nan, np.float32))
    file(5, "t1ce").write_bytes(file(5, "t1ce").read_bytes()[:-60])
    study = {
        "cohorts": {"c": {"dataset": "brats2021", "path": str(brats_folder)}},
        "models": {"m": {**MODEL, "folds": 9}},
        "failure": {"extremes": 4},
    }
    said = stopped(run(checkout, study, tmp_path), tmp_path)
    for words in (
        f"BraTS2021_00000, {file(0, 't2')}: found no file for channel t2",
        f"BraTS2021_00001, {file(1, 'seg')}: found label value 3; expected values 0, 1, 2, 4",
        f"BraTS2021_00002, {file(2, 'seg')}: found shape (10, 12, 9)",
        f"BraTS2021_00003, {file(3, 'flair')}: found an affine that puts a corner 4 mm",
        f"BraTS2021_00004, {file(4, 't1')}: found 960 voxels that are NaN",
        f"BraTS2021_00005, {file(5, 't1ce')}: found cannot be read",
        "found 6 training patients for 9 folds",
    ):
        assert words in said
    table = pd.read_csv(tmp_path / "results/cohorts/c/verification.csv")
    assert len(table) == 7
    assert set(table["severity"]) == {"error"}


def test_a_model_that_stands_twice_in_the_file_stops_instead_of_being_lost(checkout, tmp_path):
    path = tmp_path / "study.yaml"
    models = "models:\n  m: {cohort: demo}\n  n: {cohort: demo}\n  m: {cohort: demo, folds: 2}\n"
    path.write_text("cohorts:\n  demo: {dataset: phantom}\n" + models)
    said = stopped(snakemake(checkout, "-n", "--configfile", str(path)), tmp_path)
    assert f"{path}: models: 'm' stands twice (lines 4 and 6); names must differ" in said


def test_an_empty_cohort_stops(checkout, tmp_path):
    (tmp_path / "empty").mkdir()
    study = {"cohorts": {"c": {"dataset": "brats2021", "path": str(tmp_path / "empty")}}, "models": {"m": MODEL}}
    assert f"found no case; expected cases in {tmp_path / 'empty'}" in stopped(run(checkout, study, tmp_path), tmp_path)


def test_two_cases_with_one_id_stop(checkout, brats_folder, tmp_path):
    lines = ["case_id,flair,label"]
    for number in (0, 1, 1, 2, 3):
        case = f"brats/BraTS2021_{number:05d}/BraTS2021_{number:05d}"
        lines.append(f"BraTS2021_{number:05d},{case}_flair.nii.gz,{case}_seg.nii.gz")
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    cohort = {"dataset": "table", "table": str(tmp_path / "cases.csv"), "label_scheme": "brats2021"}
    study = {"cohorts": {"c": cohort}, "models": {"m": {**MODEL, "channels": ["flair"]}}, "failure": {"extremes": 2}}
    assert "found a second case with the id 'BraTS2021_00001'" in stopped(run(checkout, study, tmp_path), tmp_path)


def test_given_masks_that_cannot_be_scored_are_all_listed(checkout, tmp_path):
    for number in range(4):
        write_case(tmp_path / "brats", f"case{number}")
    save(tmp_path / "masks/case0.nii.gz", np.full((10, 12, 8), 3, np.uint8))
    save(tmp_path / "masks/case1.nii.gz", np.zeros((10, 12, 9), np.uint8))
    save(tmp_path / "masks/case2.nii.gz", np.zeros((10, 12, 8), np.uint8), np.eye(4))
    study = {
        "cohorts": {"c": {"dataset": "brats2021", "path": str(tmp_path / "brats")}},
        "models": {"m": {"cohort": "c", "predictions": f"{tmp_path}/masks/{{case}}.nii.gz", "label_scheme": "brats2021"}},
        "failure": {"extremes": 2},
    }
    said = stopped(run(checkout, study, tmp_path), tmp_path)
    assert "4 masks of 'm' cannot be scored" in said
    assert f"case0, {tmp_path}/masks/case0.nii.gz: found the values 3; expected those of the scheme 'brats2021'" in said
    assert "would fit: canonical, brats2023" in said
    assert "case1" in said and "found shape (10, 12, 9)" in said
    assert "case2" in said and "set on_geometry_mismatch: use_image_header" in said
    assert f"case3, {tmp_path}/masks/case3.nii.gz: found no mask" in said


@pytest.mark.parametrize("name", ["config.yaml", "datasets.yaml", "label_schemes.yaml", "conventions/medpy.yaml"])
def test_a_mistake_in_glioflows_own_yaml_is_told_with_file_line_and_column(tmp_path, name):
    checkout = copy_checkout(tmp_path / "glioflow")
    path = checkout / "config" / name
    path.write_text("a: b: c\n" + path.read_text())
    run = snakemake(checkout, "-n")
    assert run.returncode != 0
    assert f"config/{name}: line 1, column 5: mapping values are not allowed here" in run.stdout
    assert "Traceback" not in run.stdout and "site-packages" not in run.stdout
