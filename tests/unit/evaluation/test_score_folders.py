"""A folder of masks is scored against another by one command, or everything that is wrong with it is said at once."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import AFFINE, REPO, save
from numpy.typing import NDArray

import score_folders
from glioflow.console import Console, UserError
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.lesions import lesion_columns
from glioflow.evaluation.scoring import Plan
from glioflow.files import read_table
from glioflow.models.precomputed import find_masks
from score_folders import main, readable_table

SCHEMES = ("--truth-scheme", "brats2021", "--prediction-scheme", "brats2021")


def block(stop: int, value: int = 2, et: int | None = None) -> NDArray[np.uint8]:
    """Return labels (8, 4, 4): ``value`` in the first ``stop`` planes, ``et`` in the first voxel."""
    labels = np.zeros((8, 4, 4), np.uint8)
    labels[:stop] = value
    if et is not None:
        labels[0, 0, 0] = et
    return labels


class Folders:
    """Two folders of masks, and the command that scores them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.truth, self.predictions, self.out = folder / "truth", folder / "predictions", folder / "scores.csv"
        self.capsys = capsys

    def add(self, case: str, truth: NDArray[np.generic] | None, prediction: NDArray[np.generic] | None) -> None:
        if truth is not None:
            save(self.truth / f"{case}_seg.nii.gz", truth)
        if prediction is not None:
            save(self.predictions / f"{case}.nii.gz", prediction)

    def run(self, *options: str) -> tuple[pd.DataFrame, str, str]:
        """Return the written table, and what was printed to both streams."""
        schemes = () if "--truth-scheme" in options else SCHEMES
        main([str(self.truth), str(self.predictions), *schemes, "--out", str(self.out), "--threads", "1", *options], Console())
        printed = self.capsys.readouterr()
        return read_table(self.out), printed.out, printed.err

    def error(self, *options: str) -> list[str]:
        with pytest.raises(UserError) as caught:
            self.run(*options)
        assert not self.out.exists()
        return str(caught.value).split("\n")


@pytest.fixture
def folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folders:
    return Folders(tmp_path, capsys)


def test_two_folders_are_scored_case_by_case_with_the_columns_of_the_workflow(folders: Folders) -> None:
    folders.add("b", block(4, et=4), block(2, et=4))
    folders.add("a", block(4, et=4), block(4))
    table, _, said = folders.run()
    assert table.columns.tolist() == Plan(["WT"], conventions()["glioflow"]).columns
    assert table[["case_id", "patient_id", "label"]].to_numpy().tolist() == [
        [case, case, region] for case in "ab" for region in ("WT", "TC", "ET")
    ]
    assert table["dice"].tolist() == pytest.approx([1, 0, 0, 2 * 32 / 96, 1, 1])
    assert table["note"].fillna("").tolist() == ["", *["penalty: absent in prediction"] * 2, "", "", ""]
    assert "2 cases, convention glioflow, written to" in said


def test_distances_in_voxels_are_called_so(folders: Folders) -> None:
    folders.add("a", block(4), block(2))
    table, shown, said = folders.run("--convention", "medpy")
    assert "convention medpy, distances in voxels, written to" in said
    assert {"hd95_voxels", "assd_voxels", "masd_voxels"} <= {*table} and not any(name.endswith("_mm") for name in table)
    assert "hd95_voxels" in shown and "hd95_mm" not in shown


def test_the_terminal_shows_each_case_then_mean_and_median_of_the_defined_values(folders: Folders) -> None:
    folders.add("a", block(4), block(4))
    folders.add("b", block(4), block(2))
    folders.add("c", block(0), block(0))
    _, shown, _ = folders.run("--regions", "WT", "--metrics", "dice", "volume_truth_ml")
    lines = [line.split() for line in shown.splitlines() if "─" not in line]
    assert lines == [
        ["case", "region", "dice", "volume_truth_ml", "note"],
        ["a", "WT", "1.000", "0.06"],
        ["b", "WT", "0.667", "0.06"],
        ["c", "WT", "–", "0.00", "absent", "in", "truth", "and", "prediction"],
        ["mean", "WT", "0.833", "0.04"],
        ["median", "WT", "0.833", "0.06"],
    ]
    starts = {line.index("WT") for line in shown.splitlines() if "WT" in line}
    assert len(starts) == 1


