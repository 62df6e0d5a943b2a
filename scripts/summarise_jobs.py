"""Summarise the jobs that a study's results were made by: one row a rule, with run times, memory and what it reads.

Inputs:  everything that the report shows, listed for its order; the jobs are those that the records beside these files name.
Outputs: ``jobs.csv``: ``rule``, makers before readers; ``jobs``; ``seconds`` of all of them together and ``longest_seconds``;
         ``peak_memory_mb``, the largest of any (resident set, with its child processes); ``measured``, the jobs with a
         benchmark of Snakemake's; ``reads``, the rules whose outputs it reads, separated by spaces.
Params:  ``results`` (folder).

Times are those of each job's last run; without a benchmark they are those of its record, in whole seconds. A job that found its
cases in a cache took the time of looking. The epochs of a fold are never run again, so ``train_fold`` counts at least those.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import fsum
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.benchmarks import read_benchmark
from glioflow.bundle.steps import Step, collect_steps, present
from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_table

COLUMNS = ("rule", "jobs", "seconds", "longest_seconds", "peak_memory_mb", "measured", "reads")
CURVES = "curves.csv"  # of a fold: a row an epoch, with its seconds


@dataclass(frozen=True)
class Cost:
    """What a job took: seconds, and MB of memory, None where nobody measured it."""

    seconds: float
    memory_mb: float | None
    measured: bool


def cost_of(step: Step, results: Path) -> Cost:
    """Return what a job took when it ran last; a fold's, no less than its epochs took."""
    runs = [read_benchmark(file) for name in step.benchmarks if (file := present(name, results)).is_file()]
    if runs:
        memory = max((run.peak_mb for run in runs if run.peak_mb is not None), default=None)
        cost = Cost(fsum(run.seconds for run in runs), memory, measured=True)
    else:
        lasted = datetime.fromisoformat(step.ended) - datetime.fromisoformat(step.started)
        cost = Cost(lasted.total_seconds(), None, measured=False)
    curves = [file for name in step.outputs if name.endswith(f"/{CURVES}") and (file := present(name, results)).is_file()]
    trained = sum(float(read_table(file).get("seconds", pd.Series(dtype=float)).sum()) for file in curves)
    return Cost(max(cost.seconds, trained), cost.memory_mb, cost.measured)


def rules_read(steps: Iterable[Step]) -> dict[str, list[str]]:
    """Return each rule to those whose outputs its jobs read, makers before readers, else in the order of their first jobs.

    Jobs of one rule may come before and after another rule's, as those of training and test cases do.
    """
    known = list(steps)
    maker = {path: step.rule for step in known for path in step.outputs}
    read: dict[str, set[str]] = {step.rule: set() for step in known}
    for step in known:
        read[step.rule] |= {maker[path] for path in step.inputs if path in maker} - {step.rule}
    ordered: dict[str, list[str]] = {}
    while left := [rule for rule in read if rule not in ordered]:
        # Rules that read each other's outputs in a circle have no such order: the first of them comes first.
        rule = next((rule for rule in left if read[rule] <= ordered.keys()), left[0])
        ordered[rule] = [name for name in ordered if name in read[rule]]
    return ordered


def job_table(steps: Sequence[Step], costs: Mapping[str, Cost]) -> pd.DataFrame:
    """Return a row a rule; ``costs``: job to what it took."""
    rows = []
    for rule, read in rules_read(steps).items():
        spent = [costs[step.name] for step in steps if step.rule == rule]
        memory = [cost.memory_mb for cost in spent if cost.memory_mb is not None]
        seconds = [cost.seconds for cost in spent]
        told = (len(spent), fsum(seconds), max(seconds), max(memory, default=None), sum(cost.measured for cost in spent))
        rows.append((rule, *told, " ".join(read)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main(snakemake: Any, console: Console) -> str:
    """Summarise the jobs."""
    results = Path(snakemake.params.results)
    steps = collect_steps(results, [path for path in map(str, snakemake.input) if Path(path).is_relative_to(results)])
    table = job_table(steps, {step.name: cost_of(step, results) for step in steps})
    write_table(snakemake.output[0], table)
    return f"{count(len(steps), 'job')} of {count(len(table), 'rule')}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
