"""The report on a prediction set's scores: summary, distributions, every case."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.formatting import UNDEFINED, number
from glioflow.imaging.labels import REGION_NAMES
from glioflow.models.predictions import Tta
from glioflow.report.figures import draw_scores
from glioflow.report.source import Pair, Source, Summary, embed_figure, summaries_of
from glioflow.report.tables import (
    TTA_WORDS,
    UNSEEN,
    Cell,
    Table,
    count_cell,
    join_words,
    number_cell,
    slug,
    unseen_cell,
)
from glioflow.study.metric_registry import DISTANCES, find_metric

SUMMARISED = (
    *("dice", "sens", "hd95_mm", "hausdorff", "assd_mm"),
    *("lesion_dice", "lesion_hd95_mm", "lesion_sens", "lesion_precision", "lesion_f1"),
)
# Metric, statistic and whether the median is beside it, of the tables that compare.
COMPARED = (("dice", "mean", True), ("sens", "mean", False), ("hd95_mm", "mean", True), ("lesion_dice", "mean", False))
STATISTICS = ("mean", "sd", "mean_ci_low", "mean_ci_high", "median", "q25", "q75", "min", "max")
UNKNOWN = "unknown"
AUGMENTED = {True: " With test-time augmentation.", False: " Without test-time augmentation.", None: ""}
CHOSEN_HERE = (
    " The steps that clean up these masks were chosen on these very cases, so that their scores are better than those of new"
    " cases can be expected to be; a test set or an external cohort shows that."
)
BOTH = " With and without test-time augmentation (TTA); the figure shows the scores with it."


def comparison_table(source: Source) -> Table | None:
    """Return mean scores of every model and set beside each other, None where nothing was scored."""
    both, lines = source.both_tta(), []
    for pair in source.pairs:
        for tta, summary in source.summaries(pair).items():
            names = [pair.model, pair.set, *([TTA_WORDS[tta]] if both else [])]
            lines.append((names, summary, source.unseen(pair), source.cases(pair, tta)))
    if not lines:
        return None
    compared = present_metrics([summary for _, summary, _, _ in lines])
    rows = []
    for names, summary, unseen, cases in lines:
        cells = compared_cells(summary, source.regions, compared, unseen)
        rows.append([*map(Cell, names), count_cell(cases), *cells])
    first = ["Model", "Set", *(["TTA"] if both else [])]
    columns = [*first, "Cases", *compared_columns(source.regions, compared)]
    caption = "All models and sets: means over cases, medians in brackets."
    return Table(caption, columns, rows, frozenset(range(len(first), len(columns))), headers=len(first), sortable=True)


def present_metrics(summaries: Iterable[Summary]) -> list[tuple[str, str, bool]]:
    """Return those of ``COMPARED`` that some summary has."""
    present = {metric for summary in summaries for _, metric in summary}
    return [line for line in COMPARED if line[0] in present]


def compared_columns(regions: Sequence[str], metrics: Sequence[tuple[str, str, bool]]) -> list[str]:
    """Return the headings of ``compared_cells``."""
    return [f"{find_metric(metric).heading}, {region}" for metric, _, _ in metrics for region in regions]


def compared_cells(
    summary: Summary, regions: Sequence[str], metrics: Sequence[tuple[str, str, bool]], unseen: Mapping[str, str]
) -> list[Cell]:
    """Return a cell for each metric and region: its mean, the median in brackets where the metric has it.

    Where the metric is undefined in some cases, with the number of the others. Cells sort by the mean.
    """
    cells = []
    for metric, statistic, with_median in metrics:
        for region in regions:
            line = summary.get((region, metric))
            if region in unseen:
                cells.append(unseen_cell(unseen[region]))
            elif line is None or not line["n"]:
                cells.append(Cell(UNDEFINED))
            else:
                mean = number_cell(line[statistic], find_metric(metric).statistic_decimals)
                median = f" ({number(line['median'], find_metric(metric).statistic_decimals)})" if with_median else ""
                fewer = f", n = {int(line['n'])}" if line["undefined"] else ""
                cells.append(replace(mean, text=mean.text + median + fewer))
    return cells


def score_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of the scores of a set."""
    scores, shown, summaries = source.scores(pair), source.shown_scores(pair), source.summaries(pair)
    regions, unseen = list(dict.fromkeys(scores["label"])), source.unseen(pair)
    cases = scores["case_id"].nunique()
    summary = next(iter(summaries.values()), {})
    drawn = drawn_metrics(shown)
    medians, means = (middles_words(summary, list(dict.fromkeys(shown["label"])), drawn, name) for name in ("median", "mean"))
    names = join_words(find_metric(metric).name for metric in drawn)
    alt = f"{names} of {pair.name} by region, every case a point. Medians: {medians}. Means: {means}."
    words = f"{count(cases, 'case')} of the cohort {pair.cohort}; {source.set_words(pair)}."
    words += BOTH if len(summaries) > 1 else "".join(AUGMENTED[tta] for tta in summaries)
    words += CHOSEN_HERE if pair.set == "cv" and source.is_postprocessed(pair.model) else ""
    reasons = "; ".join(f"{join_words(names)} {reason}" for reason, names in by_reason(unseen).items())
    return {
        "name": pair.name,
        "anchor": slug("scores", pair.model, pair.set),
        "words": f"{words} {UNSEEN}: {reasons}." if reasons else words,
        "warnings": source.warnings(pair),
        "summary": summary_table(pair, summaries, regions, unseen),
        "groups": group_tables(source, pair, regions),
        "ungrouped": ungrouped_words(source, pair),
        "figure": embed_figure(draw_scores(shown, drawn), alt) if len(shown) else None,
        "cases_anchor": slug("cases", pair.model, pair.set),
    }