def test_infinite_and_negative_values_are_shown_as_they_are() -> None:
    plan = Plan(["WT"], conventions()["surface_distance"])
    rows = [{"case_id": "a", "label": "WT", "hd95_mm": np.inf, "volume_error_ml": -1.5}]
    text = readable_table(pd.DataFrame(rows, columns=plan.columns), ["hd95_mm", "volume_error_ml"], {})
    assert text.splitlines()[2].split() == ["a", "WT", "∞", "−1.50"]


def test_counts_are_whole_numbers_and_their_means_are_not() -> None:
    plan = Plan(["WT"], conventions()["glioflow"])
    rows = [
        {"case_id": case, "label": "WT", "components_prediction": parts} for case, parts in (("a", 1), ("b", 2), ("c", None))
    ]
    table = pd.DataFrame(rows, columns=plan.columns).astype({"components_prediction": "Int64"})
    lines = [line.split() for line in readable_table(table, ["components_prediction"], {}).splitlines()]
    assert lines[2:5] == [["a", "WT", "1"], ["b", "WT", "2"], ["c", "WT", "–"]]
    assert lines[6:] == [["mean", "WT", "1.50"], ["median", "WT", "1.50"]]


def test_the_two_folders_have_a_label_scheme_each(folders: Folders) -> None:
    truth = block(3, value=2, et=4)
    truth[2] = 1
    prediction = np.select([truth == 4, truth == 1, truth == 2], [1, 2, 3], 0).astype(np.float32)
    folders.add("a", truth, prediction)
    table, _, said = folders.run("--truth-scheme", "brats2021", "--prediction-scheme", "et_ncr_ed")
    assert table["dice"].tolist() == [1, 1, 1]
    assert "warning" not in said


def test_another_convention_and_lesions_are_scored_where_they_are_asked_for(folders: Folders) -> None:
    folders.add("a", block(4, et=4), block(0))
    table = folders.run("--convention", "surface_distance", "--lesionwise", "brats2024_gli", "--reproduce-defects")[0]
    convention = conventions()["surface_distance"]
    assert set(lesion_columns(convention, ["sensitivity_of_instance_maps"])) < set(table.columns)
    assert table["hausdorff"][0] == float("inf")
    assert table["lesion_dice"][0] == 0
    assert table["lesions_truth"][0] == 1


def test_lesions_are_not_scored_in_voxels(folders: Folders) -> None:
    folders.add("a", block(4), block(4))
    assert folders.error("--convention", "medpy", "--lesionwise", "brats2023_gli") == [
        "--lesionwise: needs a convention in mm; 'medpy' measures in voxels"
    ]


def test_a_table_that_cannot_be_written_is_told_before_anything_is_scored(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "no/such/scores.csv"):
        with pytest.raises(UserError, match=r"--out: .* cannot be written; expected a file in a folder that exists"):
            main([str(tmp_path), str(tmp_path), *SCHEMES, "--out", str(out)], Console())


def test_a_mirrored_mask_is_told_by_its_axes(folders: Folders) -> None:
    folders.add("a", block(4), None)
    save(folders.predictions / "a.nii.gz", block(4)[::-1], np.diag([1.0, -1.0, 1.0, 1.0]))
    assert "(its axes point RPS, the truth's LPS)" in "".join(folders.error())


def test_a_link_that_leads_nowhere_is_no_missing_mask(folders: Folders) -> None:
    folders.add("a", block(4), block(4))
    folders.add("b", block(4), block(4))
    (mask,) = folders.predictions.glob("b*")
    mask.unlink()
    mask.symlink_to("not/fetched.nii.gz")
    assert any("b" in line and "no such file" in line for line in folders.error("--on-missing", "count_as_empty"))


def test_regions_are_those_that_both_schemes_know(folders: Folders) -> None:
    folders.add("a", block(4, value=255), block(2, value=1))
    schemes = ("--truth-scheme", "lgg_kaggle", "--prediction-scheme", "whole_tumour")
    assert folders.run(*schemes)[0]["label"].tolist() == ["WT"]
    folders.out.unlink()
    assert folders.error(*schemes, "--regions", "WT", "ET") == [
        "--regions: ET is not in the scheme 'lgg_kaggle'; known to both: WT"
    ]


