"""How well a score tells good masks from bad ones, over all cases and over bootstrap samples at once.

``counts``: (cases, samples), how often each sample has a case; of the cases themselves it is a column of ones. A statistic is
an array (samples,), NaN where it is undefined. Equal scores are in no order: the statistics are means over all their orders.

Area under the risk-coverage curve (AURC: Geifman & El-Yaniv 2017, arXiv:1705.08500): the mean over k of the mean risk of the k
cases of the highest score; its excess over that of the best order is e-AURC (Geifman, Uziel & El-Yaniv 2019, arXiv:1805.08206).
As an appraisal of failure detection in segmentation, with 1 − Dice for the risk: Zenk et al. 2025,
doi:10.1016/j.media.2024.103392.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.floating | np.integer]


def _groups(values: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the order that sorts values, where each group of equal ones begins in it, and each case's group."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return order, starts, group


def _by_group(weights: Floats, order: NDArray[np.intp], starts: NDArray[np.intp]) -> Floats:
    return np.asarray(np.add.reduceat(weights[order], starts, axis=0), float)


def _before(amounts: Floats) -> Floats:
    """Return along the first axis the sum of what comes before."""
    return np.asarray(np.cumsum(amounts, axis=0) - amounts, float)


def _mid_ranks(values: Floats, counts: Counts) -> Floats:
    order, starts, group = _groups(values)
    sizes = _by_group(np.asarray(counts, float), order, starts)
    return np.asarray((_before(sizes) + (sizes + 1) / 2)[group])


def spearman(a: Floats, b: Floats, counts: Counts) -> Floats:
    """Return Spearman's rank correlation of two arrays (cases,)."""
    weights = np.asarray(counts, float)
    total = weights.sum(0)
    x, y = (_mid_ranks(values, weights) for values in (a, b))
    x, y = (ranks - (weights * ranks).sum(0) / total for ranks in (x, y))
    spread = np.sqrt((weights * x * x).sum(0) * (weights * y * y).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 1e-9, (weights * x * y).sum(0) / spread, np.nan))


def auroc(score: Floats, failed: NDArray[np.bool_], counts: Counts) -> Floats:
    """Return how often a failed case has a lower score than another one (cases,), equal scores counted half."""
    order, starts, _ = _groups(score)
    weights = np.asarray(counts, float)
    bad, good = (_by_group(weights * chosen[:, None], order, starts) for chosen in (failed, ~failed))
    above = good.sum(0) - _before(good) - good / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((bad * above).sum(0) / (bad.sum(0) * good.sum(0)))


def aurc(score: Floats, risk: Floats, counts: Counts) -> Floats:
    """Return the area under the risk-coverage curve of scores and risks (cases,); the highest score goes first."""
    order, starts, _ = _groups(-score)
    weights = np.asarray(counts, float)
    sizes, risks = _by_group(weights, order, starts), _by_group(weights * risk[:, None], order, starts)
    total = weights.sum(0)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(total.max()) + 1))])
    before, passed = _before(sizes), _before(risks)
    mean = np.divide(risks, sizes, out=np.zeros_like(risks), where=sizes > 0)
    # The k-th case of a group has the risk (passed + (k − before) mean) / k.
    ends = harmonic[(before + sizes).round().astype(int)] - harmonic[before.round().astype(int)]
    return np.asarray(((passed - before * mean) * ends + risks).sum(0) / total)


def excess_aurc(score: Floats, risk: Floats, counts: Counts) -> Floats:
    """Return ``aurc`` less that of the best order."""
    return aurc(score, risk, counts) - aurc(-risk, risk, counts)
