"""The layout of the Decathlon's Task01, on a miniature with its folders, names and dataset.json.

The voxels are those of real BraTS 2021 cases, thinned out, where real data is there, else noise.
"""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from miniature_cases import LPS, SHAPE, real_folder, save
from miniatures import make_miniature

from glioflow.cohorts.layouts import LAYOUTS, list_cohort
from glioflow.cohorts.layouts.listing import Converted, Listing
from glioflow.study.configuration import FolderCohort, cohort_dataset

COHORT = FolderCohort(dataset="msd_task01", path=".")
PUBLISHED = ("flair", "t1", "t1ce", "t2")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_miniature("msd_task01", tmp_path / "data", cases=2)
    return tmp_path / "data"


def list_cases(folder: Path) -> Listing:
    return list_cohort(COHORT, folder)


def convert(folder: Path, case: int = 0) -> Converted:
    layout = LAYOUTS["msd_task01"]
    assert layout.convert is not None
    return layout.convert(list_cases(folder).cases[case], folder.parent / "out", cohort_dataset(COHORT))


def image_of(folder: Path) -> Path:
    return folder / "Task01_BrainTumour/imagesTr/BRATS_001.nii.gz"


def rename_modalities(folder: Path, *names: str) -> Path:
    path = folder / "Task01_BrainTumour/dataset.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, "modality": {str(i): name for i, name in enumerate(names)}}))
    return path


def test_training_cases_are_found_and_test_images_and_the_junk_of_macos_are_not(data: Path):
    listing = list_cases(data)
    assert [case.case_id for case in listing.cases] == ["BRATS_001", "BRATS_002"]
    assert listing.problems == []
    assert (data / "Task01_BrainTumour/imagesTr/._BRATS_001.nii.gz").is_file()


def test_a_case_is_stamped_by_its_image_its_label_and_the_description(data: Path):
    case = list_cases(data).cases[0]
    root = data / "Task01_BrainTumour"
    assert case.files == {"label": (root / "labelsTr/BRATS_001.nii.gz").as_posix()}
    assert case.sources == (image_of(data).as_posix(), (root / "dataset.json").as_posix())


def test_each_sequence_becomes_a_volume_in_the_stored_type_and_the_label_stays(tmp_path: Path):
    make_miniature("msd_task01", tmp_path / "data", cases=1, real=real_folder())
    stored = nib.load(image_of(tmp_path / "data"))
    converted = convert(tmp_path / "data")
    assert converted.problems == []
    for index, role in enumerate(PUBLISHED):
        image = nib.load(converted.files[role])
        assert image.get_data_dtype() == stored.get_data_dtype() == np.float32
        assert image.shape == SHAPE
        np.testing.assert_array_equal(image.dataobj, np.asarray(stored.dataobj)[..., index])
        np.testing.assert_array_equal(image.affine, stored.affine)
    assert converted.files["label"] == (tmp_path / "data/Task01_BrainTumour/labelsTr/BRATS_001.nii.gz").as_posix()


def test_the_order_of_the_channels_is_that_of_the_description(data: Path):
    rename_modalities(data, "T2w", "FLAIR", "t1gd", "T1w")
    converted = convert(data)
    stored = np.asarray(nib.load(image_of(data)).dataobj)
    for index, role in enumerate(("t2", "flair", "t1ce", "t1")):
        np.testing.assert_array_equal(nib.load(converted.files[role]).dataobj, stored[..., index])


def test_without_a_description_the_published_order_is_taken_with_a_warning(data: Path):
    (data / "Task01_BrainTumour/dataset.json").unlink()
    (problem,) = list_cases(data).problems
    assert (problem["problem"], problem["severity"]) == ("no_channel_order", "warning")
    assert tuple(role for role in convert(data).files if role != "label") == PUBLISHED


@pytest.mark.parametrize("names", [("FLAIR", "T1w", "PD", "T2w"), ("FLAIR", "T1w", "T1w", "T2w")])
def test_a_description_with_a_sequence_unknown_or_twice_is_an_error_and_nothing_is_written(data: Path, names: tuple[str, ...]):
    rename_modalities(data, *names)
    (problem,) = list_cases(data).problems
    assert (problem["problem"], problem["severity"]) == ("channel_order", "error")
    assert ", ".join(names) in problem["found"]
    assert list(convert(data).files) == ["label"]


def test_a_broken_description_is_an_error(data: Path):
    (data / "Task01_BrainTumour/dataset.json").write_text('{"modality": ')
    assert [problem["problem"] for problem in list_cases(data).problems] == ["channel_order"]


def test_a_3d_image_is_a_problem_that_says_what_is_expected(data: Path):
    save(image_of(data), np.zeros(SHAPE, np.float32), LPS)
    (problem,) = convert(data).problems
    assert (problem["case_id"], problem["severity"], problem["file"]) == ("BRATS_001", "error", image_of(data).as_posix())
    assert "3 dimensions" in problem["found"] and "4D" in problem["expected"]


@pytest.mark.parametrize("channels", [3, 5])
def test_another_number_of_channels_than_named_is_a_problem(data: Path, channels: int):
    save(image_of(data), np.zeros((*SHAPE, channels), np.float32), LPS)
    converted = convert(data)
    (problem,) = converted.problems
    assert (problem["problem"], problem["severity"]) == ("channel_count", "error")
    assert f"{channels} volumes" in problem["found"] and "4" in problem["expected"]
    assert list(converted.files) == ["label"]


@pytest.mark.parametrize("kept", [0, 5, 200, 0.5, 0.99])
def test_a_truncated_file_is_a_problem_and_not_an_exception(data: Path, kept: float):
    content = image_of(data).read_bytes()
    image_of(data).write_bytes(content[: int(kept if kept >= 1 or kept == 0 else kept * len(content))])
    (problem,) = convert(data).problems
    assert (problem["problem"], problem["severity"]) == ("unreadable", "error")


def test_a_file_whose_content_ends_early_inside_a_whole_gzip_is_a_problem(data: Path):
    content = gzip.decompress(image_of(data).read_bytes())
    image_of(data).write_bytes(gzip.compress(content[:-100]))
    assert [problem["problem"] for problem in convert(data).problems] == ["unreadable"]


def test_a_label_without_its_image_is_a_problem_of_that_case(data: Path):
    image_of(data).unlink()
    (problem,) = convert(data).problems
    assert problem["file"] == image_of(data).as_posix() and "no such file" in problem["found"]
    assert len(list_cases(data).cases) == 2
