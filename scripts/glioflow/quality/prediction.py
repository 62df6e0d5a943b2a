"""Predicting a mask's Dice from features that need no truth, with an interval that holds whatever the features are worth.

Ridge regression on standardised features; its penalty is the one that predicts a patient best from all others. The interval is
that of CV+ (Barber, Candès, Ramdas & Tibshirani 2021, doi:10.1214/20-AOS1965, section 3): with the residual R_i of every
calibration case i under the model m_i that was fitted without its fold, it reaches from the ⌊α(n + 1)⌋-th smallest of
m_i(x) − R_i to the ⌈(1 − α)(n + 1)⌉-th smallest of m_i(x) + R_i. Folds are of patients, never of cases. A patient with several
cases has the weight of one, shared among them, so that patients and not cases are taken for exchangeable (Dunn, Wasserman &
Ramdas 2022, doi:10.1080/01621459.2022.2060112). Where every patient has one case this is CV+ to the letter.

An interval of ``CONFIDENCE`` means: of ten new cases that are like the calibration cases, about nine have their Dice within it.
What is proven of CV+ is less, about 1 - 2α: eight (theorem 4 there). Simulated cohorts show nine (``benchmarks/quality.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glioflow.evaluation.bootstrap import patient_numbers

CONFIDENCE = 0.90
FOLDS, SEED = 10, 0
FEWEST, MANY = 20, 50  # calibration patients: fewer allow no interval, so many allow all features
FEW_FEATURES, MOST_FEATURES = 3, 10
MOST = 0.9  # share of the calibration patients that must have the features that are used; the others are left out
# How far beyond the calibration's range, as a share of it, a feature is said to be outside. The range of few cases is narrow:
# without a margin a quarter of the cases that are like 20 calibration cases would be called outside.
MARGIN = 0.25
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
TREES = 100
EXPECTED, VOLUME = "expected_dice", "log_volume_ml"
# Within-network features, those first that tell most by themselves; fold_dice is none, as a case of cv has one fold.
FEATURES = (
    *(EXPECTED, VOLUME, "mirror_dice", "entropy_mean", "ring_contrast"),
    *("contrast", "largest_share", "components", "mutual_information_mean"),
)

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]


def patient_folds(patients: Sequence[str], folds: int = FOLDS) -> Numbers:
    """Return the fold of each case, from 0: the patients are shuffled, the same way every time, and dealt out."""
    numbers, count = patient_numbers(patients)
    order = np.random.default_rng(SEED).permutation(count)
    fold_of = np.empty(count, np.intp)
    fold_of[order] = np.arange(count) % min(folds, count)
    return fold_of[numbers]


def patient_weights(patients: Sequence[str]) -> Floats:
    """Return the weight of each case: those of a patient sum to 1."""
    numbers, _ = patient_numbers(patients)
    return 1 / np.bincount(numbers)[numbers]


def upper_quantile(values: Floats, weights: Floats, level: float) -> Floats:
    """Return along the last axis the smallest value up to which values weigh ``level`` · (total + 1); infinite if none does.

    ``values``: (…, n); ``weights``: (n,). With weights of 1 it is the ⌈level (n + 1)⌉-th smallest.
    """
    order = np.argsort(values, axis=-1)
    mass = np.cumsum(weights[order], axis=-1)
    enough = mass >= level * (weights.sum() + 1) - 1e-9
    ordered = np.take_along_axis(values, order, axis=-1)
    first = np.take_along_axis(ordered, enough.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return np.where(enough.any(axis=-1), first, inf)


def cv_plus(predictions: Floats, residuals: Floats, weights: Floats, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Return the ends of the intervals of new cases.

    ``predictions``: (new, n), of each new case by the model fitted without the fold of calibration case i; ``residuals``: (n,),
    absolute, of calibration case i by that model; ``weights``: (n,).
    """
    return (
        -upper_quantile(residuals - predictions, weights, confidence),
        upper_quantile(predictions + residuals, weights, confidence),
    )


def left_out_error(features: Floats, dice: Floats, patients: Sequence[str], penalty: float) -> float:
    """Return the mean squared error of ridge regression of each patient's cases on those of all other patients, by patient.

    ``features`` (cases, features) have the mean 0 by the patients' weights. No model is fitted anew: with the hat matrix H of
    weighted cases, the residuals of a patient's cases g are (I - H_gg)⁻¹ times those of the model of all.
    """
    root = np.sqrt(patient_weights(patients))
    x, y = features * root[:, None], dice * root
    mean = root / np.linalg.norm(root)  # the intercept, which has no penalty
    pull = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T).T
    residuals = y - x @ (pull.T @ y) - mean * (mean @ y)
    numbers, count = patient_numbers(patients)
    sizes = np.bincount(numbers)
    order, starts, total = np.argsort(numbers, kind="stable"), np.cumsum(sizes) - sizes, 0.0
    for size in np.unique(sizes):
        own = order[starts[sizes == size][:, None] + np.arange(size)]  # (patients, their cases)
        hat = x[own] @ pull[own].swapaxes(1, 2) + mean[own][:, :, None] * mean[own][:, None, :]
        total += float(np.square(np.linalg.solve(np.eye(size) - hat, residuals[own][..., None])).sum())
    return total / count


class Ridge:
    """Ridge regression of Dice on features (cases, features), by patient."""

    def __init__(self, features: Floats, dice: Floats, patients: Sequence[str]) -> None:
        from sklearn.linear_model import Ridge as Regression
        from sklearn.preprocessing import StandardScaler

        weights = patient_weights(patients)
        self.scaler = StandardScaler().fit(features, sample_weight=weights)
        standard = self.scaler.transform(features)
        penalty = min(PENALTIES, key=lambda value: left_out_error(standard, dice, patients, value))
        self.model = Regression(alpha=penalty).fit(standard, dice, sample_weight=weights)

    def predict(self, features: Floats) -> Floats:
        """Return the Dice of cases (cases, features), which may be beyond 0 or 1."""
        return np.asarray(self.model.predict(self.scaler.transform(features)), float)


