import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import AFFINE, save

from convert_predictions import convert_mask, main
from glioflow.cohorts.grids import regrid_case, turn
from glioflow.cohorts.layouts import FoundCase
from glioflow.console import Console, UserError
from glioflow.files import read_table, sha256_file, write_table
from glioflow.imaging.volumes import Volume, read_labels
from glioflow.models.precomputed import MaskPair, count_labels, scheme_warnings, unexpected_masks
from glioflow.models.predictions import COLUMNS, read_predictions
from glioflow.study.configuration import Grid
from glioflow.study.registry import label_schemes

RULES = {"scheme": label_schemes()["et_ncr_ed"], "scheme_name": "et_ncr_ed", "on_geometry_mismatch": "error"}


@pytest.fixture
def truth(tmp_path):
    return save(tmp_path / "truth.nii.gz", np.zeros((3, 3, 3), np.uint8))


def convert(tmp_path, truth, data, affine=AFFINE, **rules):
    mask = save(tmp_path / "mask.nii.gz", data, affine)
    try:
        convert_mask(MaskPair("a", str(truth), str(mask)), tmp_path / "given", {**RULES, **rules})
    except UserError as error:
        return list(error.args)
    return []


def test_a_mask_becomes_canonical_even_where_its_file_holds_floats(tmp_path, truth):
    data = np.zeros((3, 3, 3))
    data[0, 0] = (1, 2, 3)
    assert convert(tmp_path, truth, data) == []
    assert read_labels(tmp_path / "given/a.nii.gz").data[0, 0].tolist() == [3, 1, 2]


def test_a_value_outside_the_scheme_is_a_problem_that_names_what_would_fit(tmp_path, truth):
    (problem,) = convert(tmp_path, truth, np.full((3, 3, 3), 4, np.uint8))
    assert (
        "found the values 4; expected those of the scheme 'et_ncr_ed', 0, 1, 2, 3; "
        "3 schemes would fit: canonical, brats2021, brats2024" in problem
    )
    assert not (tmp_path / "given/a.nii.gz").exists()


def test_another_shape_is_a_problem_under_any_rule(tmp_path, truth):
    for rule in ("error", "use_image_header"):
        (problem,) = convert(tmp_path, truth, np.zeros((3, 3, 4), np.uint8), on_geometry_mismatch=rule)
        assert "found shape (3, 3, 4); expected (3, 3, 3)" in problem


def test_another_header_is_a_problem_or_gives_way_to_that_of_the_image(tmp_path, truth):
    data = np.ones((3, 3, 3), np.uint8)
    assert "use_image_header" in convert(tmp_path, truth, data, np.eye(4))[0]
    assert convert(tmp_path, truth, data, np.eye(4), on_geometry_mismatch="use_image_header") == []
    assert np.array_equal(read_labels(tmp_path / "given/a.nii.gz").affine, AFFINE)


def test_a_mask_with_several_faults_has_all_of_them_told(tmp_path, truth):
    data = np.full((3, 3, 4), 7, np.float32)
    data[0, 0, 0], data[0, 0, 1] = np.nan, 1.5
    problems = convert(tmp_path, truth, data, np.eye(4))
    words = ("found shape", "found 1 voxel that is NaN or infinite", "not whole numbers, 1.5, in 1 voxel", "the values 7")
    assert [word in problem for word, problem in zip(words, problems, strict=True)] == [True] * 4
    assert "would fit" not in problems[3]  # no scheme knows 7


