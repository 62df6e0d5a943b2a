"""How well two ways to measure one quantity agree: correlation, concordance and limits of agreement, by patient.

Pearson's r with the interval of Fisher's z (Fisher 1921, Metron 1:3-32), p two-sided by Student's t. Lin's concordance
correlation coefficient with the interval of its z-transform (Lin 1989, doi:10.2307/2532051, variance as corrected in Biometrics
2000;56:324-325): r tells whether the two go along, the concordance whether they are the same. Bland and Altman's limits of
agreement with their intervals (Bland & Altman 1999, doi:10.1177/096228029900800204).

Cases of one patient are not independent. So r and the concordance are of one pair a patient, the means of its cases. Limits are
for a single case: where patients have several, their variance is that between patients and that within patients together (Bland
& Altman 2007, doi:10.1080/10543400701329422, "method where the true value varies"), and their intervals count patients, not
cases.
"""

from dataclasses import dataclass
from math import atanh, nan, sqrt, tanh

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

CONFIDENCE = 0.95
Z = float(ndtri((1 + CONFIDENCE) / 2))
FEWEST = 3  # patients: two points are on a line whatever they are
# A spread below this part of the largest value is rounding.
SMALLEST_SPREAD = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """Pearson's r with its interval and two-sided p, Lin's concordance with its interval; NaN, with a note, if undefined."""

    pearson_r: float = nan
    r_ci_low: float = nan
    r_ci_high: float = nan
    r2: float = nan
    p: float = nan
    ccc: float = nan
    ccc_ci_low: float = nan
    ccc_ci_high: float = nan
    note: str = ""


@dataclass(frozen=True)
class Limits:
    """Mean difference and 95 % limits of agreement, each with its interval; NaN, with a note, if undefined."""

    bias: float = nan
    bias_ci_low: float = nan
    bias_ci_high: float = nan
    sd_difference: float = nan
    limit_low: float = nan
    limit_low_ci_low: float = nan
    limit_low_ci_high: float = nan
    limit_high: float = nan
    limit_high_ci_low: float = nan
    limit_high_ci_high: float = nan
    note: str = ""


def is_constant(values: Floats) -> bool:
    """Tell whether values differ by no more than rounding."""
    return bool(np.ptp(values) <= SMALLEST_SPREAD * np.abs(values).max())


def correlate(truth: ArrayLike, prediction: ArrayLike) -> Correlation:
    """Return how two measurements of as many patients, none NaN, go along and agree."""
    x, y = np.asarray(truth, float), np.asarray(prediction, float)
    n = len(x)
    if n < FEWEST:
        return Correlation(note=f"fewer than {FEWEST} patients")
    if same := [name for name, values in (("truth", x), ("prediction", y)) if is_constant(values)]:
        return Correlation(note=f"the {' and the '.join(same)} has one value in every patient")
    dx, dy = x - x.mean(), y - y.mean()
    sxx, syy, sxy = (float(part.mean()) for part in (dx * dx, dy * dy, dx * dy))
    r = min(1.0, max(-1.0, sxy / sqrt(sxx * syy)))
    ccc = 2 * sxy / (sxx + syy + float(x.mean() - y.mean()) ** 2)
    if 1 - abs(r) <= SMALLEST_SPREAD:
        p, r_ends = 0.0, (r, r)
    else:
        p = float(2 * stdtr(n - 2, -abs(r) * sqrt((n - 2) / (1 - r * r))))
        r_ends = _transformed(r, 1 / (n - 3)) if n > FEWEST else (nan, nan)
    shift = float(x.mean() - y.mean()) / (sxx * syy) ** 0.25
    ends = _transformed(ccc, concordance_variance(r, ccc, shift, n))
    note = "" if n > FEWEST else f"{FEWEST} patients give r no interval"
    return Correlation(r, *r_ends, r * r, p, ccc, *ends, note=note)


def concordance_variance(r: float, ccc: float, shift: float, n: int) -> float:
    """Return the variance of the z-transform of a concordance; ``shift``: difference of the means over √(sd · sd).

    NaN where r is 0 or the concordance is 1 or -1, 0 where the values are equal.
    """
    if 1 - abs(ccc) <= SMALLEST_SPREAD:
        return 0.0
    if r == 0:
        return nan
    rest = 1 - ccc**2
    first = (1 - r**2) * ccc**2 / (rest * r**2)
    second = 2 * ccc**3 * (1 - ccc) * shift**2 / (r * rest**2)
    third = ccc**4 * shift**4 / (2 * r**2 * rest**2)
    return max(0.0, (first + second - third) / (n - 2))


def _transformed(value: float, variance: float) -> tuple[float, float]:
    """Return the ends of an interval that is symmetric about the z-transform of a correlation."""
    if np.isnan(variance) or variance == 0:
        return (value, value) if variance == 0 else (nan, nan)
    half = Z * sqrt(variance)
    return tanh(atanh(value) - half), tanh(atanh(value) + half)


def limits_of_agreement(differences: ArrayLike, patients: ArrayLike) -> Limits:
    """Return bias and limits of differences (cases,), none NaN, prediction minus truth; ``patients``: the id of each."""
    values = np.asarray(differences, float)
    numbers, names = pd.factorize(np.asarray(patients, object))
    n = len(names)
    if n < FEWEST:
        return Limits(note=f"fewer than {FEWEST} patients")
    sizes = np.bincount(numbers)
    means = np.bincount(numbers, values) / sizes
    bias, sd = float(means.mean()), sqrt(single_variance(values, numbers, means, sizes))
    quantile = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    half_bias = quantile * float(means.std(ddof=1)) / sqrt(n)
    half_limit = quantile * sd * sqrt(1 / n + Z**2 / (2 * (n - 1)))
    low, high = bias - Z * sd, bias + Z * sd
    ends = (low, low - half_limit, low + half_limit, high, high - half_limit, high + half_limit)
    return Limits(bias, bias - half_bias, bias + half_bias, sd, *ends)


def single_variance(values: Floats, numbers: NDArray[np.intp], means: Floats, sizes: NDArray[np.intp]) -> float:
    """Return the variance of a single value of a patient: that between patients and that within, from a one-way analysis.

    With one value a patient it is the sample variance. ``numbers``: the patient of each value; ``means``, ``sizes``: by
    patient.
    """
    n, cases = len(sizes), len(values)
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (n - 1)
    if cases == n:
        return between
    within = float(((values - means[numbers]) ** 2).sum()) / (cases - n)
    weight = (cases**2 - float((sizes**2).sum())) / ((n - 1) * cases)
    return within + max(0.0, (between - within) / weight)
