"""Find every case of a cohort, under canonical names, whatever the data set's layout.

Inputs: the phantoms' truth table, for a cohort of phantoms only. Params: ``cohort`` (its configuration block), ``phantoms``
(folder of the phantoms' images). Output: ``cases.csv``, one row a case with case_id, patient_id, the path of each channel,
the path of the raw label and the covariates. A path stands in the table even where no file is there: ``verify_cohort`` says
so, with every other problem.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from glioflow.config import AnyCohort
from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_table
from glioflow.layouts import ROLES, list_cases


def case_table(rows: list[dict[str, str]]) -> pd.DataFrame:
    """Return the found cases as a table: identifiers, paths, then covariates; empty cells undefined."""
    columns = ["case_id", "patient_id", *(role for role in ROLES if any(role in row for row in rows))]
    covariates = dict.fromkeys(key for row in rows for key in row if key not in columns)
    return pd.DataFrame(rows, columns=[*columns, *covariates]).replace("", pd.NA)


def main(snakemake: Any, console: Console) -> str:
    """Write cases.csv."""
    cohort = TypeAdapter(AnyCohort).validate_python(snakemake.params.cohort)
    cases = case_table(list_cases(cohort, Path(snakemake.params.phantoms)))
    if snakemake.input:
        truth = read_table(snakemake.input[0])
        cases = cases.drop(columns="patient_id").merge(truth, on="case_id")
    write_table(snakemake.output[0], cases)
    return f"{count(len(cases), 'case')} of the data set {cohort.dataset}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
