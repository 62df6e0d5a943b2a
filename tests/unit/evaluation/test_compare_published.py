"""Ours beside what others published: taken from the summary as it is, with what differs in words."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from compare_published import COLUMNS, compare_values, differing_words, main
from glioflow.console import Console
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.scoring import Plan
from glioflow.files import read_table, write_table
from summarise_scores import summarise

VALUE: dict[str, Any] = {
    "model": "m", "set": "cv", "metric": "dice", "region": "WT", "statistic": "mean", "value": 0.75, "measured_on": None,
    "source": "doi:10.1/x", "differs": None,
}  # fmt: skip


def published(folder: Path, *values: dict[str, Any]) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Return what the job said, published.csv and the summary, of five cases of four patients with and without TTA."""
    rows = [
        {"case_id": f"c{number}", "patient_id": f"p{number % 4}", "label": "WT", "tta": tta, "dice": dice - 0.1 * (not tta)}
        for number, dice in enumerate((0.5, 0.6, 0.8, 0.9, 0.95))
        for tta in (False, True)
    ]
    scores = pd.DataFrame(rows, columns=Plan(["WT"], conventions()["glioflow"]).columns)
    write_table(folder / "cv_summary.csv", summarise(scores))
    job = SimpleNamespace(
        input=SimpleNamespace(summaries=[str(folder / "cv_summary.csv")]),
        output=[str(folder / "published.csv")],
        params=SimpleNamespace(pairs=["m/cv"], published=[{**VALUE, **value} for value in values]),
    )
    return main(job, Console()), read_table(job.output[0], ("metric",)), read_table(folder / "cv_summary.csv")


def test_ours_is_the_summary_with_augmentation_and_the_difference_is_ours_less_theirs(tmp_path: Path) -> None:
    said, table, summary = published(tmp_path, {}, {"statistic": "median", "value": 0.85})
    assert said == "2 published values, 2 with one of ours beside it"
    assert tuple(table.columns) == COLUMNS
    mean, median = table.to_dict("records")
    assert (mean["model"], mean["set"], mean["metric"], mean["region"], mean["statistic"]) == ("m", "cv", "dice", "WT", "mean")
    assert (mean["ours"], mean["n"], mean["published"]) == (pytest.approx(0.75), 5, 0.75)  # of 0.5, 0.6, 0.8, 0.9, 0.95
    assert (median["ours"], median["difference"]) == (0.8, pytest.approx(-0.05))
    (row,) = summary[(summary["metric"] == "dice") & summary["tta"]].to_dict("records")
    for line, statistic in ((mean, "mean"), (median, "median")):
        ends = (row[f"{statistic}_ci_low"], row[f"{statistic}_ci_high"])
        assert (line["ci_low"], line["ci_high"]) == ends
        assert ends[0] < line["ours"] < ends[1]


def test_the_value_with_augmentation_counts_wherever_its_row_is(tmp_path: Path) -> None:
    _, table, summary = published(tmp_path, {})
    turned = compare_values([VALUE], {"m/cv": summary.iloc[::-1]})
    assert turned["ours"].tolist() == table["ours"].tolist() == [pytest.approx(0.75)]


def test_a_metric_that_is_undefined_in_every_case_has_no_value_of_ours(tmp_path: Path) -> None:
    said, table, _ = published(tmp_path, {"metric": "hd95_mm", "value": 6.7})
    assert said.endswith("0 with one of ours beside it")
    assert table[["ours", "ci_low", "difference"]].isna().all(axis=None)
    assert table["n"].tolist() == [0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, None),
        ({"measured_on": "cv"}, None),
        ({"measured_on": "cv", "differs": "skulls"}, "skulls"),
        ({"measured_on": "test"}, "published: a test set; here: out-of-fold predictions of training cases"),
        (
            {"measured_on": "cv", "set": "test", "differs": "skulls"},
            "published: out-of-fold predictions of training cases; here: the study's own test set; skulls",
        ),
        ({"measured_on": "test", "set": "given"}, "published: a test set; here: precomputed masks"),
        ({"measured_on": "test", "set": "other"}, "published: a test set; here: an external cohort"),
    ],
)
def test_another_kind_of_set_is_said_before_what_the_study_says(value: dict[str, Any], words: str | None) -> None:
    assert differing_words({**VALUE, **value}) == words
