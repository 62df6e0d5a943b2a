"""Which radiomic features go along with the metric that ranks the cases: the table associations.csv.

The primary analysis is over all cases: rank correlation by patient, corrected for the number of features, and once more at
equal tumour volume (``glioflow.failure.correlations``). Beside it stand the effect sizes of the extremes
(``glioflow.failure.effects``), which describe and test nothing. Features that tell the same are one cluster
(``glioflow.failure.redundancy``).

A patient with several cases counts once, by the means of its cases. Where features of the extremes alone were computed, nothing
is correlated: of cases chosen by the metric, every correlation is too large.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from glioflow.console import count
from glioflow.failure.correlations import (
    FEWEST_TESTED,
    correlate,
    correlate_given,
    correlation_interval,
    rank_correlations,
)
from glioflow.failure.effects import cohens_d, largest_by_chance
from glioflow.failure.feature_groups import meaning_group
from glioflow.failure.redundancy import cluster_features
from glioflow.study.feature_names import feature_columns, feature_group

COLUMNS = (
    *("image", "region", "feature", "feature_group", "meaning_group", "cluster", "representative", "n"),
    *("spearman_rho", "rho_ci_low", "rho_ci_high", "p", "q", "rho_given_volume", "p_given_volume", "q_given_volume"),
    *("cohens_d", "hedges_g", "d_ci_low", "d_ci_high", "mean_worst", "mean_best", "sd_pooled", "n_worst", "n_best"),
    *("d_null_95", "note"),
)
# A feature that orders the patients as their tumours' volume does has nothing to say at equal volume.
IS_VOLUME = 0.999
EXTREMES_ALONE = "features of the extremes alone: nothing is correlated"
IS_VOLUME_NOTE = "goes with tumour volume: not tested at equal volume"

Floats = NDArray[np.float64]
Row = dict[str, Any]


def associate(
    radiomics: pd.DataFrame, ranked: pd.DataFrame, volumes: Mapping[str, pd.Series], extremes: pd.DataFrame, complete: bool
) -> pd.DataFrame:
    """Return the rows of associations.csv: within each image and region the largest |rho| first, undefined ones last.

    Parameters
    ----------
    radiomics
        The rows of radiomics.csv: case_id, patient_id, image, region, the features.
    ranked
        case_id, patient_id and value (the metric), a row a case that is analysed, the worst first.
    volumes
        Of each region, the true volume by case id.
    extremes
        The rows of extremes.csv: group, case_id.
    complete
        Whether ``radiomics`` is of all cases, and not of the extremes alone.
    """
    blocks = [
        _block(rows, str(image), str(region), ranked, volumes[str(region)], extremes, complete)
        for (image, region), rows in radiomics.groupby(["image", "region"], sort=False)
    ]
    table = pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame()
    table = table.reindex(columns=list(COLUMNS))
    for p, q in (("p", "q"), ("p_given_volume", "q_given_volume")):
        tested = table[p].notna()
        if tested.any():
            table.loc[tested, q] = false_discovery_control(table.loc[tested, p].astype(float))
    table["d_null_95"] = _null_of(radiomics, ranked, extremes) if complete else np.nan
    return table.astype(dict.fromkeys(("cluster", "n", "n_worst", "n_best"), "Int64"))


def _block(
    rows: pd.DataFrame,
    image: str,
    region: str,
    ranked: pd.DataFrame,
    volumes: pd.Series,
    extremes: pd.DataFrame,
    complete: bool,
) -> pd.DataFrame:
    """Return the rows of one image and region, without q."""
    names = feature_columns(rows)
    by_case = rows.set_index("case_id")[names].astype(float)
    effects = _effects(by_case, extremes)
    table = pd.DataFrame({"feature": names, "feature_group": [feature_group(name) for name in names]})
    table = table.assign(image=image, region=region, meaning_group=[meaning_group(name) for name in names])
    if complete:
        table = pd.concat([table, _correlations(by_case, ranked, volumes), effects.drop(columns="note")], axis=1)
        notes = [[one, other] for one, other in zip(table["note"], effects["note"], strict=True)]
    else:
        clusters, stands = cluster_features(rank_correlations(by_case.dropna(how="all").to_numpy(float)))
        patients = by_case.groupby(rows["patient_id"].to_numpy(object)).mean().notna().sum().to_numpy()
        table = table.assign(cluster=clusters, representative=stands, n=patients)
        table = pd.concat([table, effects.drop(columns="note")], axis=1)
        notes = [[EXTREMES_ALONE, other] for other in effects["note"]]
    table["note"] = ["; ".join(filter(None, parts)) or pd.NA for parts in notes]
    size = table["spearman_rho"].abs() if complete else table["cohens_d"].abs()
    order = table.assign(first=-size, second=-table["cohens_d"].abs()).sort_values(
        ["first", "second", "feature"], na_position="last"
    )
    return table.loc[order.index]


def _effects(by_case: pd.DataFrame, extremes: pd.DataFrame) -> pd.DataFrame:
    groups = [by_case.reindex(extremes.loc[extremes["group"] == group, "case_id"]) for group in ("worst", "best")]
    return pd.DataFrame([asdict(cohens_d(*(group[name].to_numpy(float) for group in groups))) for name in by_case])


def _correlations(by_case: pd.DataFrame, ranked: pd.DataFrame, volumes: pd.Series) -> pd.DataFrame:
    """Return clusters, correlations and notes, a row a feature."""
    names = list(by_case.columns)
    clusters, stands = cluster_features(rank_correlations(by_case.dropna(how="all").to_numpy(float)))
    joined = ranked.set_index("case_id").join(by_case, how="inner").join(volumes.rename("volume_ml"))
    joined = joined[joined[names].notna().any(axis=1)]
    patients = joined.groupby("patient_id", sort=False).mean()
    values, metric, volume = (patients[part].to_numpy(float) for part in (names, "value", "volume_ml"))
    table = pd.DataFrame(
        index=range(len(names)), columns=["spearman_rho", "p", "rho_given_volume", "p_given_volume"], dtype=float
    )
    table = table.assign(cluster=clusters, representative=stands, n=0, note="")
    known = ~np.isnan(values)
    # Features that are defined in the same patients, which are nearly always all, are correlated at once.
    for pattern in np.unique(known, axis=1).T:
        which = np.flatnonzero((known == pattern[:, None]).all(axis=0))
        table.loc[which, "n"] = int(pattern.sum())
        for column, found in _tested(values[pattern][:, which], metric[pattern], volume[pattern]).items():
            table.loc[which, column] = found
    low, high = correlation_interval(table["spearman_rho"].to_numpy(float), table["n"].to_numpy(float))
    return table.assign(rho_ci_low=low, rho_ci_high=high)


def _tested(values: Floats, metric: Floats, volume: Floats) -> dict[str, Any]:
    """Return what is tested of features (patients, features) that are defined in all these patients."""
    n, columns = values.shape
    if n < FEWEST_TESTED:
        return {"note": f"{count(n, 'patient')} with a value: fewer than {FEWEST_TESTED} to test"}
    if (metric == metric[0]).all():
        return {"note": "the metric is the same in every patient"}
    rho, p = correlate(values, metric)
    notes = ["the feature is the same in every patient" if constant else "" for constant in np.isnan(rho)]
    sized = ~np.isnan(volume)
    partial, partial_p = np.full((2, columns), np.nan)
    if sized.sum() > FEWEST_TESTED and len(np.unique(volume[sized])) > 1:
        partial, partial_p, with_volume = correlate_given(values[sized], metric[sized], volume[sized])
        is_volume = np.abs(with_volume) >= IS_VOLUME
        partial[is_volume] = partial_p[is_volume] = np.nan
        notes = [IS_VOLUME_NOTE if same else note for same, note in zip(is_volume, notes, strict=True)]
    else:
        notes = [note or "tumour volume is the same in every patient, or unknown" for note in notes]
    return {"spearman_rho": rho, "p": p, "rho_given_volume": partial, "p_given_volume": partial_p, "note": notes}


def _null_of(radiomics: pd.DataFrame, ranked: pd.DataFrame, extremes: pd.DataFrame) -> float:
    """Return the 95th percentile of the largest |d| by chance over all images, regions and features."""
    parts = [
        rows.set_index("case_id")[feature_columns(rows)].astype(float).reindex(ranked["case_id"])
        for _, rows in radiomics.groupby(["image", "region"], sort=False)
    ]
    values = np.concatenate([part.to_numpy(float) for part in parts], axis=1) if parts else np.empty((len(ranked), 0))
    return largest_by_chance(values, ranked["patient_id"].to_numpy(object), int((extremes["group"] == "worst").sum()))
