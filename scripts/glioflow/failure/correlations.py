"""Spearman's rank correlation of many features with one metric: its interval, its p, and what is left of it at equal volume.

The interval is Fisher's z with Bonett and Wright's standard error, √((1 + ρ²/2) / (n - 3)) (2000, Psychometrika 65:23-28). p is
two-sided: by Student's t with n - 2 degrees of freedom, and below ``FEWEST_FOR_APPROXIMATION`` values by permutation of the
metric, exact where there are at most ``RESAMPLES`` permutations, else from as many drawn with a seed (as
scipy.stats.permutation_test).

Given a third quantity, ρ is the partial correlation of the ranks, tested by t with n - 3 degrees of freedom.
"""

from itertools import permutations as all_permutations
from math import factorial, nan

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtr
from scipy.stats import norm, rankdata

from glioflow.evaluation.group_tests import FEWEST_FOR_APPROXIMATION, RESAMPLES

CONFIDENCE = 0.95
FEWEST_TESTED = 3
POWER = 0.8
SIGNIFICANT = 0.05
# A correlation this close to 1 is 1 but for rounding.
ROUNDING = 1e-12

Floats = NDArray[np.float64]


def correlate(features: Floats, metric: Floats) -> tuple[Floats, Floats]:
    """Return rho and p of each feature with the metric. NaN for a feature, or a metric, that is the same throughout.

    ``features``: (patients, features), ``metric``: (patients,); none is NaN, infinite values are the largest or smallest.
    """
    columns = features.shape[1]
    if len(metric) < FEWEST_TESTED:
        return np.full(columns, nan), np.full(columns, nan)
    ranks, fixed = rankdata(features, axis=0), rankdata(metric)
    rho = _pearson(ranks, fixed)
    p = _permuted(ranks, fixed) if len(metric) < FEWEST_FOR_APPROXIMATION else _student(rho, len(metric) - 2)
    return rho, np.where(np.isnan(rho), nan, p)


def correlate_given(features: Floats, metric: Floats, given: Floats) -> tuple[Floats, Floats, Floats]:
    """Return rho of each feature with the metric at equal ``given``, its p, and rho of each feature with ``given``.

    Shapes as of ``correlate``. NaN where there are fewer than four patients, or ``given`` orders features or metric entirely.
    """
    ranks, fixed, third = (rankdata(values, axis=0) for values in (features, metric, given))
    with_third, metric_third = _pearson(ranks, third), float(_pearson(fixed[:, None], third)[0])
    left = (1 - with_third**2) * (1 - metric_third**2)
    possible = (left > ROUNDING) & (len(metric) > FEWEST_TESTED)
    partial = np.divide(
        _pearson(ranks, fixed) - with_third * metric_third,
        np.sqrt(np.where(possible, left, 1.0)),
        out=np.full(len(left), nan),
        where=possible,
    )
    return np.clip(partial, -1, 1), _student(partial, len(metric) - 3), with_third


def correlation_interval(rho: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Return the central ``CONFIDENCE`` interval of each rho of n patients; NaN below four, and where |rho| is 1."""
    possible = (n > FEWEST_TESTED) & (np.abs(rho) < 1 - ROUNDING)
    rho, n = np.where(possible, rho, nan), np.where(possible, n, nan)
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return np.tanh(np.arctanh(rho) - reach), np.tanh(np.arctanh(rho) + reach)


def rank_correlations(features: Floats) -> Floats:
    """Return Spearman's rho between all pairs of features (patients, features), NaN where one is the same throughout.

    A pair is compared over the patients in whom both are defined.
    """
    known = ~np.isnan(features)
    if len(features) < 2:
        return np.full((features.shape[1], features.shape[1]), nan)
    if known.all():
        ranks = rankdata(features, axis=0)
        return np.stack([_pearson(ranks, ranks[:, column]) for column in range(features.shape[1])])
    found = np.eye(features.shape[1])
    for one in range(features.shape[1]):
        for other in range(one + 1):
            both = known[:, one] & known[:, other]
            pair = rankdata(features[both][:, [one, other]], axis=0)
            found[one, other] = found[other, one] = _pearson(pair[:, :1], pair[:, 1])[0] if both.sum() > 1 else nan
    return found


def largest_missed(n: int, tests: int) -> float:
    """Return the |rho| that a study of ``n`` patients finds with a chance of ``POWER``, one feature among ``tests``.

    A smaller one is more likely to be missed than that. Found is a feature with a q below ``SIGNIFICANT``; of one that goes
    along with the metric by itself, Benjamini and Hochberg's procedure asks a p of ``SIGNIFICANT`` / ``tests``. NaN below four
    patients.
    """
    if n <= FEWEST_TESTED:
        return nan
    needed = float(norm.ppf(1 - SIGNIFICANT / tests / 2))

    def surplus(rho: float) -> float:
        return float(np.arctanh(rho) - (needed + norm.ppf(POWER) * np.sqrt(1 + rho**2 / 2)) / np.sqrt(n - 3))

    return float(brentq(surplus, 0.0, 1 - ROUNDING))


def _pearson(columns: Floats, other: Floats) -> Floats:
    """Return the correlation of each column with ``other``; NaN where one of the two is constant."""
    centred, fixed = columns - columns.mean(axis=0), other - other.mean()
    size = np.sqrt((centred**2).sum(axis=0) * (fixed**2).sum())
    found = np.divide(fixed @ centred, size, out=np.full(columns.shape[1], nan), where=size > 0)
    return np.asarray(np.clip(found, -1, 1), np.float64)


def _student(rho: Floats, degrees: int) -> Floats:
    """Return the two-sided p of a correlation by Student's t; NaN without any degree of freedom."""
    if degrees < 1:
        return np.full(len(rho), nan)
    with np.errstate(divide="ignore"):
        t = np.abs(rho) * np.sqrt(degrees / (1 - rho**2))
    return np.asarray(2 * stdtr(degrees, -t), np.float64)


def _permuted(ranks: Floats, fixed: Floats) -> Floats:
    """Return the two-sided p of each column of ``ranks`` against all, or many, orders of ``fixed``."""
    n = len(fixed)
    exact = factorial(n) <= RESAMPLES
    if exact:
        orders = np.array(list(all_permutations(fixed)))
    else:
        rng = np.random.default_rng(0)
        orders = rng.permuted(np.broadcast_to(fixed, (RESAMPLES, n)), axis=1)
    # Ranks are whole or half, so that these sums are exact and equal ones tie.
    expected = n * ((n + 1) / 2) ** 2
    as_far = (np.abs(orders @ ranks - expected) >= np.abs(fixed @ ranks - expected)).sum(axis=0)
    return np.asarray(as_far / len(orders) if exact else (as_far + 1) / (len(orders) + 1), np.float64)
