"""What the scatter plots are given of every case besides its scores."""

from types import SimpleNamespace
from typing import Any

import pandas as pd

from glioflow.report.explore import explore_data
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
