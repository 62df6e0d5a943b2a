"""The shape of a region: how much of its bounding ellipsoid it fills, and how irregular its outline is.

All of the largest component (26-connected; of equal ones the first), as islands have no part in a tumour's shape:

- ``ellipsoid_ratio``, the bounding-ellipsoid volume ratio: its volume over that of the smallest ellipsoid that holds the
  corners of all its voxels. 1 would be an ellipsoid; a box of any size has 0.37. Stretching an axis does not change it, so it
  does not depend on the voxels' size.
- ``angular_sd``, the angular standard deviation, and ``margin_fluctuation`` (``glioflow.quality.outlines``): in the axial slice
  in which it is largest (of equal ones the first), of its largest piece there.

After Mazurowski et al. 2017 (doi:10.1007/s11060-017-2420-1) and Buda et al. 2019 (doi:10.1016/j.compbiomed.2019.05.002), who
found them to go along with molecular subtypes of lower-grade glioma.
"""

from collections.abc import Sequence
from itertools import product
from math import nan

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as label_components

from glioflow.imaging.components import bounding_box, connected_components
from glioflow.quality.ellipsoids import enclosing_volume
from glioflow.quality.outlines import angular_standard_deviation, margin_fluctuation, relative_distances

FEATURES = ("ellipsoid_ratio", "angular_sd", "margin_fluctuation")
AXIAL = 2  # world axis from feet to head
FEWEST_PIXELS = 10  # as many as there are angles: of fewer an outline has no shape

Mask = NDArray[np.bool_]


def largest_component(mask: Mask) -> Mask:
    """Return the largest component of a bool mask (x, y, z) that is not empty, cut to its box."""
    numbers = connected_components(mask)
    largest: Mask = numbers == np.bincount(numbers[mask]).argmax()
    return largest[bounding_box(largest)]


def voxel_corners(mask: Mask) -> NDArray[np.float64]:
    """Return corners of a mask's voxels, in voxels: those at both ends of each column along z, enough for the hull."""
    x, y = np.nonzero(mask.any(axis=2))
    columns = mask[x, y]
    ends = np.stack([columns.argmax(axis=1), mask.shape[2] - 1 - columns[:, ::-1].argmax(axis=1)])
    corners = [np.column_stack([x + dx, y + dy, ends[dz] + dz]) for dx, dy, dz in product((0, 1), repeat=3)]
    return np.unique(np.concatenate(corners), axis=0).astype(float)


def ellipsoid_ratio(mask: Mask) -> float:
    """Return how much of the smallest ellipsoid around a bool mask (x, y, z), not empty, the mask fills."""
    return float(np.count_nonzero(mask)) / enclosing_volume(voxel_corners(mask))


def axial_axis(affine: NDArray[np.float64]) -> int:
    """Return the array axis that runs between feet and head, or is nearest to it."""
    directions = nib.orientations.io_orientation(affine)  # type: ignore[no-untyped-call]
    return int(np.flatnonzero(directions[:, 0] == AXIAL)[0])


def largest_piece(mask: Mask, axis: int) -> Mask:
    """Return the largest 8-connected piece of the slice across ``axis`` in which a mask is largest."""
    others = tuple(other for other in range(3) if other != axis)
    plane = np.take(mask, int(np.count_nonzero(mask, axis=others).argmax()), axis=axis)
    numbers, _ = label_components(plane, np.ones((3, 3), bool))
    return np.asarray(numbers == np.bincount(numbers[plane]).argmax())


def shape_features(mask: Mask, affine: NDArray[np.float64], spacing: Sequence[float]) -> tuple[dict[str, float], str]:
    """Return the features of a region by name (``FEATURES``) and, where one is undefined, why.

    ``mask``: bool (x, y, z); ``affine``: voxel to mm; ``spacing``: mm per axis.
    """
    if not mask.any():
        return dict.fromkeys(FEATURES, nan), "the region is empty"
    component, axis = largest_component(mask), axial_axis(affine)
    found = {**dict.fromkeys(FEATURES, nan), "ellipsoid_ratio": ellipsoid_ratio(component)}
    piece = largest_piece(component, axis)
    if (pixels := int(np.count_nonzero(piece))) < FEWEST_PIXELS:
        return found, f"no outline: {pixels} pixels in the largest slice, fewer than {FEWEST_PIXELS}"
    angles, distances = relative_distances(piece, [mm for place, mm in enumerate(spacing) if place != axis])
    outline = {"angular_sd": angular_standard_deviation(angles, distances), "margin_fluctuation": margin_fluctuation(distances)}
    return {**found, **outline}, ""
