"""The pair of points of a Hausdorff distance: hand-worked, of the score's own length, and against every pair by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.metrics import NOTE_BOTH_EMPTY, Pair
from glioflow.evaluation.surfaces import boundary
from glioflow.evaluation.witnesses import COLUMNS, POINT_COLUMNS, Witness, find_witnesses
from glioflow.imaging.labels import ED, ET

SHAPE = (14, 12, 10)
SPACING = (1.0, 0.9, 2.5)
OURS = conventions()["glioflow"]
WITH_HAUSDORFF = [name for name, convention in conventions().items() if convention.hausdorff]


def blocks(*boxes: tuple[slice, slice, slice], label: int = ED) -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    for box in boxes:
        labels[box] = label
    return labels


TRUTH = blocks((slice(2, 5), slice(2, 5), slice(2, 5)))
ISLAND = blocks((slice(2, 5), slice(2, 5), slice(2, 5)), (slice(12, 13), slice(3, 4), slice(8, 9)))


def witness_of(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], name: str = "glioflow") -> Witness:
    (witness, _) = find_witnesses(truth, prediction, SPACING, ["WT"], conventions()[name])["WT"]
    assert witness is not None
    return witness


def test_the_pair_of_an_island_is_the_island_and_the_nearest_voxel_of_the_truth() -> None:
    witness = witness_of(TRUTH, ISLAND)
    assert witness.points.tolist() == [[4, 3, 4], [12, 3, 8]]
    assert witness.start == 1
    assert witness.length_mm == pytest.approx(np.hypot(8, 10))
    assert witness.distance == pytest.approx(witness.length_mm)


def test_what_was_missed_is_measured_from_the_truth() -> None:
    witness = witness_of(ISLAND, TRUTH)
    assert witness.points.tolist() == [[12, 3, 8], [4, 3, 4]]
    assert witness.start == 0


def test_corners_are_half_a_voxel_from_the_voxels() -> None:
    witness = witness_of(TRUTH, ISLAND, "surface_distance")
    assert witness.points.tolist() == [[4.5, 2.5, 4.5], [12.5, 2.5, 8.5]]


def test_a_distance_in_voxels_of_one_direction_has_its_length_in_mm_beside_it() -> None:
    witness = witness_of(TRUTH, ISLAND, "open_brats2020")
    assert witness.distance == pytest.approx(np.hypot(8, 4))
    assert witness.length_mm == pytest.approx(np.hypot(8, 10))
    assert witness_of(ISLAND, TRUTH, "open_brats2020").distance == 0, "the prediction lies within the truth"


def test_points_in_mm_are_where_the_affine_puts_them() -> None:
    affine = np.array([[0, -0.9, 0, 5], [-1, 0, 0, 7], [0, 0, 2.5, -3], [0, 0, 0, 1.0]])
    row = witness_of(TRUTH, ISLAND).row(affine)
    assert [row[f"truth_{axis}_mm"] for axis in "xyz"] == pytest.approx([5 - 2.7, 7 - 4, -3 + 10])
    assert [row[f"prediction_{axis}_mm"] for axis in "xyz"] == pytest.approx([5 - 2.7, 7 - 12, -3 + 20])
    assert [row[name] for name in POINT_COLUMNS[:6]] == [4, 3, 4, 12, 3, 8]
    assert set(row) < set(COLUMNS)


@pytest.mark.parametrize(
    ("truth", "prediction", "note"),
    [
        (TRUTH, np.zeros(SHAPE, np.uint8), "absent in prediction"),
        (np.zeros(SHAPE, np.uint8), TRUTH, "absent in truth"),
        (np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8), NOTE_BOTH_EMPTY),
    ],
)
def test_a_region_that_a_mask_lacks_has_none_and_says_so(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], note: str
) -> None:
    assert find_witnesses(truth, prediction, SPACING, ["WT"], OURS) == {"WT": (None, note)}


def test_regions_have_their_own() -> None:
    prediction = TRUTH.copy()
    prediction[2, 2, 2] = ET
    found = find_witnesses(TRUTH, prediction, SPACING, ["WT", "ET"], OURS)
    assert found["ET"] == (None, "absent in truth")
    assert found["WT"][0] is not None and found["WT"][0].distance == 0


def test_a_convention_without_a_hausdorff_distance_shows_the_largest_and_says_so() -> None:
    witness, note = find_witnesses(TRUTH, ISLAND, SPACING, ["WT"], conventions()["brats2023_gli"])["WT"]
    assert witness is not None and witness.length_mm == pytest.approx(np.hypot(8, 10))
    assert note == "no such distance in the convention: the largest in either direction"


# ---- against the score, and against every pair of points

masks = st.integers(0, 2**32 - 1)


def random_pair(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    truth, prediction = (ED * (rng.random(SHAPE) < rng.choice([0.002, 0.05, 0.6])).astype(np.uint8) for _ in range(2))
    truth[tuple(rng.integers(0, SHAPE))] = prediction[tuple(rng.integers(0, SHAPE))] = ED
    return truth, prediction


@settings(max_examples=40, deadline=None)
@given(masks)
def test_its_length_is_the_score(seed: int) -> None:
    truth, prediction = random_pair(seed)
    pair = Pair(truth, prediction, SPACING)
    for name in WITH_HAUSDORFF:
        convention = conventions()[name]
        witness, scored = witness_of(truth, prediction, name), pair.score("WT", convention)["hausdorff"]
        assert witness.distance == pytest.approx(scored, abs=1e-6), name
        apart = (witness.points[0] - witness.points[1]) * pair.steps(convention)
        assert np.linalg.norm(apart) == pytest.approx(scored, abs=1e-6), name


@settings(max_examples=40, deadline=None)
@given(masks)
def test_no_pair_of_surface_voxels_is_farther(seed: int) -> None:
    truth, prediction = random_pair(seed)
    witness = witness_of(truth, prediction)
    surfaces = [np.argwhere(boundary(mask > 0)) for mask in (truth, prediction)]
    mm = [surface * np.array(SPACING) for surface in surfaces]
    directed = [cKDTree(mm[1 - side]).query(mm[side])[0].max() for side in (0, 1)]
    assert witness.length_mm == pytest.approx(max(directed), abs=1e-6)
    for point, surface in zip(witness.points, surfaces, strict=True):
        assert point.tolist() in surface.tolist()
    other = mm[1 - witness.start] - witness.points[witness.start] * SPACING
    assert np.linalg.norm(other, axis=1).min() == pytest.approx(witness.length_mm, abs=1e-6), "the nearest one there"
