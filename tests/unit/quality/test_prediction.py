"""Predicted Dice and its interval: CV+ beside brute force from the paper's formula, and cohorts with known answers."""

from math import ceil, floor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.linear_model import RidgeCV

from glioflow.quality.prediction import (
    FEATURES,
    PENALTIES,
    Calibration,
    Ridge,
    cv_plus,
    left_out_error,
    patient_folds,
    patient_weights,
    upper_quantile,
)


def cohort(n: int, seed: int = 0, cases: int = 1) -> Calibration:
    """Patients whose Dice goes with two features, and features that tell nothing."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n * cases, len(FEATURES))), columns=list(FEATURES))
    dice = 0.75 + 0.08 * table["expected_dice"] + 0.03 * table["log_volume_ml"] + 0.03 * rng.normal(size=n * cases)
    patients = [f"p{number // cases}" for number in range(n * cases)]
    return Calibration(table, np.clip(dice.to_numpy(), 0, 1), patients)


# ---- CV+


def barber(predictions: np.ndarray, residuals: np.ndarray, alpha: float) -> tuple[float, float]:
    """Equation (8) of Barber et al. 2021 for one new case: order statistics of m_i(x) - R_i and m_i(x) + R_i."""
    n = len(residuals)
    below, above = sorted(predictions - residuals), sorted(predictions + residuals)
    first, last = floor(alpha * (n + 1) + 1e-9), ceil((1 - alpha) * (n + 1) - 1e-9)
    return (below[first - 1] if first >= 1 else -np.inf), (above[last - 1] if last <= n else np.inf)


@given(st.integers(1, 60), st.sampled_from([0.05, 0.1, 0.2, 0.5]), st.integers(0, 1000))
def test_with_one_case_a_patient_it_is_the_papers_formula(n, alpha, seed):
    rng = np.random.default_rng(seed)
    predictions, residuals = rng.normal(size=(3, n)), np.abs(rng.normal(size=n))
    low, high = cv_plus(predictions, residuals, np.ones(n), 1 - alpha)
    for row, a, b in zip(predictions, low, high, strict=True):
        assert (a, b) == barber(row, residuals, alpha)


def test_the_whole_interval_is_that_of_models_fitted_fold_by_fold():
    known, new = cohort(40), cohort(5, seed=9).table
    features = known.usable()
    folds = patient_folds(known.patients)
    x, targets = known.table[features].to_numpy(), new[features].to_numpy()
    models = {k: Ridge(x[folds != k], known.dice[folds != k], np.array(known.patients)[folds != k].tolist()) for k in range(10)}
    by_case = [models[k].predict(x[i : i + 1])[0] for i, k in enumerate(folds)]
    residuals = np.abs(known.dice - by_case)
    found = known.predict(new, features)
    for j in range(5):
        predictions = np.array([models[k].predict(targets[j : j + 1])[0] for k in folds])
        low, high = barber(predictions, residuals, 0.1)
        assert (found.low[j], found.high[j]) == pytest.approx((max(low, 0), min(high, 1)))


def test_a_patient_weighs_as_one_however_many_cases_it_has():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert upper_quantile(values, np.ones(5), 0.5) == 3
    # The last three are of one patient: of three patients and the new one, half is two patients.
    assert upper_quantile(values, np.array([1, 1, 1 / 3, 1 / 3, 1 / 3]), 0.5) == 2
    assert upper_quantile(values, np.array([1, 1, 1 / 3, 1 / 3, 1 / 3]), 0.9) == np.inf
    assert patient_weights(["a", "b", "b"]).tolist() == [1, 0.5, 0.5]


def test_copies_of_every_case_change_no_interval():
    single = cohort(30)
    double = Calibration(pd.concat([single.table] * 2, ignore_index=True), np.tile(single.dice, 2), list(single.patients) * 2)
    new = cohort(7, seed=4).table
    alone, twice = (part.predict(new, single.usable()) for part in (single, double))
    assert double.n == 30
    assert twice.low == pytest.approx(alone.low, abs=0.01) and twice.high == pytest.approx(alone.high, abs=0.01)


def test_no_patient_is_in_two_folds_and_the_folds_are_even():
    patients = [f"p{number % 25}" for number in range(60)]
    folds = patient_folds(patients)
    of = pd.DataFrame({"patient": patients, "fold": folds}).drop_duplicates()
    assert len(of) == 25 and of["fold"].nunique() == 10
    assert of["fold"].value_counts().max() - of["fold"].value_counts().min() <= 1
    assert np.array_equal(folds, patient_folds(patients))


# ---- the regression


def test_ridge_is_ridge_on_standardised_features():
    known = cohort(50)
    x = known.table[list(FEATURES)].to_numpy()
    made = Ridge(x, known.dice, known.patients)
    standard = (x - x.mean(0)) / x.std(0)
    plain = RidgeCV(alphas=PENALTIES).fit(standard, known.dice)  # leaves one case out, and every patient has one
    assert made.model.alpha == plain.alpha_
    assert made.predict(x) == pytest.approx(plain.predict(standard))


@pytest.mark.parametrize(("n", "features"), [(20, 3), (49, 3), (50, 9)])
def test_few_patients_allow_three_features(n, features):
    assert cohort(n).usable() == list(FEATURES[:features])


def test_patients_are_counted_not_cases():
    assert len(cohort(25, cases=2).usable()) == 3


@pytest.mark.parametrize("penalty", [0.1, 100.0])
def test_the_penalty_is_judged_on_patients_left_out_whole(penalty):
    rng = np.random.default_rng(4)
    patients = ["a", "b", "b", "c", "d", "d", "d", "e", "f", "a", "g", "h"]
    weights = patient_weights(patients)
    x, dice, own = rng.normal(size=(12, 3)), rng.normal(size=12), np.array(patients)
    x -= np.average(x, axis=0, weights=weights)
    by_hand = []
    for name in sorted(set(patients)):
        out = own == name
        model = PlainRidge(alpha=penalty).fit(x[~out], dice[~out], sample_weight=weights[~out])
        by_hand.append(np.mean((dice[out] - model.predict(x[out])) ** 2))
    assert left_out_error(x, dice, patients, penalty) == pytest.approx(np.mean(by_hand))


def test_sister_cases_of_a_patient_do_not_choose_the_penalty():
    """Nine features that tell who a patient is and nothing else: a case is well told by its copies, a patient by no other."""
    rng = np.random.default_rng(0)
    x, dice = np.repeat(rng.normal(size=(20, 9)), 4, axis=0), np.repeat(rng.normal(size=20), 4)
    patients = [f"p{number // 4}" for number in range(80)]
    assert Ridge(x, dice, patients).model.alpha == PENALTIES[-1]
    assert RidgeCV(alphas=PENALTIES).fit(x, dice).alpha_ < 10


def test_a_feature_that_many_cases_lack_or_that_never_differs_is_not_used():
    known = cohort(30)
    known.table.loc[:3, "expected_dice"] = np.nan
    known.table["mirror_dice"] = 0.5
    assert known.usable() == ["log_volume_ml", "entropy_mean", "ring_contrast"]
    assert known.scarce() == ["expected_dice"]
    assert known.usable(["entropy_mean"]) == ["log_volume_ml", "ring_contrast", "contrast"]


def test_a_case_that_lacks_what_most_have_is_left_out_and_takes_no_feature_from_the_others():
    known = cohort(30)
    known.table.loc[3, "expected_dice"] = np.nan
    features = known.usable()
    assert features == ["expected_dice", "log_volume_ml", "mirror_dice"] and known.scarce() == []
    rest = known.having(features)
    assert rest.n == 29 and rest.patients == [name for name in known.patients if name != "p3"] and rest.deciding == 30


def test_cases_that_lack_one_feature_each_are_never_left_out_by_more_than_a_tenth():
    known = cohort(50)
    for place, name in enumerate(FEATURES):
        known.table.loc[[2 * place, 2 * place + 1], name] = np.nan
    assert known.usable() == ["expected_dice", "log_volume_ml"]
    assert known.having(known.usable()).n == 46 and len(known.scarce()) == 7


def test_cases_like_the_calibration_are_rarely_said_to_be_outside_it():
    said = []
    for seed in range(100):
        known, new = cohort(20, seed), cohort(100, 1000 + seed)
        said += known.extrapolated(new.table, known.usable())
    assert np.mean([bool(names) for names in said]) < 0.06


def test_the_interval_of_new_cases_holds_nine_of_ten():
    held = []
    for seed in range(60):
        known, new = cohort(40, seed), cohort(50, 1000 + seed)
        found = known.predict(new.table, known.usable())
        held.append(((found.low <= new.dice) & (new.dice <= found.high)).mean())
        assert (found.low <= found.dice).all() and (found.dice <= found.high).all()
        assert found.low.min() >= 0 and found.high.max() <= 1
    assert 0.87 <= np.mean(held) <= 0.94


def test_a_case_beyond_the_range_of_the_calibration_is_named():
    known = cohort(30)
    new = known.table.head(3).copy()
    new.loc[1, ["expected_dice", "log_volume_ml"]] = [50.0, -50.0]
    new.loc[2, "components"] = 99  # not used
    assert known.extrapolated(new, known.usable()) == ["", "expected_dice, log_volume_ml", ""]


def test_baselines_are_the_mean_the_volume_and_of_many_patients_a_forest():
    few, many = cohort(30), cohort(60)
    found = few.baselines(few.table, few.usable())
    assert found["mean"] == pytest.approx(np.full(30, few.dice.mean()))
    assert np.isnan(found["forest"]).all()
    volume = few.table[["log_volume_ml"]].to_numpy()
    assert found["volume"] == pytest.approx(np.clip(Ridge(volume, few.dice, few.patients).predict(volume), 0, 1))
    assert not np.isnan(many.baselines(many.table, many.usable())["forest"]).any()
