"""The paired test, its effect size and the correction, each worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import PermutationMethod, wilcoxon

from glioflow.evaluation.paired_tests import holm, signed_rank_test


def outcome(*differences: float) -> tuple[float, float]:
    found = signed_rank_test(differences)
    return found.p, found.rank_biserial


def test_five_pairs_worked_out_by_hand() -> None:
    # Ranks 1 to 5, of which 2 is negative. Of the 32 ways to give signs, the negative ranks sum to 2 or less in three: none,
    # {1} and {2}. Two-sided: 2 * 3 / 32. Effect: (1 + 3 + 4 + 5 - 2) / 15.
    assert outcome(0.1, -0.2, 0.3, 0.4, 0.5) == pytest.approx((6 / 32, 11 / 15))


def test_five_pairs_that_all_differ_one_way_have_the_smallest_p_that_five_can() -> None:
    assert outcome(3, 1, 2, 5, 4) == pytest.approx((2 / 32, 1))
    assert outcome(-3, -1, -2, -5, -4) == pytest.approx((2 / 32, -1))


def test_pairs_without_a_difference_keep_their_ranks_and_count_for_neither() -> None:
    # Ranks: 0 has 1, 1 has 2, -2 has 3, 3 has 4. The positive ones sum to 6; of the 8 ways to give signs to 2, 3 and 4, three
    # (2 + 4, 3 + 4, all) reach it: 2 * 3 / 8. Effect: (6 - 3) / 10.
    assert outcome(0, 1, -2, 3) == pytest.approx((6 / 8, 3 / 10))


def test_a_change_of_few_masks_among_many_is_a_small_effect() -> None:
    # 18 ties have the ranks 1 to 18, the two changes 19 and 20: 39 of 210. One of the 4 ways to give signs to them is so far.
    assert outcome(*[0.0] * 18, 0.1, 0.2) == pytest.approx((2 / 4, 39 / 210))


def test_ties_share_their_ranks() -> None:
    # All have rank 2. The positive ones sum to 4, as half of the ways to give signs do at least: p is 1. Effect: (4 - 2) / 6.
    assert outcome(1, 1, -1) == pytest.approx((1, 1 / 3))
    # Ranks 1.5, 1.5 and 3: three of the 8 ways to give signs reach 1.5 + 3, as this one does.
    assert outcome(1, -1, 2) == pytest.approx((2 * 3 / 8, 3 / 6))


def test_equal_models_do_not_differ() -> None:
    assert outcome(*[0.0] * 30) == outcome(*[0.0] * 60) == (1, 0)


def test_no_pair_has_no_test() -> None:
    assert np.isnan(outcome()).all()


def test_an_infinite_difference_has_the_highest_rank() -> None:
    assert outcome(1, 2, -np.inf) == outcome(1, 2, -3)


@pytest.mark.parametrize(("pairs", "zeros", "decimals"), [(50, 0, 9), (11, 3, 9), (11, 3, 0), (80, 0, 9), (80, 9, 1)])
def test_the_test_is_that_of_scipy(pairs: int, zeros: int, decimals: int) -> None:
    values = np.random.default_rng(0).normal(0.2, 1, pairs).round(decimals)
    values[:zeros] = 0
    # Where there are ties scipy needs to be told to go through all signs.
    method = PermutationMethod() if pairs <= 13 else "auto"
    expected = wilcoxon(values, zero_method="pratt", method=method).pvalue
    assert signed_rank_test(values).p == pytest.approx(expected)


def test_with_ties_the_exact_and_the_normal_p_are_near_each_other() -> None:
    values = np.random.default_rng(5).normal(0.3, 1, 50).round(1)
    assert (values == 0).any()
    normal = wilcoxon(values, zero_method="pratt", method="asymptotic").pvalue
    assert signed_rank_test(values).p == pytest.approx(normal, rel=0.05)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12))
def test_turned_round_the_effect_turns_and_the_p_stays(values: list[int]) -> None:
    p, effect = outcome(*values)
    assert outcome(*(-value for value in values)) == pytest.approx((p, -effect))
    assert -1 <= effect <= 1
    assert 0 < p <= 1


def test_the_correction_worked_out_by_hand() -> None:
    # From the smallest: 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which may not be smaller than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_what_was_not_tested_is_not_counted_and_nothing_exceeds_one() -> None:
    assert holm([0.02, np.nan, 0.6, 0.7]).tolist() == pytest.approx([0.06, np.nan, 1.0, 1.0], nan_ok=True)
    assert holm([]).tolist() == []
    assert np.isnan(holm([np.nan])).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_corrected_values_keep_their_order_and_do_not_fall(values: list[float]) -> None:
    corrected = holm(values)
    assert (corrected >= np.array(values)).all()
    order = np.argsort(values)
    assert (np.diff(corrected[order]) >= 0).all()
