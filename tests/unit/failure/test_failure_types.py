"""Every wrong voxel has one kind, the kinds' shares add up to 1 - Dice, and the farthest error is found."""

from itertools import permutations
from math import isnan, prod
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.metrics import PREDICTION, TRUTH, Pair
from glioflow.evaluation.scoring import Plan, score_pair
from glioflow.failure.failure_types import (
    BOUNDARY_MM,
    COLUMNS,
    KINDS,
    KINDS_OF,
    classify_pair,
    find_errors,
    gains_and_shares,
)
from glioflow.imaging.labels import ED, ET, NCR, RC, region_mask

CONVENTION = conventions()["glioflow"]
MM = (1.0, 1.0, 1.0)
REGIONS = ["WT", "TC", "ET", "ED", "NCR", "RC"]
Array = NDArray[np.uint8]


def row(truth: Array, prediction: Array, region: str = "WT", spacing: tuple[float, float, float] = MM) -> dict[str, Any]:
    """Return a region's row of the table."""
    (found,) = classify_pair(truth, prediction, spacing, Plan([region], CONVENTION))["rows"]
    return dict(found)


def voxels(found: dict[str, Any]) -> dict[str, int]:
    """Return the kinds that there are with their voxels."""
    return {kind: found[f"n_{kind}"] for kind in KINDS if found[f"n_{kind}"]}


def line(*parts: tuple[int, int]) -> Array:
    """Return a map one voxel thick: so many voxels of each label, one after another."""
    return np.repeat([label for _, label in parts], [length for length, _ in parts]).astype(np.uint8)[:, None, None]


def test_a_prediction_that_is_right_has_no_errors():
    truth = line((3, 0), (4, ED), (3, ET))
    found = row(truth, truth)
    assert found["dice"] == 1
    assert voxels(found) == {}
    assert (found["dominant"], found["farthest_kind"], found["flag"]) == ("", "", "")
    assert isnan(found["farthest_mm"])
    assert all(found[f"share_{kind}"] == 0 for kind in KINDS)


def test_a_lesion_is_missed_where_a_tenth_of_it_is_covered_and_found_where_more_is():
    truth = line((5, ED), (20, 0), (20, ED))
    missed = row(truth, line((5, ED), (20, 0), (2, ED), (18, 0)))  # 2 of 20 are a tenth
    assert voxels(missed) == {"missed_lesion": 18}
    assert (missed["missed_lesions"], missed["false_lesions"]) == (1, 0)
    assert (missed["farthest_kind"], missed["farthest_ml"]) == ("missed_lesion", 0.02), "of the lesion, not of its missed part"
    found = row(truth, line((5, ED), (20, 0), (3, ED), (17, 0)))
    assert voxels(found) == {"boundary_in": 2, "under": 15}
    assert found["missed_lesions"] == 0


def test_what_was_given_another_label_is_swapped_and_its_labels_are_named():
    truth, prediction = line((4, ED), (6, ET)), line((4, ED), (2, NCR), (1, ED), (3, ET))
    found = row(truth, prediction, "ET")
    assert voxels(found) == {"swap_out": 3}
    assert (found["swap_out_pair"], found["swap_in_pair"]) == ("ET>NCR", "")
    found = row(truth, prediction, "NCR")  # whatever the map: the true label comes first
    assert voxels(found) == {"swap_in": 2}
    assert (found["swap_out_pair"], found["swap_in_pair"]) == ("", "ET>NCR")
    assert found["flag"] == "nothing_there"
    assert voxels(row(truth, prediction, "WT")) == {}


def test_a_lesion_that_was_found_as_another_label_is_swapped_and_not_missed():
    truth = line((4, ED), (6, ET))
    found = row(truth, line((10, ED)), "ET")
    assert voxels(found) == {"swap_out": 6}
    assert (found["flag"], found["dominant"], found["dice"]) == ("nothing_found", "swap_out", 0)
    assert found["share_swap_out"] == pytest.approx(1)


def test_a_cavity_lies_outside_the_whole_tumour_and_is_found_all_the_same():
    found = row(line((4, ED), (9, RC)), line((4, ED), (6, RC), (3, 0)), "RC")
    assert voxels(found) == {"boundary_in": 2, "under": 1}
    assert voxels(row(line((4, ED), (9, RC)), line((4, ED), (9, 0)), "RC")) == {"missed_lesion": 9}


