"""Lesions told apart, matched and counted by hand, on tiny label maps; and the same lesions as scipy's slower tools find."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from glioflow.evaluation.conventions import Lesions, conventions
from glioflow.evaluation.lesions import LesionScore, dilate, lesion_columns, score_lesions, touching, unite
from glioflow.evaluation.metrics import Pair
from glioflow.imaging.labels import ED, ET, NCR, RC, REGIONS

Labels = NDArray[np.uint8]
Box = tuple[slice, slice, slice]
SHAPE = (40, 12, 12)
PENALTY = 300.0
GLIOFLOW = conventions()["glioflow"]


def line(start: int, stop: int, row: int = 5) -> Box:
    """Return the voxels from ``start`` to ``stop``, both included, of one line along x."""
    return slice(start, stop + 1), slice(row, row + 1), slice(5, 6)


def label_map(*boxes: tuple[int, Box]) -> Labels:
    labels = np.zeros(SHAPE, np.uint8)
    for value, box in boxes:
        labels[box] = value
    return labels


def lesions_of(*boxes: Box, label: int = ET) -> Labels:
    return label_map(*((label, box) for box in boxes))


def rules(**changes: Any) -> Lesions:
    given: dict[str, Any] = {
        "dilation": dict.fromkeys(REGIONS, 1),
        "min_volume_mm3": dict.fromkeys(REGIONS, 1),
        "hd95_penalty_mm": PENALTY,
        "group_predicted": False,
        "united_by": {},
    }
    return Lesions(**{**given, **changes})


def score(
    truth: Labels, prediction: Labels, region: str = "ET", spacing: tuple[float, ...] = (1, 1, 1), **changes: Any
) -> LesionScore:
    return score_lesions(Pair(truth, prediction, spacing), [region], rules(**changes), GLIOFLOW)[region]


def counts(found: LesionScore) -> tuple[int, int, int]:
    return found["lesions_truth"], found["lesions_found"], found["lesions_false"]


# ---- one lesion, none


def test_one_lesion_found_has_its_dice_and_its_distance() -> None:
    found = score(lesions_of(line(5, 8)), lesions_of(line(5, 6)))
    assert counts(found) == (1, 1, 0)
    assert found["lesion_dice"] == pytest.approx(2 * 2 / (4 + 2))
    # Every voxel is surface. From the truth to the prediction: 0, 0, 1, 2 mm, whose 95th percentile is 1 + 0.85 mm.
    assert found["lesion_hd95_mm"] == pytest.approx(1.85)
    assert (found["lesion_sens"], found["lesion_precision"], found["lesion_f1"]) == (1, 1, 1)


def test_distances_and_volumes_are_in_mm() -> None:
    found = score(lesions_of(line(5, 8)), lesions_of(line(5, 6)), spacing=(2, 1, 1), min_volume_mm3={"ET": 7.9})
    assert (found["lesions_truth"], found["lesion_hd95_mm"]) == (1, pytest.approx(3.7))
    assert (
        score(lesions_of(line(5, 8)), lesions_of(line(5, 6)), spacing=(2, 1, 1), min_volume_mm3={"ET": 8})["lesions_truth"] == 0
    )


def test_nothing_in_both_is_perfect_and_has_no_ratios() -> None:
    found = score(lesions_of(), lesions_of())
    assert (found["lesion_dice"], found["lesion_hd95_mm"], *counts(found)) == (1, 0, 0, 0, 0)
    assert all(map(math.isnan, (found["lesion_sens"], found["lesion_precision"], found["lesion_f1"])))


def test_a_prediction_of_nothing_misses_every_lesion() -> None:
    found = score(lesions_of(line(2, 4), line(20, 22)), lesions_of())
    assert counts(found) == (2, 0, 0)
    assert (found["lesion_dice"], found["lesion_hd95_mm"], found["lesion_sens"], found["lesion_f1"]) == (0, PENALTY, 0, 0)
    assert math.isnan(found["lesion_precision"])


def test_lesions_without_a_truth_are_all_false() -> None:
    found = score(lesions_of(), lesions_of(line(2, 4), line(20, 22)))
    assert counts(found) == (0, 0, 2)
    assert (found["lesion_dice"], found["lesion_hd95_mm"], found["lesion_precision"], found["lesion_f1"]) == (0, PENALTY, 0, 0)
    assert math.isnan(found["lesion_sens"])


# ---- several lesions


def test_a_found_a_missed_and_a_false_lesion_share_the_mean() -> None:
    found = score(lesions_of(line(2, 5), line(15, 18)), lesions_of(line(2, 5), line(30, 32)))
    assert counts(found) == (2, 1, 1)
    assert found["lesion_dice"] == pytest.approx((1 + 0 + 0) / 3)
    assert found["lesion_hd95_mm"] == pytest.approx((0 + 2 * PENALTY) / 3)
    assert (found["lesion_sens"], found["lesion_precision"], found["lesion_f1"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("gap", "lesions"), [(1, 1), (2, 1), (3, 2)])
def test_true_lesions_merge_where_their_dilations_touch(gap: int, lesions: int) -> None:
    # Grown by one voxel each, two lines with two voxels between them are face to face; with three between them one is left.
    assert score(lesions_of(line(2, 4), line(5 + gap, 9)), lesions_of())["lesions_truth"] == lesions


def test_merged_lesions_are_scored_as_one() -> None:
    found = score(lesions_of(line(2, 4), line(7, 9)), lesions_of(line(2, 4)))
    assert counts(found) == (1, 1, 0)
    assert found["lesion_dice"] == pytest.approx(2 * 3 / (6 + 3))


def test_small_lesions_do_not_count_and_what_meets_them_is_not_false() -> None:
    found = score(lesions_of(line(2, 5), line(15, 16)), lesions_of(line(2, 5), line(15, 20)), min_volume_mm3={"ET": 2})
    assert (found["lesion_dice"], found["lesion_hd95_mm"], *counts(found)) == (1, 0, 1, 1, 0)


def test_a_lesion_of_the_limits_very_size_does_not_count() -> None:
    sizes = [score(lesions_of(line(2, 1 + n)), lesions_of(), min_volume_mm3={"ET": 3})["lesions_truth"] for n in (2, 3, 4)]
    assert sizes == [0, 0, 1]


def test_small_predicted_lesions_are_false_unless_they_are_grouped() -> None:
    truth, prediction = lesions_of(line(2, 5)), lesions_of(line(2, 5), line(20, 20), line(23, 23))
    assert counts(score(truth, prediction)) == (1, 1, 2)
    # Grouped, the two are one lesion of 2 mm³.
    assert counts(score(truth, prediction, group_predicted=True)) == (1, 1, 1)
    assert counts(score(truth, prediction, group_predicted=True, min_volume_mm3={"ET": 2})) == (1, 1, 0)


def test_a_prediction_within_the_dilation_is_found_although_it_overlaps_nothing() -> None:
    found = [score(lesions_of(line(2, 5)), lesions_of(line(start, start + 1))) for start in (6, 7)]
    assert [counts(one) for one in found] == [(1, 1, 0), (1, 0, 1)]
    assert found[0]["lesion_dice"] == 0
    # The nearest voxels are 1 mm apart: directed distances are 4, 3, 2, 1 and 1, 2.
    assert found[0]["lesion_hd95_mm"] == pytest.approx(3.85)


def test_one_predicted_lesion_over_two_true_ones_is_held_against_both() -> None:
    found = score(lesions_of(line(2, 5), line(12, 15)), lesions_of(line(2, 15)))
    assert counts(found) == (2, 2, 0)
    assert found["lesion_dice"] == pytest.approx(2 * 4 / (4 + 14))


def test_several_predicted_lesions_of_one_true_lesion_are_taken_together() -> None:
    found = score(lesions_of(line(2, 10)), lesions_of(line(2, 4), line(8, 10)))
    assert counts(found) == (1, 1, 0)
    assert found["lesion_dice"] == pytest.approx(2 * 6 / (9 + 6))


def test_a_perfect_prediction_is_perfect_whatever_the_number_of_lesions() -> None:
    truth = lesions_of(line(2, 5), line(15, 18), line(30, 33))
    found = score(truth, truth)
    assert (found["lesion_dice"], found["lesion_hd95_mm"], found["lesion_sens"], found["lesion_f1"]) == (1, 0, 1, 1)


def test_regions_are_scored_on_their_own_labels() -> None:
    truth = label_map((ED, line(2, 20)), (ET, line(2, 5)), (ET, line(15, 18)))
    found = score_lesions(Pair(truth, truth, (1, 1, 1)), ["WT", "ET", "RC"], rules(), GLIOFLOW)
    assert {region: one["lesions_truth"] for region, one in found.items()} == {"WT": 1, "ET": 2, "RC": 0}


def test_a_region_without_parameters_has_no_score() -> None:
    old = conventions()["brats2023_gli"].lesions
    assert old
    found = score_lesions(Pair(lesions_of(), lesions_of(), (1, 1, 1)), ["WT", "RC"], old, GLIOFLOW)
    assert list(found) == ["WT"]


# ---- lesions that another label unites


def test_lesions_that_touch_one_lesion_of_another_label_are_one() -> None:
    truth = label_map((ET, line(2, 5)), (NCR, line(6, 14)), (ET, line(15, 18)), (ET, line(25, 28)))
    prediction = label_map((ET, line(2, 5)), (ET, line(25, 28)))
    apart = score(truth, prediction)
    together = score(truth, prediction, united_by={"ET": ["NCR", "RC"]})
    assert (counts(apart), counts(together)) == ((3, 2, 0), (2, 2, 0))
    assert together["lesion_dice"] == pytest.approx((2 * 4 / (8 + 4) + 1) / 2)


def test_predicted_lesions_are_united_by_predicted_lesions() -> None:
    prediction = label_map((ET, line(2, 5)), (RC, line(6, 14)), (ET, line(15, 18)))
    assert score(lesions_of(line(2, 5)), prediction, united_by={"ET": ["RC"]})["lesions_false"] == 0
    assert score(lesions_of(line(2, 5)), prediction)["lesions_false"] == 1


def test_only_regions_that_both_maps_can_show_unite_lesions() -> None:
    truth = label_map((ET, line(2, 5)), (NCR, line(6, 14)), (ET, line(15, 18)))
    joined = rules(united_by={"ET": ["NCR"]})
    found = [
        score_lesions(Pair(truth, truth, (1, 1, 1)), ["ET"], joined, GLIOFLOW, seen=seen)["ET"]["lesions_truth"]
        for seen in (["ET", "NCR"], ["ET"])
    ]
    assert found == [1, 2]


def test_uniting_goes_from_lesion_to_lesion() -> None:
    lesions = np.zeros((13, 3, 3), np.int32)
    other = lesions.copy()
    lesions[[0, 4, 8, 12], 1, 1] = [1, 2, 3, 4]
    other[1:4, 1, 1], other[5:8, 1, 1] = 1, 2
    assert unite(lesions, [other]).tolist() == [0, 1, 1, 1, 2]
    assert unite(lesions, []).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("step", "touch"), [((1, 0, 0), True), ((1, 1, 0), True), ((1, 1, 1), False), ((2, 0, 0), False)])
def test_lesions_touch_over_faces_and_edges(step: tuple[int, int, int], touch: bool) -> None:
    first, second = np.zeros((2, 3, 3, 3), np.int32)
    first[0, 0, 0], second[step] = 3, 2
    assert touching(first, second).tolist() == ([[3, 2]] if touch else [])


# ---- surfaces of single lesions


def test_surface_overlap_is_the_mean_over_lesions() -> None:
    # One voxel of six beyond 1 mm: the two ends of the longer line are its fifth and sixth voxel, 1 and 2 mm away.
    truth, prediction = lesions_of(line(2, 5)), lesions_of(line(2, 7), line(20, 23))
    found = score(truth, prediction)
    assert found["lesion_nsd_1mm"] == pytest.approx((4 + 5) / 10 / 2)
    assert found["lesion_nsd_2mm"] == pytest.approx(1 / 2)


def lone(labels: Labels, numbers: NDArray[np.int32], chosen: list[int]) -> Labels:
    return np.where(np.isin(numbers, chosen), labels, 0).astype(np.uint8)


@given(
    arrays(np.uint8, (12, 8, 6), elements=st.sampled_from([0] * 15 + [ET]), fill=st.just(0)),
    arrays(np.uint8, (12, 8, 6), elements=st.sampled_from([0] * 15 + [ET]), fill=st.just(0)),
    st.sampled_from(["glioflow", "surface_distance", "brats2024_gli"]),
)
@settings(deadline=None)
def test_distances_of_a_lesion_are_those_of_it_alone(truth: Labels, prediction: Labels, name: str) -> None:
    convention = conventions()[name]
    eighteen, connected = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3))
    true_numbers, count = ndimage.label(ndimage.binary_dilation(truth > 0, eighteen), connected)
    predicted_numbers, _ = ndimage.label(prediction > 0, connected)
    columns = ["hd95_mm", *convention.nsd_columns]
    missed = dict(zip(columns, [PENALTY, 0.0, 0.0], strict=True))
    expected = list[dict[str, float]]()
    matched = set[int]()
    for lesion in range(1, count + 1):
        mine = sorted(set(predicted_numbers[true_numbers == lesion].tolist()) - {0})
        matched |= set(mine)
        alone = Pair(lone(truth, true_numbers, [lesion]), lone(prediction, predicted_numbers, mine), (1, 2, 1.5))
        if alone.joint[ET, :].sum() * 3 > 1:
            expected.append({c: float(alone.score("ET", convention)[c]) for c in columns} if mine else missed)
    expected += [missed] * (int(predicted_numbers.max()) - len(matched))
    found = score_lesions(Pair(truth, prediction, (1, 2, 1.5)), ["ET"], rules(), convention)["ET"]
    for column in columns:
        none = 0 if column == "hd95_mm" else 1
        assert found[f"lesion_{column}"] == pytest.approx(np.mean([one[column] for one in expected]) if expected else none)


# ---- known defects


def test_a_perfect_prediction_of_two_equal_lesions_has_a_third_where_numbers_are_counted_as_voxels() -> None:
    masks = lesions_of(line(2, 5), line(20, 23))
    (found,) = score_lesions(
        Pair(masks, masks, (1, 1, 1)), ["ET"], rules(), GLIOFLOW, ["sensitivity_of_instance_maps"]
    ).values()
    assert found["sens_of_instance_maps"] == pytest.approx(1 / 3)
    # What is not 1 in either map are all but the four voxels of the first lesion; the second counts as 8 false.
    assert found["spec_of_instance_maps"] == pytest.approx((masks.size - 4) / (masks.size - 4 + 8))
    assert found["lesion_sens"] == 1
    assert list(found) == lesion_columns(GLIOFLOW, ["sensitivity_of_instance_maps"])


@pytest.mark.parametrize(("prediction", "sensitivity"), [(lesions_of(), 1), (lesions_of(line(2, 5)), 0)])
def test_numbers_counted_as_voxels_where_there_is_no_lesion(prediction: Labels, sensitivity: float) -> None:
    pair = Pair(lesions_of(), prediction, (1, 1, 1))
    (found,) = score_lesions(pair, ["ET"], rules(), GLIOFLOW, ["sensitivity_of_instance_maps"]).values()
    assert found["sens_of_instance_maps"] == sensitivity


# ---- against scipy, step by step


@given(arrays(bool, (7, 6, 5)), st.integers(0, 3))
@settings(deadline=None)
def test_dilation_is_scipys(mask: NDArray[np.bool_], iterations: int) -> None:
    eighteen = ndimage.generate_binary_structure(3, 2)
    slow = ndimage.binary_dilation(mask, eighteen, iterations=iterations) if iterations else mask
    assert (dilate(mask, iterations) == slow).all()


def lesions_the_long_way(truth: Labels, prediction: Labels, iterations: int, limit: float) -> tuple[int, int, int, float]:
    """Return the counts and the Dice of the 2023 rules, lesion after lesion on the whole image, as the challenge's script."""
    eighteen, connected = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3))
    grown, number = ndimage.label(ndimage.binary_dilation(truth > 0, eighteen, iterations=iterations), connected)
    predicted, predicted_number = ndimage.label(prediction > 0, connected)
    kept, found, dice, matched = 0, 0, 0.0, set[int]()
    for lesion in range(1, number + 1):
        mask = (grown == lesion) & (truth > 0)
        mine = set(predicted[ndimage.binary_dilation(mask, eighteen, iterations=iterations)].tolist()) - {0}
        matched |= mine
        if mask.sum() > limit:
            own = np.isin(predicted, list(mine))
            kept, found = kept + 1, found + bool(mine)
            dice += 2 * (own & mask).sum() / (own.sum() + mask.sum())
    false = predicted_number - len(matched)
    return kept, found, false, dice / (kept + false) if kept + false else 1.0


