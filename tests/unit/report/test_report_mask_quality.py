"""What the report says of quality without truth: made of the numbers, in the order that a reader needs."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pytest

import evaluate_quality
import predict_quality
from glioflow.files import read_table, write_table
from glioflow.quality.prediction import FEATURES
from glioflow.report import mask_quality as report
from glioflow.report.source import Pair, Source
from write_report import TEMPLATES

SET = Pair("m", "new", "new", False)


def rows(**columns: Any) -> pd.DataFrame:
    """A quality.csv of two regions, WT and ET of each case in turn."""
    n = len(next(iter(columns.values())))
    cases = [f"c{number // 2}" for number in range(n)]
    table = {"case_id": cases, "patient_id": cases, "fold": pd.NA, "region": ["WT", "ET"] * (n // 2)}
    blank = {name: None for name in predict_quality.COLUMNS if name not in table}
    found = pd.DataFrame({**table, **blank, "n_calibration": 30, **columns})[list(predict_quality.COLUMNS)]
    numbers = ("predicted_dice", "dice_low", "dice_high", "expected_dice", "fold_dice", "mean", "volume", "forest")
    return found.astype(dict.fromkeys(numbers, float))


def ridge(dice: list[float | None], **columns: Any) -> pd.DataFrame:
    values = pd.Series(dice, dtype=float)
    alarm = [None if pd.isna(value) else bool(value < 0.7) for value in values]
    method = [None if pd.isna(value) else "ridge" for value in values]
    return rows(predicted_dice=values, dice_low=values - 0.1, dice_high=values + 0.1, alarm=alarm, method=method, **columns)


def test_the_case_with_the_worst_region_comes_first() -> None:
    quality = ridge([0.9, 0.8, 0.95, 0.5, 0.6, 0.9])
    assert report.order_cases(quality) == ["c1", "c2", "c0"]
    assert report.why_first(quality[quality["case_id"] == "c1"]) == "ET: predicted Dice 0.50"


def test_a_case_without_any_of_the_largest_region_comes_before_all() -> None:
    quality = ridge([0.9, 0.8, None, None, 0.1, 0.9], note=[None, None, "nothing predicted", "nothing predicted", None, None])
    assert report.order_cases(quality) == ["c1", "c2", "c0"]
    assert report.why_first(quality[quality["case_id"] == "c1"]) == "nothing of WT predicted"


def test_a_small_region_that_is_absent_puts_no_case_first() -> None:
    quality = ridge([0.9, None, 0.8, 0.8], note=[None, "nothing predicted", None, None])
    assert report.order_cases(quality) == ["c1", "c0"]


def test_of_few_calibration_patients_there_is_an_order_by_expected_dice() -> None:
    quality = rows(method=["ranking"] * 4, expected_dice=[0.9, 0.8, 0.7, 0.95], n_calibration=12)
    assert report.order_cases(quality) == ["c1", "c0"]
    assert report.why_first(quality.tail(2)) == "WT: expected Dice 0.70"
    assert report.method_sentence(quality).startswith("12 calibration patients: too few for a predicted Dice.")
    table = report.case_table(SET, quality, ["c1", "c0"])
    assert "WT, expected Dice" in table.columns and not any("predicted" in name for name in table.columns)


def test_without_anything_to_go_by_there_is_no_order() -> None:
    quality = rows(note=["the model has no out-of-fold predictions to learn from"] * 4)
    assert report.order_cases(quality) == []
    assert report.method_sentence(quality) == "No quality is predicted."
    assert report.reason_words(quality) == "WT and ET of 2 cases: the model has no out-of-fold predictions to learn from."
    assert [row[0].text for row in report.case_table(SET, quality, []).rows] == ["c0", "c1"]


def test_the_sentence_counts_alarms_and_cases_beyond_the_calibration() -> None:
    quality = ridge([0.9, 0.5, 0.9, 0.9], extrapolates=[None, "contrast, entropy_mean", None, None])
    said = report.method_sentence(quality)
    assert "from 30 patients" in said and "1 case of 2 with a predicted Dice has an alarm (" in said
    assert "1 case lies outside what the prediction was learnt from: the numbers are less certain there." in said
    assert "outside" not in report.method_sentence(ridge([0.9, 0.8]))


def test_cases_with_nothing_predicted_are_no_cases_without_an_alarm() -> None:
    absent = [None, "nothing predicted"] * 2 + ["nothing predicted"] * 2
    said = report.method_sentence(ridge([0.6, None, 0.9, None, None, None], note=absent))
    assert "1 case of 2 with a predicted Dice has an alarm (a region with a predicted Dice below 0.7); nothing of " in said
    assert (
        "nothing of ET is predicted in 3 cases and nothing of WT is predicted in 1 case, for which there is no alarm." in said
    )


def test_without_calibration_the_cases_are_ordered_by_expected_dice() -> None:
    quality = rows(method=["ranking"] * 4, expected_dice=[0.9, 0.8, 0.7, 0.95], n_calibration=0)
    assert report.order_cases(quality) == ["c1", "c0"]
    assert report.method_sentence(quality).startswith(
        "There is no predicted Dice. The cases are ordered by their expected Dice"
    )


def test_what_nothing_tells_of_stands_after_the_others_and_has_no_place(tmp_path: Path) -> None:
    quality = ridge([None, None, 0.9, 0.8], note=["prediction missing"] * 2 + [None] * 2)
    assert report.order_cases(quality) == ["c1"]
    table = report.case_table(SET, quality, ["c1"])
    assert [[cell.text for cell in row[:2]] for row in table.rows] == [["1", "c1"], ["", "c0"]]


def test_a_region_of_few_patients_stays_in_order_and_table_beside_one_with_a_prediction() -> None:
    method = ["ridge", "ranking"] * 2
    quality = ridge([0.9, None, 0.8, None], expected_dice=[0.95, 0.5, 0.92, 0.85]).assign(method=method)
    assert report.order_cases(quality) == ["c0", "c1"]
    assert report.why_first(quality.head(2)) == "ET: expected Dice 0.50"
    assert "Of ET, 2 cases without a predicted Dice are ordered by the expected Dice" in report.method_sentence(quality)
    table = report.case_table(SET, quality, ["c0", "c1"])
    shown = dict(zip(table.columns, (cell.text for cell in table.rows[0]), strict=True))
    assert (shown["WT, expected Dice"], shown["ET, expected Dice"]) == ("0.95", "0.50")
    assert shown["WT, predicted Dice [90 % interval]"].startswith("0.90") and "ET, predicted" not in "".join(shown)


@pytest.mark.parametrize(
    ("regions", "largest"), [(["ET", "TC", "WT"], "WT"), (["ET", "TC"], "TC"), (["RC", "ET"], "ET"), (["NCR"], "NCR")]
)
def test_the_largest_region_is_not_the_first_one_named(regions: list[str], largest: str) -> None:
    assert report.largest_region(regions) == largest


def test_the_order_of_the_regions_puts_no_case_first() -> None:
    quality = ridge([0.9, None, 0.8, 0.8], note=[None, "nothing predicted", None, None])
    turned = quality.iloc[[1, 0, 3, 2]].reset_index(drop=True)
    assert report.order_cases(turned) == ["c1", "c0"]
    assert report.why_first(turned.head(2)) == "WT: predicted Dice 0.90"


def test_the_table_shows_interval_alarm_and_note() -> None:
    quality = ridge([0.9, 0.5], note=[None, "predicted without contrast"], fold_dice=[0.97, 0.6])
    table = report.case_table(SET, quality, ["c0"])
    (row,) = table.rows
    shown = dict(zip(table.columns, (cell.text for cell in row), strict=True))
    assert shown["WT, predicted Dice [90 % interval]"] == "0.90 [0.80, 1.00]"
    assert (shown["Alarm"], shown["Note"]) == ("ET", "ET: predicted without contrast")
    assert shown["ET, Dice between folds"] == "0.60"


def evaluation(difference: float, low: float, high: float) -> dict[str, Any]:
    ends = {"aurc_difference": difference, "aurc_difference_ci_low": low, "aurc_difference_ci_high": high}
    return {"aurc": 0.1, **ends}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((-0.02, -0.03, -0.01), "It orders the cases better than the expected Dice alone"),
        ((-0.02, -0.03, 0.01), "It does not order the cases better than the expected Dice alone"),
        ((0.02, 0.01, 0.03), "It orders the cases worse than the expected Dice alone"),
        ((-0.02, np.nan, np.nan), "It does not order the cases better than the expected Dice alone"),
        ((np.nan, np.nan, np.nan), "There is no expected Dice to compare its order with"),
    ],
)
def test_better_is_said_only_where_the_interval_says_so(numbers: tuple[float, float, float], words: str) -> None:
    assert report.comparison(evaluation(*numbers)).startswith(words)


def study(tmp_path: Path, calibration: int) -> Source:
    """Results of a model m with a scored set cv and a set new without truth."""
    rng = np.random.default_rng(2)
    tables = {}
    for name, n in (("cv", calibration), ("new", 5)):
        table = pd.DataFrame(rng.normal(size=(n, len(FEATURES))), columns=list(FEATURES))
        ids = [f"{name}{number}" for number in range(n)]
        tables[name] = table.assign(case_id=ids, patient_id=ids, fold=0, region="WT", fold_dice=np.nan, note=None)
    known = tables["cv"]
    dice = (0.75 + 0.1 * known["expected_dice"]).clip(0, 1)
    scores = pd.DataFrame({"case_id": known["case_id"], "patient_id": known["patient_id"], "label": "WT", "dice": dice})
    write_table(tmp_path / "scores/m/cv.csv", scores)
    for name, table in tables.items():
        quality = predict_quality.quality_table(table, known, scores, name == "cv")
        write_table(tmp_path / f"quality/m/{name}/quality.csv", quality)
        if name == "cv":
            write_table(tmp_path / "quality/m/cv/quality_evaluation.csv", evaluate_quality.evaluation_table(quality, scores))
    settings = {"quality": {"sets": None}, "evaluation": {"regions": ["WT"]}, "cohorts": {}, "models": {}}
    pairs = [{"model": "m", "set": "cv", "cohort": "c", "failure": False}]
    return Source(settings, "study.yaml", tmp_path, pairs, {}, ["m/new"])


def test_a_section_is_made_of_tables_of_a_study(tmp_path: Path) -> None:
    source = study(tmp_path, 40)
    scored, bare = report.predicted_pairs(source)
    known, new = (report.mask_quality_section(source, pair) for pair in (scored, bare))
    assert known["scored"] and known["figure"] and known["evaluation"].rows
    assert known["findings"][0].startswith("WT: the predicted Dice is off by 0.0")
    assert not new["scored"] and new["figure"] is None and new["evaluation"] is None and len(new["cases"].rows) == 5
    first = report.look_first(source, bare)
    assert first["anchor"] == new["anchor"]
    assert first["text"].startswith(f"Without truth; look first at {new['cases'].rows[0][1].text} (WT: predicted Dice 0.")


def shown(item: dict[str, Any]) -> str:
    """The section as its template makes it of one set, with the captions of its tables alone."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined)
    made = environment.get_template("mask_quality.html.j2")
    return made.render(mask_quality=[item], table=lambda table: table.caption, figure=lambda *_: "")


