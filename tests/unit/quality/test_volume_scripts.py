"""From masks on disk to volumes, agreement and responses: measure_volumes, compare_volumes and follow_volumes."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import save

import compare_volumes
import follow_volumes
import measure_volumes
from glioflow.console import Console, UserError
from glioflow.files import read_table, sha256_file, write_table
from glioflow.quality.measures import MEASURES
from glioflow.quality.responses import Thresholds

RANO = Thresholds(0.4, 0.65, 0.0)
EVERY = ["WT", "TC", "ET", "ED", "NCR"]


class Masks:
    """A cohort's manifest and a table of predictions on disk; a mask is given by its numbers of ET, NCR and ED voxels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truths: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []

    def write(self, name: str, voxels: Sequence[int]) -> dict[str, str]:
        labels = np.zeros(10 * 12 * 8, np.uint8)
        labels[: sum(voxels)] = np.repeat([3, 1, 2], voxels)
        path = save(self.folder / f"{name}.nii.gz", labels.reshape(10, 12, 8))
        return {"path": str(path), "sha256": sha256_file(path)}

    def add(
        self, case: str, patient: str, truth: Sequence[int], prediction: Sequence[int], missing: bool = False, **covariates
    ):
        true, predicted = self.write(f"{case}_truth", truth), self.write(f"{case}_prediction", prediction)
        known = {"case_id": case, "patient_id": patient}
        files = {"label": true["path"], "label_sha256": true["sha256"], "spacing_mm": "1x1x1"}
        self.truths.append({**known, **files, **covariates})
        found = {"fold": None, "tta": None, "prediction": predicted["path"], "sha256": predicted["sha256"], "missing": missing}
        self.predictions.append({**known, **found})

    def measure(self, session_by: str | None = None, trained: Any = EVERY, labelled: Any = EVERY) -> tuple[pd.DataFrame, str]:
        write_table(self.folder / "manifest.csv", pd.DataFrame(self.truths))
        write_table(self.folder / "predictions.csv", pd.DataFrame(self.predictions))
        names = ("manifest", "predictions")
        job = SimpleNamespace(
            input=SimpleNamespace(**{name: self.folder / f"{name}.csv" for name in names}),
            output=SimpleNamespace(volumes=self.folder / "volumes.csv"),
            params=SimpleNamespace(
                session_by=session_by, trained_regions=trained, truth_regions=labelled, cache=self.folder / "cache.jsonl"
            ),
            threads=1,
        )
        said = measure_volumes.main(job, Console())
        return read_table(job.output.volumes, compare_volumes.TEXT), said


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


# ---- agreement


def table_of(
    rows: Sequence[tuple[str, float, float]], measure: str = "WT", unit: str = "ml", sessions: int = 1
) -> pd.DataFrame:
    """Return a table of volumes of one measure: patient, truth and prediction of each case."""
    table = pd.DataFrame(rows, columns=["patient_id", "truth", "prediction"])
    seen = table.groupby("patient_id").cumcount() + 1
    times = table.groupby("patient_id")["truth"].transform("size")
    return table.assign(
        case_id=table["patient_id"] + "_" + seen.astype(str), measure=measure, unit=unit, session=seen, sessions=times,
        session_by="case_id", session_time=np.nan, session_unit=None, class_truth=None, class_prediction=None, note=None,
    )  # fmt: skip


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


# ---- over time


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


def test_both_scripts_write_their_tables(masks: Masks):
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
