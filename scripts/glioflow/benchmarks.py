"""What Snakemake notes of a job in ``benchmarks/``: how long it took, and the memory and processor time of its processes."""

import csv
from dataclasses import dataclass
from pathlib import Path

NOT_SEEN = ("NA", "-")  # the job was over before it was looked at


@dataclass(frozen=True)
class Benchmark:
    """What a job took when it ran last: seconds, seconds of processors and the largest memory in MB of 2^20 bytes.

    None where it was not seen.
    """

    seconds: float
    core_seconds: float | None
    peak_mb: float | None


def benchmark_path(log: str) -> str:
    """Return where the benchmark of a job is, by the path of its log."""
    return log.replace("/logs/", "/benchmarks/").removesuffix(".log") + ".tsv"


def read_benchmark(path: Path) -> Benchmark:
    """Return what a benchmark file of one row says."""
    with path.open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream, delimiter="\t"))
    return Benchmark(float(row["s"]), _number(row.get("cpu_time", "NA")), _number(row["max_rss"]))


def _number(text: str) -> float | None:
    return None if text in NOT_SEEN else float(text)
