"""Layout ``table``: any layout, by a CSV table with one row a case."""

import codecs
from pathlib import Path

from glioflow.cohorts.layouts.listing import FoundCase, Listing
from glioflow.cohorts.problems import Problem, format_problems
from glioflow.console import UserError
from glioflow.study.registry import CHANNELS, ROLES, Dataset, patient_of
from glioflow.user_tables import UNKNOWN, UserTable, read_user_table

NAMED = ("case_id", "patient_id", *ROLES)


def find(table: Path, dataset: Dataset) -> Listing:
    """Return the rows of a user's table: paths made relative to the table's folder, patient_id filled from case_id.

    Raises UserError where the table cannot be read, lacks a column or has no id in a row.
    """
    read = read_user_table(table)
    _check_columns(table, read)
    cases = []
    for row in read.rows:
        files = {role: (table.parent / row[role]).as_posix() for role in ROLES if row.get(role, "").lower() not in UNKNOWN}
        covariates = {key: value for key, value in row.items() if key not in NAMED and value}
        patient_id = row.get("patient_id") or patient_of(row["case_id"], dataset)
        cases.append(FoundCase(row["case_id"], patient_id, files, covariates))
    return Listing(cases, check_format(table, read.notes))


def check_format(path: Path, notes: list[str]) -> list[Problem]:
    """Return what is unusual in how a table is written, as a warning: other tools stumble over it."""
    content = path.read_bytes()
    found = [
        *(["a byte order mark"] if content.startswith(codecs.BOM_UTF8) else []),
        *(["Windows line ends"] if b"\r\n" in content else []),
    ]
    return format_problems(path.as_posix(), [*found, *notes])


def _check_columns(path: Path, table: UserTable) -> None:
    """Raise UserError where a case table lacks a column, or ids are what a spreadsheet left in their place."""
    if missing := [column for column in ("case_id", "label") if column not in table.columns]:
        found = ", ".join(table.columns) or "an empty file"
        raise UserError(f"{path}: has no column {', '.join(missing)}; found {found}")
    if not set(table.columns) & set(CHANNELS):
        raise UserError(f"{path}: has no channel column; at least one of {', '.join(CHANNELS)} is needed")
    for column in ("case_id", "patient_id"):
        if left := table.leftovers(column):
            raise UserError(f"{path}: the column {column} holds {left[0]!r}, which is no id; write the right one")
