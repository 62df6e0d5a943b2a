"""The smallest ellipsoid: by hand, against a general optimiser, and under maps that cannot matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from glioflow.quality.ellipsoids import enclosing_ellipsoid, enclosing_volume, hull_vertices

CUBE = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T.astype(float)


def cloud(seed: int, n: int = 25) -> np.ndarray:
    """Points of a round cloud, turned and stretched along its axes, one up to a hundred times another."""
    rng = np.random.default_rng(seed)
    turned, stretched = np.linalg.qr(rng.normal(size=(3, 3)))[0], 10 ** rng.uniform(-1, 1, 3)
    return (rng.normal(size=(n, 3)) * stretched) @ turned + rng.normal(size=3)


def by_optimiser(points: np.ndarray) -> float:
    """Return the volume by sequential quadratic programming: the largest det L with |L x + b| ≤ 1 at every point."""
    middle, scale = points.mean(axis=0), points.std()
    scaled = (points - middle) / scale
    lower = np.tril_indices(3)

    def unpack(values):
        matrix = np.zeros((3, 3))
        matrix[lower] = values[:6]
        return matrix, values[6:]

    def room(values):
        matrix, shift = unpack(values)
        return 1 - ((scaled @ matrix.T + shift) ** 2).sum(axis=1)

    start = np.zeros(9)
    start[[0, 2, 5]] = 0.5 / np.abs(scaled).max() / 2
    found = minimize(
        lambda values: -np.log(np.abs(unpack(values)[0].diagonal())).sum(), start, method="SLSQP",
        constraints={"type": "ineq", "fun": room}, options={"maxiter": 1000, "ftol": 1e-13},
    )  # fmt: skip
    return 4 / 3 * np.pi * scale**3 / abs(np.linalg.det(unpack(found.x)[0]))


def test_around_a_cube_it_is_the_sphere_through_its_corners():
    centre, shape = enclosing_ellipsoid(CUBE)
    assert centre == pytest.approx([0.5] * 3)
    assert shape == pytest.approx(np.eye(3) / 0.75, abs=1e-5)
    assert enclosing_volume(CUBE) == pytest.approx(4 / 3 * np.pi * 0.75**1.5)


def test_around_a_regular_tetrahedron_it_is_the_sphere_through_its_corners():
    corners = CUBE[[0, 3, 5, 6]]
    assert enclosing_volume(corners) == pytest.approx(4 / 3 * np.pi * 0.75**1.5)


@pytest.mark.parametrize("seed", range(8))
def test_a_general_optimiser_finds_the_same_volume(seed):
    points = hull_vertices(cloud(seed))
    assert enclosing_volume(points) == pytest.approx(by_optimiser(points), rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_it_holds_every_point_and_no_smaller_one_of_its_centre_does(seed):
    points = cloud(seed)
    centre, shape = enclosing_ellipsoid(hull_vertices(points))
    distances = np.einsum("ij,jk,ik->i", points - centre, shape, points - centre)
    assert distances.max() == pytest.approx(1) and (distances <= 1 + 1e-9).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_an_affine_map_changes_its_volume_as_any_other(seed):
    points, matrix = cloud(seed), np.random.default_rng(seed + 1).normal(size=(3, 3)) + 2 * np.eye(3)
    expected = enclosing_volume(points) * abs(np.linalg.det(matrix))
    assert enclosing_volume(points @ matrix.T + 7) == pytest.approx(expected, rel=1e-5)


def test_points_inside_do_not_matter():
    inside = np.random.default_rng(0).uniform(0.1, 0.9, (50, 3))
    assert enclosing_volume(np.concatenate([CUBE, inside])) == pytest.approx(enclosing_volume(CUBE))
