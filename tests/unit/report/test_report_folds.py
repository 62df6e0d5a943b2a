"""The page says how a cohort was divided, and which fold leaves out which value of a covariate."""

from pathlib import Path
from typing import Any

import pytest
from test_write_report import CONFIG, Workspace

from glioflow.report.cohorts import split_words

SPEC: dict[str, Any] = {"seed": 3, "test_fraction": 0.0}


def test_folds_by_a_covariate_are_called_by_its_values(tmp_path: Path) -> None:
    net = {**CONFIG["models"]["net"], "folds_by": "site"}
    workspace = Workspace(tmp_path / "results", {**CONFIG, "models": {"net": net}})
    split = workspace.table("cohorts", "demo", "split.csv")
    training = split.loc[split["set"] == "train", "case_id"].tolist()
    site = {case: "10" if number < 4 else "09" for number, case in enumerate(training)}
    workspace.edit(lambda t: t.assign(fold_by_site=t["case_id"].map(site)), "cohorts", "demo", "split.csv")
    page = workspace.page()
    assert [row[0] for row in page.table("The folds of net")[1:]] == ["0 (09)", "1 (10)"]
    rows = {row[0]: row[1:] for row in page.table("How demo is split")[1:]}
    assert rows["fold 0 by site: 09 (validation)"] == ["5", "5"]
    assert rows["fold 1 by site: 10 (validation)"] == ["4", "4"]
    assert "Folds by site are the values of that covariate" in page.text
    assert "2 folds by site of 3 epochs" in page.text


def test_drawn_folds_are_called_by_their_numbers(tmp_path: Path) -> None:
    page = Workspace(tmp_path / "results").page()
    assert [row[0] for row in page.table("The folds of net")[1:]] == ["0", "1"]
    assert "are the values of that covariate" not in page.text


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"test_size": 72}, "72 patients held out; test set and folds drawn by patient"),
        (
            {"test_size": 72, "train_size": 286},
            "72 patients held out; 286 patients for training, the others left aside; test set, training set and folds drawn",
        ),
        ({"train_size": 2}, "none held out; 2 patients for training, the others left aside; training set and folds drawn"),
    ],
)
def test_how_many_patients_were_drawn_is_said(spec: dict[str, Any], words: str) -> None:
    assert split_words({**SPEC, **spec}).startswith(words)
