"""Rank correlations against scipy and against residuals; intervals by hand and by coverage; what a study can miss."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, permutation_test, rankdata, spearmanr
from scipy.stats import t as student

from glioflow.failure.correlations import (
    correlate,
    correlate_given,
    correlation_interval,
    largest_missed,
    rank_correlations,
)

RNG = np.random.default_rng


def columnwise_rho(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman's rho of each column of x with that of y, without ties, from the squared differences of the ranks."""
    squares = ((rankdata(x, axis=0) - rankdata(y, axis=0)) ** 2).sum(axis=0)
    return 1 - 6 * squares / (len(x) * (len(x) ** 2 - 1))


def test_ranks_by_hand() -> None:
    # Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 · 2 / (4 · 15). Of the 24 orders 8 are as far from chance on either side.
    rho, p = correlate(np.array([[10.0], [20.0], [30.0], [40.0]]), np.array([1.0, 5.0, 2.0, 9.0]))
    assert rho[0] == pytest.approx(0.8)
    assert p[0] == pytest.approx(8 / 24)


@pytest.mark.parametrize("n", [20, 37, 74])
def test_from_twenty_patients_on_rho_and_p_are_scipys(n: int) -> None:
    values, metric = RNG(n).normal(size=(n, 6)).round(1), RNG(1).normal(size=n).round(1)
    rho, p = correlate(values, metric)
    for column in range(6):
        expected = spearmanr(values[:, column], metric)
        assert rho[column] == pytest.approx(expected.statistic, abs=1e-12)
        assert p[column] == pytest.approx(expected.pvalue, rel=1e-9)


def permutation_p(values: np.ndarray, metric: np.ndarray) -> float:
    fixed = rankdata(metric) - (len(metric) + 1) / 2

    def distance(ranks: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(np.sum(ranks * fixed, axis=axis))

    options = {"permutation_type": "pairings", "alternative": "greater", "n_resamples": 10**5, "vectorized": True}
    return float(permutation_test([rankdata(values)], distance, **options).pvalue)


@pytest.mark.parametrize("seed", range(4))
def test_below_twenty_patients_p_is_that_of_every_permutation(seed: int) -> None:
    values, metric = RNG(seed).integers(0, 4, size=(6, 3)).astype(float), RNG(seed + 9).normal(size=6).round(0)
    values[0] += 9
    metric[1] += 5
    _, p = correlate(values, metric)
    for column in range(3):
        assert p[column] == pytest.approx(permutation_p(values[:, column], metric), abs=1e-12)


def test_many_permutations_come_close_to_all_of_them() -> None:
    values, metric = RNG(3).normal(size=(8, 4)), RNG(4).normal(size=8)
    _, p = correlate(values, metric)
    for column in range(4):
        assert p[column] == pytest.approx(permutation_p(values[:, column], metric), abs=0.02)


def test_small_studies_of_nothing_find_something_no_more_often_than_p_says() -> None:
    rng = RNG(8)
    p = np.concatenate([correlate(rng.normal(size=(12, 20)), rng.normal(size=12))[1] for _ in range(25)])
    assert 0.02 < np.mean(p <= 0.05) < 0.08
    assert p.min() >= 1 / 10000


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=4, max_size=12))
def test_a_rising_change_of_scale_changes_nothing_and_a_falling_one_the_sign(pairs: list[tuple[int, int]]) -> None:
    values, metric = np.array(pairs, float).T
    rho, p = correlate(np.stack([values, values**3 + 7, -values], axis=1), metric)
    np.testing.assert_allclose(rho, np.array([1, 1, -1]) * rho[0], atol=1e-12)
    np.testing.assert_array_equal(p, p[0])


def test_what_is_the_same_throughout_has_no_correlation() -> None:
    values = np.stack([np.ones(30), np.arange(30.0)], axis=1)
    rho, p = correlate(values, np.arange(30.0))
    assert math.isnan(rho[0]) and math.isnan(p[0])
    assert rho[1] == 1
    assert p[1] == 0
    assert np.isnan(correlate(values, np.ones(30))[0]).all()


def test_two_patients_are_not_correlated() -> None:
    assert np.isnan(np.concatenate(correlate(np.eye(2), np.arange(2.0)))).all()


def test_an_infinite_distance_is_the_largest() -> None:
    values = RNG(2).normal(size=(25, 1))
    far, infinite = (np.append(np.arange(24.0), end) for end in (1e9, np.inf))
    assert correlate(values, far)[0] == correlate(values, infinite)[0]


# ---- the interval


def test_the_interval_is_fishers_with_the_error_of_bonett_and_wright() -> None:
    low, high = correlation_interval(np.array([0.6]), np.array([28.0]))
    error = math.sqrt((1 + 0.6**2 / 2) / 25)
    assert math.atanh(low[0]) == pytest.approx(math.atanh(0.6) - 1.959964 * error, abs=1e-6)
    assert math.atanh(high[0]) == pytest.approx(math.atanh(0.6) + 1.959964 * error, abs=1e-6)