class Forest:
    """Random forest, for comparison."""

    def __init__(self, features: Floats, dice: Floats, patients: Sequence[str]) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self.model = RandomForestRegressor(TREES, min_samples_leaf=3, random_state=SEED, n_jobs=1)
        self.model.fit(features, dice, sample_weight=patient_weights(patients))

    def predict(self, features: Floats) -> Floats:
        """Return the Dice of cases (cases, features)."""
        return np.asarray(self.model.predict(features), float)


@dataclass(frozen=True)
class Predicted:
    """Predicted Dice and the ends of its interval, arrays (cases,), from 0 to 1."""

    dice: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Calibration:
    """Cases of known Dice: ``table`` has the features, a row a case; ``dice``: (cases,); ``patients``: the id of each.

    ``of``: the number of patients that decides on the method, where these are what is left of a larger calibration.
    """

    table: pd.DataFrame
    dice: Floats
    patients: Sequence[str]
    of: int | None = None

    @property
    def n(self) -> int:
        """How many patients there are."""
        return len(set(self.patients))

    @property
    def deciding(self) -> int:
        """The number of patients that decides on the method."""
        return self.n if self.of is None else self.of

    @property
    def allowed(self) -> int:
        """How many features so many patients allow."""
        return FEW_FEATURES if self.deciding < MANY else MOST_FEATURES

    @cached_property
    def weights(self) -> Floats:
        """The weight of each case."""
        return patient_weights(self.patients)

    def usable(self, lacking: Sequence[str] = ()) -> list[str]:
        """Return the features to use for cases that lack some, in the order of ``FEATURES``.

        One is used that differs between the calibration cases, as long as ``MOST`` of the patients have a case with all those
        used.
        """
        known: list[str] = []
        for name in FEATURES:
            own = self.table[[*known, name]].notna().all(axis=1)
            patients = {patient for patient, has in zip(self.patients, own, strict=True) if has}
            if name not in lacking and len(patients) >= MOST * self.n and self.table.loc[own, name].nunique() > 1:
                known.append(name)
            if len(known) == self.allowed:
                break
        return known

    def scarce(self) -> list[str]:
        """Return the features that would be used if more calibration cases had them."""
        wanted = [name for name in FEATURES if self.table[name].nunique() > 1][: self.allowed]
        used = self.usable()
        return [name for name in wanted if name not in used and self.table[name].isna().any()]

    def having(self, features: Sequence[str]) -> "Calibration":
        """Return the calibration cases that have all of some features, to be used as the whole would be."""
        return self.without(self.table[list(features)].isna().any(axis=1).to_numpy(bool))

    def without(self, left_out: NDArray[np.bool_]) -> "Calibration":
        """Return the calibration without some cases, to be used as the whole would be."""
        rest = ~left_out
        patients = [name for name, stays in zip(self.patients, rest, strict=True) if stays]
        return Calibration(self.table[rest].reset_index(drop=True), self.dice[rest], patients, self.deciding)

    def predict(self, targets: pd.DataFrame, features: Sequence[str]) -> Predicted:
        """Return the predicted Dice of ``targets`` and its interval by CV+; they and the calibration have all ``features``."""
        x, new = (table[list(features)].to_numpy(float) for table in (self.table, targets))
        folds = patient_folds(self.patients)
        predictions, residuals = np.empty((len(new), len(x))), np.empty(len(x))
        for fold in np.unique(folds):
            out = folds == fold
            rest = [name for name, left_out in zip(self.patients, out, strict=True) if not left_out]
            model = Ridge(x[~out], self.dice[~out], rest)
            predictions[:, out] = model.predict(new)[:, None]
            residuals[out] = np.abs(self.dice[out] - model.predict(x[out]))
        low, high = cv_plus(predictions, residuals, self.weights)
        dice = np.clip(Ridge(x, self.dice, self.patients).predict(new), 0, 1)
        # The interval holds the prediction, which comes from all cases, where these ends do not: no coverage is lost.
        return Predicted(dice, np.minimum(np.clip(low, 0, 1), dice), np.maximum(np.clip(high, 0, 1), dice))

    def baselines(self, targets: pd.DataFrame, features: Sequence[str]) -> dict[str, Floats]:
        """Return what others say of ``targets``: the mean, the volume alone and, of many patients, a forest."""
        found = {"mean": np.full(len(targets), np.average(self.dice, weights=self.weights))}
        volume = [VOLUME] if VOLUME in features else []
        for name, kind, own in (("volume", Ridge, volume), ("forest", Forest, features if self.deciding >= MANY else [])):
            if own:
                x, new = (table[list(own)].to_numpy(float) for table in (self.table, targets))
                found[name] = np.clip(kind(x, self.dice, self.patients).predict(new), 0, 1)
            else:
                found[name] = np.full(len(targets), nan)
        return found

    def extrapolated(self, targets: pd.DataFrame, features: Sequence[str]) -> list[str]:
        """Return for each target the features that are outside the range of the calibration cases, as ``a, b``.

        Outside is beyond the lowest or the highest by more than ``MARGIN`` of their difference.
        """
        low, high = self.table[list(features)].min(), self.table[list(features)].max()
        margin = MARGIN * (high - low)
        beyond = (targets[list(features)] < low - margin) | (targets[list(features)] > high + margin)
        return [", ".join(name for name, out in row.items() if out) for row in beyond.to_dict("records")]
