"""Data that the page's scripts read: compact JSON within the page that no text in it can end."""

import json
from math import isfinite
from typing import Any

from markupsafe import Markup

from glioflow.report.tables import Cell, Table

# What could close the element or open another, and the line ends that older readers of JavaScript do not take within text.
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script_json(value: Any) -> Markup:
    """Return ``value`` as JSON to stand within a script element: the same value, the same bytes.

    Raises ValueError where a number is not finite, which JSON cannot tell.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup("".join(ESCAPES.get(character, character) for character in text))


def table_data(table: Table) -> dict[str, Any]:
    """Return a table for the page's script: columns, decimals of each (None: text), and rows of full numbers and of texts.

    A cell is a number where it has a finite full value, else what is shown. ``links``: text of a first cell to its anchor.
    """
    decimals: list[int | None] = [None] * len(table.columns)
    for column in sorted(table.numeric):
        shown = [row[column].text for row in table.rows if _value(row[column]) is not None]
        decimals[column] = max((len(text.partition(".")[2]) for text in shown), default=0)
    return {
        "columns": list(table.columns),
        "decimals": decimals,
        "links": {row[0].text: row[0].link for row in table.rows if row[0].link},
        "rows": [[_cell(cell, number is not None) for cell, number in zip(row, decimals, strict=True)] for row in table.rows],
    }


def _value(cell: Cell) -> float | None:
    value = float(cell.sort) if cell.sort else None
    return value if value is not None and isfinite(value) else None


def _cell(cell: Cell, numeric: bool) -> str | float | int:
    value = _value(cell) if numeric else None
    if value is None:
        return cell.text
    return int(value) if value.is_integer() else value
