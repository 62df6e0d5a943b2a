"""The short form of benchmarks/quality.py: intervals hold what they promise, and the prediction orders the cases."""

import sys

import numpy as np
import pandas as pd
import pytest
from conftest import REPO

sys.path.insert(0, str(REPO / "benchmarks"))

import quality


@pytest.mark.parametrize("patients", [20, 50])
def test_intervals_of_ninety_percent_hold_nine_of_ten_and_the_order_is_better_than_none(patients: int) -> None:
    found = pd.DataFrame([quality.judge(patients, 60, seed) for seed in range(40)]).mean()
    assert quality.COVERAGE[0] <= found["coverage"] <= quality.COVERAGE[1] + 0.01
    assert found["aurc_best"] < found["aurc"] < found["aurc_none"] - 0.05


def test_a_simulated_cohort_is_the_same_every_time_and_has_bad_masks_among_good_ones() -> None:
    first, again = (quality.simulate(200, np.random.default_rng(1)) for _ in range(2))
    assert first.table.equals(again.table)
    assert 0.1 < (first.dice < 0.7).mean() < 0.5 and first.n == 200


@pytest.mark.parametrize("patients", [20])
def test_an_interval_that_is_too_narrow_is_caught(patients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = quality.Calibration.predict

    def narrow(*arguments):
        found = real(*arguments)
        return type(found)(found.dice, found.dice - 0.01, found.dice + 0.01)

    monkeypatch.setattr(quality.Calibration, "predict", narrow)
    assert quality.judge(patients, 60, 0)["coverage"] < quality.COVERAGE[0]
