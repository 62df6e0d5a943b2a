"""Shape features of a region: which part of it, which slice, and what is undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glioflow.quality.ellipsoids import enclosing_volume
from glioflow.quality.outlines import margin_fluctuation, relative_distances
from glioflow.quality.shapes import FEATURES, axial_axis, ellipsoid_ratio, largest_component, shape_features, voxel_corners

LPS = np.diag([-1.0, -1, 1, 1])
BOX = 8 / (4 / 3 * np.pi * 3**1.5)  # of a cube in the sphere through its corners


def ball(radius: float, size: int) -> np.ndarray:
    return np.sqrt(((np.indices((size,) * 3) - (size - 1) / 2) ** 2).sum(axis=0)) <= radius


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (20, 1, 1), (7, 7, 1)])
def test_a_box_fills_what_a_cube_fills_of_its_sphere(shape):
    assert ellipsoid_ratio(np.ones(shape, bool)) == pytest.approx(BOX, rel=1e-5)


def test_a_ball_fills_its_ellipsoid_but_for_the_corners_of_its_voxels():
    found = [ellipsoid_ratio(ball(radius, 2 * radius + 3)) for radius in (5, 10, 25)]
    assert found == sorted(found) and found[0] > 0.6 and found[-1] > 0.88


def test_the_size_of_a_voxel_does_not_change_the_ratio():
    mask = ball(6, 16)
    assert ellipsoid_ratio(mask.repeat(2, axis=2)) == pytest.approx(ellipsoid_ratio(mask), rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_the_corners_that_are_taken_have_the_ellipsoid_of_all(seed):
    mask = np.random.default_rng(seed).random((5, 4, 6)) < 0.2
    mask[2, 2, 2] = True
    every = np.unique([voxel + corner for voxel in np.argwhere(mask) for corner in np.ndindex(2, 2, 2)], axis=0).astype(float)
    assert enclosing_volume(voxel_corners(mask)) == pytest.approx(enclosing_volume(every), rel=1e-5)


def test_islands_have_no_part_in_the_shape():
    mask = np.zeros((40, 40, 40), bool)
    mask[5:22, 5:22, 5:22] = ball(8, 17)
    alone = shape_features(mask, LPS, (1, 1, 1))
    mask[30:33, 30:33, 30:33] = True
    assert shape_features(mask, LPS, (1, 1, 1)) == alone
    assert largest_component(mask).sum() == ball(8, 17).sum()


def test_the_outline_is_that_of_the_largest_axial_slice_whatever_the_array_is_like():
    mask = np.zeros((24, 24, 12), bool)
    mask[3:8, 3:8, 2:9] = True
    mask[3:20, 3:7, 5] = True
    mask[10, 7:12, 5] = True
    piece = mask[:, :, 5]
    expected = margin_fluctuation(relative_distances(piece, (1, 2))[1])
    assert shape_features(mask, LPS, (1, 2, 3))[0]["margin_fluctuation"] == pytest.approx(expected)
    turned = LPS[:, [2, 0, 1, 3]]  # the first axis runs from feet to head
    assert axial_axis(turned) == 0
    found = shape_features(mask.transpose(2, 0, 1), turned, (3, 1, 2))[0]
    assert found["margin_fluctuation"] == pytest.approx(expected)


def test_an_irregular_tumour_fills_less_and_fluctuates_more():
    smooth = ball(9, 24)
    spiky = smooth.copy()
    spiky[:, 11:13, 11:13] = True
    spiky[11:13, :, 11:13] = True
    first, second = (shape_features(mask, LPS, (1, 1, 1))[0] for mask in (smooth, spiky))
    assert second["ellipsoid_ratio"] < first["ellipsoid_ratio"]
    assert second["angular_sd"] > first["angular_sd"] and second["margin_fluctuation"] > first["margin_fluctuation"]


def test_an_empty_region_and_one_too_small_have_a_reason():
    features, note = shape_features(np.zeros((4, 4, 4), bool), LPS, (1, 1, 1))
    assert note == "the region is empty" and np.isnan(list(features.values())).all() and tuple(features) == FEATURES
    small = np.zeros((4, 4, 4), bool)
    small[1:4, 1:4, 1:3] = True
    features, note = shape_features(small, LPS, (1, 1, 1))
    assert note == "no outline: 9 pixels in the largest slice, fewer than 10"
    assert features["ellipsoid_ratio"] == pytest.approx(BOX, rel=1e-5) and np.isnan(features["angular_sd"])
