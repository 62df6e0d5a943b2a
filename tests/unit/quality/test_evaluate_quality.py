"""From predicted and true Dice to quality_evaluation.csv, beside scikit-learn, scipy and plain loops over samples."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, roc_auc_score

import evaluate_quality as script
from glioflow.evaluation.bootstrap import draw_patients
from glioflow.quality.rank_statistics import aurc


def quality(n: int, seed: int = 0, patients: list[str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cases of which the prediction tells more than expected Dice does, and their truth."""
    rng = np.random.default_rng(seed)
    dice = rng.uniform(0.4, 0.8, n)
    ids = [f"c{number}" for number in range(n)]
    predicted = np.clip(dice + 0.05 * rng.normal(size=n), 0, 1)
    table = pd.DataFrame(
        {
            "case_id": ids,
            "patient_id": patients or ids,
            "region": "WT",
            "predicted_dice": predicted,
            "dice_low": predicted - 0.08,
            "dice_high": predicted + 0.08,
            "alarm": predicted < 0.7,
            "method": "ridge",
            "expected_dice": dice + 0.2 * rng.normal(size=n),
            "mean": 0.7,
            "volume": dice + 0.3 * rng.normal(size=n),
            "forest": np.nan,
            "note": None,
        }
    )
    return table, pd.DataFrame({"case_id": ids, "patient_id": patients or ids, "label": "WT", "dice": dice})


def test_every_statistic_of_every_predictor_is_that_of_scikit_learn_and_scipy() -> None:
    table, truth = quality(40)
    found = script.evaluation_table(table, truth).set_index("predictor")
    assert list(found.index) == ["ridge", "expected_dice", "mean", "volume"]  # no forest of so few patients
    dice, failed = truth["dice"], truth["dice"] < 0.7
    for name, column in {"ridge": "predicted_dice", "expected_dice": "expected_dice", "volume": "volume"}.items():
        row, value = found.loc[name], table[column]
        assert row["mae"] == pytest.approx(mean_absolute_error(dice, value))
        assert row["spearman"] == pytest.approx(spearmanr(value, dice).statistic)
        assert row["auroc"] == pytest.approx(roc_auc_score(failed, -value))
        ordered = (1 - dice)[np.argsort(-value)]
        assert row["aurc"] == pytest.approx(np.mean(np.cumsum(ordered) / np.arange(1, 41)))
        best = np.sort(1 - dice)
        assert row["e_aurc"] == pytest.approx(row["aurc"] - np.mean(np.cumsum(best) / np.arange(1, 41)))
    held = (table["dice_low"] <= dice) & (dice <= table["dice_high"])
    assert found.loc["ridge", ["coverage", "width"]].tolist() == pytest.approx([held.mean(), 0.16])
    assert found["coverage"].notna().sum() == 1
    assert found.loc["ridge", "alarms"] == table["alarm"].sum()
    assert found.loc["ridge", "alarms_right"] == (table["alarm"] & failed).sum()
    assert (found[["n", "patients", "failed"]] == [40, 40, failed.sum()]).all(axis=None)


def test_a_constant_ranks_nothing() -> None:
    row = script.evaluation_table(*quality(40)).set_index("predictor").loc["mean"]
    assert row["auroc"] == 0.5 and np.isnan(row["spearman"])
    assert row["note"] == "one value throughout: no rank correlation"


def test_the_mean_of_the_others_orders_nothing_though_it_differs_from_case_to_case() -> None:
    table, truth = quality(40)
    left_out = (truth["dice"].sum() - truth["dice"]) / 39  # lower where the case is better
    row = script.evaluation_table(table.assign(mean=left_out), truth).set_index("predictor").loc["mean"]
    assert row["auroc"] == 0.5 and np.isnan(row["spearman"])
    assert row["aurc"] == pytest.approx((1 - truth["dice"]).mean())
    assert row["mae"] == pytest.approx(mean_absolute_error(truth["dice"], left_out))


def test_where_every_interval_holds_the_coverage_is_not_certain_all_the_same() -> None:
    table, truth = quality(8)
    row = script.evaluation_table(table.assign(dice_low=0.0, dice_high=1.0), truth).iloc[0]
    assert (row["coverage"], row["coverage_ci_high"]) == (1, 1)
    assert row["coverage_ci_low"] == pytest.approx(0.025 ** (1 / 8))  # Clopper and Pearson


