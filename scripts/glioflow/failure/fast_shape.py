"""Area, volume and diameters of a mask's surface mesh: pyradiomics' definitions, without its search of all pairs of vertices.

pyradiomics 3.0.1 asks one C function (``radiomics.cShape.calculate_coefficients``) for all of them, and that function compares
every vertex with every other: 3 to 4 of the 5 seconds of a glioma at 1 mm. Here the same mesh is summed from the kinds of its
cubes, and its diameters are searched among the few vertices that can have them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from glioflow.imaging.marching_cubes import CORNERS, cube_areas, cube_volumes


@contextmanager
def fast_shape_class() -> Iterator[None]:
    """Let pyradiomics' shape class use ``mesh_coefficients`` within the block."""
    from radiomics import shape

    original = shape.cShape
    shape.cShape = SimpleNamespace(calculate_coefficients=mesh_coefficients)
    try:
        yield
    finally:
        shape.cShape = original


def mesh_coefficients(
    mask: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> tuple[float, float, tuple[float, float, float, float]]:
    """Return surface area (mm²), volume (mm³) and diameters (mm) of the marching-cubes mesh of ``mask``.

    ``mask``: bool, at least one voxel, with an empty voxel all round; ``spacing``: mm along each of its axes. The diameters are
    the largest distances between two vertices in one plane across axis 0, 1 and 2, and in space.
    """
    codes = _cube_codes(mask)
    cubes = np.argwhere((codes != 0) & (codes != 255))
    x, y, z = map(float, spacing)
    areas, (volumes, slopes) = cube_areas((x, y, z)), cube_volumes((x, y, z))
    kinds = codes[tuple(cubes.T)]
    volume = volumes[kinds].sum() + (slopes[kinds] * cubes).sum()
    vertices = _vertices(mask) * spacing
    across = tuple(_plane_diameter(vertices, axis) for axis in range(3))
    return float(areas[kinds].sum()), float(volume), (across[0], across[1], across[2], _diameter(vertices))


def _cube_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return for each cube of 2 x 2 x 2 voxels which of its corners are in ``mask``, a bit each."""
    codes = np.zeros(tuple(size - 1 for size in mask.shape), np.uint8)
    for bit, corner in enumerate(CORNERS):
        codes |= mask[tuple(slice(c, c + n) for c, n in zip(corner, codes.shape, strict=True))].astype(np.uint8) << bit
    return codes


def _vertices(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mesh's vertices in voxels: the points midway between a voxel of the mask and a neighbour outside."""
    points = []
    for axis in range(3):
        halfway = np.argwhere(np.diff(mask, axis=axis)).astype(float)
        halfway[:, axis] += 0.5
        points.append(halfway)
    return np.concatenate(points)


def _diameter(points: NDArray[np.float64]) -> float:
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    return float(pdist(points[ConvexHull(points).vertices]).max())


def _plane_diameter(points: NDArray[np.float64], axis: int) -> float:
    """Return the largest distance within one plane across ``axis``, trying the planes with the largest extent first."""
    from scipy.spatial.distance import pdist

    row, along = (other for other in range(3) if other != axis)
    points = points[np.lexsort((points[:, along], points[:, row], points[:, axis]))]
    # Only the ends of a row can be farthest from anything.
    starts = np.append(True, np.any(np.diff(points[:, [axis, row]], axis=0) != 0, axis=1))
    points = points[starts | np.append(starts[1:], True)]
    planes = np.flatnonzero(np.diff(points[:, axis], prepend=-np.inf))
    bounds = np.linalg.norm(np.maximum.reduceat(points, planes) - np.minimum.reduceat(points, planes), axis=1)
    ends = np.append(planes[1:], len(points))
    largest = 0.0
    for plane in np.argsort(-bounds):
        if bounds[plane] <= largest:
            break
        largest = max(largest, float(pdist(points[planes[plane] : ends[plane]]).max(initial=0.0)))
    return largest
