"""Keeps Snakemake's Slurm plugin (2.8.0) from forgetting its jobs where Slurm does not answer.

The plugin takes its jobs off its list, asks Slurm for their states, and puts back those that have not ended. Where no answer
comes (the controller is restarted, or busy; ``sacct`` has no accounting behind it) it puts none back, and waits for ever for
jobs that nobody asks for any more. So a question without an answer counts here as one that names no job: the jobs stay on the
list, and are asked for again. The user is told when that has gone on for minutes.

Two more faults lead there. Told to ask ``squeue``, the plugin asks ``sacct`` where the controller did not tell in time how long
it remembers jobs: what it told before holds here. And a job whose end Slurm has forgotten, since nobody could ask in time, is
never named again: where ``squeue`` has not named a job for two minutes, it counts as failed, and is tried again.
"""

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import ModuleType
from typing import Any

PLUGIN = "snakemake_executor_plugin_slurm"
SAY_AFTER_S = 300.0  # without an answer, and then as often
FORGOTTEN_AFTER_S = 120.0  # that a job is not named for, by a queue that answers
Answer = tuple[dict[str, str] | None, float | None]  # job to state, and how long it took; None where the command failed


class Patience:
    """What is known of the jobs in a queue between one question and the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.wanted: set[str] = set()  # the jobs that have not ended yet, as far as the plugin knows
        self.missing_since: dict[str, float] = {}
        self.silent_since: float | None = None
        self.complain_at_s = SAY_AFTER_S

    def keep(self, answer: Answer, command: str, logger: Any) -> Answer:
        """Return the answer to work with: of no job where there was none, and with those that were forgotten as failed."""
        states, seconds = answer
        now = self.clock()
        if states is None:
            self.silent_since = now if self.silent_since is None else self.silent_since
            self._complain(now - self.silent_since, command, logger)
            return {}, 0.0
        self.silent_since, self.complain_at_s = None, SAY_AFTER_S
        if command.split()[0] != "squeue":  # accounting comes late, and forgets nothing
            return states, seconds
        self.missing_since = {job: self.missing_since.get(job, now) for job in self.wanted if not _names(states, job)}
        forgotten = sorted(job for job, since in self.missing_since.items() if now - since >= FORGOTTEN_AFTER_S)
        for job in forgotten:
            logger.warning(
                f"[glioflow] Slurm no longer knows job {job}, and nobody saw it end: it counts as failed, and is tried again; "
                "what it had finished is kept"
            )
        return {**states, **dict.fromkeys(forgotten, "FAILED")}, seconds

    def _complain(self, silent_s: float, command: str, logger: Any) -> None:
        if silent_s >= self.complain_at_s:
            self.complain_at_s = silent_s + SAY_AFTER_S
            logger.warning(
                f"[glioflow] no answer from `{command.split()[0]}` for {silent_s / 60:.0f} minutes: is the controller up, "
                "and is there accounting (docs/slurm.md)? The jobs are waited for"
            )


def _names(states: Iterable[str], job: str) -> bool:
    """Tell whether an answer names a job, or the array that it is of."""
    return job in states or job.partition("_")[0] in states


def keep_asking(plugin: ModuleType | None = None, patience: Patience | None = None) -> None:
    """Put the above in the plugin's place, where it is loaded. A second call changes nothing."""
    plugin = plugin or sys.modules.get(PLUGIN)
    if plugin is None or hasattr(plugin, "glioflow_patience"):
        return
    plugin.glioflow_patience = patience = patience or Patience()  # type: ignore[attr-defined]
    plugin.query_job_status = _patient(plugin.query_job_status, patience)  # type: ignore[attr-defined]
    plugin.get_min_job_age = _remembering(plugin.get_min_job_age)  # type: ignore[attr-defined]
    plugin.Executor.check_active_jobs = _noting(plugin.Executor.check_active_jobs, patience)


def _patient(query: Callable[..., Awaitable[Answer]], patience: Patience) -> Callable[..., Awaitable[Answer]]:
    async def ask(command: str, logger: Any) -> Answer:
        return patience.keep(await query(command, logger), command, logger)

    return ask


def _remembering(ask: Callable[[], int | None]) -> Callable[[], int | None]:
    known: list[int] = []

    def answer() -> int | None:
        if (found := ask()) is not None:
            known[:] = [found]
        return known[0] if known else None

    return answer


def _noting(check: Callable[..., AsyncIterator[Any]], patience: Patience) -> Callable[..., AsyncIterator[Any]]:
    async def checked(executor: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        patience.wanted = {job.external_jobid for job in active_jobs}
        async for job in check(executor, active_jobs):
            yield job

    return checked
