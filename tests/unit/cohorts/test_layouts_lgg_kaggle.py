"""The layout of Kaggle's lower-grade gliomas, on the eight real patients at hand and on miniatures of noise."""

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from miniatures import make_miniature

from glioflow.cohorts.covariates import add_covariates
from glioflow.cohorts.layouts import LAYOUTS, list_cohort
from glioflow.cohorts.layouts.listing import Converted, Listing
from glioflow.study.configuration import FolderCohort, cohort_dataset

REAL = {
    "TCGA_CS_4941_19960909": 23,
    "TCGA_CS_4942_19970222": 20,
    "TCGA_CS_5395_19981004": 20,
    "TCGA_CS_6668_20011025": 28,
    "TCGA_DU_5849_19950405": 38,
    "TCGA_DU_7301_19911112": 35,
    "TCGA_FG_6688_20020215": 36,
    "TCGA_HT_7475_19970918": 32,
    "TCGA_HT_7602_19951103": 20,
    "TCGA_HT_A61B_19991127": 88,
}  # patient: slices
FIRST = "TCGA_CS_4941_19960910"  # of the miniature


def cohort_at(folder: Path, **keys: Any) -> FolderCohort:
    return FolderCohort(dataset="lgg_kaggle", path=folder.as_posix(), **keys)


def list_cases(folder: Path, **keys: Any) -> Listing:
    return list_cohort(cohort_at(folder, **keys), folder)


def convert(folder: Path, target: Path, case: int = 0, **keys: Any) -> Converted:
    layout = LAYOUTS["lgg_kaggle"]
    assert layout.convert is not None
    cohort = cohort_at(folder, **keys)
    return layout.convert(list_cohort(cohort, folder).cases[case], target, cohort_dataset(cohort))