def test_an_unreadable_mask_is_a_problem(tmp_path, truth):
    (tmp_path / "bad.nii.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"^a, .*bad\.nii\.gz: cannot be read"):
        convert_mask(MaskPair("a", str(truth), str(tmp_path / "bad.nii.gz")), tmp_path, RULES)


ASYMMETRIC = np.random.default_rng(0).choice(4, (6, 8, 10), p=(0.7, 0.1, 0.1, 0.1)).astype(np.uint8)


def regridded(tmp_path, mask, affine=AFFINE, grid=None, **rules):
    """Convert a mask of images that a grid has moved (to RAS, or another); return what is wrong, the truth and the mask."""
    save(tmp_path / "raw/t1.nii.gz", ASYMMETRIC.astype(np.int16))
    save(tmp_path / "raw/label.nii.gz", ASYMMETRIC)
    files = {role: (tmp_path / f"raw/{role}.nii.gz").as_posix() for role in ("t1", "label")}
    placed = regrid_case(FoundCase("a", "a", files), grid or Grid(orientation="RAS"), "error", tmp_path / "converted")
    path = save(tmp_path / "mask.nii.gz", mask, affine)
    pair = MaskPair("a", placed.files["label"], str(path))
    canonical = {"scheme": label_schemes()["canonical"], "scheme_name": "canonical", "on_geometry_mismatch": "error"}
    wrong = list[str]()
    try:
        convert_mask(pair, tmp_path / "given", {**canonical, **rules}, {"a"})
    except UserError as error:
        wrong = list(error.args)
    made = tmp_path / "given/a.nii.gz"
    return wrong, read_labels(placed.files["label"]), read_labels(made) if made.exists() else None


@pytest.mark.parametrize("rule", ["error", "use_image_header"])
@pytest.mark.parametrize("grid", [Grid(orientation="RAS"), Grid(orientation="ASL"), Grid(spacing_mm=(2.0, 1.5, 0.8))], ids=str)
def test_a_mask_follows_its_images_to_the_cohorts_grid_by_its_header(tmp_path, grid, rule):
    wrong, truth, made = regridded(tmp_path, ASYMMETRIC, grid=grid, on_geometry_mismatch=rule)
    assert wrong == []
    assert np.array_equal(made.data, truth.data)  # a Dice of 1, which paired by index would be far lower
    assert np.array_equal(made.affine, truth.affine)


def test_a_mask_on_the_cohorts_grid_already_stays_as_it_is(tmp_path):
    turned = turn(Volume(ASYMMETRIC, AFFINE), "RAS")
    wrong, truth, made = regridded(tmp_path, turned.data, turned.affine)
    assert wrong == []
    assert np.array_equal(made.data, truth.data)


def test_a_mask_without_a_place_cannot_follow_and_is_not_offered_to_be_taken_by_index(tmp_path):
    (problem,), _, made = regridded(tmp_path, ASYMMETRIC, np.eye(4), on_geometry_mismatch="use_image_header")
    assert "found a mask that ends up to 5 mm from where its images do (its axes point RAS)" in problem
    assert "expected one on the grid of the images as they were, or as the cohort's `grid` has them" in problem
    assert "use_image_header" not in problem
    assert made is None


class Cohort:
    """A cohort of three cases whose masks are given, and the job that converts them."""

    def __init__(self, folder):
        self.folder = folder
        self.cases = ["a", "b", "c"]

    def truth(self, case, data):
        save(self.folder / f"truth/{case}.nii.gz", data)

    def mask(self, case, data):
        return save(self.folder / f"masks/{case}.nii.gz", data)

    def run(self, further=None, threads=1, **params):
        truths = [self.folder / f"truth/{case}.nii.gz" for case in self.cases]
        manifest = {"case_id": self.cases, "label": truths, "label_sha256": [sha256_file(truth) for truth in truths]}
        split = {"case_id": self.cases, "patient_id": [f"patient {case}" for case in self.cases], "set": "external"}
        write_table(self.folder / "manifest.csv", pd.concat([pd.DataFrame(manifest), further], axis=1))
        write_table(self.folder / "split.csv", pd.DataFrame(split))
        settings = {
            "pattern": f"{self.folder}/masks/{{case}}.nii.gz",
            "cache": self.folder / "cache.jsonl",
            "on_missing": "error",
            "grid": False,
            "converted": f"{self.folder}/converted",
            "regions": ["WT", "TC", "ET"],
            **RULES,
        }
        job = SimpleNamespace(
            input=SimpleNamespace(manifest=self.folder / "manifest.csv", split=self.folder / "split.csv"),
            output=SimpleNamespace(
                predictions=self.folder / "given/predictions.csv", warnings=self.folder / "given/warnings.csv"
            ),
            params=SimpleNamespace(**{**settings, **params}),
            wildcards=SimpleNamespace(model="theirs"),
            threads=threads,
        )
        return main(job, Console(self.folder / "log.txt"))

    @property
    def said(self):
        return (self.folder / "log.txt").read_text()


@pytest.fixture
def cohort(tmp_path):
    """A cohort with a truth of ET in NCR in ED for each case, and masks that are right under the scheme ``et_ncr_ed``."""
    made = Cohort(tmp_path)
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:4, :4, :4], labels[:3, :3, :3], labels[:2, :2, :2] = 2, 1, 3
    for case in made.cases:
        made.truth(case, labels)
        made.mask(case, np.choose(labels, [0, 2, 3, 1]).astype(np.uint8))
    return made


