"""The report on models that were scored on the same cases: how they differ, and how firm their ranks are."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.evaluation.conventions import conventions
from glioflow.formatting import number
from glioflow.report.claims import probability
from glioflow.report.figures import RankPanel, draw_rank_stability
from glioflow.report.source import Picture, Source, embed_figure, records
from glioflow.report.tables import (
    Cell,
    Table,
    count_cell,
    join_words,
    number_cell,
    slug,
    together,
    without_empty,
)
from glioflow.study.metric_registry import find_metric

SET_WORDS = {"all": "all cases"}
# The way to rank that the picture shows; ranks.csv has both.
SHOWN_RANKING = "mean"
SIGNIFICANT = 0.05
# A table of more rows is folded; one of still more is read in its file.
OPEN_ROWS, SHOWN_ROWS = 18, 120


def comparison_sections(source: Source) -> list[dict[str, Any]]:
    """Return what the page shows of each group of models, nothing where no two models are compared."""
    comparison, ranks = source.comparison(), source.ranks()
    metrics = shown_metrics(source, comparison)
    groups = records(comparison[["cohort", "set", "folds", "folds_by"]].drop_duplicates())
    return [group_section(group, of_group(comparison, group), of_group(ranks, group), metrics) for group in groups]


def shown_metrics(source: Source, comparison: pd.DataFrame) -> list[str]:
    """Return the metrics that the page shows, of all in comparison.csv: those that users of the study's convention rank by."""
    headline = conventions()[source.study["evaluation"]["convention"]].headline
    wanted = [metric for metric in (headline.overlap, headline.distance) if metric]
    return [metric for metric in wanted if metric in set(comparison["metric"])] or ["dice"]


