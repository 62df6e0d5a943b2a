"""Let a verified cohort pass, and divide it into training and test cases and folds.

Inputs: ``manifest`` (manifest.csv), ``verification`` (verification.csv), ``comparison`` (comparison.csv: problems with the
cohorts that it is predicted from). Params: ``split`` (how to divide: the fields of ``glioflow.cohorts.splits.SplitPlan``).
Output: ``split.csv``. A cohort with an error in either table stops here, before anything is trained, with every problem
listed. A split that was read from a complete split.csv is written byte for byte as it was.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.cohorts.covariate_folds import value_column
from glioflow.cohorts.covariate_values import read_covariates
from glioflow.cohorts.manifests import read_manifest
from glioflow.cohorts.splits import SplitPlan, fold_column, split_cases
from glioflow.console import Console, UserError, count, run_script
from glioflow.files import read_table, read_text_table, replacing, write_table
from glioflow.user_tables import read_user_table

SHOWN_PROBLEMS = 40


def refuse_errors(problems: Mapping[str, pd.DataFrame], cohort: str) -> None:
    """Raise UserError listing the errors of the tables of problems (by path), if there are any."""
    errors = pd.concat([table[table["severity"] == "error"] for table in problems.values()])
    if errors.empty:
        return
    cases = errors["case_id"].dropna().nunique()
    lines = [f"  - {message}" for message in errors["message"].head(SHOWN_PROBLEMS)]
    if len(errors) > SHOWN_PROBLEMS:
        lines.append(f"  … and {len(errors) - SHOWN_PROBLEMS} more")
    where = f" in {count(cases, 'case')}" if cases else ""
    head = f"the cohort {cohort!r} has {count(len(errors), 'problem')}{where}; nothing was trained"
    tables = " and ".join(path for path, table in problems.items() if (table["severity"] == "error").any())
    raise UserError("\n".join([head, *lines, f"The whole table: {tables}"]))


def is_complete(path: str | None, split: pd.DataFrame, folds: Iterable[int], folds_by: Iterable[str] = ()) -> bool:
    """Tell whether a split file is a split.csv that has everything the study needs, written as the workflow reads it.

    ``split``: what was read from it, with the patients of the manifest.
    """
    if path is None or path.endswith(".json"):
        return False
    try:
        table = read_text_table(path).fillna("")
    except ValueError:
        return False
    return (
        {"case_id", "patient_id", "set", *map(fold_column, folds), *map(value_column, folds_by)} <= set(table.columns)
        and table["patient_id"].tolist() == split["patient_id"].tolist()
        and table.to_dict("records") == read_user_table(Path(path)).rows
    )


def main(snakemake: Any, console: Console) -> str:
    """Write split.csv, or stop with every problem of the cohort."""
    tables = {path: read_table(path) for path in (snakemake.input.verification, snakemake.input.comparison)}
    refuse_errors(tables, snakemake.wildcards.cohort)
    plan = SplitPlan(**dict(snakemake.params.split))
    manifest = read_manifest(snakemake.input.manifest)
    texts = read_covariates(snakemake.input.manifest).loc[manifest["case_id"]]
    known = {name: texts[name].to_numpy() for name in plan.folds_by if name in texts}
    split = split_cases(manifest.assign(**known), plan)
    if plan.file and is_complete(plan.file, split, plan.folds, plan.folds_by):
        with replacing(snakemake.output[0]) as temporary:
            shutil.copyfile(Path(plan.file), temporary)
    else:
        write_table(snakemake.output[0], split)
    sizes = split["set"].value_counts()
    names = {"train": "training case", "test": "test case", "external": "external case"}
    said = [count(int(sizes[name]), words) for name, words in names.items() if name in sizes]
    return ", ".join([*said, count(split["patient_id"].nunique(), "patient")])


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
