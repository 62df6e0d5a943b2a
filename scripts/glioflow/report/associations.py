"""The report on radiomic features: the chart, the table of what goes along with the metric, and what was left out."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glioflow.cohorts.manifests import read_substituted
from glioflow.console import count
from glioflow.failure.feature_groups import feature_groups
from glioflow.failure.radiomics_table import mark_unstable
from glioflow.formatting import number
from glioflow.report.claims import (
    feature_name,
    probability,
    representatives,
    untested_reasons,
    where_words,
    with_interval,
)
from glioflow.report.missing_channels import channel_name
from glioflow.report.source import Pair, Source, embed, records
from glioflow.report.tables import Cell, Table, count_cell, join_words, number_cell, without_empty
from glioflow.study.feature_names import feature_columns

SHOWN_FEATURES = 20
SHOWN_CASES = 6


def associations_part(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the failure section shows of features."""
    stability = source.failure(pair, "stability") if source.study["failure"]["stability"] else None
    associations = mark_unstable(source.failure(pair, "associations"), stability)
    shown = representatives(associations)
    shown = shown[shown["spearman_rho"].notna() | shown["cohens_d"].notna()]
    untested = int(associations["p"].isna().sum())
    chart = source.root / "failure" / pair.model / pair.set / "associations.png"
    band = associations["d_null_95"].max()
    return {
        "chart": embed(chart, f"Chart of the features of {pair.name}: correlation and effect size; the table has the numbers."),
        "table": association_table(pair, shown) if len(shown) else None,
        "features": len(associations),
        "clusters": len(representatives(associations)),
        "shown": min(len(shown), SHOWN_FEATURES),
        "band": "" if pd.isna(band) else number(band, 2),
        "file": f"failure/{pair.model}/{pair.set}/associations.csv",
        "left_out": f"{untested} of {len(associations)} features could not be tested: {untested_reasons(associations)}."
        if untested
        else "",
        "without_features": without_features(source, pair),
    }


def association_table(pair: Pair, shown: pd.DataFrame) -> Table:
    """Return the first rows of ``shown``, features that stand for their clusters, in numbers."""
    several = len(shown[["image", "region"]].drop_duplicates()) > 1
    groups = feature_groups()
    rows = [
        [
            Cell(feature_name(row["feature"]) + _place(row, where_words(row, several)), title=row["feature"]),
            Cell(groups[row["meaning_group"]].title),
            count_cell(row["stands_for"]),
            count_cell(row["n"]),
            Cell(with_interval(row, "spearman_rho", "rho"), _sort(row["spearman_rho"])),
            Cell(probability(row["q"]), _sort(row["q"])),
            number_cell(row["rho_given_volume"], 2),
            Cell(probability(row["q_given_volume"]), _sort(row["q_given_volume"])),
            Cell(with_interval(row, "cohens_d", "d"), _sort(row["cohens_d"])),
            Cell(f"{row['n_worst']} / {row['n_best']}"),
        ]
        for row in records(shown.head(SHOWN_FEATURES))
    ]
    columns = ["Feature", "Tells of", "Stands for", "n", "ρ [95 % CI]", "q", "ρ at equal volume", "q at equal volume"]
    columns += ["d [95 % CI]", "n worst / best"]
    caption = f"Features of {pair.name}, those that go along with the metric most first; one of each that tell the same."
    return without_empty(Table(caption, columns, rows, frozenset(range(2, 10)), sortable=True))


def _place(row: Mapping[str, Any], where: str) -> str:
    """Return what follows a feature's name: where it is from, and that it is unstable, where it is."""
    return f" ({where})" + (", unstable" if row["unstable"] else "")


def _sort(value: Any) -> str:
    return "" if pd.isna(value) else repr(float(value))


def without_features(source: Source, pair: Pair) -> str:
    """Return which cases have no features, and why; nothing where all have some."""
    radiomics = source.failure(pair, "radiomics")
    empty = radiomics[radiomics[feature_columns(radiomics)].isna().all(axis=1)]
    if empty.empty:
        return ""
    manifest = {str(row["case_id"]): row for row in records(source.cohort_table(pair.cohort, "manifest"))}
    reasons = []
    for row in records(empty.head(SHOWN_CASES)):
        image = row["image"]
        other = read_substituted(manifest.get(row["case_id"], {})).get(image)
        why = f"no {channel_name(image)}, shown is {channel_name(other)}" if other else row["note"]
        reasons.append(f"{row['case_id']} ({why})")
    rest = len(empty) - len(reasons)
    cases = f"{', '.join(reasons)} and {rest} more, in radiomics.csv" if rest else join_words(reasons)
    have = "has" if len(empty) == 1 else "have"
    noun = "row" if radiomics["case_id"].duplicated().any() else "case"
    return f"{len(empty)} of {count(len(radiomics), noun)} {have} no features: {cases}."