def test_masks_are_converted_once_and_nobody_knows_whether_they_were_made_with_mirroring(cohort):
    assert cohort.run() == "3 masks, 3 converted"
    table = read_predictions(cohort.folder / "given/predictions.csv")
    assert list(table) == [*COLUMNS, "missing"]
    assert table["tta"].isna().all()
    assert table["missing"].tolist() == [False] * 3
    assert cohort.run() == "3 masks, 0 converted"
    assert cohort.said == ""


def test_a_missing_mask_is_a_problem_beside_all_others(cohort):
    (cohort.folder / "masks/a.nii.gz").unlink()
    cohort.mask("c", np.full((6, 6, 6), 9, np.uint8))
    with pytest.raises(UserError) as caught:
        cohort.run()
    head, *lines = str(caught.value).split("\n")
    assert head == "2 masks of 'theirs' cannot be scored"
    assert f"a, {cohort.folder}/masks/a.nii.gz: found no mask; expected one for every case" in lines[0]
    assert "evaluation.on_missing: count_as_empty" in lines[0]
    assert "c, " in lines[1] and "the values 9" in lines[1]


def test_a_missing_mask_counts_as_an_empty_one_where_the_study_says_so(cohort):
    (cohort.folder / "masks/b.nii.gz").unlink()
    assert cohort.run(on_missing="count_as_empty") == "3 masks, 3 converted, 1 missing and counted as empty"
    assert read_table(cohort.folder / "given/predictions.csv")["missing"].tolist() == [False, True, False]
    assert not read_labels(cohort.folder / "given/b.nii.gz").data.any()
    # What was counted as empty once is a problem again, and a mask that turns up later is read.
    with pytest.raises(UserError, match=r"b, .*found no mask"):
        cohort.run()
    cohort.mask("b", np.ones((6, 6, 6), np.uint8))
    assert cohort.run(on_missing="count_as_empty") == "3 masks, 1 converted"
    assert read_labels(cohort.folder / "given/b.nii.gz").data.all()
    assert not read_table(cohort.folder / "given/predictions.csv")["missing"].any()


def test_a_pattern_that_finds_no_mask_at_all_is_a_mistake_in_any_case(cohort):
    for rule in ("error", "count_as_empty"):
        with pytest.raises(UserError, match=r"found none of the 3 masks of 'theirs'.*models\.theirs\.predictions"):
            cohort.run(pattern=f"{cohort.folder}/mask/{{case}}.nii.gz", on_missing=rule)


def test_masks_of_no_case_are_said_and_left_alone(cohort):
    for case in ("d", "e"):
        cohort.mask(case, np.ones((2, 2, 2), np.uint8))
    assert cohort.run() == "3 masks, 3 converted"
    assert cohort.said == "warning: 2 masks of no case of the cohort, not scored: d, e\n"
    (row,) = read_table(cohort.folder / "given/warnings.csv").to_dict("records")
    assert (row["severity"], row["problem"]) == ("warning", "mask_of_no_case")
    assert row["found"] == "2 masks of no case of the cohort, not scored: d, e"


def test_masks_of_no_case_are_those_that_match_to_the_letter(tmp_path):
    for name in ("x1/x1_pred.nii.gz", "x2/x2_pred.nii.gz", "x3/x2_pred.nii.gz", "x4/x4_pred.nii", "x5/deep/x5_pred.nii.gz"):
        save(tmp_path / "m[1]" / name, np.ones((2, 2, 2), np.uint8))
    assert unexpected_masks(f"{tmp_path}/m[1]/{{case}}/{{case}}_pred.nii.gz", {"x2"}) == ["x1"]


def test_patterns_without_a_folder_are_looked_for_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x1.nii.gz", "y/p_x2.nii.gz"):
        save(tmp_path / name, np.ones((2, 2, 2), np.uint8))
    assert unexpected_masks("{case}.nii.gz", {}) == ["x1"]
    assert unexpected_masks("y/p_{case}.nii.gz", {}) == ["x2"]
    assert unexpected_masks("y/p_{case}.nii.gz", {"x2"}) == []


