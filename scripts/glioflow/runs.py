"""Which run works on a results folder, so that the lock of a killed run does not refuse the next one.

Snakemake locks what a run reads and writes by lists in ``.snakemake/locks``. A killed run leaves them there, and they look like
those of a living one. So each run keeps a record of its own in ``.snakemake/glioflow/runs`` under the kernel's lock (flock),
which its jobs on this machine share: the kernel gives it back when the last of them has ended, in whatever way. Before anything
is planned, the lists of a run that is gone are removed. A lock is kept where nobody can know whether its run is gone (it ran on
another machine, or has jobs in a cluster's queue), and then the user gets a message with its holder and what to do.
"""

import atexit
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from glioflow.files import key_of, read_json, write_json

VARIABLE = "GLIOFLOW_RUN"  # tells a run's jobs where its records are
_held: list[IO[str]] = []  # this process's records, open as long as it lives


def enter_run(results: str, unlock: str, queues: bool, notes: Path = Path(".snakemake")) -> str | None:
    """Record that this process works on a results folder, after removing the lock of a former run that is gone.

    Parameters
    ----------
    results
        The results folder, as the study names it.
    unlock
        The command that removes a lock by hand.
    queues
        Whether jobs run by a cluster's queue, where they outlive this process unseen.
    notes
        Snakemake's folder.

    Returns
    -------
    str | None
        The message to the user about the lock that was found. None without one, and where the file system has no such locks.
    """
    runs = notes.absolute() / "glioflow/runs"
    record = runs / f"{socket.gethostname()}-{os.getpid()}-{key_of({'results': results})[:8]}.json"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with (runs / "gate").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            said = _settle(results, unlock, runs, notes / "locks")
            started = datetime.now().strftime("%Y-%m-%d %H:%M")
            run = {"host": socket.gethostname(), "pid": os.getpid(), "started": started, "results": results, "queues": queues}
            write_json(record, run)
            stream = record.open(encoding="utf-8")
            fcntl.flock(stream, fcntl.LOCK_SH)
    except OSError:
        return None
    _held.append(stream)
    os.environ[VARIABLE] = os.pathsep.join(filter(None, [os.environ.get(VARIABLE), str(record)]))
    atexit.register(record.unlink, missing_ok=True)
    return said


@contextmanager
def joined_run() -> Iterator[None]:
    """Share the lock of the run that this job belongs to, until the block ends."""
    held = []
    for record in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        with suppress(OSError):
            held.append(open(record, encoding="utf-8"))  # noqa: SIM115
            fcntl.flock(held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
    try:
        yield
    finally:
        for stream in held:
            stream.close()


def _settle(results: str, unlock: str, runs: Path, locks: Path) -> str | None:
    """Remove the lock of a results folder, and its runs' records, where all of these are gone; return a message about it."""
    found = [lock for lock in locks.glob("*.lock") if _names_below(lock, results)]
    gone: list[tuple[Path, dict[str, Any]]] = []
    for path in sorted(runs.glob("*.json")):
        try:
            run = dict(read_json(path))
            if not _overlap(run["results"], results) or (run["host"], run["pid"]) == (socket.gethostname(), os.getpid()):
                continue
            who = f"process {run['pid']} on {run['host']}, since {run['started']}"
            if holders := _holders(path):
                if run["pid"] in holders:
                    return f"another run works on {results} ({who}): let it end, or end it, and run again" if found else None
                jobs = " ".join(map(str, holders))
                return (
                    f"the run that worked on {results} was killed ({who}), but jobs of it still run: let them end, or end them "
                    f"(kill {jobs}), and run again"
                )
            if found and run["host"] != socket.gethostname():
                return f"a run of another machine works on {results} ({who}). If it has ended, type: {unlock}"
            if found and run["queues"]:
                return (
                    f"the run that worked on {results} was killed ({who}), and jobs of it may still be in the cluster's queue: "
                    f"let them end, or cancel them, then type: {unlock}"
                )
        except (ValueError, LookupError, TypeError):  # a record that a full disk cut off
            run = {}
        gone.append((path, run))
    if not gone:
        return None
    for path in (*found, *(path for path, _ in gone)):
        path.unlink(missing_ok=True)
    return f"the run that had locked {results} was killed; its lock is removed, and its work goes on" if found else None


def _holders(record: Path) -> list[int]:
    """Return the processes that hold a record's lock, as far as this machine sees them; [0] for one it does not see."""
    with record.open(encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            inode = str(os.fstat(stream.fileno()).st_ino)
            rows = (line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines())
            return sorted({int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].endswith(f":{inode}")}) or [0]
    return []


def _names_below(lock: Path, results: str) -> bool:
    """Tell whether one of Snakemake's lists names a file below a results folder."""
    with suppress(OSError):
        return any(line.startswith(f"{results}/") for line in lock.read_text(encoding="utf-8").splitlines())
    return False


def _overlap(one: str, other: str) -> bool:
    """Tell whether two folders are the same, or one is inside the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
