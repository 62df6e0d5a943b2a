"""The outline of a mask, traced; and its irregularity, by hand and against plain formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, binary_fill_holes, gaussian_filter, label

from glioflow.quality.outlines import angular_standard_deviation, margin_fluctuation, relative_distances, trace_outline


def blob(seed: int, size: int = 30) -> np.ndarray:
    """Return an 8-connected piece of noise that was smoothed more or less."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(size, size)), rng.uniform(0.5, 4))
    numbers, _ = label(noise > np.quantile(noise, 0.6), np.ones((3, 3)))
    return numbers == np.bincount(numbers[numbers > 0]).argmax()


def disc(radius: float, size: int) -> np.ndarray:
    x, y = np.indices((size, size)) - (size - 1) / 2
    return np.hypot(x, y) <= radius


def test_outlines_by_hand():
    assert trace_outline(np.ones((1, 1), bool)).tolist() == [[0, 0]]
    assert trace_outline(np.ones((2, 2), bool)).tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]
    assert trace_outline(np.ones((1, 3), bool)).tolist() == [[0, 0], [0, 1], [0, 2], [0, 1]]  # there and back
    assert trace_outline(np.eye(3, dtype=bool)).tolist() == [[0, 0], [1, 1], [2, 2], [1, 1]]
    assert len(trace_outline(np.ones((5, 4), bool))) == 14


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**6))
def test_an_outline_is_every_pixel_next_to_the_outside_in_steps_of_one(seed):
    mask = blob(seed)
    outline = trace_outline(mask)
    filled = binary_fill_holes(mask)
    assert set(map(tuple, outline)) == set(map(tuple, np.argwhere(filled & ~binary_erosion(filled))))
    if len(outline) > 1:
        assert (np.abs(outline - np.roll(outline, -1, axis=0)).max(axis=1) == 1).all()


def test_a_hole_does_not_change_the_outline():
    mask = np.ones((7, 7), bool)
    holed = mask.copy()
    holed[3, 3] = False
    assert trace_outline(holed).tolist() == trace_outline(mask).tolist()


def test_distances_of_a_square_by_hand():
    angles, distances = relative_distances(np.ones((3, 3), bool), (1, 1))
    assert sorted(distances * (4 + 4 * np.sqrt(2)) / 8) == pytest.approx([1] * 4 + [np.sqrt(2)] * 4)
    assert len(set(np.round(angles, 9))) == 8


def test_voxels_that_are_longer_one_way_are_measured_in_mm():
    tall, wide = np.ones((8, 4), bool), np.ones((4, 4), bool)
    stretched = relative_distances(wide, (2, 1))[1]
    assert stretched.max() / stretched.min() != pytest.approx(relative_distances(wide, (1, 1))[1].max())
    assert relative_distances(tall, (1, 2))[1] == pytest.approx(relative_distances(tall, (3, 6))[1])


def test_a_circle_is_smooth_and_a_star_is_not():
    angles, distances = relative_distances(disc(60, 140), (1, 1))
    assert angular_standard_deviation(angles, distances) < 0.006
    assert margin_fluctuation(distances) < 0.006
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    star = 1 + 0.3 * np.sin(40 * turn)  # ten points of the outline a spike, four spikes a bin
    assert margin_fluctuation(star) > 0.2
    assert angular_standard_deviation(turn, star) == pytest.approx(0.3 / np.sqrt(2), rel=0.01)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6))
def test_both_measures_are_those_of_plain_loops(seed):
    angles, distances = relative_distances(blob(seed), (1, 1))
    if np.isnan(distances).any():
        return
    degrees = np.degrees(angles) % 360
    bins = [distances[(degrees >= 36 * k) & (degrees < 36 * (k + 1))] for k in range(10)]
    spread = [np.sqrt(np.mean((own - own.mean()) ** 2)) for own in bins if len(own)]
    assert angular_standard_deviation(angles, distances) == pytest.approx(np.mean(spread), abs=1e-9)
    n = len(distances)
    length = max(1, round(0.1 * n))
    smooth = [np.mean([distances[(i - length // 2 + j) % n] for j in range(length)]) for i in range(n)]
    assert margin_fluctuation(distances) == pytest.approx(np.std(distances - smooth), abs=1e-9)


def test_where_the_tumour_begins_on_the_outline_does_not_matter():
    _, distances = relative_distances(blob(5), (1, 1))
    assert margin_fluctuation(np.roll(distances, 17)) == pytest.approx(margin_fluctuation(distances))


def test_one_pixel_has_no_distances():
    assert np.isnan(relative_distances(np.ones((1, 1), bool), (1, 1))[1]).all()
