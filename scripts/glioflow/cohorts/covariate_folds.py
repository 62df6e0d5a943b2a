"""Folds by a covariate: each leaves out the training patients of one value, such as a site.

split.csv has a column ``fold_by_<covariate>`` with the value of each training case. A fold's number is the place of its value
among the sorted ones, from 0.
"""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from glioflow.cohorts.covariate_values import in_one_spelling, in_order
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import count
from glioflow.files import FOLD_VALUES
from glioflow.user_tables import alike

SHOWN_VALUES = 10


def value_column(covariate: str) -> str:
    """Return the name of the column of split.csv that holds the fold of each training case, by its value of ``covariate``."""
    return f"{FOLD_VALUES}{covariate}"


def value_columns(split: pd.DataFrame) -> dict[str, str]:
    """Return each covariate that a split has folds by, and its column."""
    return {name.removeprefix(FOLD_VALUES): name for name in map(str, split.columns) if name.startswith(FOLD_VALUES)}


def fold_values(split: pd.DataFrame, covariate: str) -> list[str]:
    """Return the value that each fold leaves out, in the order of the folds."""
    return in_order(set(split.loc[split["set"] == "train", value_column(covariate)].dropna()))


def with_values(split: pd.DataFrame, manifest: pd.DataFrame, covariate: str) -> pd.Series:
    """Return the column of the folds by a covariate: the value of each training case, of other cases none.

    ``manifest`` has the covariate as text. Numbers that are written in two ways, as 2 and 2.0, are one value.
    """
    values = in_one_spelling(manifest[covariate].astype("string").set_axis(manifest["case_id"].astype(str)))
    return split["case_id"].astype(str).map(values).where(split["set"] == "train").astype("string")


def check_values(split: pd.DataFrame, folds_by: Mapping[str, Sequence[int]]) -> list[Problem]:
    """Return why training cases cannot be divided by the covariates of ``folds_by`` into the numbers of folds given there."""
    return [problem for covariate, numbers in folds_by.items() for problem in _check_covariate(split, covariate, numbers)]


def _check_covariate(split: pd.DataFrame, covariate: str, numbers: Sequence[int]) -> Iterator[Problem]:
    training = split[split["set"] == "train"]
    values = training[value_column(covariate)]
    said = f"folds_by: {covariate}"

    def problem(found: str, expected: str, patient: str = "") -> Problem:
        return problem_row("", "", "folds_by", found, expected, patient_id=patient)

    if lacking := sorted(training.loc[values.isna(), "case_id"].astype(str)):
        shown = ", ".join(lacking[:SHOWN_VALUES]) + (" …" if len(lacking) > SHOWN_VALUES else "")
        found = f"no value of {covariate} in {count(len(lacking), 'training case')} ({shown})"
        yield problem(found, f"one in each, for {said}")
    for patient, of_patient in values.groupby(training["patient_id"].astype(str)):
        if of_patient.nunique() > 1:
            found = f"the patient {patient} in {' and '.join(in_order(set(of_patient.dropna())))}"
            yield problem(found, f"all cases of a patient in one {covariate}, for {said}", str(patient))
    patients = training.groupby(value_column(covariate))["patient_id"].nunique()
    for value in (value for value in fold_values(split, covariate) if patients[value] < 2):
        found = f"one training patient only whose {covariate} is {value}"
        yield problem(found, f"two or more of each value, for {said}; the set external of a split leaves a patient aside")
    for wrong in (number for number in numbers if number != len(patients)):
        listed = [f"{value}: {count(patients[value], 'patient')}" for value in fold_values(split, covariate)]
        shown = ", ".join(listed[:SHOWN_VALUES]) + (" …" if len(listed) > SHOWN_VALUES else "")
        found = f"{count(len(patients), 'value')} of {covariate} among the training cases ({shown}) for folds: {wrong}"
        fitting = f"folds: {len(patients)}" if len(patients) > 1 else "a covariate with two values or more"
        yield problem(found, f"{fitting}, as {said} makes a fold of each value")
    for names in alike(values.dropna().astype(str)).values():
        if len(names) > 1:
            found = f"the values {' and '.join(map(repr, names))} of {covariate}"
            expected = f"one spelling of a value, as {said} makes a fold of each; if they differ indeed, nothing is wrong"
            yield problem_row("", "", "near_values", found, expected, "warning")
