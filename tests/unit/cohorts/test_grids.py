import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import AFFINE, save

from glioflow.cohorts.grids import regrid_case, regrid_mask, resample, target_grid, turn
from glioflow.cohorts.layouts import FoundCase
from glioflow.imaging.volumes import Volume, orientation, read_volume
from glioflow.study.configuration import Grid

LPS = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([-1.0, -1.0, 1.0, 1.0]))


def case(tmp_path: Path, **arrays) -> FoundCase:
    files = {role: save(tmp_path / f"{role}.nii.gz", *array).as_posix() for role, array in arrays.items()}
    return FoundCase("a", "p", files)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 900, (10, 12, 8)).astype(np.int16)


def test_turning_moves_every_voxel_with_its_place():
    turned = turn(LPS, "RAS")
    assert orientation(turned) == "RAS"
    assert np.array_equal(turned.data, LPS.data[::-1, ::-1])
    place = turned.affine @ [0, 0, 0, 1]  # the voxel that was [1, 2, 0]
    assert np.allclose(place, LPS.affine @ [1, 2, 0, 1])
    assert turned.data[0, 0, 0] == LPS.data[1, 2, 0]


def test_turning_swaps_axes_where_they_point_elsewhere():
    turned = turn(LPS, "SPL")
    assert np.array_equal(turned.data, LPS.data.transpose(2, 1, 0))
    assert np.array_equal(turn(turned, "LPS").data, LPS.data)


def test_a_case_that_lies_right_is_neither_written_nor_moved(tmp_path):
    found = case(tmp_path, t1=(image(),), label=(np.zeros((10, 12, 8), np.uint8),))
    assert regrid_case(found, Grid(), "error", tmp_path / "out").files == found.files
    assert not (tmp_path / "out").exists()


def test_only_what_is_not_on_the_grid_is_written(tmp_path):
    turned = turn(Volume(image(1), AFFINE), "RAS")
    found = case(tmp_path, t1=(image(),), t2=(turned.data, turned.affine))
    files = regrid_case(found, Grid(), "error", tmp_path / "out").files
    assert files["t1"] == found.files["t1"]
    written = nib.load(files["t2"])
    assert np.array_equal(np.asarray(written.dataobj), image(1))
    assert written.get_data_dtype() == np.int16
    assert np.allclose(written.affine, AFFINE)


def test_a_linear_ramp_stays_a_linear_ramp_on_finer_voxels():
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None, None] * 2, (20, 10, 10))
    fine = resample(Volume(np.array(ramp), np.eye(4)), (39, 10, 10), np.diag([0.5, 1.0, 1.0, 1.0]), 3)
    assert np.allclose(fine.data[4:-4, 5, 5], np.arange(39)[4:-4], atol=0.1)


def test_labels_are_never_mixed_and_images_never_leave_their_range(tmp_path):
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[3:7, 3:9, 2:6] = 4
    labels[4:6, 5:7, 3:5] = 1
    found = case(tmp_path, flair=(image(),), label=(labels,))
    files = regrid_case(found, Grid(spacing_mm=(0.7, 1.3, 2.0)), "error", tmp_path / "out").files
    flair, label = read_volume(files["flair"]), read_volume(files["label"])
    assert flair.spacing == pytest.approx((0.7, 1.3, 2.0))
    assert label.data.shape == flair.data.shape
    assert set(np.unique(label.data)) == {0, 1, 4}
    assert image().min() >= 0 <= flair.data.min() and flair.data.max() <= image().max()
    assert label.voxel_ml * (label.data > 0).sum() == pytest.approx(0.096, rel=0.25)  # 4 × 6 × 4 voxels of 1 mm³


