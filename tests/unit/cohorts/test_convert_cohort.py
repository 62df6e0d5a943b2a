import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import write_case
from miniatures import make_miniature

from convert_cohort import PHANTOM_COVARIATES, add_truth, case_table
from glioflow.case_cache import CaseCache
from glioflow.cohorts.conversion import convert_cases
from glioflow.cohorts.covariates import add_covariates
from glioflow.cohorts.layouts import FoundCase, list_cohort, patterns, source_stamp
from glioflow.console import Console, UserError
from glioflow.study.configuration import FolderCohort, TableCohort
from glioflow.study.registry import datasets


def found(folder: Path, key: str = "brats2021") -> list[FoundCase]:
    return patterns.find(folder, datasets()[key]).cases


def test_every_case_is_found_with_its_files(brats_folder):
    cases = found(brats_folder)
    assert [case.case_id for case in cases] == [f"BraTS2021_{n:05d}" for n in range(6)]
    assert all(Path(case.files[role]).exists() for case in cases for role in ("t1", "t1ce", "t2", "flair", "label"))


def test_a_case_with_a_missing_file_keeps_the_path_where_it_should_be(brats_folder):
    gone = brats_folder / "BraTS2021_00001/BraTS2021_00001_t2.nii.gz"
    gone.unlink()
    case = found(brats_folder)[1]
    assert case.files["t2"] == gone.as_posix()


def test_uncompressed_files_are_found_too(brats_folder):
    packed = brats_folder / "BraTS2021_00001/BraTS2021_00001_t2.nii.gz"
    plain = packed.with_suffix("")
    plain.write_bytes(packed.read_bytes())
    packed.unlink()
    assert found(brats_folder)[1].files["t2"] == plain.as_posix()


def test_brats_2023_names_become_canonical_and_sessions_share_their_patient(tmp_path):
    for session in ("000", "001"):
        folder = tmp_path / f"BraTS-GLI-00007-{session}"
        folder.mkdir()
        for ending in ("t1n", "t1c", "t2w", "t2f", "seg"):
            (folder / f"{folder.name}-{ending}.nii.gz").touch()
    cases = found(tmp_path, "brats2023_gli")
    assert [case.patient_id for case in cases] == ["BraTS-GLI-00007"] * 2
    assert cases[1].files["t1ce"].endswith("BraTS-GLI-00007-001-t1c.nii.gz")
    assert cases[1].files["flair"].endswith("-t2f.nii.gz")


def test_a_pattern_must_match_the_whole_path(brats_folder):
    (brats_folder / "BraTS2021_00001/extra_seg.nii.gz").touch()
    (brats_folder / "notes.txt").touch()
    (brats_folder / "BraTS2021_00009").mkdir()
    (brats_folder / "BraTS2021_00009/BraTS2021_00009_seg.nii.gz.part").touch()
    assert len(found(brats_folder)) == 6


def list_table(path: Path) -> list[FoundCase]:
    cohort = TableCohort(dataset="table", table=str(path), label_scheme="brats2021")
    return list_cohort(cohort, path).cases


def test_a_table_with_a_byte_order_mark_windows_line_ends_and_covariates_is_read(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_bytes("\ufeffcase_id, flair,label,age\r\na,a_f.nii.gz,a_l.nii.gz,61\r\nb,,b_l.nii.gz,\r\n".encode())
    cases = list_table(path)
    assert [case.patient_id for case in cases] == ["a", "b"]
    assert cases[0].files["flair"] == (tmp_path / "a_f.nii.gz").as_posix()
    assert cases[0].covariates == {"age": "61"}
    table = case_table(cases)
    assert list(table.columns) == ["case_id", "patient_id", "flair", "label", "age"]
    assert table["flair"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,flair,label\n", "has no column case_id; found id, flair, label"),
        ("case_id,label\n", "has no channel column"),
        ("", "found an empty file"),
    ],
)
def test_a_table_that_lacks_a_column_says_which(tmp_path, text, expected):
    path = tmp_path / "cases.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=expected):
        list_table(path)


def test_a_cohort_of_a_table_and_one_of_folders_list_the_same_cases(brats_folder, tmp_path):
    folders = list_cohort(FolderCohort(dataset="brats2021", path=str(brats_folder)), brats_folder).cases
    lines = ["case_id,t1,t1ce,t2,flair,label"]
    lines += [",".join([case.case_id, *case.files.values()]) for case in folders]
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    assert list_table(tmp_path / "cases.csv") == folders


def test_the_stamp_changes_when_a_file_does_and_only_then(brats_folder):
    before = source_stamp(found(brats_folder))
    assert source_stamp(found(brats_folder)) == before
    write_case(brats_folder, "BraTS2021_00001", seed=1)
    assert source_stamp(found(brats_folder)) != before


