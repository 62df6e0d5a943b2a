"""The one reader and writer of image volumes.

Arrays are in NIfTI order (x, y, z) as stored on disk; spacing is in mm per array axis; an affine takes voxel indices to
millimetres in RAS+ space.
"""

import gzip
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from glioflow.console import UserError
from glioflow.disk import LIMIT_VARIABLE, amount, largest_image_bytes
from glioflow.files import PathLike, replacing
from glioflow.imaging.headers import (
    AFFINE_TOLERANCE_MM,
    NIFTI2_BYTES,
    NIFTI_STARTS,
    SMALLEST_VOXEL_MM3,
    Header,
    HeaderError,
    corner_distance,
    parse_header,
)

COMPRESSION = 4  # zlib's level: label maps half the size of those at 1, images packed half as fast
GZIP_MAGIC = b"\x1f\x8b"
PIECE_BYTES = 2**17  # of a packed file that are unpacked at once
SLACK_BYTES = 2**20  # what may follow the voxels, such as padding
AGAIN = "a 3D NIfTI image (.nii or .nii.gz); copy or download the file again"


class UnreadableVolumeError(UserError):
    """A file that cannot be read as an image.

    ``problem`` is its kind in verification.csv, ``found`` is the reason, ``expected`` what would be right.
    """

    def __init__(self, path: PathLike, found: str, expected: str = AGAIN, problem: str = "unreadable") -> None:
        super().__init__(path, found, expected, problem)  # all of them, so that it survives the way from another process
        self.found, self.expected, self.problem = found, expected, problem

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.found}; expected {self.expected}"


@dataclass(frozen=True)
class Volume:
    """A 3D image: ``data`` (x, y, z), ``affine`` (4, 4) voxel to mm, and the ``header`` of the file it was read from."""

    data: NDArray[Any]
    affine: NDArray[np.float64]
    header: Header | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edge lengths in mm along x, y and z."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    @property
    def misplaced(self) -> str:
        """Why the affine cannot be trusted; empty where it can."""
        if self.header and self.header.contradictions:
            return f"a header with {'; and '.join(self.header.contradictions)}"
        placed = np.isfinite(self.affine).all() and abs(np.linalg.det(self.affine[:3, :3])) >= SMALLEST_VOXEL_MM3
        return "" if placed else "an affine that is not finite or not invertible"

    @property
    def is_placed(self) -> bool:
        """Whether the voxels have a place in mm on which every reader agrees."""
        return not self.misplaced

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0


def read_volume(path: PathLike) -> Volume:
    """Read a 3D NIfTI file, in its stored type (scaled to float where the header scales).

    Raises ``UnreadableVolumeError`` where the file is missing, empty, truncated, corrupt, too large, not an image or not 3D.
    """
    return parse_volume(path, read_bytes(path))


def read_bytes(path: PathLike) -> bytes:
    """Return the content of an image file as it is stored. Raises ``UnreadableVolumeError`` where there is none."""
    try:
        _refuse_large(path, Path(path).stat().st_size, "the file holds")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UnreadableVolumeError(path, "no such file", "one; is its path right?") from None
    except (OSError, MemoryError) as error:
        found = f"cannot be read ({getattr(error, 'strerror', None) or 'there is not memory enough'})"
        raise UnreadableVolumeError(path, found, "a file that this account can read") from None


def _refuse_large(path: PathLike, size: int, who: str) -> None:
    if size > (largest := largest_image_bytes()):
        expected = (
            f"{amount(largest)} at most; where such images are meant, raise largest_image_gb in the study (by hand: "
            f"${LIMIT_VARIABLE})"
        )
        raise UnreadableVolumeError(path, f"{who} {amount(size)}", expected, "too_large")


def parse_volume(path: PathLike, content: bytes, dimensions: int = 3) -> Volume:
    """Return the volume that the bytes of the NIfTI file ``path`` hold; the path is for the message only.

    Raises ``UnreadableVolumeError`` where they are not a whole image of this many dimensions.
    """
    header, stored = _unpack(path, content, dimensions)
    data = stored
    if (header.slope, header.inter) != (1, 0):
        data = apply_read_scaling(stored, np.float64(header.slope), np.float64(header.inter))
    return Volume(data, header.affine, header)


def read_labels(path: PathLike) -> Volume:
    """Read a canonical label map written by ``write_labels`` as uint8; its array cannot be written to.

    Raises ``UnreadableVolumeError`` also where a value is not a whole number from 0 to 255, instead of rounding or wrapping it.
    """
    volume = parse_volume(path, read_bytes(path))
    labels = volume.data
    if labels.dtype != np.uint8:
        with np.errstate(invalid="ignore"):
            labels = volume.data.astype(np.uint8)
        if not np.array_equal(labels, volume.data):
            found, expected = "holds values that are not whole numbers from 0 to 255", "labels, which are"
            raise UnreadableVolumeError(path, found, expected)
    labels.flags.writeable = False
    return Volume(labels, volume.affine, volume.header)


