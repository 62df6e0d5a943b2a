"""Masks whose scores are worked out by hand, properties any mask has, independent libraries, and real predictions."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from conftest import REPO
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

from glioflow.evaluation import surfaces
from glioflow.evaluation.conventions import Convention, conventions
from glioflow.evaluation.metrics import (
    NOTE_BOTH_EMPTY,
    NOTE_PREDICTION_EMPTY,
    NOTE_TRUTH_EMPTY,
    PENALTY,
    Pair,
    Score,
    metric_columns,
)
from glioflow.evaluation.surfaces import boundary
from glioflow.imaging.labels import ED, ET, NCR, RC, canonical_labels, region_mask
from glioflow.imaging.volumes import read_volume

Labels = NDArray[np.uint8]
Box = tuple[slice, slice, slice]
GLIOFLOW = conventions()["glioflow"]
METRICS = metric_columns(GLIOFLOW)
UNHURRIED = settings(deadline=None)  # a busy machine may stall any single example
DISTANCES = ("hausdorff", "hd95_mm", "assd_mm", "masd_mm")
COUNT_RATIOS = ("dice", "iou", "sens", "spec", "precision")


def label_map(shape: tuple[int, int, int], *boxes: tuple[int, Box]) -> Labels:
    labels = np.zeros(shape, np.uint8)
    for label, box in boxes:
        labels[box] = label
    return labels


def cube(start: int, stop: int) -> Box:
    return (slice(start, stop),) * 3


def voxel(x: int, y: int, z: int) -> Box:
    return slice(x, x + 1), slice(y, y + 1), slice(z, z + 1)


def score_regions(
    truth: Labels, prediction: Labels, spacing: Sequence[float], regions: Sequence[str], convention: Convention
) -> dict[str, Score]:
    pair = Pair(truth, prediction, spacing)
    return {region: pair.score(region, convention) for region in regions}


def score(truth: Labels, prediction: Labels, region: str = "WT", spacing: tuple[float, ...] = (1, 1, 1)) -> Score:
    return score_regions(truth, prediction, spacing, [region], GLIOFLOW)[region]


def test_two_voxels_apart_are_as_far_as_their_centres_in_mm() -> None:
    truth = label_map((6, 6, 6), (ED, voxel(1, 1, 1)))
    prediction = label_map((6, 6, 6), (ED, voxel(4, 3, 1)))
    found = score(truth, prediction, spacing=(1.0, 2.0, 5.0))
    # 3 voxels of 1 mm and 2 of 2 mm: a right triangle with legs 3 and 4.
    assert (found["hausdorff"], found["hd95_mm"], found["assd_mm"]) == (5.0, 5.0, 5.0)
    assert (found["dice"], found["iou"], found["sens"], found["precision"]) == (0, 0, 0, 0)
    assert found["spec"] == pytest.approx(214 / 215)
    assert found["volume_truth_ml"] == found["volume_prediction_ml"] == pytest.approx(0.010)
    assert found["note"] == ""


def test_each_axis_has_its_own_spacing() -> None:
    truth = label_map((4, 4, 4), (ED, voxel(0, 0, 0)))
    spacing = (0.5, 2.0, 7.0)
    steps = [label_map((4, 4, 4), (ED, voxel(*np.eye(3, dtype=int)[axis].tolist()))) for axis in range(3)]
    assert [score(truth, step, spacing=spacing)["hausdorff"] for step in steps] == list(spacing)


def test_identical_masks_are_perfect_at_distance_zero() -> None:
    labels = label_map((9, 9, 9), (ED, cube(1, 8)), (NCR, cube(2, 6)), (ET, cube(3, 5)))
    for found in score_regions(labels, labels.copy(), (1, 1, 1), ["WT", "TC", "ET"], GLIOFLOW).values():
        assert [found[metric] for metric in COUNT_RATIOS] == [1, 1, 1, 1, 1]
        assert [found[metric] for metric in DISTANCES] == [0, 0, 0, 0]
        assert (found["nsd_1mm"], found["nsd_2mm"]) == (1, 1)


def test_nested_cubes() -> None:
    truth = label_map((9, 9, 9), (ED, cube(2, 7)))  # 5 voxels wide: 125, of which 98 on the surface
    prediction = label_map((9, 9, 9), (ED, cube(3, 6)))  # 3 voxels wide: 27, of which 26
    found = score(truth, prediction)
    assert found["dice"] == pytest.approx(2 * 27 / (125 + 27))
    assert found["iou"] == pytest.approx(27 / 125)
    assert found["sens"] == pytest.approx(27 / 125)
    assert found["precision"] == found["spec"] == 1
    # The outer surface: 6 x 9 voxels face the inner cube (1 mm), 12 x 3 lie off its edges, 8 off its corners.
    outer = 54 * [1.0] + 36 * [math.sqrt(2)] + 8 * [math.sqrt(3)]
    inner = 26 * [1.0]
    assert found["hausdorff"] == pytest.approx(math.sqrt(3))
    # 8 of 98 are corners: the 95th percentile is position 92.15 of 0 to 97, and the corners begin at 90.
    assert found["hd95_mm"] == pytest.approx(math.sqrt(3))
    assert found["assd_mm"] == pytest.approx(sum(outer + inner) / (98 + 26))


def test_hd95_takes_the_worse_direction_and_leaves_out_a_far_speck() -> None:
    truth = label_map((60, 5, 5), (ED, (slice(0, 40), slice(2, 3), slice(2, 3))))
    prediction = truth.copy()
    prediction[59, 2, 2] = ED
    found = score(truth, prediction)
    assert found["hausdorff"] == 20
    assert found["hd95_mm"] == 0  # 1 of 41 predicted voxels, under 5 %, is off; a true voxel never is
    assert found["assd_mm"] == pytest.approx(20 / 81)


def test_hd95_interpolates_between_neighbouring_distances() -> None:
    truth = label_map((30, 3, 3), (ED, voxel(0, 1, 1)))
    prediction = label_map((30, 3, 3), (ED, (slice(0, 11), slice(1, 2), slice(1, 2))))
    # Distances 0, 1 ... 10 from the prediction: position 9.5 of 0 to 10. From the truth: 0.
    assert score(truth, prediction)["hd95_mm"] == pytest.approx(9.5)


def test_touching_cubes_share_no_voxel_and_are_one_step_apart_at_the_contact() -> None:
    truth = label_map((8, 4, 4), (ED, (slice(0, 2), slice(1, 3), slice(1, 3))))
    prediction = label_map((8, 4, 4), (ED, (slice(2, 4), slice(1, 3), slice(1, 3))))
    found = score(truth, prediction)
    assert found["dice"] == 0
    assert (found["hausdorff"], found["assd_mm"]) == (2, 1.5)  # four voxels at 1 mm and four at 2 mm, either way


def test_the_wall_of_a_hole_is_boundary() -> None:
    full = label_map((7, 7, 7), (ED, cube(0, 7)))
    hollow = full.copy()
    hollow[3, 3, 3] = 0
    found = score(full, hollow)
    # The six voxels around the hole lie 2 voxels below the outer surface; the outer surfaces are the same.
    assert found["hausdorff"] == 2
    assert boundary(hollow > 0).sum() == boundary(full > 0).sum() + 6


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 4), (2, 4, 4), (2, 2, 2)])
def test_a_mask_without_depth_is_all_surface(shape: tuple[int, int, int]) -> None:
    assert boundary(np.ones(shape, bool)).all()


def test_beyond_the_image_is_outside() -> None:
    full = np.ones((5, 5, 5), bool)
    assert boundary(full).sum() == 125 - 27


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_surface_in_a_slice_is_the_contour(axis: int) -> None:
    plane = np.pad(np.ones((5, 4), np.uint8), 2) * np.uint8(ED)
    labels = np.expand_dims(plane, axis)
    spacing = tuple(np.insert([1.0, 2.0], axis, 9.0))
    assert boundary(labels > 0, axis).sum() == 5 * 4 - 3 * 2
    # The prediction lacks the first row, 1 mm wide: of the truth's 14 contour pixels its 4 are 1 mm away, of the prediction's
    # 12 the 2 in the middle of what is its first row.
    shorter = labels.copy()
    np.moveaxis(shorter, axis, 2)[2, :, 0] = 0
    found = score(labels, shorter, spacing=spacing)
    assert (found["hausdorff"], found["nsd_1mm"]) == (1, 1)
    assert found["assd_mm"] == pytest.approx((4 + 2) / (14 + 12))
    assert score(labels, shorter, spacing=tuple(np.insert([3.0, 2.0], axis, 9.0)))["hausdorff"] == 3


def test_volumes_and_their_errors_are_in_ml() -> None:
    truth, prediction = label_map((9, 9, 9), (ED, cube(0, 2))), label_map((9, 9, 9), (ED, cube(0, 3)))
    found = score(truth, prediction, spacing=(1, 2, 5))
    volumes = [found[name] for name in METRICS if name.startswith("volume")]
    assert volumes == pytest.approx([0.08, 0.27, 0.19, 19 / 8])


@pytest.mark.parametrize(
    ("voxels", "components"),
    [
        ([], 0),
        ([(1, 1, 1)], 1),
        ([(1, 1, 1), (2, 2, 2)], 1),
        ([(1, 1, 1), (3, 1, 1)], 2),
        ([(0, 0, 0), (8, 8, 8), (4, 4, 4)], 3),
    ],
)
def test_components_of_the_prediction_touch_by_a_corner_at_least(voxels: list[tuple[int, int, int]], components: int) -> None:
    prediction = label_map((9, 9, 9), *((ED, voxel(*place)) for place in voxels))
    truth = label_map((9, 9, 9), (ED, cube(0, 2)), (ED, cube(5, 7)))  # whose components do not count
    assert score(truth, prediction)["components_prediction"] == components


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, (5, 6, 4), elements=st.sampled_from([0, 0, ED, ET])))
def test_components_are_those_that_scipy_finds(prediction: NDArray[np.uint8]) -> None:
    truth = label_map((5, 6, 4), (ED, cube(0, 2)))
    for region in ("WT", "ET"):
        expected = ndimage.label(region_mask(prediction, region), np.ones((3, 3, 3)))[1]
        assert score(truth, prediction, region)["components_prediction"] == expected


def test_surface_overlap_counts_what_is_within_the_tolerance() -> None:
    # A line of 4 voxels and one of 6: the ends of the longer are 1 and 2 mm from the shorter.
    truth = label_map((9, 3, 3), (ED, (slice(0, 4), slice(1, 2), slice(1, 2))))
    prediction = label_map((9, 3, 3), (ED, (slice(0, 6), slice(1, 2), slice(1, 2))))
    found = score(truth, prediction)
    assert (found["nsd_1mm"], found["nsd_2mm"]) == (pytest.approx((4 + 5) / 10), 1)
    assert found["masd_mm"] == pytest.approx((0 / 4 + 3 / 6) / 2)
    assert found["assd_mm"] == pytest.approx(3 / 10)


def test_both_empty_is_undefined_and_says_so() -> None:
    nothing = np.zeros((3, 3, 3), np.uint8)
    found = score(nothing, nothing)
    undefined = ("dice", "iou", "sens", "precision", *DISTANCES, "nsd_1mm", "nsd_2mm", "volume_error_relative")
    assert all(math.isnan(float(found[metric])) for metric in undefined)
    assert found["spec"] == 1
    assert (found["volume_truth_ml"], found["volume_prediction_ml"]) == (0, 0)
    assert found["note"] == NOTE_BOTH_EMPTY == "absent in truth and prediction"


def test_empty_prediction_gets_the_penalty_not_zero() -> None:
    found = score(label_map((3, 3, 3), (ED, voxel(1, 1, 1))), np.zeros((3, 3, 3), np.uint8))
    assert [found[metric] for metric in DISTANCES] == [pytest.approx(math.sqrt(27))] * 4
    assert (found["nsd_1mm"], found["nsd_2mm"]) == (0, 0)
    assert (found["dice"], found["iou"], found["sens"], found["spec"]) == (0, 0, 0, 1)
    assert math.isnan(found["precision"])
    assert found["note"] == NOTE_PREDICTION_EMPTY == "penalty: absent in prediction"


def test_false_alarm_gets_the_penalty_and_undefined_sensitivity() -> None:
    found = score(np.zeros((3, 3, 3), np.uint8), label_map((3, 3, 3), (ED, voxel(1, 1, 1))))
    assert [found[metric] for metric in DISTANCES] == [pytest.approx(math.sqrt(27))] * 4
    assert (found["nsd_1mm"], found["nsd_2mm"]) == (0, 0)
    assert (found["dice"], found["iou"], found["precision"]) == (0, 0, 0)
    assert found["spec"] == pytest.approx(26 / 27)
    assert math.isnan(found["sens"])
    assert found["note"] == NOTE_TRUTH_EMPTY == "penalty: absent in truth"


@pytest.mark.parametrize("name", ["open_brats2020", "medpy", "nnunet"])
def test_where_an_empty_mask_costs_no_distance_no_penalty_is_noted(name: str) -> None:
    truth, nothing = label_map((3, 3, 3), (ED, voxel(1, 1, 1))), np.zeros((3, 3, 3), np.uint8)
    assert score_regions(truth, nothing, (1, 1, 1), ["WT"], conventions()[name])["WT"]["note"] == "absent in prediction"


def test_a_region_can_be_empty_where_the_tumour_is_not() -> None:
    truth = label_map((5, 5, 5), (ED, cube(1, 4)))
    prediction = label_map((5, 5, 5), (ED, cube(1, 4)), (ET, voxel(2, 2, 2)))
    found = score_regions(truth, prediction, (1, 1, 1), ["WT", "TC", "ET", "RC"], GLIOFLOW)
    whole, core, enhancing, cavity = found.values()
    assert whole["dice"] == 1
    assert core["note"] == enhancing["note"] == NOTE_TRUTH_EMPTY
    assert cavity["note"] == NOTE_BOTH_EMPTY


def test_a_truth_that_fills_the_image_has_no_specificity() -> None:
    full = np.full((3, 3, 3), ED, np.uint8)
    assert math.isnan(score(full, full)["spec"])


def test_regions_are_the_sets_of_labels_that_brats_names() -> None:
    truth = label_map((8, 1, 1), *((label, voxel(i, 0, 0)) for i, label in enumerate((NCR, ED, ET, RC))))
    prediction = label_map((8, 1, 1), *((label, voxel(i, 0, 0)) for i, label in enumerate((ET, ET, ED, NCR))))
    by_region = score_regions(truth, prediction, (1, 1, 1), ["WT", "TC", "ET", "ED", "NCR", "RC"], GLIOFLOW)
    assert list(by_region) == ["WT", "TC", "ET", "ED", "NCR", "RC"]
    assert by_region["WT"]["dice"] == pytest.approx(2 * 3 / 7)  # the cavity predicted as core is a false positive
    assert by_region["TC"]["dice"] == pytest.approx(2 * 1 / 5)
    assert [by_region[region]["dice"] for region in ("ET", "ED", "NCR", "RC")] == [0, 0, 0, 0]


def test_a_label_beyond_the_canonical_is_refused() -> None:
    good, bad = label_map((3, 3, 3), (ED, cube(0, 2))), label_map((3, 3, 3), (5, cube(0, 2)))
    with pytest.raises(ValueError, match="prediction holds the label 5"):
        score(good, bad)
    with pytest.raises(ValueError, match="truth holds the label 5"):
        score(bad, good)


def test_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"truth has shape \(3, 3, 3\), prediction \(3, 3, 1\)"):
        score(np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 1), np.uint8))


def small_maps(largest: int = RC) -> st.SearchStrategy[tuple[Labels, Labels]]:
    shapes = st.tuples(*(st.integers(2, 6),) * 3)  # of one voxel along an axis, an image is a slice
    return shapes.flatmap(lambda shape: st.tuples(*(arrays(np.uint8, shape, elements=st.integers(0, largest)),) * 2))


REGION_CHOICE = st.sampled_from(["WT", "TC", "ET", "ED", "NCR", "RC"])
SPACING_CHOICE = st.tuples(*(st.sampled_from([0.5, 1.0, 1.25, 3.0]),) * 3)


def values(found: Score, *metrics: str) -> list[float]:
    return [float(found[metric]) for metric in metrics]


@UNHURRIED
@given(small_maps(), REGION_CHOICE, SPACING_CHOICE)
def test_swapping_truth_and_prediction_swaps_only_the_one_sided_metrics(
    maps: tuple[Labels, Labels], region: str, spacing: tuple[float, ...]
) -> None:
    one, other = score(*maps, region, spacing), score(*maps[::-1], region, spacing)
    same = ("dice", "iou", *DISTANCES)
    assert values(one, *same) == pytest.approx(values(other, *same), nan_ok=True)
    ahead = ("sens", "precision", "volume_truth_ml", "volume_prediction_ml")
    swapped = ("precision", "sens", "volume_prediction_ml", "volume_truth_ml")
    assert values(one, *ahead) == pytest.approx(values(other, *swapped), nan_ok=True)


@UNHURRIED
@given(small_maps(), REGION_CHOICE, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=3))
def test_where_the_tumour_lies_changes_only_the_specificity(
    maps: tuple[Labels, Labels], region: str, margins: list[tuple[int, int]]
) -> None:
    truth, prediction = (np.pad(labels, margins) for labels in maps)
    moved = score(truth, prediction, region)
    still = score(*maps, region)
    # The image's diagonal, which stands for a miss, grows with the margins.
    penalised = ("spec", *DISTANCES) if str(still["note"]).startswith(PENALTY) else ("spec",)
    without_spec = [name for name in METRICS if name not in penalised]
    assert values(moved, *without_spec) == pytest.approx(values(still, *without_spec), nan_ok=True)


@UNHURRIED
@given(small_maps(), REGION_CHOICE, SPACING_CHOICE, st.permutations([0, 1, 2]), st.integers(0, 2))
def test_turning_and_mirroring_the_image_changes_nothing(
    maps: tuple[Labels, Labels], region: str, spacing: tuple[float, ...], axes: list[int], flipped: int
) -> None:
    truth, prediction = (np.flip(labels.transpose(axes), flipped) for labels in maps)
    turned = score(truth, prediction, region, tuple(spacing[axis] for axis in axes))
    still = score(*maps, region, spacing)
    assert values(turned, *METRICS) == pytest.approx(values(still, *METRICS), nan_ok=True)


@UNHURRIED
@given(small_maps(), REGION_CHOICE, SPACING_CHOICE, st.sampled_from([0.5, 2.0, 3.0]))
def test_distances_scale_with_the_spacing_and_volumes_with_its_cube(
    maps: tuple[Labels, Labels], region: str, spacing: tuple[float, ...], factor: float
) -> None:
    one = score(*maps, region, spacing)
    scaled = score_regions(*maps, [factor * step for step in spacing], [region], GLIOFLOW)[region]
    assert values(scaled, *DISTANCES) == pytest.approx([factor * v for v in values(one, *DISTANCES)], nan_ok=True)
    volumes = ("volume_truth_ml", "volume_prediction_ml")
    assert values(scaled, *volumes) == pytest.approx([factor**3 * v for v in values(one, *volumes)])
    assert values(scaled, *COUNT_RATIOS) == pytest.approx(values(one, *COUNT_RATIOS), nan_ok=True)


@UNHURRIED
@given(small_maps(), REGION_CHOICE, st.integers(0, 4))
def test_specificity_counts_the_whole_image(maps: tuple[Labels, Labels], region: str, margin: int) -> None:
    truth, prediction = (np.pad(labels, margin) for labels in maps)
    in_truth, in_prediction = region_mask(truth, region), region_mask(prediction, region)
    negatives = np.count_nonzero(~in_truth)
    expected = np.count_nonzero(~in_truth & ~in_prediction) / negatives if negatives else math.nan
    assert score(truth, prediction, region)["spec"] == pytest.approx(expected, nan_ok=True)


@UNHURRIED
@given(small_maps(), REGION_CHOICE, SPACING_CHOICE)
def test_no_distance_is_negative_beyond_the_diagonal_or_above_hausdorff(
    maps: tuple[Labels, Labels], region: str, spacing: tuple[float, ...]
) -> None:
    diagonal = float(np.linalg.norm(np.multiply(maps[0].shape, spacing)))
    found = score_regions(*maps, spacing, [region], GLIOFLOW)[region]
    if found["note"] != NOTE_BOTH_EMPTY:
        assert all(0 <= distance <= found["hausdorff"] <= diagonal for distance in values(found, *DISTANCES))


@UNHURRIED
@given(small_maps(), st.sampled_from("CF"), st.sampled_from("CF"))
def test_the_order_in_memory_does_not_matter(maps: tuple[Labels, Labels], order: str, other: str) -> None:
    truth, prediction = maps
    found = score(np.asarray(truth, order=order), np.asarray(prediction, order=other))  # type: ignore[call-overload]
    assert values(found, *METRICS) == pytest.approx(values(score(truth, prediction), *METRICS), nan_ok=True)


@UNHURRIED
@given(small_maps())
def test_scoring_leaves_the_maps_as_they_were(maps: tuple[Labels, Labels]) -> None:
    before = [labels.copy() for labels in maps]
    score_regions(*maps, (1, 1, 1), ["WT", "TC", "ET"], GLIOFLOW)
    assert all(np.array_equal(labels, kept) for labels, kept in zip(maps, before, strict=True))


def blobs(seed: int) -> tuple[Labels, Labels]:
    """Two smooth, overlapping masks with holes, islands and parts cut off by the border."""
    noise = np.random.default_rng(seed)
    shape = (24, 19, 15)
    shared = ndimage.gaussian_filter(noise.normal(size=shape), 2.0)
    apart = [ndimage.gaussian_filter(noise.normal(size=shape), 1.0) * 0.3 for _ in range(2)]
    truth, prediction = (((shared + part) > 0.08).astype(np.uint8) * ED for part in apart)
    return truth, prediction


def itk_image(mask: Labels, spacing: tuple[float, ...]) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray((mask > 0).astype(np.uint8).transpose(2, 1, 0))
    image.SetSpacing(spacing)
    return image


def itk_directed(start: SimpleITK.Image, target: SimpleITK.Image) -> NDArray[np.float64]:
    """Distances from the surface voxels of one padded image to those of another, by ITK's contour and distance filters."""
    contours = [SimpleITK.LabelContour(image, fullyConnected=False) for image in (start, target)]
    field = SimpleITK.SignedMaurerDistanceMap(contours[1], squaredDistance=False, useImageSpacing=True)
    return np.asarray(np.abs(SimpleITK.GetArrayFromImage(field)[SimpleITK.GetArrayFromImage(contours[0]) > 0]), np.float64)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 1.25, 3.0)])
