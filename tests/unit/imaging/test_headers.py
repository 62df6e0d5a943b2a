"""What a header says, held against SimpleITK, which nnU-Net reads with: every way in which NIfTI can state place and scale."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from conftest import save

from glioflow.evaluation.scoring import geometry_problems
from glioflow.imaging.volumes import UnreadableVolumeError, Volume, read_volume

DATA = np.arange(1, 25, dtype=np.int16).reshape(2, 3, 4)
PLACE = np.array([[2.0, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def turned(degrees: float) -> np.ndarray:
    """Return ``PLACE`` with its axes turned about z, and tilted a little."""
    a, b = np.radians(degrees), np.radians(11)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = PLACE.copy()
    affine[:3, :3] = about_z @ about_x @ PLACE[:3, :3]
    return affine


def write(path: Path, affine: np.ndarray = PLACE, order: str = "<", pixdim: dict | None = None, **fields) -> Path:
    """Write ``DATA`` with one affine as sform, qform and pixdim, in mm, and then these fields of the header as they are."""
    image = nib.Nifti1Image(DATA, affine, nib.Nifti1Header(endianness=order))
    image.set_data_dtype(np.int16)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    content = bytearray(image.to_bytes())
    header = np.frombuffer(content[:348], nib.nifti1.header_dtype.newbyteorder(order)).copy()
    for name, value in fields.items():
        header[name] = value
    for index, value in (pixdim or {}).items():
        header["pixdim"][0, index] = value
    content[:348] = header.tobytes()
    path.write_bytes(content)
    return path


def itk_reading(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return what SimpleITK reads: voxels (x, y, z), and the affine in RAS+."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, LPS_TO_RAS @ affine


def rows(affine: np.ndarray) -> dict:
    return {f"srow_{axis}": affine[index] for index, axis in enumerate("xyz")}


# Headers that every reader reads alike in the end: what is written into one that is sound.
AGREED = {
    "plain": {},
    "no qform": {"qform_code": 0},
    "no sform": {"sform_code": 0},
    "neither": {"qform_code": 0, "sform_code": 0},
    "qfac 0": {"sform_code": 0, "pixdim": {0: 0.0}},
    "qfac 3": {"sform_code": 0, "pixdim": {0: 3.0}},
    "qfac -1": {"sform_code": 0, "pixdim": {0: -1.0}},
    "qfac NaN": {"sform_code": 0, "pixdim": {0: np.nan}},
    "codes of no meaning": {"sform_code": 7, "qform_code": 9},
    "negative codes": {"sform_code": -1},
    "units unknown": {"xyzt_units": 0},
    "units of no meaning": {"xyzt_units": 7},
    "units in seconds too": {"xyzt_units": 10},
    "micrometres": {"xyzt_units": 3, **rows(np.diag([1000.0, 1000, 1000, 1]) @ PLACE), "pixdim": {1: 2e3, 2: 2e3, 3: 3e3},
                    **dict(zip(("qoffset_x", "qoffset_y", "qoffset_z"), (5e3, 6e3, 7e3), strict=True))},
    "metres": {"xyzt_units": 1, **rows(np.diag([0.001, 0.001, 0.001, 1]) @ PLACE), "pixdim": {1: 2e-3, 2: 2e-3, 3: 3e-3},
               **dict(zip(("qoffset_x", "qoffset_y", "qoffset_z"), (5e-3, 6e-3, 7e-3), strict=True))},
    "big endian": {"order": ">"},
    "a trailing axis of one": {"dim": [4, 2, 3, 4, 1, 1, 1, 1]},
    "four trailing axes of one": {"dim": [7, 2, 3, 4, 1, 1, 1, 1]},
    "sizes behind the last axis": {"dim": [3, 2, 3, 4, 5, 6, 7, 8]},
    "slope 0": {"scl_slope": 0, "scl_inter": 0},
    "slope NaN": {"scl_slope": np.nan, "scl_inter": np.nan},
    "slope infinite": {"scl_slope": np.inf, "scl_inter": 0},
    "a scaling": {"scl_slope": 2, "scl_inter": 1},
    "a negative slope": {"scl_slope": -1, "scl_inter": 0},
    "an intent": {"intent_code": 1007},
    "a byte and a half": {"vox_offset": 352.5},
    "bitpix of another type": {"bitpix": 8},
    "the mark of a pair of files": {"magic": b"ni1"},
    "dim_info": {"dim_info": 57},
    "oblique": {"affine": turned(30)},
    "oblique, no qform": {"affine": turned(30), "qform_code": 0},
    "oblique, no sform": {"affine": turned(-170), "sform_code": 0},
    "half a turn, where a quaternion rounds": {"affine": turned(179.99), "sform_code": 2},
    "slightly apart, by the scanner's": {**rows(PLACE + 0.01 * np.eye(4)[:, [3, 3, 3, 0]]), "sform_code": 1},
    "slightly apart, aligned": {**rows(PLACE + 0.05 * np.eye(4)[:, [3, 3, 3, 0]]), "sform_code": 2},
    "pixdim that is rounded": {"qform_code": 0, "pixdim": {3: 3.05}},
}  # fmt: skip


@pytest.mark.parametrize("name", AGREED)
def test_a_header_is_read_as_simpleitk_reads_it(tmp_path, name):
    path = write(tmp_path / "a.nii", **AGREED[name])
    volume = read_volume(path)
    voxels, affine = itk_reading(path)
    assert volume.misplaced == ""
    assert np.array_equal(volume.data, voxels)
    assert np.allclose(volume.affine, affine, atol=2e-3)
    assert volume.spacing == pytest.approx(np.linalg.norm(affine[:3, :3], axis=0), abs=2e-3)


# Headers that readers would not agree on, and words of what is said.
SHEARED = PLACE @ np.array([[1, 0.15, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
CONTRADICTORY = {
    "half the size by the sform": (rows(np.diag([1.0, 1, 1, 1])), "voxels of 1 x 1 x 1 mm by the sform and 2 x 2 x 3 mm by"),
    "half the size, no qform": ({**rows(np.eye(4)), "qform_code": 0}, "voxels of 1 x 1 x 1 mm by the sform and 2 x 2 x 3 mm"),
    "12.7 mm apart": (rows(PLACE + 12.7 * np.eye(4)[:, [3, 3, 3, 0]]), "sform and qform that put a corner 12.7 mm apart"),
    "12.7 mm apart, aligned": ({**rows(PLACE + 12.7 * np.eye(4)[:, [3, 3, 3, 0]]), "sform_code": 2}, "corner 12.7 mm apart"),
    "mirrored": (rows(PLACE * [[-1], [1], [1], [1]]), "sform and qform that put a corner"),
    "sheared": ({**rows(SHEARED), "qform_code": 0}, "a sheared sform, two axes at 81.47 degrees"),
    "sheared, sound qform": (rows(SHEARED), "a sheared sform"),
    "hardly sheared": ({"srow_x": [2, 0.001, 0, 5], "qform_code": 0}, "a sheared sform, two axes at 89.97 degrees"),
    "sform of zeros": (rows(np.zeros((4, 4))), "an sform that is not finite or not invertible"),
    "sform NaN": ({"srow_x": np.nan}, "an sform that is not finite"),
    "sform NaN, no qform": ({"srow_x": np.nan, "qform_code": 0}, "an sform that is not finite"),
    "pixdim negative": ({"pixdim": {1: -2.0}}, "voxel sizes of -2 x 2 x 3 mm (pixdim)"),
    "pixdim negative, alone": ({"pixdim": {1: -2.0}, "qform_code": 0, "sform_code": 0}, "voxel sizes of -2 x 2 x 3 mm"),
    "pixdim zero": ({"pixdim": {3: 0.0}, "sform_code": 0}, "voxel sizes of 2 x 2 x 0 mm"),
    "pixdim NaN": ({"pixdim": {2: np.nan}, "qform_code": 0}, "voxel sizes of 2 x nan x 3 mm"),
    "pixdim infinite": ({"pixdim": {2: np.inf}}, "voxel sizes of 2 x inf x 3 mm"),
    "quaternion too long": ({"quatern_b": 0.8, "quatern_c": 0.8, "quatern_d": 0, "sform_code": 0}, "is longer than 1"),
    "quaternion too long beside an sform": ({"quatern_b": 0.8, "quatern_c": 0.8, "quatern_d": 0}, "is longer than 1"),
    "quaternion NaN": ({"quatern_b": np.nan, "sform_code": 0}, "a qform that is not finite"),
    "offset NaN": ({"qoffset_x": np.nan, "sform_code": 0}, "a qform that is not finite"),
    "metres of mm": ({"xyzt_units": 1}, "voxels of 2000 x 2000 x 3000 mm, as pixdim gives them in metres"),
    "micrometres of mm": ({"xyzt_units": 3}, "voxels of 0.002 x 0.002 x 0.003 mm, as pixdim gives them in micrometres"),
}


@pytest.mark.parametrize("name", CONTRADICTORY)
def test_a_header_that_contradicts_itself_is_not_trusted(tmp_path, name):
    fields, words = CONTRADICTORY[name]
    volume = read_volume(write(tmp_path / "a.nii", **fields))
    assert not volume.is_placed
    assert words in volume.misplaced
    assert np.array_equal(volume.data, DATA)


UNREADABLE = {
    "voxels within the header": ({"vox_offset": 0}, "voxels that begin at byte 0"),
    "voxels at no byte": ({"vox_offset": np.inf}, "voxels that begin at byte inf"),
    "voxels at NaN": ({"vox_offset": np.nan}, "voxels that begin at byte nan"),
    "voxels before the file": ({"vox_offset": -8}, "voxels that begin at byte -8"),
    "voxels behind the end": ({"vox_offset": 360}, "it ends after 400 of 408 bytes"),
    "Analyze": ({"magic": b""}, "an Analyze 7.5 or a damaged file"),
    "no dimension": ({"dim": [0, 2, 3, 4, 1, 1, 1, 1]}, r"the dimensions \[0, 2, 3, 4"),
    "nine dimensions": ({"dim": [9, 2, 3, 4, 1, 1, 1, 1]}, r"the dimensions \[9, 2, 3, 4"),
    "a negative dimension": ({"dim": [3, 2, -3, 4, 1, 1, 1, 1]}, r"the dimensions \[3, 2, -3, 4"),
    "two negative dimensions": ({"dim": [3, -2, -3, 4, 1, 1, 1, 1]}, r"the dimensions \[3, -2, -3, 4"),
    "an empty dimension": ({"dim": [3, 2, 0, 4, 1, 1, 1, 1]}, r"the dimensions \[3, 2, 0, 4"),
    "two dimensions": ({"dim": [2, 2, 3, 1, 1, 1, 1, 1]}, r"has 2 dimensions \(2, 3\)"),
    "no type": ({"datatype": 0}, r"voxels of the type 0 \(none\)"),
    "an unknown type": ({"datatype": 5}, r"voxels of the type 5 \(no known type\)"),
    "colours": ({"datatype": 128}, r"voxels of the type 128 \(RGB\)"),
    "complex numbers": ({"datatype": 32}, r"voxels of the type 32 \(complex64\)"),
    "128 bits": ({"datatype": 1536}, r"voxels of the type 1536"),
    "slope 0 with an intercept": ({"scl_slope": 0, "scl_inter": 5}, "which SimpleITK adds to every voxel"),
    "slope NaN with an intercept": ({"scl_slope": np.nan, "scl_inter": 5}, "which SimpleITK adds to every voxel"),
    "an intercept that is none": ({"scl_slope": 2, "scl_inter": np.nan}, "with an intercept of nan"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_header_from_which_no_voxel_can_be_read_says_why(tmp_path, name):
    fields, words = UNREADABLE[name]
    with pytest.raises(UnreadableVolumeError, match=words):
        read_volume(write(tmp_path / "a.nii", **fields))


def test_a_header_without_axes_says_so(tmp_path):
    assert not read_volume(write(tmp_path / "a.nii", qform_code=0, sform_code=0)).header.oriented
    assert read_volume(write(tmp_path / "a.nii", qform_code=0)).header.oriented


def test_nifti_2_is_read_though_not_by_nnunet(tmp_path):
    nib.save(nib.Nifti2Image(DATA, PLACE), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert (volume.header.version, volume.misplaced) == (2, "")
    assert np.array_equal(volume.data, DATA)
    with pytest.raises(RuntimeError):
        sitk.ReadImage(str(tmp_path / "a.nii.gz"))


def test_an_extension_of_the_header_is_passed_over(tmp_path):
    image = nib.Nifti1Image(DATA, PLACE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a word " * 30))
    nib.save(image, tmp_path / "a.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").data, DATA)


def test_whatever_is_trusted_is_what_simpleitk_reads(tmp_path):
    """Random statements of place: either they are refused, or both readers find one place and one size."""
    rng = np.random.default_rng(0)
    trusted = 0
    for _ in range(300):
        place = turned(rng.uniform(-180, 180))
        place[:3, :3] *= rng.choice([1.0, 0.5, 10.0])
        stated = place.copy()
        stated[:3, 3] += rng.choice([0, 1e-6, 1e-4, 1e-2, 0.3]) * rng.normal(size=3)
        stated[:3, :3] *= 1 + rng.choice([0, 1e-7, 1e-4, 0.05]) * rng.normal(size=(3, 3))
        codes = {"sform_code": rng.integers(0, 5), "qform_code": rng.integers(0, 5), "xyzt_units": rng.choice([0, 1, 2, 3])}
        path = write(tmp_path / "a.nii", place, pixdim={0: rng.choice([0.0, 1.0, -1.0])}, **rows(stated), **codes)
        volume = read_volume(path)
        if volume.is_placed:
            trusted += 1
            assert np.abs((volume.affine - itk_reading(path)[1]) @ [1, 2, 3, 1]).max() < 1e-2
    assert 50 < trusted < 250


def test_every_real_header_is_trusted(real_data):
    for path in sorted(real_data.rglob("*.nii.gz")):
        assert read_volume(path).misplaced == "", path


def test_a_mask_whose_header_contradicts_itself_is_not_compared_by_place(tmp_path):
    truth = Volume(DATA, PLACE)
    mask = read_volume(write(tmp_path / "a.nii", pixdim={1: 1.0, 2: 1.0, 3: 1.0}))
    (problem,) = geometry_problems(truth, mask, "; or by index")
    assert problem.startswith("found a header with voxels of 2 x 2 x 3 mm by the sform and 1 x 1 x 1 mm by pixdim")
    assert problem.endswith("; or by index")


def test_a_scaling_gives_what_nibabel_gives(tmp_path):
    path = write(tmp_path / "a.nii", scl_slope=0.1, scl_inter=-3.7)
    expected = np.asanyarray(nib.load(path).dataobj)
    assert np.array_equal(read_volume(path).data, expected)
    assert read_volume(path).data.dtype == expected.dtype


def test_save_and_read_agree_on_any_type(tmp_path):
    for dtype in (np.uint8, np.int16, np.int32, np.float32, np.float64, np.uint16):
        path = save(tmp_path / "a.nii.gz", DATA.astype(dtype), turned(40))
        assert np.array_equal(read_volume(path).data, DATA)
        assert read_volume(path).data.dtype == dtype
        assert np.allclose(read_volume(path).affine, nib.load(path).affine)
