"""Writing files so that nothing half-done looks done, and hashing what they hold."""

import csv
import hashlib
import json
import operator
import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.errors import DamagedFileError

TEXT_COLUMNS = ("label", "group", "note", "file", "message", "set")
FOLD_VALUES = "fold_by_"  # how the columns of split.csv begin that hold values of a covariate
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# A spreadsheet runs a text that begins so as a formula (owasp.org/www-community/attacks/CSV_Injection).
FORMULA = re.compile(r"'*[=+\-@]")

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
    """Return the content of a JSON file of the results. Raises DamagedFileError."""
    with _told_as_damaged(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: PathLike, table: pd.DataFrame) -> None:
    """Write ``table`` as CSV without its index, all or nothing. Undefined values are empty; floats keep full precision.

    A text that a spreadsheet would run as a formula gets an apostrophe before it, which ``read_table`` takes away. Numbers, and
    texts that are numbers, stay as they are.
    """
    cells = {str(name): list(column) for name, column in table.items() if not pd.api.types.is_numeric_dtype(column)}
    inert = {name: [_inert(cell) for cell in column] for name, column in cells.items()}
    changed = {name: column for name, column in inert.items() if any(map(operator.is_not, column, cells[name]))}
    # Left to itself the writer puts no quotes around a lone carriage return, and readers take it for the end of a row.
    returns = any(isinstance(cell, str) and "\r" in cell for column in cells.values() for cell in column)
    with replacing(path) as temporary:
        table.assign(**changed).to_csv(
            temporary, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
        )


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def read_table(path: PathLike, text: Collection[str] = ()) -> pd.DataFrame:
    """Return a CSV table written by ``write_table``: identifiers and ``text`` as strings, the rest as pandas infers it.

    An identifier is a column whose name ends in ``_id``; the values of covariates in a split are strings too. Only an empty
    cell is undefined: a case may be called NA. Raises DamagedFileError.
    """
    with _told_as_damaged(path):
        columns = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns
    named = [name for name in columns if name in (*TEXT_COLUMNS, *text) or name.endswith("_id") or name.startswith(FOLD_VALUES)]
    return _read(path, dict.fromkeys(named, "string"))


def read_text_table(path: PathLike) -> pd.DataFrame:
    """Return a CSV table written by ``write_table`` with every cell as text: a covariate 007 is 007."""
    return _read(path, "string")


def _read(path: PathLike, dtype: Any) -> pd.DataFrame:
    with _told_as_damaged(path):
        table = pd.read_csv(path, dtype=dtype, keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    for name, column in table.items():
        if pd.api.types.is_string_dtype(column):
            table[name] = column.map(restore_text, na_action="ignore").astype(column.dtype)
    return table


def restore_text(cell: str) -> str:
    """Return a text of a CSV table without the apostrophe that keeps spreadsheets from running it as a formula."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


@contextmanager
def _told_as_damaged(path: PathLike) -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError, RecursionError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise DamagedFileError(f"{path}: the file is damaged ({reason}); delete it, and the next run makes it again") from None


def sha256_file(path: PathLike) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_stamp(path: PathLike) -> list[int]:
    """Return what changes when a file does: size, times of change of content and of anything, and inode. Raises ``OSError``.

    A program can set the time of content back, but not the other; and a file that takes another's place is another inode.
    """
    stat = Path(path).stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the content key of ``parts``: the SHA-256 of their canonical JSON. The order of keys does not matter."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
