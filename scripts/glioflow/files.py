"""Writing files so that nothing half-done looks done, and hashing what they hold."""

import csv
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.errors import DamagedFileError

TEXT_COLUMNS = ("label", "group", "note", "file", "message", "set")

PathLike = str | os.PathLike[str]


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` (same suffixes), renamed to ``path`` when the block ends without an error."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: PathLike, text: str) -> None:
    """Write ``text`` as UTF-8, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON, all or nothing."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: PathLike) -> Any:
    """Return what a JSON file of the results holds. Raises DamagedFileError."""
    with _told_as_damaged(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: PathLike, table: pd.DataFrame) -> None:
    """Write ``table`` as CSV without its index, all or nothing. Undefined values are empty; floats keep full precision."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: PathLike) -> pd.DataFrame:
    """Return a CSV table written by ``write_table``: identifiers as strings, the rest as pandas infers it.

    An identifier is a column whose name ends in ``_id``. Only an empty cell is undefined: a case may be called NA. Raises
    DamagedFileError.
    """
    with _told_as_damaged(path):
        columns = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns
        text = {column: "string" for column in columns if column in TEXT_COLUMNS or column.endswith("_id")}
        return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""], encoding="utf-8-sig")  # type: ignore[arg-type]


@contextmanager
def _told_as_damaged(path: PathLike) -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError, RecursionError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise DamagedFileError(f"{path}: the file is damaged ({reason}); delete it, and the next run makes it anew") from None


def sha256_file(path: PathLike) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the content key of ``parts``: the SHA-256 of their canonical JSON. The order of keys does not matter."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
