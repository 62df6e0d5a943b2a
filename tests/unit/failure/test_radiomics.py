"""Features by hand and against pyradiomics itself."""

import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from radiomics import cShape, imageoperations, shape
from radiomics.base import RadiomicsFeaturesBase
from radiomics.featureextractor import RadiomicsFeatureExtractor

from glioflow.failure.fast_shape import fast_shape_class, mesh_coefficients
from glioflow.failure.radiomics import extract_features, mask_box, mask_counts, moments
from glioflow.failure.radiomics_parameters import default_parameters, feature_names
from glioflow.imaging.volumes import Volume, read_labels, read_volume
from glioflow.study.feature_names import (
    COMPONENT_COUNT,
    FEATURE_GROUPS,
    MASK_COUNTS,
    MASK_GROUP,
    VOXEL_COUNT,
    feature_columns,
    feature_group,
)

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


def cropped_pyradiomics(
    data: NDArray[Any], mask: NDArray[np.bool_], spacing: tuple[float, float, float], parameters: Mapping[str, Any]
) -> dict[str, float]:
    """Return what pyradiomics gives that gets the image normalised by itself, cut to the mask's box with 5 voxels around."""
    settings = dict(parameters["setting"])
    box = tuple(slice(max(side.start - 5, 0), side.stop + 5) for side in mask_box(mask))
    whole, labels = (sitk.GetImageFromArray(array.T) for array in (data, mask.astype(np.uint8)))
    whole.SetSpacing(spacing)
    labels.SetSpacing(spacing)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if settings.pop("normalize"):
        whole = imageoperations.normalizeImage(whole, **settings)
    with fast_shape_class():
        values = RadiomicsFeatureExtractor(**settings, additionalInfo=False).execute(whole[box], labels[box])
    return {name: float(values[name]) for name in NAMES if name not in MASK_COUNTS}


