"""From masks on disk to the volumes and proportions of every case."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import save
from volume_tables import Masks

from glioflow.console import UserError


@pytest.fixture
def masks(tmp_path: Path) -> Masks:
    return Masks(tmp_path)


def of(table: pd.DataFrame, case: str, measure: str) -> dict[str, Any]:
    (row,) = table[(table["case_id"] == case) & (table["measure"] == measure)].to_dict("records")
    return row


def test_volumes_and_shares_of_a_case_and_its_class(masks: Masks):
    masks.add("a", "p", (100, 100, 300), (10, 90, 200))
    table, said = masks.measure()
    whole, ratio = of(table, "a", "WT"), of(table, "a", "ET/WT")
    assert (whole["unit"], whole["truth"], whole["prediction"]) == ("ml", pytest.approx(0.5), pytest.approx(0.3))
    assert (ratio["truth"], ratio["prediction"]) == (pytest.approx(0.2), pytest.approx(1 / 30))
    assert (ratio["class_truth"], ratio["class_prediction"]) == ("5–33 %", "<5 %")
    assert table["measure"].tolist() == ["ET", "NCR", "ED", "TC", "WT", "RC", "ET/WT", "NCR/WT", "ED/WT"]
    assert said == "1 case, 0 patients with several sessions"


def test_a_missing_prediction_is_not_a_volume_of_zero(masks: Masks):
    masks.add("a", "p", (10, 0, 10), (0, 0, 0), missing=True)
    row = of(masks.measure()[0], "a", "ET")
    assert row["truth"] == pytest.approx(0.01) and np.isnan(row["prediction"]) and row["note"] == "prediction missing"


def test_an_empty_prediction_is_a_volume_of_zero_and_has_no_shares(masks: Masks):
    masks.add("a", "p", (10, 0, 10), (0, 0, 0))
    table, _ = masks.measure()
    assert of(table, "a", "ET")["prediction"] == 0
    ratio = of(table, "a", "ET/WT")
    assert (
        np.isnan(ratio["prediction"]) and ratio["note"] == "the prediction has no tumour" and pd.isna(ratio["class_prediction"])
    )


def test_what_labels_and_model_cannot_show_is_empty_with_the_reason(masks: Masks):
    masks.add("a", "p", (0, 0, 30), (0, 0, 20))
    table, _ = masks.measure(trained=["WT"], labelled=["WT"])
    assert of(table, "a", "WT")["truth"] == pytest.approx(0.03)
    row = of(table, "a", "ED")  # what the label of the oedema holds is the whole tumour
    assert np.isnan([row["truth"], row["prediction"]]).all()
    assert row["note"] == "not applicable: the truth shows WT only; not applicable: the model predicts WT only"


def test_sessions_are_ordered_by_the_covariate_and_the_cache_is_kept(masks: Masks):
    for case, day in (("a", "2020-05-01"), ("b", "2020-01-01"), ("c", None)):
        masks.add(case, "p" if case != "c" else "q", (5, 5, 5), (5, 5, 4), scan_day=day)
    table, said = masks.measure("scan_day")
    found = table.drop_duplicates("case_id").set_index("case_id")
    assert found["session"].to_dict() == {"a": 2, "b": 1, "c": 1}
    assert (found.loc["a", "session_by"], found.loc["a", "session_time"], found.loc["a", "session_unit"]) == (
        "scan_day",
        121,
        "days",
    )
    assert said == "3 cases, 1 patient with several sessions"
    again, said = masks.measure("visit")
    assert said == "3 cases, 1 patient with several sessions, 3 already measured, no visit in the manifest"
    assert again.drop_duplicates("case_id")["session_by"].eq("case_id").all()


def test_masks_of_another_shape_are_named_with_what_is_wrong(masks: Masks):
    masks.add("a", "p", (5, 5, 5), (5, 5, 5))
    save(masks.folder / "a_prediction.nii.gz", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(UserError, match=r"a: .*found shape \(3, 3, 3\); expected \(10, 12, 8\)"):
        masks.measure()
