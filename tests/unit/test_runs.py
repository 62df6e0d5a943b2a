"""The records of runs: whose lock is removed, and whose is left and told."""

import fcntl
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from glioflow import runs
from glioflow.runs import enter_run, joined_run

RUNS = Path(".snakemake/glioflow/runs")
LOCK = Path(".snakemake/locks/0.output.lock")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.VARIABLE, raising=False)
    RUNS.mkdir(parents=True)
    LOCK.parent.mkdir()
    LOCK.write_text("results/scores/a.csv\n")
    yield
    for stream in runs._held:
        stream.close()
    runs._held.clear()


def record(name: str = "former", **values) -> Path:
    """Write the record of a run that has ended on this machine, or with other values."""
    run = {"host": socket.gethostname(), "pid": 999_999, "started": "then", "results": "results", "queues": False, **values}
    path = RUNS / f"{name}.json"
    path.write_text(json.dumps(run))
    return path


def enter(results: str = "results") -> str | None:
    return enter_run(results, "snakemake --unlock", queues=False)


def test_the_lock_of_a_run_that_is_gone_is_removed():
    former = record()
    assert "its lock is removed" in enter()
    assert not LOCK.exists() and not former.exists()


def test_a_lock_without_any_record_stays():
    assert enter() is None
    assert LOCK.exists()


def test_a_lock_of_other_results_stays():
    record()
    LOCK.write_text("results2/scores/a.csv\nmine/results/x\n")
    assert enter() is None
    assert LOCK.exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [({"host": "elsewhere"}, "a run of another machine"), ({"queues": True}, "may still be in the cluster's queue")],
)
def test_what_nobody_can_know_stays_locked_until_the_user_unlocks(values, words):
    former = record(**values)
    said = enter()
    assert words in said and said.endswith("type: snakemake --unlock")
    assert LOCK.exists() and former.exists()
    LOCK.unlink()
    assert enter() is None
    assert not former.exists(), "unlocked by hand, so it must not stand in the way of the next killed run"


def test_a_living_run_keeps_its_lock_beside_a_gone_one():
    gone, alive = record("a"), record("b", pid=999_998, results="results/nested")
    with alive.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        assert "but jobs of it still run" in enter()
    assert LOCK.exists() and gone.exists() and alive.exists()


def test_a_record_that_was_cut_off_counts_as_gone():
    record().write_text('{"host": ')
    assert "its lock is removed" in enter()


def test_a_job_holds_the_lock_of_its_run_until_it_ends():
    enter()
    (own,) = RUNS.glob("*.json")
    for stream in runs._held:  # the run is killed, and its job lives on
        stream.close()
    runs._held.clear()
    with joined_run():
        assert runs._holders(own)
    assert runs._holders(own) == []


def test_a_run_that_ends_takes_its_record_away():
    code = "from glioflow.runs import enter_run; enter_run('results', '', False); from pathlib import Path"
    code += "; print(len(list(Path('.snakemake/glioflow/runs').glob('*.json'))))"
    path = next(entry for entry in sys.path if (Path(entry) / "glioflow").is_dir())
    done = subprocess.run([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, env={"PYTHONPATH": path}, check=True)
    assert done.stdout == "1\n"
    assert list(RUNS.glob("*.json")) == []