def test_the_boundary_is_two_millimetres_wide_or_the_largest_voxel_edge():
    truth, prediction = line((10, ED)), line((4, ED), (6, 0))
    assert voxels(row(truth, prediction)) == {"boundary_in": 2, "under": 4}
    assert voxels(row(prediction, truth)) == {"boundary_out": 2, "over": 4}
    assert voxels(row(truth, prediction, spacing=(0.5, 1, 1))) == {"boundary_in": 4, "under": 2}
    assert voxels(row(truth, prediction, spacing=(1, 5, 1))) == {"boundary_in": 5, "under": 1}
    assert voxels(row(truth, prediction, spacing=(1.00000002, 1, 1))) == {"boundary_in": 2, "under": 4}


def test_the_farthest_error_is_described_by_its_island():
    truth = np.zeros((60, 12, 12), np.uint8)
    truth[2:10, 2:10, 2:10] = ED
    prediction = truth.copy()
    prediction[2:10, 2:10, 10] = ED  # a layer too many
    prediction[49:51, 2, 2] = ED  # two voxels, 40 and 41 mm from x = 9
    found = row(truth, prediction)
    assert voxels(found) == {"boundary_out": 64, "false_lesion": 2}
    assert (found["farthest_kind"], found["false_lesions"]) == ("false_lesion", 1)
    assert found["farthest_mm"] == 41
    assert found["farthest_ml"] == pytest.approx(2 / 1000)
    assert found["dominant"] == "boundary_out"
    score = score_pair(truth, prediction, MM, Plan(["WT"], CONVENTION))[0]
    assert score["hausdorff"] == found["farthest_mm"]


def test_the_size_of_an_error_that_hangs_on_a_lesion_is_that_of_the_connected_errors():
    truth = np.zeros((30, 12, 12), np.uint8)
    truth[2:10, 2:10, 2:10] = ED
    prediction = truth.copy()
    prediction[10:20, 4, 4] = ED  # an arm of 10 voxels
    prediction[5, 5, 11] = 0
    prediction[2, 2, 2] = 0  # a voxel missed, elsewhere
    prediction[2:10, 2:10, 1] = ED  # and a layer too many, that does not touch the arm
    found = row(truth, prediction, spacing=(2.0, 1.0, 1.0))
    assert (found["farthest_kind"], found["farthest_mm"]) == ("over", 20)
    assert found["farthest_ml"] == pytest.approx(10 * 2 / 1000)


def test_an_island_in_a_case_without_tumour_is_there_for_nothing_and_at_no_distance():
    empty, island = line((10, 0)), line((4, 0), (2, ET), (4, 0))
    found = row(empty, island)
    assert (found["flag"], found["note"], found["dice"]) == ("nothing_there", "absent in truth", 0)
    assert voxels(found) == {"false_lesion": 2}
    assert found["share_false_lesion"] == pytest.approx(1)
    assert (found["farthest_kind"], found["dominant"]) == ("", "false_lesion")
    found = row(island, empty)
    assert (found["flag"], found["note"], voxels(found)) == ("nothing_found", "absent in prediction", {"missed_lesion": 2})


@pytest.mark.parametrize(("name", "dice"), [("glioflow", np.nan), ("brats2020", 1.0), ("surface_distance", np.nan)])
def test_a_region_that_neither_map_has_gets_the_conventions_dice_and_no_kind(name, dice):
    empty = line((10, ED))
    (found,) = classify_pair(empty, empty, MM, Plan(["ET"], conventions()[name]))["rows"]
    np.testing.assert_equal(found["dice"], dice)
    assert (found["note"], found["flag"], found["dominant"], voxels(found)) == ("absent in truth and prediction", "", "", {})


def test_a_region_that_cannot_be_shown_has_its_reason_alone():
    truth = line((4, ED), (6, ET))
    plan = Plan(["WT", "ET"], CONVENTION, trained_regions=["WT"])
    _, unseen = classify_pair(truth, truth, MM, plan)["rows"]
    assert unseen == {"label": "ET", "note": "not applicable: the model predicts WT only"}
    plan = Plan(["WT", "ET"], CONVENTION, truth_regions=["WT"])
    _, unlabelled = classify_pair(truth, truth, MM, plan)["rows"]
    assert unlabelled == {"label": "ET", "note": "not applicable: the truth shows WT only"}


