"""A queue that does not answer, or forgets a job, loses none: on the plugin's own code, with commands of the test's."""

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import snakemake_executor_plugin_slurm as plugin
from snakemake_executor_plugin_slurm import Executor, job_status_query

from glioflow.workflow.slurm_status import FORGOTTEN_AFTER_S, SAY_AFTER_S, Patience, keep_asking

CONFIG = "#!/bin/sh\necho 'MinJobAge               = 300 sec'\n"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, first on the PATH, with a controller that remembers jobs for 300 s and a ``sacct`` without accounting."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    put(tmp_path, "scontrol", CONFIG)
    put(tmp_path, "sacct", "#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n")
    return tmp_path


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def answers(folder: Path, *lines: str) -> None:
    put(folder, "squeue", "#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))


class Queue(Executor):
    """The plugin's executor with jobs 1 and 2 in the queue; ``ended`` has what it says of those that end."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("slurm")
        settings = SimpleNamespace(
            init_seconds_before_status_checks=10,
            status_attempts=2,
            status_command="squeue",
            requeue=False,
            keep_successful_logs=True,
        )
        self.workflow = SimpleNamespace(executor_settings=settings)  # type: ignore[assignment]
        self.run_uuid = "a-run"
        self.status_rate_limiter = Unlimited()
        self._next_seconds_between_status_checks = 10
        self._status_query_calls = self._status_query_failures = 0
        self._status_query_total_seconds, self._status_query_min_seconds, self._status_query_max_seconds = 0.0, None, 0.0
        self._status_query_cycle_rows: list[Any] = []
        self.active = [SimpleNamespace(external_jobid=job, aux={}) for job in ("1", "2")]
        self.ended: dict[str, str] = {}

    def report_job_success(self, job_info: Any) -> None:
        self.ended[job_info.external_jobid] = "done"

    def report_job_error(self, job_info: Any, **said: Any) -> None:
        self.ended[job_info.external_jobid] = said["msg"]

    def look(self) -> set[str]:
        """Do what Snakemake does every while, and return the jobs that are still waited for."""

        async def check() -> list[Any]:
            return [job async for job in self.check_active_jobs(self.active)]

        self.active = asyncio.run(check())
        return {job.external_jobid for job in self.active}


class Unlimited:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def queue(commands: Path, now: list[float], monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A queue with the changes in place, until the test ends."""
    for name in ("query_job_status", "get_min_job_age"):
        monkeypatch.setattr(plugin, name, getattr(job_status_query, name))
    monkeypatch.setattr(Executor, "check_active_jobs", Executor.check_active_jobs)
    monkeypatch.delattr(plugin, "glioflow_patience", raising=False)
    keep_asking(plugin, Patience(lambda: now[0]))
    monkeypatch.setattr(plugin, "glioflow_patience", plugin.glioflow_patience)  # so that it is gone afterwards
    return Queue()


def test_the_plugin_by_itself_forgets_its_jobs(commands: Path):
    """Where this fails, the fault is gone from the plugin, and what works round it may go."""
    put(commands, "squeue", "#!/bin/sh\nexit 1\n")
    assert Queue().look() == set()


def test_jobs_are_kept_while_the_controller_is_away_and_their_ends_are_seen_when_it_is_back(queue: Queue, commands: Path):
    put(commands, "squeue", "#!/bin/sh\nexit 1\n")
    assert queue.look() == {"1", "2"}
    assert queue.look() == {"1", "2"}
    answers(commands, "1|COMPLETED", "2|RUNNING")
    assert queue.look() == {"2"}
    answers(commands, "1|COMPLETED", "2|FAILED")
    assert queue.look() == set()
    assert queue.ended["1"] == "done" and "'FAILED'" in queue.ended["2"]


def test_a_controller_that_answers_late_does_not_bring_in_accounting_that_is_not_there(queue: Queue, commands: Path, caplog):
    answers(commands, "1|RUNNING", "2|RUNNING")
    assert queue.look() == {"1", "2"}
    put(commands, "scontrol", "#!/bin/sh\nexit 1\n")
    answers(commands, "1|COMPLETED", "2|COMPLETED")
    with caplog.at_level(logging.INFO):
        assert queue.look() == set()
    assert queue.ended == {"1": "done", "2": "done"}
    assert "Falling back" not in caplog.text


def test_who_waits_long_is_told_so_every_five_minutes(queue: Queue, commands: Path, now: list[float], caplog):
    put(commands, "squeue", "#!/bin/sh\nexit 1\n")
    told = []
    for _ in range(13):
        with caplog.at_level(logging.WARNING):
            queue.look()
        told.append(len(caplog.messages))
        now[0] += SAY_AFTER_S / 6
    assert told[5] == 0 and told[6] == 1 and told[12] == 2
    assert "no answer from `squeue` for 5 minutes: is the controller up" in caplog.messages[0]
    answers(commands, "1|RUNNING", "2|RUNNING")
    queue.look()
    put(commands, "squeue", "#!/bin/sh\nexit 1\n")
    queue.look()
    assert len(caplog.messages) == 2, "the silence begins anew"


def test_a_job_whose_end_slurm_has_forgotten_is_tried_again(queue: Queue, commands: Path, now: list[float], caplog):
    answers(commands, "2|RUNNING")
    assert queue.look() == {"1", "2"}
    now[0] += FORGOTTEN_AFTER_S - 1
    assert queue.look() == {"1", "2"}
    now[0] += 1
    assert queue.look() == {"2"}
    assert "SLURM-job '1' failed" in queue.ended["1"]
    assert "Slurm no longer knows job 1" in caplog.text


def test_a_job_that_is_named_again_in_time_is_not_forgotten(queue: Queue, commands: Path, now: list[float]):
    answers(commands, "2|RUNNING")
    queue.look()
    now[0] += FORGOTTEN_AFTER_S - 1
    answers(commands, "1|PENDING", "2|RUNNING")
    queue.look()
    answers(commands, "2|RUNNING")
    now[0] += FORGOTTEN_AFTER_S - 1
    assert queue.look() == {"1", "2"}
