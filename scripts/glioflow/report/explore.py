"""What the report's plots and filters know of the cases of a set besides scores: covariates, features, quality, sessions."""

from typing import Any

import pandas as pd

from glioflow.cohorts.covariate_values import is_identifier, typed_covariate
from glioflow.report.claims import feature_name, representatives, where_words
from glioflow.report.mask_quality import predicted_pairs, read_quality
from glioflow.report.quality import measured_pairs
from glioflow.report.source import Pair, Source, records

# Covariates of more values than there are colours are told apart by nobody.
MOST_LEVELS = 8


def explore_data(source: Source, pair: Pair) -> dict[str, Any]:
    """Return by name the numbers and the categories of a set's cases: lists in the order of ``cases``, None where unknown.

    ``levels``: the numbers among the covariates that have few values, such as grades, as text to choose from.
    """
    cases = list(dict.fromkeys(source.scores(pair)["case_id"].astype(str)))
    numbers: dict[str, list[float | None]] = {}
    categories: dict[str, list[str | None]] = {}
    levels: dict[str, list[str | None]] = {}
    covariates = source.covariates(pair.cohort).reindex(cases)
    for name in map(str, covariates):
        kind, values = typed_covariate(covariates[name])
        if is_identifier(name):
            continue
        if kind == "number":
            numbers[name] = _plain(values)
            if 1 < values.nunique() <= MOST_LEVELS:
                levels[name] = [None if value is None else f"{value:g}" for value in numbers[name]]
        elif 1 < values.nunique() <= MOST_LEVELS:
            categories[name] = [None if pd.isna(value) else str(value) for value in values]
    return {"cases": cases, "numbers": numbers | _features(source, pair, cases), "categories": categories, "levels": levels}


def quality_data(source: Source, pair: Pair, cases: list[str]) -> dict[str, Any]:
    """Return what was predicted of a set's masks, and their volumes over time, for plots and filters.

    ``predicted``: the predicted Dice of every case by name of a region's, ``alarms``: by region, whether there is one; both in
    the order of ``cases``, None where nothing was predicted.
    """
    found: dict[str, Any] = {"predicted": {}, "alarms": {}, **sessions_data(source, pair)}
    if pair in predicted_pairs(source):
        quality = read_quality(source, pair, "quality")
        for region, rows in quality[quality["predicted_dice"].notna()].groupby("region", sort=False):
            table = rows.set_index(rows["case_id"].astype(str)).reindex(cases)
            found["predicted"][f"Predicted Dice {region}"] = _plain(table["predicted_dice"])
            found["alarms"][str(region)] = [None if pd.isna(alarm) else bool(alarm) for alarm in table["alarm"]]
    return found


def sessions_data(source: Source, pair: Pair) -> dict[str, Any]:
    """Return the volumes of the patients of a set who have several sessions.

    ``sessions``: rows of a region, a patient, a case, when it was, and the true and the predicted volume in ml; ``time`` says
    what counts: days, say, or sessions.
    """
    if pair not in measured_pairs(source) or not source.study["quality"]["follow"]:
        return {"sessions": [], "time": "session"}
    sessions = source.quality(pair, "sessions")
    units = list(sessions["session_unit"].unique())  # one axis needs one unit
    timed = bool(sessions["session_time"].notna().all()) and len(units) == 1
    names = (sessions[column].astype(str) for column in ("region", "patient_id", "case_id"))
    measured = ("session_time" if timed else "session", "volume_truth_ml", "volume_prediction_ml")
    rows = zip(*names, *(_plain(sessions[column]) for column in measured), strict=True)
    return {"sessions": [list(row) for row in rows], "time": f"{units[0]} since the first session" if timed else "session"}


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
