"""What the jobs of a finished study asked for beside what they used, and what to ask for the next time.

What was asked for is in the records beside outputs (``glioflow.job_records``), what was used in ``benchmarks/``, where
Snakemake notes the time of a job and the memory of its processes, looked at every half second for 15 s, then every 30 s.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.benchmarks import Benchmark, benchmark_path, read_benchmark
from glioflow.files import read_json
from glioflow.workflow.recorded_hashes import present, read_records
from glioflow.workflow.resource_costs import Costs

COLUMNS = (
    "rule", "jobs", "cases", "asked_minutes", "used_minutes", "asked_mb", "used_mb", "asked_cores", "used_cores", "asked_gpus",
    "next_minutes", "next_mb",
)  # fmt: skip
MEMORY_MARGIN = 1.5  # a peak between two looks is not seen
TIME_MARGIN = 2.0  # of rules whose time is not reckoned from their cases
MEMORY_STEP_MB = 500
LEAST_MB = 1000
BESIDES_MINUTES = 10  # what a job takes besides its cases, on a file system that is busy


@dataclass
class Job:
    """A finished job: what it asked for, and what it used; None where that is not known. Memory in MB, times as named."""

    rule: str
    threads: int
    asked_mb: int | None
    asked_minutes: int | None
    asked_gpus: int
    seconds: float
    core_seconds: float | None
    peak_mb: float | None
    seconds_per_iteration: float | None = None
    cases: set[str] = field(default_factory=set)

    @property
    def seconds_per_case(self) -> float | None:
        """Seconds of one core that a case took, the job's start among them; None where the cases are not known."""
        return self.seconds * self.threads / len(self.cases) if self.cases else None


def read_jobs(results: Path) -> list[Job]:
    """Return the finished jobs of a results folder whose times were noted."""
    jobs: dict[str, Job] = {}
    for path, (record, output) in read_records(results):
        logs = record.get("job", {}).get("log", [])
        if "asked" not in record or not logs or not output.is_file():
            continue
        name = benchmark_path(str(logs[0][1])).rpartition("/benchmarks/")[2]
        if name not in jobs and (times := results / "benchmarks" / name).is_file():
            jobs[name] = _job(record, read_benchmark(times))
        if name in jobs:
            jobs[name].cases |= _cases(output)
            if output.match("fold_*/manifest.json"):
                jobs[name].seconds_per_iteration = _seconds_per_iteration(output, path, record, results)
    return list(jobs.values())


def _job(record: Mapping[str, Any], used: Benchmark) -> Job:
    asked = record["asked"]
    return Job(
        rule=record["job"]["rule"],
        threads=asked["threads"],
        asked_mb=asked.get("mem_mb"),
        asked_minutes=asked.get("runtime"),
        asked_gpus=asked.get("gpu", 0),
        seconds=used.seconds,
        core_seconds=used.core_seconds,
        peak_mb=used.peak_mb,
    )


def _cases(output: Path) -> set[str]:
    """Return the cases that a table has; none of what is no table of cases."""
    if output.suffix != ".csv":
        return set()
    with output.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream)
        return {row["case_id"] for row in rows} if "case_id" in (rows.fieldnames or ()) else set()


def _seconds_per_iteration(manifest: Path, record_file: Path, record: Mapping[str, Any], results: Path) -> float | None:
    """Return what an iteration of a fold took; None where a trainer of the user's does not say how many an epoch has."""
    plans = [present(name, record_file, record, results) for name in record["inputs"] if name.endswith("Plans.json")]
    settings = [json.loads(path.read_text(encoding="utf-8"))["glioflow"] for path in plans if path.is_file()]
    seconds = read_json(manifest).get("seconds_per_epoch")
    if not settings or seconds is None or settings[0].get("iterations_per_epoch") is None:
        return None
    return float(seconds / (settings[0]["iterations_per_epoch"] + settings[0].get("validation_iterations", 0)))


def efficiency_table(jobs: Iterable[Job], costs: Costs) -> pd.DataFrame:
    """Return a row for each rule: the most that its jobs asked for and used, and what the next ones should ask for at least."""
    rules: dict[str, list[Job]] = {}
    for job in jobs:
        rules.setdefault(job.rule, []).append(job)
    rows = [_row(rule, rules[rule], costs) for rule in sorted(rules)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).convert_dtypes()


