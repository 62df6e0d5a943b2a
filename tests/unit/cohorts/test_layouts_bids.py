"""The layout of BIDS trees: a raw tree with masks among its derivatives, with and without sessions; its voxels play no part."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from miniatures import make_miniature

from glioflow.cohorts.layouts import list_cohort
from glioflow.cohorts.layouts.listing import FoundCase, Listing
from glioflow.study.configuration import BidsCohort


def list_cases(folder: Path, **filters: dict[str, str]) -> Listing:
    keys: dict[str, Any] = {"filters": filters} if filters else {}
    return list_cohort(BidsCohort(dataset="bids", path=folder.as_posix(), label_scheme="brats2023", **keys), folder)


def by_id(listing: Listing) -> dict[str, FoundCase]:
    return {case.case_id: case for case in listing.cases}


def write(folder: Path, *names: str) -> None:
    """Write empty files by name; their folders follow from the name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


ANAT = ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR", "dseg")


@pytest.fixture
def simple(tmp_path: Path) -> Path:
    """Two subjects without sessions, each with four images and a mask, all in the tree itself."""
    write(tmp_path, *(f"sub-{n}/anat/sub-{n}_{name}.nii.gz" for n in ("01", "02") for name in ANAT))
    return tmp_path


def test_a_session_is_a_case_of_its_subject_and_masks_are_found_among_the_derivatives(tmp_path: Path):
    make_miniature("bids", tmp_path)
    listing = list_cases(tmp_path)
    cases = by_id(listing)
    assert listing.problems == []
    assert list(cases) == ["sub-01_ses-1", "sub-02_ses-1", "sub-03_ses-1", "sub-04_ses-1", "sub-05_ses-1", "sub-05_ses-2"]
    assert cases["sub-05_ses-2"].patient_id == "sub-05"
    root = tmp_path.as_posix()
    assert cases["sub-05_ses-2"].files == {
        "t1": f"{root}/sub-05/ses-2/anat/sub-05_ses-2_T1w.nii.gz",
        "t1ce": f"{root}/sub-05/ses-2/anat/sub-05_ses-2_ce-gadolinium_T1w.nii.gz",
        "t2": f"{root}/sub-05/ses-2/anat/sub-05_ses-2_T2w.nii.gz",
        "flair": f"{root}/sub-05/ses-2/anat/sub-05_ses-2_FLAIR.nii.gz",
        "label": f"{root}/derivatives/masks/sub-05/ses-2/anat/sub-05_ses-2_desc-tumour_dseg.nii.gz",
    }


def test_a_subject_without_sessions_is_a_case(simple: Path):
    cases = by_id(list_cases(simple))
    assert list(cases) == ["sub-01", "sub-02"]
    assert cases["sub-01"].patient_id == "sub-01" and len(cases["sub-01"].files) == 5


def test_a_tree_in_a_folder_with_a_dot_in_its_name_is_found(tmp_path: Path):
    write(tmp_path / "gliomas.v1.2", "sub-01/anat/sub-01_T1w.nii")
    assert list(by_id(list_cases(tmp_path / "gliomas.v1.2"))) == ["sub-01"]


def test_participants_and_sessions_tables_become_covariates(tmp_path: Path):
    make_miniature("bids", tmp_path)
    (tmp_path / "sub-05/sub-05_sessions.tsv").write_text("session_id\tdaysSinceSurgery\nses-1\tn/a\nses-2\t90\n")
    cases = by_id(list_cases(tmp_path))
    assert cases["sub-02_ses-1"].covariates == {"age_years": "51", "sex": "M"}  # handedness is n/a
    assert cases["sub-05_ses-1"].covariates == {"age_years": "54", "sex": "F"}
    assert cases["sub-05_ses-2"].covariates == {"age_years": "54", "sex": "F", "days_since_surgery": "90"}


@pytest.mark.parametrize(
    ("content", "problem", "words"),
    [
        (b"participant_id\tn\xe4\x81me\nsub-01\t3\n", "unreadable_table", "line 1 is neither in UTF-8 nor in Windows-1252"),
        (b"participant_id\tage\tsex\nsub-01\t3\n", "unreadable_table", "line 2 has 2 fields, where the header (line 1) has 3"),
        (b"participant_id\tage\tage_years\nsub-01\t3\t3\n", "unreadable_table", "'age' and 'age_years' are both age_years"),
        (b"participant\tage\nsub-01\t3\n", "covariate_table", "the columns participant, age; expected a column participant_id"),
        (b"participant_id\tage\nsub-01\t60\nsub-02\t3\nsub-01\t61\n", "covariate_table", "sub-01, "),
    ],
)
def test_a_table_that_could_give_a_participant_anothers_values_is_an_error(
    simple: Path, content: bytes, problem: str, words: str
):
    (simple / "participants.tsv").write_bytes(content)
    listing = list_cases(simple)
    assert [(p["problem"], p["severity"]) for p in listing.problems] == [(problem, "error")]
    assert words in listing.problems[0]["message"]
    assert len(listing.cases) == 2


