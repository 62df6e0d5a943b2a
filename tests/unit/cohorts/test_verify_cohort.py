import gzip
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from conftest import AFFINE, save, write_case

from glioflow.case_cache import CaseCache
from glioflow.cohorts.case_checks import CheckRules, check_case, voxel_fingerprint
from glioflow.cohorts.cohort_checks import check_identity, check_patients, check_requirements
from glioflow.cohorts.layouts import patterns
from glioflow.cohorts.problems import problem_row
from glioflow.console import Console
from glioflow.imaging.volumes import read_labels
from glioflow.study.registry import datasets, label_schemes
from verify_cohort import assemble, files_key, main, verify_cases

CASE = "BraTS2021_00001"


@pytest.fixture
def rules(tmp_path):
    return CheckRules(
        scheme=label_schemes()["brats2021"],
        scheme_name="brats2021",
        channels=("t1", "t1ce", "t2", "flair"),
        on_geometry_mismatch="error",
        skull_stripped=True,
        labels=str(tmp_path / "labels"),
    )


def found_cases(folder: Path) -> list[dict]:
    return [case.row() for case in patterns.find(folder, datasets()["brats2021"]).cases]


@pytest.fixture
def case(brats_folder):
    return next(case for case in found_cases(brats_folder) if case["case_id"] == CASE)


def only_problem(case, rules):
    problems = check_case(case, rules)["problems"]
    assert len(problems) == 1, problems
    return problems[0]


def test_a_right_case_has_no_problem_and_a_whole_row(case, rules):
    checked = check_case(case, rules)
    assert checked["problems"] == []
    row = checked["row"]
    assert row["shape"] == "10x12x8"
    assert row["spacing_mm"] == "1x1x1"
    assert row["volume_WT_ml"] == pytest.approx(0.125)  # 5 × 5 × 5 voxels of 1 mm³
    assert row["volume_ET_ml"] == pytest.approx(0.001)
    assert len(row["flair_sha256"]) == 64


def test_raw_labels_become_canonical_on_the_grid_of_the_image(case, rules):
    row = check_case(case, rules)["row"]
    labels = read_labels(row["label"])
    assert Path(row["label"]).parent == Path(rules.labels)
    assert labels.data[3, 3, 3] == 3  # raw 4
    assert np.array_equal(labels.affine, AFFINE)


def test_canonical_labels_are_used_where_they_lie(brats_folder, rules):
    write_case(brats_folder, CASE, raw_et=3)
    case = found_cases(brats_folder)[1]
    checked = check_case(case, replace(rules, scheme=label_schemes()["canonical"]))
    assert checked["row"]["label"] == case["label"]
    assert not Path(rules.labels).exists()


def test_the_label_hash_is_of_the_labels_not_of_the_file(case, rules):
    first = check_case(case, rules)["row"]["label_sha256"]
    packed = Path(case["label"])
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), 9, mtime=5))
    assert check_case(case, rules)["row"]["label_sha256"] == first


def test_the_label_hash_changes_with_a_single_voxel(case, rules):
    first = check_case(case, rules)["row"]["label_sha256"]
    labels = np.asarray(nib.load(case["label"]).dataobj).copy()
    labels[4, 4, 4] = 1
    save(Path(case["label"]), labels)
    assert check_case(case, rules)["row"]["label_sha256"] != first


def test_the_label_hash_changes_with_the_place_of_the_voxels(case, rules):
    first = check_case(case, rules)["row"]["label_sha256"]
    wider = np.diag([-2.0, -1.0, 1.0, 1.0])
    for role in ("t1", "t1ce", "t2", "flair", "label"):
        save(Path(case[role]), np.asarray(nib.load(case[role]).dataobj), wider)
    checked = check_case(case, rules)
    assert checked["problems"] == []
    assert checked["row"]["label_sha256"] != first


def test_a_case_without_enhancing_tumour_is_no_error(brats_folder, rules):
    write_case(brats_folder, CASE, raw_et=1)
    case = found_cases(brats_folder)[1]
    checked = check_case(case, rules)
    assert checked["problems"] == []
    assert checked["row"]["volume_ET_ml"] == 0


def test_a_missing_channel_names_the_case_the_channel_and_the_file(case, rules):
    Path(case["t2"]).unlink()
    problem = only_problem(case, rules)
    assert problem["problem"] == "missing_channel"
    assert problem["message"].startswith(f"{CASE}, {case['t2']}: found no file for channel t2; expected")


