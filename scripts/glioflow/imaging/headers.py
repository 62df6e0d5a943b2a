"""The content of a NIfTI header: how its voxels are stored, where they are in mm, and whether every reader would agree.

A header can state place and size of its voxels three times: as a matrix (sform), as a rotation (qform) and as voxel sizes
(pixdim). nnU-Net reads with SimpleITK, whose answer is the reference here (ITK 5.4, ``itkNiftiImageIO.cxx``): sizes are
pixdim's; position and axes are the sform's where there is no qform, where the two are alike or where sform_code is 1, else the
qform's. Where these contradict each other, other tools measure the same file otherwise: the header is not to be trusted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.quaternions import fillpositive, quat2mat
from numpy.typing import NDArray

# Largest difference between two affines, in mm at any corner of the volume, that is taken for rounding of the header's
# 32-bit floats rather than for another position.
AFFINE_TOLERANCE_MM = 1e-2
SMALLEST_VOXEL_MM3 = 1e-9  # an affine with less is taken for singular
# Statements of one header that differ by less, in voxels at any corner, are one: a half turn written as a quaternion of 32-bit
# floats is off by up to 3.5e-4 rad, a tenth of a voxel at the end of 300.
LARGEST_DISAGREEMENT = 0.25
LARGEST_COSINE = 1e-4  # between two axes; SimpleITK refuses more
ALIKE = 1e-4  # per element of direction and origin: SimpleITK takes the sform for the qform then
SPACE_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}  # xyzt_units & 7 (nifti1.h); all others count as mm
VOXEL_EDGES_MM = (0.01, 100.0)  # beyond these no head is imaged

NIFTI1_BYTES, NIFTI2_BYTES = 348, 540  # sizes of the headers; the first number of each
LAYOUTS = {NIFTI1_BYTES: nib.nifti1.header_dtype, NIFTI2_BYTES: nib.nifti2.header_dtype}
MAGIC = {NIFTI1_BYTES: (b"n+1", b"ni1"), NIFTI2_BYTES: (b"n+2", b"ni2")}
NIFTI_STARTS = tuple(size.to_bytes(4, order) for size in LAYOUTS for order in ("little", "big"))
MATRIX = ("srow_x", "srow_y", "srow_z")
ONE_READING = (
    "one place and one size for every reader; write the right affine as sform and qform (nibabel: set_sform, and set_qform, "
    "which sets pixdim), or export the file again"
)


class HeaderError(ValueError):
    """A header from which no voxel can be read; ``expected`` is what would be right."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found, self.expected = found, expected


