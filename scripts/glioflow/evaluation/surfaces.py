"""Surfaces of masks and the distances between them, of which every Hausdorff-like metric is made.

A surface is a set of elements on a grid, of one of three kinds:

- ``voxels``: the voxels of the mask that have a face neighbour outside it; beyond the image's border is outside (as MedPy
  `metric/binary.py` and MONAI `metrics/utils.py` have it). All of one weight.
- ``areas``: the corners at which the eight voxels around are not all in the mask, nor all outside it, each weighed by the area
  of the marching-cubes surface between these voxels (google-deepmind/surface-distance, `surface_distance/metrics.py`).
- ``mask``: every voxel of the mask, of one weight (open_brats2020 `src/utils.py`).

In an image of one slice, the axis across it is no direction in which anything could be outside: the surface of a mask is its
contour, and elements are weighed by its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from glioflow.imaging.marching_cubes import CORNERS, cube_areas

# The same answers as scipy's default tree, built and searched in two thirds of the time on surfaces of 20,000 voxels.
TREE = {"leafsize": 32, "balanced_tree": False, "compact_nodes": False}
# More elements than any tumour's surface at 1 mm: a prediction of noise or of everything, for which a distance transform of the
# whole box is several times faster than a tree.
TREE_LIMIT = 100_000

# Voxel sizes come from 32-bit affines: a step of 1 mm in a turned image is 1.00000002 mm, and is within 1 mm all the same.
ROUNDING = 1e-6
SUM_ROUNDING = 1e-12  # of sums of areas

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """Elements of a surface: rising flat indices ``places`` (n,) into a grid of ``shape``; ``weights`` (n,), None if equal."""

    shape: tuple[int, ...]
    places: Places
    weights: Floats | None = None

    def part(self, chosen: Mask) -> "Surface":
        """Return the elements of which ``chosen`` (n,) is True."""
        return Surface(self.shape, self.places[chosen], None if self.weights is None else self.weights[chosen])


@dataclass(frozen=True)
class Distances:
    """From each element of a surface to another surface: ``mm`` (n,), and the nearest element there, ``nearest`` (n,).

    ``weights`` (n,) are those of the elements. Distances of several surfaces put together have no ``nearest``.
    """

    mm: Floats
    weights: Floats | None = None
    nearest: Places | None = None


def find_surface(mask: Mask, kind: str, spacing: Spacing, across: int | None = None) -> Surface:
    """Return the surface of a 3D mask.

    ``kind``: ``voxels``, ``areas`` or ``mask``. ``spacing``: mm along each axis. ``across``: the axis of an image of one slice.
    """
    if kind == "areas":
        return area_surface(mask, spacing, across)
    chosen = boundary(mask, across) if kind == "voxels" else mask
    return Surface(mask.shape, np.flatnonzero(chosen))


def boundary(mask: Mask, across: int | None = None) -> Mask:
    """Return the voxels of a 3D mask that have a face neighbour outside it; beyond the array is outside."""
    axes = [axis for axis in range(3) if axis != across]
    core = tuple(slice(1, -1) if axis in axes else slice(None) for axis in range(3))
    enclosed = mask[core].copy()
    for axis in axes:
        for neighbour in (slice(None, -2), slice(2, None)):
            enclosed &= mask[(*core[:axis], neighbour, *core[axis + 1 :])]
    on_surface = mask.copy()
    on_surface[core] &= ~enclosed
    return on_surface


def area_surface(mask: Mask, spacing: Spacing, across: int | None = None) -> Surface:
    """Return the surface elements of a 3D mask, weighed by area (mm²), by length (mm) in a slice.

    The grid is that of the voxels' corners: one longer than the array along each axis, but not across a slice. Corner (i, j, k)
    is between the voxels i - 1 and i, and so on.
    """
    shape = tuple(size + (axis != across) for axis, size in enumerate(mask.shape))
    codes = np.zeros(shape, np.uint8)
    for bit, corner in enumerate(CORNERS):
        if across is None or corner[across] == 0:
            window = tuple(
                slice(None) if axis == across else slice(1 - c, n + 1 - c)
                for axis, (c, n) in enumerate(zip(corner, mask.shape, strict=True))
            )
            codes[window] |= mask.view(np.uint8) << np.uint8(bit)
    everything = sum(1 << bit for bit, corner in enumerate(CORNERS) if across is None or corner[across] == 0)
    places = np.flatnonzero((codes != 0) & (codes != everything))
    return Surface(shape, places, element_weights(spacing, across)[codes.ravel()[places]])


@cache
def element_weights(spacing: Spacing, across: int | None = None) -> Floats:
    """Return the weight of a surface element by which of its eight voxels are in the mask: a bit each, as in ``CORNERS``.

    Where voxels touch over an edge or a corner only, the surface parts them, as in Lorensen and Cline's first marching cubes
    (1987, doi:10.1145/37402.37422): up to four voxels are taken in pieces that share faces, more than four as the others are.
    """
    if across is not None:
        return _contour_weights(spacing, across)
    areas, weights = cube_areas(spacing), np.zeros(256)
    for code in range(256):
        fewer = code if code.bit_count() <= 4 else 255 - code
        weights[code] = sum(areas[piece] for piece in _pieces(fewer))
    return weights


def _pieces(code: int) -> list[int]:
    """Return the codes of the parts of ``code`` whose voxels hang together over faces."""
    left, found = {corner for bit, corner in enumerate(CORNERS) if code >> bit & 1}, []
    while left:
        piece, edge = set[tuple[int, ...]](), [left.pop()]
        while edge:
            piece.add(corner := edge.pop())
            near = {other for other in left if sum(abs(a - b) for a, b in zip(corner, other, strict=True)) == 1}
            left -= near
            edge += near
        found.append(sum(1 << CORNERS.index(corner) for corner in piece))
    return found


def _contour_weights(spacing: Spacing, across: int) -> Floats:
    """Return ``element_weights`` of a slice: the length of the marching-squares line between four pixels."""
    first, second = (axis for axis in range(3) if axis != across)
    cut = sqrt(spacing[first] ** 2 + spacing[second] ** 2) / 2  # the line that parts one pixel from three
    weights = np.zeros(256)
    square = [bit for bit, corner in enumerate(CORNERS) if corner[across] == 0]
    for inside in product((False, True), repeat=4):
        corners = [CORNERS[bit] for bit, there in zip(square, inside, strict=True) if there]
        code = sum(1 << bit for bit, there in zip(square, inside, strict=True) if there)
        if len(corners) in (1, 3):
            weights[code] = cut
        elif len(corners) == 2:
            apart = [axis for axis in (first, second) if corners[0][axis] != corners[1][axis]]
            weights[code] = 2 * cut if len(apart) == 2 else spacing[apart[0]]
    return weights


def measure(start: Surface, target: Surface, spacing: Spacing) -> Distances:
    """Return the distances in mm from every element of ``start`` to the nearest of ``target``; neither is empty."""
    nearest = np.minimum(np.searchsorted(target.places, start.places), len(target.places) - 1)
    apart = np.flatnonzero(target.places[nearest] != start.places)  # an element on both is at distance 0 and needs no search
    mm = np.zeros(len(start.places))
    if len(apart) and max(len(apart), len(target.places)) > TREE_LIMIT:
        mm[apart], nearest[apart] = _transformed(start, apart, target, spacing)
    elif len(apart):
        tree = cKDTree(centres_mm(target, target.places, spacing), **TREE)
        mm[apart], nearest[apart] = tree.query(centres_mm(start, start.places[apart], spacing))
    return Distances(mm, start.weights, nearest)


def _transformed(start: Surface, apart: Places, target: Surface, spacing: Spacing) -> tuple[Floats, Places]:
    """Return what a tree would, by a distance transform of the whole grid."""
    empty = np.ones(target.shape, bool)
    empty.ravel()[target.places] = False
    mm, indices = distance_transform_edt(empty, sampling=spacing, return_indices=True)
    places = start.places[apart]
    flat = np.ravel_multi_index([axis.ravel()[places] for axis in indices], target.shape)
    return mm.ravel()[places], np.searchsorted(target.places, flat)


def centres_mm(surface: Surface, places: Places, spacing: Spacing) -> Floats:
    """Return the positions (n, 3) in mm, from the grid's first, of flat indices into a surface's grid."""
    # np.argwhere of a mask gives the same and takes four times as long.
    indices = np.unravel_index(places, surface.shape)
    return np.stack([index * float(step) for index, step in zip(indices, spacing, strict=True)], axis=1)


def percentile(distances: Distances, percent: float) -> float:
    """Return a percentile in mm: interpolated between distances of equal weight; of weighed ones, the first that reaches it.

    The weighed one as surface-distance's `compute_robust_hausdorff`: the smallest distance such that the elements up to it
    have ``percent`` of the weight; sums that differ by rounding alone count as equal, in whatever order they are made.
    """
    if distances.weights is None:
        return float(np.percentile(distances.mm, percent))
    order = np.argsort(distances.mm, kind="stable")
    reached = np.cumsum(distances.weights[order]) / np.sum(distances.weights)
    first = int(np.searchsorted(reached, percent / 100.0 * (1 - SUM_ROUNDING)))
    return float(distances.mm[order[min(first, len(order) - 1)]])


def total(distances: Distances) -> float:
    """Return the sum of the elements' weights, their number where they weigh the same."""
    return float(len(distances.mm) if distances.weights is None else distances.weights.sum())


def moment(distances: Distances) -> float:
    """Return the sum of the distances in mm, each times its weight."""
    return float(distances.mm.sum() if distances.weights is None else np.dot(distances.mm, distances.weights))


def within(distances: Distances, tolerance_mm: float) -> float:
    """Return the weight of the elements that are at most ``tolerance_mm`` away, their number where they weigh the same."""
    near = distances.mm <= tolerance_mm * (1 + ROUNDING)
    return float(np.count_nonzero(near) if distances.weights is None else distances.weights[near].sum())


def together(first: Distances, second: Distances) -> Distances:
    """Return the distances of two directions as one set."""
    mm = np.concatenate([first.mm, second.mm])
    if first.weights is None or second.weights is None:
        return Distances(mm)
    return Distances(mm, np.concatenate([first.weights, second.weights]))


def as_spacing(values: Sequence[float]) -> Spacing:
    """Return three numbers as a tuple of floats."""
    x, y, z = (float(value) for value in values)
    return x, y, z
