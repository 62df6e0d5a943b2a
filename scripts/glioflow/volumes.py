"""The one reader and writer of image volumes.

Arrays are in NIfTI order (x, y, z) as stored on disk; spacing is in mm per array axis; an affine takes voxel indices to
millimetres in RAS+ space.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from glioflow.console import UserError
from glioflow.files import PathLike, replacing

# Largest difference between two affines, in mm at any corner of the volume, that is taken for rounding of the header's
# 32-bit floats rather than for another position.
AFFINE_TOLERANCE_MM = 1e-2


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
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def diagonal_mm(self) -> float:
        """Length of the volume's space diagonal in mm, from edge to edge of its voxels."""
        return float(np.linalg.norm(np.multiply(self.data.shape, self.spacing)))


def read_volume(path: PathLike) -> Volume:
    """Read a 3D NIfTI file, in its stored type (scaled to float where the header scales).

    Raises ``UnreadableVolumeError`` where the file is missing, empty, truncated, corrupt, not an image or not 3D.
    """
    try:
        image = nib.load(path)
        data = np.asanyarray(image.dataobj)  # type: ignore[attr-defined]
    except FileNotFoundError:
        raise UnreadableVolumeError(f"{path}: no such file") from None
    except (ImageFileError, OSError, EOFError, zlib.error, ValueError) as error:
        reason = "the file is empty" if Path(path).stat().st_size == 0 else str(error).strip().split("\n")[0]
        raise UnreadableVolumeError(f"{path}: cannot be read as a NIfTI image ({reason})") from None
    if data.ndim != 3:
        raise UnreadableVolumeError(f"{path}: has {data.ndim} dimensions {data.shape}; a volume of 3 is needed")
    return Volume(data, np.asarray(image.affine, np.float64))  # type: ignore[attr-defined]


def read_labels(path: PathLike) -> Volume:
    """Read a canonical label map written by ``write_labels`` as uint8.

    Raises ``UnreadableVolumeError`` also where a value is not a whole number from 0 to 255, instead of rounding or wrapping it.
    """
    volume = read_volume(path)
    with np.errstate(invalid="ignore"):
        labels = volume.data.astype(np.uint8)
    if not np.array_equal(labels, volume.data):
        raise UnreadableVolumeError(f"{path}: holds values that are not whole numbers from 0 to 255; labels are")
    return Volume(labels, volume.affine)


def write_volume(path: PathLike, volume: Volume) -> None:
    """Write ``volume`` as NIfTI-1 in its array's type, units mm, all or nothing."""
    image = nib.Nifti1Image(volume.data, volume.affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    image.header["descrip"] = b"glioflow"
    with replacing(path) as temporary:
        nib.save(image, temporary)


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
