"""The report's table of every case: scores of every region, the kind of error that costs most, links to the extremes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from glioflow.evaluation.metrics import NOT_APPLICABLE
from glioflow.models.predictions import read_tta, tta_kinds
from glioflow.report.explore import explore_data, quality_data
from glioflow.report.failure_types import KIND_NAMES
from glioflow.report.page_data import script_json, table_data
from glioflow.report.source import Pair, Source, records
from glioflow.report.tables import TTA_WORDS, UNSEEN, Cell, Table, count_cell, number_cell, slug, text_cell, without_empty
from glioflow.study.metric_registry import find_metric

CASE_METRICS = (
    *("dice", "iou", "sens", "spec", "precision", "hausdorff", "hd95_mm", "assd_mm"),
    *("volume_truth_ml", "volume_prediction_ml", "components_prediction"),
)
# Rows that stand in the page itself, for readers without scripts; its script shows all, and so does the table's file.
SHOWN_ROWS = 600
MAIN_ERROR = "Main error"


def cases_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of every case of a set."""
    whole, known = case_table(source, pair), explore_data(source, pair)
    left_out = max(0, len(whole.rows) - SHOWN_ROWS)
    return {
        "name": pair.name,
        "anchor": slug("cases", pair.model, pair.set),
        "table": replace(whole, rows=whole.rows[:SHOWN_ROWS]),
        "data": script_json(table_data(whole)),
        "explore": script_json({**known, **quality_data(source, pair, known["cases"])}),
        "rows": len(whole.rows),
        "left_out": left_out,
        "file": f"scores/{pair.model}/{pair.set}.csv",
    }


def case_anchor(pair: Pair, case_id: str) -> str:
    """Return the anchor of what the page shows of one case."""
    return slug("case", pair.model, pair.set, case_id)


def case_table(source: Source, pair: Pair) -> Table:
    """Return the scores of every case and region."""
    scores = source.scores(pair)
    patients, folds = bool((scores["patient_id"] != scores["case_id"]).any()), bool(scores["fold"].notna().any())
    kinds, both = read_tta(scores), len(tta_kinds(scores)) > 1
    metrics = [*CASE_METRICS, *(column for column in map(str, scores) if column.startswith("lesion"))]
    errors, linked = main_errors(source, pair), extreme_cases(source, pair)
    rows = []
    for row, tta in zip(records(scores), kinds, strict=True):
        case = str(row["case_id"])
        names = [Cell(case, link=case_anchor(pair, case) if case in linked else "")]
        names += [*([text_cell(row["patient_id"])] if patients else []), Cell(str(row["label"]))]
        names += [Cell(TTA_WORDS[tta])] if both else []
        unseen = str(row["note"]).startswith(NOT_APPLICABLE)
        values = [
            Cell(UNSEEN) if unseen and pd.isna(row[metric]) else number_cell(row[metric], find_metric(metric).decimals)
            for metric in metrics
        ]
        told = [Cell(errors.get((case, row["label"]), "")), *([count_cell(row["fold"])] if folds else [])]
        rows.append([*names, *values, *told, text_cell(row["note"])])
    first = ["Case", *(["Patient"] if patients else []), "Region", *(["TTA"] if both else [])]
    columns = [*first, *(find_metric(metric).heading for metric in metrics), MAIN_ERROR, *(["Fold"] if folds else []), "Note"]
    numeric = frozenset({*range(len(first), len(first) + len(metrics)), *([len(columns) - 2] if folds else [])})
    return without_empty(Table(f"Every case of {pair.name}.", columns, rows, numeric))


def main_errors(source: Source, pair: Pair) -> Mapping[tuple[str, str], str]:
    """Return case and region to the kind of error that costs most of the Dice; nothing for a set that is not analysed."""
    if not pair.failure:
        return {}
    found = source.failure(pair, "failure_types")[["case_id", "label", "dominant"]].dropna()
    return {(str(row["case_id"]), row["label"]): KIND_NAMES[row["dominant"]] for row in records(found)}


def extreme_cases(source: Source, pair: Pair) -> set[str]:
    """Return the cases of a set that the page has a part of its own for."""
    if not pair.failure:
        return set()
    packed = source.table("report", "viewer", pair.model, pair.set, "volumes.csv")
    return {*source.failure(pair, "extremes")["case_id"].astype(str), *packed["case_id"].astype(str)}
