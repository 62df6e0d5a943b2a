"""Intervals cover what they say, resample patients and not cases, and are the same every time."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from glioflow.evaluation import bootstrap
from glioflow.evaluation.bootstrap import (
    defined_alike,
    draw_patients,
    expanded_level,
    intervals,
    patient_numbers,
    percentiles,
    resampled_means,
    resampled_medians,
    weighted_medians,
)


def ids(number: int) -> list[str]:
    return [f"p{patient}" for patient in range(number)]


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tenth of the resamples, for tests of many intervals."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    draw_patients.cache_clear()
    yield
    draw_patients.cache_clear()


def test_every_resample_draws_as_many_patients_as_there_are() -> None:
    drawn = np.concatenate(draw_patients(7), axis=1)
    assert drawn.shape == (7, bootstrap.RESAMPLES)
    assert (drawn.sum(axis=0) == 7).all()
    # Each of them once on average, with the variance 6/7 of a binomial of 7 draws.
    assert drawn.mean(axis=1) == pytest.approx(1, abs=0.05)
    assert drawn.var() == pytest.approx(6 / 7, rel=0.03)


def test_resamples_do_not_depend_on_the_size_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(draw_patients(9), axis=1)
    monkeypatch.setattr(bootstrap, "BLOCK", 9 * 700)
    draw_patients.cache_clear()
    blocks = draw_patients(9)
    draw_patients.cache_clear()
    assert {block.shape[1] for block in blocks} == {700, 10_000 % 700}
    assert np.array_equal(np.concatenate(blocks, axis=1), whole)


def test_medians_of_resamples_worked_out_by_hand() -> None:
    # 1, 2, 10; 1, 1, 10; 2, 10, 10; 1, 1, 2, 10; 10 alone.
    counts = np.array([[1, 2, 0, 2, 0], [1, 0, 1, 1, 0], [1, 1, 2, 1, 1]], np.int16)
    assert weighted_medians(np.array([1.0, 2.0, 10.0]), counts).tolist() == [2, 1, 10, 1.5, 10]


def test_medians_among_infinite_values_are_not_undefined() -> None:
    # -inf, 4; -inf, inf; 4, inf; inf, inf
    counts = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 2]], np.int16)
    assert weighted_medians(np.array([-np.inf, 4.0, np.inf]), counts).tolist() == [-np.inf, 0, np.inf, np.inf]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_means_and_medians_are_those_of_the_cases_of_the_patients_drawn(patients: list[int], seed: int) -> None:
    numbers, count = patient_numbers([str(patient) for patient in patients])
    values = np.random.default_rng(seed).integers(0, 4, (len(patients), 2)).astype(float)
    means, medians = resampled_means(values, numbers, count), resampled_medians(values, numbers, count)
    drawn = np.concatenate(draw_patients(count), axis=1)
    for sample in (0, 17, 9999):
        chosen = np.repeat(values, drawn[numbers, sample], axis=0)
        assert means[sample] == pytest.approx(chosen.mean(axis=0))
        assert medians[sample].tolist() == np.median(chosen, axis=0).tolist()


def test_two_patients_give_three_means() -> None:
    means = resampled_means(np.array([[1.0], [3.0]]), *patient_numbers(["a", "b"]))
    shares = [(means == value).mean() for value in (1, 2, 3)]
    assert sum(shares) == 1
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    found = intervals([[1.0], [3.0]], ["a", "b"])
    assert (found.mean_ci_low[0], found.mean_ci_high[0]) == (1, 3)


def test_the_cases_of_a_patient_go_together() -> None:
    values = np.array([[0.2], [0.5], [0.9], [0.6]])
    apart = intervals(values, ids(4))
    # Ten scans of each of four patients tell no more about other patients than one scan of each.
    together = intervals(np.repeat(values, 10, axis=0), np.repeat(ids(4), 10))
    assert together.mean_ci_low == pytest.approx(apart.mean_ci_low)
    assert together.mean_ci_high == pytest.approx(apart.mean_ci_high)
    assert together.median_ci_low == pytest.approx(apart.median_ci_low)
    as_if_independent = intervals(np.repeat(values, 10, axis=0), ids(40))
    assert as_if_independent.mean_ci_low[0] > together.mean_ci_low[0]
    assert as_if_independent.mean_ci_high[0] < together.mean_ci_high[0]


def test_a_patient_of_more_cases_weighs_more() -> None:
    means = resampled_means(np.array([[0.0], [3.0], [3.0]]), *patient_numbers(["a", "b", "b"]))
    assert sorted(set(np.round(means.ravel(), 12))) == [0, 2, 3]


def test_the_plain_percentiles_are_those_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "expanded_level", lambda _: 0.025)
    values = np.random.default_rng(4).beta(8, 2, 60)
    found = intervals(values[:, None], ids(60))
    for statistic, low, high in (
        (np.mean, found.mean_ci_low, found.mean_ci_high),
        (np.median, found.median_ci_low, found.median_ci_high),
    ):
        other = stats.bootstrap((values,), statistic, method="percentile", rng=np.random.default_rng(1)).confidence_interval
        width = other.high - other.low
        assert low[0] == pytest.approx(other.low, abs=0.06 * width)
        assert high[0] == pytest.approx(other.high, abs=0.06 * width)


def test_the_level_is_widened_by_hand_for_five_patients_and_hardly_for_a_thousand() -> None:
    # t(0.975, 4) = 2.776445; times sqrt(5/4) it is 3.104160, which a normal variable exceeds with p = 0.000954.
    assert expanded_level(5) == pytest.approx(0.000954, abs=1e-6)
    assert expanded_level(1000) == pytest.approx(0.025, abs=2e-4)


def test_of_symmetric_values_the_interval_is_that_of_student() -> None:
    values = stats.norm.ppf((np.arange(12) + 0.5) / 12)
    found = intervals(values[:, None], ids(12))
    reach = stats.t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert found.mean_ci_high[0] == pytest.approx(reach, rel=0.06)
    assert found.mean_ci_low[0] == pytest.approx(-reach, rel=0.06)


def coverage(patients: int) -> tuple[float, float]:
    """Return in what share of 600 simulated studies the intervals of mean and median hold the truth. Values are as Dice is."""
    truth = stats.beta(12, 2)
    found = intervals(truth.rvs((patients, 600), random_state=7), ids(patients))
    mean = (found.mean_ci_low <= truth.mean()) & (truth.mean() <= found.mean_ci_high)
    median = (found.median_ci_low <= truth.median()) & (truth.median() <= found.median_ci_high)
    return float(mean.mean()), float(median.mean())


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("patients", [8, 20, 60])
def test_intervals_cover_the_truth_in_about_95_of_100_studies(patients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mean, median = coverage(patients)
    assert 0.91 <= mean <= 0.98
    assert 0.91 <= median <= 0.99
    if patients == 8:  # plain percentiles do not
        monkeypatch.setattr(bootstrap, "expanded_level", lambda _: 0.025)
        assert coverage(patients)[0] < 0.9


def test_percentiles_are_order_statistics_and_hold_among_infinite_values() -> None:
    values = np.arange(1.0, 1000.0)
    # 1000 * 0.025 = 25: the 25th smallest and the 25th largest.
    assert [float(end) for end in percentiles(values, 0.025)] == [25, 975]
    assert [float(end) for end in percentiles(values, 1e-9)] == [1, 999]
    assert [float(end) for end in percentiles(np.append(values, [np.inf] * 100), 0.025)] == [27, np.inf]


def test_undefined_values_are_left_out_with_their_patients() -> None:
    values = np.array([[0.2, 1.0], [np.nan, 2.0], [0.5, 3.0], [0.9, 4.0], [np.nan, 5.0]])
    found = intervals(values, ids(5))
    alone = intervals(values[[0, 2, 3], :1], ids(3))
    assert (found.mean_ci_low[0], found.mean_ci_high[0]) == (alone.mean_ci_low[0], alone.mean_ci_high[0])
    whole = intervals(values[:, 1:], ids(5))
    assert (found.median_ci_low[1], found.median_ci_high[1]) == (whole.median_ci_low[0], whole.median_ci_high[0])


def test_columns_that_are_defined_alike_come_together_and_empty_ones_not_at_all() -> None:
    defined = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], bool)
    defined[:, 3] = defined[:, 0]
    found = [(rows.tolist(), columns.tolist()) for rows, columns in defined_alike(defined)]
    assert found == [([True, True, False, True], [0, 3]), ([True, False, False, False], [2])]


@pytest.mark.parametrize("patients", [[], ["a"], ["a", "a"]])
def test_fewer_than_two_patients_have_no_interval(patients: list[str]) -> None:
    found = intervals(np.arange(1.0, len(patients) + 1)[:, None], patients)
    assert np.isnan([found.mean_ci_low, found.mean_ci_high, found.median_ci_low, found.median_ci_high]).all()


def test_an_infinite_value_makes_the_mean_infinite_where_it_is_drawn() -> None:
    values = np.array([[1.0], [2.0], [3.0], [np.inf]])
    numbers, count = patient_numbers(ids(4))
    means = resampled_means(values, numbers, count)
    drawn = np.concatenate(draw_patients(4), axis=1)[3] > 0
    assert np.array_equal(np.isinf(means[:, 0]), drawn)
    found = intervals(values, ids(4))
    assert (found.mean_ci_low[0], found.mean_ci_high[0]) == (1, np.inf)
    assert not np.isnan(resampled_medians(values, numbers, count)).any()
    assert (resampled_means(-values, numbers, count) == -means).all()


def test_an_interval_is_the_same_every_time_and_whatever_stands_beside_it() -> None:
    values = np.random.default_rng(3).random((11, 3))
    first, again, alone = intervals(values, ids(11)), intervals(values, ids(11)), intervals(values[:, 1:2], ids(11))
    for name in ("mean_ci_low", "mean_ci_high", "median_ci_low", "median_ci_high"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert getattr(first, name)[1] == getattr(alone, name)[0]


def test_the_draws_cannot_be_changed_by_who_uses_them() -> None:
    with pytest.raises(ValueError, match="read-only"):
        draw_patients(5)[0][0, 0] = 9


@pytest.mark.usefixtures("few_resamples")
def test_many_cases_of_a_patient_do_not_overflow() -> None:
    numbers = np.repeat(np.arange(20), 2000)
    medians = resampled_medians(np.repeat(np.arange(20.0), 2000)[:, None], numbers, 20)
    assert medians.max() <= 19
    assert medians.mean() == pytest.approx(9.5, abs=0.3)
