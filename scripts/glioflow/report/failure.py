"""The report on failures: the worst and the best cases of a set, and the features that set them apart."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from glioflow.cohorts.manifests import read_substituted
from glioflow.formatting import number
from glioflow.imaging.labels import REGION_NAMES
from glioflow.report.cohorts import planted_words
from glioflow.report.covariates import covariate_effects, finding_sentence
from glioflow.report.feature_notes import feature_notes, shown_image
from glioflow.report.missing_channels import channel_name
from glioflow.report.plotting import FEATURE_GROUP_NAMES, feature_title, metric_text
from glioflow.report.source import Pair, Source, embed, records
from glioflow.report.tables import (
    Cell,
    Table,
    count_cell,
    join_words,
    number_cell,
    significant_cell,
    slug,
    text_cell,
    together,
    without_empty,
)
from glioflow.study.metric_registry import find_metric

SHOWN_EFFECTS = 20
NAMED_EFFECTS = 3
GROUPS = ("worst", "best")


def failure_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of the worst and the best cases of a set."""
    extremes, effects = source.failure(pair, "extremes"), source.failure(pair, "effects")
    spec, pictures = source.study["failure"], overlays(source, pair)
    defined = int(effects["cohens_d"].notna().sum())
    left_out = f"{len(effects) - defined} of {len(effects)} features have no effect size: {reasons(effects)}."
    groups = [group for group in GROUPS if (extremes["group"] == group).any()]
    chart = source.root / "failure" / pair.model / pair.set / "effects.png"
    return {
        "name": pair.name,
        "anchor": slug("failure", pair.model, pair.set),
        "ranked_by": f"{find_metric(spec['rank_by']).name} of {spec['region']} ({REGION_NAMES[spec['region']]})",
        "groups": [
            {"name": group, "table": extremes_table(source, pair, extremes, group), "pictures": pictures.get(group, [])}
            for group in groups
        ],
        "sentence": failure_sentence(source, pair)["text"],
        "chart": embed(chart, f"Bar chart of the largest effect sizes of {pair.name}; the table that follows has the numbers."),
        "effects": effects_table(pair, effects) if defined else None,
        "left_out": left_out if defined < len(effects) else "",
        "without_image": without_image(source, pair, extremes),
        "features": len(effects),
        "feature_notes": feature_notes(source, pair),
        "covariates": covariate_effects(source, pair),
    }


def failure_sentence(source: Source, pair: Pair) -> dict[str, str]:
    """Return what sets the worst cases of a set apart, in words, and the anchor of the section that shows it.

    A covariate is named only where the metric goes along with it in all cases, at a false discovery rate below 0.05.
    """
    extremes, effects = source.failure(pair, "extremes"), source.failure(pair, "effects")
    named = effects[effects["cohens_d"].notna()].head(NAMED_EFFECTS)
    found = [effect_words(row) for row in records(named)]
    counts = {group: int((extremes["group"] == group).sum()) for group in GROUPS}
    if found:
        text = f"The {counts['worst']} worst cases differ from the {counts['best']} best most in {join_words(found)}."
    else:
        text = f"No effect size is defined: {reasons(effects)}."
    if counts["worst"] < (wanted := source.study["failure"]["extremes"]):
        text += f" {wanted} were asked for; no more can be compared without a case being both."
    for worst in records(extremes.head(1)):
        text += f" The very worst is {worst['case_id']} ({worst['label']} {metric_text(worst['metric'], worst['value'])})."
    further = [finding_sentence(source, pair), planted_sentence(extremes, source.planted(pair.cohort))]
    words = " ".join([text, *filter(None, further)])
    return {"name": pair.name, "anchor": slug("failure", pair.model, pair.set), "text": together(words)}


def effect_words(effect: Mapping[str, Any]) -> str:
    """Return one effect in words: ``Entropy (first order, lower in the worst, d = −3.10)``."""
    group, _, name = feature_title(effect["feature"]).partition(" · ")
    direction = "higher" if effect["cohens_d"] > 0 else "lower"
    return (
        f"{name} ({group if group.isupper() else group.lower()}, {direction} in the worst, d = {number(effect['cohens_d'], 2)})"
    )


