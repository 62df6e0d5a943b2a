"""Cohen's d: how far two groups of values are apart.

d = (mean of the worst - mean of the best) / s, with s = sqrt(((n1 - 1) s1² + (n2 - 1) s2²) / (n1 + n2 - 2)) and s1, s2 the
sample standard deviations (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., section 2.5).
Positive: the value is larger where the model fails.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

# A pooled standard deviation below this part of the largest value is rounding: features agree to 2.4e-13 between platforms.
SMALLEST_SPREAD = 1e-12


@dataclass(frozen=True)
class Effect:
    """Cohen's d of one quantity and what it was computed from; NaN, with a note, where it is undefined."""

    cohens_d: float
    mean_worst: float
    mean_best: float
    sd_pooled: float
    n_worst: int
    n_best: int
    note: str = ""


def cohens_d(worst: ArrayLike, best: ArrayLike, what: str = "feature") -> Effect:
    """Return the effect size of two groups of values, worst minus best. Values that are not finite are left out.

    ``what`` is compared, for the note.
    """
    first, second = (values[np.isfinite(values)] for values in (np.asarray(worst, float), np.asarray(best, float)))
    n1, n2 = len(first), len(second)
    mean1, mean2 = (float(values.mean()) if len(values) else np.nan for values in (first, second))
    if min(n1, n2) < 2:
        small = " and ".join(name for name, n in (("worst", n1), ("best", n2)) if n < 2)
        return Effect(np.nan, mean1, mean2, np.nan, n1, n2, f"fewer than two values among the {small} cases")
    squares = float(((first - mean1) ** 2).sum() + ((second - mean2) ** 2).sum())
    pooled = float(np.sqrt(squares / (n1 + n2 - 2)))
    if pooled <= SMALLEST_SPREAD * float(np.abs(np.concatenate([first, second])).max()):
        return Effect(np.nan, mean1, mean2, 0.0, n1, n2, f"the {what} does not vary within the groups")
    return Effect((mean1 - mean2) / pooled, mean1, mean2, pooled, n1, n2)