@dataclass(frozen=True)
class Header:
    """The content of a NIfTI header.

    ``version``: 1 or 2; ``shape``: voxels per axis, axes of one voxel after the third left out; ``offset``: the byte where
    they begin; ``slope`` and ``inter``: a value is ``slope * stored + inter``; ``affine``: (4, 4) voxel to mm in RAS+;
    ``contradictions``: why readers would not agree on the place, a phrase each; ``oriented``: whether axes have directions.
    """

    version: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    affine: NDArray[np.float64]
    contradictions: tuple[str, ...] = ()
    oriented: bool = True

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels."""
        return prod(self.shape) * self.dtype.itemsize


def parse_header(content: bytes) -> Header:
    """Return the header in the first bytes of a NIfTI file. Raises ``HeaderError`` where no voxel can be read by it."""
    if content[:4] not in NIFTI_STARTS:
        raise HeaderError("no NIfTI header", "a NIfTI file; convert another format, or copy or download the file again")
    order = "<" if content[:4] in NIFTI_STARTS[::2] else ">"
    size = int(np.frombuffer(content, f"{order}i4", 1)[0])
    if len(content) < size:
        raise HeaderError(f"{len(content)} bytes of a header of {size}", "a whole file; copy or download it again")
    fields = np.frombuffer(content, LAYOUTS[size].newbyteorder(order), 1)[0]
    if bytes(fields["magic"])[:3] not in MAGIC[size]:
        raise HeaderError(
            f"a header without NIfTI's mark (magic {bytes(fields['magic'])[:3]!r}): an Analyze 7.5 or a damaged file",
            "a NIfTI file; convert Analyze with a tool that knows how its axes point",
        )
    shape, dtype = _shape(fields), _stored_type(fields)
    offset = float(fields["vox_offset"])
    if not isfinite(offset) or offset < size + 4:
        raise HeaderError(
            f"voxels that begin at byte {offset:g} (vox_offset), within the header",
            f"{size + 4} or more: the header is damaged; copy or download the file again",
        )
    slope, inter = _scaling(fields)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is reported in words
        affine, contradictions = _space(fields, shape)
    oriented = bool(fields["qform_code"] > 0 or fields["sform_code"] > 0)
    version = 1 if size == NIFTI1_BYTES else 2
    return Header(version, shape, dtype, int(offset), slope, inter, affine, contradictions, oriented)


def _shape(fields: Any) -> tuple[int, ...]:
    dimensions = [int(size) for size in fields["dim"]]
    if not 1 <= dimensions[0] <= 7 or min(shape := dimensions[1 : dimensions[0] + 1]) < 1:
        raise HeaderError(
            f"the dimensions {dimensions} (dim: how many there are, then their voxels)",
            "1 to 7 of at least one voxel: the header is damaged; copy or download the file again",
        )
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _stored_type(fields: Any) -> np.dtype[Any]:
    code = int(fields["datatype"])
    known = nib.nifti1.data_type_codes
    dtype = np.dtype(known.dtype[code]) if code in known.dtype else None
    if dtype is None or dtype.kind not in "iuf" or dtype.itemsize > 8:
        named = known.label[code] if dtype is not None else "no known type"
        raise HeaderError(
            f"voxels of the type {code} ({named})",
            "one whole or real number of at most 64 bits a voxel; convert colours or complex numbers to grey values",
        )
    swapped: np.dtype[Any] = dtype.newbyteorder(fields.dtype["sizeof_hdr"].byteorder)
    return swapped


def _scaling(fields: Any) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0, or that is no number, means that nothing is scaled."""
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not isfinite(slope):
        if isfinite(inter) and inter != 0:
            raise HeaderError(
                f"a scaling of slope {slope:g} with an intercept of {inter:g} (scl_slope, scl_inter), which SimpleITK adds to "
                "every voxel and other readers do not",
                "slope 1, or intercept 0; write the one that is meant",
            )
        return 1.0, 0.0
    if not isfinite(inter):
        raise HeaderError(
            f"a scaling of slope {slope:g} with an intercept of {inter:g} (scl_slope, scl_inter)", "a finite intercept"
        )
    return slope, inter