def kinds(problems: list[dict[str, str]]) -> list[str]:
    return [problem["problem"] for problem in problems if problem["problem"] != "spacing_unknown"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_miniature("lgg_kaggle", tmp_path / "data", cases=2)
    return tmp_path / "data"


def slice_path(folder: Path, number: int, mask: bool = False) -> Path:
    return folder / "kaggle_3m" / FIRST / f"{FIRST}_{number}{'_mask' if mask else ''}.tif"


@pytest.mark.real_data
def test_the_real_patients_are_found_with_all_their_slices(real_data: Path):
    listing = list_cases(real_data / "lgg/kaggle_3m")
    assert {case.case_id: len(case.sources) // 2 for case in listing.cases} == REAL
    assert listing.cases[0].patient_id == "TCGA_CS_4941"
    assert [problem["problem"] for problem in listing.problems] == ["spacing_unknown"]


@pytest.mark.real_data
def test_a_real_patient_becomes_volumes_with_slices_in_the_order_of_their_numbers(real_data: Path, tmp_path: Path):
    folder = real_data / "lgg/kaggle_3m"
    converted = convert(folder, tmp_path)
    assert converted.problems == [] and converted.covariates == {}
    assert list(converted.files) == ["t1", "flair", "t1ce", "label"]
    name = "TCGA_CS_4941_19960909"
    for number in (1, 2, 10, 23):  # the second is not the tenth
        colours = tifffile.imread(folder / name / f"{name}_{number}.tif")
        mask = tifffile.imread(folder / name / f"{name}_{number}_mask.tif")
        for index, role in enumerate(("t1", "flair", "t1ce")):
            volume = np.asarray(nib.load(converted.files[role]).dataobj)
            assert volume.shape == (256, 256, 23) and volume.dtype == np.uint8
            np.testing.assert_array_equal(volume[:, :, number - 1], colours[:, :, index].T)
        np.testing.assert_array_equal(np.asarray(nib.load(converted.files["label"]).dataobj)[:, :, number - 1], mask.T)


@pytest.mark.real_data
def test_the_first_slices_of_real_patients_are_at_the_base_and_the_last_at_the_vertex(real_data: Path, tmp_path: Path):
    """The head at the vertex is smaller than at the base: the third axis points up in every patient."""
    for case, name in enumerate(REAL):
        image = nib.load(convert(real_data / "lgg/kaggle_3m", tmp_path / name, case).files["flair"])
        assert "".join(nib.orientations.aff2axcodes(image.affine)) == "LPS"
        head = (np.asarray(image.dataobj) > 10).sum(axis=(0, 1))
        assert head[3:6].sum() > head[-4:-1].sum()


@pytest.mark.real_data
def test_the_real_clinical_table_becomes_readable_covariates(real_data: Path):
    """TCGA's public records have CS_4941 as a man of 67 and CS_4942 as a woman of 44, both with astrocytoma of grade 3."""
    folder = real_data / "lgg/kaggle_3m"
    cases, problems = add_covariates(list_cases(folder).cases, cohort_at(folder), folder)
    assert problems == []
    known = {case.case_id: case.covariates for case in cases}
    shown = ("sex", "age_years", "grade", "histology", "died")
    assert [known["TCGA_CS_4941_19960909"][name] for name in shown] == ["male", "67", "3", "astrocytoma", "yes"]
    assert [known["TCGA_CS_4942_19970222"][name] for name in shown] == ["female", "44", "3", "astrocytoma", "yes"]
    assert known["TCGA_CS_6668_20011025"]["histology"] == "oligodendroglioma"
    assert known["TCGA_CS_4941_19960909"]["laterality_code"] == "3"


def test_slices_sort_by_number_and_rows_and_columns_become_y_and_x(data: Path, tmp_path: Path):
    for number in range(1, 11):
        picture = np.full((14, 12, 3), number, np.uint8)
        picture[2, 5, 0] = 200  # row 2, column 5
        tifffile.imwrite(slice_path(data, number), picture, photometric="rgb")
    volume = np.asarray(nib.load(convert(data, tmp_path / "out").files["t1"]).dataobj)
    assert volume.shape == (12, 14, 10)
    assert volume[0, 0].tolist() == list(range(1, 11))
    assert (volume[5, 2] == 200).all() and (volume == 200).sum() == 10


def test_without_a_spacing_one_warning_says_that_distances_are_in_pixels(data: Path, tmp_path: Path):
    (problem,) = list_cases(data).problems
    assert (problem["problem"], problem["severity"]) == ("spacing_unknown", "warning")
    assert "pixels and slices" in problem["message"] and "spacing_mm" in problem["message"]
    np.testing.assert_array_equal(nib.load(convert(data, tmp_path / "out").files["t1"]).affine, np.diag([-1, -1, 1, 1]))


def test_a_given_spacing_is_that_of_the_volumes_along_x_y_and_z(data: Path, tmp_path: Path):
    assert list_cases(data, spacing_mm=(0.9, 0.8, 5.0)).problems == []
    image = nib.load(convert(data, tmp_path / "out", spacing_mm=(0.9, 0.8, 5.0)).files["label"])
    np.testing.assert_allclose(image.affine, np.diag([-0.9, -0.8, 5, 1]), rtol=1e-6)


@pytest.mark.parametrize(("colours", "missing"), [((2,), ["t1ce"]), ((0,), ["t1"]), ((0, 2), ["t1", "t1ce"])])
def test_a_sequence_that_is_flair_in_every_slice_is_missing(
    data: Path, tmp_path: Path, colours: tuple[int, ...], missing: list[str]
):
    for number in range(1, 11):
        picture = tifffile.imread(slice_path(data, number))
        for colour in colours:
            picture[..., colour] = picture[..., 1]
        tifffile.imwrite(slice_path(data, number), picture, photometric="rgb")
    converted = convert(data, tmp_path / "out")
    assert converted.covariates == {"missing_sequences": " ".join(missing)}
    assert not set(missing) & set(converted.files)
    assert {"flair", "label"} <= set(converted.files)


def test_a_sequence_that_is_flair_in_some_slices_is_kept(data: Path, tmp_path: Path):
    for number in range(1, 10):
        picture = tifffile.imread(slice_path(data, number))
        picture[..., 2] = picture[..., 1]
        tifffile.imwrite(slice_path(data, number), picture, photometric="rgb")
    converted = convert(data, tmp_path / "out")
    assert "t1ce" in converted.files and converted.covariates == {}


def test_a_gap_in_the_numbers_is_a_problem_and_no_volume_is_made(data: Path, tmp_path: Path):
    for number in (1, 4):
        slice_path(data, number).unlink()
        slice_path(data, number, mask=True).unlink()
    listing = list_cases(data)
    assert kinds(listing.problems) == ["missing_slices"]
    problem = listing.problems[0]
    assert (problem["case_id"], problem["patient_id"], problem["severity"]) == (FIRST, "TCGA_CS_4941", "error")
    assert "1, 4" in problem["found"]
    assert convert(data, tmp_path / "out").files == {}


@pytest.mark.parametrize(("mask", "text"), [(True, "no mask for slice 7"), (False, "a mask without its image for slice 7")])
def test_a_slice_without_its_mask_or_the_reverse_is_a_problem(data: Path, tmp_path: Path, mask: bool, text: str):
    slice_path(data, 7, mask=mask).unlink()
    listing = list_cases(data)
    assert kinds(listing.problems) == ["unpaired_slices"]
    assert listing.problems[0]["found"] == text
    assert convert(data, tmp_path / "out").files == {}


def test_a_slice_of_another_size_is_a_problem_that_names_it(data: Path, tmp_path: Path):
    tifffile.imwrite(slice_path(data, 3), np.zeros((20, 20, 3), np.uint8), photometric="rgb")
    converted = convert(data, tmp_path / "out")
    (problem,) = converted.problems
    assert (problem["problem"], problem["file"]) == ("slice_size", slice_path(data, 3).as_posix())
    assert problem["found"] == "20x20 pixels" and problem["expected"].startswith("14x12")
    assert converted.files == {}


def test_masks_of_another_size_than_the_images_are_a_problem(data: Path, tmp_path: Path):
    for number in range(1, 11):
        tifffile.imwrite(slice_path(data, number, mask=True), np.zeros((7, 6), np.uint8))
    assert kinds(convert(data, tmp_path / "out").problems) == ["slice_size"]


def test_a_grey_picture_in_place_of_a_colour_one_is_a_problem(data: Path, tmp_path: Path):
    tifffile.imwrite(slice_path(data, 3), np.zeros((14, 12), np.uint8))
    (problem,) = convert(data, tmp_path / "out").problems
    assert problem["problem"] == "slice_kind" and "RGB" in problem["expected"]


@pytest.mark.parametrize("kept", [0, 3, 8, 60, 0.5, 0.9])
def test_a_truncated_slice_is_a_problem_and_not_an_exception(data: Path, tmp_path: Path, kept: float):
    content = slice_path(data, 3).read_bytes()
    slice_path(data, 3).write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    converted = convert(data, tmp_path / "out")
    assert [problem["file"] for problem in converted.problems] == [slice_path(data, 3).as_posix()]
    assert converted.files == {}


def test_of_the_two_copies_in_the_archive_one_is_taken(data: Path):
    shutil.copytree(data / "kaggle_3m", data / "lgg-mri-segmentation/kaggle_3m")
    listing = list_cases(data)
    assert len(listing.cases) == 2 and kinds(listing.problems) == []
    assert all("lgg-mri-segmentation" not in source for case in listing.cases for source in case.sources)


def test_of_two_copies_the_whole_one_is_taken(data: Path):
    shutil.copytree(data / "kaggle_3m", data / "lgg-mri-segmentation/kaggle_3m")
    slice_path(data, 3).unlink()
    listing = list_cases(data)
    assert kinds(listing.problems) == []
    assert all("lgg-mri-segmentation" in source for source in listing.cases[0].sources)
    assert all("lgg-mri-segmentation" not in source for source in listing.cases[1].sources)


def test_a_clinical_table_with_commas_is_read_too(data: Path):
    table = data / "kaggle_3m/data.csv"
    table.write_text(table.read_text().replace(";", ","))
    cases, _ = add_covariates(list_cases(data).cases, cohort_at(data), data)
    assert cases[0].covariates["age_years"] == "40" and cases[0].covariates["sex"] == "female"
