import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import AFFINE, save

from glioflow.imaging.labels import (
    REGIONS,
    UnknownLabelsError,
    canonical_labels,
    fitting_schemes,
    region_mask,
    scheme_regions,
    visible_regions,
)
from glioflow.imaging.volumes import (
    UnreadableVolumeError,
    Volume,
    affine_distance_mm,
    orientation,
    read_labels,
    read_volume,
    same_geometry,
    write_volume,
)
from glioflow.study.registry import label_schemes


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([1, 2, 3], ["WT", "TC", "ET", "ED", "NCR"]),
        ([1, 2, 3, 4], list(REGIONS)),
        ([2], ["WT"]),
        ([2, 4], ["WT", "RC"]),
        ([2, 3], ["WT", "TC", "ET", "ED"]),
    ],
)
def test_what_labels_can_show(labels, shown):
    assert scheme_regions(labels) == shown


def test_regions_are_those_of_brats():
    labels = np.array([0, 1, 2, 3, 4], np.uint8)
    masks = {region: region_mask(labels, region).astype(int).tolist() for region in REGIONS}
    assert masks == {
        "WT": [0, 1, 1, 1, 0],
        "TC": [0, 1, 0, 1, 0],
        "ET": [0, 0, 0, 1, 0],
        "ED": [0, 0, 1, 0, 0],
        "NCR": [0, 1, 0, 0, 0],
        "RC": [0, 0, 0, 0, 1],
    }


@pytest.mark.parametrize(
    ("trained", "visible"),
    [
        (["WT"], ["WT"]),
        (["WT", "ET"], ["WT", "ET"]),
        (["WT", "TC"], ["WT", "TC", "ED"]),
        (["TC", "ET"], ["TC", "ET", "NCR"]),
        (["WT", "TC", "ET"], ["WT", "TC", "ET", "ED", "NCR"]),
        (["ED", "NCR", "ET"], ["WT", "TC", "ET", "ED", "NCR"]),
        (["ET", "RC"], ["ET", "RC"]),
        (["WT", "TC", "ET", "RC"], list(REGIONS)),
        ([], []),
    ],
)
def test_a_model_shows_the_regions_made_of_whole_parts_of_its_own(trained, visible):
    assert visible_regions(trained, REGIONS) == visible
    assert visible_regions(trained[::-1], ["ET", "WT"]) == [r for r in ("ET", "WT") if r in visible]


