"""What the scatter plots are given of every case besides its scores."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glioflow.report import explore
from glioflow.report.explore import explore_data, quality_data, sessions_data
from glioflow.report.source import Pair

CASES = ["a", "b", "c", "d"]
COVARIATES = {
    "age": ["50", "61.5", None, "70"],
    "site": ["01", "02", "01", None],
    "one": ["x", "x", "x", "x"],
    "trial_id": ["1", "2", "3", "4"],
}


def source(**tables: pd.DataFrame) -> Any:
    scores = pd.DataFrame({"case_id": ["a", "a", "b", "c", "d"], "label": "WT"})
    covariates = pd.DataFrame(COVARIATES, index=CASES, dtype="string")
    return SimpleNamespace(
        scores=lambda pair: scores, covariates=lambda cohort: covariates, failure=lambda pair, name: tables[name]
    )


def test_covariates_are_numbers_or_categories_of_every_case_once() -> None:
    found = explore_data(source(), Pair("net", "cv", "demo", failure=False))
    assert found == {
        "cases": CASES,
        "numbers": {"age": [50, 61.5, None, 70]},
        "categories": {"site": ["01", "02", "01", None]},
        "levels": {"age": ["50", "61.5", None, "70"]},
    }


def test_features_that_stand_for_others_are_there_by_image_and_region() -> None:
    block = {"image": "flair", "mask": "truth", "region": "WT", "cluster": [1, 1]}
    associations = pd.DataFrame(
        {**block, "feature": ["original_shape_Sphericity", "original_shape_Flatness"], "representative": [True, False]}
    )
    values = {"original_shape_Sphericity": [0.5, 0.123456789, None], "original_shape_Flatness": [1.0, 2.0, 3.0]}
    radiomics = pd.DataFrame({"case_id": ["b", "a", "c"], "image": "flair", "mask": "truth", "region": "WT", **values})
    tables = {"associations": associations, "radiomics": radiomics}
    found = explore_data(source(**tables), Pair("net", "cv", "demo", failure=True))
    assert found["numbers"]["Sphericity (shape)"] == [0.123457, 0.5, None, None]
    assert not any("Flatness" in name for name in found["numbers"])


def test_predicted_quality_is_in_the_order_of_the_cases_and_unknown_where_nothing_was_predicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Pair("net", "cv", "demo", failure=False)
    quality = pd.DataFrame(
        {
            "case_id": ["b", "a", "a", "c"],
            "region": ["WT", "WT", "ET", "WT"],
            "predicted_dice": [0.5, 0.9, 0.7, np.nan],
            "alarm": [True, False, False, None],
        }
    )
    monkeypatch.setattr(explore, "read_quality", lambda *_: quality)
    study = {"quality": {"sets": None, "follow": []}}
    found = quality_data(SimpleNamespace(study=study, pairs=[pair], unscored=[]), pair, CASES)
    assert found["predicted"] == {"Predicted Dice WT": [0.9, 0.5, None, None], "Predicted Dice ET": [0.7, None, None, None]}
    assert found["alarms"] == {"WT": [False, True, None, None], "ET": [False, None, None, None]}
    assert found["sessions"] == []


@pytest.mark.parametrize(
    ("times", "units", "when", "words"),
    [
        ([0.0, 30.0, 0.0], ["days"] * 3, [0, 30, 0], "days since the first session"),
        ([0.0, np.nan, 0.0], ["days", np.nan, "days"], [1, 2, 1], "session"),
        ([0.0, 30.0, 0.0], ["days", "days", "weeks"], [1, 2, 1], "session"),
    ],
)
def test_sessions_are_timed_where_all_of_them_are_in_one_unit(
    times: list[float], units: list[Any], when: list[float], words: str
) -> None:
    pair = Pair("net", "cv", "demo", failure=False)
    sessions = pd.DataFrame(
        {
            "region": "WT",
            "patient_id": ["p", "p", "q"],
            "case_id": ["a", "b", "c"],
            "session": [1, 2, 1],
            "session_time": times,
            "session_unit": units,
            "volume_truth_ml": [10.0, 12.5, None],
            "volume_prediction_ml": [9.0, 13.0, 1.0],
        }
    )
    study = {"quality": {"sets": ["cv"], "follow": ["WT"]}}
    tables = SimpleNamespace(study=study, pairs=[pair], unscored=["net/other"], quality=lambda *_: sessions)
    found = sessions_data(tables, pair)
    assert found["sessions"] == [
        ["WT", "p", "a", when[0], 10.0, 9.0],
        ["WT", "p", "b", when[1], 12.5, 13.0],
        ["WT", "q", "c", when[2], None, 1.0],
    ]
    assert found["time"] == words
