"""The report on a prediction set's scores: summary, distributions, every case."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.figures import METRIC_UNITS
from glioflow.labels import REGION_NAMES
from glioflow.report.figures import draw_scores
from glioflow.report.source import Pair, Source, embed_figure, records
from glioflow.report.tables import (
    SHORT_NAMES,
    UNDEFINED,
    Cell,
    Table,
    count_cell,
    metric_decimals,
    number,
    number_cell,
    slug,
    text_cell,
    without_empty,
)

SUMMARISED = ("dice", "sens", "hd95_mm", "hausdorff", "assd_mm")
CASE_METRICS = (
    *("dice", "iou", "sens", "spec", "precision", "hausdorff", "hd95_mm", "assd_mm"),
    *("volume_truth_ml", "volume_prediction_ml"),
)
# A browser stays quick with a table of this length; the table's file has all rows.
SHOWN_ROWS = 3000
AUGMENTED = {"true": " With test-time augmentation.", "false": " Without test-time augmentation."}


def score_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page says of the scores of a set."""
    scores, summary = source.scores(pair), source.summary(pair)
    regions = list(dict.fromkeys(scores["label"]))
    cases = scores["case_id"].nunique()
    medians = [
        f"{region} {number(summary[region, 'dice']['median'], 3)} and {number(summary[region, 'hausdorff']['median'], 1)} mm"
        for region in regions
    ]
    alt = f"Dice and Hausdorff distance of {pair.name} by region, every case a point. Medians: {', '.join(medians)}."
    tta = scores["tta"].dropna().astype(str).str.lower().unique()
    words = f"{count(cases, 'case')} of the cohort {pair.cohort}; {source.set_words(pair)}."
    return {
        "name": pair.name,
        "anchor": slug("scores", pair.model, pair.set),
        "words": words + (AUGMENTED.get(tta[0], "") if len(tta) == 1 else ""),
        "summary": summary_table(pair, summary, regions),
        "figure": embed_figure(draw_scores(scores), alt) if cases else None,
        "cases": case_table(pair, scores),
        "left_out": max(0, len(scores) - SHOWN_ROWS),
        "file": f"scores/{pair.model}/{pair.set}.csv",
    }


def summary_table(pair: Pair, summary: Mapping[tuple[str, str], Mapping[str, Any]], regions: Sequence[str]) -> Table:
    """Return the summary of a set: one row a region and metric."""
    rows = []
    for region in regions:
        for metric in SUMMARISED:
            line = summary[region, metric]
            shown = {
                name: number(line[name], metric_decimals(metric))
                for name in ("mean", "sd", "median", "q25", "q75", "min", "max")
            }
            cells = [UNDEFINED] * 3
            if line["n"]:
                mean = shown["mean"] + (f" ± {shown['sd']}" if shown["sd"] != UNDEFINED else "")
                cells = [mean, f"{shown['median']} [{shown['q25']}, {shown['q75']}]", f"{shown['min']} to {shown['max']}"]
            penalised = count_cell(line["penalised"]) if metric in METRIC_UNITS else Cell("")
            counts = [count_cell(line["n"]), count_cell(line["undefined"]), penalised]
            rows.append([Cell(region, title=REGION_NAMES[region]), Cell(SHORT_NAMES[metric]), *map(Cell, cells), *counts])
    columns = ["Region", "Metric", "Mean ± SD", "Median [quartiles]", "Range", "n", "Undefined", "Penalised"]
    return Table(f"Scores of {pair.name}, over cases.", columns, rows, frozenset(range(2, 8)), headers=2)


def case_table(pair: Pair, scores: pd.DataFrame) -> Table:
    """Return the scores of every case and region, as many rows as a browser bears."""
    shown = scores.head(SHOWN_ROWS)
    patients, folds = bool((shown["patient_id"] != shown["case_id"]).any()), bool(shown["fold"].notna().any())
    rows = []
    for row in records(shown):
        names = [Cell(str(row["case_id"])), *([text_cell(row["patient_id"])] if patients else []), Cell(str(row["label"]))]
        values = [number_cell(row[metric], metric_decimals(metric)) for metric in CASE_METRICS]
        rows.append([*names, *values, *([count_cell(row["fold"])] if folds else []), text_cell(row["note"])])
    first = ["Case", *(["Patient"] if patients else []), "Region"]
    columns = [*first, *(SHORT_NAMES[metric] for metric in CASE_METRICS), *(["Fold"] if folds else []), "Note"]
    numeric = frozenset(range(len(first), len(columns) - 1))
    return without_empty(Table(f"Every case of {pair.name}.", columns, rows, numeric, sortable=True))