def test_a_missing_channel_that_no_model_needs_is_no_problem(case, rules):
    Path(case["t2"]).unlink()
    assert check_case(case, replace(rules, channels=["flair"]))["problems"] == []


def test_an_unknown_label_value_is_named_with_the_schemes_that_would_fit(brats_folder, rules):
    write_case(brats_folder, CASE, raw_et=3)
    case = found_cases(brats_folder)[1]
    problem = only_problem(case, rules)
    assert problem["problem"] == "unknown_label"
    assert "found label value 3; expected values 0, 1, 2, 4 of the scheme 'brats2021'" in problem["message"]
    assert "brats2023" in problem["expected"]


def test_a_resampled_label_is_refused(case, rules):
    label = np.zeros((10, 12, 8), np.float32)
    label[2:5, 2:5, 2:5] = 1.0039
    save(Path(case["label"]), label)
    assert "found label value 1.0039" in only_problem(case, rules)["message"]


def test_a_label_of_another_shape_or_place_is_an_error(case, rules):
    label = np.zeros((10, 12, 9), np.uint8)
    label[2:6, 2:6, 2:6] = 1
    save(Path(case["label"]), label)
    problem = only_problem(case, rules)
    assert problem["problem"] == "shape_mismatch"
    assert "(10, 12, 9)" in problem["found"]
    shifted = AFFINE.copy()
    shifted[0, 3] += 5
    save(Path(case["label"]), label[:, :, :8], shifted)
    problem = only_problem(case, rules)
    assert problem["problem"] == "affine_mismatch"
    assert "5 mm" in problem["found"]
    assert "use_image_header" in problem["expected"]


def test_use_image_header_takes_the_voxels_by_index_and_says_so(case, rules):
    label = np.zeros((10, 12, 8), np.uint8)
    label[2:6, 2:6, 2:6] = 2
    save(Path(case["label"]), label, np.eye(4))
    checked = check_case(case, replace(rules, on_geometry_mismatch="use_image_header"))
    assert [problem["severity"] for problem in checked["problems"]] == ["warning"]
    written = read_labels(checked["row"]["label"])
    assert np.array_equal(written.affine, AFFINE)
    assert np.array_equal(written.data, label)


def test_an_image_off_the_grid_of_the_others_is_an_error(case, rules):
    save(Path(case["flair"]), np.arange(10 * 12 * 9, dtype=np.int16).reshape(10, 12, 9))
    problem = only_problem(case, rules)
    assert (problem["problem"], problem["file"]) == ("shape_mismatch", case["flair"])


def test_nan_voxels_are_counted(case, rules):
    data = np.ones((10, 12, 8), np.float32)
    data[0, 0, :3] = np.nan
    save(Path(case["t1"]), data)
    problem = only_problem(case, rules)
    assert problem["problem"] == "non_finite_voxels"
    assert problem["found"].startswith("3 voxels")


def test_a_constant_image_is_an_error(case, rules):
    save(Path(case["t1"]), np.full((10, 12, 8), 7, np.int16))
    assert only_problem(case, rules)["problem"] == "constant_image"