def test_a_scheme_that_knows_every_value_and_is_not_theirs_is_warned_of_at_every_run(cohort):
    wrong = {"scheme": label_schemes()["canonical"], "scheme_name": "canonical"}
    for _ in range(2):  # the second takes every case from the cache
        cohort.run(**wrong)
        assert "but read as et_ncr_ed they overlap the truth better" in cohort.said
        assert "is 'canonical' right" in cohort.said
        (row,) = read_table(cohort.folder / "given/warnings.csv").to_dict("records")
        assert row["problem"] == "label_scheme" and "but read as et_ncr_ed they overlap the truth better" in row["found"]
    cohort.run(**wrong, regions=["WT"])
    assert cohort.said == ""  # the whole tumour is the same under both
    assert read_table(cohort.folder / "given/warnings.csv").empty


def test_how_values_meet_labels_worked_out_by_hand():
    truth = np.array([[[0, 1, 2], [3, 0, 3]]], np.uint8)
    raw = np.array([[[0, 0, 4], [4, 4, 1]]], np.float32)
    # raw value: voxels of background, NCR, ED, ET, RC; the background of both is left out
    found = {"0": [0, 1, 0, 0, 0], "1": [0, 0, 0, 1, 0], "4": [1, 0, 1, 1, 0]}
    assert count_labels(truth, raw) == count_labels(np.asfortranarray(truth), raw) == found


def test_warnings_need_a_clear_gain():
    # With 4 as ET (brats2021): WT 2·51/121, ET 2·1/21, 0.47 on average. With 4 as the cavity: WT 2·50/110, ET 0, 0.45.
    even = {"0": [0, 0, 0, 9, 0], "2": [0, 0, 50, 0, 0], "4": [10, 0, 0, 1, 0]}
    assert scheme_warnings([even], "brats2024", ["WT", "ET"]) == [
        "ET is in 1 of 1 truth and in no mask; is the scheme 'brats2024' right?"
    ]
    clear = {"2": [0, 0, 10, 0, 0], "4": [0, 0, 0, 10, 0]}
    (warning,) = scheme_warnings([clear], "brats2024", ["WT", "ET"])
    assert "WT 1.00 instead of 0.67, ET 1.00 instead of 0.00" in warning
    empty = {"0": [0, 0, 90, 90, 0]}  # of a case whose mask is missing, or holds nothing
    assert scheme_warnings([clear, empty], "brats2024", ["WT", "ET"]) == [warning]
    assert scheme_warnings([clear], "brats2021", ["WT", "ET"]) == []
    assert scheme_warnings([{"0": [0, 0, 9, 9, 0]}], "brats2021", ["WT", "ET"]) == []  # no mask at all
    assert scheme_warnings([], "brats2021", ["WT"]) == []


def test_a_mask_changed_at_the_same_size_and_time_is_converted_again(cohort):
    cohort.run()
    path = cohort.folder / "masks/a.nii.gz"
    content, stat = path.read_bytes(), path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cohort.run() == "3 masks, 1 converted"


def test_only_masks_of_images_that_the_grid_changed_follow_by_their_headers(cohort):
    turned = turn(Volume(np.zeros((6, 6, 6), np.uint8), AFFINE), "RAS")
    for case in cohort.cases:
        save(cohort.folder / f"masks/{case}.nii.gz", turned.data, turned.affine)
    table = pd.DataFrame({"t1": [f"{cohort.folder}/converted/a/a_t1.nii.gz", "raw/b.nii.gz", "raw/c.nii.gz"]})
    with pytest.raises(UserError) as caught:
        cohort.run(grid=True, further=table)
    assert [line.split(",")[0] for line in str(caught.value).split("\n")[1:]] == ["  - b", "  - c"]
    assert "use_image_header" in str(caught.value)


def test_a_damaged_mask_loses_no_other_problem(cohort):
    content = (cohort.folder / "masks/a.nii.gz").read_bytes()
    (cohort.folder / "masks/a.nii.gz").write_bytes(content[:30] + bytes(8) + content[38:])
    cohort.mask("b", np.full((6, 6, 6), 9, np.uint8))
    cohort.mask("c", np.full((6, 6, 6), 1.0000001, np.float32))
    with pytest.raises(UserError) as caught:
        cohort.run(threads=2)
    lines = str(caught.value).split("\n")[1:]
    assert [line.split(",")[0] for line in lines] == ["  - a", "  - b", "  - c"]
    assert "cannot be read as a NIfTI image" in lines[0]
    assert "not whole numbers, 1.0000001, in 216 voxels" in lines[2]
