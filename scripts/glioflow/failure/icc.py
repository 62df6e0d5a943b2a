"""How far repeated measurements of the same cases agree: the intraclass correlation ICC(2,1).

Two-way random effects, absolute agreement, a single measurement, as Shrout and Fleiss 1979 (Psychological Bulletin 86:420-428)
define it, with the interval of McGraw and Wong 1996 (Psychological Methods 1:30-46). Koo and Li 2016 (Journal of Chiropractic
Medicine 15:155-163) call it the one for measurements that shall stand for each other: a shift of all cases counts as
disagreement, which ICC(3,1) overlooks.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

# Below it reliability is moderate or poor, from it on good (Koo and Li 2016).
GOOD = 0.75
# How many cases Koo and Li 2016 ask for at least; with fewer the interval is wide.
ENOUGH_CASES = 30
FEWEST_CASES = 3
ROUNDING = 1e-9


@dataclass(frozen=True)
class Agreement:
    """ICC(2,1) with its 95 % interval, the number of cases, and why there is none; numbers are NaN where there is not."""

    n: int
    icc: float = nan
    ci_low: float = nan
    ci_high: float = nan
    note: str = ""


def agreement(values: ArrayLike, confidence: float = 0.95) -> Agreement:
    """Return the ICC(2,1) of ``values`` (case x measurement); cases with a value that is not finite are left out."""
    table = np.asarray(values, np.float64)
    table = table[np.isfinite(table).all(axis=1)]
    n, k = table.shape
    if n < FEWEST_CASES:
        return Agreement(n, note=f"fewer than {FEWEST_CASES} cases have every measurement")
    if np.ptp(table) == 0:
        return Agreement(n, note="all values are equal")
    mean, of_cases, of_measurements = table.mean(), table.mean(axis=1), table.mean(axis=0)
    between = k * ((of_cases - mean) ** 2).sum() / (n - 1)
    across = n * ((of_measurements - mean) ** 2).sum() / (k - 1)
    rest = ((table - of_cases[:, None] - of_measurements + mean) ** 2).sum() / ((n - 1) * (k - 1))
    total = between + (k - 1) * rest + k * (across - rest) / n
    if total <= 0:
        return Agreement(n, note="the cases do not differ")
    icc = (between - rest) / total
    if rest == 0 and across == 0:
        return Agreement(n, 1.0, 1.0, 1.0)
    low, high = _interval(float(icc), float(between), float(across), float(rest), n, k, confidence)
    if not low - ROUNDING <= icc <= high + ROUNDING:  # Satterthwaite's approximation fails for some that are below 0
        return Agreement(n, float(icc), note="the interval is undefined")
    return Agreement(n, float(icc), low, high)


def _interval(icc: float, between: float, across: float, rest: float, n: int, k: int, confidence: float) -> tuple[float, float]:
    """Return the limits by McGraw and Wong's table 7, whose degrees of freedom are Satterthwaite's."""
    if icc == 1:
        return 1.0, 1.0
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    freedom = (a * across + b * rest) ** 2 / ((a * across) ** 2 / (k - 1) + (b * rest) ** 2 / ((n - 1) * (k - 1)))
    tail = 1 - (1 - confidence) / 2
    lower, upper = stats.f.ppf(tail, n - 1, freedom), stats.f.ppf(tail, freedom, n - 1)
    spread = k * across + (k * n - k - n) * rest
    low = n * (between - lower * rest) / (lower * spread + n * between)
    high = n * (upper * between - rest) / (spread + n * upper * between)
    return float(low), float(high)