@pytest.mark.parametrize("damage", ["truncate", "empty", "text"])
def test_an_unreadable_file_is_one_problem_and_the_rest_is_still_checked(case, rules, damage):
    path = Path(case["t1ce"])
    content = path.read_bytes()
    path.write_bytes({"truncate": content[: len(content) // 2], "empty": b"", "text": b"not an image"}[damage])
    checked = check_case(case, rules)
    assert [problem["problem"] for problem in checked["problems"]] == ["unreadable"]
    assert checked["row"]["label"]


def test_several_problems_of_a_case_are_all_listed(case, rules):
    Path(case["t2"]).unlink()
    save(Path(case["flair"]), np.full((10, 12, 8), np.nan, np.float32))
    save(Path(case["label"]), np.full((10, 12, 8), 9, np.uint8))
    found = [problem["problem"] for problem in check_case(case, rules)["problems"]]
    assert found == ["non_finite_voxels", "missing_channel", "unknown_label"]


def test_an_empty_label_is_a_warning(case, rules):
    save(Path(case["label"]), np.zeros((10, 12, 8), np.uint8))
    problem = only_problem(case, rules)
    assert (problem["problem"], problem["severity"]) == ("empty_label", "warning")


def test_a_case_id_that_is_no_file_name_is_refused(rules):
    for case_id in ("../x y", "x\ny", "x\n", "x\ry", "x" * 300, ""):
        problem = only_problem({"case_id": case_id, "patient_id": "x"}, rules)
        assert (problem["problem"], problem["severity"]) == ("case_id", "error")
        assert f"the case id {case_id!r} of {len(case_id)} characters" in problem["found"]
        assert problem["message"].isprintable()
    assert "128 at most" in problem["expected"]


def test_a_line_end_in_a_patients_id_is_refused(rules):
    problem = only_problem({"case_id": "x", "patient_id": "a\nb"}, rules)
    assert (problem["problem"], problem["found"]) == ("patient_id", "the patient id 'a\\nb'")


def test_two_cases_with_one_id_and_one_image_under_two_ids_are_found(brats_folder, rules):
    cases = found_cases(brats_folder)
    Path(cases[2]["t1"]).write_bytes(Path(cases[1]["t1"]).read_bytes())
    cases.append(dict(cases[0]))
    rows = [check_case(case, rules)["row"] for case in cases]
    problems = check_identity(cases, rows)
    assert [(problem["case_id"], problem["problem"]) for problem in problems] == [
        ("BraTS2021_00002", "duplicate_image"),
        ("BraTS2021_00000", "duplicate_case"),
    ]
    assert len(assemble(cases, rows)) == 6


SPLIT = {"test_fraction": 0.25, "folds": []}
REQUIREMENTS = {"source": "here", "split": SPLIT, "trained": True, "blank": []}


def sized(cases: int) -> pd.DataFrame:
    ids = [f"c{number}" for number in range(cases)]
    return pd.DataFrame({"case_id": ids, "patient_id": ids, "volume_WT_ml": range(cases), "orientation": "LPS"})


def test_an_empty_cohort_is_an_error():
    assert [problem["problem"] for problem in check_requirements(pd.DataFrame(), REQUIREMENTS)] == ["empty_cohort"]


def test_fewer_patients_than_folds_is_an_error_that_says_how_many_there_are():
    problem = check_requirements(sized(4), {**REQUIREMENTS, "split": {**SPLIT, "folds": [3, 5]}})[0]
    assert problem["found"] == "3 training patients for 5 folds"
    assert len(check_requirements(sized(4), {**REQUIREMENTS, "split": {**SPLIT, "folds": [3]}})) == 0


def test_a_case_stays_checked_until_a_file_or_a_rule_changes(case, rules):
    key = files_key(case, rules)
    assert files_key(dict(case), replace(rules)) == key
    assert files_key(case, replace(rules, on_geometry_mismatch="use_image_header")) != key
    save(Path(case["t1"]), np.ones((10, 12, 8), np.int16))
    assert files_key(case, rules) != key


def test_a_second_pass_reads_only_the_case_that_changed_or_came(brats_folder, rules, tmp_path):
    cases = found_cases(brats_folder)

    def verify():
        return verify_cases(cases, rules, CaseCache(tmp_path / "cache.jsonl"), 1, Console())

    first, read = verify()
    assert read == 6
    assert verify() == (first, 0)
    label = Path(first[1]["row"]["label"])
    before = label.read_bytes()
    for damage in (label.unlink, lambda: label.write_bytes(Path(first[2]["row"]["label"]).read_bytes())):
        damage()
        assert verify() == (first, 1)
        assert label.read_bytes() == before
    write_case(brats_folder, CASE, seed=5)
    assert verify()[1] == 1
    write_case(brats_folder, "BraTS2021_00000a")
    cases = found_cases(brats_folder)
    assert verify()[1] == 1


def test_a_canonical_label_map_that_was_altered_is_made_again(brats_folder, rules, tmp_path):
    cases = found_cases(brats_folder)

    def verify():
        return verify_cases(cases, rules, CaseCache(tmp_path / "cache.jsonl"), 1, Console())

    first, _ = verify()
    label = Path(first[0]["row"]["label"])
    written = label.read_bytes()
    save(label, np.zeros((10, 12, 8), np.uint8))
    assert verify() == (first, 1)
    assert label.read_bytes() == written


def brain(radius_ml: float) -> np.ndarray:
    """An image of 48³ voxels of 4 mm with so many ml that are not background."""
    distance = np.linalg.norm(np.indices((48, 48, 48)) - 23.5, axis=0) * 4
    radius = (radius_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    return (distance < radius) * np.random.default_rng(int(radius_ml)).integers(50, 900, (48, 48, 48)).astype(np.int16)


@pytest.mark.parametrize(
    ("ml", "stripped", "problems"), [(1500, True, []), (3000, True, ["not_skull_stripped"]), (3000, False, [])]
)
def test_a_head_is_told_from_a_brain_where_the_cohort_says_brain(case, rules, ml, stripped, problems):
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    for number, role in enumerate(("t1", "t1ce", "t2", "flair")):
        save(Path(case[role]), brain(ml) + number * (brain(ml) > 0).astype(np.int16), affine)
    label = np.zeros((48, 48, 48), np.uint8)
    label[20:28, 20:28, 20:28] = 2
    save(Path(case["label"]), label, affine)
    checked = check_case(case, replace(rules, skull_stripped=stripped))
    assert [problem["problem"] for problem in checked["problems"]] == problems
    assert checked["row"]["brain_ml"] == pytest.approx(ml, rel=0.02)


def test_a_mask_of_a_few_voxels_is_a_warning_that_gives_its_size(case, rules):
    label = np.zeros((10, 12, 8), np.uint8)
    label[2:5, 2:5, 2:5] = 2
    save(Path(case["label"]), label)
    problem = only_problem(case, rules)
    assert (problem["problem"], problem["severity"]) == ("near_empty_label", "warning")
    assert problem["found"] == "27 labelled voxels, 27 mm³"


def test_a_copy_is_found_under_another_compression_and_header(brats_folder, rules):
    cases = found_cases(brats_folder)
    image = nib.load(cases[1]["t1"])
    header = image.header.copy()
    header["descrip"] = b"a copy"
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, header), cases[2]["t1"])
    problems = check_identity(cases, [check_case(case, rules)["row"] for case in cases])
    assert [(p["case_id"], p["problem"], p["severity"]) for p in problems] == [("BraTS2021_00002", "duplicate_image", "error")]
    assert "tested on what it was trained on" in problems[0]["message"]


def test_one_image_as_two_channels_is_a_warning(case, rules):
    Path(case["flair"]).write_bytes(Path(case["t2"]).read_bytes())
    problems = check_identity([case], [check_case(case, rules)["row"]])
    assert [(p["problem"], p["severity"], p["found"]) for p in problems] == [
        ("same_image", "warning", "the very image of the channel t2")
    ]


def test_a_case_that_lies_another_way_than_most_is_an_error_for_a_network_only():
    manifest = sized(6).assign(orientation=["LPS"] * 5 + ["RAS"])
    problems = check_requirements(manifest, REQUIREMENTS)
    assert [(p["case_id"], p["problem"]) for p in problems] == [("c5", "orientation")]
    assert "grid: {orientation: LPS}" in problems[0]["expected"]
    assert check_requirements(manifest, {**REQUIREMENTS, "trained": False}) == []


def test_one_patient_under_two_ids_is_an_error():
    manifest = sized(4).assign(tcga_subject_id=["A", "B", "A", None], site_id="1")
    assert [p["found"] for p in check_patients(manifest)] == ["one tcga_subject_id, A, under the patients c0, c2"]
    assert check_patients(manifest.assign(patient_id=["c0", "c1", "c0", "c3"])) == []


def test_patients_whose_ids_nearly_match_are_a_warning():
    (problem,) = check_patients(sized(4).assign(patient_id=["P-01", "p_1", "P-02", "P-11"]))
    assert (problem["problem"], problem["severity"]) == ("near_ids", "warning")
    assert problem["found"] == "the patients 'P-01' and 'p_1'"


def test_what_converting_came_upon_stands_in_the_table_once(brats_folder, rules, tmp_path):
    cases = found_cases(brats_folder)
    table = pd.DataFrame(cases)
    table.to_csv(tmp_path / "cases.csv", index=False)
    row = problem_row("BraTS2021_00000", "x", "two_files", "two", "one")
    pd.DataFrame([row, row]).to_csv(tmp_path / "conversion.csv", index=False)
    params = {
        **vars(rules),
        "requirements": REQUIREMENTS,
        "cache": str(tmp_path / "cache.jsonl"),
        "reread": False,
    }
    params["made_in"] = params.pop("labels")
    params["missing"] = {key: params.pop(key) for key in ("on_missing_channel", "substitute")}
    names = ("cases", "conversion", "manifest", "verification")
    paths = SimpleNamespace(**{name: str(tmp_path / f"{name}.csv") for name in names})
    said = main(SimpleNamespace(input=paths, output=paths, params=SimpleNamespace(**params), threads=1), Console())
    assert said == "6 cases, 6 read, 1 error, 0 warnings"
    assert pd.read_csv(paths.verification)["message"].tolist() == [row["message"]]
    assert pd.read_csv(paths.manifest)["volume_WT_ml"].iloc[0] == pytest.approx(0.064)


def test_colours_are_no_intensities(case, rules):
    colours = np.zeros((10, 12, 8), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, AFFINE), case["t2"])
    problem = only_problem(case, rules)
    assert (problem["problem"], problem["file"]) == ("unreadable", case["t2"])
    assert "voxels of the type 128 (RGB)" in problem["found"]
    assert problem["expected"].startswith("one whole or real number")


def test_equal_voxels_have_one_fingerprint_in_whatever_type():
    values = np.random.default_rng(0).integers(-50, 900, (4, 5, 6))
    same = {voxel_fingerprint(values.astype(kind)) for kind in (np.int16, np.int32, np.float32, np.float64, np.int64)}
    assert len(same) == 1
    assert voxel_fingerprint(values.astype(np.int16).reshape(5, 4, 6)) not in same
    fractions = values + 0.5
    assert voxel_fingerprint(fractions.astype(np.float32)) == voxel_fingerprint(fractions)
    assert voxel_fingerprint(np.zeros(3) * -1.0 + 0.5 * np.eye(3)[0]) == voxel_fingerprint(np.array([0.5, 0.0, 0.0]))
    assert voxel_fingerprint(np.array([np.nan, 1.0])) != voxel_fingerprint(np.array([0.0, 1.0]))


def test_a_table_beside_an_image_is_not_taken_for_the_image(case, rules):
    image = Path(case["t2"])
    image.with_name(image.name.replace(".nii.gz", ".json")).write_text("{}")
    image.unlink()
    assert only_problem(case, rules)["problem"] == "missing_channel"


def test_what_no_check_foresaw_is_a_problem_of_its_case(case, rules):
    problem = only_problem(case, replace(rules, skull_stripped=None, scheme=None))
    assert problem["case_id"] == CASE
    assert (problem["problem"], problem["severity"]) == ("unreadable", "error")
    assert "no check foresaw (TypeError" in problem["found"]


def test_headers_that_contradict_themselves_are_errors_of_images_and_labels(case, rules):
    for role in ("t2", "label"):
        path = Path(case[role])
        before = path.read_bytes()
        content = bytearray(gzip.decompress(before))
        content[80:92] = np.full(3, 2, "<f4").tobytes()  # pixdim of nifti1.h
        path.write_bytes(gzip.compress(content))
        problem = only_problem(case, rules)
        assert (problem["problem"], problem["severity"], problem["file"]) == ("affine", "error", case[role])
        assert "voxels of 1 x 1 x 1 mm by the sform and 2 x 2 x 2 mm by pixdim" in problem["found"]
        assert "set_sform" in problem["expected"]
        assert ("use_image_header" in problem["expected"]) == (role == "label")
        path.write_bytes(before)


def test_a_label_whose_header_contradicts_itself_is_taken_by_index_where_that_is_said(brats_folder, rules):
    write_case(brats_folder, CASE, raw_et=3)
    case = found_cases(brats_folder)[1]
    path = Path(case["label"])
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:92] = np.full(3, 2, "<f4").tobytes()
    path.write_bytes(gzip.compress(content))
    by_index = replace(rules, scheme=label_schemes()["canonical"], on_geometry_mismatch="use_image_header")
    checked = check_case(case, by_index)
    assert [(problem["problem"], problem["severity"]) for problem in checked["problems"]] == [("affine", "warning")]
    assert checked["row"]["label"] != case["label"]  # what nnU-Net would read otherwise is not used where it lies
    assert np.array_equal(read_labels(checked["row"]["label"]).affine, AFFINE)


