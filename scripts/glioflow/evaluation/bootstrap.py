"""How far a mean or a median over cases would move with other patients: the bootstrap, by patient.

A resample draws as many patients as there are, with replacement; all cases of a patient come along, since they resemble each
other (a cluster bootstrap: Davison & Hinkley 1997, Bootstrap Methods and their Application, section 3.8). Only patients with a
defined value are drawn, so that an interval is of the same cases as its mean.

Intervals are percentile intervals: they are within the range of the metric, move along with it under a monotone transform, and
serve the median too, for which BCa has no sound acceleration (the jackknife of a median is inconsistent: Efron & Tibshirani
1993, An Introduction to the Bootstrap, section 11.6). Plain percentiles are too narrow for few patients, as z in the place of t
and n in the place of n - 1 would be; their levels are widened by just that, as Hesterberg 2015
(doi:10.1080/00031305.2015.1089789; `ExpandProbs` of the R package resample) has it. From 100 patients on it makes no difference
to speak of.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

# For routine use, by Hesterberg 2015.
RESAMPLES = 10_000
SEED = 0
CONFIDENCE = 0.95
# Counts of a block of resamples, few enough for a processor's cache; and the fewest resamples of a block.
BLOCK, FEWEST = 1_250_000, 500

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.intp]
Counts = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Intervals:
    """Confidence intervals of the mean and the median of columns: each a low and a high end, arrays (columns,)."""

    mean_ci_low: Floats
    mean_ci_high: Floats
    median_ci_low: Floats
    median_ci_high: Floats


def patient_numbers(patients: ArrayLike) -> tuple[Numbers, int]:
    """Return the number of each case's patient, from 0 in the order of appearance, and how many patients there are."""
    numbers, names = pd.factorize(pd.array(patients, dtype="string"), use_na_sentinel=False)
    return numbers, len(names)


def shortest(largest: int) -> type[np.signedinteger[Any]]:
    """Return the type for counts up to ``largest``: half the memory is half the time, and most cohorts are that small."""
    return np.int16 if largest <= np.iinfo(np.int16).max else np.int32


@lru_cache(maxsize=2)
def draw_patients(patients: int) -> tuple[Counts, ...]:
    """Return blocks (patients, resamples) of how often each patient is drawn, ``RESAMPLES`` in all, always the same."""
    rng = np.random.default_rng(SEED)
    size = max(FEWEST, BLOCK // patients)
    blocks: list[Counts] = []
    for start in range(0, RESAMPLES, size):
        width = min(size, RESAMPLES - start)
        drawn = rng.integers(patients, size=(width, patients)) + patients * np.arange(width)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=width * patients).reshape(width, patients)
        block = counts.T.astype(shortest(patients), order="C")
        block.flags.writeable = False
        blocks.append(block)
    return tuple(blocks)


def resampled_means(values: Floats, numbers: Numbers, patients: int) -> Floats:
    """Return the mean of every resample, an array (resamples, columns).

    ``values``: (cases, columns), none NaN; ``numbers``: of each case's patient, from 0.
    """
    finite = np.isfinite(values)
    parts = [np.where(finite, values, 0.0), np.ones((len(values), 1)), values == np.inf, values == -np.inf]
    sums, sizes, highs, lows = (sum_by_patient(part, numbers, patients) for part in parts)
    blocks = []
    for counts in draw_patients(patients):
        weights = counts.T.astype(float)
        means = (weights @ sums) / (weights @ sizes)
        if not finite.all():
            # Not weights @ infinity, which is undefined for a patient who was not drawn.
            means[weights @ highs > 0] = np.inf
            means[weights @ lows > 0] = -np.inf
        blocks.append(means)
    return np.concatenate(blocks)


def resampled_medians(values: Floats, numbers: Numbers, patients: int) -> Floats:
    """Return the median of every resample, an array (resamples, columns); ``values`` and ``numbers`` as of the means."""
    order = np.argsort(values, axis=0, kind="stable")
    kind = shortest(int(np.bincount(numbers).max()) * patients)
    blocks = []
    for counts in draw_patients(patients):
        drawn = counts.astype(kind, copy=False)
        columns = [weighted_medians(values[rows, column], drawn[numbers[rows]]) for column, rows in enumerate(order.T)]
        blocks.append(np.stack(columns, axis=1))
    return np.concatenate(blocks)


def sum_by_patient(values: NDArray[np.generic], numbers: Numbers, patients: int) -> Floats:
    """Return the sums (patients, columns) of ``values`` (cases, columns)."""
    sums = np.zeros((patients, values.shape[1]))
    np.add.at(sums, numbers, values)
    return sums


def weighted_medians(values: Floats, counts: Counts) -> Floats:
    """Return the median of ``values`` (cases,), sorted, each as often as in a column of ``counts`` (cases, resamples).

    Of an even number of values the mean of the two in the middle, 0 if these are infinite either way. ``counts`` is used up.
    """
    # A row is the sum of those up to it: a third of the time of np.cumsum along this axis.
    for row, following in pairwise(counts):
        np.add(row, following, out=following)
    lower, upper = (counts[-1] - 1) // 2, counts[-1] // 2
    first, second = (values[(counts <= place).sum(axis=0, dtype=counts.dtype)] for place in (lower, upper))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(first == -second, 0.0, first / 2 + second / 2), float)


def expanded_level(patients: int) -> float:
    """Return which share of the resamples of at least two patients is below an interval."""
    return float(ndtr(-sqrt(patients / (patients - 1)) * stdtrit(patients - 1, (1 + CONFIDENCE) / 2)))


def percentiles(resampled: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the ends of an interval that leaves out the share ``level`` of ``resampled`` (resamples, …) on either side.

    The k-th smallest and the k-th largest, k = (resamples + 1) level rounded down (Efron & Tibshirani 1993, section 12.5),
    at least 1. Unlike interpolated ones these are defined among infinite values too.
    """
    ordered = np.sort(resampled, axis=0)
    place = max(1, int((len(ordered) + 1) * level))
    return ordered[place - 1], ordered[-place]


def defined_alike(defined: Mask) -> Iterator[tuple[Mask, Numbers]]:
    """Yield which rows are defined in some columns, and these columns; what is defined alike shares its resamples.

    ``defined``: bool array (cases, columns). Columns without a defined row are not yielded.
    """
    columns = np.flatnonzero(defined.any(axis=0))
    while len(columns):
        rows = defined[:, columns[0]]
        alike = (defined[:, columns] == rows[:, None]).all(axis=0)
        yield rows, columns[alike]
        columns = columns[~alike]


def intervals(values: ArrayLike, patients: ArrayLike) -> Intervals:
    """Return the confidence intervals of the mean and the median of every column.

    ``values``: (cases, columns), NaN where undefined; ``patients``: the id of each case's patient. Columns with values of fewer
    than two patients have no interval (NaN).
    """
    table, ids = np.asarray(values, float), np.asarray(patients, object)
    found = Intervals(*np.full((4, table.shape[1]), np.nan))
    for rows, columns in defined_alike(~np.isnan(table)):
        numbers, count = patient_numbers(ids[rows])
        if count < 2:
            continue
        chosen, level = table[np.ix_(rows, columns)], expanded_level(count)
        means, medians = resampled_means(chosen, numbers, count), resampled_medians(chosen, numbers, count)
        found.mean_ci_low[columns], found.mean_ci_high[columns] = percentiles(means, level)
        found.median_ci_low[columns], found.median_ci_high[columns] = percentiles(medians, level)
    return found