def test_one_slice_and_a_map_of_nothing_are_classified():
    truth, prediction = np.zeros((20, 20, 1), np.uint8), np.zeros((20, 20, 1), np.uint8)
    truth[3:9, 3:9], prediction[3:9, 3:12] = ED, ED
    assert voxels(row(truth, prediction, spacing=(1, 1, 5))) == {"boundary_out": 18}
    nothing = np.zeros((4, 4, 4), np.uint8)
    assert row(nothing, nothing)["note"] == "absent in truth and prediction"


def test_the_confusion_counts_every_voxel_of_the_image_in_ml():
    truth, prediction = line((90, 0), (4, ED), (6, ET)), line((89, 0), (5, ED), (2, NCR), (4, ET))
    confusion = np.array(classify_pair(truth, prediction, (1.0, 2.0, 5.0), Plan(["WT"], CONVENTION))["confusion"])
    voxels_of = {(0, 0): 89, (0, ED): 1, (ED, ED): 4, (ET, NCR): 2, (ET, ET): 4}
    for at, count in voxels_of.items():
        assert confusion[at] == pytest.approx(count * 0.01)
    assert confusion.sum() == pytest.approx(1.0)


def test_every_key_of_a_row_is_a_column():
    truth = line((4, ED), (6, ET))
    assert {"patient_id", "case_id", *row(truth, truth[::-1])} == set(COLUMNS)
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_repairs_are_worth_what_they_add_to_the_dice():
    # 6 true positives, 2 false negatives of one kind, 2 false positives of another: Dice 12/16.
    gains, shares = gains_and_shares(6, [2, 0, 0, 0], [0, 2, 0, 0])
    assert gains[0] == pytest.approx(16 / 18 - 12 / 16)  # 8 of 8 found, 2 false
    assert gains[5] == pytest.approx(12 / 14 - 12 / 16)
    assert shares[0] == pytest.approx((16 / 18 - 12 / 16 + 1 - 12 / 14) / 2)  # alone first, alone last
    assert shares[5] == pytest.approx((12 / 14 - 12 / 16 + 1 - 16 / 18) / 2)
    assert not shares[[1, 2, 3, 4, 6, 7]].any()


counts = st.lists(st.integers(0, 500), min_size=4, max_size=4)


@given(st.integers(0, 2000), counts, counts)
def test_the_shares_add_up_to_what_is_missing_from_a_dice_of_one(tp, missed, false):
    fn, fp = sum(missed), sum(false)
    assume(tp + fn + fp)
    gains, shares = gains_and_shares(tp, missed, false)
    assert shares.sum() == pytest.approx(1 - 2 * tp / (2 * tp + fn + fp), abs=1e-12)
    assert (shares > -1e-12).all() and (gains > -1e-12).all(), "no repair does harm"


few = st.integers(0, 9)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 50), st.tuples(few, few, few), st.tuples(few, few))
def test_a_share_is_the_mean_gain_over_all_orders_of_repair(tp, missed, false):
    given_missed, given_false = [*missed, 0], [*false, 0, 0]
    assume(tp + sum(missed) + sum(false))
    expected = np.zeros(8)
    players = [0, 1, 2, 4, 5]  # the others have no voxel, and no share
    orders = list(permutations(players))
    for order in orders:
        true, fn, fp = tp, sum(missed), sum(false)
        for player in order:
            before = 2 * true / (2 * true + fn + fp) if true + fn + fp else 1.0
            if player < 4:
                true, fn = true + given_missed[player], fn - given_missed[player]
            else:
                fp -= given_false[player - 4]
            after = 2 * true / (2 * true + fn + fp) if true + fn + fp else 1.0
            expected[player] += (after - before) / len(orders)
    np.testing.assert_allclose(gains_and_shares(tp, given_missed, given_false)[1], expected, atol=1e-12)


