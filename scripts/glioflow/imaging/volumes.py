"""The one reader and writer of image volumes.

Arrays are in NIfTI order (x, y, z) as stored on disk; spacing is in mm per array axis; an affine takes voxel indices to
millimetres in RAS+ space.
"""

import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from glioflow.console import UserError
from glioflow.files import PathLike, replacing

# Largest difference between two affines, in mm at any corner of the volume, that is taken for rounding of the header's
# 32-bit floats rather than for another position.
AFFINE_TOLERANCE_MM = 1e-2
SMALLEST_VOXEL_MM3 = 1e-9  # an affine with less is taken for singular
COMPRESSION = 2  # igzip's level: label maps come out smaller than at 3, its highest, and 20 times as fast
GZIP_MAGIC = b"\x1f\x8b"
NIFTI2_HEADER_BYTES = 540  # size of a NIfTI-2 header; NIfTI-1 has 348 (nifti2.h)
NIFTI_STARTS = tuple(size.to_bytes(4, order) for size in (348, NIFTI2_HEADER_BYTES) for order in ("little", "big"))


class UnreadableVolumeError(UserError):
    """A file that is not a readable 3D image; the message says why."""


@dataclass(frozen=True)
class Volume:
    """A 3D image: ``data`` (x, y, z), ``affine`` (4, 4) voxel to mm, ``spacing`` mm per axis."""

    data: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edge lengths in mm along x, y and z."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    @property
    def is_placed(self) -> bool:
        """Whether the affine is finite and invertible, so that the voxels have a place."""
        return bool(np.isfinite(self.affine).all() and abs(np.linalg.det(self.affine[:3, :3])) >= SMALLEST_VOXEL_MM3)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0


def read_volume(path: PathLike) -> Volume:
    """Read a 3D NIfTI file, in its stored type (scaled to float where the header scales).

    Raises ``UnreadableVolumeError`` where the file is missing, empty, truncated, corrupt, not an image or not 3D.
    """
    return parse_volume(path, read_bytes(path))


def read_bytes(path: PathLike) -> bytes:
    """Return the content of an image file as it is stored. Raises ``UnreadableVolumeError`` where there is none."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UnreadableVolumeError(f"{path}: no such file") from None
    except OSError as error:
        raise UnreadableVolumeError(f"{path}: cannot be read ({error.strerror})") from None


def parse_volume(path: PathLike, content: bytes, dimensions: int = 3) -> Volume:
    """Return the volume that the bytes of the NIfTI file ``path`` hold; the path is for the message only.

    Raises ``UnreadableVolumeError`` where they are not a whole image of this many dimensions.
    """
    return _volume_of(path, parse_image(path, content), dimensions)


def _volume_of(path: PathLike, image: Any, dimensions: int = 3) -> Volume:
    """Return the volume of nibabel's image of a file. Raises ``UnreadableVolumeError``."""
    try:
        data = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, MemoryError, OverflowError) as error:
        reason = _first_line(error) or type(error).__name__
        raise UnreadableVolumeError(f"{path}: cannot be read as a NIfTI image ({reason})") from None
    if data.dtype.kind not in "iuf":
        raise UnreadableVolumeError(f"{path}: has voxels of the type {data.dtype}; whole or real numbers are needed")
    if data.ndim != dimensions:
        raise UnreadableVolumeError(f"{path}: has {data.ndim} dimensions {data.shape}; a volume of {dimensions} is needed")
    return Volume(data, np.asarray(image.affine, np.float64))


def parse_image(path: PathLike, content: bytes) -> Any:
    """Return nibabel's image of the bytes of a NIfTI file, decompressed. Raises ``UnreadableVolumeError``."""
    if not content:
        raise UnreadableVolumeError(f"{path}: cannot be read as a NIfTI image (the file is empty)")
    packed, plain = content[:2] == GZIP_MAGIC, content[:4] in NIFTI_STARTS
    if packed and not str(path).endswith(".gz"):
        raise UnreadableVolumeError(f"{path}: its content is gzip-compressed; its name must end in .nii.gz")
    if plain and str(path).endswith(".gz"):
        raise UnreadableVolumeError(f"{path}: its content is not gzip-compressed; its name must end in .nii")
    try:
        raw = igzip.decompress(content) if packed else content  # type: ignore[no-untyped-call]
        kind = nib.Nifti2Image if raw[:4] in NIFTI_STARTS[2:] else nib.Nifti1Image
        return kind.from_bytes(raw)
    except (ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, zlib.error, ValueError) as error:
        raise UnreadableVolumeError(f"{path}: cannot be read as a NIfTI image ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def read_labels(path: PathLike) -> Volume:
    """Read a canonical label map written by ``write_labels`` as uint8; its array cannot be written to.

    Raises ``UnreadableVolumeError`` also where a value is not a whole number from 0 to 255, instead of rounding or wrapping it.
    """
    image = parse_image(path, read_bytes(path))
    if (labels := _stored_labels(image)) is not None:
        return Volume(labels, np.asarray(image.affine, np.float64))
    volume = _volume_of(path, image)
    with np.errstate(invalid="ignore"):
        labels = volume.data.astype(np.uint8)
    if not np.array_equal(labels, volume.data):
        raise UnreadableVolumeError(f"{path}: holds values that are not whole numbers from 0 to 255; labels are")
    labels.flags.writeable = False
    return Volume(labels, volume.affine)


def _stored_labels(image: Any) -> NDArray[np.uint8] | None:
    """Return the voxels of nibabel's image as they lie in its bytes, None where they are not all there, or not 3D uint8.

    Neither copied nor converted: on a label map the copy takes as long as the decompression.
    """
    stored = image.dataobj
    if stored.dtype != np.uint8 or (stored.slope, stored.inter) != (1, 0) or len(stored.shape) != 3:
        return None
    content = image.file_map["image"].fileobj.getvalue()
    if len(content) < stored.offset + prod(stored.shape):
        return None
    return np.frombuffer(content, np.uint8, prod(stored.shape), stored.offset).reshape(stored.shape, order="F")


def write_volume(path: PathLike, volume: Volume) -> None:
    """Write ``volume`` as NIfTI-1 in its array's type, units mm, all or nothing."""
    image = nib.Nifti1Image(volume.data, volume.affine, dtype=volume.data.dtype)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    image.header["descrip"] = b"glioflow"
    content = image.to_bytes()
    with replacing(path) as temporary:
        temporary.write_bytes(pack(content) if str(path).endswith(".gz") else content)


def pack(content: bytes) -> bytes:
    """Return the bytes of a .nii file as those of a .nii.gz file; the same bytes every time."""
    return bytes(igzip.compress(content, COMPRESSION, mtime=0))


def affine_distance_mm(a: Volume, b: Volume) -> float:
    """Return the largest distance in mm between where two affines put the same corner voxel of the volume ``a``."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.data.shape], [1.0], indexing="ij")).reshape(4, -1)
    return float(np.linalg.norm(((a.affine - b.affine) @ corners)[:3], axis=0).max())


def same_geometry(a: Volume, b: Volume) -> bool:
    """Tell whether two volumes have one shape and, within ``AFFINE_TOLERANCE_MM``, one place in space."""
    return a.data.shape == b.data.shape and affine_distance_mm(a, b) <= AFFINE_TOLERANCE_MM


def orientation(volume: Volume) -> str:
    """Return the axis codes of a volume, such as ``LPS``."""
    return "".join(nib.orientations.aff2axcodes(volume.affine))  # type: ignore[no-untyped-call]
