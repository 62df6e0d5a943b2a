"""What the report may say of the features that go along with failing: tables in, sentences out.

- Nothing is claimed below ``FEWEST_CLAIMED`` patients, nor of features of the extremes alone.
- A feature is named only with a q below ``FALSE_DISCOVERIES`` over all cases; of those that tell the same, one.
- Of a texture or an intensity the sentence says whether it goes along with the metric at equal tumour volume too
  (``q_given_volume``); otherwise that it is as expected from size.
- That nothing was found is said as plainly, with the correlation that could have been missed.
- A feature goes along with the metric: that it does so is no reason for it, and no effect size is a finding.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.failure.associations import EXTREMES_ALONE, IS_VOLUME_NOTE
from glioflow.failure.correlations import largest_missed
from glioflow.failure.feature_groups import feature_groups
from glioflow.formatting import UNDEFINED, number
from glioflow.report.plotting import CHANNEL_NAMES, feature_title
from glioflow.report.source import records
from glioflow.study.metric_registry import find_metric

FEWEST_CLAIMED = 10
# A feature or a covariate is named as a finding only below this share of false discoveries.
FALSE_DISCOVERIES = 0.05
NAMED = 3
BLOCK = ["image", "region"]
CLUSTER = [*BLOCK, "cluster"]


def representatives(associations: pd.DataFrame) -> pd.DataFrame:
    """Return the features that stand for their clusters, in the table's order, with ``stands_for``: how many it has."""
    sizes = associations.groupby(CLUSTER)["feature"].transform("size")
    return associations.assign(stands_for=sizes)[associations["representative"].astype(bool)]


def findings(associations: pd.DataFrame) -> pd.DataFrame:
    """Return the row with the smallest p of each cluster of which a feature is found, with ``stands_for``; it may be empty."""
    sizes = associations.groupby(CLUSTER)["feature"].transform("size")
    found = associations.assign(stands_for=sizes)
    found = found[(found["q"] < FALSE_DISCOVERIES) & (found["n"] >= FEWEST_CLAIMED)]
    return found.sort_values("p", kind="stable").drop_duplicates(CLUSTER)


def feature_claims(associations: pd.DataFrame, metric: str, region: str) -> str:
    """Return what may be said of a set's features and the metric of a region, in one or two sentences."""
    what = f"the {find_metric(metric).name} of {region}"
    tested = associations[associations["p"].notna()]
    if tested.empty:
        return f"No feature could be tested against {what}: {untested_reasons(associations)}."
    patients = int(tested["n"].max())
    if patients < FEWEST_CLAIMED:
        return (
            f"Nothing is claimed of features: {count(patients, 'patient')} with features and a value of {what} are too few "
            f"({FEWEST_CLAIMED} are the least)."
        )
    over = f"Over {patients} patients"
    found = findings(associations)
    if found.empty:
        missed = number(largest_missed(patients, len(tested)), 2)
        return (
            f"{over}, none of {count(len(tested), 'feature')} goes along with {what} more than chance may do (q ≥ 0.05). "
            f"That is no proof of absence: a correlation up to |ρ| = {missed} could have been missed (80 % power, one feature "
            f"among {len(tested)})."
        )
    several = len(associations[BLOCK].drop_duplicates()) > 1
    named = "; it ".join(finding_words(row, several) for row in records(found.head(NAMED)))
    more = len(found) - NAMED
    also = f" {count(more, 'further finding')} {'is' if more == 1 else 'are'} in the table." if more > 0 else ""
    return f"{over}, {what} {named}.{also}"


def finding_words(row: Mapping[str, Any], several: bool = False) -> str:
    """Return one finding in words: ``falls with Mean (first order, ρ = −0.71 [−0.85, −0.47], q < 0.001)``."""
    direction = "rises" if row["spearman_rho"] > 0 else "falls"
    facts = [where_words(row, several), f"ρ = {with_interval(row, 'spearman_rho', 'rho')}", f"q {probability(row['q'], '= ')}"]
    if row["stands_for"] > 1:
        facts.append(f"one of {row['stands_for']} features that tell the same")
    size = size_words(row)
    return f"{direction} with {feature_name(row['feature'])} ({', '.join(facts)}){f', {size}' if size else ''}"


def size_words(row: Mapping[str, Any]) -> str:
    """Return whether a finding is more than tumour size; nothing of a size or a shape."""
    if feature_groups()[row["meaning_group"]].kind in ("size", "shape"):
        return ""
    if row["q_given_volume"] < FALSE_DISCOVERIES:
        rho, q = number(row["rho_given_volume"], 2), probability(row["q_given_volume"], "= ")
        return f"at equal tumour volume too (ρ = {rho}, q {q})"
    if pd.isna(row["q_given_volume"]) and IS_VOLUME_NOTE not in str(row["note"]):
        return "not tested at equal tumour volume"
    return "as expected from size"


def untested_reasons(associations: pd.DataFrame) -> str:
    """Return why features were not tested, each reason once."""
    notes = associations.loc[associations["p"].isna(), "note"].dropna().astype(str)
    if notes.str.contains(EXTREMES_ALONE, regex=False).any():
        return f"{EXTREMES_ALONE} (failure.cases: all tests them)"
    return "; ".join(dict.fromkeys(notes)) or "no feature was computed"


def feature_name(feature: str) -> str:
    """Return the name of a feature without its class."""
    return feature_title(feature).partition(" · ")[2]


def where_words(row: Mapping[str, Any], several: bool) -> str:
    """Return the class of a feature, with image and region where the table has several."""
    group = feature_title(row["feature"]).partition(" · ")[0]
    name = group if group.isupper() else group.lower()
    return f"{name}, {row['region']} in {CHANNEL_NAMES.get(row['image'], row['image'])}" if several else name


def with_interval(row: Mapping[str, Any], value: str, interval: str) -> str:
    """Return a value with its interval: ``0.62 [0.30, 0.81]``."""
    low, high = row[f"{interval}_ci_low"], row[f"{interval}_ci_high"]
    text = number(row[value], 2)
    return text if text == UNDEFINED or pd.isna(low) else f"{text} [{number(low, 2)}, {number(high, 2)}]"


def probability(value: Any, equals: str = "") -> str:
    """Return a p or q with three decimals, ``< 0.001`` where it is smaller. ``equals`` goes before a number."""
    if pd.isna(value):
        return UNDEFINED
    return "<\u00a00.001" if value < 0.001 else f"{equals}{number(value, 3)}"
