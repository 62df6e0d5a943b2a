"""Features by hand and against pyradiomics itself."""

import math
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from radiomics import cShape
from radiomics.featureextractor import RadiomicsFeatureExtractor

from glioflow.failure.fast_shape import mesh_coefficients
from glioflow.failure.radiomics import extract_features
from glioflow.failure.radiomics_parameters import default_parameters, feature_names
from glioflow.imaging.volumes import Volume
from glioflow.study.feature_names import FEATURE_GROUPS, MASK_GROUP, feature_columns, feature_group

DEFAULTS = default_parameters()
RAW = default_parameters(normalise=False)
NAMES = feature_names(DEFAULTS)


def volume(data: NDArray[Any], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    return Volume(data, np.diag([*spacing, 1.0]))


def box_mask(shape: tuple[int, int, int], start: tuple[int, int, int], size: tuple[int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
    return mask


def brain_like(seed: int = 0) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Return an image of 24×20×16 voxels, empty at its edge, and a ragged mask in it."""
    rng = np.random.default_rng(seed)
    image = np.zeros((24, 20, 16), np.int16)
    image[3:-3, 3:-3, 3:-3] = rng.integers(200, 1200, (18, 14, 10))
    mask = box_mask(image.shape, (6, 5, 4), (11, 9, 7)) & (rng.random(image.shape) < 0.8)
    return image, mask


def test_all_seven_classes_give_107_features_and_the_mask_two_counts() -> None:
    assert len(NAMES) == len(set(NAMES)) == 107 + 2
    assert {feature_group(name) for name in NAMES} == {*FEATURE_GROUPS, MASK_GROUP}
    assert feature_columns(["case_id", *NAMES, "note", "grey_levels"]) == list(NAMES)


def test_a_box_of_3_by_4_by_5_voxels_has_the_shape_worked_out_by_hand() -> None:
    mask = box_mask((9, 9, 9), (1, 2, 3), (3, 4, 5))
    found = extract_features(volume(np.where(mask, 7, 1), (1.0, 2.0, 3.0)), mask, RAW).features
    assert found["original_shape_VoxelVolume"] == 60 * 6  # 60 voxels of 1 x 2 x 3 mm
    # Axes are 4 standard deviations of n equidistant voxels: 4 spacing sqrt((n^2 - 1) / 12), here along z, y and x.
    assert found["original_shape_MajorAxisLength"] == pytest.approx(4 * 3 * math.sqrt(24 / 12))
    assert found["original_shape_MinorAxisLength"] == pytest.approx(4 * 2 * math.sqrt(15 / 12))
    assert found["original_shape_LeastAxisLength"] == pytest.approx(4 * 1 * math.sqrt(8 / 12))
    # Vertices lie half a voxel outside the voxels' centres along one axis: the farthest pair of an x-y plane is 2 voxels apart
    # in x and 4 in y, of an x-z plane 2 and 5, of a y-z plane 3 and 5.
    assert found["original_shape_Maximum2DDiameterSlice"] == pytest.approx(math.hypot(2 * 1, 4 * 2))
    assert found["original_shape_Maximum2DDiameterColumn"] == pytest.approx(math.hypot(2 * 1, 5 * 3))
    assert found["original_shape_Maximum2DDiameterRow"] == pytest.approx(math.hypot(3 * 2, 5 * 3))


def test_first_order_features_are_those_of_the_masked_voxels_only() -> None:
    data = np.full((5, 5, 5), 1000.0)
    mask = box_mask(data.shape, (1, 1, 1), (2, 2, 1))
    data[mask] = [10.0, 20.0, 30.0, 60.0]
    found = extract_features(volume(data), mask, RAW).features
    assert found["original_firstorder_Mean"] == 30
    assert found["original_firstorder_Minimum"] == 10
    assert found["original_firstorder_Maximum"] == 60
    assert found["original_firstorder_Energy"] == 100 + 400 + 900 + 3600
    assert found["original_firstorder_Variance"] == pytest.approx((400 + 100 + 0 + 900) / 4)


def test_bins_are_as_wide_as_asked() -> None:
    data = np.zeros((5, 5, 5))
    mask = box_mask(data.shape, (1, 1, 1), (2, 2, 1))
    data[mask] = [10.0, 20.0, 30.0, 60.0]
    wide, narrow = (
        extract_features(volume(data), mask, default_parameters(width, normalise=False)).features[
            "original_firstorder_Uniformity"
        ]
        for width in (25, 5)
    )
    assert wide == (2 / 4) ** 2 + 2 * (1 / 4) ** 2  # 10 and 20 share the bin from 0 to 25
    assert narrow == 4 * (1 / 4) ** 2


def test_normalisation_is_over_the_whole_image_background_included() -> None:
    image, mask = brain_like()
    found = extract_features(volume(image), mask, DEFAULTS).features
    expected = 100 * (image[mask].mean() - image.mean()) / image.std(ddof=1)
    assert found["original_firstorder_Mean"] == pytest.approx(expected, rel=1e-9)


def test_one_voxel_of_a_million_leaves_no_grey_levels_and_that_is_noted() -> None:
    image, mask = brain_like()
    assert extract_features(volume(image), mask, DEFAULTS).note == ""
    ruined = image.astype(np.int32)
    ruined[0, 0, 0] = 1_000_000
    found = extract_features(volume(ruined), mask, DEFAULTS)
    assert found.note == "2 grey levels in the mask: textures mean next to nothing (is an intensity outlying?)"
    assert len(found.features) == len(NAMES)


def test_default_settings_leave_textures_more_than_two_grey_levels() -> None:
    image, mask = brain_like()
    assert extract_features(volume(image), mask, DEFAULTS).features["original_firstorder_Entropy"] > 2


@pytest.mark.parametrize("normalise", [True, False])
def test_cropping_before_pyradiomics_changes_no_bit(normalise: bool) -> None:
    image, mask = brain_like(3)
    spacing = (0.9, 1.1, 2.5)
    whole, whole_mask = (sitk.GetImageFromArray(a.T) for a in (image, mask.astype(np.uint8)))
    whole.SetSpacing(spacing)
    whole_mask.SetSpacing(spacing)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    expected = RadiomicsFeatureExtractor(binWidth=25, normalize=normalise, normalizeScale=100).execute(whole, whole_mask)
    found = extract_features(volume(image, spacing), mask, default_parameters(normalise=normalise)).features
    for name in NAMES:
        if feature_group(name) == "shape":
            assert found[name] == pytest.approx(float(expected[name]), rel=1e-12), name
        else:
            assert found[name] == float(expected[name]), name


def test_axes_in_any_order_give_the_same_sizes_and_first_order_features() -> None:
    image, mask = brain_like(5)
    one = extract_features(volume(image, (1.0, 2.0, 3.0)), mask, DEFAULTS).features
    other = extract_features(volume(image.transpose(2, 0, 1), (3.0, 1.0, 2.0)), mask.transpose(2, 0, 1), DEFAULTS).features
    for name in ("shape_VoxelVolume", "shape_Maximum3DDiameter", "shape_MajorAxisLength", "firstorder_Mean"):
        assert one[f"original_{name}"] == pytest.approx(other[f"original_{name}"], rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)).filter(np.any),
    st.tuples(*[st.floats(0.3, 6)] * 3),
)
def test_the_fast_mesh_is_pyradiomics_mesh(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> None:
    padded, steps = np.pad(mask, 1), np.array(spacing)
    area, content, diameters = cShape.calculate_coefficients(padded, steps)
    found_area, found_content, found_diameters = mesh_coefficients(padded, steps)
    assert found_area == pytest.approx(area, rel=1e-12)
    assert found_content == pytest.approx(content, rel=1e-9)
    assert found_diameters == diameters


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((0, 0, 0), "the mask is empty"),
        ((1, 1, 1), "the mask is a single voxel"),
        ((1, 1, 3), "the mask is a line of 3 voxels"),
    ],
)
def test_a_mask_too_small_for_features_has_none_and_says_why(size: tuple[int, int, int], reason: str) -> None:
    found = extract_features(volume(np.ones((5, 5, 5))), box_mask((5, 5, 5), (1, 1, 1), size), DEFAULTS)
    assert (found.features, found.note) == ({}, reason)


def test_a_flat_plane_of_voxels_has_features() -> None:
    image, _ = brain_like()
    found = extract_features(volume(image), box_mask(image.shape, (5, 5, 5), (4, 4, 1)), DEFAULTS)
    assert found.features["original_shape_VoxelVolume"] == 16
    assert found.features["original_shape_LeastAxisLength"] == pytest.approx(0, abs=1e-6)
