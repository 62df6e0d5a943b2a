"""Whether two models differ on the same patients, by how much, and what is left of it when many differences are tested.

The test is Wilcoxon's signed-rank test, two-sided. Up to ``MOST_EXACT`` pairs p is exact, given the ties: the share of all ways
to give signs to the ranks that are at least as far off on that side, twice. Above, it is that of the normal distribution
(``scipy.stats.wilcoxon``, corrected for ties). Pairs without a difference are kept as Pratt 1959
(doi:10.1080/01621459.1959.10501526) has it: they are ranked with the others, and their ranks count for neither side.

The effect size is the matched-pairs rank-biserial correlation (Kerby 2014, doi:10.2466/11.IT.3.1): the ranks of the positive
differences less those of the negative ones, over all ranks. 1: every difference is positive, -1: every one is negative, 0: they
balance. Ranks of pairs without a difference are among all ranks, as in the test; software that drops such pairs gives more.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, wilcoxon

# As many as scipy computes exactly where there are no ties; it has normal p values for 14 pairs and more with ties.
MOST_EXACT = 50

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """The two-sided p of Wilcoxon's signed-rank test and the rank-biserial correlation; NaN without any pair."""

    p: float
    rank_biserial: float


def signed_rank_test(differences: ArrayLike) -> PairedTest:
    """Return the test of paired differences (one a patient, none NaN; they may be infinite)."""
    values = np.asarray(differences, float)
    if not len(values):
        return PairedTest(nan, nan)
    if not values.any():
        return PairedTest(1.0, 0.0)
    ranks = rankdata(np.abs(values))
    balance = float((np.sign(values) * ranks).sum() / ranks.sum())
    if len(values) > MOST_EXACT:
        return PairedTest(float(wilcoxon(values, zero_method="pratt", method="asymptotic").pvalue), balance)
    return PairedTest(exact_p(ranks[values != 0], float(ranks[values > 0].sum())), balance)


def exact_p(ranks: Floats, positive: float) -> float:
    """Return the two-sided p of the sum of positive ranks, where each of ``ranks`` (whole or half) has either sign alike."""
    chances = np.ones(1)  # of each sum of positive ranks, in halves
    for twice in np.rint(2 * ranks).astype(int):
        chances = (np.pad(chances, (0, twice)) + np.pad(chances, (twice, 0))) / 2
    place = round(2 * positive)
    return float(min(1.0, 2 * min(chances[: place + 1].sum(), chances[place:].sum())))


def holm(p: ArrayLike) -> Floats:
    """Return p values corrected for their number (Holm 1979, Scand J Stat 6:65-70); NaN is no test and stays.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none becomes smaller than one before it, or more than 1.
    """
    values = np.asarray(p, float)
    corrected = np.full(values.shape, nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
