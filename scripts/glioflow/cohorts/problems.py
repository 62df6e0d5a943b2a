"""What is wrong with a cohort: rows of verification.csv, each a sentence that its reader can act on."""

from collections.abc import Iterable, Sequence

from glioflow.console import count
from glioflow.user_tables import near_ids, offered_ids

PROBLEM_COLUMNS = ["case_id", "patient_id", "file", "severity", "problem", "found", "expected", "message"]

Problem = dict[str, str]
EXCLUDED = "excluded"  # severity, besides "error" and "warning": why a case is left out, as the cohort asks for


def problem_row(
    case_id: str, file: str, problem: str, found: str, expected: str, severity: str = "error", patient_id: str = ""
) -> Problem:
    """Return a row of verification.csv."""
    named = case_id if case_id.isprintable() else repr(case_id)
    where = ", ".join(part for part in (named, file) if part)
    message = f"{where}: found {found}; expected {expected}" if where else f"found {found}; expected {expected}"
    values = (case_id, patient_id, file, severity, problem, found, expected, message)
    return dict(zip(PROBLEM_COLUMNS, values, strict=True))


def format_problems(path: str, notes: Sequence[str]) -> list[Problem]:
    """Return what is unusual in how a table is written, as one warning."""
    expected = "UTF-8 with plain line ends and decimal points; it was read as if it were"
    return [problem_row("", path, "table_format", " and ".join(notes), expected, "warning")] if notes else []


def near_id_problems(path: str, lacking: Iterable[str], found: Iterable[str]) -> list[Problem]:
    """Return a warning where ids of a table nearly match ids that it lacks."""
    near = near_ids(lacking, found)
    said = f"{count(len(near), 'id')} that nearly match {'that' if len(near) == 1 else 'those'} of the cohort"
    expected = f"the cohort's ids{offered_ids(near)}; as they are, these rows belong to no case"
    return [problem_row("", path, "near_ids", said, expected, "warning")] if near else []


def orientation_unknown(case_id: str, path: str, patient_id: str) -> Problem:
    """Return the problem of an image whose header does not give where its axes point."""
    found = "a header that does not tell where the axes point (qform_code and sform_code 0)"
    expected = "a header that does; taken to point to the left, the back and the top (LPS), as nnU-Net's reader takes them"
    return problem_row(case_id, path, "orientation_unknown", found, expected, "warning", patient_id)
