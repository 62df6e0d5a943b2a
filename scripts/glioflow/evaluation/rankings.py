"""Ranks of cases by one metric, ranks of models that were scored on the same cases, and how far two orders agree.

Models are ranked as in challenges (Maier-Hein et al. 2018, doi:10.1038/s41467-018-07619-7; Wiesenfarth et al. 2021,
doi:10.1038/s41598-021-82017-6, and their package challengeR), in two ways: by the mean over the cases (``mean``), or by the
mean of the ranks within each case (``rank_then_mean``). 1 is the best; models that tie share the best of their ranks.

The models are ranked again in each bootstrap sample of the patients (``glioflow.evaluation.bootstrap``): what share of the
samples puts a model at each rank, and how far a sample's order agrees with that of all cases.

Two orders agree by Kendall's tau-b (Kendall 1945, doi:10.1093/biomet/33.3.239; 1: alike, -1: reversed; undefined where all tie
in one of them).
"""

from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from glioflow.evaluation.bootstrap import CONFIDENCE, patient_numbers, percentiles, resampled_means
from glioflow.study.metric_registry import find_metric

RANKINGS = ("mean", "rank_then_mean")
# Models that differ by less than this part of a value tie: that is rounding.
ROUNDING = 1e-12

Floats = NDArray[np.float64]
Ranks = NDArray[np.int64]


@dataclass(frozen=True)
class Stability:
    """How models rank, arrays (models,), and how often bootstrap samples agree; NaN where there are fewer than two patients.

    ``values``: what ranks them (means, or mean ranks); ``shares``: of the samples that put a model at each rank from 1 on, an
    array (models, models); ``median``, ``low``, ``high``: of a model's ranks in the samples, the central 95 % between the two;
    ``tau``, ``tau_low``, ``tau_high``: mean of Kendall's tau-b of a sample's order and that of all cases, and likewise.
    """

    values: Floats
    ranks: Ranks
    shares: Floats
    median: Floats
    low: Floats
    high: Floats
    tau: float
    tau_low: float
    tau_high: float


def rank_cases(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of ``scores`` (case_id, dice, ``metric``) with a defined metric, from the worst case to the best.

    Cases that tie are ordered by Dice (lower is worse), then by case id. An infinite distance is a value, and the worst.
    """
    ranked = scores[scores[metric].notna()]
    ranked = ranked.assign(quality=find_metric(metric).better * ranked[metric])
    return pd.DataFrame(ranked.sort_values(["quality", "dice", "case_id"]).drop(columns="quality"))


def kendall_tau(values: ArrayLike, others: ArrayLike) -> float:
    """Return Kendall's tau-b of two values of the same cases; NaN where all cases tie in one."""
    return float(kendalltau(np.asarray(values, float), np.asarray(others, float), variant="b").statistic)


def rank_models(values: Floats) -> Ranks:
    """Return the rank of each model along the last axis of ``values``, 1 the largest; those that tie share the best rank."""
    size = np.abs(np.where(np.isfinite(values), values, 0.0))
    margin = ROUNDING * np.maximum(size[..., :, None], size[..., None, :])
    # A model's rank is 1 and the number of models that are truly ahead of it; the last two axes are model and other.
    return np.asarray(1 + (values[..., None, :] > values[..., :, None] + margin).sum(axis=-1), np.int64)


def sampled_kendall_tau(ranks: Ranks, reference: Ranks) -> Floats:
    """Return ``kendall_tau`` of each of thousands of rows of ``ranks`` (samples, models) with ``reference`` (models,)."""
    first, second = np.triu_indices(len(reference), 1)
    order, expected = np.sign(ranks[:, first] - ranks[:, second]), np.sign(reference[first] - reference[second])
    untied = np.sqrt((order != 0).sum(axis=1) * (expected != 0).sum())
    found: Floats = np.divide(order @ expected, untied, out=np.full(len(ranks), np.nan), where=untied > 0)
    return found


def rank_stability(values: ArrayLike, patients: ArrayLike, larger_is_better: ArrayLike, ranking: str) -> list[Stability]:
    """Return how models rank by each metric, and how firmly.

    ``values``: (cases, metrics, models), none NaN, at least one case; ``patients``: the id of each case's patient;
    ``larger_is_better``: a bool for each metric; ``ranking``: of ``RANKINGS``.
    """
    signs = np.where(larger_is_better, 1.0, -1.0)
    quality = np.asarray(values, float) * signs[:, None]
    if ranking == "rank_then_mean":
        quality, signs = -rank_models(quality).astype(float), -np.ones(len(signs))
    means = quality.mean(axis=0)
    numbers, count = patient_numbers(patients)
    if count < 2:
        return [_stability(sign * mean, rank_models(mean), None) for sign, mean in zip(signs, means, strict=True)]
    drawn = resampled_means(quality.reshape(len(quality), -1), numbers, count).reshape(-1, *means.shape)
    return [_stability(sign * means[i], rank_models(means[i]), rank_models(drawn[:, i])) for i, sign in enumerate(signs)]


def _stability(values: Floats, ranks: Ranks, samples: Ranks | None) -> Stability:
    """Return the stability of ``ranks`` (models,) in ``samples`` (samples, models), None where there are none."""
    models = len(ranks)
    if samples is None:
        unknown = np.full(models, nan)
        return Stability(values, ranks, np.full((models, models), nan), unknown, unknown, unknown, nan, nan, nan)
    tail = (1 - CONFIDENCE) / 2
    shares = (samples[:, :, None] == np.arange(1, models + 1)).mean(axis=0)
    median, (low, high) = np.median(samples, axis=0), percentiles(samples.astype(float), tail)
    tau = sampled_kendall_tau(samples, ranks)
    tau = tau[~np.isnan(tau)]
    mean, tau_low, tau_high = (tau.mean(), *percentiles(tau, tail)) if len(tau) else (nan, nan, nan)
    return Stability(values, ranks, shares, median, low, high, float(mean), float(tau_low), float(tau_high))