def test_values_are_those_of_simpleitk(seed: int, spacing: tuple[float, ...]) -> None:
    truth, prediction = blobs(seed)
    found = score(truth, prediction, spacing=spacing)
    images = [itk_image(mask, spacing) for mask in (truth, prediction)]
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images[::-1])  # ITK's second argument, the target, is the truth
    assert found["dice"] == pytest.approx(overlap.GetDiceCoefficient(1))
    assert found["iou"] == pytest.approx(overlap.GetJaccardCoefficient(1))
    assert found["sens"] == pytest.approx(1 - overlap.GetFalseNegativeError(1))
    assert found["spec"] == pytest.approx(1 - overlap.GetFalsePositiveError(1))
    assert found["precision"] == pytest.approx(1 - overlap.GetFalseDiscoveryRate(1))
    # ITK takes no outside beyond the border for a neighbour, so a margin stands in for it.
    padded = [SimpleITK.ConstantPad(image, [1] * 3, [1] * 3) for image in images]
    to_prediction, to_truth = itk_directed(*padded), itk_directed(*padded[::-1])
    both = np.concatenate([to_prediction, to_truth])
    assert found["hausdorff"] == pytest.approx(both.max(), rel=1e-6)
    assert found["hd95_mm"] == pytest.approx(max(np.percentile(to_prediction, 95), np.percentile(to_truth, 95)), rel=1e-6)
    assert found["assd_mm"] == pytest.approx(both.mean(), rel=1e-6)