def _unpack(path: PathLike, content: bytes, dimensions: int) -> tuple[Header, NDArray[Any]]:
    """Return header and stored voxels of the bytes of a NIfTI file. Raises ``UnreadableVolumeError``.

    Nothing is unpacked beyond what the header announces, and that only where it is not too large.
    """
    if not content:
        raise UnreadableVolumeError(path, "the file is empty")
    packed, plain = content[:2] == GZIP_MAGIC, content[:4] in NIFTI_STARTS
    if packed and not str(path).endswith(".gz"):
        found = "its content is gzip-compressed; its name must end in .nii.gz"
        raise UnreadableVolumeError(path, found, "a file named after what it is", "wrong_extension")
    if plain and str(path).endswith(".gz"):
        found = "its content is not gzip-compressed; its name must end in .nii"
        raise UnreadableVolumeError(path, found, "a file named after what it is", "wrong_extension")
    try:
        # igzip's own files copy every byte on their way out of this reader, which takes three times as long.
        stream: Any = isal_zlib._GzipReader(BytesIO(content), PIECE_BYTES) if packed else BytesIO(content)
        start = np.empty(NIFTI2_BYTES, np.uint8)
        start = start[: _fill(stream, start)]
        header = parse_header(start.tobytes())
        if len(header.shape) != dimensions:
            expected = f"a volume of {dimensions}; extract the one that is meant"
            raise UnreadableVolumeError(path, f"has {len(header.shape)} dimensions {header.shape}", expected)
        size = header.offset + header.voxel_bytes
        _refuse_large(path, size, f"the header announces {'x'.join(map(str, header.shape))} voxels in")
        whole = np.empty(max(size, len(start)), np.uint8)
        whole[: len(start)] = start
        filled = _fill(stream, whole, len(start))
        if filled < size:
            raise UnreadableVolumeError(path, f"cannot be read as a NIfTI image (it ends after {filled} of {size} bytes)")
        if _fill(stream, np.empty(SLACK_BYTES + 1, np.uint8)) > SLACK_BYTES:  # at its end the checksum is compared, too
            raise UnreadableVolumeError(path, f"goes on after the {amount(size)} that its header announces")
    except HeaderError as error:
        raise UnreadableVolumeError(path, f"cannot be read as a NIfTI image ({error.found})", error.expected) from None
    except UserError:
        raise
    except Exception as error:  # decoders raise errors of many kinds: IsalError, EOFError, OSError, MemoryError ...
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UnreadableVolumeError(path, f"cannot be read as a NIfTI image ({reason})") from None
    stored = whole[header.offset : size].view(header.dtype).reshape(header.shape, order="F")
    return header, stored


def _fill(stream: Any, whole: NDArray[np.uint8], filled: int = 0) -> int:
    """Fill ``whole`` from where it is filled to; return to where it is then, which is its end unless the stream ends before."""
    while filled < len(whole) and (number := stream.readinto(whole.data[filled:])):
        filled += number
    return filled


def write_volume(path: PathLike, volume: Volume) -> None:
    """Write ``volume`` as NIfTI-1 in its array's type, units mm, all or nothing.

    A packed file that holds just this already stays as it is: another release may pack it into other bytes, and a fold whose
    images have other bytes is trained again.
    """
    image = nib.Nifti1Image(volume.data, volume.affine, dtype=volume.data.dtype)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    image.header["descrip"] = b"glioflow"
    content = image.to_bytes()
    packed = str(path).endswith(".gz")
    if packed and _packs(Path(path), content):
        return
    with replacing(path) as temporary:
        temporary.write_bytes(pack(content) if packed else content)


def _packs(path: Path, content: bytes) -> bool:
    """Tell whether the file is there and unpacks to ``content``."""
    try:
        with path.open("rb") as stream:
            return bool(isal_zlib._GzipReader(stream, PIECE_BYTES).read(len(content) + 1) == content)
    except (OSError, EOFError, isal_zlib.error):  # type: ignore[misc]
        return False


def pack(content: bytes) -> bytes:
    """Return the bytes of a .nii file as those of a .nii.gz file; the same bytes every time.

    Packed by zlib: isal packs ten times as fast, but one of some hundreds of volumes came out with another byte on another run.
    """
    return gzip.compress(content, COMPRESSION, mtime=0)


def affine_distance_mm(a: Volume, b: Volume) -> float:
    """Return the largest distance in mm between where two affines put the same corner voxel of the volume ``a``."""
    return corner_distance(a.affine, b.affine, a.data.shape)


def same_geometry(a: Volume, b: Volume) -> bool:
    """Tell whether two volumes have one shape and, within ``AFFINE_TOLERANCE_MM``, one place in space."""
    return a.data.shape == b.data.shape and affine_distance_mm(a, b) <= AFFINE_TOLERANCE_MM


def orientation(volume: Volume) -> str:
    """Return the axis codes of a volume, such as ``LPS``."""
    return "".join(nib.orientations.aff2axcodes(volume.affine))  # type: ignore[no-untyped-call]
