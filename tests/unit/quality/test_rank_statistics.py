"""Rank statistics beside scipy, scikit-learn and the plain definitions, of cases and of bootstrap samples."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from glioflow.quality.rank_statistics import aurc, auroc, excess_aurc, spearman

ONE = np.ones((1, 1))


def plain_aurc(score: list[float], risk: list[float]) -> float:
    """The mean over k of the mean risk of the first k, averaged over all orders of equal scores."""
    found = []
    for order in itertools.permutations(range(len(score))):
        if all(score[a] >= score[b] for a, b in itertools.pairwise(order)):
            risks = np.asarray(risk)[list(order)]
            found.append(np.mean(np.cumsum(risks) / np.arange(1, len(risks) + 1)))
    return float(np.mean(found))


def repeated(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.repeat(values, counts)


scores = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10)), min_size=2, max_size=6)


@given(scores)
def test_aurc_is_the_mean_over_all_orders_of_equal_scores(cases):
    score, risk = np.array(cases, float).T
    assert aurc(score, risk, np.ones((len(score), 1)))[0] == pytest.approx(plain_aurc(list(score), list(risk)))


def test_aurc_by_hand():
    score, risk, counts = np.array([3.0, 2.0, 1.0]), np.array([0.0, 0.5, 1.0]), np.ones((3, 1))
    assert aurc(score, risk, counts)[0] == pytest.approx((0 + 0.25 + 0.5) / 3)
    assert aurc(-score, risk, counts)[0] == pytest.approx((1 + 0.75 + 0.5) / 3)
    assert excess_aurc(score, risk, counts)[0] == pytest.approx(0)
    assert excess_aurc(-score, risk, counts)[0] == pytest.approx(0.5)
    assert aurc(np.zeros(3), risk, counts)[0] == pytest.approx(0.5)  # no order: the mean risk at any coverage


@pytest.mark.parametrize("decimals", [1, 6])
def test_samples_are_as_if_their_cases_were_there_so_often(decimals):
    rng = np.random.default_rng(0)
    score, dice = rng.random(40).round(decimals), rng.random(40).round(decimals)
    counts = rng.integers(0, 4, (40, 25))
    failed = dice < 0.7
    found = {
        "spearman": spearman(score, dice, counts),
        "auroc": auroc(score, failed, counts),
        "aurc": aurc(score, 1 - dice, counts),
        "e_aurc": excess_aurc(score, 1 - dice, counts),
    }
    for sample, own in enumerate(counts.T):
        s, d = repeated(score, own), repeated(dice, own)
        alone = np.ones((len(s), 1))
        assert found["spearman"][sample] == pytest.approx(spearmanr(s, d).statistic)
        assert found["auroc"][sample] == pytest.approx(roc_auc_score(d >= 0.7, s))
        assert found["aurc"][sample] == pytest.approx(aurc(s, 1 - d, alone)[0])
        assert found["e_aurc"][sample] == pytest.approx(excess_aurc(s, 1 - d, alone)[0])


def test_aurc_without_equal_scores_is_the_plain_sum():
    rng = np.random.default_rng(1)
    score, risk = rng.permutation(500).astype(float), rng.random(500)
    ordered = risk[np.argsort(-score)]
    expected = np.mean(np.cumsum(ordered) / np.arange(1, 501))
    assert aurc(score, risk, np.ones((500, 1)))[0] == pytest.approx(expected)


def test_what_is_undefined_is_nan():
    dice = np.array([0.8, 0.9, 0.75])
    assert np.isnan(auroc(dice, dice < 0.7, np.ones((3, 1))))[0]
    assert np.isnan(spearman(np.zeros(3), dice, np.ones((3, 1))))[0]