@pytest.mark.parametrize(("rho", "n"), [(0.4, 3), (1.0, 30), (-1.0, 30), (math.nan, 30)])
def test_where_there_is_no_interval_there_is_none(rho: float, n: int) -> None:
    assert np.isnan(correlation_interval(np.array([rho]), np.array([float(n)]))).all()


@pytest.mark.parametrize(("n", "r"), [(20, 0.5), (74, 0.3)])
def test_the_interval_covers_the_true_correlation_as_often_as_it_says(n: int, r: float) -> None:
    true = 6 / math.pi * math.asin(r / 2)  # Spearman's rho of normal values with a Pearson correlation of r
    rng = RNG(n)
    x = rng.normal(size=(n, 1500))
    y = r * x + math.sqrt(1 - r**2) * rng.normal(size=x.shape)
    rho = columnwise_rho(x, y)
    low, high = correlation_interval(rho, np.full(len(rho), float(n)))
    assert 0.93 < np.mean((low <= true) & (true <= high)) < 0.975


# ---- at equal volume


def residual_correlation(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    """Return the correlation of what is left of the ranks of x and y after a straight line in the ranks of z."""
    design = np.stack([np.ones(len(z)), rankdata(z)], axis=1)
    left = [rankdata(v) - design @ np.linalg.lstsq(design, rankdata(v), rcond=None)[0] for v in (x, y)]
    return float(pearsonr(*left).statistic)


@pytest.mark.parametrize("n", [9, 30])
def test_the_partial_correlation_is_that_of_the_residuals(n: int) -> None:
    rng = RNG(n)
    z = rng.normal(size=n)
    values, metric = rng.normal(size=(n, 5)) + z[:, None], rng.normal(size=n) + z
    rho, p, with_z = correlate_given(values, metric, z)
    for column in range(5):
        expected = residual_correlation(values[:, column], metric, z)
        t = expected * math.sqrt((n - 3) / (1 - expected**2))
        assert rho[column] == pytest.approx(expected, abs=1e-9)
        assert p[column] == pytest.approx(2 * student.sf(abs(t), n - 3), rel=1e-6)
        assert with_z[column] == pytest.approx(spearmanr(values[:, column], z).statistic, abs=1e-12)


def test_a_metric_that_follows_volume_alone_leaves_nothing_at_equal_volume() -> None:
    rng = RNG(4)
    volume = rng.normal(size=400)
    values = 0.8 * volume[:, None] + 0.6 * rng.normal(size=(400, 60))
    rho, p, _ = correlate_given(values, 0.8 * volume + 0.6 * rng.normal(size=400), volume)
    assert (correlate(values, 0.8 * volume)[1] < 1e-6).all()
    assert np.abs(rho).mean() < 0.08
    assert np.mean(p < 0.05) < 0.2


def test_a_feature_that_is_volume_and_a_metric_that_is_volume_have_nothing_left() -> None:
    volume = np.arange(12.0)
    other = RNG(1).normal(size=(12, 1))
    rho, p, with_volume = correlate_given(np.hstack([volume[:, None] ** 3, other]), RNG(2).normal(size=12), volume)
    assert math.isnan(rho[0]) and math.isnan(p[0]) and with_volume[0] == 1
    assert not math.isnan(rho[1])
    assert np.isnan(correlate_given(other, -volume, volume)[0]).all()


# ---- between features


def test_correlations_between_features_are_pandas_also_where_values_are_missing() -> None:
    values = RNG(5).normal(size=(15, 6)).round(1)
    pd.testing.assert_frame_equal(pd.DataFrame(rank_correlations(values)), pd.DataFrame(values).corr("spearman"))
    values[[0, 3], 2] = np.nan
    values[[3, 4, 5], 4] = np.nan
    pd.testing.assert_frame_equal(pd.DataFrame(rank_correlations(values)), pd.DataFrame(values).corr("spearman"))


# ---- what can be missed


@pytest.mark.parametrize(("n", "tests"), [(24, 1), (60, 107)])
def test_a_correlation_of_the_size_that_can_be_missed_is_found_in_four_of_five_studies(n: int, tests: int) -> None:
    rho = largest_missed(n, tests)
    r = 2 * math.sin(math.pi * rho / 6)
    rng = RNG(n)
    x = rng.normal(size=(n, 3000))
    y = r * x + math.sqrt(1 - r**2) * rng.normal(size=x.shape)
    found = columnwise_rho(x, y)
    p = 2 * student.sf(np.abs(found) * np.sqrt((n - 2) / (1 - found**2)), n - 2)
    assert np.mean(p < 0.05 / tests) == pytest.approx(0.8, abs=0.04)


def test_more_patients_miss_less_and_more_features_hide_more() -> None:
    assert largest_missed(20, 107) > largest_missed(40, 107) > largest_missed(400, 107) > largest_missed(400, 1)
    assert 0 < largest_missed(1000, 107) < 0.2
    assert largest_missed(4, 107) < 1
    assert math.isnan(largest_missed(3, 107))


def test_spearmans_rho_is_not_another_rank_correlation() -> None:
    values, metric = RNG(6).normal(size=(30, 1)), RNG(7).normal(size=30)
    assert correlate(values, metric)[0][0] != pytest.approx(kendalltau(values[:, 0], metric).statistic, abs=1e-3)