def test_a_difference_is_of_the_same_samples_and_its_interval_that_of_a_loop_over_them() -> None:
    patients = [f"p{number // 2}" for number in range(30)]
    table, truth = quality(30, 3, patients)
    row = script.evaluation_table(table, truth).set_index("predictor").loc["ridge"]
    assert row["patients"] == 15
    risk = 1 - truth["dice"].to_numpy()
    values, expected = table["predicted_dice"].to_numpy(), table["expected_dice"].to_numpy()
    differences = []
    for drawn in draw_patients(15)[0].T[:400]:
        rows = np.repeat(np.arange(30), np.asarray(drawn)[np.arange(30) // 2])
        one = np.ones((len(rows), 1))
        differences.append(float((aurc(values[rows], risk[rows], one) - aurc(expected[rows], risk[rows], one))[0]))
    assert row["aurc_difference"] < 0 and row["aurc_difference_ci_high"] < 0
    low, high = np.quantile(differences, [0.02, 0.98])
    assert row["aurc_difference_ci_low"] == pytest.approx(low, abs=0.02)
    assert row["aurc_difference_ci_high"] == pytest.approx(high, abs=0.02)


def test_where_no_case_failed_there_is_no_auroc_and_the_note_says_why() -> None:
    table, truth = quality(30)
    row = script.evaluation_table(table, truth.assign(dice=truth["dice"] / 10 + 0.8)).set_index("predictor").loc["ridge"]
    assert np.isnan(row["auroc"]) and row["failed"] == 0 and "no case has a Dice below 0.7: no AUROC" in row["note"]
    assert not np.isnan(row["aurc"])


def test_where_nothing_was_predicted_there_is_a_reason() -> None:
    table, truth = quality(10)
    none = table.assign(predicted_dice=np.nan, method=None, note="the model has no out-of-fold predictions to learn from")
    (row,) = script.evaluation_table(none, truth).to_dict("records")
    assert row["n"] == 0 and row["note"].startswith("the model has no out-of-fold predictions to learn from")


def test_a_ranking_is_evaluated_as_one() -> None:
    table, truth = quality(12)
    few = table.assign(predicted_dice=np.nan, method="ranking", note="12 calibration patients: too few")
    (row,) = script.evaluation_table(few, truth).to_dict("records")
    assert row["predictor"] == "ranking" and row["n"] == 12
    assert row["spearman"] == pytest.approx(spearmanr(table["expected_dice"], truth["dice"]).statistic)
    assert np.isnan(row["mae"]) and np.isnan(row["coverage"]) and row["note"].endswith("too few")


def test_one_patient_gives_no_interval() -> None:
    table, truth = quality(6, patients=["p"] * 6)
    row = script.evaluation_table(table, truth).iloc[0]
    assert np.isnan(row["mae_ci_low"]) and np.isnan(row["aurc_ci_low"]) and "one patient: no interval" in row["note"]
    assert not np.isnan(row["mae"])


def test_cases_without_a_prediction_or_without_a_truth_are_in_no_number() -> None:
    table, truth = quality(30)
    table.loc[:4, ["predicted_dice", "dice_low", "dice_high", "mean", "volume"]] = np.nan
    truth.loc[25:, "dice"] = np.nan
    found = script.evaluation_table(table, truth)
    assert set(found["n"]) == {20} and set(found["not_predicted"]) == {5}


def test_complete_misses_are_counted_and_said_to_have_no_alarm() -> None:
    table, truth = quality(20)
    table = table.astype({"alarm": "boolean"})
    table.loc[14:, ["predicted_dice", "dice_low", "dice_high", "alarm", "method", "mean", "volume"]] = None
    table.loc[14:, "note"] = "nothing predicted"
    truth.loc[14:, "dice"] = [0.0] * 5 + [1.0]  # the last one lacks it with right
    found = script.evaluation_table(table, truth)
    assert (found[["n", "not_predicted", "not_predicted_failed"]] == [14, 6, 5]).all(axis=None)
    words = "5 more cases with nothing predicted have a Dice below 0.7: they get no alarm"
    assert found["note"].str.endswith(words).all()
    none = table.assign(predicted_dice=np.nan, note="nothing predicted")
    (row,) = script.evaluation_table(none, truth.assign(dice=0.0)).to_dict("records")
    assert (row["n"], row["not_predicted"], row["not_predicted_failed"]) == (0, 20, 20)


def test_predictors_are_compared_on_the_cases_that_have_both() -> None:
    table, truth = quality(30)
    whole = script.evaluation_table(table[5:], truth[5:]).set_index("predictor")
    table.loc[:4, "expected_dice"] = np.nan
    table.loc[:9, "volume"] = np.nan
    found = script.evaluation_table(table, truth).set_index("predictor")
    assert found["n"].to_dict() == {"ridge": 30, "expected_dice": 25, "mean": 30, "volume": 20}
    assert found.loc["ridge", "aurc_difference"] == pytest.approx(whole.loc["ridge", "aurc_difference"])
    assert found.loc["ridge", "note"] == "5 cases without an expected Dice: not in the difference"
    assert found.loc["volume", "note"].endswith("10 cases without it")


def test_a_score_table_without_dice_gives_a_reason() -> None:
    table, truth = quality(5)
    (row,) = script.evaluation_table(table, truth.drop(columns="dice")).to_dict("records")
    assert (row["n"], row["note"]) == (0, "no case has a prediction and a true Dice")