def test_a_trailing_axis_of_one_voxel_is_no_problem(case, rules):
    for role in ("t1", "label"):
        save(Path(case[role]), np.asarray(nib.load(case[role]).dataobj)[..., None])
    checked = check_case(case, rules)
    assert checked["problems"] == []
    assert checked["row"]["shape"] == "10x12x8"


def test_an_image_in_nifti_2_is_an_error_and_a_label_is_written_anew(brats_folder, rules):
    write_case(brats_folder, CASE, raw_et=3)
    case = found_cases(brats_folder)[1]
    for role in ("t1ce", "label"):
        nib.save(nib.Nifti2Image(np.asarray(nib.load(case[role]).dataobj), AFFINE), case[role])
    checked = check_case(case, replace(rules, scheme=label_schemes()["canonical"]))
    assert [(problem["problem"], problem["file"]) for problem in checked["problems"]] == [("nifti_version", case["t1ce"])]
    assert checked["row"]["label"] != case["label"]
    assert nib.load(checked["row"]["label"]).header["sizeof_hdr"] == 348


def test_a_case_without_axes_is_read_as_nnunet_reads_it_and_that_is_said_once(case, rules):
    for role in ("t1", "t1ce", "t2", "flair", "label"):
        path = Path(case[role])
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[252:256] = bytes(4)  # qform_code and sform_code
        path.write_bytes(gzip.compress(content))
    checked = check_case(case, rules)
    assert [(problem["problem"], problem["severity"]) for problem in checked["problems"]] == [
        ("orientation_unknown", "warning")
    ]
    assert checked["row"]["orientation"] == "LPS"


