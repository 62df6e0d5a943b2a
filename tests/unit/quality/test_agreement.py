"""Correlation, concordance and limits of agreement: against scipy, against other formulas, and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, pearsonr, ttest_1samp

from glioflow.quality.agreement import correlate, limits_of_agreement


def pairs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.lognormal(2, 1, n)
    return truth, 0.8 * truth + rng.normal(1, 3, n)


@pytest.mark.parametrize("n", [4, 5, 12, 72])
def test_pearson_r_its_p_and_its_interval_are_those_of_scipy(n):
    truth, prediction = pairs(n)
    found, expected = correlate(truth, prediction), pearsonr(truth, prediction)
    low, high = expected.confidence_interval(0.95)
    assert (found.pearson_r, found.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert (found.r_ci_low, found.r_ci_high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert found.r2 == pytest.approx(expected.statistic**2)


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 40), st.integers(0, 10**6))
def test_the_concordance_is_one_less_the_disagreement_over_that_of_strangers(n, seed):
    # King & Chinchilli 2001: the mean squared difference of pairs over that of every truth with every prediction.
    truth, prediction = pairs(n, seed)
    own = ((truth - prediction) ** 2).mean()
    strangers = ((truth[:, None] - prediction[None, :]) ** 2).mean()
    assert correlate(truth, prediction).ccc == pytest.approx(1 - own / strangers)


def test_a_shift_and_a_stretch_lower_the_concordance_and_not_r():
    truth, _ = pairs(30)
    for prediction in (truth + 5, 2 * truth):
        found = correlate(truth, prediction)
        assert found.pearson_r == pytest.approx(1)
        assert found.ccc < 0.95
    by_hand = correlate([1.0, 2, 3], [2.0, 3, 4])
    assert by_hand.ccc == pytest.approx(2 * (2 / 3) / (2 / 3 + 2 / 3 + 1))


def test_the_interval_of_the_concordance_holds_it_in_95_of_100_samples():
    sd, rho, shift = (1.0, 1.3), 0.85, 0.4
    covariance = [[sd[0] ** 2, rho * sd[0] * sd[1]], [rho * sd[0] * sd[1], sd[1] ** 2]]
    true = 2 * covariance[0][1] / (sd[0] ** 2 + sd[1] ** 2 + shift**2)
    rng = np.random.default_rng(1)
    samples = multivariate_normal([0, shift], covariance).rvs(40 * 1500, random_state=rng).reshape(1500, 40, 2)
    found = [correlate(sample[:, 0], sample[:, 1]) for sample in samples]
    covered = np.mean([each.ccc_ci_low <= true <= each.ccc_ci_high for each in found])
    assert 0.93 < covered < 0.97


def test_equal_values_agree_without_doubt():
    truth, _ = pairs(10)
    found = correlate(truth, truth)
    assert (found.pearson_r, found.ccc, found.p) == (pytest.approx(1), pytest.approx(1), 0)
    assert (found.r_ci_low, found.ccc_ci_low) == (pytest.approx(1), pytest.approx(1))


@pytest.mark.parametrize(
    ("truth", "prediction", "note"),
    [
        ([1.0, 2], [1.0, 2], "fewer than 3 patients"),
        ([], [], "fewer than 3 patients"),
        ([1.0, 2, 3, 4], [0.0, 0, 0, 0], "the prediction has one value in every patient"),
        ([0.1 + 0.2, 0.3, 0.3], [1.0, 2, 3], "the truth has one value in every patient"),
        ([2.0, 2, 2], [2.0, 2, 2], "the truth and the prediction has one value in every patient"),
    ],
)
def test_what_has_no_correlation_has_a_reason_and_no_number(truth, prediction, note):
    found = correlate(truth, prediction)
    assert found.note == note
    assert np.isnan([found.pearson_r, found.p, found.ccc, found.ccc_ci_low]).all()


def test_three_patients_have_an_r_without_an_interval():
    found = correlate([1.0, 2, 4], [1.0, 3, 3])
    assert np.isfinite(found.pearson_r) and np.isnan(found.r_ci_low)
    assert found.note == "3 patients give r no interval"


def test_limits_of_agreement_by_hand():
    # Mean 2, sd 1.5811 of four patients: limits 2 ± 1.96 sd; t of 3 degrees of freedom is 3.1824.
    found = limits_of_agreement([0.0, 2, 2, 4], list("abcd"))
    sd = np.sqrt(8 / 3)
    assert (found.bias, found.sd_difference) == (2, pytest.approx(sd))
    assert (found.limit_low, found.limit_high) == (pytest.approx(2 - 1.959964 * sd), pytest.approx(2 + 1.959964 * sd))
    half = 3.182446 * sd * np.sqrt(1 / 4 + 1.959964**2 / 6)
    assert found.limit_high_ci_high == pytest.approx(found.limit_high + half, rel=1e-6)


def test_the_interval_of_the_bias_is_that_of_a_t_test_of_patients():
    differences = np.random.default_rng(2).normal(1, 2, 15)
    found = limits_of_agreement(differences, range(15))
    low, high = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.bias_ci_low, found.bias_ci_high) == (pytest.approx(low), pytest.approx(high))


def test_limits_hold_95_of_100_new_cases_and_their_intervals_95_of_100_limits():
    rng, inside, covered = np.random.default_rng(3), [], []
    for _ in range(1500):
        found = limits_of_agreement(rng.normal(0, 1, 30), range(30))
        inside.append(np.mean(np.abs(rng.normal(0, 1, 200) - found.bias) < 1.959964 * found.sd_difference))
        covered.append(found.limit_high_ci_low <= 1.959964 <= found.limit_high_ci_high)
    assert 0.93 < np.mean(inside) < 0.96
    assert 0.93 < np.mean(covered) < 0.97


def test_several_cases_of_a_patient_leave_the_limits_of_a_single_case():
    # Patients of variance 4 between them and 1 within: a single case has 5. Means of cases would say less.
    rng, found = np.random.default_rng(4), []
    sizes = np.array([1, 2, 3, 5] * 10)
    patients = np.repeat(np.arange(len(sizes)), sizes)
    for _ in range(400):
        values = rng.normal(0, 2, len(sizes))[patients] + rng.normal(0, 1, len(patients))
        found.append(limits_of_agreement(values, patients).sd_difference ** 2)
    assert np.mean(found) == pytest.approx(5, rel=0.05)


def test_two_patients_have_no_limits_however_many_cases_they_have():
    found = limits_of_agreement(range(8), ["a", "b"] * 4)
    assert found.note == "fewer than 3 patients" and np.isnan(found.bias)