def without_image(source: Source, pair: Pair, extremes: pd.DataFrame) -> str:
    """Return which of the extremes lack the channel of the features and so have none; nothing where all have it."""
    image = shown_image(source.study["failure"])
    rows = {str(row["case_id"]): row for row in records(source.cohort_table(pair.cohort, "manifest"))}
    lacking = {case: other for case in extremes["case_id"] if (other := read_substituted(rows.get(case, {})).get(image))}
    if not lacking:
        return ""
    named = join_words(f"{case} (shown: {channel_name(other)})" for case, other in lacking.items())
    lack, have = ("lacks", "has") if len(lacking) == 1 else ("lack", "have")
    return f"{len(lacking)} of these {len(extremes)} cases {lack} {channel_name(image)} and {have} no features: {named}."


def planted_sentence(extremes: pd.DataFrame, planted: dict[str, str]) -> str:
    """Return how many of the extremes were made hard; nothing where ``planted`` (case to kind) is empty."""
    if not planted:
        return ""
    parts = []
    for group in GROUPS:
        cases = list(extremes.loc[extremes["group"] == group, "case_id"])
        kinds = Counter(planted_words(planted[case]) for case in cases if planted.get(case))
        which = f" ({', '.join(f'{number} {kind}' for kind, number in kinds.most_common())})" if kinds else ""
        parts.append(f"{sum(kinds.values())} of the {len(cases)} {group}{which}")
    return f"A difficulty was planted in {join_words(parts)}."


def reasons(effects: pd.DataFrame) -> str:
    """Return why effect sizes are undefined, each reason once."""
    return (
        "; ".join(dict.fromkeys(effects.loc[effects["cohens_d"].isna(), "note"].dropna().astype(str)))
        or "no feature was computed"
    )


def extremes_table(source: Source, pair: Pair, extremes: pd.DataFrame, group: str) -> Table:
    """Return one row a case of the worst or of the best, the most extreme first."""
    spec, planted, scores = source.study["failure"], source.planted(pair.cohort), source.shown_scores(pair)
    of_region = scores[scores["label"] == spec["region"]].set_index("case_id")
    metrics = list(dict.fromkeys([spec["rank_by"], "dice", "hausdorff", "hd95_mm", "volume_truth_ml", "volume_prediction_ml"]))
    rows = []
    for row in records(extremes[extremes["group"] == group].sort_values("rank")):
        values = {**of_region.loc[row["case_id"], metrics], spec["rank_by"]: row["value"]}
        cells = [Cell(str(row["rank"])), Cell(row["case_id"])]
        cells += [number_cell(values[metric], find_metric(metric).decimals) for metric in metrics]
        cells += [Cell(planted_words(planted.get(row["case_id"], "")) or "nothing")] if planted else []
        rows.append([*cells, text_cell(row["note"])])
    columns = ["Rank", "Case", *(find_metric(metric).heading for metric in metrics), *(["Planted"] if planted else []), "Note"]
    caption = f"The {group} cases of {pair.name}, values of {spec['region']}."
    return without_empty(Table(caption, columns, rows, frozenset({0, *range(2, 2 + len(metrics))}), headers=2))


def overlays(source: Source, pair: Pair) -> dict[str, list[dict[str, Any]]]:
    """Return the pictures of each group, the most extreme case first."""
    folder = source.root / "failure" / pair.model / pair.set
    pictures: dict[str, list[dict[str, Any]]] = {}
    for row in records(source.failure(pair, "overlays").sort_values("rank")):
        value = metric_text(source.study["failure"]["rank_by"], float(row["value"]))
        title = f"{row['group']} {row['rank']}: {row['case_id']}"
        alt = f"{title}, axial slice {row['slice']} with the outlines of truth and prediction, {value}"
        item = {
            "rank": row["rank"],
            "case_id": row["case_id"],
            "value": together(value),
            "picture": embed(folder / str(row["picture"]), alt),
        }
        pictures.setdefault(row["group"], []).append(item)
    return pictures


def effects_table(pair: Pair, effects: pd.DataFrame) -> Table:
    """Return the largest effect sizes of a set."""
    rows = [
        [
            Cell(feature_title(row["feature"]).partition(" · ")[2], title=row["feature"]),
            Cell(FEATURE_GROUP_NAMES.get(row["feature_group"], row["feature_group"])),
            number_cell(row["cohens_d"], 2),
            *(significant_cell(row[column]) for column in ("mean_worst", "mean_best", "sd_pooled")),
            *(count_cell(row[column]) for column in ("n_worst", "n_best")),
        ]
        for row in records(effects[effects["cohens_d"].notna()].head(SHOWN_EFFECTS))
    ]
    columns = ["Feature", "Class", "Cohen's d", "Mean, worst", "Mean, best", "Pooled SD", "n worst", "n best"]
    return Table(f"The largest effect sizes of {pair.name}.", columns, rows, frozenset(range(2, 8)), sortable=True)
