"""Where a cohort's files lie: patterns of a data set, or a table of the user's, read without opening an image.

Both the planning of the workflow and ``convert_cohort`` look here, so this module imports nothing heavy.
"""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from glioflow.config import AnyCohort, Channel, PhantomCohort, TableCohort, cohort_layout, expand_path
from glioflow.console import UserError
from glioflow.files import key_of

CHANNELS = get_args(Channel)
ROLES = (*CHANNELS, "label")


def existing(path: Path) -> Path:
    """Return ``path`` or, where only the other form of NIfTI is there, that one (.nii for .nii.gz and the reverse)."""
    if path.exists():
        return path
    other = path.with_suffix("") if path.name.endswith(".nii.gz") else path.with_name(path.name + ".gz")
    return other if other.exists() and other.name.endswith((".nii", ".nii.gz")) else path


def find_case_ids(folder: Path, pattern: str) -> set[str]:
    """Return the case ids for which a file below ``folder`` matches ``pattern``."""
    stem = pattern.removesuffix(".gz")
    whole = re.escape(stem).replace(re.escape("{case}"), "(?P<case>[^/]+)", 1).replace(re.escape("{case}"), "(?P=case)")
    expression = re.compile(whole + r"(?:\.gz)?")
    matches = (
        expression.fullmatch(path.relative_to(folder).as_posix()) for path in folder.glob(stem.replace("{case}", "*") + "*")
    )
    return {match["case"] for match in matches if match}


def find_cases(folder: Path, files: Mapping[str, str], patient_id: str) -> list[dict[str, str]]:
    """Return one row a case found below ``folder``, sorted: case_id, patient_id and the path of each role in ``files``.

    A case is found when any one of its files is; a role whose file is missing keeps the path where it should be.
    """
    case_ids = sorted(set().union(*(find_case_ids(folder, pattern) for pattern in files.values())))
    rows = []
    for case in case_ids:
        match = re.search(patient_id, case)
        paths = {role: existing(folder / files[role].replace("{case}", case)).as_posix() for role in ROLES if role in files}
        rows.append({"case_id": case, "patient_id": match[1] if match else case, **paths})
    return rows


def read_case_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a user's table: file paths made relative to the table's folder, patient_id filled from case_id.

    Raises UserError where the table cannot be read or lacks a column that it needs.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            columns = [column.strip() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a CSV table in UTF-8 ({error})") from None
    if missing := [column for column in ("case_id", "label") if column not in columns]:
        raise UserError(f"{path}: has no column {', '.join(missing)}; found {', '.join(columns) or 'an empty file'}")
    if not set(columns) & set(CHANNELS):
        raise UserError(f"{path}: has no channel column; at least one of {', '.join(CHANNELS)} is needed")
    for row in rows:
        row["patient_id"] = row.get("patient_id") or row["case_id"]
        row.update({role: (path.parent / row[role]).as_posix() for role in ROLES if row.get(role)})
    return rows


def list_cases(cohort: AnyCohort, phantoms: Path) -> list[dict[str, str]]:
    """Return the cases of a cohort as its source shows them; ``phantoms`` is the folder of those the workflow makes."""
    if isinstance(cohort, TableCohort):
        return read_case_table(Path(expand_path(cohort.table)))
    layout = cohort_layout(cohort)
    folder = phantoms if isinstance(cohort, PhantomCohort) else Path(expand_path(cohort.path))
    return find_cases(folder, layout["files"], layout["patient_id"])


def source_stamp(cases: list[dict[str, str]]) -> str:
    """Return a fingerprint of a cohort's files by path, size and time of change: it differs when a look at them is due."""
    stamps: list[Any] = []
    for case in cases:
        for role in ROLES:
            path = Path(case.get(role) or "")
            stat = path.stat() if case.get(role) and path.exists() else None
            stamps.append(
                [case["case_id"], case["patient_id"], role, str(path), *((stat.st_size, stat.st_mtime_ns) if stat else ())]
            )
    return key_of({"files": stamps})
