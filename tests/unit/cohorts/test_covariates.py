from pathlib import Path

import pandas as pd
import pytest

from glioflow.cohorts.covariates import add_covariates, column_name, covariate_columns, is_reserved, join_table
from glioflow.cohorts.layouts import FoundCase
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.lesions import DEFECTS
from glioflow.evaluation.scoring import Plan
from glioflow.study.configuration import FolderCohort
from glioflow.study.registry import CovariateTable

CASES = [FoundCase("p1_a", "p1", {}), FoundCase("p1_b", "p1", {}), FoundCase("p2_a", "p2", {}, {"site": "x"})]


def cohort(**keys) -> FolderCohort:
    return FolderCohort(dataset="folders", path=".", files={"t1": "{case}.nii"}, label_scheme="canonical", **keys)


def test_a_row_belongs_to_the_case_or_else_to_the_patient(tmp_path):
    (tmp_path / "c.csv").write_text("case_id;Age at Scan;sex\np1;60;F\np1_b;61;F\n")
    joined, known, problems = join_table(CASES, tmp_path / "c.csv", CovariateTable(file="c.csv", case_id="case_id"))
    assert [case.covariates for case in joined] == [
        {"age_at_scan": "60", "sex": "F"},
        {"age_at_scan": "61", "sex": "F"},
        {"site": "x"},
    ]
    assert known == {"p1_a", "p1_b"}
    assert problems == []


def test_two_rows_for_one_id_and_a_table_without_ids_are_errors(tmp_path):
    (tmp_path / "c.csv").write_text("patient_id,sex\np1,F\np1,M\n")
    _, problems = add_covariates(CASES, cohort(covariates=str(tmp_path / "c.csv")), tmp_path)
    assert [(p["case_id"], p["problem"], p["severity"]) for p in problems] == [("p1", "covariate_table", "error")]
    (tmp_path / "c.csv").write_text("name,sex\np1,F\n")
    _, problems = add_covariates(CASES, cohort(covariates=str(tmp_path / "c.csv")), tmp_path)
    assert [(p["found"], p["severity"]) for p in problems] == [("the columns name, sex", "error")]


def test_text_in_a_column_of_numbers_counts_as_unknown_and_is_told(tmp_path):
    (tmp_path / "c.csv").write_text("ID,Survival\np1_a,ALIVE (361 days later)\np1_b,212\n")
    table = CovariateTable(file="c.csv", case_id="ID", columns={"Survival": "survival_days"}, numbers=["survival_days"])
    joined, _, problems = join_table(CASES, tmp_path / "c.csv", table)
    assert [case.covariates.get("survival_days") for case in joined] == [None, "212", None]
    assert problems[0]["found"] == "no number in 1 cell (survival_days: ALIVE (361 days later))"


def test_the_columns_of_a_case_table_are_tidied_too():
    cases = [FoundCase("a", "a", {}, {"Age (years)": " 61 ", "Grade": "NA"})]
    assert add_covariates(cases, cohort(), Path())[0][0].covariates == {"age_years": "61"}


def test_columns_are_renamed_and_codes_are_spelt_out(tmp_path):
    table = CovariateTable(file="c.csv", case_id=["ID"], columns={"G": "sex"}, values={"sex": {"1": "female", "2": "male"}})
    (tmp_path / "c.csv").write_text("ID,G\np1_a,2\np2,3\n")
    joined, _, _ = join_table(CASES, tmp_path / "c.csv", table)
    assert joined[0].covariates == {"sex": "male"}
    assert joined[2].covariates == {"site": "x", "sex": "3"}  # a code that nobody explained stays


@pytest.mark.parametrize("unknown", ["", "NA", "n/a", "Not Available", "nan"])
def test_what_nobody_knows_is_no_value(tmp_path, unknown):
    (tmp_path / "c.csv").write_text(f"patient_id,grade\np2,{unknown}\n")
    cases, problems = add_covariates(CASES, cohort(covariates=str(tmp_path / "c.csv")), tmp_path)
    assert "grade" not in cases[2].covariates
    assert problems[0]["problem"] == "no_covariates"
    assert problems[0]["found"] == "no row for 2 of 3 cases (p1_a, p1_b)"
    assert problems[0]["severity"] == "warning"


def test_a_covariate_that_the_tables_have_already_is_an_error_and_left_out(tmp_path):
    (tmp_path / "c.csv").write_text("patient_id,dice,Volume_WT_ml,age\np1,1,2,3\np2,1,2,4\n")
    cases, problems = add_covariates(CASES, cohort(covariates=str(tmp_path / "c.csv")), tmp_path)
    assert [problem["problem"] for problem in problems] == ["covariate_name"]
    assert cases[0].covariates == {"volume_wt_ml": "2", "age": "3"}
    assert is_reserved("volume_WT_ml") and is_reserved("t1") and is_reserved("original_shape_x") and not is_reserved("age")


def test_names_become_snake_case():
    assert [column_name(text) for text in ("Extent_of_Resection", "KPS", "Age (years)", "SurvivalDays")] == [
        "extent_of_resection", "kps", "age_years", "survival_days",
    ]  # fmt: skip


def test_the_covariates_of_a_manifest_are_what_the_workflow_did_not_measure():
    columns = [
        "case_id",
        "patient_id",
        "t1",
        "label",
        "shape",
        "brain_ml",
        "t1_sha256",
        "t1_voxels",
        "volume_WT_ml",
        "age",
        "t1_te",
    ]
    assert covariate_columns(pd.DataFrame(columns=columns)) == ["age", "t1_te"]


def test_no_covariate_takes_the_name_of_a_column_of_scores():
    for convention in conventions().values():
        plan = Plan(["WT"], convention, lesions=conventions()["brats2024_gli"].lesions, defects=list(DEFECTS))
        assert [column for column in plan.columns if not is_reserved(column)] == []