def test_participants_that_nearly_match_are_offered_and_not_taken(simple: Path):
    (simple / "participants.tsv").write_text("participant_id\tage\n1\t60\nsub-02\t61\nsub-09\t62\n")
    listing = list_cases(simple)
    assert [case.covariates for case in listing.cases] == [{}, {"age_years": "61"}]
    (problem,) = listing.problems
    assert (problem["problem"], problem["severity"]) == ("near_ids", "warning")
    assert "(write 'sub-01' for '1')" in problem["message"]


def test_two_rows_for_a_session_are_an_error(tmp_path: Path):
    make_miniature("bids", tmp_path)
    (tmp_path / "sub-05/sub-05_sessions.tsv").write_text("session_id\tday\nses-1\t1\nses-1\t90\n")
    (problem,) = list_cases(tmp_path).problems
    assert (problem["case_id"], problem["found"]) == ("sub-05 ses-1", "two rows for this id")


def test_two_files_for_a_role_are_a_problem_that_names_both_and_the_way_out(simple: Path):
    write(simple, "sub-02/anat/sub-02_acq-3d_FLAIR.nii.gz")
    (problem,) = list_cases(simple).problems
    assert (problem["case_id"], problem["problem"], problem["severity"]) == ("sub-02", "two_files", "error")
    assert "sub-02_acq-3d_FLAIR" in problem["found"] and "sub-02_FLAIR" in problem["found"] and "filters" in problem["expected"]


def test_a_filter_for_a_role_takes_the_place_of_its_default_alone(simple: Path):
    write(simple, "sub-02/anat/sub-02_acq-3d_FLAIR.nii.gz")
    listing = list_cases(simple, flair={"suffix": "FLAIR", "acq": "3d"})
    assert listing.problems == []
    cases = by_id(listing)
    assert cases["sub-02"].files["flair"].endswith("sub-02_acq-3d_FLAIR.nii.gz")
    assert "flair" not in cases["sub-01"].files and cases["sub-01"].files["t1"].endswith("sub-01_T1w.nii.gz")


def test_an_empty_value_asks_for_absence_and_a_star_for_presence(simple: Path):
    write(simple, "sub-02/anat/sub-02_acq-3d_FLAIR.nii.gz")
    absent = by_id(list_cases(simple, flair={"suffix": "FLAIR", "acq": ""}))
    assert absent["sub-02"].files["flair"].endswith("sub-02_FLAIR.nii.gz")
    there = by_id(list_cases(simple, flair={"suffix": "FLAIR", "acq": "*"}))
    assert there["sub-02"].files["flair"].endswith("sub-02_acq-3d_FLAIR.nii.gz")


def test_images_of_the_tree_go_before_those_of_its_derivatives(simple: Path):
    write(simple, "derivatives/prep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    listing = list_cases(simple)
    assert listing.problems == []
    assert by_id(listing)["sub-01"].files["t1"].endswith("sub-01/anat/sub-01_T1w.nii.gz")


def test_a_derivative_tree_by_itself_is_read_as_any_tree(simple: Path):
    write(simple, "derivatives/prep/sub-01/anat/sub-01_space-MNI152_desc-preproc_T1w.nii.gz")
    cases = by_id(list_cases(simple / "derivatives/prep"))
    assert list(cases["sub-01"].files) == ["t1"]


def test_masks_of_two_derivatives_are_a_problem_until_a_filter_chooses(simple: Path):
    for path in simple.rglob("*_dseg.nii.gz"):
        path.unlink()
    write(simple, "derivatives/a/sub-01/anat/sub-01_desc-a_dseg.nii.gz", "derivatives/b/sub-01/anat/sub-01_desc-b_dseg.nii.gz")
    assert [problem["problem"] for problem in list_cases(simple).problems] == ["two_files"]
    chosen = list_cases(simple, label={"suffix": "dseg", "desc": "b"})
    assert chosen.problems == []
    assert by_id(chosen)["sub-01"].files["label"].endswith("sub-01_desc-b_dseg.nii.gz")


def test_only_nifti_files_of_subjects_count(simple: Path):
    write(simple, "sub-01/anat/sub-01_T1w.json", "sub-01/anat/sub-01_T1w.mgz", "sourcedata/sub-01/anat/sub-01_T1w.nii.gz")
    write(simple, "template_T1w.nii.gz", "sub-03/func/sub-03_task-rest_bold.nii.gz", "sub-01/anat/._sub-01_T1w.nii.gz")
    listing = list_cases(simple)
    assert list(by_id(listing)) == ["sub-01", "sub-02"] and listing.problems == []


def test_planning_a_study_without_a_bids_cohort_does_not_import_the_reader_of_names(repo: Path):
    code = "import sys; import glioflow.cohorts.layouts; assert not {'bids2table', 'tifffile'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=repo / "scripts", check=True)
