"""The layout of UPENN-GBM, on a miniature with its folders, names and clinical columns; its voxels play no part."""

from pathlib import Path

import pytest
from miniatures import make_miniature

from glioflow.cohorts.covariates import add_covariates
from glioflow.cohorts.layouts import list_cohort
from glioflow.cohorts.layouts.listing import FoundCase, Listing
from glioflow.study.configuration import FolderCohort


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_miniature("upenn_gbm", tmp_path)
    return tmp_path


def list_cases(folder: Path) -> Listing:
    return list_cohort(FolderCohort(dataset="upenn_gbm", path=folder.as_posix()), folder)


def by_id(listing: Listing) -> dict[str, FoundCase]:
    return {case.case_id: case for case in listing.cases}


def test_every_case_with_images_and_a_label_is_found(data: Path):
    cases = by_id(list_cases(data))
    names = ("00001_11", "00001_21", "00002_11", "00003_11", "00004_11", "00005_11")
    assert sorted(cases) == [f"UPENN-GBM-{name}" for name in names]
    files = cases["UPENN-GBM-00002_11"].files
    assert [Path(path).name.removeprefix("UPENN-GBM-00002_11_") for path in files.values()] == [
        "T1.nii.gz",
        "T1GD.nii.gz",
        "T2.nii.gz",
        "FLAIR.nii.gz",
        "automated_approx_segm.nii.gz",
    ]
    assert list(files) == ["t1", "t1ce", "t2", "flair", "label"]
    assert all(Path(path).is_file() for path in files.values())


def test_the_refined_segmentation_goes_before_the_automated_one_and_a_covariate_says_which(data: Path):
    cases = by_id(list_cases(data))
    assert cases["UPENN-GBM-00001_11"].files["label"].endswith("images_segm/UPENN-GBM-00001_11_segm.nii.gz")
    assert cases["UPENN-GBM-00001_11"].covariates["segmentation"] == "manual"
    assert cases["UPENN-GBM-00002_11"].covariates["segmentation"] == "automated"


def test_two_timepoints_are_two_cases_of_one_patient(data: Path):
    cases = by_id(list_cases(data))
    assert cases["UPENN-GBM-00001_11"].patient_id == cases["UPENN-GBM-00001_21"].patient_id == "UPENN-GBM-00001"
    assert cases["UPENN-GBM-00001_11"].covariates["timepoint"] == "pre-operative"
    assert cases["UPENN-GBM-00001_21"].covariates["timepoint"] == "follow-up"


def test_cases_without_a_segmentation_are_one_warning_that_counts_them(data: Path):
    for name in ("UPENN-GBM-00003_11", "UPENN-GBM-00004_11"):
        for path in data.rglob(f"{name}*segm.nii.gz"):
            path.unlink()
    listing = list_cases(data)
    assert len(listing.cases) == 4
    (problem,) = listing.problems
    assert (problem["problem"], problem["severity"]) == ("no_segmentation", "warning")
    assert "3 cases of 7" in problem["found"]
    assert "UPENN-GBM-00003_11, UPENN-GBM-00004_11, UPENN-GBM-00006_11" in problem["found"]


def test_segmentations_of_images_that_were_not_downloaded_are_one_warning(data: Path):
    folder = data / "NIfTI-files/images_structural/UPENN-GBM-00003_11"
    for path in folder.iterdir():
        path.unlink()
    listing = list_cases(data)
    assert "UPENN-GBM-00003_11" not in by_id(listing)
    assert {problem["problem"] for problem in listing.problems} == {"no_segmentation", "no_images"}
    assert "1 segmentation without images" in listing.problems[1]["found"]


def test_a_missing_channel_keeps_the_path_where_it_should_be(data: Path):
    path = data / "NIfTI-files/images_structural/UPENN-GBM-00002_11/UPENN-GBM-00002_11_T1GD.nii.gz"
    path.unlink()
    assert by_id(list_cases(data))["UPENN-GBM-00002_11"].files["t1ce"] == path.as_posix()


def test_a_second_file_for_a_channel_is_a_problem_that_names_both(data: Path):
    first = data / "NIfTI-files/images_structural/UPENN-GBM-00002_11/UPENN-GBM-00002_11_T2.nii.gz"
    second = first.with_suffix("")
    second.write_bytes(b"")
    (problem,) = [p for p in list_cases(data).problems if p["problem"] == "two_files"]
    assert problem["case_id"] == "UPENN-GBM-00002_11" and problem["patient_id"] == "UPENN-GBM-00002"
    assert first.name in problem["found"] and second.name in problem["found"]


def test_images_with_the_skull_are_not_taken_for_the_stripped_ones(data: Path):
    folder = data / "NIfTI-files/images_structural_unstripped/UPENN-GBM-00002_11"
    folder.mkdir(parents=True)
    (folder / "UPENN-GBM-00002_11_T1.nii.gz").write_bytes(b"")
    (folder / "UPENN-GBM-00002_11_T1_unstripped.nii.gz").write_bytes(b"")
    assert [p["problem"] for p in list_cases(data).problems] == ["no_segmentation"]


def test_the_clinical_table_becomes_readable_covariates(data: Path):
    cohort = FolderCohort(dataset="upenn_gbm", path=data.as_posix())
    cases, problems = add_covariates(list_cases(data).cases, cohort, data)
    assert problems == []
    known = {case.case_id: case.covariates for case in cases}
    assert known["UPENN-GBM-00002_11"] == {
        "segmentation": "automated",
        "timepoint": "pre-operative",
        "sex": "male",
        "age_years": "64.40",
        "survival_days": "262",
        "survival_status": "Deceased",
        "survival_censor": "1",
        "idh1": "NOS/NEC",
        "resected_over_90_percent": "no",
        "days_since_baseline": "0",
    }
    assert known["UPENN-GBM-00001_21"]["days_since_baseline"] == "241"
    assert "survival_days" not in known["UPENN-GBM-00001_11"]  # "Not Available"