@pytest.mark.parametrize(
    ("scheme", "raw", "canonical"),
    [
        ("brats2021", [0, 1, 2, 4], [0, 1, 2, 3]),
        ("brats2023", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("msd_task01", [0, 1, 2, 3], [0, 2, 1, 3]),
        ("et_ncr_ed", [0, 1, 2, 3], [0, 3, 1, 2]),
        ("canonical", [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
    ],
)
def test_each_scheme_brings_its_raw_values_to_canonical_ones(scheme, raw, canonical):
    labels, voxels = canonical_labels(np.array(raw, np.float32), label_schemes()[scheme])
    assert labels.tolist() == canonical
    assert voxels == dict.fromkeys(canonical[1:], 1)


def test_a_value_outside_the_scheme_is_never_background():
    raw = np.array([0.0, 3.0, 1.004, np.nan])
    with pytest.raises(UnknownLabelsError, match="not in the label scheme") as caught:
        canonical_labels(raw, label_schemes()["brats2021"])
    assert caught.value.unknown[:2] == [1.004, 3.0]


@pytest.mark.parametrize("raw", [np.array([256, 1]), np.array([-1, 2]), np.array([3, 4], np.uint8), np.array([2.5])])
def test_values_that_would_wrap_or_round_into_the_scheme_are_refused(raw):
    with pytest.raises(UnknownLabelsError):
        canonical_labels(raw, label_schemes()["brats2021"])


def test_labels_keep_the_memory_order_and_the_place_of_every_voxel():
    raw = np.asfortranarray(np.random.default_rng(0).choice([0, 1, 2, 4], (4, 5, 6)).astype(np.int16))
    labels, voxels = canonical_labels(raw, label_schemes()["brats2021"])
    assert labels.flags.f_contiguous
    assert np.array_equal(labels, np.select([raw == 4], [3], raw))
    assert voxels == {label: int((labels == label).sum()) for label in (1, 2, 3)}


def test_the_schemes_that_would_fit_are_named():
    assert fitting_schemes([0, 1, 2, 4], label_schemes()) == ["canonical", "brats2021", "brats2024"]
    assert fitting_schemes([0, 7], label_schemes()) == []


def test_a_volume_comes_back_as_it_was_written(tmp_path):
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    write_volume(tmp_path / "a.nii.gz", Volume(data, AFFINE))
    back = read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(back.data, data)
    assert back.data.dtype == np.int16
    assert np.array_equal(back.affine, AFFINE)
    assert nib.load(tmp_path / "a.nii.gz").header.get_xyzt_units()[0] == "mm"


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, Volume(np.ones((2, 3, 4), np.uint8), AFFINE))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_file_with_this_content_stays_however_it_is_packed(tmp_path):
    path, volume = tmp_path / "a.nii.gz", Volume(np.ones((20, 30, 40), np.uint8), AFFINE)
    write_volume(path, volume)
    written = path.read_bytes()
    other = gzip.compress(gzip.decompress(written), 9)
    assert other != written
    for present, expected in ((other, other), (other[:-9], written), (b"no gzip", written), (b"", written)):
        path.write_bytes(present)
        write_volume(path, volume)
        assert path.read_bytes() == expected
    write_volume(path, Volume(volume.data * np.uint8(2), AFFINE))
    assert read_volume(path).data.max() == 2


def test_spacing_and_volume_follow_the_affine():
    affine = np.array([[0, -2.0, 0, 5], [1.0, 0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    volume = Volume(np.zeros((4, 3, 2), np.uint8), affine)
    assert volume.spacing == (1.0, 2.0, 3.0)
    assert volume.voxel_ml == pytest.approx(0.006)
    assert orientation(volume) == "ALS"


def test_geometry_is_compared_at_the_corners():
    volume = Volume(np.zeros((11, 5, 5), np.uint8), np.eye(4))
    sheared = np.eye(4)
    sheared[1, 0] = 0.1  # moves the far corner, ten voxels along x, by 1 mm in y
    assert affine_distance_mm(volume, Volume(volume.data, sheared)) == pytest.approx(1.0)
    assert not same_geometry(volume, Volume(volume.data, sheared))
    rounded = np.eye(4)
    rounded[0, 3] = 1e-4
    assert same_geometry(volume, Volume(volume.data, rounded))
    assert not same_geometry(volume, Volume(np.zeros((11, 5, 6), np.uint8), np.eye(4)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"not a nifti", "cannot be read"), (gzip.compress(b"x" * 400), "cannot be read")],
    ids=["empty", "text", "packed text"],
)
def test_what_is_no_image_says_why(tmp_path, content, reason):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableVolumeError, match=reason):
        read_volume(path)


def test_a_truncated_gzip_is_found(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 9, (20, 20, 20)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableVolumeError, match="cannot be read"):
        read_volume(path)


def test_a_4d_image_is_refused_with_its_shape(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.zeros((2, 3, 4, 5), np.uint8))
    with pytest.raises(UnreadableVolumeError, match=r"4 dimensions \(2, 3, 4, 5\)"):
        read_volume(path)


def test_a_missing_file_is_named():
    with pytest.raises(UnreadableVolumeError, match="no such file"):
        read_volume(Path("no/such.nii"))


NUMBERED = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)  # every voxel another value, so that a wrong order shows


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_labels_are_uint8_whatever_they_are_stored_as(tmp_path, dtype, name):
    read = read_labels(save(tmp_path / name, NUMBERED.astype(dtype)))
    assert read.data.dtype == np.uint8
    assert np.array_equal(read.data, NUMBERED)
    assert np.array_equal(read.affine, AFFINE)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_labels_cannot_be_written_to(tmp_path, dtype):
    with pytest.raises(ValueError, match="read-only"):
        read_labels(save(tmp_path / "a.nii.gz", NUMBERED.astype(dtype))).data[0, 0, 0] = 1


def save_scaled(path: Path, slope: float, inter: float) -> Path:
    """Write ``NUMBERED`` with a scaling in its header, which is ``slope * stored + inter``."""
    image = nib.Nifti1Image(NUMBERED, AFFINE)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([slope, inter], "<f4").tobytes()  # scl_slope and scl_inter of nifti1.h
    path.write_bytes(content)
    return path


def test_scaled_labels_are_scaled(tmp_path):
    assert np.array_equal(read_labels(save_scaled(tmp_path / "a.nii", 2.0, 1.0)).data, 2 * NUMBERED + 1)


@pytest.mark.parametrize(("slope", "inter"), [(0.5, 0.0), (1.0, -1.0), (1.0, 240.0)], ids=["half", "below 0", "above 255"])
def test_scaled_labels_that_are_none_are_refused(tmp_path, slope, inter):
    with pytest.raises(UnreadableVolumeError, match="whole numbers from 0 to 255"):
        read_labels(save_scaled(tmp_path / "a.nii", slope, inter))


def test_labels_of_a_truncated_file_are_refused(tmp_path):
    path = save(tmp_path / "a.nii", NUMBERED)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnreadableVolumeError, match="it ends after 375 of 376 bytes"):
        read_labels(path)


def test_a_4d_label_map_is_refused(tmp_path):
    with pytest.raises(UnreadableVolumeError, match="4 dimensions"):
        read_labels(save(tmp_path / "a.nii.gz", np.zeros((2, 3, 4, 5), np.uint8)))
