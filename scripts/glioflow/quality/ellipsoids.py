"""The smallest ellipsoid around a set of points in space.

By Khachiyan's algorithm with away steps (Todd & Yıldırım 2007, doi:10.1016/j.dam.2007.02.013): weights of the points are moved
until the ellipsoid that they define holds all points but for ``TOLERANCE``; it is then made to hold them all.
"""

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

TOLERANCE = 1e-7  # of the volume, in relative terms, it is 1.5 times this
MOST_STEPS = 100_000

Points = NDArray[np.float64]


def hull_vertices(points: Points) -> Points:
    """Return the vertices of the convex hull of points (n, 3) that are not in one plane: they alone decide the ellipsoid."""
    return np.asarray(points[ConvexHull(points).vertices], float)


def enclosing_ellipsoid(points: Points) -> tuple[Points, Points]:
    """Return centre (3,) and matrix (3, 3) of the smallest ellipsoid (x - c)ᵀ A (x - c) ≤ 1 around points (n, 3).

    The points must not be in one plane.
    """
    count, dimensions = points.shape
    size = dimensions + 1
    # Centred and scaled, so that no step depends on where the points are or on their unit.
    middle, scale = points.mean(axis=0), float(np.abs(points - points.mean(axis=0)).max())
    lifted = np.vstack([((points - middle) / scale).T, np.ones(count)])
    weights = np.full(count, 1 / count)
    for _ in range(MOST_STEPS):
        spread = (lifted * weights) @ lifted.T
        distances = np.einsum("ij,ij->j", lifted, np.linalg.solve(spread, lifted))
        farthest = int(distances.argmax())
        nearest = int(np.where(weights > 0, distances, np.inf).argmin())
        too_far, too_near = distances[farthest] / size - 1, 1 - distances[nearest] / size
        if max(too_far, too_near) <= TOLERANCE:
            break
        chosen = farthest if too_far >= too_near else nearest
        step = (distances[chosen] - size) / (size * (distances[chosen] - 1)) if distances[chosen] > 1 else -np.inf
        # An away step takes a point's whole weight at most.
        step = max(step, -weights[chosen] / (1 - weights[chosen]))
        weights *= 1 - step
        weights[chosen] = max(0.0, weights[chosen] + step)
    inside = lifted[:dimensions].T
    centre = weights @ inside
    covariance = (inside * weights[:, None]).T @ inside - np.outer(centre, centre)
    shape = np.linalg.inv(covariance)
    shape /= np.einsum("ij,jk,ik->i", inside - centre, shape, inside - centre).max()
    return centre * scale + middle, shape / scale**2


def enclosing_volume(points: Points) -> float:
    """Return the volume of the smallest ellipsoid around points (n, 3), in their unit cubed."""
    _, shape = enclosing_ellipsoid(hull_vertices(points))
    return 4 / 3 * pi / sqrt(float(np.linalg.det(shape)))
