"""Fisher–Freeman–Halton and Kruskal–Wallis: against scipy and against every arrangement of the patients."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import MonteCarloMethod, PermutationMethod, fisher_exact, kruskal, mannwhitneyu

from glioflow.evaluation import group_tests
from glioflow.evaluation.group_tests import fisher_freeman_halton, kruskal_wallis


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=2))
def test_of_two_rows_it_is_fishers_exact_test(counts):
    assert fisher_freeman_halton(counts)[0] == pytest.approx(fisher_exact(counts).pvalue, rel=1e-6)


def by_arrangement(counts: list[tuple[int, int]]) -> float:
    """Return p by going through every way to say which patients are in the first column."""
    rows = np.repeat(range(len(counts)), [sum(row) for row in counts])
    first = sum(row[0] for row in counts)
    tables = [tuple(np.bincount(rows[list(chosen)], minlength=len(counts))) for chosen in combinations(range(len(rows)), first)]
    ways = pd.Series(tables).value_counts()
    return float(ways[ways <= ways[tuple(row[0] for row in counts)]].sum() / ways.sum())


@pytest.mark.parametrize("counts", [[(3, 0), (1, 3), (0, 4)], [(2, 2), (2, 1), (0, 3), (3, 1)], [(1, 1), (4, 0), (0, 4)]])
def test_of_more_rows_it_is_the_share_of_all_arrangements_that_are_no_more_probable(counts):
    assert fisher_freeman_halton(counts) == (pytest.approx(by_arrangement(counts)), True)


@pytest.mark.parametrize("counts", [[(8, 2), (4, 9), (3, 7)], [(10, 14), (20, 3), (9, 9), (6, 12)]])
def test_of_more_rows_it_is_that_of_scipys_random_tables(counts):
    expected = fisher_exact(counts, method=MonteCarloMethod(n_resamples=40_000, rng=np.random.default_rng(5))).pvalue
    also = fisher_exact(counts, method=PermutationMethod(n_resamples=40_000, rng=np.random.default_rng(6))).pvalue
    found, exact = fisher_freeman_halton(counts)
    tolerance = 4 * np.sqrt(found * (1 - found) / 40_000) + 1e-4
    assert exact and found == pytest.approx(expected, abs=tolerance) and found == pytest.approx(also, abs=tolerance)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=4))
def test_the_order_of_rows_and_of_columns_does_not_matter(counts):
    p = fisher_freeman_halton(counts)[0]
    assert 0 < p <= 1
    assert fisher_freeman_halton(counts[::-1])[0] == pytest.approx(p)
    assert fisher_freeman_halton([row[::-1] for row in counts])[0] == pytest.approx(p)


def test_an_empty_column_or_one_row_says_nothing():
    assert fisher_freeman_halton([(5, 0), (4, 0)]) == (1.0, True)
    assert fisher_freeman_halton([(5, 3), (0, 0)]) == (1.0, True)


def test_too_many_tables_are_drawn_and_p_is_near_the_exact_one(monkeypatch):
    counts = [(8, 2), (4, 9), (3, 7), (5, 5)]
    exact = fisher_freeman_halton(counts)
    monkeypatch.setattr(group_tests, "MOST_TABLES", 10)
    drawn = fisher_freeman_halton(counts)
    assert (exact[1], drawn[1]) == (True, False)
    assert drawn[0] == pytest.approx(exact[0], abs=0.01)
    assert drawn == fisher_freeman_halton(counts)


def test_of_many_patients_kruskal_wallis_is_scipys():
    rng = np.random.default_rng(0)
    values, groups = pd.Series(rng.normal(size=60)), pd.Series(rng.choice(list("abc"), 60))
    expected = kruskal(*(values[groups == name] for name in "abc"))
    assert kruskal_wallis(values, groups) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))


def test_of_few_patients_it_is_the_share_of_all_orders_that_are_as_far_apart():
    values, groups = pd.Series([2.0, 3, 1, 6, 4, 5]), pd.Series(list("abbccc"))

    def h_of(order) -> float:
        ranks = np.array(order)
        return kruskal(ranks[:1], ranks[1:3], ranks[3:]).statistic

    h, p = kruskal_wallis(values, groups)
    assert h == pytest.approx(h_of(values))
    assert p == pytest.approx(np.mean([h_of(order) >= h - 1e-9 for order in permutations(range(1, 7))]))


def test_of_few_patients_in_two_groups_it_is_the_exact_rank_sum_test():
    values = pd.Series([1.0, 2, 3, 9, 4, 5, 6, 7])
    groups = pd.Series(list("aaaabbbb"))
    expected = mannwhitneyu(values[:4], values[4:], method="exact").pvalue
    h, p = kruskal_wallis(values, groups)
    assert h == pytest.approx(kruskal(values[:4], values[4:]).statistic)
    assert p == pytest.approx(expected, abs=0.02)
    every = [abs(sum(chosen) - 18) for chosen in combinations(range(1, 9), 4)]
    assert p == pytest.approx(np.mean([far >= abs(1 + 2 + 3 + 8 - 18) for far in every]), abs=0.01)
