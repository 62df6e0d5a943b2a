from pathlib import Path

import pandas as pd
import pytest

from glioflow.cohorts.covariate_values import mixed_numbers
from glioflow.cohorts.covariates import add_covariates, covariate_columns, is_reserved, join_table
from glioflow.cohorts.layouts import FoundCase
from glioflow.cohorts.layouts.case_table import find
from glioflow.console import UserError
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.lesions import DEFECTS
from glioflow.evaluation.scoring import Plan
from glioflow.study.configuration import FolderCohort
from glioflow.study.registry import CovariateTable, datasets
from glioflow.user_tables import column_name

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


def test_a_row_of_another_length_stops_the_study(tmp_path):
    (tmp_path / "c.csv").write_text("case_id,diagnosis,grade\np1_a,Anaplastic astrocytoma, IDH-mutant,3\np1_b,3\np2_a,GBM,4\n")
    with pytest.raises(UserError, match=r"line 2 has 4 fields, line 3 has 2 fields, where the header \(line 1\) has 3"):
        add_covariates(CASES, cohort(covariates=str(tmp_path / "c.csv")), tmp_path)


def test_two_columns_that_become_one_covariate_stop_the_study(tmp_path):
    (tmp_path / "c.csv").write_text("ID,Age,Age_years\np1_a,60,61\n")
    with pytest.raises(UserError, match=r"'Age' and 'Age_years' are both age_years"):
        join_table(CASES, tmp_path / "c.csv", CovariateTable(file="c.csv", case_id="ID", columns={"Age": "age_years"}))


def test_decimal_commas_are_numbers_and_are_told(tmp_path):
    (tmp_path / "c.csv").write_text("case_id;age\np1_a;60,5\np1_b;61\np2_a;59,25\n")
    cases, problems = add_covariates(CASES, cohort(covariates=str(tmp_path / "c.csv")), tmp_path)
    assert [case.covariates["age"] for case in cases] == ["60.5", "61", "59.25"]
    assert [(p["problem"], p["severity"]) for p in problems] == [("table_format", "warning")]
    assert "decimal commas in the column age (60,5 is read as 60.5)" in problems[0]["message"]


def test_ids_that_nearly_match_are_offered_and_not_taken(tmp_path):
    (tmp_path / "c.csv").write_text("case_id,age\nP1-a,60\np1_b,61\nother,62\n")
    cases, problems = add_covariates(CASES, cohort(covariates=str(tmp_path / "c.csv")), tmp_path)
    assert [case.covariates.get("age") for case in cases] == [None, "61", None]
    assert [p["problem"] for p in problems] == ["near_ids", "no_covariates"]
    assert "(write 'p1_a' for 'P1-a')" in problems[0]["message"]


def test_patients_of_a_table_of_covariates_are_not_taken_and_a_difference_is_told(tmp_path):
    (tmp_path / "c.csv").write_text("case_id,patient_id,age\np1_a,p1,60\np1_b,p9,61\np2_a,,62\n")
    cases, problems = add_covariates(CASES, cohort(covariates=str(tmp_path / "c.csv")), tmp_path)
    assert [case.patient_id for case in cases] == ["p1", "p1", "p2"]
    assert [(p["problem"], p["severity"]) for p in problems] == [("other_patient", "warning")]
    assert "other patients than the cohort's in 1 row: p9 for p1 (case p1_b)" in problems[0]["found"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["61", "70.5", "55", ">89"], "age, a number in 3 of 4 cases, another text in c3: '>89'"),
        (["61", "70,5", "55", "48"], "age, a number in 3 of 4 cases, another text in c1: '70,5'"),
        (["61,5", "70,5", "1,234.5", "4,8"], "age, a number in 0 of 4 cases, another text in c0: '61,5'; c1: '70,5'; c2"),
        (["61", "2021-03-02", "55", "48"], "another text in c1: '2021-03-02'"),
    ],
)
def test_a_number_that_some_cases_write_otherwise_is_told(values, words):
    cases = [FoundCase(f"c{number}", "p", {}, {"age": text}) for number, text in enumerate(values)]
    (problem,) = mixed_numbers(cases)
    assert (problem["problem"], problem["severity"]) == ("mixed_numbers", "warning")
    assert words in problem["found"] and "each value counts as a category" in problem["expected"]


@pytest.mark.parametrize("values", [["1", "2", "3", "4"], ["1", "2", "2", "NOS"], ["a", "b", "3", "4"], ["IV", "III", "2"]])
def test_numbers_alone_and_categories_are_nothing_to_tell(values):
    assert mixed_numbers([FoundCase(f"c{number}", "p", {}, {"x": text}) for number, text in enumerate(values)]) == []


def test_line_ends_inside_a_cell_become_spaces():
    (case,) = add_covariates([FoundCase("a", "a", {}, {"Tumour site": "left\r\nfrontal"})], cohort(), Path())[0]
    assert case.covariates == {"tumour_site": "left frontal"}


def write_cases(folder: Path, rows: str) -> Path:
    (folder / "cases.csv").write_text(f"case_id,patient_id,t1,label,age\n{rows}")
    return folder / "cases.csv"


def test_a_case_table_with_a_row_of_another_length_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"line 2 has 4 fields, where the header \(line 1\) has 5"):
        find(write_cases(tmp_path, "a,a_t1.nii,a_seg.nii,60\n"), datasets()["phantom"])


def test_what_a_spreadsheet_left_is_no_file_and_no_id(tmp_path):
    (case,) = find(write_cases(tmp_path, "a,p,#N/A,a_seg.nii,NaN\n"), datasets()["phantom"]).cases
    assert list(case.files) == ["label"]
    assert add_covariates([case], cohort(), tmp_path)[0][0].covariates == {}
    for row in ("a,#N/A,a.nii,a_seg.nii,60\n", "nan,p,a.nii,a_seg.nii,60\n"):
        with pytest.raises(UserError, match=r"which is no id"):
            find(write_cases(tmp_path, row), datasets()["phantom"])


def test_ids_of_a_table_with_fewer_digits_than_the_files_are_filled_up(tmp_path):
    (tmp_path / "t.csv").write_text("ID,Age\nP-4,40\nP-005_FU016d,50\nP-1234,60\n")
    cases = [FoundCase(case, case.partition("_")[0], {}) for case in ("P-0004", "P-0005_FU016d", "P-1234")]
    joined, known, problems = join_table(cases, tmp_path / "t.csv", CovariateTable(file="t.csv", case_id="ID", id_digits=4))
    assert [case.covariates for case in joined] == [{"age": "40"}, {"age": "50"}, {"age": "60"}]
    assert known == {"P-0004", "P-0005_FU016d", "P-1234"} and problems == []