def test_a_list_in_no_order_is_not_called_one_and_says_that_it_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "SHOWN_ROWS", 3)
    source = study(tmp_path, 12)
    bare = report.predicted_pairs(source)[1]
    file = tmp_path / "quality/m/new/quality.csv"
    ordered = report.mask_quality_section(source, bare)
    assert (ordered["ordered"], ordered["left_out"]) == (True, 2) and "look at these first" in shown(ordered)
    write_table(file, read_table(file).assign(expected_dice=np.nan, method=None))
    item = report.mask_quality_section(source, bare)
    assert (item["ordered"], item["left_out"], len(item["cases"].rows)) == (False, 2, 3)
    assert item["cases"].caption.endswith("in no order.")
    assert "look at these first" not in shown(item) and "The first 3 cases; 2 more are" in shown(item)


def test_the_finding_tells_of_complete_misses() -> None:
    rng = np.random.default_rng(0)
    quality = ridge([*rng.uniform(0.5, 0.9, 28), *[None] * 12], note=[None] * 28 + ["nothing predicted"] * 12, mean=0.8)
    quality = quality.assign(expected_dice=quality["predicted_dice"])
    wt = quality[quality["region"] == "WT"]
    truth = wt[["case_id", "patient_id"]].assign(label="WT", dice=wt["predicted_dice"].fillna(0) / 1.5)
    said = report.finding(evaluate_quality.evaluation_table(wt, truth), "WT")
    assert "14 cases had a Dice below 0.7" in said
    assert "6 more cases had nothing to judge" in said and "no alarm: 6 of them had a Dice below 0.7." in said


def test_a_study_of_few_patients_says_so_everywhere(tmp_path: Path) -> None:
    source = study(tmp_path, 12)
    scored, bare = report.predicted_pairs(source)
    known = report.mask_quality_section(source, scored)
    assert known["figure"] is None and "too few for a prediction" in known["findings"][0]
    assert "expected Dice" in report.look_first(source, bare)["text"]


def test_sets_that_the_study_leaves_out_are_left_out(tmp_path: Path) -> None:
    source = study(tmp_path, 12)
    source.study = {**source.study, "quality": {"sets": ["new"]}}
    assert [pair.set for pair in report.predicted_pairs(source)] == ["new"]
