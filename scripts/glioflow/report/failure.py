"""The report on failures: the worst and the best cases of a set, and what goes along with failing."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.evaluation.score_tables import lacks_a_mask
from glioflow.formatting import number
from glioflow.imaging.labels import REGION_NAMES
from glioflow.report.associations import associations_part
from glioflow.report.case_details import CaseDetails
from glioflow.report.cases import case_anchor
from glioflow.report.claims import feature_claims
from glioflow.report.cohorts import planted_words
from glioflow.report.covariates import covariate_effects, finding_sentence
from glioflow.report.failure_types import failure_types_section, worst_words
from glioflow.report.feature_notes import feature_notes
from glioflow.report.plotting import metric_text
from glioflow.report.source import Pair, Source, embed, records
from glioflow.report.tables import (
    Cell,
    Table,
    join_words,
    number_cell,
    slug,
    text_cell,
    together,
    without_empty,
)
from glioflow.study.metric_registry import find_metric

NAMED_CASES = 5
GROUPS = ("worst", "best")


def failure_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of the worst and the best cases of a set."""
    extremes = source.failure(pair, "extremes")
    spec, pictures = source.study["failure"], overlays(source, pair)
    groups = [group for group in GROUPS if (extremes["group"] == group).any()]
    return {
        "name": pair.name,
        "anchor": slug("failure", pair.model, pair.set),
        "ranked_by": f"{find_metric(spec['rank_by']).name} of {spec['region']} ({REGION_NAMES[spec['region']]})",
        "groups": [
            {"name": group, "table": extremes_table(source, pair, extremes, group), "pictures": pictures.get(group, [])}
            for group in groups
        ],
        "further": further_cases(source, pair),
        "sentence": failure_sentence(source, pair)["text"],
        "types": failure_types_section(source, pair),
        "apart": apart_table(source, pair),
        "associations": associations_part(source, pair),
        "feature_notes": feature_notes(source, pair),
        "covariates": covariate_effects(source, pair),
    }


def failure_sentence(source: Source, pair: Pair) -> dict[str, str]:
    """Return what goes along with failing in a set, in words, and the anchor of the section that shows it.

    What may be said is ruled by ``glioflow.report.claims``.
    """
    extremes, spec = source.failure(pair, "extremes"), source.study["failure"]
    text = feature_claims(source.failure(pair, "associations"), spec["rank_by"], spec["region"])
    worst_cases = int((extremes["group"] == "worst").sum())
    if worst_cases < (wanted := spec["extremes"]):
        text += f" The extremes are {worst_cases} worst and as many best: {wanted} were asked for, but no case can be both."
    for worst in records(extremes.head(1)):
        text += f" The very worst is {worst['case_id']} ({worst['label']} {metric_text(worst['metric'], worst['value'])})."
    text += apart_words(source, pair)
    further = [
        worst_words(source, pair),
        finding_sentence(source, pair),
        planted_sentence(extremes, source.planted(pair.cohort)),
    ]
    words = " ".join([text, *filter(None, further)])
    return {"name": pair.name, "anchor": slug("failure", pair.model, pair.set), "text": together(words)}


def apart_words(source: Source, pair: Pair) -> str:
    """Return, after a space, how many cases of a set are not ranked, why and which; nothing where all are."""
    apart, spec = source.failure(pair, "apart"), source.study["failure"]
    lacking = lacks_a_mask(apart) & (spec["penalised"] == "apart")
    groups = (
        (apart[lacking], f"set apart, since truth or prediction have no {spec['region']}"),
        (apart[~lacking], f"not ranked, since the {find_metric(spec['rank_by']).name} is undefined"),
    )
    text = ""
    for cases, words in groups:
        more = [f"{len(cases) - NAMED_CASES} more"] if len(cases) > NAMED_CASES else []
        which = join_words([*cases["case_id"][:NAMED_CASES], *more])
        text += f" {count(len(cases), 'case')} {'is' if len(cases) == 1 else 'are'} {words}: {which}." if len(cases) else ""
    return text


def apart_table(source: Source, pair: Pair) -> Table | None:
    """Return the cases of a set that are not ranked, the worst first; None where all are."""
    apart, metric = source.failure(pair, "apart"), find_metric(source.study["failure"]["rank_by"])
    rows = [
        [Cell(row["case_id"]), number_cell(row["value"], metric.decimals), text_cell(row["note"])] for row in records(apart)
    ]
    caption = f"Cases of {pair.name} that are not ranked, values of {source.study['failure']['region']}."
    return Table(caption, ["Case", metric.heading, "Note"], rows, frozenset({1})) if rows else None


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