def test_the_misnamed_label_of_brats_2020_is_found(tmp_path):
    block = make_miniature("brats2020", tmp_path)
    cases = list_cohort(FolderCohort(**block), Path(block["path"])).cases
    odd = [case for case in cases if Path(case.files["label"]).name == "W39_1998.09.19_Segm.nii"]
    assert [case.case_id for case in odd] == ["BraTS20_Training_355"]
    assert all(Path(case.files["label"]).exists() for case in cases)


def test_the_folders_of_brats_2018_tell_the_grade_and_its_table_the_rest(tmp_path):
    block = make_miniature("brats2018", tmp_path)
    cohort = FolderCohort(**block)
    cases, problems = add_covariates(list_cohort(cohort, Path(block["path"])).cases, cohort, Path(block["path"]))
    assert [(p["problem"], p["severity"]) for p in problems] == [("no_number", "warning")]  # survival as a sentence
    assert {case.covariates["grade"] for case in cases} == {"HGG", "LGG"}
    assert any("age_years" in case.covariates and "survival_days" in case.covariates for case in cases)


def test_an_image_that_is_right_is_neither_copied_nor_linked(brats_folder, tmp_path):
    cohort = FolderCohort(dataset="brats2021", path=str(brats_folder))
    cases, problems, written = convert_cases(
        found(brats_folder), cohort, tmp_path / "converted", CaseCache(tmp_path / "l.jsonl"), 1, Console()
    )
    assert (cases, problems, written) == (found(brats_folder), [], 0)
    assert not (tmp_path / "converted").exists()


def test_a_case_is_converted_once_and_again_when_its_file_changes(tmp_path):
    block = make_miniature("msd_task01", tmp_path / "msd")
    cohort = FolderCohort(**block)

    def convert():
        cases = list_cohort(cohort, Path(block["path"])).cases
        return convert_cases(cases, cohort, tmp_path / "converted", CaseCache(tmp_path / "l.jsonl"), 1, Console())

    cases, problems, written = convert()
    assert written == len(cases) == 6 and problems == []
    assert convert() == (cases, [], 0)
    os.utime(list_cohort(cohort, Path(block["path"])).cases[2].sources[0])
    assert convert()[2] == 1
    Path(cases[0].files["t2"]).unlink()
    Path(cases[1].files["t1"]).write_bytes(Path(cases[1].files["t2"]).read_bytes())
    assert convert() == (cases, [], 2)
    assert Path(cases[1].files["t1"]).read_bytes() != Path(cases[1].files["t2"]).read_bytes()
    assert convert() == (cases, [], 0)


def test_an_unconvertible_case_is_a_problem_and_left_out(tmp_path):
    block = make_miniature("msd_task01", tmp_path / "msd")
    cohort = FolderCohort(**block)
    cases = list_cohort(cohort, Path(block["path"])).cases
    Path(cases[1].sources[0]).write_bytes(b"")
    kept, problems, _ = convert_cases(cases, cohort, tmp_path / "converted", CaseCache(tmp_path / "l.jsonl"), 1, Console())
    assert [case.case_id for case in kept] == [case.case_id for case in cases if case is not cases[1]]
    assert [(p["case_id"], p["problem"]) for p in problems] == [(cases[1].case_id, "unreadable")]


def test_a_link_that_leads_back_or_nowhere_is_told_and_not_followed(brats_folder):
    (brats_folder / "BraTS2021_00001/loop").symlink_to("..")
    (brats_folder / "BraTS2021_00002/gone").symlink_to("nowhere")
    (brats_folder / "elsewhere").symlink_to(brats_folder / "BraTS2021_00003")  # a second name is no loop
    listing = patterns.find(brats_folder, datasets()["brats2021"])
    assert len(listing.cases) == 6
    assert sorted(p["problem"] for p in listing.problems) == ["broken_link", "link_loop"]


def test_a_case_in_two_folders_is_two_files_for_each_role(brats_folder):
    shutil.copytree(brats_folder / "BraTS2021_00001", brats_folder / "copy/BraTS2021_00001")
    listing = patterns.find(brats_folder, datasets()["brats2021"])
    assert [p["problem"] for p in listing.problems] == ["two_files"] * 5
    assert listing.problems[0]["patient_id"] == "BraTS2021_00001"
    assert "copy" not in listing.cases[1].files["t1"]


def test_a_case_of_which_no_file_is_nifti_is_still_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/a_t1.mha").touch()
    assert [case.case_id for case in found(tmp_path)] == ["a"]


def test_the_phantoms_have_the_patients_and_the_causes_of_their_truth():
    cases = pd.DataFrame({"case_id": ["a", "b"], "patient_id": ["a", "b"], "t1": ["a.nii", "b.nii"]})
    truth = pd.DataFrame({"case_id": ["b", "a"], "patient_id": ["p", "p"], "planted": [None, "low_contrast"], "seed": [1, 2]})
    truth = truth.assign(**{name: 0.5 for name in PHANTOM_COVARIATES if name != "planted"})
    table = add_truth(cases, truth)
    assert table["patient_id"].tolist() == ["p", "p"]
    assert table["planted"].tolist() == ["low_contrast", "nothing"]
    assert "seed" not in table