def same(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Tell whether all of one's values are the other's to the bit, or neither is a number."""
    return all(struct.pack("d", other[name]) == struct.pack("d", value) or value != value for name, value in one.items())


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, np.float64])
def test_every_value_is_that_of_cropped_pyradiomics_to_the_bit(kind: type, normalise: bool) -> None:
    image, mask = brain_like(3)
    data, spacing, parameters = (image // 5).astype(kind), (0.9, 1.1, 2.5), default_parameters(5, normalise)
    found = extract_features(volume(data, spacing), mask, parameters).features
    assert same(cropped_pyradiomics(data, mask, spacing, parameters), found)


def test_pyradiomics_is_left_as_it_was() -> None:
    image, mask = brain_like()
    before = vars(imageoperations).copy(), RadiomicsFeaturesBase._applyBinning, shape.cShape
    extract_features(volume(image), mask, DEFAULTS)
    assert (vars(imageoperations), RadiomicsFeaturesBase._applyBinning, shape.cShape) == before


def test_values_that_are_no_integers_are_normalised_to_the_bit_too() -> None:
    image, mask = brain_like(4)
    data = np.random.default_rng(0).normal(image, 0.3).astype(np.float32)
    found = extract_features(volume(data), mask, DEFAULTS).features
    assert same(cropped_pyradiomics(data, mask, (1.0, 1.0, 1.0), DEFAULTS), found)


@settings(deadline=None, max_examples=50)
@given(arrays(np.int32, (3, 4, 5), elements=st.integers(-(2**31), 2**31 - 1)))
def test_moments_are_simpleitks_to_the_bit(data: NDArray[np.int32]) -> None:
    assume(data.min() < data.max())
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # several add up in no fixed order
    found = sitk.StatisticsImageFilter()
    found.Execute(sitk.GetImageFromArray(data.T))
    assert moments(data) == (found.GetMean(), found.GetSigma())


@pytest.mark.real_data
@pytest.mark.parametrize("channel", ["flair", "t1ce"])
def test_real_gliomas_have_the_values_of_cropped_pyradiomics_to_the_bit(real_data: Path, channel: str) -> None:
    for case in ("BraTS2021_01476", "BraTS2021_01480"):
        folder = real_data / "brats2021" / case
        image = read_volume(folder / f"{case}_{channel}.nii.gz")
        mask = read_labels(folder / f"{case}_seg.nii.gz").data > 0
        for parameters in (DEFAULTS, RAW):
            expected = cropped_pyradiomics(image.data, mask, image.spacing, parameters)
            assert same(expected, extract_features(image, mask, parameters).features), (case, parameters)


@pytest.mark.parametrize("normalise", [True, False])
def test_every_value_is_that_of_whole_pyradiomics(normalise: bool) -> None:
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


def test_the_counts_of_the_mask_are_its_voxels_and_its_26_connected_components() -> None:
    mask = box_mask((9, 9, 9), (1, 1, 1), (2, 2, 2)) | box_mask((9, 9, 9), (3, 3, 3), (1, 1, 1))
    assert mask_counts(mask) == {VOXEL_COUNT: 9, COMPONENT_COUNT: 1}  # joined at a corner
    assert mask_counts(mask | box_mask((9, 9, 9), (6, 6, 6), (1, 1, 1))) == {VOXEL_COUNT: 10, COMPONENT_COUNT: 2}


def test_grey_levels_are_counted_in_the_mask() -> None:
    data = np.zeros((5, 5, 5))
    mask = box_mask(data.shape, (1, 1, 1), (2, 2, 1))
    data[mask] = [10.0, 20.0, 30.0, 160.0]
    assert extract_features(volume(data), mask, RAW).grey_levels == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("parameters", [DEFAULTS, RAW, {"imageType": {"LoG": {"sigma": [1.0]}}}])
def test_an_image_with_a_voxel_that_is_not_finite_has_no_features(value: float, parameters: dict[str, Any]) -> None:
    image, mask = brain_like()
    data = image.astype(float)
    data[0, 0, 0] = value
    assert extract_features(volume(data), mask, parameters).note == "1 voxel of the image is not finite"
    assert extract_features(volume(data), mask, parameters).features == {}


def test_a_constant_image_cannot_be_normalised() -> None:
    _, mask = brain_like()
    for value in (np.int16(7), np.float32(0.1)):
        found = extract_features(volume(np.full(mask.shape, value)), mask, DEFAULTS)
        assert (found.features, found.note) == ({}, "the image has one value throughout and cannot be normalised")


def test_a_single_grey_level_keeps_its_features_and_has_a_note() -> None:
    image, mask = brain_like()
    image[mask] = 500
    found = extract_features(volume(image), mask, RAW)
    assert found.grey_levels == 1
    assert "1 grey level in the mask: textures mean next to nothing" in found.note
    assert found.features["original_firstorder_Mean"] == 500
    assert found.features["original_glcm_Contrast"] == 0


def test_too_many_bins_leave_out_what_needs_them_and_keep_the_shape() -> None:
    image, mask = brain_like()
    found = extract_features(volume(image), mask, default_parameters(0.5, normalise=False))
    assert re.fullmatch(r"original: \d+ bins of grey levels in the mask, 1024 at most: the bins are too narrow", found.note)
    known = {feature_group(name) for name, value in found.features.items() if not np.isnan(value)}
    assert known == {"shape", MASK_GROUP}
    assert set(found.features) == set(NAMES)


def test_a_mask_that_is_not_on_the_image_has_no_features() -> None:
    image, _ = brain_like()
    found = extract_features(volume(image), np.ones((3, 3, 3), bool), DEFAULTS)
    assert found.features == {}
    assert found.note == "the mask has shape (3, 3, 3), the image (24, 20, 16): it is not on the image"


@pytest.mark.parametrize(
    ("setting", "size", "note"),
    [
        ({"minimumROIDimensions": 1}, (1, 1, 3), ""),
        ({"minimumROIDimensions": 3}, (4, 4, 1), "the mask is a plane of 16 voxels, and 3 dimensions are asked for"),
        ({"minimumROISize": 20}, (4, 4, 1), "the mask has 16 voxels, and more than 20 are asked for"),
        ({"resegmentRange": [5000.0]}, (4, 4, 4), "pyradiomics: Resegmentation excluded too many voxels with label 1"),
    ],
)
def test_what_a_parameter_file_asks_of_a_mask_is_told(setting: dict[str, Any], size: tuple[int, int, int], note: str) -> None:
    image, _ = brain_like()
    parameters = {"setting": setting, "featureClass": {"firstorder": [], "shape": []}}
    found = extract_features(volume(image), box_mask(image.shape, (5, 5, 5), size), parameters)
    assert found.note.startswith(note)
    assert bool(found.features) == (not note)