# ---- which masks belong together


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        ("a.nii.gz", "a.nii"),
        ("a_seg.nii.gz", "a.nii.gz"),
        ("a/a-seg.nii.gz", "a_pred.nii.gz"),
        ("deep/er/a_label.nii", "a/a_Prediction.nii.gz"),
    ],
)
def test_masks_are_paired_by_what_is_left_of_their_names(folders: Folders, truth: str, prediction: str) -> None:
    save(folders.truth / truth, block(4))
    save(folders.predictions / prediction, block(4))
    assert folders.run()[0]["case_id"].unique().tolist() == ["a"]


def test_images_beside_the_masks_are_left_out(folders: Folders) -> None:
    folders.add("a", block(4), block(4))
    for name in ("a_t1.nii.gz", "a_flair.nii.gz", "a-t1c.nii.gz", "notes.txt"):
        save(folders.truth / name, block(1)) if name.endswith("gz") else (folders.truth / name).write_text("x")
    assert folders.run()[0]["case_id"].unique().tolist() == ["a"]


def test_patterns_tell_other_names(folders: Folders) -> None:
    save(folders.truth / "patients/x1/x1.final.nii.gz", block(4))
    save(folders.truth / "patients/x1/x2.final.nii.gz", block(1))  # of no case: the two ids differ
    save(folders.truth / "patients/x1/deeper/x1/x1.final.nii.gz", block(1))
    save(folders.predictions / "run_7_x1.nii", block(2))
    patterns = ("--truth-pattern", "patients/{case}/{case}.final.nii.gz", "--prediction-pattern", "run_*_{case}.nii.gz")
    table = folders.run(*patterns)[0]
    assert table["case_id"].unique().tolist() == ["x1"]
    assert table["dice"][0] == pytest.approx(2 / 3)


def test_one_pattern_serves_both_folders(folders: Folders) -> None:
    for folder in (folders.truth, folders.predictions):
        save(folder / "site[1]/x.mask.nii.gz", block(4))
    assert folders.run("--match", "site[1]/{case}.mask.nii.gz")[0]["dice"][0] == 1


@pytest.mark.parametrize("pattern", ["masks.nii.gz", "/{case}.nii.gz"])
def test_a_pattern_that_tells_no_case_below_the_folder_is_refused(folders: Folders, pattern: str) -> None:
    folders.add("a", block(4), block(4))
    assert folders.error("--truth-pattern", pattern) == [
        f"--truth-pattern: found {pattern!r}; expected a path below the folder, with {{case}} where the case's id stands"
    ]


def test_folders_without_a_mask_or_without_a_common_case_are_named(folders: Folders) -> None:
    assert "found no such folder" in folders.error()[0]
    folders.add("a", block(4), None)
    folders.predictions.mkdir()
    assert f"{folders.predictions}: found no mask" in folders.error()[0]
    folders.add("b", None, block(4))
    (message,) = folders.error()
    assert "found no case in both folders" in message
    assert "'a' (" in message and "'b' (" in message


