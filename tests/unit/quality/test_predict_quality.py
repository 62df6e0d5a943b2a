"""From features and scores to quality.csv: what is predicted, and what is said where nothing can be."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import predict_quality as script
from glioflow.console import Console
from glioflow.files import read_table, write_table
from glioflow.quality.prediction import FEATURES, patient_folds
from glioflow.quality.quality_tables import TEXT


def features(n: int, seed: int = 0, prefix: str = "c", region: str = "WT") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n, len(FEATURES))), columns=list(FEATURES))
    ids = [f"{prefix}{number:03d}" for number in range(n)]
    return table.assign(case_id=ids, patient_id=ids, fold=0, region=region, fold_dice=np.nan, note=None)


def scores(table: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    noise = np.random.default_rng(seed).normal(size=len(table))
    dice = (0.75 + 0.1 * table["expected_dice"] + 0.02 * noise).clip(0, 1)
    return pd.DataFrame(
        {"case_id": table["case_id"], "patient_id": table["patient_id"], "label": table["region"], "dice": dice}
    )


def test_new_cases_get_a_dice_an_interval_and_an_alarm() -> None:
    known, new = features(40), features(30, 5, "n")
    found = script.quality_table(new, known, scores(known), within=False)
    assert list(found.columns) == list(script.COLUMNS)
    assert (found["method"] == "ridge").all() and (found["n_calibration"] == 40).all()
    assert (found["features"] == "expected_dice, log_volume_ml, mirror_dice").all()
    truth = scores(new)["dice"]
    assert np.corrcoef(found["predicted_dice"], truth)[0, 1] > 0.9
    assert (found["alarm"] == (found["predicted_dice"] < 0.7)).all() and found["alarm"].any() and not found["alarm"].all()
    assert ((found["dice_low"] <= found["predicted_dice"]) & (found["predicted_dice"] <= found["dice_high"])).all()


def test_a_case_of_cv_is_predicted_by_other_patients_alone() -> None:
    known = features(40)
    dice = scores(known)
    before = script.quality_table(known, known, dice, within=True)
    assert set(before["n_calibration"]) == {36}
    changed = dice.assign(dice=[0.0, *dice["dice"][1:]])
    after = script.quality_table(known, known, changed, within=True)
    assert after["predicted_dice"][0] == before["predicted_dice"][0]
    assert not np.allclose(after["predicted_dice"], before["predicted_dice"])


def test_cases_of_cv_are_predicted_in_the_way_that_all_patients_allow() -> None:
    for n, features_used in ((21, 3), (51, 9)):
        known = features(n)
        found = script.quality_table(known, known, scores(known), within=True)
        assert set(found["method"]) == {"ridge"} and found["n_calibration"].max() < n - 1
        assert set(found["features"].str.count(",") + 1) == {features_used}


def test_below_twenty_patients_there_is_an_order_and_no_number() -> None:
    known, new = features(19), features(3, 5, "n")
    found = script.quality_table(new, known, scores(known), within=False)
    assert found[["predicted_dice", "dice_low", "dice_high", "alarm"]].isna().all(axis=None)
    assert (found["method"] == "ranking").all() and found["expected_dice"].notna().all()
    assert found["note"][0] == "19 calibration patients: too few for a prediction, 20 are needed"


@pytest.mark.parametrize(("n", "method"), [(19, "ranking"), (20, "ridge"), (49, "ridge"), (50, "ridge")])
def test_the_method_goes_by_the_number_of_patients(n: int, method: str) -> None:
    known = features(n)
    found = script.quality_table(features(2, 5, "n"), known, scores(known), within=False)
    assert set(found["method"]) == {method}
    expected = {19: None, 20: 3, 49: 3, 50: 9}[n]
    assert (None if pd.isna(found["features"][0]) else found["features"][0].count(",") + 1) == expected
    assert found["forest"].notna().all() == (n >= 50)


def test_a_region_that_is_not_predicted_gets_a_reason_and_no_number() -> None:
    known, new = features(30), features(3, 5, "n")
    new.loc[1, ["log_volume_ml", "components", "largest_share"]] = np.nan
    found = script.quality_table(new, known, scores(known), within=False)
    assert found.loc[1, ["predicted_dice", "dice_low", "dice_high", "alarm"]].isna().all()
    assert found["note"][1] == "nothing predicted" and found["predicted_dice"][[0, 2]].notna().all()


def test_a_fold_of_patients_of_whom_nothing_is_predicted_is_no_trouble() -> None:
    known = features(40)
    own = known["patient_id"].map(dict(zip(known["patient_id"], patient_folds(list(known["patient_id"])), strict=True)))
    new = features(40)
    new.loc[own == 3, "log_volume_ml"] = np.nan
    found = script.quality_table(new, known, scores(known), within=True)
    assert (found["note"] == "nothing predicted").sum() == 4 and found["predicted_dice"].notna().sum() == 36
    none = script.quality_table(new[own == 3], known, scores(known), within=False)
    assert set(none["note"]) == {"nothing predicted"}


def test_a_region_that_is_never_predicted_gets_reasons_throughout() -> None:
    known = features(30).assign(log_volume_ml=np.nan)
    for within in (True, False):
        found = script.quality_table(known, known, scores(known), within)
        assert found["predicted_dice"].isna().all()
        assert set(found["note"]) == {f"nothing predicted; {script.NO_MASK}"}


def test_dice_values_that_are_all_equal_teach_nothing() -> None:
    known = features(30)
    found = script.quality_table(features(2, 5, "n"), known, scores(known).assign(dice=0.9), within=False)
    assert found["predicted_dice"].isna().all() and set(found["note"]) == {script.ALIKE}


def test_features_that_are_all_equal_teach_nothing() -> None:
    known = features(30)
    known[list(FEATURES)] = 1.0
    found = script.quality_table(known.head(2), known, scores(features(30)), within=False)
    assert found["predicted_dice"].isna().all() and set(found["note"]) == {script.NO_FEATURE}


def test_a_model_without_out_of_fold_predictions_says_so() -> None:
    found = script.quality_table(features(3), None, None, within=False)
    assert set(found["note"]) == {script.NO_CALIBRATION} and found["predicted_dice"].isna().all()
    assert (found["method"] == "ranking").all()  # by the expected Dice, which an imported network has too


def test_nothing_to_learn_from_leaves_an_order_by_expected_dice() -> None:
    known, new = features(30), features(3, 5, "n")
    new.loc[1, "expected_dice"] = np.nan
    for learnt in (scores(known).assign(dice=0.9), scores(known).assign(dice=np.nan)):
        found = script.quality_table(new, known, learnt, within=False)
        assert found["method"].fillna("").tolist() == ["ranking", "", "ranking"]


def test_a_region_without_any_out_of_fold_mask_has_a_reason_of_its_own() -> None:
    known = features(30)
    found = script.quality_table(features(2, 5, "n", "ET"), known, scores(known), within=False)
    assert set(found["note"]) == {"no out-of-fold mask has this region and a true Dice"}


def test_one_calibration_patient_is_too_few_also_for_itself() -> None:
    known = features(1)
    (note,) = script.quality_table(known, known, scores(known), within=True)["note"]
    assert note == "1 calibration patient: too few for a prediction, 20 are needed"


@pytest.mark.parametrize("n", [0, 12, 30])
def test_a_region_that_is_absent_is_in_no_order(n: int) -> None:
    known, new = features(n), features(3, 5, "n")
    new.loc[1, ["log_volume_ml", "expected_dice"]] = [np.nan, 0.0]  # what an empty mask has
    found = script.quality_table(new, known if n else None, scores(known) if n else None, within=False)
    assert pd.isna(found["method"][1]) and found["method"][[0, 2]].notna().all()
    assert pd.isna(found["expected_dice"][1]) and found["note"][1].startswith("nothing predicted")


def test_a_missing_prediction_is_not_called_an_empty_one() -> None:
    new = features(2).assign(note=["prediction missing; precomputed masks have no probabilities", None], log_volume_ml=np.nan)
    found = script.quality_table(new, None, None, within=False)
    assert found["note"].tolist() == [f"{why}; {script.NO_CALIBRATION}" for why in ("prediction missing", "nothing predicted")]


def test_a_calibration_case_that_lacks_a_feature_is_left_out_and_counted() -> None:
    known, new = features(60), features(4, 5, "n")
    known.loc[7, ["contrast", "ring_contrast"]] = np.nan
    found = script.quality_table(new, known, scores(known), within=False)
    assert set(found["note"]) == {"1 calibration case without ring_contrast or contrast left out"}
    assert set(found["n_calibration"]) == {59} and found["features"].str.contains("ring_contrast, contrast").all()
    rest = known.drop(index=7).reset_index(drop=True)
    same = script.quality_table(new, rest, scores(known).drop(index=7), within=False)
    assert found["predicted_dice"].equals(same["predicted_dice"])


def test_a_feature_that_many_calibration_cases_lack_is_said_to_be_missing() -> None:
    known, new = features(60), features(2, 5, "n")
    known.loc[:20, "contrast"] = np.nan
    found = script.quality_table(new, known, scores(known), within=False)
    assert set(found["note"]) == {"predicted without contrast, which too few calibration cases have"}
    assert set(found["n_calibration"]) == {60}


def test_a_case_that_lacks_a_feature_is_predicted_by_the_others_and_says_so() -> None:
    known, new = features(60), features(4, 5, "n")
    new.loc[2, ["contrast", "ring_contrast"]] = np.nan
    found = script.quality_table(new, known, scores(known), within=False)
    assert found["predicted_dice"].notna().all()
    assert found["note"][2] == "predicted without ring_contrast, contrast" and found["note"][[0, 1, 3]].isna().all()
    whole = script.quality_table(features(4, 5, "n"), known, scores(known), within=False)
    assert found["predicted_dice"][0] == whole["predicted_dice"][0]


def test_a_case_outside_the_calibration_is_said_to_be() -> None:
    known = features(30)
    new = known.head(2).copy()
    new.loc[1, "log_volume_ml"] = 30.0
    found = script.quality_table(new, known, scores(known), within=False)
    assert pd.isna(found["extrapolates"][0]) and found["extrapolates"][1] == "log_volume_ml"


def test_cases_without_a_true_dice_calibrate_nothing() -> None:
    known = features(40)
    dice = scores(known)
    dice.loc[:9, "dice"] = np.nan
    found = script.quality_table(known, known, dice, within=True)
    assert found["predicted_dice"].notna().all()  # they are predicted all the same
    assert set(found["n_calibration"][:10]) == {30} and set(found["n_calibration"][10:]) == {27}


def test_each_region_has_a_calibration_of_its_own_and_rows_keep_their_order() -> None:
    both = pd.concat([features(30), features(30, 3, region="ET")]).sort_values("case_id", kind="stable", ignore_index=True)
    dice = scores(both)
    dice.loc[dice["label"] == "ET", "dice"] *= 0.5
    found = script.quality_table(both, both, dice, within=False)
    assert found[["case_id", "region"]].to_numpy().tolist() == both[["case_id", "region"]].to_numpy().tolist()
    means = found.groupby("region")["predicted_dice"].mean()
    assert means["ET"] == pytest.approx(means["WT"] / 2, abs=0.05)


def run(folder: Path, calibration: pd.DataFrame | None, schemes: tuple[Any, Any], set_name: str = "new") -> pd.DataFrame:
    write_table(folder / "features.csv", features(3, 5, "n"))
    inputs: dict[str, str] = {"features": str(folder / "features.csv")}
    if calibration is not None:
        write_table(folder / "calibration.csv", calibration)
        write_table(folder / "scores.csv", scores(calibration))
        inputs |= {name: str(folder / f"{name}.csv") for name in ("calibration", "scores")}
    source = SimpleNamespace(**inputs, get=inputs.get)
    params = SimpleNamespace(set=set_name, schemes=schemes)
    script.main(SimpleNamespace(input=source, output=SimpleNamespace(quality=str(folder / "q.csv")), params=params), Console())
    return read_table(folder / "q.csv", TEXT)


def test_labels_of_another_scheme_are_told(tmp_path: Path) -> None:
    told = run(tmp_path, features(30), ("brats2021", "lgg_kaggle"))["note"]
    assert set(told) == {"labels by the scheme lgg_kaggle, calibrated on brats2021"}
    assert run(tmp_path, features(30), ("brats2021", None))["note"].isna().all()


def test_without_calibration_the_table_is_written_with_its_reason(tmp_path: Path) -> None:
    assert set(run(tmp_path, None, (None, None))["note"]) == {script.NO_CALIBRATION}


def test_of_two_scores_of_a_case_the_mirrored_one_counts() -> None:
    known = features(30)
    mirrored = scores(known).assign(tta=True)
    both = pd.concat([mirrored.assign(tta=False, dice=0.1), mirrored], ignore_index=True)
    new = features(3, 5, "n")
    one = script.quality_table(new, known, mirrored, within=False)
    assert script.quality_table(new, known, both, within=False).equals(one)
