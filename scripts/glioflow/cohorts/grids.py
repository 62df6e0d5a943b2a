"""Bring the images of a case to a common grid: turn their axes, and resample where that is asked for or needed.

Turning moves voxels and interpolates nothing. Images are resampled by cubic splines, kept within their range; labels take the
nearest voxel.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from nibabel.spaces import vox2out_vox
from numpy.typing import NDArray

from glioflow.cohorts.layouts.listing import Converted, FoundCase
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import UserError
from glioflow.imaging.placement import BY_INDEX, place_mask
from glioflow.imaging.volumes import Volume, affine_distance_mm, orientation, read_volume, same_geometry, write_volume
from glioflow.study.configuration import Grid
from glioflow.study.registry import CHANNELS, ROLES


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
    image = nib.Nifti1Image(source, volume.affine, dtype=source.dtype)
    data = np.asanyarray(resample_from_to(image, (shape, affine), order=order, mode="constant", cval=0).dataobj)
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
    """Bring the files of a case to one grid; those that lie on it already stay where they are, others go into ``folder``.

    A file that cannot be read, or has no place, keeps its path: checking it says what is wrong.
    """
    files, volumes = case.files, dict[str, Volume]()
    for role in ROLES:
        if role in files:
            try:
                volume = read_volume(files[role])
            except UserError:
                continue
            if volume.is_placed:
                volumes[role] = volume
    first = grid.reference if grid.reference in volumes else next((c for c in CHANNELS if c in volumes), None)
    if first is None:
        return Converted(dict(files))
    raw = volumes[first]
    shape, affine = target_grid(turn(raw, grid.orientation), grid)
    target = Volume(np.broadcast_to(np.uint8(0), shape), affine)
    placed, problems = dict(files), list[Problem]()
    for role, volume in volumes.items():
        if role == "label" and volume.data.shape == raw.data.shape and not same_geometry(volume, raw):
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


def label_mismatch(case: FoundCase, label: Volume, image: Volume, on_mismatch: str) -> Problem:
    """Return the problem of a label map whose header disagrees with its image although their arrays have one shape."""
    apart = affine_distance_mm(label, image)
    found = f"an affine that puts a corner {apart:.3g} mm from that of its image (orientation {orientation(label)})"
    expected = f"one affine for the whole case (orientation {orientation(image)})"
    if on_mismatch == "error":
        expected += BY_INDEX
    severity = "error" if on_mismatch == "error" else "warning"
    path, patient_id = case.files["label"], case.patient_id
    return problem_row(case.case_id, path, "affine_mismatch", found, expected, severity, patient_id)
