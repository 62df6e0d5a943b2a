"""Read every file of the results of which a hash is recorded, and name what was changed after it was finished.

``glioflow.workflow.recorded_hashes`` says which files these are. A file that was cut off, damaged, replaced or edited by hand
is named, with what to delete so that the next run makes it anew; nothing is deleted here.

Inputs:  none: whatever is in the results folder is read.
Outputs: none; ``table`` lists what is not as it was: file, kind, found, delete. It has no row where all is well.
Params:  ``results`` (the results folder), ``table`` (verified.csv).
Threads: one file each.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.disk import amount
from glioflow.files import write_table
from glioflow.workflow.recorded_hashes import KINDS, Changed, Recorded, check_recorded, recorded_files, unrecorded_files

COLUMNS = ("file", "kind", "found", "delete")
GONE = "nothing: run again"
SHOWN = 20  # rows at the terminal; the table has all


def rows_of(changed: Sequence[Changed]) -> list[dict[str, str]]:
    """Return the rows of the table."""
    rows = []
    for each in changed:
        file, delete = str(each.recorded.file), each.recorded.delete
        delete = GONE if each.found == "gone" and delete == file else delete
        rows.append({"file": file, "kind": each.recorded.kind, "found": each.found, "delete": delete})
    return rows


def summary_lines(recorded: Sequence[Recorded], changed: Sequence[Changed]) -> list[str]:
    """Return a table for the terminal: of each kind of files how many were read, of how many bytes, and how many are other."""
    lines = [f"{'':30}{'files':>8}{'read':>12}{'changed':>9}"]
    for kind in KINDS:
        files = [each.file for each in recorded if each.kind == kind]
        if files:
            size = sum(file.stat().st_size for file in files if file.is_file())
            wrong = sum(each.recorded.kind == kind for each in changed)
            lines.append(f"{kind:30}{len(files):>8}{amount(size):>12}{wrong or '-':>9}")
    return lines


def told(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return what is wrong, for the terminal: two lines a file."""
    lines = [line for row in rows[:SHOWN] for line in (f"{row['file']}: {row['found']}", f"  delete {row['delete']}")]
    return [*lines, f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else lines


def main(snakemake: Any, console: Console) -> str:
    """Write the table. Raises ``UserError`` with what is not as it was."""
    results, table = Path(snakemake.params.results), Path(snakemake.params.table)
    recorded, damaged = recorded_files(results)
    if not recorded:
        raise UserError(f"{results}: holds no result with a recorded hash; run the study first")
    with ThreadPoolExecutor(snakemake.threads) as pool:
        found = list(console.track(pool.map(check_recorded, recorded), len(recorded), "files read"))
    changed = [each for each in found if each]
    rows = rows_of(changed)
    write_table(table, pd.DataFrame(rows, columns=list(COLUMNS)))
    for line in summary_lines(recorded, changed):
        console.say(line)
    without = [path for path in unrecorded_files(results, recorded) if path != table]
    console.note("\n".join(["files without a recorded hash:", *map(str, without)]))
    if rows or damaged:
        lines = [
            f"{count(len(rows), 'file')} of {len(recorded)} not as when they were finished ({table}):",
            *told(rows),
            *damaged,
        ]
        raise UserError("\n  ".join(lines))
    return f"{count(len(recorded), 'file')} as they were finished; {count(len(without), 'file')} without a recorded hash"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
