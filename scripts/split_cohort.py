"""Let a verified cohort pass, and draw its train/test split and folds.

Inputs: ``manifest.csv``, ``verification.csv``. Params: ``test_fraction``, ``seed``, ``folds`` (each number of folds that a
model of this cohort uses). Output: ``split.csv``. A cohort with an error in its verification table stops here, before
anything is trained, with every problem listed.
"""

from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import read_table, write_table
from glioflow.splits import split_cases

SHOWN_PROBLEMS = 40


def refuse_errors(verification: pd.DataFrame, cohort: str, table: str) -> None:
    """Raise UserError listing the errors of a verification table, if it has any."""
    errors = verification[verification["severity"] == "error"]
    if errors.empty:
        return
    cases = errors["case_id"].dropna().nunique()
    lines = [f"  - {message}" for message in errors["message"].head(SHOWN_PROBLEMS)]
    if len(errors) > SHOWN_PROBLEMS:
        lines.append(f"  … and {len(errors) - SHOWN_PROBLEMS} more")
    head = f"the cohort {cohort!r} has {count(len(errors), 'problem')} in {count(cases, 'case')}; nothing was trained"
    raise UserError("\n".join([head, *lines, f"The whole table: {table}"]))


def main(snakemake: Any, console: Console) -> str:
    """Write split.csv, or stop with every problem of the cohort."""
    params = snakemake.params
    refuse_errors(read_table(snakemake.input.verification), snakemake.wildcards.cohort, snakemake.input.verification)
    manifest = read_table(snakemake.input.manifest)
    split = split_cases(manifest, params.test_fraction, params.seed, params.folds)
    write_table(snakemake.output[0], split)
    sizes = split["set"].value_counts()
    return (
        f"{count(int(sizes.get('train', 0)), 'training case')}, {count(int(sizes.get('test', 0)), 'test case')}, "
        f"{count(split['patient_id'].nunique(), 'patient')}"
    )


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