def test_a_channel_on_a_coarser_grid_comes_to_that_of_the_reference(tmp_path):
    smooth = np.broadcast_to(np.arange(12, dtype=np.float32)[None, :, None], (10, 12, 8)) + 1
    coarse = np.ascontiguousarray(smooth[:, ::2])
    affine = AFFINE @ np.diag([1.0, 2.0, 1.0, 1.0])
    found = case(tmp_path, t1=(np.array(smooth),), t2=(coarse, affine))
    files = regrid_case(found, Grid(reference="t1"), "error", tmp_path / "out").files
    t2 = read_volume(files["t2"])
    assert t2.data.shape == (10, 12, 8)
    assert np.allclose(t2.data[5, 2:9, 4], smooth[5, 2:9, 4], atol=0.1)


def test_a_label_with_a_zero_origin_is_a_problem_or_taken_by_index(tmp_path):
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[1, 2, 3] = 2
    found = case(tmp_path, t1=(image(),), label=(labels, np.eye(4)))
    refused = regrid_case(found, Grid(orientation="RAS"), "error", tmp_path / "a")
    assert [problem["severity"] for problem in refused.problems] == ["error"]
    assert "use_image_header" in refused.problems[0]["expected"]
    taken = regrid_case(found, Grid(orientation="RAS"), "use_image_header", tmp_path / "b")
    assert [problem["severity"] for problem in taken.problems] == ["warning"]
    assert read_volume(taken.files["label"]).data[::-1, ::-1][1, 2, 3] == 2


def test_a_file_that_cannot_be_read_keeps_its_path(tmp_path):
    found = case(tmp_path, t1=(image(),), t2=(image(1),))
    Path(found.files["t2"]).write_bytes(b"")
    assert regrid_case(found, Grid(orientation="RAS"), "error", tmp_path / "out").files["t2"] == found.files["t2"]


def test_turned_real_images_of_africa_lie_like_brats_2021(real_data, tmp_path):
    """Both data sets are real; the African arrays lie the other way round, as their headers say."""
    usual = read_volume(real_data / "brats2021/BraTS2021_00006/BraTS2021_00006_t1.nii.gz").data != 0
    path = real_data / "brats_africa/images/BraTS2024_SSA-00002-000/BraTS2024_SSA-00002-000_t1.nii.gz"

    def likeness(data):
        return np.corrcoef((data != 0)[::4, ::4, ::4].ravel(), usual[::4, ::4, ::4].ravel())[0, 1]

    files = regrid_case(FoundCase("a", "a", {"t1": str(path)}), Grid(), "error", tmp_path).files
    assert likeness(read_volume(path).data) < 0.75
    assert likeness(read_volume(files["t1"]).data) > 0.85


def test_the_spacing_is_that_of_the_axes_as_turned(tmp_path):
    shape, affine = target_grid(turn(LPS, "SPL"), Grid(orientation="SPL", spacing_mm=(0.5, 1.0, 2.0)))
    assert orientation(Volume(np.zeros(shape), affine)) == "SPL"
    assert np.allclose(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)), (0.5, 1.0, 2.0))


def test_a_label_of_64_bit_numbers_comes_to_the_grid(tmp_path):
    label = np.zeros((10, 12, 8), np.int64)
    label[2, 2, 2] = 4
    path = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(label, AFFINE, dtype=np.int64), path)
    found = case(tmp_path, t1=(image(),))
    found = replace(found, files={**found.files, "label": path.as_posix()})
    fine = Grid(orientation="RAS", spacing_mm=(0.5, 0.5, 0.5))
    placed = regrid_case(found, fine, "error", tmp_path / "out")
    assert placed.problems == []
    assert set(np.unique(read_volume(placed.files["label"]).data)) == {0, 4}


def test_a_channel_without_a_place_keeps_its_path(tmp_path):
    nowhere = AFFINE.copy()
    nowhere[0, 3] = np.nan
    found = case(tmp_path, t1=(image(),), t2=(image(1), nowhere))
    assert regrid_case(found, Grid(orientation="RAS"), "error", tmp_path / "out").files["t2"] == found.files["t2"]


def labels_of(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 4, shape).astype(np.uint8)


