"""Cohen's d by hand, its invariances and where it is undefined; its interval by integration; what chance alone reaches."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import chi2, norm, ttest_ind

from glioflow.failure.effects import cohens_d, d_interval, largest_by_chance, small_sample_factor

VALUES = st.lists(st.integers(-1000, 1000).map(lambda n: n / 8), min_size=2, max_size=12)


def varies(*groups: list[float]) -> bool:
    return any(len(set(group)) > 1 for group in groups)


def test_two_groups_of_three_by_hand() -> None:
    effect = cohens_d([2, 4, 6], [1, 2, 3])
    assert (effect.mean_worst, effect.mean_best, effect.n_worst, effect.n_best, effect.note) == (4, 2, 3, 3, "")
    assert effect.sd_pooled == pytest.approx(math.sqrt((2 * 4 + 2 * 1) / 4))
    assert effect.cohens_d == pytest.approx(2 / math.sqrt(2.5))


def test_groups_of_different_size_are_weighted_by_their_degrees_of_freedom() -> None:
    # Squares about the means 2 and 4: 2 and 18; pooled over 2 + 4 - 2 degrees of freedom.
    effect = cohens_d([1, 3], [2, 2, 5, 7])
    assert effect.sd_pooled == pytest.approx(math.sqrt(20 / 4))
    assert effect.cohens_d == pytest.approx(-2 / math.sqrt(5))


def test_a_missing_value_is_left_out_and_not_counted() -> None:
    assert cohens_d([2, math.nan, 4, 6], [1, 2, 3]) == cohens_d([2, 4, 6], [1, 2, 3])


@pytest.mark.parametrize(
    ("worst", "best", "named"),
    [([1.0], [1.0, 2.0], "worst"), ([1.0, 2.0], [np.nan, 1.0], "best"), ([], [3.0], "worst and best")],
)
def test_fewer_than_two_values_give_no_effect_and_a_note(worst: list[float], best: list[float], named: str) -> None:
    effect = cohens_d(worst, best)
    assert math.isnan(effect.cohens_d)
    assert math.isnan(effect.sd_pooled)
    assert effect.note == f"fewer than two values among the {named} cases"


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_groups_that_differ_and_do_not_vary_are_infinitely_far_apart(value: float) -> None:
    effect = cohens_d([value] * 3, [value + 1] * 4)
    assert effect.cohens_d == effect.hedges_g == -math.inf
    assert cohens_d([value + 1] * 3, [value] * 4).cohens_d == math.inf
    assert effect.sd_pooled == 0
    assert math.isnan(effect.d_ci_low) and math.isnan(effect.d_ci_high)
    assert effect.note == "the feature does not vary within the groups"


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_feature_that_is_the_same_everywhere_has_no_effect(value: float) -> None:
    effect = cohens_d([value] * 3, [value] * 4)
    assert math.isnan(effect.cohens_d)
    assert (effect.sd_pooled, effect.n_worst, effect.n_best) == (0, 3, 4)
    assert effect.note == "the feature is the same in every one of the extremes"


def test_rounding_is_not_taken_for_variation() -> None:
    assert math.isnan(cohens_d([1.0, 1.0 + 2e-16, 1.0], [1.0 + 4e-16, 1.0, 1.0]).cohens_d)


def test_an_infinite_value_is_counted_and_shown_and_leaves_no_effect() -> None:
    effect = cohens_d([1.0, math.inf, 2.0], [1.0, 2.0, 3.0])
    assert (effect.mean_worst, effect.mean_best, effect.n_worst) == (math.inf, 2, 3)
    assert math.isnan(effect.cohens_d)
    assert effect.note == "the feature is infinite in 1 of the extremes"


@pytest.mark.filterwarnings("ignore:Precision loss")
@settings(deadline=None, max_examples=50)
@given(VALUES, VALUES)
def test_the_effect_is_that_of_students_t(worst: list[float], best: list[float]) -> None:
    assume(varies(worst, best))
    t = ttest_ind(worst, best, equal_var=True).statistic
    assert cohens_d(worst, best).cohens_d == pytest.approx(t * math.sqrt(1 / len(worst) + 1 / len(best)), rel=1e-9, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(VALUES, VALUES, st.integers(-100, 100), st.sampled_from([0.25, 0.5, 4.0, 1000.0]))
def test_the_effect_does_not_depend_on_a_features_unit_or_origin(
    worst: list[float], best: list[float], shift: int, scale: float
) -> None:
    assume(varies(worst, best))
    moved = cohens_d([scale * v + shift for v in worst], [scale * v + shift for v in best])
    assert moved.cohens_d == pytest.approx(cohens_d(worst, best).cohens_d, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(VALUES, VALUES)
def test_swapping_the_groups_turns_the_sign(worst: list[float], best: list[float]) -> None:
    assume(varies(worst, best))
    assert cohens_d(worst, best).cohens_d == pytest.approx(-cohens_d(best, worst).cohens_d)


# ---- Hedges' g and the interval


@pytest.mark.parametrize("degrees", [2, 3, 8, 38])
def test_hedges_factor_is_the_ratio_of_gamma_functions(degrees: int) -> None:
    expected = math.gamma(degrees / 2) / (math.sqrt(degrees / 2) * math.gamma((degrees - 1) / 2))
    assert small_sample_factor(degrees) == pytest.approx(expected, rel=1e-12)
    assert small_sample_factor(degrees) == pytest.approx(1 - 3 / (4 * degrees - 1), abs=0.02)  # Hedges' approximation


def test_g_is_d_made_smaller() -> None:
    effect = cohens_d([2, 4, 6, 9], [1, 2, 3, 3])
    assert 0 < effect.hedges_g < effect.cohens_d
    assert effect.hedges_g == pytest.approx(effect.cohens_d * small_sample_factor(6))


def noncentral_t(t: float, degrees: int, noncentrality: float) -> float:
    """Return P(T <= t) of T = (Z + noncentrality) / sqrt(V / degrees), integrated over the density of V (chi squared)."""

    def density(v: float) -> float:
        return float(norm.cdf(t * math.sqrt(v / degrees) - noncentrality) * chi2.pdf(v, degrees))

    return float(quad(density, 0, chi2.isf(1e-14, degrees), limit=400, epsabs=1e-12)[0])


@pytest.mark.parametrize(("d", "n1", "n2"), [(0.0, 5, 5), (0.7, 20, 20), (-1.6, 5, 5), (3.2, 4, 7), (-0.2, 2, 3), (6.0, 5, 5)])
def test_the_interval_holds_the_noncentralities_that_leave_a_fortieth_beyond_t(d: float, n1: int, n2: int) -> None:
    root = math.sqrt(n1 * n2 / (n1 + n2))
    low, high = d_interval(d, n1, n2)
    assert noncentral_t(d * root, n1 + n2 - 2, low * root) == pytest.approx(0.975, abs=1e-6)
    assert noncentral_t(d * root, n1 + n2 - 2, high * root) == pytest.approx(0.025, abs=1e-6)


def test_the_interval_of_the_other_direction_is_the_mirrored_one() -> None:
    low, high = d_interval(1.3, 6, 9)
    assert d_interval(-1.3, 6, 9) == (-high, -low)
    assert d_interval(0.0, 6, 9)[0] == pytest.approx(-d_interval(0.0, 6, 9)[1])


def test_the_interval_covers_the_true_difference_of_normal_values_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    intervals = [d_interval(cohens_d(rng.normal(1, 1, 5), rng.normal(0, 1, 5)).cohens_d, 5, 5) for _ in range(600)]
    assert 0.92 < np.mean([low <= 1 <= high for low, high in intervals]) < 0.98


# ---- what random rankings reach


def naive_largest(values: np.ndarray, patients: list[str], extremes: int, permutations: int) -> float:
    """Return what ``largest_by_chance`` should, by the plainest loops."""
    rng = np.random.default_rng(0)
    names = list(dict.fromkeys(patients))
    cases_of = {name: [i for i, patient in enumerate(patients) if patient == name] for name in names}
    largest = []
    for _ in range(permutations):
        order = [names[i] for i in rng.permutation(len(names))]
        places = dict(
            zip([i for name in names for i in cases_of[name]], [i for name in order for i in cases_of[name]], strict=True)
        )
        ranking = sorted(places, key=lambda case: places[case])
        effects = [
            cohens_d(values[ranking[:extremes], f], values[ranking[-extremes:], f]).cohens_d for f in range(values.shape[1])
        ]
        largest.append(max(abs(d) for d in effects if not math.isnan(d)))
    return sorted(largest)[math.ceil(0.95 * (permutations - 1))]


@pytest.mark.parametrize("patients", [[f"p{i}" for i in range(16)], [f"p{i // 2}" for i in range(12)] + ["q", "q", "q", "r"]])
def test_the_band_is_the_percentile_of_the_largest_effect_in_random_rankings(patients: list[str]) -> None:
    values = np.random.default_rng(5).normal(size=(16, 7)) * [1, 10, 0.01, 1, 1, 1, 1e6] + [0, 5, 0, 0, 0, 0, 1e7]
    values[[2, 9], 3] = np.nan
    found = largest_by_chance(values, patients, 4, permutations=80)
    assert found == pytest.approx(naive_largest(values, patients, 4, 80), rel=1e-6)


def test_the_band_depends_on_no_order_of_the_cases_but_chance() -> None:
    values = np.random.default_rng(6).normal(size=(40, 30))
    patients = [f"p{i}" for i in range(40)]
    one, other = largest_by_chance(values, patients, 5), largest_by_chance(values[::-1], patients, 5)
    assert one == pytest.approx(other, rel=0.15)
    assert 1.8 < one < 4.5  # with five a group, chance alone makes effects that would be called huge


def test_groups_that_do_not_vary_make_an_infinite_band_and_none_where_nothing_varies() -> None:
    steps = np.repeat([0.0, 1.0], 10)[:, None]
    assert math.isinf(largest_by_chance(steps, range(20), 2, permutations=99))
    assert math.isnan(largest_by_chance(np.ones((20, 3)), range(20), 5))
    assert math.isnan(largest_by_chance(np.full((20, 3), np.nan), range(20), 5))
    assert math.isnan(largest_by_chance(np.random.default_rng(0).normal(size=(20, 3)), range(20), 1))
