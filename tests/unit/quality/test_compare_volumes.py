"""How far predicted volumes agree with true ones."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from volume_tables import table_of

import compare_volumes
from glioflow.quality.measures import MEASURES


def agreement(table: pd.DataFrame) -> dict[str, Any]:
    found = compare_volumes.compare_volumes(table)
    (row,) = found[found["measure"] == table["measure"].iloc[0]].to_dict("records")
    return row


def test_a_set_without_cases_has_its_rows_and_no_number():
    found = compare_volumes.compare_volumes(table_of([]))
    assert found["n"].eq(0).all() and found["note"].eq("no case has both values").all()
    assert found["measure"].tolist() == [measure.name for measure in MEASURES]


def test_a_patient_with_several_cases_counts_once_in_the_correlation():
    one = agreement(table_of([("a", 1, 2), ("b", 2, 2), ("c", 3, 4), ("d", 5, 5)]))
    several = agreement(table_of([("a", 1, 2), ("b", 1, 1), ("b", 3, 3), ("c", 3, 4), ("d", 5, 5)]))
    assert (several["n"], several["patients"]) == (5, 4)
    assert several["pearson_r"] == pytest.approx(one["pearson_r"]) and several["p"] == pytest.approx(one["p"])


def test_a_region_that_is_never_predicted_has_differences_and_no_correlation():
    row = agreement(table_of([("a", 1, 0), ("b", 2, 0), ("c", 3, 0)]))
    assert (row["predicted_zero"], row["bias"]) == (3, -2)
    assert np.isnan(row["pearson_r"])
    assert row["note"] == "never predicted; the prediction has one value in every patient"


def test_cases_without_a_value_are_left_out_counted_and_explained():
    table = table_of([("a", 1, 1), ("b", 2, 3), ("c", 3, 3), ("d", 4, 4), ("e", 5, np.nan)])
    table.loc[4, "note"] = "prediction missing"
    row = agreement(table)
    assert (row["n"], row["undefined"], row["note"]) == (4, 1, "1 case left out: prediction missing")
    assert row["mean_truth"] == 2.5


def test_a_measure_that_no_case_has_keeps_its_reason():
    row = agreement(table_of([("a", np.nan, 1)] * 3).assign(note="not applicable: the truth shows WT only"))
    assert (row["n"], row["undefined"], row["note"]) == (0, 3, "not applicable: the truth shows WT only")
    assert np.isnan(row["mean_truth"])


def test_shares_are_compared_by_class_too():
    table = table_of([("a", 0.2, 0.3), ("b", 0.2, 0.5), ("c", 0.6, 0.6), ("d", 0.01, 0.02)], "ET/WT", "share of WT")
    table["class_truth"] = ["5–33 %", "5–33 %", "34–67 %", "<5 %"]
    table["class_prediction"] = ["5–33 %", "34–67 %", "34–67 %", "<5 %"]
    row = agreement(table)
    assert row["same_class"] == 0.75 and 0 <= row["same_class_ci_low"] < 0.75 < row["same_class_ci_high"] <= 1
    table["class_prediction"] = table["class_truth"]
    row = agreement(table)  # resamples are all alike: Clopper & Pearson's end for four patients
    assert (row["same_class"], row["same_class_ci_low"], row["same_class_ci_high"]) == (1, pytest.approx(0.025**0.25), 1)
