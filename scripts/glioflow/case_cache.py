"""Work case by case that outlives a killed job.

Snakemake deletes a job's outputs before it runs again, so what a job has finished case by case is kept beside them, in a
cache: a JSON-lines file, one line a finished case with the content key it was computed from and the hashes of the files that
were written for it. A job that starts again, or whose inputs were merely touched, takes from the cache every case whose key
and whose files are unchanged, and computes the rest.

Jobs that share a set's cases have a cache each, in one folder: on a cluster no two of them append to one file. Each of them
looks into all, so that a case that comes to be in another shard is not computed again.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from glioflow.console import Console, UserError
from glioflow.files import PathLike, sha256_file, write_text
from glioflow.parallel import map_unordered

Case = TypeVar("Case")
Value = TypeVar("Value")
Entry = tuple[str, Any, dict[str, str]]  # key, value, hashes of files by path


class CaseCache:
    """An append-only record ``name -> (key, value, hashes)`` of finished cases.

    The last line of a name counts; a truncated last line is ignored. ``hashes`` are those of the files written for the case, by
    their paths relative to the cache's folder, so that a results folder can be moved. With ``of_set`` the other caches in the
    folder are those of the same set's other shards, and are read where this one does not hold a case.
    """

    def __init__(self, path: PathLike, of_set: bool = False) -> None:
        self.path = Path(path)
        self.of_set = of_set
        text = _read_text(self.path)
        self._truncated = bool(text) and not text.endswith("\n")
        self._entries, lines = _read_entries(text)
        if lines > 2 * len(self._entries) + 16:
            self._compact()

    def get(self, name: str, key: str) -> Any | None:
        """Return the value of a case, or None where there is none under this very ``key``, or a file of it is not as it was."""
        return self._valid(self._entries.get(name), key)

    def _valid(self, entry: Entry | None, key: str) -> Any | None:
        recorded, value, hashes = entry or ("", None, {})
        if recorded != key:
            return None
        paths = {Path(os.path.normpath(self.path.parent / path)): sha256 for path, sha256 in hashes.items()}
        return value if all(path.is_file() and sha256_file(path) == sha256 for path, sha256 in paths.items()) else None

    def find(self, keys: Mapping[str, str], threads: int = 1) -> dict[str, Any]:
        """Return the values, by name, of the cases that need not be computed again. ``keys``: name -> content key."""
        with ThreadPoolExecutor(threads) as pool:
            found = dict(zip(keys, pool.map(self.get, keys, keys.values()), strict=True))
        found = {name: value for name, value in found.items() if value is not None}
        siblings = sorted(self.path.parent.glob(f"*{self.path.suffix}")) if self.of_set else []
        for path in (path for path in siblings if path != self.path):
            if not (missing := keys.keys() - found.keys()):
                break
            entries = _read_entries(_read_text(path))[0]
            held = {name: self._valid(entries.get(name), keys[name]) for name in sorted(missing)}
            found |= {name: value for name, value in held.items() if value is not None}
        return found

    def file_hashes(self) -> dict[Path, str]:
        """Return the SHA-256 of every file that was written for a case, or read as it is, by its absolute path."""
        hashes = {path: sha256 for _, _, files in self._entries.values() for path, sha256 in files.items()}
        folder = self.path.parent.absolute()
        return {Path(os.path.normpath(folder / path)): sha256 for path, sha256 in hashes.items()}

    def put(self, name: str, key: str, value: Any, files: Iterable[PathLike] = ()) -> Any:
        """Record the value (JSON-able) of a case and the hashes of its ``files`` on disk; return the value as JSON has it."""
        hashes = {os.path.relpath(path, self.path.parent): sha256_file(path) for path in files}
        line = json.dumps([name, key, value, hashes])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if self._truncated else "") + line + "\n")
        self._truncated = False
        value = json.loads(line)[2]
        self._entries[name] = (key, value, hashes)
        return value

    def _compact(self) -> None:
        lines = [json.dumps([name, *entry]) + "\n" for name, entry in self._entries.items()]
        write_text(self.path, "".join(lines))
        self._truncated = False


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _read_entries(text: str) -> tuple[dict[str, Entry], int]:
    """Return the entries of a cache's text by name, the last of each, and how many lines are whole."""
    entries: dict[str, Entry] = {}
    lines = 0
    for line in text.splitlines():
        try:
            name, key, value, hashes = json.loads(line)
            entries[name] = (key, value, dict(hashes))
        except (ValueError, TypeError, RecursionError):  # the line a killed job was writing, or a damaged one
            continue
        lines += 1
    return entries, lines


def compute_cases(
    function: Callable[..., Value],
    cases: Mapping[str, Case],
    *shared: Any,
    threads: int,
    console: Console,
    what: str,
    cache: CaseCache | None = None,
    keys: Mapping[str, str] | None = None,
    files: Callable[[str, Value], Iterable[PathLike]] | None = None,
    problems: list[str] | None = None,
    reread: bool = False,
) -> tuple[dict[str, Value], int]:
    """Return ``function(case, *shared)`` of every case, taken from the cache where it is there and recorded there otherwise.

    Each case is recorded as soon as it is finished. A case that cannot be computed does not keep the others from it.

    Parameters
    ----------
    function
        Work on one case; it and its arguments must be picklable, and what it returns JSON-able where there is a cache. It
        raises ``UserError`` where the case has a problem.
    cases
        Name of each case -> the case.
    *shared
        What the work on every case needs.
    threads
        How many processes work at once.
    console
        Where progress is reported.
    what
        What is done to the cases, for the line of progress, as "cases scored".
    cache, keys
        The cache and the content key of each case, by its name. Without them everything is computed.
    files
        Returns the files that were written for a case, given its name and value; see ``CaseCache.get``.
    problems
        Where it is given, the problems of cases are added to it, and such cases have no value. Else they are raised.
    reread
        Whether every case is computed again, whatever is in the cache.

    Returns
    -------
    The values by name, in the order of ``cases``, and how many cases the cache did not hold.

    Raises
    ------
    UserError
        With the problems of all cases, once every other case is finished, unless ``problems`` is given.
    """
    values: dict[str, Value] = {} if cache is None or keys is None or reread else cache.find(keys, threads)
    waiting = [(name, case) for name, case in cases.items() if name not in values]
    wrong: dict[str, UserError] = {}
    work = map_unordered(partial(_attempt, function), waiting, threads, *shared)
    for (name, _), result in console.track(work, len(waiting), what):
        if isinstance(result, UserError):
            wrong[name] = result
        elif cache is None or keys is None:
            values[name] = result
        else:
            values[name] = cache.put(name, keys[name], result, files(name, result) if files else ())
    found = [line for name in cases if name in wrong for line in wrong[name].args]
    if problems is not None:
        problems.extend(found)
    elif found:
        raise UserError(*found)
    return {name: values[name] for name in cases if name in values}, len(waiting)


def _attempt(function: Callable[..., Value], named: tuple[str, Any], *shared: Any) -> Value | UserError:
    """Return the value of a case, or else its problem."""
    try:
        return function(named[1], *shared)
    except UserError as error:
        return error
