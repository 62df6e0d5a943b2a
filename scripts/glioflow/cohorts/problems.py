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


def orientation_unknown(case_id: str, path: str, patient_id: str) -> Problem:
    """Return the problem of an image whose header does not tell where its axes point."""
    found = "a header that does not tell where the axes point (qform_code and sform_code 0)"
    expected = "a header that does; taken to point to the left, the back and the top (LPS), as nnU-Net's reader takes them"
    return problem_row(case_id, path, "orientation_unknown", found, expected, "warning", patient_id)
