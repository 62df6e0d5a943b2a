"""Show what the jobs of a finished study asked for and what they used, and write what to ask for at this site the next time.

``glioflow.workflow.efficiency`` says where the numbers are from. A job that went on after a kill, or found its cases finished,
shows what it did last.

Inputs:  none: the records and benchmarks of the results folder are read.
Outputs: none; ``table`` has a row for each rule, ``site`` is a file for $GLIOFLOW_RESOURCES.
Params:  ``results`` (the results folder), ``table`` (efficiency.csv), ``site`` (resources.yaml).
"""

from pathlib import Path
from typing import Any

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import write_table, write_text
from glioflow.workflow.efficiency import efficiency_table, read_jobs, site_file
from glioflow.workflow.resource_costs import read_costs

HEADINGS = ("jobs", "minutes asked", "used", "next", "GB asked", "used", "next", "cores asked", "used", "GPUs asked")
SHOWN = (
    "jobs", "asked_minutes", "used_minutes", "next_minutes", "asked_mb", "used_mb", "next_mb", "asked_cores", "used_cores",
    "asked_gpus",
)  # fmt: skip


def lines_of(rows: list[dict[Any, Any]]) -> list[str]:
    """Return the table for the terminal: of each rule the most that a job asked for and used, and what to ask for next."""
    widths = [max(len(heading), 5) + 2 for heading in HEADINGS]

    def line(first: str, cells: list[str]) -> str:
        return f"{first:22}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))

    return [line("", list(HEADINGS)), *(line(row["rule"], [_cell(name, row[name]) for name in SHOWN]) for row in rows)]


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:
        return "-"
    if name.endswith("_mb"):
        return f"{value / 1000:.1f}"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def main(snakemake: Any, console: Console) -> str:
    """Write both files and show the table. Raises ``UserError`` where no job's times are there."""
    results, costs = Path(snakemake.params.results), read_costs()
    jobs = read_jobs(results)
    if not jobs:
        raise UserError(f"{results}: holds no finished job whose time was noted (benchmarks/); run the study first")
    table = efficiency_table(jobs, costs)
    write_table(snakemake.params.table, table)
    write_text(snakemake.params.site, site_file(jobs, costs, table))
    for line in lines_of(table.astype(object).where(table.notna(), None).to_dict("records")):
        console.say(line)
    found = f"{count(len(jobs), 'job')} of {count(len(table), 'rule')}"
    return f"{found}; for the next run: export GLIOFLOW_RESOURCES={snakemake.params.site}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
