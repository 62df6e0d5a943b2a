import numpy as np
import pandas as pd
import pytest
from conftest import save

from glioflow.console import Console
from glioflow.files import read_table, sha256_file, write_table
from glioflow.models.predictions import (
    COLUMNS,
    drop_truncated,
    has_probabilities,
    main_rows,
    place,
    prediction_table,
    read_predictions,
    set_members,
    tta_folders,
)

SPLIT = pd.DataFrame({"case_id": ["b", "a", "c"], "patient_id": ["p", "p", "q"], "set": ["train", "train", "test"]})


def made(folder, *cases):
    """A folder with one mask a case, all of them different."""
    for number, case in enumerate(cases):
        save(folder / f"{case}.nii.gz", np.full((2, 2, 2), number, np.uint8))
    return folder


def test_a_set_holds_the_cases_of_its_part_of_the_split():
    assert set_members(SPLIT, "cv") == ["a", "b"]
    assert set_members(SPLIT, "test") == ["c"]
    assert set_members(SPLIT, "given") == ["a", "b", "c"]
    assert set_members(SPLIT, "another_cohort") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("tta", "expected"),
    [(True, {True: "."}), (False, {False: "."}), (None, {None: "."}), ("both", {True: ".", False: "without_tta"})],
)
def test_the_masks_that_count_lie_in_the_set_and_those_without_mirroring_aside_where_there_are_both(tmp_path, tta, expected):
    found = tta_folders(tmp_path, tta)
    assert {kind: folder.relative_to(tmp_path).as_posix() for kind, folder in found.items()} == expected
    assert [type(kind) for kind in found] == [type(kind) for kind in expected]


def test_placed_masks_are_listed_with_their_hash_and_fold(tmp_path):
    for case in ("b", "a"):
        place(save(tmp_path / f"made/{case}.nii.gz", np.ones((2, 2, 2), np.uint8)), tmp_path / f"set/{case}.nii.gz")
    table = prediction_table({True: tmp_path / "set"}, {"b": "p", "a": "q"}, {"a": 1, "b": 0})
    assert list(table) == COLUMNS
    assert table[["case_id", "patient_id", "fold", "tta"]].to_numpy().tolist() == [["a", "q", 1, True], ["b", "p", 0, True]]
    assert table["sha256"][0] == sha256_file(tmp_path / "made/a.nii.gz")
    assert table["prediction"][0] == f"{tmp_path}/set/a.nii.gz"
    assert prediction_table({None: tmp_path / "set"}, {"a": "q"})[["fold", "tta"]].isna().all(axis=None)


def test_a_case_has_a_row_for_each_way_of_predicting_with_mirroring_first(tmp_path):
    folders = {True: made(tmp_path, "a", "b"), False: made(tmp_path / "without_tta", "b", "a")}
    table = prediction_table(folders, {"a": "p", "b": "q"})
    assert list(zip(table["case_id"], table["tta"], strict=True)) == [("a", True), ("a", False), ("b", True), ("b", False)]
    assert table["prediction"].str.removeprefix(f"{tmp_path}/").tolist()[:2] == ["a.nii.gz", "without_tta/a.nii.gz"]
    assert table["sha256"].tolist()[1] == sha256_file(tmp_path / "without_tta/a.nii.gz")
    assert table["sha256"][0] != table["sha256"][1]


def test_a_table_is_read_as_it_was_written(tmp_path):
    for number, kind in enumerate((True, False, None)):
        table = prediction_table({kind: made(tmp_path / str(number), "a")}, {"a": "p"})
        write_table(tmp_path / "predictions.csv", table)
        read = read_predictions(tmp_path / "predictions.csv")["tta"]
        assert read.dtype == "boolean"
        assert read.isna().all() if kind is None else read.tolist() == [kind]


def test_a_table_without_the_column_is_one_of_masks_of_which_nobody_knows(tmp_path):
    write_table(tmp_path / "predictions.csv", pd.DataFrame({"case_id": ["a"], "prediction": ["a.nii.gz"]}))
    assert read_predictions(tmp_path / "predictions.csv")["tta"].isna().all()
    assert len(main_rows(read_table(tmp_path / "predictions.csv"))) == 1


@pytest.mark.parametrize("kinds", [["False", "True"], [False, True], ["true", "false"], [None, True], [None, False]])
def test_the_mask_with_mirroring_stands_for_a_case_in_the_order_of_the_cases(kinds):
    rows = [
        {"case_id": case, "tta": kind, "prediction": f"{case}_{str(kind).lower()}"} for case in ("b", "a") for kind in kinds
    ]
    expected = "true" if "true" in [str(kind).lower() for kind in kinds] else "false"
    assert main_rows(pd.DataFrame(rows))["prediction"].tolist() == [f"b_{expected}", f"a_{expected}"]


def test_a_case_has_probabilities_only_with_both_their_files(tmp_path):
    for ending in (".npz", ".pkl"):
        assert not has_probabilities(tmp_path, "a")
        (tmp_path / f"a{ending}").touch()
    assert has_probabilities(tmp_path, "a")


def test_a_mask_that_a_killed_job_left_half_written_is_dropped(tmp_path, capsys):
    whole = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 4, (9, 9, 9)).astype(np.uint8))
    truncated = tmp_path / "b.nii.gz"
    truncated.write_bytes(whole.read_bytes()[:-40])
    drop_truncated(tmp_path, Console())
    assert whole.exists()
    assert not truncated.exists()
    assert "b.nii.gz" in capsys.readouterr().err


def test_a_folder_that_is_not_there_yet_has_no_truncated_masks(tmp_path):
    drop_truncated(tmp_path / "none", Console())