def _space(fields: Any, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine in mm as SimpleITK reads it, and why other readers would not."""
    unit, scale = SPACE_UNITS.get(int(fields["xyzt_units"]) & 7, ("mm", 1.0))
    sizes = np.asarray(fields["pixdim"][1:4], np.float64) * scale
    stated = dict(_stated_forms(fields, scale))
    wrong = list[str]()
    if not np.all(np.isfinite(sizes) & (sizes > 0)):
        wrong.append(f"voxel sizes of {_listed(sizes)} mm (pixdim)")
        sizes = np.where(np.isfinite(sizes) & (sizes != 0), np.abs(sizes), 1.0)
    elif sizes.min() < VOXEL_EDGES_MM[0] or sizes.max() > VOXEL_EDGES_MM[1]:
        wrong.append(f"voxels of {_listed(sizes)} mm, as pixdim gives them in {unit}")
    for name, form in stated.items():
        wrong.extend(_form_problems(name, form, sizes, shape))
    affines = [form for form in stated.values() if not isinstance(form, str) and np.isfinite(form).all()]
    if not stated:  # SimpleITK's axes then: towards the left, the back and the top
        return np.diag([-sizes[0], -sizes[1], sizes[2], 1.0]), tuple(wrong)
    if wrong:
        return affines[0] if affines else np.full((4, 4), np.nan), tuple(wrong)
    taken = affines[0]
    if len(affines) == 2:
        if (apart := corner_distance(affines[0], affines[1], shape)) > LARGEST_DISAGREEMENT * sizes.min():
            codes = f"sform_code {fields['sform_code']}, qform_code {fields['qform_code']}"
            return taken, (f"sform and qform that put a corner {apart:.3g} mm apart ({codes})",)
        taken = taken if _takes_sform(fields, affines[0], affines[1]) else affines[1]
    measured = taken @ np.diag([*(sizes / np.linalg.norm(taken[:3, :3], axis=0)), 1.0])
    return measured if corner_distance(taken, measured, shape) > AFFINE_TOLERANCE_MM else taken, ()


def _stated_forms(fields: Any, scale: float) -> Iterator[tuple[str, NDArray[np.float64] | str]]:
    """Yield sform and qform in mm, where the header has them; words where one is none."""
    in_mm = np.array([[scale], [scale], [scale], [1.0]])
    if fields["sform_code"] > 0:
        yield "sform", in_mm * np.array([*(fields[row] for row in MATRIX), (0, 0, 0, 1)], np.float64)
    if fields["qform_code"] > 0:
        quaternion = np.array([fields[f"quatern_{part}"] for part in "bcd"], np.float64)
        sizes = np.abs(np.asarray(fields["pixdim"][1:4], np.float64))
        sizes = np.where(np.isfinite(sizes), sizes, np.nan) * (1, 1, -1 if fields["pixdim"][0] < 0 else 1)
        try:
            turned = quat2mat(fillpositive(quaternion, nib.nifti1.Nifti1Header.quaternion_threshold))
        except ValueError:
            yield "qform", f"a qform whose quaternion ({_listed(quaternion)}) is longer than 1"
            return
        form = np.eye(4)
        form[:3, :3] = turned * sizes
        form[:3, 3] = [fields[f"qoffset_{axis}"] for axis in "xyz"]
        yield "qform", in_mm * form


def _form_problems(
    name: str, form: NDArray[np.float64] | str, sizes: NDArray[np.float64], shape: tuple[int, ...]
) -> Iterator[str]:
    """Yield why a stated affine cannot be right, or does not agree with the voxel sizes (mm)."""
    if isinstance(form, str):
        yield form
        return
    edges, article = np.linalg.norm(form[:3, :3], axis=0), "an" if name == "sform" else "a"
    if not np.isfinite(form).all() or abs(np.linalg.det(form[:3, :3])) < SMALLEST_VOXEL_MM3:
        yield f"{article} {name} that is not finite or not invertible"
        return
    cosines = form[:3, :3].T @ form[:3, :3] / np.outer(edges, edges)
    if (largest := float(np.abs(np.triu(cosines, 1)).max())) > LARGEST_COSINE:
        yield f"a sheared {name}, two axes at {np.degrees(np.arccos(largest)):.4g} degrees"
    steps = np.subtract((*shape, 1, 1)[:3], 1).clip(1)
    if (np.abs(edges - sizes) * steps).max() > LARGEST_DISAGREEMENT * sizes.min():
        yield f"voxels of {_listed(edges)} mm by the {name} and {_listed(sizes)} mm by pixdim"


def _takes_sform(fields: Any, sform: NDArray[np.float64], qform: NDArray[np.float64]) -> bool:
    """Tell whether SimpleITK takes the sform where there is a qform too."""
    directions = [form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform)]
    alike = np.abs(directions[0] - directions[1]).max() <= ALIKE and np.abs(sform[:3, 3] - qform[:3, 3]).max() <= ALIKE
    return bool(fields["sform_code"] == 1 or alike)


def corner_distance(a: NDArray[np.float64], b: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Return the largest distance in mm between where two affines put the same corner voxel of a volume of this shape."""
    sizes = (*shape, 1, 1)[:3]
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in sizes], [1.0], indexing="ij")).reshape(4, -1)
    return float(np.linalg.norm(((a - b) @ corners)[:3], axis=0).max())


def _listed(numbers: NDArray[np.float64]) -> str:
    return " x ".join(f"{number:.5g}" for number in numbers)
