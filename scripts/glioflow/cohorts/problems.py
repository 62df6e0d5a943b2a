"""What is wrong with a cohort: rows of verification.csv, each a sentence that its reader can act on."""

PROBLEM_COLUMNS = ["case_id", "patient_id", "file", "severity", "problem", "found", "expected", "message"]

Problem = dict[str, str]


def problem_row(
    case_id: str, file: str, problem: str, found: str, expected: str, severity: str = "error", patient_id: str = ""
) -> Problem:
    """Return a row of verification.csv."""
    where = ", ".join(part for part in (case_id, file) if part)
    message = f"{where}: found {found}; expected {expected}" if where else f"found {found}; expected {expected}"
    values = (case_id, patient_id, file, severity, problem, found, expected, message)
    return dict(zip(PROBLEM_COLUMNS, values, strict=True))
