"""The table of asked against used, and the site's file made of it, worked by hand."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

import measure_efficiency
from glioflow.console import Console, UserError
from glioflow.files import read_table, write_json
from glioflow.job_records import record_path
from glioflow.workflow.efficiency import next_memory, read_jobs, round_up
from glioflow.workflow.resource_costs import SITE_VARIABLE, read_costs

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


def finish(results: Path, rule: str, name: str, text: str, times: str, asked: dict[str, int], *inputs: str) -> None:
    """Write an output of a job, its record and, unless ``times`` is empty, its benchmark file."""
    output = results / name
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    log = f"study/{rule}/{Path(name).stem}.log".replace("study/", "study/logs/")
    record = {"output": f"study/{name}", "inputs": dict.fromkeys(inputs, ""), "job": {"rule": rule, "log": [[None, log]]}}
    write_json(record_path(output), {**record, "asked": asked})
    if times:
        benchmark = results / f"benchmarks/{rule}/{Path(name).stem}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text(f"{HEADER}\n{times}\n")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shards, a fold, a rule that is in no table of costs, and a local rule without times, in a folder that was moved."""
    monkeypatch.delenv(SITE_VARIABLE, raising=False)
    results = tmp_path / "moved"
    asked = {"threads": 8, "mem_mb": 4000, "runtime": 31}
    shard = "case_id,region,dice\n{0}1,WT,1\n{0}1,TC,1\n{0}2,WT,1\n"
    finish(results, "score_cases", "scores/m/a.csv", shard.format("a"), "30.0\t-\t700.2\t-\t-\t-\t-\t-\t-\t120.0", asked)
    finish(results, "score_cases", "scores/m/b.csv", shard.format("b"), "12.0\t-\tNA\t-\t-\t-\t-\t-\tNA\tNA", asked)
    plans = results / "models/m/glioflowPlans.json"
    write_json(plans, {"glioflow": {"iterations_per_epoch": 4, "validation_iterations": 1}})
    finish(
        results, "train_fold", "models/m/fold_0/manifest.json", '{"seconds_per_epoch": 10.0}',
        "600\t-\t9000\t-\t-\t-\t-\t-\t-\t300.0", {"threads": 2, "mem_mb": 32000, "runtime": 240, "gpu": 1},
        "study/models/m/glioflowPlans.json",
    )  # fmt: skip
    finish(
        results,
        "write_bundle",
        "bundle/x.zip",
        "zip",
        "90\t-\t100\t-\t-\t-\t-\t-\t-\t45",
        {"threads": 1, "mem_mb": 8000, "runtime": 240},
    )
    finish(results, "select_extremes", "failure/extremes.csv", "case_id\na1\n", "", {"threads": 1})
    return results


def measure(results: Path) -> str:
    params = SimpleNamespace(results=str(results), table=str(results / "efficiency.csv"), site=str(results / "resources.yaml"))
    return measure_efficiency.main(SimpleNamespace(params=params), Console(results / "logs/measure_efficiency.log"))


def test_a_row_has_the_most_that_was_asked_and_used_and_what_to_ask_next(results: Path):
    assert measure(results).startswith("4 jobs of 3 rules; for the next run: export GLIOFLOW_RESOURCES=")
    table = read_table(results / "efficiency.csv").set_index("rule")
    assert list(table.index) == ["score_cases", "train_fold", "write_bundle"]
    score = table.loc["score_cases"].to_dict()
    assert score == {
        "jobs": 2, "cases": 2, "asked_minutes": 31, "used_minutes": 0.5, "asked_mb": 4000, "used_mb": 701, "asked_cores": 8,
        "used_cores": 4.0, "asked_gpus": 0,
        "next_minutes": 10 + 4 * 1 // 2,  # besides, and the safety of 4 times 0.5 minutes
        "next_mb": 1500,  # 1.5 x 701 = 1051, in steps of 500
    }  # fmt: skip
    fold = table.loc["train_fold"]
    assert (fold["asked_gpus"], fold["used_minutes"], fold["next_minutes"], fold["next_mb"]) == (1, 10, 10 + 2 * 10, 13500)
    assert table.loc["write_bundle", "next_minutes"] == 10 + 3


def test_the_sites_file_is_one_that_the_workflow_takes(results: Path, monkeypatch: pytest.MonkeyPatch):
    measure(results)
    site = results / "resources.yaml"
    assert yaml.safe_load(site.read_text()) == {
        "rules": {
            # 30 s x 8 cores for 2 cases; 12 s are less
            "score_cases": {"mem_mb": 1500, "minutes": 10, "seconds": 120.0},
            "train_fold": {"mem_mb": 13500, "seconds_per_iteration": 2.0},  # 10 s an epoch of 4 + 1 iterations
        }
    }
    assert "#   write_bundle: {mem_mb: 1000, runtime: 13}" in site.read_text()
    before = read_costs()
    monkeypatch.setenv(SITE_VARIABLE, str(site))
    costs = read_costs()
    assert costs.rules["train_fold"].minutes == before.rules["train_fold"].minutes
    assert costs.runtime("score_cases", 2, 8) == 10 + 4 * 30 // 60, "the shard that was seen, four times as long"


def test_a_job_that_was_over_before_it_was_looked_at_has_no_memory(results: Path):
    jobs = {(job.rule, job.seconds): job for job in read_jobs(results)}
    assert jobs["score_cases", 12.0].peak_mb is None and jobs["score_cases", 12.0].core_seconds is None
    (results / "scores/m/a.csv").unlink()
    assert len(read_jobs(results)) == 3, "a job whose output is gone is none"
    measure(results)
    table = read_table(results / "efficiency.csv").set_index("rule")
    assert pd.isna(table.loc["score_cases", "next_mb"]) and pd.isna(table.loc["score_cases", "used_mb"])


def test_a_folder_without_times_says_so(tmp_path: Path):
    (tmp_path / "results").mkdir()
    with pytest.raises(UserError, match="holds no finished job whose time was noted"):
        measure(tmp_path / "results")


@pytest.mark.parametrize(("peak", "asked"), [(None, None), (1, 1000), (1000, 1500), (1001, 2000), (20000, 30000)])
def test_memory_is_asked_for_with_room_for_an_unseen_peak(peak, asked):
    assert next_memory(peak) == asked


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.1234, 0.13), (2.0, 2.0), (120.0, 120.0), (121.0, 130.0), (9.91, 10.0), (0.14, 0.14)]
)
def test_numbers_are_rounded_up_to_two_figures(value, rounded):
    assert round_up(value) == rounded
