"""Per-case results that outlive a killed job.

Snakemake deletes a job's outputs before it runs again, so what a job has finished case by case is kept beside them, in a
cache: a JSON-lines file, one line a finished case with the content key it was computed from. A job that starts again, or
whose inputs were merely touched, takes from the cache every case whose key is unchanged and computes the rest.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glioflow.files import PathLike, write_text


class CaseCache:
    """An append-only record ``item -> (key, value)``; the last line of an item counts, a torn last line is ignored."""

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._entries: dict[str, tuple[str, Any]] = {}
        lines = 0
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                item, key, value = json.loads(line)
                self._entries[item] = (key, value)
            except (ValueError, TypeError, RecursionError):  # the line a killed job was writing, or a damaged one
                continue
            lines += 1
        if lines > 2 * len(self._entries) + 16:
            self._compact()

    def get(self, item: str, key: str) -> Any | None:
        """Return the value recorded for ``item`` under this very ``key``, or None."""
        entry = self._entries.get(item)
        return entry[1] if entry and entry[0] == key else None

    def put(self, item: str, key: str, value: Mapping[str, Any] | list[Any]) -> None:
        """Record the value of ``item`` (JSON-able) and flush it to disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if self._torn else "") + json.dumps([item, key, value]) + "\n")
        self._torn = False
        self._entries[item] = (key, json.loads(json.dumps(value)))

    def _compact(self) -> None:
        write_text(self.path, "".join(json.dumps([i, k, v]) + "\n" for i, (k, v) in self._entries.items()))
        self._torn = False
