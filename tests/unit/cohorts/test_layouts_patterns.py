"""The layout of patterns: parts of an id, what is left out, patients that ids do not tell."""

from pathlib import Path
from typing import Any

import pytest

from glioflow.cohorts.layouts import LAYOUTS
from glioflow.cohorts.layouts.listing import Listing
from glioflow.cohorts.layouts.patterns import tells_case
from glioflow.study.registry import Dataset

FILES = {"flair": "**/{case}/{case}_flair", "label": "**/{case}/{case}_seg"}


def dataset(**keys: Any) -> Dataset:
    own = {"title": "t", "version": "1", "source": "s", "access": "own", "licence": "l", "citation": "c", "layout": "patterns"}
    return Dataset.model_validate({**own, "files": FILES, **keys})


def listing(folder: Path, *names: str, **keys: Any) -> Listing:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return LAYOUTS["patterns"].find(folder, dataset(**keys))


def case_files(place: str) -> tuple[str, str]:
    name = place.rpartition("/")[2]
    return f"{place}/{name}_flair.nii.gz", f"{place}/{name}_seg.nii.gz"


def test_a_folder_a_patient_and_one_a_session_are_one_case(tmp_path: Path):
    files = {"flair": "**/{patient}/{session}/flair", "label": "**/{patient}/{session}/auto/seg"}
    found = listing(tmp_path, "x/P1/w0/flair.nii.gz", "x/P1/w1/auto/seg.nii.gz", files=files, patient_id="(.+)_")
    assert [(case.case_id, case.patient_id) for case in found.cases] == [("P1_w0", "P1"), ("P1_w1", "P1")]
    assert found.cases[0].files["label"] == f"{tmp_path}/x/P1/w0/auto/seg"  # where it should be
    assert found.cases[1].files["label"] == f"{tmp_path}/x/P1/w1/auto/seg.nii.gz"


def test_an_id_of_a_form_is_told_from_other_names_that_end_alike(tmp_path: Path):
    files = {"flair": "**/{case,[0-9]+_time[12]}_flair", "label": "**/{case,[0-9]+_time[12]}_seg"}
    names = [f"7/7_{part}.nii.gz" for part in ("time1_flair", "time1_seg", "flair_subtraction_seg", "time2_seg")]
    found = listing(tmp_path, *names, files=files)
    assert [case.case_id for case in found.cases] == ["7_time1", "7_time2"]
    assert found.cases[1].files["flair"] == f"{tmp_path}/7/7_time2_flair"


def test_cases_in_folders_of_other_data_are_left_out_and_counted(tmp_path: Path):
    names = [name for place in ("Train/a", "ValidationData/b", "ValidationData/c") for name in case_files(place)]
    found = listing(tmp_path, *names, leave_out="(?i)validation[^/]*/")
    assert [case.case_id for case in found.cases] == ["a"]
    (problem,) = found.problems
    assert (problem["problem"], problem["severity"]) == ("left_out", "warning")
    assert "2 cases" in problem["found"] and "b, c" in problem["found"]


def test_a_folder_that_is_named_itself_is_not_left_out(tmp_path: Path):
    """The pattern is sought below the folder: who names the validation set wants it."""
    folder = tmp_path / "ValidationData"
    found = listing(folder, *case_files("a"), leave_out="(?i)validation[^/]*/")
    assert [case.case_id for case in found.cases] == ["a"] and found.problems == []


@pytest.mark.parametrize("in_part", [True, False])
def test_a_case_without_a_label_is_left_out_only_where_the_data_set_is_labelled_in_part(tmp_path: Path, in_part: bool):
    found = listing(tmp_path, *case_files("a"), "b/b_flair.nii.gz", labelled_in_part=in_part)
    assert [case.case_id for case in found.cases] == (["a"] if in_part else ["a", "b"])
    assert [problem["problem"] for problem in found.problems] == (["no_segmentation"] if in_part else [])
    if in_part:
        assert "1 case of 2" in found.problems[0]["found"] and "b/b_seg" in found.problems[0]["expected"]


def test_two_cases_of_one_patient_are_of_that_patient_where_the_registry_tells(tmp_path: Path):
    names = [name for place in ("p1_0", "p2_0", "p3_0") for name in case_files(place)]
    found = listing(tmp_path, *names, same_patient={"p3_0": "p1_0"}, patient_id="(.+)_0")
    assert [case.patient_id for case in found.cases] == ["p1", "p2", "p1"]


@pytest.mark.parametrize(
    ("pattern", "tells"),
    [("{case}/f", True), ("{patient}/{session}/f", True), ("{case,[a-z]+}/f", True), ("{patient}/f", False), ("f", False)],
)
def test_a_pattern_tells_a_case_by_its_id_or_by_patient_and_session(pattern: str, tells: bool):
    assert tells_case(pattern) is tells
