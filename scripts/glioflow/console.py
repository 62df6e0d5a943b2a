"""How a script speaks to the person at the terminal, and how it fails.

Every rule's script ends in ``run_script(main, globals()["snakemake"])``. What it prints goes to the terminal (stderr, so
that it is between Snakemake's own lines) and to the rule's log file. A user's mistake is a ``UserError``: its message is
printed unchanged and the job ends with exit status 1, without a traceback. Anything else is a defect of ours and keeps
its traceback, in the log.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glioflow.disk import explain_error
from glioflow.errors import UserError as UserError
from glioflow.job_records import remove_records, write_records
from glioflow.runs import joined_run
from glioflow.stored_paths import set_results_folder

SAY_EVERY_S = 10.0  # the least time between two lines on how far a loop is


class Console:
    """Prints lines to the terminal and appends them to a log file."""

    def __init__(self, log: str | Path | None = None, name: str = "glioflow") -> None:
        self.name = name
        self.log = Path(log) if log else None
        if self.log:
            with self._log_kept():
                self.log.parent.mkdir(parents=True, exist_ok=True)
                self.log.write_text("", encoding="utf-8")

    def say(self, message: str) -> None:
        """Print ``message`` after the step's name, at the terminal and in the log."""
        print(f"[{self.name}] {message}", file=sys.stderr, flush=True)
        self.note(message)

    def note(self, message: str) -> None:
        """Write ``message`` to the log only."""
        if self.log:
            with self._log_kept(), self.log.open("a", encoding="utf-8") as stream:
                stream.write(message.rstrip("\n") + "\n")

    @contextmanager
    def _log_kept(self) -> Iterator[None]:
        """Go on without a log where it cannot be written, so that what cannot be written next is reported at the terminal."""
        try:
            yield
        except OSError:
            self.log = None

    def track(self, items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        """Pass ``items`` on, saying at most every ten seconds how many of ``total`` are done and how long is left."""
        start = last = time.monotonic()
        for done, item in enumerate(items, start=1):
            yield item
            now = time.monotonic()
            if now - last >= SAY_EVERY_S and done < total:
                last = now
                self.say(f"{done}/{total} {what}, {clock((now - start) / done * (total - done))} left")


def clock(seconds: float) -> str:
    """Return a duration in seconds as ``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def count(number: int, noun: str) -> str:
    """Return ``1 case`` or ``3 cases``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def run_command(command: Callable[[], int], file: Path) -> int:
    """Run what a person called by hand on ``file``; return its exit status: 2 after a mistake, or on an unreadable file."""
    try:
        return command()
    except UserError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or file}: {error.strerror or error}", file=sys.stderr)
    return 2


def run_script(main: Callable[[Any, Console], str], snakemake: Any) -> None:
    """Run a rule's ``main(snakemake, console)`` and print the one closing line it returns, with the time it took.

    Ends the process with status 1 after a ``UserError`` (message only) or any other exception (traceback in the log, or at
    the terminal where the rule has none).
    """
    name = " ".join([snakemake.rule, *dict(snakemake.wildcards).values()])
    console = Console(snakemake.log[0] if snakemake.log else None, name)
    start, started = time.monotonic(), datetime.now(UTC)
    if snakemake.log:
        set_results_folder(str(snakemake.log[0]).rpartition("/logs/")[0])
    try:
        remove_records(snakemake.output)
        with joined_run():
            done = main(snakemake, console)
            write_records(snakemake, started)
    except UserError as error:
        console.say(f"stopped: {error}")
        sys.exit(1)
    except Exception as error:
        folders = [Path(path).parent for path in snakemake.output]
        if isinstance(error, OSError) and (told := explain_error(error, folders)):
            console.say(f"stopped: {told}")
            sys.exit(1)
        if console.log is None:
            raise
        console.note(traceback.format_exc())
        console.say(f"failed: {type(error).__name__}: {error} (details in {console.log})")
        sys.exit(1)
    console.say(f"{done} ({clock(time.monotonic() - start)})")
