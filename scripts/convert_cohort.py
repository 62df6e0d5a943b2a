"""Find every case of a cohort, under canonical names, whatever the data set's layout.

Inputs: the phantoms' truth table, for a cohort of phantoms; ``fetched.json``, for a data set that is fetched; else none.
Outputs: ``cases`` (cases.csv: one row a case with case_id, patient_id, the path of each channel, the path of the raw label and
the covariates) and ``conversion`` (conversion.csv: what is wrong so far, with the columns of verification.csv). Params:
``cohort`` (its configuration block), ``folder`` (where its files are), ``converted`` (folder for images that must be
rewritten), ``cache``, ``reread`` (whether what is in the cache is converted again).

A NIfTI image is used where it is. Images in another form, or off the grid that the configuration asks for, are written once
into ``converted``. A path is in the table even where no file is: ``verify_cohort`` reports it with every other problem.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from glioflow.case_cache import CaseCache
from glioflow.cohorts.conversion import convert_cases
from glioflow.cohorts.covariate_values import mixed_numbers
from glioflow.cohorts.covariates import add_covariates
from glioflow.cohorts.layouts import FoundCase, list_cohort
from glioflow.cohorts.manifests import write_manifest
from glioflow.cohorts.problems import PROBLEM_COLUMNS
from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_table
from glioflow.study.configuration import AnyCohort, cohort_dataset
from glioflow.study.registry import ROLES

# What was planted and what came of it; the rest of the truth is measured again in the images, or shows nothing of a case.
PHANTOM_COVARIATES = (
    *("planted", "strength", "multifocal", "has_et", "flair_contrast", "rim_contrast", "noise_sd", "tumour_radius_mm"),
    "flair_tumour_to_brain",
)


def case_table(cases: list[FoundCase]) -> pd.DataFrame:
    """Return the found cases as a table: identifiers, paths, then covariates; empty cells undefined."""
    rows = [case.row() for case in cases]
    columns = ["case_id", "patient_id", *(role for role in ROLES if any(role in row for row in rows))]
    covariates = dict.fromkeys(key for row in rows for key in row if key not in columns)
    return pd.DataFrame(rows, columns=[*columns, *covariates]).replace("", pd.NA)


def add_truth(cases: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return the cases of a cohort of phantoms with their patients, which only the truth knows, and what was planted."""
    known = truth[["case_id", "patient_id", *PHANTOM_COVARIATES]].assign(planted=truth["planted"].fillna("nothing"))
    return cases.drop(columns="patient_id").merge(known, on="case_id")


def main(snakemake: Any, console: Console) -> str:
    """Write cases.csv and conversion.csv."""
    params = snakemake.params
    cohort: AnyCohort = TypeAdapter(AnyCohort).validate_python(params.cohort)
    folder = Path(params.folder)
    listing = list_cohort(cohort, folder)
    found, unmatched = add_covariates(listing.cases, cohort, folder)
    converted, wrong, written = convert_cases(
        found, cohort, Path(params.converted), CaseCache(params.cache), snakemake.threads, console, bool(params.reread)
    )
    cases = case_table(converted)
    if "truth" in snakemake.input.keys():  # noqa: SIM118 - Snakemake's list of inputs
        cases = add_truth(cases, read_table(snakemake.input.truth))
    write_manifest(snakemake.output.cases, cases)
    problems = [*listing.problems, *unmatched, *mixed_numbers(found), *wrong]
    for problem in problems:
        if problem["problem"] == "table_format":
            console.note(problem["message"])
    write_table(snakemake.output.conversion, pd.DataFrame(problems, columns=PROBLEM_COLUMNS))
    names = f"{count(len(cases), 'case')} of {cohort_dataset(cohort).title}"
    return f"{names}, {written} converted now" if written else names


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