@pytest.mark.parametrize("grid", [Grid(orientation="RAS"), Grid(orientation="SPL"), Grid(spacing_mm=(0.7, 1.3, 2.0))], ids=str)
def test_a_mask_comes_to_a_grid_as_the_label_came(tmp_path, grid):
    found = case(tmp_path, t1=(image(),), label=(labels_of((10, 12, 8)),))
    label = read_volume(regrid_case(found, grid, "error", tmp_path / "out").files["label"])
    moved = regrid_mask(read_volume(found.files["label"]), label)
    assert moved is not None
    assert np.array_equal(moved.data, label.data)
    assert np.array_equal(moved.affine, label.affine)
    again = regrid_mask(label, label)
    assert again is not None and np.array_equal(again.data, label.data)


def test_a_mask_of_another_place_does_not_come_to_a_grid():
    target = turn(Volume(labels_of((10, 12, 8)), AFFINE), "RAS")
    assert regrid_mask(Volume(labels_of((10, 12, 8)), np.eye(4)), target) is None
    elsewhere = AFFINE.copy()
    elsewhere[2, 3] = 2.5
    assert regrid_mask(Volume(labels_of((10, 12, 8)), elsewhere), target) is None
    assert regrid_mask(Volume(labels_of((10, 12, 8)), AFFINE @ np.diag([1, 1, 2.0, 1])), target) is None


def test_an_image_without_axes_that_is_turned_says_so(tmp_path):
    found = case(tmp_path, t1=(image(),))
    content = bytearray(gzip.decompress(Path(found.files["t1"]).read_bytes()))
    content[252:256] = bytes(4)  # qform_code and sform_code of nifti1.h
    Path(found.files["t1"]).write_bytes(gzip.compress(content))
    placed = regrid_case(found, Grid(orientation="RAS"), "error", tmp_path / "out")
    assert [(problem["problem"], problem["severity"]) for problem in placed.problems] == [("orientation_unknown", "warning")]


def test_a_header_that_contradicts_itself_moves_nothing(tmp_path):
    found = case(tmp_path, t1=(image(),), t2=(image(1),))
    content = bytearray(gzip.decompress(Path(found.files["t2"]).read_bytes()))
    content[80:92] = np.full(3, 2, "<f4").tobytes()  # pixdim
    Path(found.files["t2"]).write_bytes(gzip.compress(content))
    assert regrid_case(found, Grid(orientation="RAS"), "error", tmp_path / "out").files["t2"] == found.files["t2"]


def test_nearest_voxels_do_not_hang_on_the_rounding_of_an_affine():
    """At 1.5 mm every second place lies between two voxels of 1 mm; the outer planes lie on the edge of the volume."""
    labels = Volume(labels_of((10, 12, 8)), AFFINE)
    shape, affine = target_grid(labels, Grid(spacing_mm=(1.5, 1.5, 1.0)))
    exact = resample(labels, shape, affine, 0).data
    assert exact[0].any() and exact[:, :, -1].any()
    for shift in (-1e-6, 1e-6):
        moved = affine.copy()
        moved[:3, 3] += shift
        assert np.array_equal(resample(labels, shape, moved, 0).data, exact)


def test_a_label_whose_header_contradicts_itself_is_turned_with_its_image_where_it_goes_by_index(tmp_path):
    labels = labels_of((10, 12, 8))
    found = case(tmp_path, t1=(image(),), label=(labels,))
    content = bytearray(gzip.decompress(Path(found.files["label"]).read_bytes()))
    content[80:92] = np.full(3, 2, "<f4").tobytes()  # pixdim
    Path(found.files["label"]).write_bytes(gzip.compress(content))
    refused = regrid_case(found, Grid(orientation="RAS"), "error", tmp_path / "a")
    assert refused.files["label"] == found.files["label"]  # checking it says what is wrong
    taken = regrid_case(found, Grid(orientation="RAS"), "use_image_header", tmp_path / "b")
    assert [problem["severity"] for problem in taken.problems] == ["warning"]
    assert "voxels of 1 x 1 x 1 mm by the sform and 2 x 2 x 2 mm by pixdim" in taken.problems[0]["found"]
    assert np.array_equal(read_volume(taken.files["label"]).data[::-1, ::-1], labels)
