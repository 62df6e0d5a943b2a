from pathlib import Path

import pytest
from conftest import write_case

from convert_cohort import case_table
from glioflow.config import FolderCohort, TableCohort, datasets
from glioflow.console import UserError
from glioflow.layouts import find_cases, list_cases, read_case_table, source_stamp

FILES = datasets()["brats2021"]["files"]


def test_every_case_is_found_with_its_files(brats_folder):
    cases = find_cases(brats_folder, FILES, "(.+)")
    assert [case["case_id"] for case in cases] == [f"BraTS2021_{n:05d}" for n in range(6)]
    assert all(Path(case[role]).exists() for case in cases for role in ("t1", "t1ce", "t2", "flair", "label"))


def test_a_case_with_a_missing_file_keeps_the_path_where_it_should_be(brats_folder):
    gone = brats_folder / "BraTS2021_00001/BraTS2021_00001_t2.nii.gz"
    gone.unlink()
    case = find_cases(brats_folder, FILES, "(.+)")[1]
    assert case["t2"] == gone.as_posix()


def test_uncompressed_files_are_found_too(brats_folder):
    packed = brats_folder / "BraTS2021_00001/BraTS2021_00001_t2.nii.gz"
    plain = packed.with_suffix("")
    plain.write_bytes(packed.read_bytes())
    packed.unlink()
    assert find_cases(brats_folder, FILES, "(.+)")[1]["t2"] == plain.as_posix()


def test_brats_2023_names_become_canonical_and_sessions_share_their_patient(tmp_path):
    for session in ("000", "001"):
        folder = tmp_path / f"BraTS-GLI-00007-{session}"
        folder.mkdir()
        for ending in ("t1n", "t1c", "t2w", "t2f", "seg"):
            (folder / f"{folder.name}-{ending}.nii.gz").touch()
    known = datasets()["brats2023_gli"]
    cases = find_cases(tmp_path, known["files"], known["patient_id"])
    assert [case["patient_id"] for case in cases] == ["BraTS-GLI-00007"] * 2
    assert cases[1]["t1ce"].endswith("BraTS-GLI-00007-001-t1c.nii.gz")
    assert cases[1]["flair"].endswith("-t2f.nii.gz")


def test_a_pattern_must_match_the_whole_path(brats_folder):
    (brats_folder / "BraTS2021_00001/extra_seg.nii.gz").touch()
    (brats_folder / "notes.txt").touch()
    (brats_folder / "BraTS2021_00009").mkdir()
    (brats_folder / "BraTS2021_00009/BraTS2021_00009_seg.nii.gz.part").touch()
    assert len(find_cases(brats_folder, FILES, "(.+)")) == 6


def test_a_table_with_a_byte_order_mark_windows_line_ends_and_covariates_is_read(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_bytes("\ufeffcase_id, flair,label,age\r\na,a_f.nii.gz,a_l.nii.gz,61\r\nb,,b_l.nii.gz,\r\n".encode())
    rows = read_case_table(path)
    assert [row["patient_id"] for row in rows] == ["a", "b"]
    assert rows[0]["flair"] == (tmp_path / "a_f.nii.gz").as_posix()
    assert rows[0]["age"] == "61"
    table = case_table(rows)
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
        read_case_table(path)


def test_a_cohort_of_a_table_and_one_of_folders_list_the_same_cases(brats_folder, tmp_path):
    folders = list_cases(FolderCohort(dataset="brats2021", path=str(brats_folder)), Path())
    lines = ["case_id,t1,t1ce,t2,flair,label"]
    lines += [",".join([case["case_id"], *(case[role] for role in ("t1", "t1ce", "t2", "flair", "label"))]) for case in folders]
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    table = list_cases(TableCohort(dataset="table", table=str(tmp_path / "cases.csv"), label_scheme="brats2021"), Path())
    assert table == folders


def test_the_stamp_changes_when_a_file_does_and_only_then(brats_folder):
    before = source_stamp(find_cases(brats_folder, FILES, "(.+)"))
    assert source_stamp(find_cases(brats_folder, FILES, "(.+)")) == before
    write_case(brats_folder, "BraTS2021_00001", seed=1)
    assert source_stamp(find_cases(brats_folder, FILES, "(.+)")) != before
