"""Bring the images of a case to a common grid: turn their axes, and resample where that is asked for or needed.

Turning moves voxels and interpolates nothing. Images are resampled by cubic splines, kept within their range; labels take the
nearest voxel.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import from_matvec
from nibabel.processing import resample_from_to
from nibabel.spaces import vox2out_vox
from numpy.typing import NDArray

from glioflow.cohorts.layouts.listing import Converted, FoundCase
from glioflow.cohorts.problems import Problem, orientation_unknown, problem_row
from glioflow.console import UserError
from glioflow.imaging.placement import BY_INDEX, place_mask
from glioflow.imaging.volumes import Volume, affine_distance_mm, orientation, read_volume, same_geometry, write_volume
from glioflow.study.configuration import Grid
from glioflow.study.registry import CHANNELS, ROLES

TIE = 1e-3  # voxels; a place so near the middle between two voxels takes the later one, however the affines are rounded
COVERED_VOXELS = 2  # how far two grids of one box may end apart: a box is seldom a whole number of voxels long


def turn(volume: Volume, axes: str) -> Volume:
    """Return the volume with its axes pointing as in ``axes``, such as LPS; voxels are moved, none is changed."""
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(volume.affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    data = nib.orientations.apply_orientation(volume.data, change)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(change, volume.data.shape)
    return Volume(np.ascontiguousarray(data), affine)


def resample(volume: Volume, shape: tuple[int, ...], affine: NDArray[np.float64], order: int) -> Volume:
    """Return the volume on another grid, in its own type; ``order`` 0 is nearest voxel, 3 cubic splines. Outside is 0."""
    source = volume.data.astype(np.float32) if order else volume.data
    place, mode = volume.affine, "constant"
    if order == 0:
        place, mode = place @ from_matvec(np.eye(3), [-TIE] * 3), "grid-constant"  # the outer voxels are whole
    image = nib.Nifti1Image(source, place, dtype=source.dtype)
    data = np.asanyarray(resample_from_to(image, (shape, affine), order=order, mode=mode, cval=0).dataobj)
    if order:
        data = np.clip(data, volume.data.min(), volume.data.max())
    if volume.data.dtype.kind in "iu":
        data = np.rint(data)
    return Volume(data.astype(volume.data.dtype), affine)


def target_grid(reference: Volume, grid: Grid) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Return shape and affine of the grid that a case's images are brought to, given its (turned) reference channel."""
    if grid.spacing_mm is None or np.allclose(reference.spacing, grid.spacing_mm, rtol=1e-4):
        return reference.data.shape, reference.affine
    # nibabel's output space is RAS+: the spacing goes there in that order, and the grid is turned as asked for.
    axes = nib.orientations.axcodes2ornt(tuple(grid.orientation))[:, 0].astype(int)
    spacing = [edge for _, edge in sorted(zip(axes, grid.spacing_mm, strict=True))]
    shape, affine = vox2out_vox((reference.data.shape, reference.affine), spacing)
    turned = turn(Volume(np.broadcast_to(np.uint8(0), shape), affine), grid.orientation)
    return turned.data.shape, turned.affine


def regrid_case(case: FoundCase, grid: Grid, on_mismatch: str, folder: Path) -> Converted:
    """Bring the files of a case to one grid; those that are on it already stay where they are, others go into ``folder``.

    A file that cannot be read, or has no place, keeps its path: checking it reports what is wrong.
    """
    files, volumes = case.files, dict[str, Volume]()
    for role in ROLES:
        if role in files:
            try:
                volume = read_volume(files[role])
            except UserError:
                continue
            if volume.is_placed or (role == "label" and on_mismatch == "use_image_header"):
                volumes[role] = volume
    first = grid.reference if grid.reference in volumes else next((c for c in CHANNELS if c in volumes), None)
    if first is None:
        return Converted(dict(files))
    raw = volumes[first]
    shape, affine = target_grid(turn(raw, grid.orientation), grid)
    target = Volume(np.broadcast_to(np.uint8(0), shape), affine)
    placed, problems = dict(files), list[Problem]()
    if raw.header and not raw.header.oriented:
        problems.append(orientation_unknown(case.case_id, files[first], case.patient_id))
    for role, volume in volumes.items():
        by_index = role == "label" and volume.data.shape == raw.data.shape
        if not volume.is_placed and not by_index:
            continue
        if by_index and not (volume.is_placed and same_geometry(volume, raw)):
            problems.append(label_mismatch(case, volume, raw, on_mismatch))
            if on_mismatch == "error":
                continue
            volume = place_mask(volume, raw, on_mismatch)
        elif same_geometry(volume, target):
            continue
        turned = turn(volume, grid.orientation)
        if not same_geometry(turned, target):
            turned = resample(turned, shape, affine, 0 if role == "label" else 3)
        path = folder / f"{case.case_id}_{role}.nii.gz"
        write_volume(path, Volume(turned.data, affine))
        placed[role] = path.as_posix()
    return Converted(placed, problems=problems)


def regrid_mask(mask: Volume, grid: Volume) -> Volume | None:
    """Return a label map brought to the grid of another volume by their headers; None where they are not of one space.

    Voxels are moved where the axes point otherwise; where their places differ, the nearest one is taken. Both grids have to
    cover one box in space, to two voxels: what a cohort's grid is made from does.
    """
    turned = turn(mask, orientation(grid))
    if same_geometry(turned, grid):
        return Volume(turned.data, grid.affine)
    slack = COVERED_VOXELS * max(*turned.spacing, *grid.spacing)
    if np.abs(outer_corners(turned) - outer_corners(grid)).max() > slack:
        return None
    return resample(turned, grid.data.shape, grid.affine, 0)


def outer_corners(volume: Volume) -> NDArray[np.float64]:
    """Return where the outer corners of the first and the last voxel of each axis are, (8, 3) in mm."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in volume.data.shape], [1.0], indexing="ij")).reshape(4, -1)
    return np.asarray((volume.affine @ corners)[:3].T)


def label_mismatch(case: FoundCase, label: Volume, image: Volume, on_mismatch: str) -> Problem:
    """Return the problem of a label map whose header disagrees with its image although their arrays have one shape."""
    found = label.misplaced or (
        f"an affine that puts a corner {affine_distance_mm(label, image):.3g} mm from that of its image "
        f"(orientation {orientation(label)})"
    )
    expected = f"one affine for the whole case (orientation {orientation(image)})"
    if on_mismatch == "error":
        expected += BY_INDEX
    severity = "error" if on_mismatch == "error" else "warning"
    path, patient_id = case.files["label"], case.patient_id
    return problem_row(case.case_id, path, "affine_mismatch", found, expected, severity, patient_id)
