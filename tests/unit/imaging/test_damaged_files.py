"""Damaged, hostile and huge files: each is refused with one kind of error that names it, before it fills the memory."""

import gzip
import pickle
import resource
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import save

from glioflow.console import Console, UserError
from glioflow.disk import LIMIT_VARIABLE
from glioflow.imaging.volumes import UnreadableVolumeError, read_labels, read_volume
from glioflow.models.predictions import drop_truncated
from glioflow.parallel import map_unordered


@pytest.fixture
def mask(tmp_path) -> Path:
    labels = np.random.default_rng(0).choice(4, (20, 24, 16), p=(0.9, 0.04, 0.03, 0.03)).astype(np.uint8)
    return save(tmp_path / "mask.nii.gz", labels)


def read_or_refuse(path: Path, whole: np.ndarray) -> bool:
    """Read a file that may be damaged; tell whether it was refused. What is read is what was written."""
    try:
        volume = read_volume(path)
    except UnreadableVolumeError as error:
        assert str(error).startswith(f"{path}: ")
        assert "; expected " in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        return True
    if volume.data.shape == whole.shape:
        assert np.array_equal(volume.data, whole)
    return False


def test_a_flipped_bit_of_a_packed_file_is_one_kind_of_error(mask):
    content, whole = mask.read_bytes(), np.asarray(nib.load(mask).dataobj)
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        mask.write_bytes(damaged)
        refused += read_or_refuse(mask, whole)
    assert refused > 350  # the rest say nothing: bits of gzip's header, or another place with the same run of voxels


def test_a_cut_file_and_one_with_foreign_bytes_are_refused(mask):
    content, whole = mask.read_bytes(), np.asarray(nib.load(mask).dataobj)
    for end in (1, 2, 9, 17, len(content) // 2, len(content) - 9, len(content) - 1):
        mask.write_bytes(content[:end])
        assert read_or_refuse(mask, whole), end
    mask.write_bytes(content + b"foreign")
    assert read_or_refuse(mask, whole)


def test_random_headers_meet_named_errors_only(tmp_path, mask):
    content, path = bytearray(gzip.decompress(mask.read_bytes())), tmp_path / "a.nii"
    rng = np.random.default_rng(2)
    for _ in range(2000):
        damaged = bytearray(content)
        for place in rng.integers(348, size=rng.integers(1, 6)):
            damaged[place] = rng.choice([0, 1, 127, 128, 255])
        path.write_bytes(damaged)
        try:
            read_labels(path)
        except UnreadableVolumeError:
            continue


@pytest.mark.parametrize("members", [1, 2, 5, 50])
def test_a_file_packed_in_parts_is_whole(mask, members):
    whole, raw = np.asarray(nib.load(mask).dataobj), gzip.decompress(mask.read_bytes())
    step = len(raw) // members + 1
    mask.write_bytes(b"".join(gzip.compress(raw[start : start + step]) for start in range(0, len(raw), step)) + bytes(512))
    assert not read_or_refuse(mask, whole)


def header_of(*shape: int, dtype: type = np.float64) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header["dim"] = [len(shape), *shape, *[1] * (7 - len(shape))]
    header["magic"], header["vox_offset"], header["pixdim"] = b"n+1", 352, 1
    return header.binaryblock + bytes(4)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def packed_zeros(start: bytes, size: int) -> bytes:
    """Return ``start`` and ``size`` zeros behind it, packed, without ever holding them."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(start), *(packer.compress(bytes(2**24)) for _ in range(size >> 24))]
    return b"".join([*parts, packer.flush()])


def test_a_header_that_announces_too_much_is_refused_before_anything_is_unpacked(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(packed_zeros(header_of(1000, 1000, 1000), 2**28))
    before = peak_mb()
    with pytest.raises(UnreadableVolumeError, match=r"announces 1000x1000x1000 voxels in 8\.0 GB; expected 2\.0 GB at most"):
        read_volume(path)
    assert peak_mb() - before < 100


def test_a_stream_that_holds_more_than_its_header_announces_is_left_there(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(packed_zeros(header_of(10, 10, 10), 2**30))
    before = peak_mb()
    with pytest.raises(UnreadableVolumeError, match=r"goes on after the 8\.4 kB that its header announces"):
        read_volume(path)
    assert peak_mb() - before < 100


def test_an_announced_size_beyond_any_number_is_refused(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(header_of(*[32767] * 7))
    with pytest.raises(UnreadableVolumeError, match="7 dimensions"):
        read_volume(path)
    path.write_bytes(header_of(32767, 32767, 32767))
    with pytest.raises(UnreadableVolumeError, match="voxels in 281"):
        read_volume(path)


def test_the_limit_is_the_studys(mask, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.000005")
    with pytest.raises(UnreadableVolumeError, match="raise largest_image_gb in the study") as caught:
        read_volume(mask)
    assert caught.value.problem == "too_large"
    monkeypatch.setenv(LIMIT_VARIABLE, "0.001")
    assert read_volume(mask).data.shape == (20, 24, 16)
    for nonsense in ("much", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(LIMIT_VARIABLE, nonsense)
        with pytest.raises(UserError, match=f"found '{nonsense}'; expected a number of gigabytes"):
            read_volume(mask)


def test_a_plain_file_is_asked_for_its_size_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.nii"
    with path.open("wb") as stream:
        stream.truncate(10**10)  # a file of holes
    with pytest.raises(UnreadableVolumeError, match=r"the file holds 10\.0 GB"):
        read_volume(path)


def test_an_error_of_reading_comes_back_from_another_process(tmp_path, mask):
    content = mask.read_bytes()
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").write_bytes(content[:60] + bytes(40) + content[100:])
    with pytest.raises(UnreadableVolumeError, match=r"/[ab]\.nii\.gz: cannot be read"):
        list(map_unordered(read_volume, [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"], 2))


def test_a_damaged_mask_never_blocks_a_resume(tmp_path, mask):
    content, whole, folder = mask.read_bytes(), np.asarray(nib.load(mask).dataobj), tmp_path / "made"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(60):
        damaged = bytearray(content)
        damaged[rng.integers(40, len(damaged))] ^= 1 << rng.integers(8)
        (folder / f"bad{number}.nii.gz").write_bytes(damaged)
    (folder / "good.nii.gz").write_bytes(content)
    drop_truncated(folder, Console())
    left = list(folder.iterdir())
    assert folder / "good.nii.gz" in left and len(left) < 20
    assert all(np.array_equal(read_volume(path).data, whole) for path in left)  # as where a flip repeats another equal run


def test_what_follows_the_voxels_may_be_padding_but_not_another_image(mask):
    whole, raw = np.asarray(nib.load(mask).dataobj), gzip.decompress(mask.read_bytes())
    mask.write_bytes(gzip.compress(raw + bytes(2**20)))
    assert not read_or_refuse(mask, whole)
    mask.write_bytes(gzip.compress(raw + bytes(2**20 + 1)))
    assert read_or_refuse(mask, whole)
    packed = bytearray(gzip.compress(raw + bytes(2**20)))
    packed[-6] ^= 1  # the checksum
    mask.write_bytes(packed)
    assert read_or_refuse(mask, whole)