def surface_points(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    eroded = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1), border_value=0)
    return np.asarray(np.argwhere(mask & ~eroded) * np.array(spacing), np.float64)


def scipy_hausdorff(truth: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    points = [surface_points(mask, spacing) for mask in (truth, prediction)]
    return float(max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0]))


@pytest.mark.parametrize("seed", range(3))
def test_surfaces_too_large_for_a_tree_have_the_same_distances(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spacing = (0.9, 1.1, 2.5)
    searched = score(*blobs(seed), spacing=spacing)
    monkeypatch.setattr(surfaces, "TREE_LIMIT", 0)
    monkeypatch.setattr(surfaces, "cKDTree", None)
    assert values(score(*blobs(seed), spacing=spacing), *DISTANCES) == pytest.approx(values(searched, *DISTANCES))


@pytest.mark.parametrize("seed", range(6))
def test_hausdorff_is_that_of_scipy(seed: int) -> None:
    truth, prediction = blobs(seed)
    spacing = (0.9, 1.1, 2.5)
    assert score(truth, prediction, spacing=spacing)["hausdorff"] == pytest.approx(
        scipy_hausdorff(truth > 0, prediction > 0, spacing)
    )


AFRICA_SCHEME = {1: ET, 2: NCR, 3: ED}
AFRICA_CASES = ("BraTS2024_SSA-00002-000", "BraTS2024_SSA-00230-000")


def real_data() -> Path:
    root = Path(os.environ.get("GLIOFLOW_REAL_DATA") or REPO.parent / "shared" / "data")
    if not (root / "brats_africa").is_dir():
        pytest.skip(f"no real MRI: {root / 'brats_africa'} is missing; set GLIOFLOW_REAL_DATA to the folder that holds it")
    return root / "brats_africa"


@pytest.mark.real_data
@pytest.mark.parametrize("case", AFRICA_CASES)
def test_real_predictions_score_as_the_plain_formulae_say(case: str) -> None:
    root = real_data()
    # Truth and prediction correspond by index: the files' affines do not agree.
    truth, _ = canonical_labels(read_volume(root / "images" / case / f"{case}_seg.nii.gz").data, AFRICA_SCHEME)
    prediction, _ = canonical_labels(
        read_volume(root / "predictions" / "nnUnet" / case / f"{case}_pred.nii.gz").data, AFRICA_SCHEME
    )
    for found in score_regions(truth, prediction, (1, 1, 1), ["WT", "TC", "ET"], GLIOFLOW).values():
        in_truth, in_prediction = region_mask(truth, found["label"]), region_mask(prediction, found["label"])
        shared = np.count_nonzero(in_truth & in_prediction)
        assert found["dice"] == pytest.approx(2 * shared / (np.count_nonzero(in_truth) + np.count_nonzero(in_prediction)))
        assert found["spec"] == pytest.approx(np.mean(~in_prediction[~in_truth]))
        assert found["hausdorff"] == pytest.approx(scipy_hausdorff(in_truth, in_prediction, (1, 1, 1)))
        assert 0.7 < found["dice"] < 1
