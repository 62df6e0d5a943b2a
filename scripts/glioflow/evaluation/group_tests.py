"""Whether groups of patients differ: in the share of one of two outcomes, and in a value.

The Fisher–Freeman–Halton test is Fisher's exact test for more than two rows (Freeman & Halton 1951,
doi:10.1093/biomet/38.1-2.141): with the margins held, p is the probability of all tables that are no more probable than the one
found. Where there are too many tables to go through, p is the share of such among tables drawn with a seed, the found one
counted in (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585).

The Kruskal–Wallis test (Kruskal & Wallis 1952, doi:10.1080/01621459.1952.10483441; scipy.stats.kruskal) has its p from
chi-squared, and below ``FEWEST_FOR_APPROXIMATION`` patients, where that is too sure of itself, from permutations of the same
statistic: of all where there are at most ``RESAMPLES``, else of as many drawn with a seed.
"""

from math import prod

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import kruskal, permutation_test, rankdata

MOST_TABLES = 2_000_000
DRAWN = 100_000
SEED = 0
# Of every permutation test here and in ``glioflow.failure.correlations``.
FEWEST_FOR_APPROXIMATION = 20
RESAMPLES = 9999
# Probabilities this close, in relative terms, are equal but for rounding, as in R's fisher.test.
EQUAL = 1e-7

Floats = NDArray[np.float64]


def fisher_freeman_halton(counts: ArrayLike) -> tuple[float, bool]:
    """Return p of a table of counts (rows, 2), and whether it is exact. An empty row or column says nothing: p is then 1."""
    table = np.asarray(counts, int)
    table = table[table.sum(axis=1) > 0]
    sizes, first = table.sum(axis=1), int(table[:, 0].sum())
    if len(table) < 2 or first in (0, int(sizes.sum())):
        return 1.0, True
    found = float(sum(log_ways(size)[count] for size, count in zip(sizes, table[:, 0], strict=True)))
    if prod(int(min(size, first)) + 1 for size in sizes) > MOST_TABLES:
        drawn = np.random.default_rng(SEED).multivariate_hypergeometric(sizes, first, size=DRAWN)
        logs = np.sum([log_ways(size)[drawn[:, row]] for row, size in enumerate(sizes)], axis=0)
        return float((1 + np.count_nonzero(logs <= found + EQUAL)) / (1 + DRAWN)), False
    logs = table_logs(sizes, first)
    return float(min(1.0, np.exp(logs[logs <= found + EQUAL] - _log_sum(logs)).sum())), True


def log_ways(size: int) -> Floats:
    """Return the logarithm of the number of ways to choose 0, 1, … ``size`` of ``size``."""
    chosen = np.arange(size + 1)
    return np.asarray(gammaln(size + 1) - gammaln(chosen + 1) - gammaln(size - chosen + 1), float)


def table_logs(sizes: NDArray[np.integer], first: int) -> Floats:
    """Return the logarithm of the ways to each table whose rows have ``sizes`` and whose first column sums to ``first``."""
    sums, logs = np.zeros(1, int), np.zeros(1)
    left = int(sizes.sum())
    for size in sizes:
        left -= int(size)
        chosen = np.arange(size + 1)
        sums = (sums[:, None] + chosen).ravel()
        logs = (logs[:, None] + log_ways(int(size))).ravel()
        possible = (sums <= first) & (sums + left >= first)
        sums, logs = sums[possible], logs[possible]
    return logs


def _log_sum(logs: Floats) -> float:
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum()))


def kruskal_wallis(values: pd.Series, groups: pd.Series) -> tuple[float, float]:
    """Return H of values, which are not all alike, across at least two groups, and its p; both by patient."""
    h, p = map(float, kruskal(*(own for _, own in values.groupby(groups))))
    if len(values) < FEWEST_FOR_APPROXIMATION:
        members = [(groups.reindex(values.index) == group).to_numpy() for group in groups.unique()]
        # H is this sum but for a factor and a term that no permutation changes.
        found = permutation_test(
            [rankdata(values)],
            lambda ranks, axis: sum(np.sum(ranks * own, axis=axis) ** 2 / own.sum() for own in members),
            permutation_type="pairings",
            vectorized=True,
            n_resamples=RESAMPLES,
            alternative="greater",
            rng=np.random.default_rng(SEED),
        )
        p = float(found.pvalue)
    return h, p
