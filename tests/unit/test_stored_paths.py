"""Paths in the files of a results folder, which may be moved."""

from pathlib import Path

import pandas as pd
import pytest

from glioflow import stored_paths
from glioflow.stored_paths import find_path, read_path_table, set_results_folder, store_path, write_path_table


@pytest.fixture(autouse=True)
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of a study, whose results are in ``results``."""
    monkeypatch.setattr(stored_paths, "_results", [])
    (tmp_path / "study/results/scores").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


TABLE = "results/scores/table.csv"


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("results/predictions/a.nii.gz", "../predictions/a.nii.gz"),
        ("results/scores/a.nii.gz", "a.nii.gz"),
        ("data/a.nii.gz", "../../data/a.nii.gz"),
        ("../data/a.nii.gz", "../../../data/a.nii.gz"),
        ("/elsewhere/a.nii.gz", "/elsewhere/a.nii.gz"),
    ],
)
def test_a_path_is_stored_from_its_file_on_and_found_again(path: str, stored: str):
    assert store_path(path, TABLE) == stored
    assert find_path(stored, TABLE) == path


def test_absolute_results_are_stored_relative_too(study: Path):
    set_results_folder(study / "results")
    table = study / TABLE
    assert store_path(study / "results/a.nii.gz", table) == "../a.nii.gz"
    assert store_path(study / "results-of-mine/a.nii.gz", table) == f"{study}/results-of-mine/a.nii.gz"
    assert find_path("../a.nii.gz", table) == f"{study}/results/a.nii.gz"


def test_a_table_in_a_moved_folder_names_the_files_where_they_are_now(study: Path):
    given = pd.DataFrame({"case_id": ["a", "b"], "prediction": ["results/x/a.nii.gz", None], "label": ["WT", "TC"]})
    write_path_table(TABLE, given, ["prediction"])
    (study / "results").rename(study / "moved")
    found = read_path_table(study.relative_to(Path.cwd()) / "moved/scores/table.csv", ["prediction"])
    assert found["prediction"][0] == "moved/x/a.nii.gz"
    assert pd.isna(found["prediction"][1])
    assert found["label"].tolist() == ["WT", "TC"]
