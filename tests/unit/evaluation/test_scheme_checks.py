"""Regions that one side never has and the other mostly has: a label scheme that may be wrong."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glioflow.evaluation.metrics import NOT_APPLICABLE
from glioflow.evaluation.scheme_checks import absent_regions
from glioflow.evaluation.score_tables import PREDICTION_MISSING


def scores(truths: list[float], predictions: list[float], region: str = "ET", **columns: object) -> pd.DataFrame:
    cases = [f"c{number}" for number in range(len(truths))]
    volumes = {"volume_truth_ml": truths, "volume_prediction_ml": predictions}
    return pd.DataFrame({"case_id": cases, "label": region, "tta": None, "note": None, **volumes, **columns})


def found(table: pd.DataFrame, prediction_scheme: str | None = "brats2023") -> list[str]:
    return [row["found"] for row in absent_regions(table, "brats2024", prediction_scheme)]


def test_a_region_of_no_truth_and_of_every_prediction_is_warned_of_with_both_schemes() -> None:
    (text,) = found(scores([0, 0, 0], [1, 2, 3]))
    assert text == (
        "ET is in none of 3 truths and in 3 of their predictions: the label scheme of the truth, 'brats2024', or that of the "
        "masks, 'brats2023', may be wrong"
    )


def test_so_is_the_reverse_which_a_model_that_has_not_learnt_it_does_too() -> None:
    (text,) = found(scores([1, 2, 3], [0, 0, 0]), None)
    assert text == (
        "ET is in 3 of 3 truths and in none of their predictions: the label scheme of the truth, 'brats2024', may be wrong, or "
        "the model has not learnt the region"
    )


@pytest.mark.parametrize(
    ("truths", "predictions"),
    [
        ([0, 0, 0, 1], [1, 1, 1, 1]),  # one truth has it
        ([0, 0, 0, 0], [1, 1, 0, 0]),  # half of the predictions do
        ([0, 0], [0, 0]),
        ([0], [1]),  # one case may well be so
        ([], []),
    ],
)
def test_what_cases_may_well_be_like_is_not_warned_of(truths: list[float], predictions: list[float]) -> None:
    assert found(scores(truths, predictions)) == []


@pytest.mark.parametrize(
    "note", [f"{NOT_APPLICABLE}: the model predicts WT only", f"{PREDICTION_MISSING}; penalty: absent in truth"]
)
def test_what_says_nothing_of_the_masks_does_not_count(note: str) -> None:
    assert found(scores([0, 0, 0], [1, 1, 1], note=note)) == []


def test_each_region_is_looked_at_for_itself() -> None:
    table = pd.concat([scores([1, 1], [1, 1], "WT"), scores([0, 0], [1, 1], "ET"), scores([1, 1], [0, 0], "RC")])
    assert [text.split()[0] for text in found(table)] == ["ET", "RC"]


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), max_size=9))
def test_only_a_side_without_the_region_is_warned_of(volumes: list[tuple[float, float]]) -> None:
    truths, predictions = [truth for truth, _ in volumes], [prediction for _, prediction in volumes]
    warned = bool(found(scores(truths, predictions)))
    mostly = 2 * max(sum(truths), sum(predictions)) > len(volumes) > 1
    assert warned == (mostly and not (any(truths) and any(predictions)))