def test_a_folder_is_no_mask_and_a_broken_link_is_one_that_nobody_can_read(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz", block(1))
    (tmp_path / "b.nii.gz").mkdir()
    (tmp_path / "c.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    for pattern in (None, "{case}.nii.gz"):
        assert list(find_masks(tmp_path, pattern)) == ["a", "c"]


# ---- what is wrong


def test_everything_that_is_wrong_is_said_at_once_case_by_case(folders: Folders) -> None:
    folders.add("good", block(4), block(2))
    folders.add("absent", block(4), None)
    folders.add("extra", None, block(4))
    folders.add("shape", block(4), block(4)[:, :3])
    folders.add("half", block(4), block(4) * np.float32(1.004))
    undefined = block(4).astype(np.float32)
    undefined[0, 0] = np.nan
    undefined[7, 0, 0] = np.inf
    folders.add("undefined", block(4), undefined)
    folders.add("three", block(4, et=4), block(4, et=3))
    folders.add("truth", block(4, et=3), block(4, et=4))
    folders.add("both", block(4, value=9)[:, :, :3], block(4, value=7))
    folders.add("twice", block(4), block(4))
    save(folders.predictions / "other/twice_pred.nii.gz", block(4))
    moved = AFFINE.copy()
    moved[0, 3] += 4
    folders.add("moved", block(4), None)
    save(folders.predictions / "moved.nii.gz", block(4), moved)
    folders.add("torn", block(4), block(4))
    torn = folders.predictions / "torn.nii.gz"
    torn.write_bytes(torn.read_bytes()[:60])
    head, *lines = folders.error()
    assert head == "13 problems, nothing was scored"
    by_case: dict[str, list[str]] = {}
    for line in lines:
        by_case.setdefault(line[4:].replace(":", ",").partition(",")[0], []).append(line)
    assert sorted(by_case) == sorted(
        ["absent", "extra", "shape", "half", "undefined", "three", "truth", "both", "twice", "moved", "torn"]
    )
    prediction = {case: str(folders.predictions / f"{case}.nii.gz") for case in by_case}
    assert "found no prediction of this case" in by_case["absent"][0] and "--on-missing count_as_empty" in by_case["absent"][0]
    assert "found no truth of this case" in by_case["extra"][0] and "--ignore-extra" in by_case["extra"][0]
    assert by_case["shape"] == [f"  - shape, {prediction['shape']}: found shape (8, 3, 4); expected (8, 4, 4) as the truth"]
    assert "not whole numbers, 2.008, in 64 voxels; expected labels" in by_case["half"][0]
    assert "found 5 voxels that are NaN or infinite; expected labels" in by_case["undefined"][0]
    assert prediction["three"] in by_case["three"][0]
    assert "found the values 3; expected those of the scheme 'brats2021', 0, 1, 2, 4" in by_case["three"][0]
    assert "would fit: canonical, brats2023" in by_case["three"][0]
    assert str(folders.truth / "truth_seg.nii.gz") in by_case["truth"][0]
    assert [sum(word in line for line in by_case["both"]) for word in ("values 7", "found shape", "values 9")] == [1, 1, 1]
    assert "found 2 predictions" in by_case["twice"][0]
    assert "found an affine that puts a corner 4 mm from the truth's" in by_case["moved"][0]
    assert "--on-geometry-mismatch use_image_header" in by_case["moved"][0]
    assert "cannot be read as a NIfTI image" in by_case["torn"][0]


def test_nothing_is_scored_where_a_problem_is_known_before(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.add("a", block(4), block(4))
    folders.add("b", block(4), None)
    monkeypatch.delattr(score_folders, "score_pair")
    assert folders.error()[0] == "1 problem, nothing was scored"


def test_a_truth_without_a_voxels_size_cannot_be_measured_in(folders: Folders) -> None:
    folders.add("a", None, block(4, value=7))
    path = save(folders.truth / "a.nii", block(4))
    content = bytearray(path.read_bytes())
    content[280:296] = bytes(16)  # srow_x of NIfTI-1
    path.write_bytes(content)
    said = folders.error()
    assert said[0] == "3 problems, nothing was scored"
    assert f"{path}: found a header with an sform that is not finite or not invertible" in "".join(said)
    assert "found the values 7" in "".join(said)


def test_other_headers_give_way_where_that_is_said(folders: Folders) -> None:
    folders.add("a", block(4), None)
    save(folders.predictions / "a.nii.gz", block(4), np.eye(4))
    assert folders.run("--on-geometry-mismatch", "use_image_header")[0]["dice"][0] == 1


def test_the_former_word_for_that_is_refused_with_the_present_one(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        folders.run("--on-geometry-mismatch", "use_truth_header")
    assert "--on-geometry-mismatch: use_truth_header is called use_image_header" in capsys.readouterr().err


def test_a_missing_prediction_counts_as_an_empty_one_where_that_is_said(folders: Folders) -> None:
    folders.add("a", block(4), block(4))
    folders.add("b", block(4), None)
    table, _, said = folders.run("--on-missing", "count_as_empty", "--regions", "WT")
    assert table["dice"].tolist() == [1, 0]
    assert table["note"][1] == "prediction missing: counted as empty; penalty: absent in prediction"
    assert table["hausdorff"][1] == pytest.approx(np.sqrt(8**2 + 4**2 + 4**2))
    assert "warning: 1 prediction missing and counted as empty" in said


def test_predictions_without_a_truth_are_left_out_where_that_is_said(folders: Folders) -> None:
    folders.add("a", block(4), block(4))
    folders.add("b", None, block(4))
    table, _, said = folders.run("--ignore-extra")
    assert table["case_id"].unique().tolist() == ["a"]
    assert "warning: 1 prediction without a truth left out" in said


def test_a_scheme_that_fits_every_value_and_no_mask_is_warned_of(folders: Folders) -> None:
    truth = block(4, value=2)
    truth[1:3, 1:3, 1:3] = 4
    truth[3, 3, 3] = 1
    for case in "ab":
        folders.add(case, truth, truth)  # 4 is enhancing tumour in both
    said = folders.run("--truth-scheme", "brats2021", "--prediction-scheme", "brats2024")[2]
    assert (
        "the masks hold 1, 2, 4, which the scheme 'brats2024' knows; but read as brats2021 they overlap the truth better"
        in said
    )
    assert "ET 1.00 instead of 0.00" in said
    assert "warning" not in folders.run()[2]


def test_a_region_that_no_prediction_has_is_warned_of(folders: Folders) -> None:
    for case in "ab":
        folders.add(case, block(4, et=4), block(4))
    folders.add("c", block(4), block(4))
    said = folders.run()[2]
    assert "warning: ET is in 2 of 3 truths and in no mask; is the scheme 'brats2021' right?" in said


def test_poor_masks_of_the_right_scheme_are_not_warned_of(folders: Folders) -> None:
    rng = np.random.default_rng(0)
    for case in "abcd":
        folders.add(case, *(rng.choice([0, 1, 2, 4], size=(8, 8, 8)).astype(np.uint8) for _ in range(2)))
    assert "warning" not in folders.run()[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metrics", "dice", "dize"), "--metrics: no column is called dize; known: hausdorff, dice"),
        (("--reproduce-defects",), "--reproduce-defects: needs --lesionwise with known defects: brats2024_gli"),
        (
            ("--reproduce-defects", "--lesionwise", "brats2023_gli"),
            "--reproduce-defects: needs --lesionwise with known defects",
        ),
    ],
)
def test_options_that_lead_nowhere_are_named(folders: Folders, options: tuple[str, ...], said: str) -> None:
    folders.add("a", block(4), block(4))
    assert said in folders.error(*options)[0]


# ---- as a person runs it


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, REPO / "scripts/score_folders.py", *arguments], text=True, capture_output=True)


def test_a_mistake_ends_with_status_one_and_without_a_traceback(folders: Folders) -> None:
    folders.add("a", block(4), block(4, value=3))
    done = command(folders.truth, folders.predictions, *SCHEMES)
    assert done.returncode == 1
    assert done.stderr.startswith("[score_folders] stopped: 1 problem, nothing was scored\n  - a, ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.real_data
def test_two_models_masks_of_real_cases_are_scored(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "brats_africa"
    schemes = ("--truth-scheme", "et_ncr_ed", "--prediction-scheme", "et_ncr_ed")
    done = command(folder / "images", folder / "predictions/SegResNet", *schemes, "--out", tmp_path / "scores.csv")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    table = read_table(tmp_path / "scores.csv")
    assert len(table) == 6
    assert (table["dice"] > 0.7).all()
    wrong = command(folder / "images", folder / "predictions/SegResNet", *schemes[:3], "canonical")
    assert "read as et_ncr_ed they overlap the truth better" in wrong.stderr


def test_damaged_masks_are_told_with_all_others_from_every_process(folders: Folders) -> None:
    for case in "abcd":
        folders.add(case, block(4), block(4))
    for case in "ab":
        path = folders.predictions / f"{case}.nii.gz"
        content = path.read_bytes()
        path.write_bytes(content[:40] + bytes(6) + content[46:])
    folders.add("c", None, np.full((8, 4, 4), 1.0000001, np.float32))
    said = folders.error("--threads", "3")
    assert said[0] == "3 problems, nothing was scored"
    assert [line.count("cannot be read as a NIfTI image") for line in said[1:]] == [1, 1, 0]
    assert "not whole numbers, 1.0000001," in said[3]


def test_a_header_that_contradicts_itself_is_measured_by_no_one(folders: Folders) -> None:
    folders.add("a", block(4), block(4))
    path = folders.predictions / "a.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:92] = np.full(3, 2, "<f4").tobytes()  # pixdim of nifti1.h
    path.write_bytes(gzip.compress(content))
    said = folders.error()
    assert "found a header with voxels of 1 x 1 x 1 mm by the sform and 2 x 2 x 2 mm by pixdim; expected one place" in said[1]
    assert "--on-geometry-mismatch use_image_header" in said[1]
    assert folders.run("--on-geometry-mismatch", "use_image_header")[0]["dice"][0] == 1


def test_a_mask_that_is_too_large_says_what_to_raise(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.add("a", block(4), block(4))
    monkeypatch.setenv("GLIOFLOW_LARGEST_IMAGE_GB", "0.0000001")
    assert "$GLIOFLOW_LARGEST_IMAGE_GB" in folders.error()[1]
