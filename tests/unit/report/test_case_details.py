"""What the page shows of one case."""

import numpy as np
import pytest

from glioflow.failure.failure_types import KINDS
from glioflow.report.case_details import error_bar, percentile_of, quality_words


@pytest.mark.parametrize(
    ("value", "values", "percentile"),
    [
        (3.0, [1.0, 2.0, 3.0], 100),
        (1.0, [1.0, 2.0, 3.0], 0),
        (2.0, [1.0, 2.0, 3.0], 50),
        (1.0, [1.0, 1.0, 3.0], 25),
        (5.0, [5.0, 5.0], 50),
        (5.0, [5.0], 50),
        (2.0, [1.0, 2.0, 3.0, 4.0, 5.0], 25),
    ],
)
def test_a_percentile_is_the_share_of_the_others_below(value: float, values: list[float], percentile: float) -> None:
    assert percentile_of(value, np.array(values)) == percentile


def row(**shares: float) -> dict[str, object]:
    blank = {f"share_{kind}": 0.0 for kind in KINDS}
    told = {"label": "WT", "dice": 0.8, "farthest_mm": float("nan"), "note": float("nan")}
    return {**told, **blank, **{f"share_{kind}": share for kind, share in shares.items()}}


def test_a_bar_has_a_part_for_each_kind_as_long_as_what_it_costs() -> None:
    bar = error_bar(row(false_lesion=0.15, boundary_in=0.05, over=0.0001))
    assert [part["percent"] for part in bar["parts"]] == ["15.00", "5.00"]
    assert bar["words"] == "Dice 0.800; what is missing from 1: false island 0.150 and boundary too far in 0.050"


def test_a_bar_names_the_farthest_error() -> None:
    bar = error_bar({**row(), "dice": 1.0, "farthest_kind": "false_lesion", "farthest_ml": 0.008, "farthest_mm": 107.97})
    assert bar["words"] == "Dice 1.000; farthest error: false island of 0.008 ml, 108.0 mm away"


def test_a_region_that_a_mask_lacks_says_so() -> None:
    nothing = {f"share_{kind}": float("nan") for kind in KINDS}
    assert error_bar({**row(), **nothing, "dice": 0.0, "note": "absent in prediction"}) == {
        "region": "WT",
        "parts": [],
        "words": "Dice 0.000; absent in prediction",
    }


@pytest.mark.parametrize(
    ("alarm", "dice", "words"),
    [
        (True, 0.41, "ET: predicted Dice 0.50 [0.30, 0.70], an alarm; true Dice 0.41"),
        (False, None, "ET: predicted Dice 0.50 [0.30, 0.70]"),
        (None, float("nan"), "ET: predicted Dice 0.50 [0.30, 0.70]"),
    ],
)
def test_a_predicted_dice_has_its_interval_its_alarm_and_the_truth(alarm: bool | None, dice: float | None, words: str) -> None:
    told = {"region": "ET", "predicted_dice": 0.5, "dice_low": 0.3, "dice_high": 0.7, "alarm": alarm}
    assert quality_words(told, dice) == words
