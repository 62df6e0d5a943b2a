"""What differs between two files that should be the same, in words: row, column and both values of a table, else the place."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

SHOWN = 5
SHOWN_TEXT = 60


def differences(name: str, expected: Path, found: Path) -> list[str]:
    """Return a line for each of the first differences, none where the files are the same to the byte.

    ``expected`` is what was made again, ``found`` what the bundle has.
    """
    if not found.is_file() or not expected.is_file():
        return [f"{name}: is {'missing' if not found.is_file() else 'in the bundle, and was not made again'}"]
    one, other = expected.read_bytes(), found.read_bytes()
    if one == other:
        return []
    kinds: dict[str, Callable[[str, str], Iterator[str]]] = {".csv": _of_tables, ".json": _of_json, ".html": _of_texts}
    lines: list[str] = []
    if kind := kinds.get(found.suffix):
        with suppress(ValueError, csv.Error):  # where one of them is no such text, the bytes tell
            lines = list(islice(kind(one.decode("utf-8"), other.decode("utf-8")), SHOWN + 1))
    lines = lines or list(_of_bytes(one, other))
    more = [f"{name}: and more"] if len(lines) > SHOWN else []
    return [f"{name}: {line}" for line in lines[:SHOWN]] + more


def _pair(found: Any, expected: Any) -> str:
    return f"the bundle has {_short(found)}, made again it is {_short(expected)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}…"


def _of_tables(expected: str, found: str) -> Iterator[str]:
    wanted, had = (list(csv.reader(io.StringIO(text, newline=""))) for text in (expected, found))
    if not wanted or not had:
        yield f"the table has {len(had)} rows, made again {len(wanted)}"
        return
    if wanted[0] != had[0]:
        yield f"the header: {_pair(','.join(had[0]), ','.join(wanted[0]))}"
    if len(wanted) != len(had):
        yield f"the table has {len(had) - 1} rows, made again {len(wanted) - 1}"
    for number, (one, other) in enumerate(zip(wanted[1:], had[1:], strict=False), start=1):
        names = zip_longest(wanted[0], one, other, fillvalue="")
        for column, cell, mine in names:
            if cell != mine:
                yield f"row {number} ({', '.join(other[:2])}), column {column}: {_pair(mine, cell)}"


def _of_json(expected: str, found: str) -> Iterator[str]:
    yield from _of_values(json.loads(expected), json.loads(found), "")


def _of_values(expected: Any, found: Any, place: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in dict.fromkeys([*expected, *found]):
            yield from _of_values(expected.get(key), found.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _of_values(one, other, f"{place}[{number}]")
    elif expected != found or type(expected) is not type(found):
        yield f"{place or 'the value'}: {_pair(found, expected)}"


def _of_texts(expected: str, found: str) -> Iterator[str]:
    wanted, had = expected.splitlines(), found.splitlines()
    for number, (one, other) in enumerate(zip_longest(wanted, had, fillvalue=""), start=1):
        if one != other:
            at = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
            begin = max(0, at - SHOWN_TEXT // 2)
            yield f"line {number}, character {at + 1}: {_pair(other[begin : at + SHOWN_TEXT], one[begin : at + SHOWN_TEXT])}"


def _of_bytes(expected: bytes, found: bytes) -> Iterator[str]:
    at = next((place for place, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), None)
    if at is None:
        yield f"the file has {len(found)} bytes, made again {len(expected)}"
    else:
        sizes = "" if len(expected) == len(found) else f" ({len(found)} bytes, made again {len(expected)})"
        yield f"byte {at + 1}: the bundle has {found[at]:#04x}, made again it is {expected[at]:#04x}{sizes}"
