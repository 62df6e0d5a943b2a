"""The report on published values: the study's own beside them."""

from typing import Any

from glioflow.formatting import number
from glioflow.report.comparison import interval_text
from glioflow.report.source import Source, records
from glioflow.report.tables import Cell, Table, count_cell, text_cell, without_empty
from glioflow.study.metric_registry import find_metric


def published_table(source: Source) -> Table | None:
    """Return each published value with ours beside it, None where the study names none."""
    if not source.study["published"]:
        return None
    rows = [published_row(row) for row in records(source.published())]
    columns = ["Model", "Set", "Value", "Ours [95\u00a0%\u00a0CI]", "Cases", "Published", "Difference"]
    columns += ["What differs", "Source"]
    return without_empty(Table("Published values, and ours beside them.", columns, rows, frozenset(range(3, 7)), headers=3))


def published_row(row: dict[str, Any]) -> list[Cell]:
    """Return the cells of a row of published.csv."""
    metric = find_metric(row["metric"])
    interval = interval_text(row["ci_low"], row["ci_high"], metric.statistic_decimals)
    difference = number(row["difference"], metric.statistic_decimals)
    return [
        Cell(row["model"]),
        Cell(row["set"]),
        Cell(f"{metric.heading} {row['region']}, {row['statistic']}"),
        Cell(f"{number(row['ours'], metric.statistic_decimals)} {interval}".strip()),
        count_cell(row["n"]),
        Cell(f"{row['published']:g}"),
        Cell(f"+{difference}" if row["difference"] > 0 else difference),
        text_cell(row["differs"]),
        text_cell(row["source"]),
    ]
