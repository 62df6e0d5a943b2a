"""The report's first section: who was studied, how well it went, and what sets the worst cases apart."""

from collections.abc import Mapping
from typing import Any

from glioflow.console import count
from glioflow.formatting import UNDEFINED, number
from glioflow.report.cohorts import cohort_scheme, scheme_words
from glioflow.report.failure import failure_sentence
from glioflow.report.mask_quality import is_scored, look_first, predicted_pairs
from glioflow.report.problems import study_warnings
from glioflow.report.quality import measured_pairs, quality_sentence
from glioflow.report.source import Source
from glioflow.report.tables import TTA_WORDS, Cell, Table, count_cell, join_words, unseen_cell
from glioflow.study.metric_registry import find_metric


def summary_section(source: Source) -> dict[str, Any]:
    """Return the answer first."""
    return {
        "cohorts": [cohort_sentence(source, name) for name in source.study["cohorts"]],
        "models": [(name, source.model_words(name)) for name in source.models()],
        "unscored": [unscored_sentence(source, *pair.split("/")) for pair in source.unscored],
        "table": headline_table(source),
        "unseen": unseen_words(source),
        "warnings": study_warnings(source),
        "schemes": scheme_table(source),
        "failures": [failure_sentence(source, pair) for pair in source.pairs if pair.failure],
        "quality": [quality_sentence(source, pair) for pair in measured_pairs(source)],
        "look_first": [look_first(source, pair) for pair in predicted_pairs(source) if not is_scored(source, pair)],
    }


def cohort_sentence(source: Source, name: str) -> str:
    """Return a cohort's size in one sentence."""
    split = source.cohort_table(name, "split")
    sizes = split["set"].value_counts()
    patients = split["patient_id"].nunique()
    of_patients = f" of {count(patients, 'patient')}" if patients != len(split) else ", one a patient"
    words = {"train": "for training", "test": "held out", "external": "external"}
    parts = [f"{sizes[key]} {text}" for key, text in words.items() if key in sizes]
    if list(sizes.index) == ["external"]:
        divided = ": external, no model is trained on them"
    else:
        divided = f": {join_words(parts)}" if len(parts) > 1 else ""
    return f"The cohort {name} has {count(len(split), 'case')}{of_patients}{divided}."


def unscored_sentence(source: Source, model: str, set_name: str) -> str:
    """Return that a set was predicted and not scored, and where its masks are."""
    folder = f"{'postprocessed' if source.is_postprocessed(model) else 'predictions'}/{model}/{set_name}"
    cases = source.table(*folder.split("/"), "predictions.csv")["case_id"].nunique()
    return (
        f"The cohort {set_name} has no truth: {model} predicted its {count(cases, 'case')}, and nothing of it was scored; "
        f"the masks are in {folder}/."
    )


def scheme_table(source: Source) -> Table | None:
    """Return the label schemes in use: of each cohort's truth and of each model's precomputed masks; None where none is."""
    study = source.study
    used = [("truth", name, cohort_scheme(spec)) for name, spec in study["cohorts"].items()]
    used += [("masks", name, spec["label_scheme"]) for name, spec in study["models"].items() if "predictions" in spec]
    rows = [[Cell(what), Cell(name), Cell(scheme), Cell(scheme_words(scheme))] for what, name, scheme in used if scheme]
    caption = "Label schemes: what the values of the files mean, as the study names them."
    return Table(caption, ["Of", "Cohort or model", "Scheme", "Values"], rows, headers=2) if rows else None


def unseen_words(source: Source) -> str:
    """Return why cells of the tables say n/a; nothing where none does."""
    reasons = {pair.model: reason for pair in source.pairs for reason in source.unseen(pair).values()}
    return "; ".join(f"{model}: {reason}" for model, reason in reasons.items())


def headline_table(source: Source) -> Table | None:
    """Return mean Dice and median HD95 of every set, None where nothing was scored."""
    rows, both = [], source.both_tta()
    for pair in source.pairs:
        unseen = source.unseen(pair)
        for tta, summary in source.summaries(pair).items():
            cases = source.cases(pair, tta)
            row = [Cell(pair.model), Cell(pair.set), *([Cell(TTA_WORDS[tta])] if both else []), count_cell(cases)]
            for metric, statistic in (("dice", "mean"), ("hd95_mm", "median")):
                for region in source.regions:
                    if region in unseen:
                        row.append(unseen_cell(unseen[region]))
                    else:
                        row.append(_headline_cell(summary.get((region, metric)), metric, statistic, cases))
            rows.append(row)
    columns = [
        *("Model", "Set", *(["TTA"] if both else []), "Cases"),
        *(f"Dice {region}, mean" for region in source.regions),
        *(f"HD95 {region}, median (mm)" for region in source.regions),
    ]
    caption = "How well each set was segmented (HD95: 95th percentile Hausdorff distance)."
    named = 3 if both else 2
    return Table(caption, columns, rows, frozenset(range(named, len(columns))), headers=named) if rows else None


def _headline_cell(line: Mapping[str, Any] | None, metric: str, statistic: str, cases: int) -> Cell:
    """Return one number, with the number of its cases where that is not all of them."""
    if line is None:
        return Cell(UNDEFINED)
    text = number(line[statistic], find_metric(metric).statistic_decimals)
    return Cell(text if line["n"] == cases or text == UNDEFINED else f"{text} (n = {int(line['n'])})")