def test_an_image_too_large_says_what_to_raise(case, rules, monkeypatch):
    monkeypatch.setenv("GLIOFLOW_LARGEST_IMAGE_GB", "1e-6")
    problems = check_case(case, rules)["problems"]
    assert {problem["problem"] for problem in problems} == {"too_large"}
    assert "raise largest_image_gb" in problems[0]["expected"]


def intensities(background: int = 0) -> np.ndarray:
    """Return an image of 20³ voxels, a brain of intensities from 100 to 900 on a background."""
    image = np.full((20, 20, 20), background, np.int32)
    image[4:16, 4:16, 4:16] = np.random.default_rng(0).integers(100, 900, (12, 12, 12))
    return image


def outlying(case, rules, image):
    save(Path(case["t1"]), image)
    found = check_case({"case_id": CASE, "patient_id": "p", "t1": case["t1"]}, replace(rules, channels=("t1",)))["problems"]
    return [problem for problem in found if problem["problem"] == "outlying_intensity"]


def test_one_voxel_of_a_million_is_named_with_its_place(case, rules):
    image = intensities()
    assert outlying(case, rules, image) == []
    image[1, 2, 3] = 1_000_000
    (problem,) = outlying(case, rules, image)
    assert problem["severity"] == "warning"
    assert problem["found"].startswith("1 voxel of outlying intensity, 1000000 at (1, 2, 3), where the brain's median is ")
    image[5, 5, 5] = image[5, 5, 6] = -1_000_000
    high, low = sorted(outlying(case, rules, image), key=lambda problem: problem["found"])
    assert low["found"].startswith("2 voxels of outlying intensity, -1000000 at (5, 5, 5)")
    assert high["found"] == problem["found"]


