"""A killed run leaves Snakemake's lock and half-done files: the same command goes on, unless some of that run still lives."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from workflows import copy_checkout, planned_jobs, snakemake

pytestmark = pytest.mark.long

PHANTOM = {"dataset": "phantom", "cases": 6, "planted": {}, "shape": [40, 48, 40], "spacing_mm": [4, 4, 4]}
TRUTH = "results/cohorts/a/phantom.csv"
COMMAND = ("--configfile", "study.yaml", "--", TRUTH)


@pytest.fixture
def checkout(tmp_path):
    checkout = copy_checkout(tmp_path / "glioflow")
    study = {"cohorts": {"a": PHANTOM}, "models": {"m": {"cohort": "a", "folds": 2}}}
    (checkout / "study.yaml").write_text(yaml.safe_dump(study))
    return checkout


def jobs_of(checkout: Path) -> list[int]:
    """Return the processes of scripts that work in ``checkout``."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").resolve() == checkout:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"python" in words[0] and any(word.endswith(b".py") for word in words[1:]):
                    found.append(int(entry.name))
    return found


def holding_jobs(checkout: Path) -> list[int]:
    """Return the processes that hold a record of a run, besides the runs' own."""
    runs = {str(path.stat().st_ino): path for path in (checkout / ".snakemake/glioflow/runs").glob("*.json")}
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [int(row[4]) for row in rows if row[5].rpartition(":")[2] in runs and int(row[4]) in jobs_of(checkout)]


@contextmanager
def halted_run(checkout: Path):
    """Start a run, and yield it and its jobs when these hold the run's lock and stand still."""
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "2", *COMMAND]
    run = subprocess.Popen(command, cwd=checkout, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (jobs := holding_jobs(checkout)):
            assert run.poll() is None, "the run ended before it could be halted"
            time.sleep(0.01)
        for job in jobs:
            os.kill(job, signal.SIGSTOP)
        yield run, jobs
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def test_the_same_command_goes_on_after_a_kill_of_the_run_and_its_jobs(checkout):
    with halted_run(checkout):
        pass
    assert list((checkout / ".snakemake/locks").iterdir())
    assert any(path.is_file() for path in (checkout / ".snakemake/incomplete").rglob("*"))
    (checkout / TRUTH).write_text("case_id\nhalf-")
    again = snakemake(checkout, *COMMAND)
    assert again.returncode == 0, again.stdout
    assert (checkout / TRUTH).read_text().count("\n") == 1 + PHANTOM["cases"]
    assert "the run that had locked results was killed; its lock is removed, and its work goes on" in again.stdout
    assert not list((checkout / ".snakemake/glioflow/runs").glob("*.json"))
    assert "its lock" not in snakemake(checkout, *COMMAND).stdout


def test_while_anything_of_a_run_lives_a_second_one_is_refused_and_told_by_whom(checkout):
    with halted_run(checkout) as (run, jobs):
        second = snakemake(checkout, *COMMAND)
        assert second.returncode != 0
        assert f"another run works on results (process {run.pid} on " in second.stdout
        assert "Directory cannot be locked" in second.stdout
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        third = snakemake(checkout, *COMMAND)
        assert third.returncode != 0
        assert "but jobs of it still run" in third.stdout
        assert all(str(job) in third.stdout for job in jobs)
        assert "Directory cannot be locked" in third.stdout
    assert snakemake(checkout, *COMMAND).returncode == 0


def test_another_study_in_the_same_folder_is_left_alone(checkout):
    study = yaml.safe_load((checkout / "study.yaml").read_text())
    (checkout / "other.yaml").write_text(yaml.safe_dump({**study, "results": "other"}))
    with halted_run(checkout):
        run = snakemake(checkout, "--configfile", "other.yaml", "--", "other/cohorts/a/phantom.csv")
        assert run.returncode == 0, run.stdout
        assert "works on" not in run.stdout


def test_a_deleted_image_is_noticed_and_remade(checkout):
    (checkout / "study.yaml").write_text((checkout / "study.yaml").read_text() + "failure: {extremes: 2}\n")
    target = ("--configfile", "study.yaml", "--", "results/cohorts/a/verification.csv")
    assert snakemake(checkout, *target).returncode == 0
    image = checkout / "results/cohorts/a/phantoms/phantom_001/phantom_001_t1.nii.gz"
    before = image.read_bytes()
    image.unlink()
    assert planned_jobs(snakemake(checkout, "-n", *target))["make_phantom"] == 1
    assert snakemake(checkout, *target).returncode == 0
    assert planned_jobs(snakemake(checkout, "-n", *target)) == {}
    assert image.read_bytes() == before
