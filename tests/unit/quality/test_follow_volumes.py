"""Volumes over sessions, and the response categories that they would put a patient into."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from volume_tables import Masks, table_of

import compare_volumes
import follow_volumes
from glioflow.console import Console
from glioflow.files import read_table
from glioflow.quality.responses import Thresholds

RANO = Thresholds(0.4, 0.65, 0.0)


def follow(table: pd.DataFrame, thresholds: Thresholds = RANO) -> tuple[pd.DataFrame, dict[str, Any]]:
    sessions, responses = follow_volumes.follow_volumes(table, ["WT"], thresholds)
    (row,) = responses.to_dict("records")
    return sessions, row


FOLLOWED = [
    ("a", 10, 10), ("a", 20, 12), ("a", 2, 3),  # truth: PD, PR; prediction: SD, PR
    ("b", 10, 10), ("b", 11, 15),  # truth: SD; prediction: PD
    ("c", 4, 4),
]  # fmt: skip


def test_flips_are_counted_over_the_sessions_after_the_first():
    sessions, row = follow(table_of(FOLLOWED))
    assert sessions["response_truth"].tolist()[1:3] == ["PD", "PR"] and sessions["response_prediction"].tolist()[1:3] == [
        "SD",
        "PR",
    ]
    assert "c_1" not in set(sessions["case_id"])
    assert (row["patients"], row["sessions"], row["follow_ups"], row["flipped"]) == (2, 5, 3, 2)
    assert row["flip_share"] == pytest.approx(2 / 3)
    assert (row["progressions"], row["missed"], row["false"]) == (1, 1, 1)
    assert (row["n_PD_SD"], row["n_SD_PD"], row["n_PR_PR"]) == (1, 1, 1)
    assert row["flip_ci_low"] <= 2 / 3 <= row["flip_ci_high"]


def test_sessions_are_followed_in_their_order_whatever_their_ids():
    table = table_of([("a", 20, 20), ("a", 10, 10)]).assign(session=[2, 1])
    sessions, _ = follow(table)
    assert sessions["case_id"].tolist() == ["a_2", "a_1"] and sessions["response_truth"].tolist()[1] == "PD"


def test_the_thresholds_decide():
    _, row = follow(table_of(FOLLOWED), Thresholds(2.0, 0.65, 0.0))
    assert row["progressions"] == 0 and row["flipped"] == 0
    # None of two patients: Clopper & Pearson's end.
    assert (row["flip_share"], row["flip_ci_low"], row["flip_ci_high"]) == (0, 0, pytest.approx(1 - 0.025**0.5))


def test_the_interval_is_by_patient():
    alone = [("a", 10, 10), ("a", 20, 12), ("b", 10, 10), ("b", 11, 11), ("c", 5, 5), ("c", 5, 5)]
    many = [*alone, *[("a", 20, 12)] * 6]
    first, second = follow(table_of(alone))[1], follow(table_of(many))[1]
    assert second["follow_ups"] == 9 and second["patients"] == 3
    # The further sessions are of one patient: what is known of other patients does not grow.
    assert second["flip_ci_high"] - second["flip_ci_low"] >= 0.9 * (first["flip_ci_high"] - first["flip_ci_low"])


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ([("a", 1, 1), ("b", 2, 2)], "every patient has one session"),
        ([], "no case was measured"),
        ([("a", 10, 10), ("a", 20, 20)], "one patient gives no interval"),
        ([("a", 10, np.nan), ("a", 20, 5)], "no session after the first has both volumes"),
    ],
)
def test_where_nothing_can_be_told_the_reason_is(rows, note):
    _, row = follow(table_of(rows).astype({"truth": float, "prediction": float}))
    assert row["note"] == note and np.isnan(row["flip_ci_low"])


def test_a_missing_prediction_in_between_leaves_the_others():
    sessions, row = follow(table_of([("a", 10, 10), ("a", 20, np.nan), ("a", 20, 20), ("b", 1, 1), ("b", 1, 1)]))
    assert sessions["flipped"].isna().tolist() == [True, True, False, True, False]
    assert (row["follow_ups"], row["flipped"]) == (2, 0)


def test_agreement_and_responses_follow_from_measured_volumes(tmp_path: Path):
    masks = Masks(tmp_path)
    for number in range(4):
        masks.add(f"w-{number}", f"p{number // 2}", (9 * (number + 1), 5, 5), (8 * (number + 1), 5, 6))
    masks.measure()
    folder = masks.folder
    tables = {name: folder / f"{name}.csv" for name in ("volumes", "agreement", "sessions", "responses")}
    job = SimpleNamespace(input=SimpleNamespace(volumes=tables["volumes"]), output=SimpleNamespace(**tables))
    assert compare_volumes.main(job, Console()) == "9 measures, 0 with a correlation"
    job.params = SimpleNamespace(follow=["ET", "WT"], increase=0.4, decrease=0.65, measurable_ml=0.0)
    assert follow_volumes.main(job, Console()) == "2 patients followed, categories flipped: ET 0 of 2, WT 0 of 2"
    assert list(read_table(tables["agreement"]).columns) == list(compare_volumes.COLUMNS)
    assert list(read_table(tables["sessions"]).columns) == list(follow_volumes.SESSION_COLUMNS)
    assert list(read_table(tables["responses"]).columns) == list(follow_volumes.RESPONSE_COLUMNS)
