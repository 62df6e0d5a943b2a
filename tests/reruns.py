"""docs/reruns.md as what tests expect: ``promised`` gives the jobs that its tables name for a change."""

import re
from functools import cache

from workflows import REPO


@cache
def tables() -> dict[str, dict[str, set[str]]]:
    """Return, by heading, the rows of the page's tables: change to the rules that are planned."""
    found: dict[str, dict[str, set[str]]] = {}
    heading = ""
    for line in (REPO / "docs/reruns.md").read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] not in ("change", "---"):
            planned = set(re.findall(r"`(\w+)`", cells[1]))
            assert planned or cells[1] == "nothing", line
            assert cells[0] not in found.setdefault(heading, {}), line
            found[heading][cells[0]] = planned
    return found


def promised(heading: str, change: str) -> set[str]:
    """Return the rules that a row of the page says are planned."""
    return tables()[heading][change]
