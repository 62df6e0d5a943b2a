"""What every step of a study took is told from the benchmarks and records of its own jobs, and from those alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import summarise_jobs
from glioflow.bundle.steps import Step
from glioflow.console import Console
from glioflow.files import read_table, write_json, write_text
from glioflow.job_records import record_path

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


class Results:
    """A results folder with the records, logs and benchmarks of jobs."""

    def __init__(self, root: Path) -> None:
        self.root = root / "results"

    def job(
        self, rule: str, output: str, reads: tuple[str, ...] = (), seconds: int = 5, bench: str = "", more: str = ""
    ) -> str:
        """Write an output, its record and its benchmark's line; return its path."""
        path = self.root / output
        for name in filter(None, (output, more)):
            write_text(self.root / name, "seconds\n100\n250\n" if name.endswith("curves.csv") else "x\n")
        log = f"{self.root}/logs/{rule}/{output.replace('/', '_')}.log"
        job: dict[str, Any] = {
            "rule": rule,
            "wildcards": [["of", output]],
            "input": [[None, list(reads)]],
            "output": [[None, str(self.root / name)] for name in (output, more) if name],
            "params": [],
            "log": [[None, log]],
            "started": "2024-05-03T10:00:00+00:00",
            "ended": f"2024-05-03T10:00:{seconds:02d}+00:00",
        }
        write_json(record_path(path), {"output": str(path), "job": job})
        if bench:
            write_text(Path(log.replace("/logs/", "/benchmarks/").removesuffix(".log") + ".tsv"), HEADER + bench)
        return str(path)

    def table(self, *targets: str) -> pd.DataFrame:
        output = self.root / "report" / "jobs.csv"
        params = SimpleNamespace(results=str(self.root))
        summarise_jobs.main(SimpleNamespace(input=list(targets), output=[str(output)], params=params), Console())
        return read_table(output).set_index("rule")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def line(seconds: float, memory: str) -> str:
    return f"{seconds}\t0:00:0{int(seconds) % 10}\t{memory}\t1\t1\t1\t1\t1\t1\t1\n"


def test_the_jobs_of_a_rule_add_up_and_its_peak_is_the_largest(results: Results) -> None:
    split = results.job("split_cohort", "cohorts/c/split.csv", bench=line(2.5, "100.5"))
    scores = [results.job("score_cases", f"scores/{name}.csv", (split,), bench=line(*cost)) for name, cost in SCORED.items()]
    table = results.table(*scores)
    assert list(table.index) == ["split_cohort", "score_cases"]
    assert table.loc["score_cases", ["jobs", "seconds", "longest_seconds", "peak_memory_mb", "measured"]].tolist() == [
        *(2, 10.0, 7.25, 300.0, 2),
    ]
    assert table["reads"].fillna("").tolist() == ["", "split_cohort"]


SCORED = {"m": (2.75, "200.0"), "n": (7.25, "300.0")}


def test_a_job_without_a_benchmark_took_what_its_record_says_and_memory_that_nobody_knows(results: Results) -> None:
    table = results.table(results.job("compare_models", "scores/comparison.csv", seconds=17))
    assert table.loc["compare_models", ["seconds", "measured"]].tolist() == [17.0, 0]
    assert pd.isna(table.loc["compare_models", "peak_memory_mb"])


def test_a_job_too_short_to_be_seen_has_a_time_and_no_memory(results: Results) -> None:
    table = results.table(results.job("compare_models", "scores/comparison.csv", bench=line(0.4, "-")))
    assert table.loc["compare_models", ["seconds", "measured"]].tolist() == [0.4, 1]
    assert pd.isna(table.loc["compare_models", "peak_memory_mb"])


def test_a_fold_that_was_found_trained_counts_the_epochs_of_its_training(results: Results) -> None:
    found = results.job(
        *("train_fold", "models/m/fold_0/manifest.json"), bench=line(4.0, "50"), more="models/m/fold_0/curves.csv"
    )
    assert results.table(found).loc["train_fold", "seconds"] == 350.0


def test_a_fold_that_was_trained_in_this_job_counts_all_of_the_job(results: Results) -> None:
    trained = results.job(
        *("train_fold", "models/m/fold_0/manifest.json"), bench=line(400.0, "50"), more="models/m/fold_0/curves.csv"
    )
    assert results.table(trained).loc["train_fold", "seconds"] == 400.0


def test_jobs_of_former_studies_in_the_same_folder_do_not_count(results: Results) -> None:
    results.job("score_cases", "scores/former.csv", bench=line(1000.0, "9000"))
    table = results.table(results.job("score_cases", "scores/now.csv", bench=line(1.0, "90")))
    assert table.loc["score_cases", ["jobs", "seconds"]].tolist() == [1, 1.0]


def test_the_step_that_tells_of_the_others_is_never_run_again_from_a_bundle() -> None:
    step = Step("summarise_jobs", [], [], [[None, "results/report/jobs.csv"]], [], [], "", "")
    assert step.reads_records and not step.reads_images
    assert not Step("write_report", [], [], [[None, "results/report/index.html"]], [], [], "", "").reads_records


def test_makers_come_before_readers_though_a_readers_first_job_is_before_the_makers(results: Results) -> None:
    validated = results.job("collect_cv", "predictions/m/cv/predictions.csv")
    measured = results.job("measure_quality", "quality/m/cv/quality_features.csv", (validated,))
    predicted = results.job("predict_cases", "predictions/m/test/predictions.csv")
    tested = results.job("measure_quality", "quality/m/test/quality_features.csv", (predicted,))
    table = results.table(measured, tested)
    assert list(table.index) == ["collect_cv", "predict_cases", "measure_quality"]
    assert table.loc["measure_quality", "reads"] == "collect_cv predict_cases"


def test_rules_in_a_circle_are_all_there(results: Results) -> None:
    first = results.job("a", "a/1.csv")
    second = results.job("b", "b/1.csv", (first,))
    table = results.table(results.job("a", "a/2.csv", (second,)))
    assert list(table.index) == ["a", "b"] and pd.isna(table.loc["a", "reads"]) and table.loc["b", "reads"] == "a"
