"""The summary names the label schemes and every warning; cases that are not ranked, and sets that are not scored, are told."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_write_report import CONFIG, EXTERNAL, Page, Workspace, given_study

from glioflow.cohorts.problems import PROBLEM_COLUMNS, problem_row
from glioflow.files import write_table


def warnings_of(page: Page) -> str:
    """Return the text of the summary's warnings, or nothing where it has none."""
    summary = " ".join(page.text.split("In short")[-1].split("What goes along with failing")[0].split())
    return summary.partition("Warnings")[2]


def put(workspace: Workspace, path: str, *rows: dict[str, str]) -> None:
    write_table(workspace.root / path, pd.DataFrame(rows, columns=PROBLEM_COLUMNS))


def test_the_label_schemes_in_use_are_named_in_the_summary(tmp_path: Path) -> None:
    study = given_study(tmp_path)
    study["models"]["theirs"]["label_scheme"] = "brats2021"
    page = Workspace(tmp_path, study).page()
    rows = [[cell.replace("\u00a0", " ") for cell in row] for row in page.table("Label schemes")[1:]]
    assert rows == [
        ["truth", "demo", "canonical", "1 = NCR, 2 = ED, 3 = ET, 4 = RC"],
        ["masks", "theirs", "brats2021", "1 = NCR, 2 = ED, 4 = ET"],
    ]
    assert warnings_of(page) == ""


def test_warnings_of_masks_and_of_scores_are_in_the_summary_and_beside_the_scores(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, given_study(tmp_path))
    said = {
        name: problem_row("", "", "label_scheme", f"the {name} may be wrong", "right ones", "warning")
        for name in ("masks", "truth")
    }
    put(workspace, "predictions/theirs/given/warnings.csv", said["masks"])
    put(workspace, "scores/theirs/given_warnings.csv", said["truth"])
    page = workspace.page()
    for text in ("The masks may be wrong.", "The truth may be wrong."):
        assert text in warnings_of(page)
        assert page.text.count(f"Warning: {text}") == 1
    assert "#scores-theirs-given" in page.attributes("href")


def test_warnings_of_a_cohort_are_counted_by_kind_and_told_where_they_are_about_all_of_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    empty = [problem_row(case, "seg.nii.gz", "empty_label", "no voxel", "a tumour", "warning") for case in ("a", "b", "b")]
    visits = problem_row("", "", "visit_ids", "2 cases under ids, P1_v1, P1_v2", "one patient_id", "warning")
    many = [problem_row("", "", "near_ids", f"the patients {n}", "one", "warning") for n in range(7)]
    put(workspace, "cohorts/demo/verification.csv", *empty, visits, *many, problem_row("a", "", "two_files", "x", "y"))
    said = warnings_of(workspace.page())
    assert "demo: A truth mask is empty: the case shows no tumour. In 2 cases." in said
    assert "they may be one patient in several sets or folds. Found 2 cases under ids, P1_v1, P1_v2." in said
    assert "Found the patients 4. There are 2 more." in said
    assert "two files" not in said  # an error, which stops a study


@pytest.mark.parametrize("penalised", ["apart", "include"])
def test_cases_without_a_mask_are_listed_apart_and_counted(tmp_path: Path, penalised: str) -> None:
    workspace = Workspace(tmp_path, {**CONFIG, "failure": {"extremes": 3, "region": "ET", "penalised": penalised}})
    page = workspace.page()
    text = " ".join(page.text.replace("\u00a0", " ").split())
    cases = list(workspace.table("failure", "net", "cv", "apart.csv")["case_id"])
    rows = page.table("Cases of net · cv that are not ranked")[1:]
    assert [row[0] for row in rows] == cases
    named = {row[0]: row[2] for row in rows}
    if penalised == "apart":
        assert f"2 cases are set apart, since truth or prediction have no ET: {' and '.join(cases)}." in text
        assert sorted(named.values()) == ["absent in truth and prediction", "penalty: absent in prediction"]
        assert "those whose truth or prediction lacks it apart" in text
    else:
        assert f"1 case is not ranked, since the Hausdorff distance is undefined: {cases[0]}." in text
        assert "set apart" not in text


def test_a_study_whose_cases_are_all_ranked_says_nothing_of_others(tmp_path: Path) -> None:
    page = Workspace(tmp_path).page()
    assert "Not ranked" not in page.text and "set apart" not in page.text


def test_an_analysis_that_is_turned_off_is_said_to_be(tmp_path: Path) -> None:
    config: dict[str, Any] = {**CONFIG, "failure": False, "evaluation": {"regions": ["TC", "ET"]}}
    page = Workspace(tmp_path, config).page()
    assert "The failure analysis is turned off (failure: off)." in page.text
    assert "worst cases in TC under each convention" in " ".join(page.text.split())


def test_a_cohort_without_truth_is_said_to_be_predicted_and_not_scored(tmp_path: Path) -> None:
    cohort = {"dataset": "brats2021", "path": str(tmp_path), "external": True, "labelled": False}
    workspace = Workspace(tmp_path, {**EXTERNAL, "cohorts": {**CONFIG["cohorts"], "other": cohort}})
    volumes = [f"volume_{region}_ml" for region in ("WT", "TC", "ET", "ED", "NCR", "RC")]
    workspace.edit(lambda table: table.assign(**dict.fromkeys(volumes)), "cohorts", "other", "manifest.csv")
    predictions = pd.DataFrame({"case_id": ["a", "b"], "patient_id": ["a", "b"], "prediction": ["a.nii.gz", "b.nii.gz"]})
    write_table(workspace.root / "predictions/net/other/predictions.csv", predictions)
    page = workspace.page()
    assert "The cohort other has no truth: net predicted its 2 cases, and nothing of it was scored" in page.text
    assert "the masks are in predictions/net/other/." in " ".join(page.text.split())
    assert [row[1] for row in page.table("Label schemes")[1:]] == ["demo"]
    assert "This cohort has no truth: nothing of it is scored." in page.text
    assert not any("net · other" in caption for caption in page.tables)