@given(
    arrays(np.uint8, (14, 9, 7), elements=st.sampled_from([0] * 30 + [ET]), fill=st.just(0)),
    arrays(np.uint8, (14, 9, 7), elements=st.sampled_from([0] * 30 + [ET]), fill=st.just(0)),
    st.integers(1, 3),
)
@settings(deadline=None)
def test_the_box_and_the_tables_give_what_the_whole_image_gives(truth: Labels, prediction: Labels, iterations: int) -> None:
    found = score(truth, prediction, dilation={"ET": iterations})
    assert (*counts(found), pytest.approx(found["lesion_dice"])) == lesions_the_long_way(truth, prediction, iterations, 1)


# ---- the parameters


def test_every_set_of_parameters_is_whole() -> None:
    for name, convention in conventions().items():
        if not (known := convention.lesions):
            continue
        assert set(known.dilation) == set(known.min_volume_mm3) <= set(REGIONS), name
        for region, others in known.united_by.items():
            # What unites a lesion is grouped by its own dilation, and only labels that exclude one another can touch.
            assert {region, *others} <= set(known.dilation) and all(len(REGIONS[one]) == 1 for one in (region, *others)), name


def test_brats_2023_and_2024_have_the_challenges_numbers() -> None:
    old, new = (conventions()[name].lesions for name in ("brats2023_gli", "brats2024_gli"))
    assert old and new
    assert (old.dilation["WT"], old.min_volume_mm3["ET"], old.hd95_penalty_mm, old.group_predicted) == (3, 50, 374, False)
    assert (new.dilation["RC"], new.min_volume_mm3["ET"], new.min_volume_mm3["WT"], new.hd95_penalty_mm) == (5, 10, 20, 337)