def kinds_by_the_book(truth: Array, prediction: Array, region: str, spacing: tuple[float, ...]) -> dict[str, NDArray[np.bool_]]:
    """Return the mask of every kind, by whole-image distance transforms and scipy's components: slowly, as it is defined."""
    masks, found = {}, {}
    for side, labels in ((TRUTH, truth), (PREDICTION, prediction)):
        masks[side] = region_mask(labels, region)
    for side, other_map in ((TRUTH, prediction), (PREDICTION, truth)):
        here, there = masks[side], masks[1 - side]
        left = here & ~there
        numbers, many = ndimage.label(here, np.ones((3, 3, 3)))
        tumour = region_mask(other_map, "WT") | there
        lesion = np.zeros_like(here)
        for number in range(1, many + 1):
            component = numbers == number
            if (component & tumour).sum() * 10 <= component.sum():
                lesion |= component
        mm = ndimage.distance_transform_edt(~there, sampling=spacing) if there.any() else np.full(here.shape, np.inf)
        near = mm <= max(BOUNDARY_MM, *spacing) * (1 + 1e-6)
        for kind, fits in zip(KINDS_OF[side], (lesion, other_map > 0, near, np.ones_like(here)), strict=True):
            found[kind] = left & fits
            left = left & ~fits
        assert not left.any()
    return found


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[Array, Array, tuple[float, float, float]]:
    """Return two maps of some blocks of labels in a small image, with its spacing."""
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 8), st.integers(1, 8)))
    maps = []
    for _ in range(2):
        labels = np.zeros(shape, np.uint8)
        for _ in range(draw(st.integers(0, 5))):
            starts = [draw(st.integers(0, n - 1)) for n in shape]
            box = tuple(slice(start, start + draw(st.integers(1, 6))) for start in starts)
            labels[box] = draw(st.sampled_from([0, NCR, ED, ET, RC]))
        maps.append(labels)
    spacing = draw(st.tuples(*[st.sampled_from([0.5, 1.0, 1.00000002, 1.7, 5.0])] * 3))
    return maps[0], maps[1], spacing


@settings(deadline=None, max_examples=200)
@given(label_maps(), st.sampled_from(REGIONS))
def test_every_wrong_voxel_has_one_kind_and_it_is_the_first_that_fits(maps, region):
    truth, prediction, spacing = maps
    expected = kinds_by_the_book(truth, prediction, region, spacing)
    found = row(truth, prediction, region, spacing)
    assert voxels(found) == {kind: int(expected[kind].sum()) for kind in KINDS if expected[kind].any()}
    wrong = region_mask(truth, region) != region_mask(prediction, region)
    assert sum(found[f"n_{kind}"] for kind in KINDS) == wrong.sum()
    assert sum(found[f"ml_{kind}"] for kind in KINDS) == pytest.approx(wrong.sum() * prod(spacing) / 1000)
    score = score_pair(truth, prediction, spacing, Plan([region], CONVENTION))[0]
    np.testing.assert_equal(found["dice"], score["dice"])
    if wrong.any():
        assert sum(found[f"share_{kind}"] for kind in KINDS) == pytest.approx(1 - found["dice"], abs=1e-12)
        assert found[f"share_{found['dominant']}"] == pytest.approx(max(found[f"share_{kind}"] for kind in KINDS))


@settings(deadline=None, max_examples=100)
@given(label_maps(), st.sampled_from(["WT", "TC"]))
def test_the_farthest_error_is_as_far_as_the_masks_hausdorff_distance(maps, region):
    truth, prediction, spacing = maps
    true, predicted = region_mask(truth, region), region_mask(prediction, region)
    assume(true.any() and predicted.any() and (true != predicted).any())
    found = row(truth, prediction, region, spacing)
    there = ndimage.distance_transform_edt(~predicted, sampling=spacing)[true].max()
    back = ndimage.distance_transform_edt(~true, sampling=spacing)[predicted].max()
    assert found["farthest_mm"] == pytest.approx(max(there, back))
    assert found["farthest_ml"] * 1000 / prod(spacing) >= 0.999


def test_a_prediction_of_noise_takes_the_same_kinds():
    truth, prediction = np.zeros((64, 64, 64), np.uint8), np.zeros((64, 64, 64), np.uint8)
    truth[20:40, 20:40, 20:40] = ED
    prediction[np.random.default_rng(0).random(truth.shape) < 0.4] = ET
    expected = kinds_by_the_book(truth, prediction, "WT", MM)
    assert voxels(row(truth, prediction)) == {kind: int(mask.sum()) for kind, mask in expected.items() if mask.any()}


def test_errors_are_told_voxel_by_voxel():
    errors = find_errors(Pair(line((4, ED), (6, ET)), line((10, ED)), MM), "ET", TRUTH)
    assert errors.places.tolist() == [4, 5, 6, 7, 8, 9]
    assert errors.others.tolist() == [ED] * 6
    assert np.isinf(errors.mm).all()
