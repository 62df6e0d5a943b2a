"""What the report's scatter plots can show besides the scores: covariates and radiomic features of every case of a set."""

from typing import Any

import pandas as pd

from glioflow.cohorts.covariate_values import is_identifier, typed_covariate
from glioflow.report.claims import feature_name, representatives, where_words
from glioflow.report.source import Pair, Source, records

# Covariates of more values than there are colours are told apart by nobody.
MOST_LEVELS = 8


def explore_data(source: Source, pair: Pair) -> dict[str, Any]:
    """Return by name the numbers and the categories of a set's cases: lists in the order of ``cases``, None where unknown."""
    cases = list(dict.fromkeys(source.scores(pair)["case_id"].astype(str)))
    numbers: dict[str, list[float | None]] = {}
    categories: dict[str, list[str | None]] = {}
    covariates = source.covariates(pair.cohort).reindex(cases)
    for name in map(str, covariates):
        kind, values = typed_covariate(covariates[name])
        if is_identifier(name):
            continue
        if kind == "number":
            numbers[name] = _plain(values)
        elif 1 < values.nunique() <= MOST_LEVELS:
            categories[name] = [None if pd.isna(value) else str(value) for value in values]
    return {"cases": cases, "numbers": numbers | _features(source, pair, cases), "categories": categories}


def _features(source: Source, pair: Pair, cases: list[str]) -> dict[str, list[float | None]]:
    """Return the features that stand for others, in the order of the table of associations."""
    if not pair.failure:
        return {}
    associations, radiomics = representatives(source.failure(pair, "associations")), source.failure(pair, "radiomics")
    several = len(associations[["image", "region"]].drop_duplicates()) > 1
    found = {}
    for row in records(associations):
        rows = radiomics[(radiomics["image"] == row["image"]) & (radiomics["region"] == row["region"])]
        values = rows.set_index(rows["case_id"].astype(str))[row["feature"]].reindex(cases)
        if values.notna().any():
            found[f"{feature_name(row['feature'])} ({where_words(row, several)})"] = _plain(values)
    return found


def _plain(values: pd.Series) -> list[float | None]:
    # Six digits place a point on any screen.
    return [None if pd.isna(value) else float(f"{value:.6g}") for value in values]