def of_group(table: pd.DataFrame, group: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of a group."""
    same = [
        table[column].isna() if pd.isna(value) else (table[column] == value).fillna(False) for column, value in group.items()
    ]
    return pd.DataFrame(table[pd.concat(same, axis=1).all(axis=1)])


def group_section(
    group: Mapping[str, Any], comparison: pd.DataFrame, ranks: pd.DataFrame, metrics: Sequence[str]
) -> dict[str, Any]:
    """Return what the page shows of one group: a table a metric, whose tests were corrected together."""
    shown = in_order(comparison, metrics)
    ranked = in_order(ranks[ranks["ranking"] == SHOWN_RANKING], metrics)
    name = group_name(group)
    return {
        "name": name,
        "anchor": slug("compared", *(str(value) for value in group.values() if not pd.isna(value))),
        "words": together(group_words(shown)),
        "figure": rank_picture(name, ranked, metrics),
        "tables": [
            {
                "table": pair_table(name, metric, rows.head(SHOWN_ROWS)),
                "name": find_metric(metric).heading,
                "folded": len(rows) > OPEN_ROWS,
                "shown": min(len(rows), SHOWN_ROWS),
                "rows": len(rows),
            }
            for metric in metrics
            if len(rows := shown[shown["metric"] == metric])
        ],
        "ranks": rank_table(name, ranked),
    }


def in_order(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the rows of ``metrics``, region by region, the metrics in the order given."""
    regions = list(dict.fromkeys(table["label"]))
    rows = table[table["metric"].isin(list(metrics))]
    order = rows["label"].map(regions.index) * len(metrics) + rows["metric"].map(list(metrics).index)
    return pd.DataFrame(rows.loc[order.sort_values(kind="stable").index])


def group_name(group: Mapping[str, Any]) -> str:
    """Return the name of a group for people."""
    by = "" if pd.isna(group["folds_by"]) else f" by {group['folds_by']}"
    folds = "" if pd.isna(group["folds"]) else f" ({int(group['folds'])} folds{by})"
    return f"{group['cohort']} · {SET_WORDS.get(group['set'], group['set'])}{folds}"


def group_words(shown: pd.DataFrame) -> str:
    """Return in words who is compared and how much of it may be chance."""
    models = list(dict.fromkeys([*shown["model_a"], *shown["model_b"]]))
    cases, patients = (shown[column].max() for column in ("n", "patients"))
    of_patients = "" if cases == patients else f" of {patients} patients"
    tested = shown["p_holm"].dropna()
    firm = int((tested < SIGNIFICANT).sum())
    below = f"{firm or 'none'} {'is' if firm < 2 else 'are'} below p = {SIGNIFICANT}"
    return (
        f"{join_words(models)}, on up to {cases} cases{of_patients} that they share. Of the {len(tested)} differences tested "
        f"here, {below} after correction for all tests of their table."
    )


def pair_table(name: str, metric: str, rows: pd.DataFrame) -> Table:
    """Return the difference of each pair of models by one metric, a row a region and pair, the better model first."""
    lines = []
    for row in map(better_first, records(rows)):
        decimals = find_metric(row["metric"]).statistic_decimals
        lines.append(
            [
                Cell(row["label"]),
                Cell(f"{row['model_a']} − {row['model_b']}"),
                Cell(better_words(row)),
                Cell(f"{number(row['median_difference'], decimals)} {interval_text(row['ci_low'], row['ci_high'], decimals)}"),
                number_cell(row["rank_biserial"], 2),
                Cell(probability(row["p_holm"]), title=f"uncorrected: {probability(row['p'])}"),
                count_cell(row["undefined"]) if row["undefined"] else Cell(""),
            ]
        )
    tests = int(rows["tests"].max()) if len(rows) else 0
    columns = ["Region", "Models", "First better in", "Median difference [95\u00a0%\u00a0CI]"]
    columns += ["Effect size", f"p (Holm, {count(tests, 'test')})", "Undefined"]
    caption = f"{find_metric(metric).heading} of the models on {name}: differences over the cases that both have a value for."
    return without_empty(Table(caption, columns, lines, frozenset(range(3, len(columns))), headers=2))


def better_first(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of comparison.csv with the model that it favours as the first."""
    if row["favours"] != row["model_b"]:
        return dict(row)
    turned = {name: row[f"{name[:-1]}{'b' if name.endswith('_a') else 'a'}"] for name in row if name.endswith(("_a", "_b"))}
    turned |= {name: -row[name] for name in ("median_difference", "rank_biserial")}
    return {**row, **turned, "ci_low": -row["ci_high"], "ci_high": -row["ci_low"]}


def rank_table(name: str, rows: pd.DataFrame) -> Table:
    """Return the ranks of the models, a row a region, metric and model."""
    lines = []
    for row in records(rows):
        lines.append(
            [
                Cell(row["label"]),
                Cell(find_metric(row["metric"]).heading),
                Cell(row["model"]),
                number_cell(row["value"], find_metric(row["metric"]).statistic_decimals),
                count_cell(row["rank"]),
                number_cell(row["rank_median"], 0),
                Cell(interval_text(row["rank_ci_low"], row["rank_ci_high"], 0)),
                share_cell(row["share_rank_1"]),
                Cell(f"{number(row['tau'], 2)} {interval_text(row['tau_ci_low'], row['tau_ci_high'], 2)}"),
                count_cell(row["n"]),
            ]
        )
    columns = ["Region", "Metric", "Model", "Mean", "Rank", "Median rank", "95 % of ranks", "First in", "τ [95 %]", "Cases"]
    caption = f"Ranks of the models on {name} by mean, and in bootstrap samples of the patients."
    return Table(caption, columns, lines, frozenset(range(3, len(columns))), headers=3)


def rank_picture(name: str, rows: pd.DataFrame, metrics: Sequence[str]) -> Picture | None:
    """Return the picture of how often each model has each rank; None where no ranking has more than one patient."""
    firm = rows[rows["rank_median"].notna()]
    if firm.empty:
        return None
    regions = list(dict.fromkeys(firm["label"]))
    models = list(firm.groupby("model", sort=False)["rank"].mean().sort_values(kind="stable").index)
    shares = [f"share_rank_{rank}" for rank in range(1, len(models) + 1)]
    panels, said = {}, []
    for metric in metrics:
        for region in regions:
            found = firm[(firm["metric"] == metric) & (firm["label"] == region)].set_index("model")
            if found.empty:
                continue
            panel = found.reindex(models)
            panels[find_metric(metric).short, region] = RankPanel(
                *(panel[columns].to_numpy(float) for columns in (shares, "rank_median", "rank_ci_low", "rank_ci_high"))
            )
            first = found["share_rank_1"].idxmax()
            said.append(f"{find_metric(metric).heading} {region}: {first} in {percent(found['share_rank_1'][first])}")
    alt = f"How often bootstrap samples of the patients put each model at each rank, on {name}. "
    return embed_figure(draw_rank_stability(models, panels), f"{alt}First most often: {'; '.join(said)}.")


def better_words(row: Mapping[str, Any]) -> str:
    """Return in how many cases the first model of a row is the better one: ``14 of 20 cases, 1 alike``."""
    if not row["n"]:
        return "no case has both values"
    alike = f", {row['tied']} alike" if row["tied"] else ""
    return f"{row['better_a']} of {count(row['n'], 'case')}{alike}"


def interval_text(low: float, high: float, decimals: int) -> str:
    """Return ``[low, high]``, empty where there is no interval."""
    return "" if pd.isna(low) else f"[{number(low, decimals)}, {number(high, decimals)}]"


def percent(share: float) -> str:
    """Return a share as whole per cent, bounded where it is not quite none or all."""
    whole = round(100 * share)
    bound = "<\u00a01" if whole == 0 < share else ">\u00a099" if whole == 100 and share < 1 else str(whole)
    return f"{bound}\u00a0%"


def share_cell(share: float) -> Cell:
    """Return a cell of a share of the bootstrap samples, empty where there are none."""
    return Cell("" if pd.isna(share) else percent(share))
