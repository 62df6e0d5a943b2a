"""Size, pieces and contrast of a mask, on arrays that can be worked out by hand."""

from math import isnan, log

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, generate_binary_structure, label

from glioflow.quality.mask_features import (
    CONTRAST,
    MASK_FEATURES,
    Surroundings,
    mask_features,
    shape_features,
    shown_in,
)


def two_cubes() -> np.ndarray:
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[2:4, 2:4, 2:4] = 2
    labels[8, 8, 8:10] = 2
    return labels


def test_volume_pieces_and_share_of_the_largest():
    found = shape_features(two_cubes() > 0, voxel_ml=0.008)
    assert found == {"log_volume_ml": pytest.approx(log(0.08)), "components": 2, "largest_share": pytest.approx(0.8)}


def test_voxels_that_touch_at_a_corner_are_one_piece():
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert shape_features(mask, 1.0)["components"] == 1


def test_an_empty_mask_has_no_feature():
    around = Surroundings(np.ones((4, 4, 4)), np.zeros((4, 4, 4), np.uint8))
    found = mask_features(np.zeros((4, 4, 4), np.uint8), "ET", (1, 1, 1), around)
    assert list(found) == list(MASK_FEATURES) and all(isnan(value) for value in found.values())


def test_contrast_is_in_standard_deviations_of_the_brain_outside_the_labels():
    labels = two_cubes()
    image = np.zeros(labels.shape)
    image[:, :, :6] = 10.0
    image[:, :, 6:] = 20.0
    image[0] = 0  # no brain
    image[labels > 0] = 40.0
    rest = image[(labels == 0) & (image != 0)]
    found = Surroundings(image, labels).contrasts(labels > 0, (20, 20, 20))  # no ring is within 5 mm
    assert found["contrast"] == pytest.approx((40 - rest.mean()) / rest.std())
    assert isnan(found["ring_contrast"])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 2.0, 6.0)])
def test_the_ring_is_the_brain_within_5_mm_along_each_axis(spacing):
    rng = np.random.default_rng(3)
    labels = np.zeros((24, 20, 18), np.uint8)
    labels[9:13, 8:11, 7:9] = 3
    labels[13, 8, 7] = 2
    image = rng.normal(100, 10, labels.shape) * (rng.random(labels.shape) > 0.1)
    mask = labels == 3
    reach = [int(5 / edge) for edge in spacing]
    grown = binary_dilation(mask, np.ones([2 * more + 1 for more in reach], bool))
    ring = grown & ~mask & (image != 0)
    rest = image[(labels == 0) & (image != 0)]
    found = Surroundings(image, labels).contrasts(mask, spacing)
    assert found["ring_contrast"] == pytest.approx((image[mask].mean() - image[ring].mean()) / rest.std())


def test_a_ring_at_the_edge_of_the_image_is_cut_there():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[0, 0, 0] = 3
    image = np.arange(1.0, 217.0).reshape(labels.shape)
    found = Surroundings(image, labels).contrasts(labels == 3, (5, 5, 5))
    ring = np.zeros(labels.shape, bool)
    ring[:2, :2, :2] = True
    ring[0, 0, 0] = False
    assert found["ring_contrast"] == pytest.approx((1 - image[ring].mean()) / image[labels == 0].std())


def test_a_brain_of_one_intensity_gives_no_contrast():
    labels = two_cubes()
    found = Surroundings(np.full(labels.shape, 7.0), labels).contrasts(labels > 0, (1, 1, 1))
    assert list(found) == list(CONTRAST) and all(isnan(value) for value in found.values())


def test_components_are_those_of_scipy():
    mask = np.random.default_rng(5).random((20, 20, 20)) > 0.9
    numbers, count = label(mask, generate_binary_structure(3, 3))
    found = shape_features(mask, 1.0)
    assert found["components"] == count
    assert found["largest_share"] == pytest.approx(np.bincount(numbers.ravel())[1:].max() / mask.sum())


def test_the_channel_is_the_regions_own_or_the_models_first():
    assert shown_in("ET", ["t1", "t1ce", "flair"]) == "t1ce"
    assert shown_in("ET", ["flair", "t1"]) == "flair"
    assert shown_in("WT", []) is None
