"""The whole demo through a real Slurm of one node, with faults on the way, to its report and bundle (`make test-slurm`)."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from slurm_node import ask, missing_programs, slurm_node
from workflows import copy_checkout, planned_jobs, snakemake

MISSING = missing_programs()

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"no Slurm here, missing: {', '.join(MISSING)} (apt-get install slurm-wlm munge)"),
]

# What the demo's jobs need of memory on a small machine, in place of what full-sized images do.
SMALL = [f"{rule}:mem_mb=4000" for rule in ("plan_model", "preprocess_model", "train_fold", "predict_cases")]
LONGEST_S = 3600
FOLDS = ("0", "1")
# What follows from the masks alone, so that a local run makes it anew without training.
FROM_MASKS = ("scores", "failure", "quality", "report", "bundle")


@dataclass(frozen=True)
class Run:
    """A finished run of the demo: where, what it printed, and which jobs were disturbed (Slurm's ids)."""

    checkout: Path
    said: str
    requeued: str
    cancelled: str
    limits: str  # what Slurm said of the first fold's job


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    checkout = copy_checkout(tmp_path_factory.mktemp("slurm_demo") / "glioflow")
    (checkout / "slurm").symlink_to("profiles/slurm")
    arguments = ["--cores", "2", "--profile", "slurm", "--slurm-status-command", "squeue", "--latency-wait", "5"]
    output = checkout / "said.txt"
    with slurm_node(cpus=2) as environment, output.open("w") as stream:
        command = [sys.executable, "-m", "snakemake", *arguments, "--set-resources", *SMALL]
        with subprocess.Popen(command, cwd=checkout, env=environment, stdout=stream, stderr=subprocess.STDOUT) as process:
            try:
                jobs = [training_job(checkout, output, fold, process) for fold in FOLDS]
                limits = ask(environment, "scontrol", "show", "job", jobs[0])
                subprocess.run(["scontrol", "requeue", jobs[0]], env=environment, check=True)
                subprocess.run(["scancel", jobs[1]], env=environment, check=True)
                process.wait(LONGEST_S)
            finally:
                process.terminate()
        assert process.returncode == 0, output.read_text()
        yield Run(checkout, output.read_text(), *jobs, limits)


def training_job(checkout: Path, output: Path, fold: str, process: subprocess.Popen[bytes]) -> str:
    """Return Slurm's id of the job that trains a fold of the demo, once a checkpoint of it can be resumed."""
    deadline = time.monotonic() + LONGEST_S
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(rf"SLURM jobid (\d+) .*rule_train_fold/\w+_{fold}/", output.read_text())
        if found and list(checkout.glob(f"results/models/*/nnunet/results/**/fold_{fold}/checkpoint_latest.pth")):
            return found[1]
        time.sleep(0.5)
    raise AssertionError(f"fold {fold} was never trained:\n{output.read_text()}")


def test_the_demo_reaches_its_report_and_its_bundle(run: Run):
    assert "100%) done" in run.said
    assert (run.checkout / "results/report/index.html").exists()
    assert list((run.checkout / "results/bundle").glob("*.zip"))


def test_a_job_has_the_time_and_memory_that_its_rule_asks_for(run: Run):
    assert "TimeLimit=3-00:00:00" in run.limits
    assert re.search(r"(MinMemoryNode|mem)=(4000M|4G|3.9)", run.limits)


def test_a_requeued_and_a_cancelled_training_go_on_from_their_last_checkpoints(run: Run):
    for fold in FOLDS:
        (log,) = run.checkout.glob(f"results/logs/train_fold/*/{fold}.log")
        assert "resuming from the last checkpoint" in log.read_text()
        (curves,) = run.checkout.glob(f"results/models/*/fold_{fold}/curves.csv")
        epochs = [line.split(",")[0] for line in curves.read_text().splitlines()[1:]]
        assert epochs == [str(number) for number in range(len(epochs))], "an epoch is missing, or there twice"


def test_the_cancelled_job_was_submitted_once_more_and_the_requeued_one_was_not(run: Run):
    for fold, times in zip(FOLDS, (1, 2), strict=True):
        assert len(re.findall(rf"SLURM jobid \d+ .*rule_train_fold/\w+_{fold}/", run.said)) == times


def test_a_local_run_has_nothing_to_do(run: Run):
    assert planned_jobs(snakemake(run.checkout, "-n")) == {}


def test_a_local_run_makes_the_same_tables_of_the_same_masks(run: Run, tmp_path: Path):
    local = copy_checkout(tmp_path / "glioflow")
    shutil.copytree(run.checkout / "results", local / "results", ignore=shutil.ignore_patterns(*FROM_MASKS, "cache"))
    again = snakemake(local, "--", "scores", "failure", "quality")
    assert again.returncode == 0, again.stdout
    assert "[train_fold" not in again.stdout
    parts = [local / "results" / part for part in ("scores", "failure", "quality")]
    tables = [path.relative_to(local) for part in parts for path in part.rglob("*.csv")]
    assert len(tables) > 30
    assert [str(path) for path in tables if (local / path).read_bytes() != (run.checkout / path).read_bytes()] == []
