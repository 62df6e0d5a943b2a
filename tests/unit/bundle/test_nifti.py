"""NIfTI files without free text: the voxels and the geometry stay, the words go."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bundles import plant_header

from glioflow.bundle.nifti import clean_copy
from glioflow.console import UserError

AFFINE = np.array([[-1.5, 0, 0, 3], [0, -1, 0, 11], [0, 0, 2, 0], [0, 0, 0, 1]])


def make(path: Path, kind: type) -> Path:
    nib.save(kind(np.arange(120, dtype=np.int16).reshape(4, 5, 6), AFFINE), path)
    return path


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nii"])
@pytest.mark.parametrize("extension", [True, False])
def test_the_words_go_and_the_voxels_stay(tmp_path, name, extension):
    source = make(tmp_path / name, nib.Nifti1Image)
    plant_header(source, extension=extension)
    clean_copy(source, tmp_path / f"clean_{name}")
    before, after = nib.load(source), nib.load(tmp_path / f"clean_{name}")
    assert np.array_equal(before.dataobj, after.dataobj) and np.array_equal(before.affine, after.affine)
    content = (tmp_path / f"clean_{name}").read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    assert not any(word in content for word in (b"Rossi", b"jane", b"MRN8801"))
    assert not after.header.extensions


def test_nifti_2_as_well(tmp_path):
    source = make(tmp_path / "x.nii", nib.Nifti2Image)
    image = nib.load(source)
    image.header["descrip"] = b"Mario Rossi"
    nib.save(nib.Nifti2Image(np.asarray(image.dataobj), image.affine, image.header), tmp_path / "y.nii")
    clean_copy(tmp_path / "y.nii", tmp_path / "z.nii")
    assert np.array_equal(nib.load(tmp_path / "z.nii").dataobj, image.dataobj)
    assert b"Rossi" in (tmp_path / "y.nii").read_bytes() and b"Rossi" not in (tmp_path / "z.nii").read_bytes()


def test_the_same_voxels_give_the_same_bytes_whatever_the_file_was_called(tmp_path):
    one, other = make(tmp_path / "one.nii.gz", nib.Nifti1Image), make(tmp_path / "jane.nii.gz", nib.Nifti1Image)
    plant_header(other)
    clean_copy(one, tmp_path / "a.nii.gz")
    clean_copy(other, tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_what_is_no_nifti_does_not_go_along(tmp_path):
    (tmp_path / "x.nii").write_bytes(b"Mario Rossi" * 100)
    with pytest.raises(UserError, match="is no NIfTI file"):
        clean_copy(tmp_path / "x.nii", tmp_path / "y.nii")
    assert not (tmp_path / "y.nii").exists()