def extremes_table(source: Source, pair: Pair, extremes: pd.DataFrame, group: str) -> Table:
    """Return one row a case of the worst or of the best, the most extreme first."""
    spec, planted, scores = source.study["failure"], source.planted(pair.cohort), source.shown_scores(pair)
    of_region = scores[scores["label"] == spec["region"]].set_index("case_id")
    metrics = list(dict.fromkeys([spec["rank_by"], "dice", "hausdorff", "hd95_mm", "volume_truth_ml", "volume_prediction_ml"]))
    rows = []
    for row in records(extremes[extremes["group"] == group].sort_values("rank")):
        values = {**of_region.loc[row["case_id"], metrics], spec["rank_by"]: row["value"]}
        cells = [Cell(str(row["rank"])), Cell(row["case_id"], link=case_anchor(pair, str(row["case_id"])))]
        cells += [number_cell(values[metric], find_metric(metric).decimals) for metric in metrics]
        cells += [Cell(planted_words(planted.get(row["case_id"], "")) or "nothing")] if planted else []
        rows.append([*cells, text_cell(row["note"])])
    columns = ["Rank", "Case", *(find_metric(metric).heading for metric in metrics), *(["Planted"] if planted else []), "Note"]
    caption = f"The {group} cases of {pair.name}, values of {spec['region']}."
    return without_empty(Table(caption, columns, rows, frozenset({0, *range(2, 2 + len(metrics))}), headers=2))


def overlays(source: Source, pair: Pair) -> dict[str, list[dict[str, Any]]]:
    """Return what the page shows of each extreme case by group, the most extreme first, with its picture where it has one."""
    folder, spec = source.root / "failure" / pair.model / pair.set, source.study["failure"]
    drawn = {row["case_id"]: row for row in records(source.failure(pair, "overlays"))}
    witnesses = {row["case_id"]: row for row in records(source.failure(pair, "witnesses")) if row["label"] == spec["region"]}
    found: dict[str, list[dict[str, Any]]] = {}
    details, volumes = CaseDetails(source, pair), source.volumes(pair)
    for row in records(source.failure(pair, "extremes").sort_values("rank")):
        case = row["case_id"]
        value, picture = metric_text(spec["rank_by"], float(row["value"])), None
        if overlay := drawn.get(case):
            alt = f"{row['group']} {row['rank']}: {case}, {value}. Outlines of truth and prediction in two axial slices: "
            picture = embed(folder / str(overlay["picture"]), alt + slices_words(overlay, witnesses))
        item = {
            "rank": row["rank"],
            "case_id": case,
            "anchor": case_anchor(pair, str(case)),
            "details": details.of(str(case)),
            "volumes": volumes.get(str(case), ""),
            "value": together(value),
            "witness": together(witness_words(witnesses.get(case, {}))),
            "picture": picture,
            "further": False,
        }
        found.setdefault(row["group"], []).append(item)
    return found


def further_cases(source: Source, pair: Pair) -> list[dict[str, Any]]:
    """Return what the page shows of the cases that the study names for its viewer, besides the extremes."""
    packed = source.table("report", "viewer", pair.model, pair.set, "volumes.csv")
    details, volumes = CaseDetails(source, pair), source.volumes(pair)
    found = []
    for row in records(packed[packed["group"] == "further"].sort_values("rank")):
        case = str(row["case_id"])
        item = {"rank": row["rank"], "case_id": case, "value": "", "witness": "", "picture": None, "further": True}
        found.append({**item, "anchor": case_anchor(pair, case), "details": details.of(case), "volumes": volumes.get(case, "")})
    return found


def slices_words(row: Mapping[str, Any], witnesses: Mapping[str, Mapping[str, Any]]) -> str:
    """Return in words which slices a picture shows."""
    error = f"slice {int(row['error_slice'])}, where the wrong area is largest"
    if pd.isna(row["witness_slice"]):
        return error
    length = f"{number(witnesses[row['case_id']]['length_mm'], 1)} mm"
    return f"slice {int(row['witness_slice'])}, with the line of the Hausdorff distance of {length}, and {error}"


def witness_words(witness: Mapping[str, Any]) -> str:
    """Return in words which points a Hausdorff distance is between; why there is none; nothing where it is not known."""
    if not witness:
        return ""
    if pd.isna(witness["length_mm"]):
        return f"No Hausdorff distance: {witness['note']}."
    start = witness["measured_from"]
    other = "truth" if start == "prediction" else "prediction"
    ends = (", ".join(number(witness[f"{side}_{axis}_mm"], 0) for axis in "xyz") for side in (start, other))
    first, second = ends
    return f"{number(witness['length_mm'], 1)} mm from the {start} at ({first}) mm to the {other} at ({second}) mm, RAS."
