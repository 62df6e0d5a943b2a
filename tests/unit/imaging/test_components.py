import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import generate_binary_structure, label

from glioflow.imaging.components import bounding_box, connected_components, count_components, number_components


def mask_of(shape, *voxels):
    mask = np.zeros(shape, bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


def sizes(numbers):
    """Return the voxels of component 1, 2 and so on."""
    return np.bincount(numbers.ravel(), minlength=1)[1:].tolist()


def test_voxels_that_touch_at_a_corner_are_one_component_and_a_gap_parts_them():
    mask = mask_of((5, 4, 3), (0, 0, 0), (1, 1, 1), (3, 3, 1))
    numbers = connected_components(mask)
    assert [numbers[0, 0, 0], numbers[1, 1, 1], numbers[3, 3, 1]] == [1, 1, 2]
    assert sizes(numbers) == [2, 1]
    assert ((numbers > 0) == mask).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_components_are_numbered_by_their_first_voxel_whatever_the_memory_order(order):
    # In C order (0, 0, 5) comes before (1, 0, 0), in Fortran order after it.
    mask = np.asarray(mask_of((3, 1, 6), (0, 0, 5), (1, 0, 0), (2, 0, 0)), order=order)
    numbers = connected_components(mask)
    assert (numbers[0, 0, 5], numbers[1, 0, 0]) == (1, 2)
    assert sizes(numbers) == [1, 2]


@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 0, 0), (4, 4, 1)])
def test_an_empty_mask_has_no_component(shape):
    numbers = connected_components(np.zeros(shape, bool))
    assert numbers.shape == shape
    assert not numbers.any()
    assert sizes(numbers) == []


def test_a_single_slice_has_components_like_any_volume():
    mask = mask_of((4, 4, 1), (0, 0, 0), (1, 1, 0), (3, 3, 0))
    assert sizes(connected_components(mask)) == [2, 1]


def test_the_box_holds_every_voxel_and_no_more():
    assert bounding_box(mask_of((5, 4, 3), (1, 0, 2), (3, 2, 2))) == (slice(1, 4), slice(0, 3), slice(2, 3))
    assert bounding_box(np.zeros((2, 2, 2), bool)) == (slice(0, 0),) * 3


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=6)), st.sampled_from([6, 18, 26]), st.sampled_from("CF"))
def test_fast_components_are_scipys_in_every_memory_layout(mask, neighbours, order):
    expected, count = label(mask, generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[neighbours]))
    part = np.pad(mask, ((2, 1), (0, 3), (1, 1)), constant_values=True)[2:-1, : mask.shape[1], 1:-1]  # of a larger array
    for layout in (np.array(mask, order=order), part, part.transpose().copy().transpose()):
        numbers = number_components(layout, neighbours)
        assert len(set(zip(numbers.ravel(), expected.ravel(), strict=True)) - {(0, 0)}) == count
        assert ((numbers > 0) == mask).all()


def test_components_of_a_mask_one_voxel_wide_are_counted():
    assert count_components(mask_of((1, 3, 1), (0, 0, 0), (0, 2, 0))) == 2
    assert count_components(mask_of((7, 3, 3), (3, 1, 1))[1:-1, 1:2, 1:2]) == 1
    assert count_components(np.zeros((0, 4, 4), bool)) == 0