def test_bright_vessels_and_dark_backgrounds_are_none(case, rules):
    image = intensities(background=-1000)
    image[8, 8, 8:11] = 5000
    assert outlying(case, rules, image) == []


def test_no_real_image_has_an_outlying_intensity(real_data, rules):
    paths = sorted(path for path in real_data.rglob("*_t1*.nii.gz"))
    assert len(paths) > 10
    for path in paths:
        found = check_case({"case_id": CASE, "patient_id": "p", "t1": str(path)}, replace(rules, channels=("t1",)))
        assert {problem["problem"] for problem in found["problems"]} <= {"missing_label"}, path


def test_a_label_that_is_almost_whole_is_shown_with_the_digits_that_tell(case, rules):
    for dtype, said in ((np.float32, "1.0000001"), (np.float64, "1.00000000000002")):
        label = np.zeros((10, 12, 8), dtype)
        label[2:5, 2:5, 2:5] = float(said)
        save(Path(case["label"]), label)
        assert f"found label value {said}; expected" in only_problem(case, rules)["message"]


def test_a_file_changed_at_the_same_size_and_time_is_read_again(case, rules):
    path, key = Path(case["t1"]), files_key(case, rules)
    content, stat = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert files_key(case, rules) != key


def test_a_full_pass_reads_what_is_in_the_cache_too(brats_folder, rules, tmp_path):
    cases, cache = found_cases(brats_folder), CaseCache(tmp_path / "cache.jsonl")
    first, _ = verify_cases(cases, rules, cache, 1, Console())
    assert verify_cases(cases, rules, cache, 1, Console()) == (first, 0)
    assert verify_cases(cases, rules, cache, 1, Console(), reread=True) == (first, 6)
