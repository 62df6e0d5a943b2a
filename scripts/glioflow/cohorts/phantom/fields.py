"""Fields over space that phantoms are drawn with: smooth noise, soft steps, and signed distances of simple bodies.

All are in millimetres on lattices of their own, so another grid shows the same field, coarser or finer.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Points = Sequence[Array]  # x, y and z in mm, of one shape or broadcasting to one

# How the coordinates of one axis (x, y, z) are reshaped to broadcast over a volume.
VIEWS = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))

# Half the edge, in mm, of the cube in which noise is drawn: wider than any head, the same for every grid.
_NOISE_REACH_MM = 130.0
# Standard deviation of a sum of unit normals under cubic B-spline weights in 3D: (151/315) ** 1.5, the mean over a cell.
_SPLINE_SD = (151 / 315) ** 1.5


def smooth_noise(rng: np.random.Generator, axes: Sequence[Array], pitch_mm: float) -> Array:
    """Return smooth noise of mean 0 and sd 1 on the grid of ``axes`` (mm), with blobs about ``pitch_mm`` across.

    A cubic B-spline over a lattice of normal draws, evaluated axis by axis: what it is at a place does not depend on the grid.
    """
    nodes = int(np.ceil(2 * _NOISE_REACH_MM / pitch_mm)) + 4
    field = rng.standard_normal((nodes, nodes, nodes))
    for dimension, axis in enumerate(axes):
        place = np.clip((axis + _NOISE_REACH_MM) / pitch_mm, 0, nodes - 4 - 1e-9)
        first = np.floor(place).astype(int)
        t = place - first
        weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        terms = (np.take(field, first + k, dimension) * (w / 6).reshape(VIEWS[dimension]) for k, w in enumerate(weights))
        field = reduce(np.add, terms)
    return field / _SPLINE_SD


def soft_step(value: Array, softness: float) -> Array:
    """Return a soft step: 0 well below zero, 1 well above, within about ``softness`` of it."""
    return np.asarray(1 / (1 + np.exp(-np.clip(value * (2 / softness), -40, 40))), np.float64)


def outside_ellipsoid(p: Points, centre: Sequence[float], radii: Sequence[float]) -> Array:
    """Return roughly how many mm each point is outside (negative: inside) an ellipsoid."""
    r = np.sqrt(sum(((q - c) / a) ** 2 for q, c, a in zip(p, centre, radii, strict=True)))
    return (r - 1) * float(np.cbrt(np.prod(radii)))


def outside_tube(p: Points, start: Sequence[float], end: Sequence[float], radius: tuple[float, float]) -> Array:
    """Return how many mm each point is outside a tube from ``start`` to ``end`` whose radius changes along it."""
    s, e = np.asarray(start), np.asarray(end)
    along = e - s
    t = np.clip(sum((q - a) * d for q, a, d in zip(p, s, along, strict=True)) / float(along @ along), 0, 1)
    distance = np.sqrt(sum((q - a - t * d) ** 2 for q, a, d in zip(p, s, along, strict=True)))
    return np.asarray(distance - (radius[0] + t * (radius[1] - radius[0])), np.float64)


def smooth_union(a: Array, b: Array, width: float) -> Array:
    """Return the distance from either of two bodies, the smaller of ``a`` and ``b``, the seam rounded over ``width`` mm."""
    h = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - h * h * width / 4
