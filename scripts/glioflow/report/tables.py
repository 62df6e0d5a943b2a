"""How the report writes numbers and tables: one place for decimals, names of columns and the sign of undefined values."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pandas as pd

from glioflow.formatting import number, significant

# A region that the model was not trained to tell from others.
UNSEEN = "n/a"

TTA_WORDS = {True: "with", False: "without", None: ""}


@dataclass(frozen=True)
class Cell:
    """What a table shows and, where that differs, the full value its column sorts by; ``link``: anchor that it leads to."""

    text: str
    sort: str = ""
    title: str = ""
    code: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table to render: the first ``headers`` cells of a row name it, the columns in ``numeric`` are aligned as numbers."""

    caption: str
    columns: Sequence[str]
    rows: list[list[Cell]]
    numeric: frozenset[int] = field(default_factory=frozenset)
    headers: int = 1
    sortable: bool = False


def text_cell(value: Any) -> Cell:
    """Return a cell of text, empty where the value is missing."""
    return Cell("" if value is None or pd.isna(value) else str(value))


def number_cell(value: Any, decimals: int) -> Cell:
    """Return a cell that shows a rounded number and sorts by the full one."""
    defined = value is not None and not pd.isna(value)
    return Cell(number(value, decimals), repr(float(value)) if defined else "")


def significant_cell(value: Any) -> Cell:
    """Return a cell that shows four significant digits and sorts by the full number."""
    defined = value is not None and not pd.isna(value)
    return Cell(significant(value), repr(float(value)) if defined else "")


def unseen_cell(reason: str) -> Cell:
    """Return the cell of a region that the model cannot show."""
    return Cell(UNSEEN, title=reason)


def count_cell(value: Any) -> Cell:
    """Return a cell of a whole number."""
    return number_cell(value, 0)


def without_empty(table: Table) -> Table:
    """Return ``table`` without the columns that are empty in every row; tables of no rows stay as they are."""
    kept = [index for index in range(len(table.columns)) if not table.rows or any(row[index].text for row in table.rows)]
    return replace(
        table,
        columns=[table.columns[index] for index in kept],
        rows=[[row[index] for index in kept] for row in table.rows],
        numeric=frozenset(place for place, index in enumerate(kept) if index in table.numeric),
    )


def together(text: str) -> str:
    """Return ``text`` with the space before a unit and around an equals sign made unbreakable."""
    return re.sub(r" (?=mm\b|= )|(?<= =) ", "\u00a0", text)


def join_words(parts: Iterable[str], last: str = "and") -> str:
    """Return ``a, b and c``."""
    words = list(parts)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def slug(*parts: str) -> str:
    """Return an id for a heading made of names, letters, digits and hyphens only."""
    return "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", part).strip("-") for part in parts)


def day(moment: datetime) -> str:
    """Return a date such as ``3 Nov 2024``."""
    return f"{moment.day} {moment:%b %Y}"


def row_groups(table: Table) -> Iterator[tuple[list[Cell], int]]:
    """Yield each row and how many rows its first cell spans: equal first cells under one another become one cell.

    A row whose first cell is covered by one above has 0. Tables that can be sorted, or have one header a row, are not grouped.
    """
    names = [row[0].text for row in table.rows]
    for index, row in enumerate(table.rows):
        if table.sortable or table.headers < 2:
            yield row, 1
        elif index and names[index - 1] == names[index]:
            yield row, 0
        else:
            yield row, next((offset for offset, name in enumerate(names[index:]) if name != names[index]), len(names) - index)