def drawn_metrics(shown: pd.DataFrame) -> list[str]:
    """Return the metrics of the figure: Dice, and the first distance that the study's convention has values of."""
    return ["dice", *[metric for metric in DISTANCES if shown[metric].notna().any()][:1]]


def middles_words(summary: Summary, regions: Sequence[str], metrics: Sequence[str], statistic: str) -> str:
    """Return the mean or the median of each region by each metric, in words: ``WT 0.912 and 5.4 mm, TC …``."""
    values = {region: [metric_value(metric, summary[region, metric][statistic]) for metric in metrics] for region in regions}
    return ", ".join(f"{region} {join_words(words)}" for region, words in values.items())


def metric_value(metric: str, value: float) -> str:
    """Return a value with its unit, as precise as a figure shows it."""
    return f"{number(value, 1)} mm" if metric in DISTANCES else number(value, 3)


def by_reason(unseen: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the regions that share a reason, by reason."""
    return {reason: [name for name, why in unseen.items() if why == reason] for reason in dict.fromkeys(unseen.values())}


def summary_table(pair: Pair, summaries: Mapping[Tta, Summary], regions: Sequence[str], unseen: Mapping[str, str]) -> Table:
    """Return the summary of a set: one row a region, metric and tta, or one a region that is not applicable."""
    rows, both = [], len(summaries) > 1
    for region in regions:
        name = Cell(region, title=REGION_NAMES[region])
        if region in unseen:
            rows.append([name, Cell("all"), *([Cell("")] if both else []), unseen_cell(unseen[region]), *[Cell("")] * 6])
            continue
        for metric in SUMMARISED:
            metric_cell = Cell(find_metric(metric).heading)
            for tta, summary in summaries.items():
                if line := summary.get((region, metric)):
                    rows.append([name, metric_cell, *([Cell(TTA_WORDS[tta])] if both else []), *line_cells(line)])
    named = 3 if both else 2
    columns = ["Region", "Metric", *(["TTA"] if both else [])]
    columns += ["Mean ± SD", "95 % CI of the mean", "Median [quartiles]", "Range", "n", "Undefined", "Penalised"]
    return Table(f"Scores of {pair.name}, over cases.", columns, rows, frozenset(range(named, len(columns))), headers=named)


def line_cells(line: Mapping[str, Any]) -> list[Cell]:
    """Return mean with its interval, median, range and numbers of cases of a row of a summary."""
    metric = line["metric"]
    shown = {name: number(line[name], find_metric(metric).statistic_decimals) for name in STATISTICS}
    cells = [UNDEFINED] * 4
    if line["n"]:
        mean = shown["mean"] + (f" ± {shown['sd']}" if shown["sd"] != UNDEFINED else "")
        between = f"[{shown['mean_ci_low']}, {shown['mean_ci_high']}]" if shown["mean_ci_low"] != UNDEFINED else UNDEFINED
        cells = [mean, between, f"{shown['median']} [{shown['q25']}, {shown['q75']}]", f"{shown['min']} to {shown['max']}"]
    penalised = count_cell(line["penalised"]) if metric in DISTANCES else Cell("")
    return [*map(Cell, cells), count_cell(line["n"]), count_cell(line["undefined"]), penalised]


def group_tables(source: Source, pair: Pair, regions: Sequence[str]) -> list[dict[str, Any]]:
    """Return a heading and a table for each covariate that divides the cases of a set: a row a value (and tta)."""
    groups = source.groups(pair)
    unseen = source.unseen(pair)
    found = []
    for covariate in dict.fromkeys(groups["covariate"]):
        rows = groups[groups["covariate"] == covariate]
        values = rows["value"].fillna(UNKNOWN)
        summaries = {value: summaries_of(rows[values == value]) for value in dict.fromkeys(values)}
        both = any(len(kinds) > 1 for kinds in summaries.values())
        compared = present_metrics([summary for kinds in summaries.values() for summary in kinds.values()])
        lines = []
        for value, kinds in summaries.items():
            for tta, summary in kinds.items():
                cases = max(int(line["n"] + line["undefined"] + line["not_applicable"]) for line in summary.values())
                names = [Cell(value), *([Cell(TTA_WORDS[tta])] if both else []), count_cell(cases)]
                lines.append([*names, *compared_cells(summary, regions, compared, unseen)])
        named = 2 if both else 1
        columns = [covariate, *(["TTA"] if both else []), "Cases", *compared_columns(regions, compared)]
        caption = f"Scores of {pair.name} by {covariate}: means over cases, medians in brackets."
        found.append(
            {
                "heading": f"By {covariate}",
                "table": Table(caption, columns, lines, frozenset(range(named, len(columns))), headers=named),
            }
        )
    return found


def ungrouped_words(source: Source, pair: Pair) -> str:
    """Return which covariates were asked to divide the cases of a set, and cannot."""
    known = set(source.groups(pair)["covariate"])
    missing = [name for name in source.study["evaluation"].get("group_by", []) if name not in known]
    return f"Not divided by {join_words(missing, 'or')}: the cohort {pair.cohort} has no such covariate." if missing else ""
