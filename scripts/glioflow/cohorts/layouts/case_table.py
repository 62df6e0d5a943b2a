"""Layout ``table``: any layout, by a CSV table with one row a case."""

import codecs
import csv
from pathlib import Path

from glioflow.cohorts.layouts.listing import FoundCase, Listing
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import UserError
from glioflow.study.registry import CHANNELS, ROLES, Dataset, patient_of

NAMED = ("case_id", "patient_id", *ROLES)


def find(table: Path, dataset: Dataset) -> Listing:
    """Return the rows of a user's table: paths made relative to the table's folder, patient_id filled from case_id.

    A byte order mark, Windows line ends, spaces around a cell and semicolons or tabs between cells are understood; the first
    two are told, for other tools stumble over them. Raises UserError where the table cannot be read or lacks a column.
    """
    cases = []
    for row in read_rows(table):
        files = {role: (table.parent / row[role]).as_posix() for role in ROLES if row.get(role)}
        covariates = {key: value for key, value in row.items() if key not in NAMED and value}
        patient_id = row.get("patient_id") or patient_of(row["case_id"], dataset.patient_id)
        cases.append(FoundCase(row["case_id"], patient_id, files, covariates))
    return Listing(cases, check_format(table))


def check_format(path: Path) -> list[Problem]:
    """Return what is unusual in how a table is written, as a warning."""
    content = path.read_bytes()
    found = [
        *(["a byte order mark"] if content.startswith(codecs.BOM_UTF8) else []),
        *(["Windows line ends"] if b"\r\n" in content else []),
    ]
    expected = "UTF-8 with plain line ends; it was read as if it were"
    return [problem_row("", path.as_posix(), "table_format", " and ".join(found), expected, "warning")] if found else []


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a case table as text, stripped. Raises UserError."""
    rows = read_text_table(path)
    columns = list(rows[0]) if rows else header_of(path)
    if missing := [column for column in ("case_id", "label") if column not in columns]:
        raise UserError(f"{path}: has no column {', '.join(missing)}; found {', '.join(columns) or 'an empty file'}")
    if not set(columns) & set(CHANNELS):
        raise UserError(f"{path}: has no channel column; at least one of {', '.join(CHANNELS)} is needed")
    return rows


def separator_of(line: str) -> str:
    """Return what divides the cells of a table, seen in its first line: a comma, else a semicolon or a tab."""
    return max((",", ";", "\t"), key=line.count)


def header_of(path: Path) -> list[str]:
    """Return the column names of a table."""
    line = (path.read_text(encoding="utf-8-sig").splitlines() or [""])[0]
    return [name.strip() for name in next(csv.reader([line], delimiter=separator_of(line)), []) if name.strip()]


def read_text_table(path: Path, separator: str | None = None) -> list[dict[str, str]]:
    """Return the rows of any CSV table in UTF-8 as text, every cell stripped. Raises UserError where it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=separator or separator_of(first), skipinitialspace=True)
            reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
            return [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a CSV table in UTF-8 ({error})") from None
