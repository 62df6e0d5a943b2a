"""Cohen's d: how far two groups of values are apart, with its interval, and what the choice of extremes makes by itself.

d = (mean of the worst - mean of the best) / s, with s = sqrt(((n1 - 1) s1² + (n2 - 1) s2²) / (n1 + n2 - 2)) and s1, s2 the
sample standard deviations (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., section 2.5).
Positive: the value is larger where the model fails. g is d times Γ(m/2) / (√(m/2) Γ((m-1)/2)) with m = n1 + n2 - 2, which is
unbiased for normal values (Hedges 1981, J Educ Stat 6:107-128).

The interval is that of the standardised difference of two normal populations: the noncentralities at which t = d √(n1 n2 / (n1
+ n2)) is the 97.5th and the 2.5th percentile of the noncentral t, over that root (the pivot method; Cumming & Finch 2001, Educ
Psychol Meas 61:532-574). It takes the groups as given: where they are the extremes of a ranking, it does not know that they
were chosen. ``largest_by_chance`` does: it is what the largest |d| of many features comes to where the ranking has nothing to
do with them.
"""

from dataclasses import dataclass
from math import inf, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, nctdtrinc

# A pooled standard deviation below this part of the largest value is rounding: features agree to 2.4e-13 between platforms.
SMALLEST_SPREAD = 1e-12
# Of features brought to unit variance: a smaller sum of squares is rounding.
SMALLEST_SQUARES = 1e-10
CONFIDENCE = 0.95
PERMUTATIONS = 999
NULL_PERCENTILE = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """Cohen's d of one quantity and what it was computed from; NaN, with a note, where it is undefined."""

    cohens_d: float
    hedges_g: float
    d_ci_low: float
    d_ci_high: float
    mean_worst: float
    mean_best: float
    sd_pooled: float
    n_worst: int
    n_best: int
    note: str = ""


def cohens_d(worst: ArrayLike, best: ArrayLike, what: str = "feature") -> Effect:
    """Return the effect size of two groups of values, worst minus best. Undefined values are left out.

    ``what`` is compared, for the note. Groups that differ and do not vary are infinitely far apart.
    """
    first, second = (values[~np.isnan(values)] for values in (np.asarray(worst, float), np.asarray(best, float)))
    n1, n2 = len(first), len(second)
    mean1, mean2 = (float(values.mean()) if len(values) else nan for values in (first, second))

    def effect(d: float, pooled: float, note: str = "") -> Effect:
        small = small_sample_factor(n1 + n2 - 2) if n1 + n2 > 2 else nan
        low, high = d_interval(d, n1, n2) if np.isfinite(d) else (nan, nan)
        return Effect(d, d * small, low, high, mean1, mean2, pooled, n1, n2, note)

    if min(n1, n2) < 2:
        few = " and ".join(name for name, n in (("worst", n1), ("best", n2)) if n < 2)
        return effect(nan, nan, f"fewer than two values among the {few} cases")
    both = np.concatenate([first, second])
    if not np.isfinite(both).all():
        return effect(nan, nan, f"the {what} is infinite in {int(np.isinf(both).sum())} of the extremes")
    squares = float(((first - mean1) ** 2).sum() + ((second - mean2) ** 2).sum())
    pooled = float(np.sqrt(squares / (n1 + n2 - 2)))
    if pooled > SMALLEST_SPREAD * float(np.abs(both).max()):
        return effect((mean1 - mean2) / pooled, pooled)
    if abs(mean1 - mean2) <= SMALLEST_SPREAD * float(np.abs(both).max()):
        return effect(nan, 0.0, f"the {what} is the same in every one of the extremes")
    return effect(inf if mean1 > mean2 else -inf, 0.0, f"the {what} does not vary within the groups")


def small_sample_factor(degrees: int) -> float:
    """Return what d is multiplied with to be unbiased; 0 at one degree of freedom, where it has no mean."""
    return float(np.exp(gammaln(degrees / 2) - gammaln((degrees - 1) / 2)) / np.sqrt(degrees / 2)) if degrees > 1 else nan


def d_interval(d: float, n1: int, n2: int) -> tuple[float, float]:
    """Return the central ``CONFIDENCE`` interval of a finite d of ``n1`` and ``n2`` values, by the noncentral t."""
    root = np.sqrt(n1 * n2 / (n1 + n2))
    tail = (1 - CONFIDENCE) / 2
    # Of -t the tails are turned around; the positive one is where the distribution is computed best.
    low, high = (float(nctdtrinc(n1 + n2 - 2, p, abs(d) * root) / root) for p in (1 - tail, tail))
    return (low, high) if d >= 0 else (-high, -low)


def largest_by_chance(values: Floats, patients: ArrayLike, extremes: int, permutations: int = PERMUTATIONS) -> float:
    """Return the 95th percentile of the largest |d| of all features where the order of the cases is random.

    The cases' places in the ranking are dealt out anew ``permutations`` times, with a fixed seed: the patients' places, in
    random order, to the cases patient by patient. So cases of one patient keep places that go together. The ``extremes`` at
    either end are then the worst and the best.

    Parameters
    ----------
    values
        (cases, features), NaN where undefined, in the order of the ranking.
    patients
        The patient of each case.
    extremes
        How many worst and as many best cases; at most half of the cases.
    permutations
        How many random orders.

    Returns
    -------
    float
        NaN where no feature has a d in any of the permutations.
    """
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        usable = known.any(axis=0) & ~np.isinf(values).any(axis=0)
    values, known = values[:, usable], known[:, usable]
    if extremes < 2 or not values.shape[1]:
        return nan
    spread = np.nanstd(values, axis=0)
    scaled = np.where(known, (values - np.nanmean(values, axis=0)) / np.where(spread > 0, spread, 1.0), 0.0)
    worst, best = _random_extremes(np.asarray(patients, object), extremes, permutations)
    counts, means, squares = [], [], []
    for chosen in (worst, best):
        n = chosen @ known.astype(float)
        mean = np.divide(chosen @ scaled, n, out=np.zeros_like(n), where=n > 0)
        counts.append(n)
        means.append(mean)
        squares.append(np.maximum(chosen @ scaled**2 - n * mean**2, 0.0))
    defined = (counts[0] >= 2) & (counts[1] >= 2)
    within = squares[0] + squares[1]
    apart = np.abs(means[0] - means[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        d = apart / np.sqrt(within / (counts[0] + counts[1] - 2))
    d = np.where(within > SMALLEST_SQUARES, d, np.where(apart > np.sqrt(SMALLEST_SQUARES), inf, -inf))
    largest = np.where(defined, d, -inf).max(axis=1)
    largest = largest[largest > -inf]
    # An element of the sample, since infinite ones cannot be interpolated.
    return float(np.quantile(largest, NULL_PERCENTILE, method="higher")) if len(largest) else nan


def _random_extremes(patients: NDArray[np.object_], extremes: int, permutations: int) -> tuple[Floats, Floats]:
    """Return which cases are the worst and which the best in each permutation: two arrays (permutations, cases) of 0 and 1."""
    blocks = [np.flatnonzero(patients == patient) for patient in dict.fromkeys(patients)]
    cases, rng = np.concatenate(blocks), np.random.default_rng(0)
    worst, best = np.zeros((2, permutations, len(patients)))
    for number in range(permutations):
        places = np.concatenate([blocks[block] for block in rng.permutation(len(blocks))])
        worst[number, cases[places < extremes]] = 1
        best[number, cases[places >= len(patients) - extremes]] = 1
    return worst, best
