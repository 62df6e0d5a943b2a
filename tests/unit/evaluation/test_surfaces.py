"""Surface elements and their weights: every kind of neighbourhood, against surface-distance's own tables, and by hand."""

import math

import numpy as np
import pytest
from surface_distance import lookup_tables

from glioflow.evaluation.surfaces import (
    Surface,
    area_surface,
    element_weights,
    find_surface,
    measure,
    percentile,
    total,
    within,
)
from glioflow.imaging.marching_cubes import CORNERS

SPACINGS = [(1.0, 1.0, 1.0), (0.5, 1.25, 3.0)]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_areas_of_all_neighbourhoods_are_those_of_surface_distance(spacing: tuple[float, float, float]) -> None:
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    codes = [sum(int(kernel[corner]) for bit, corner in enumerate(CORNERS) if code >> bit & 1) for code in range(256)]
    assert element_weights(spacing) == pytest.approx(theirs[codes])


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("across", [0, 1, 2])
def test_lengths_in_a_slice_are_those_of_surface_distance(spacing: tuple[float, float, float], across: int) -> None:
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL
    theirs = lookup_tables.create_table_neighbour_code_to_contour_length(tuple(np.delete(spacing, across)))
    ours = element_weights(spacing, across)
    for code in range(256):
        corners = [corner for bit, corner in enumerate(CORNERS) if code >> bit & 1]
        if all(corner[across] == 0 for corner in corners):
            assert ours[code] == pytest.approx(theirs[sum(int(kernel[tuple(np.delete(corner, across))]) for corner in corners)])


def test_a_voxel_has_eight_corners_each_cut_off_by_a_triangle() -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    surface = area_surface(mask, (1.0, 1.0, 1.0))
    assert surface.shape == (4, 4, 4)
    # Each triangle joins the midpoints of three edges: its sides are sqrt(2) / 2, its area sqrt(3) / 4 * 1 / 2.
    assert surface.weights == pytest.approx([math.sqrt(3) / 8] * 8)
    corners = np.argwhere(np.isin(np.arange(64).reshape(4, 4, 4), surface.places))
    assert corners.tolist() == [[x, y, z] for x in (1, 2) for y in (1, 2) for z in (1, 2)]


def test_at_the_border_the_surface_goes_on() -> None:
    whole = area_surface(np.ones((2, 2, 2), bool), (1.0, 1.0, 1.0))
    inside = area_surface(np.pad(np.ones((2, 2, 2), bool), 1), (1.0, 1.0, 1.0))
    assert whole.weights is not None and inside.weights is not None
    assert sorted(whole.weights) == pytest.approx(sorted(inside.weights))
    assert len(whole.places) == 27 - 1  # every corner of the eight voxels but the one amid them


def test_all_voxels_of_a_mask_are_its_surface_where_that_is_asked() -> None:
    assert len(find_surface(np.ones((3, 3, 3), bool), "mask", (1.0, 1.0, 1.0)).places) == 27
    assert len(find_surface(np.ones((3, 3, 3), bool), "voxels", (1.0, 1.0, 1.0)).places) == 26


def test_distances_name_the_nearest_element() -> None:
    start, target = Surface((10, 1, 1), np.array([0, 3, 9])), Surface((10, 1, 1), np.array([1, 3, 6]))
    found = measure(start, target, (2.0, 1.0, 1.0))
    assert found.nearest is not None
    assert (found.mm.tolist(), found.nearest.tolist()) == ([2, 0, 6], [0, 1, 2])


def test_a_step_of_a_turned_image_is_within_its_millimetre() -> None:
    step = 1.0000000235  # of 1 mm, turned by 12 degrees and stored as 32-bit floats
    found = measure(Surface((3, 1, 1), np.array([0])), Surface((3, 1, 1), np.array([1])), (step, step, step))
    assert (within(found, 1.0), within(found, 0.99)) == (1, 0)


def test_a_weighed_percentile_does_not_hang_on_the_rounding_of_a_sum() -> None:
    target = Surface((40, 1, 1), np.array([39]))
    for weight in (0.1, 0.3, 1 / 3, 0.7, 1.0):
        start = Surface((40, 1, 1), np.arange(20), np.full(20, weight))
        assert percentile(measure(start, target, (1.0, 1.0, 1.0)), 95) == 20 + 18  # 19 of 20 have 95 %


def test_a_weighed_percentile_is_the_first_distance_that_reaches_it() -> None:
    start = Surface((10, 1, 1), np.array([0, 1, 2, 3]), np.array([1.0, 6.0, 2.0, 1.0]))
    found = measure(start, Surface((10, 1, 1), np.array([9])), (1.0, 1.0, 1.0))
    # In the order of distance, 6, 7, 8 and 9 mm, the weights reach 10, 30, 90 and 100 %.
    assert [percentile(found, percent) for percent in (10, 11, 30, 90, 95, 100)] == [6, 7, 7, 8, 9, 9]
    assert total(found) == 10
