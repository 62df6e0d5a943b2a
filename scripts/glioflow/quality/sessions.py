"""The order of a patient's sessions: by a covariate that dates them, or else by their ids.

A covariate orders the sessions of a patient where each has a number (days, weeks, months), or each a date that begins with the
year (2021-03-05), and no two are alike. Other ways to write a date are not read: whether 05/03/2021 is in March or in May,
nobody can tell. In ids, numbers count as numbers: week-2 comes before week-10.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import pandas as pd

from glioflow.cohorts.covariates import is_number

DATE = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})([ T].*)?")
BY_ID = "case_id"
DAYS = "days"
COLUMNS = ("session", "sessions", "session_by", "session_time", "session_unit")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return what sorts ids with their numbers as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if place % 2 else (0, 0, part) for place, part in enumerate(parts)]


def session_time(text: Any) -> tuple[str, float] | None:
    """Return a session's time as ``("number", value)`` or ``("date", days)``; None where it is neither."""
    if pd.isna(text):
        return None
    if is_number(str(text)):
        return "number", float(text)
    if found := DATE.fullmatch(str(text)):
        try:
            return "date", float(date(int(found[1]), int(found[3]), int(found[4])).toordinal())
        except ValueError:
            return None
    return None


def order_sessions(patients: Mapping[str, str], times: Mapping[str, Any] | None = None, name: str = "") -> pd.DataFrame:
    """Return the order of every case among its patient's, by case_id (``COLUMNS``).

    ``patients``: case id to patient id; ``times``: case id to the text of the covariate ``name``. ``session`` counts from 1 to
    ``sessions``, ``session_by`` is the covariate or ``case_id``. ``session_time`` is what has passed since the first in
    ``session_unit``: days between dates, else the covariate's own unit, told by its name. Both are empty where ids give the
    order.
    """
    cases: dict[str, list[str]] = {}
    for case in patients:
        cases.setdefault(patients[case], []).append(case)
    rows: dict[str, dict[str, Any]] = {}
    for own in cases.values():
        known = {case: session_time((times or {}).get(case)) for case in own}
        found = [time for time in known.values() if time is not None]
        timed = len(set(found)) == len(own) and len({kind for kind, _ in found}) == 1
        unit = None if not timed else DAYS if found[0][0] == "date" else name
        values = {case: time[1] for case, time in known.items() if time is not None} if timed else {}
        ordered = sorted(values, key=values.__getitem__) if timed else sorted(own, key=natural_key)
        for place, case in enumerate(ordered, start=1):
            since = values[case] - values[ordered[0]] if timed else float("nan")
            rows[case] = dict(zip(COLUMNS, (place, len(own), name if timed else BY_ID, since, unit), strict=True))
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))