def _row(rule: str, jobs: list[Job], costs: Costs) -> dict[str, Any]:
    longest = max(jobs, key=lambda job: job.seconds)
    minutes = ceil(longest.seconds / 60 * TIME_MARGIN)
    reckoned = rule in costs.rules and any(job.cases for job in jobs)
    peak = most(job.peak_mb for job in jobs)
    return {
        "rule": rule,
        "jobs": len(jobs),
        "cases": most(len(job.cases) or None for job in jobs),
        "asked_minutes": most(job.asked_minutes for job in jobs),
        "used_minutes": round(longest.seconds / 60, 2),
        "asked_mb": most(job.asked_mb for job in jobs),
        "used_mb": None if peak is None else ceil(peak),
        "asked_cores": max(job.threads for job in jobs),
        "used_cores": most(_load(job) for job in jobs),
        "asked_gpus": max(job.asked_gpus for job in jobs),
        "next_minutes": BESIDES_MINUTES + (ceil(costs.safety * longest.seconds / 60) if reckoned else minutes),
        "next_mb": next_memory(peak),
    }


def _load(job: Job) -> float | None:
    return round(job.core_seconds / job.seconds, 1) if job.core_seconds is not None and job.seconds else None


def most(values: Iterable[Any]) -> Any:
    """Return the largest of the values that are known; None where none is."""
    return max((value for value in values if value is not None), default=None)


def next_memory(peak_mb: float | None) -> int | None:
    """Return the memory to ask for, in MB, after a peak; None where no peak was seen."""
    if peak_mb is None:
        return None
    return max(LEAST_MB, ceil(peak_mb * MEMORY_MARGIN / MEMORY_STEP_MB) * MEMORY_STEP_MB)


def round_up(value: float) -> float:
    """Return a positive number with two figures that is not less."""
    step = 10.0 ** (floor(log10(value)) - 1)
    return float(f"{ceil(round(value / step, 6)) * step:.10g}")


def site_costs(jobs: Iterable[Job], costs: Costs) -> dict[str, dict[str, float]]:
    """Return a site's numbers for those rules of ``config/resources.yaml`` whose jobs were seen.

    Time is of a case, or of an iteration of training, the job's start among it; where neither is known, it stays as it is.
    """
    rules: dict[str, list[Job]] = {}
    for job in jobs:
        if job.rule in costs.rules:
            rules.setdefault(job.rule, []).append(job)
    found: dict[str, dict[str, float]] = {}
    for rule in sorted(rules):
        memory = next_memory(most(job.peak_mb for job in rules[rule]))
        case, iteration = (
            most(getattr(job, name) for job in rules[rule]) for name in ("seconds_per_case", "seconds_per_iteration")
        )
        found[rule] = {
            **({"mem_mb": memory} if memory else {}),
            **({"minutes": BESIDES_MINUTES, "seconds": round_up(case)} if case else {}),
            **({"seconds_per_iteration": round_up(iteration)} if iteration else {}),
        }
    return {rule: cost for rule, cost in found.items() if cost}


def site_file(jobs: list[Job], costs: Costs, table: pd.DataFrame) -> str:
    """Return the text of a site's file: what ``site_costs`` found, and, as a comment, what belongs in a profile."""
    lines = [
        "# What the jobs of a finished study used, in the form of config/resources.yaml: export GLIOFLOW_RESOURCES=<this file>",
        "# It holds for images and networks of the size that was seen.",
        "rules:" if (found := site_costs(jobs, costs)) else "rules: {}",
        *(f"  {rule}: {_flow(cost)}" for rule, cost in found.items()),
    ]
    others = table[~table["rule"].isin(list(costs.rules)) & table["next_mb"].notna()].to_dict("records")
    if others:
        lines += ["# The other rules' time and memory is set in a profile:", "# set-resources:"]
        lines += [f"#   {row['rule']}: {_flow({'mem_mb': row['next_mb'], 'runtime': row['next_minutes']})}" for row in others]
    return "\n".join(lines) + "\n"


def _flow(cost: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in cost.items()) + "}"
