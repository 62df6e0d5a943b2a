"""The report on how a study was made: paragraphs to paste with its numbers filled in, what every step took, and its plan."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.evaluation.conventions import conventions
from glioflow.formatting import UNDEFINED, number
from glioflow.models.nnunet.keys import installed
from glioflow.report.checkout import read_commit
from glioflow.report.cohorts import own_origin, split_words
from glioflow.report.definitions import definition_words
from glioflow.report.feature_notes import features_words
from glioflow.report.plan_figure import draw_plan
from glioflow.report.plotting import CHANNEL_NAMES
from glioflow.report.provenance import NOT_RECORDED, processor_words
from glioflow.report.references import convention_sources, known_references, used_keys
from glioflow.report.source import Source, embed_figure, records
from glioflow.report.summary import cohort_sentence
from glioflow.report.tables import Cell, Table, count_cell, join_words
from glioflow.report.training import epoch_words, loss_words, network_words, optimiser_words, said_settings
from glioflow.study.metric_registry import find_metric
from glioflow.study.registry import datasets

GB_PER_MB = 2**20 / 10**9  # Snakemake's MB has 2^20 bytes


def methods_section(source: Source) -> dict[str, Any]:
    """Return paragraphs to paste, the table of the steps and the picture of the plan."""
    jobs = source.jobs()
    reads = {str(row["rule"]): [] if pd.isna(row["reads"]) else str(row["reads"]).split() for row in records(jobs)}
    told = "; ".join(f"{rule} reads {join_words(makers)}" for rule, makers in reads.items() if makers)
    plan = draw_plan(reads, dict(zip(jobs["rule"], jobs["jobs"].astype(int), strict=True)))
    return {
        "paragraphs": paragraphs(source),
        "jobs": job_table(jobs),
        "unmeasured": int(jobs["jobs"].sum() - jobs["measured"].sum()),
        "plan": embed_figure(plan, f"The steps of the study, makers above readers. {told}.") if len(jobs) else None,
    }


def paragraphs(source: Source) -> list[str]:
    """Return the study's methods as paragraphs, every number out of its configuration and tables."""
    cites = set(used_keys(source))
    parts = [data_sentences(source), training_sentences(source), score_sentences(source, cites)]
    parts += [comparison_sentences(source, cites), failure_sentences(source, cites), software_sentences(source)]
    return [text for part in parts if (text := " ".join(part))]


def data_sentences(source: Source) -> Iterator[str]:
    """Yield of each cohort how many cases it has, where they are from, which sequences were read and how it was divided."""
    for name, spec in source.study["cohorts"].items():
        known = datasets().get(spec["dataset"])
        origin = known.title if known else own_origin(spec)
        cited_terms = known and spec["dataset"] != "phantom" and [text for text in (known.citation, known.licence) if text]
        terms = f" ({'; '.join(cited_terms)})" if cited_terms else ""
        manifest = source.cohort_table(name, "manifest")
        channels = join_words(words for channel, words in CHANNEL_NAMES.items() if channel in manifest) or "no image"
        yield cohort_sentence(source, name)
        split = "" if spec.get("external") else f"; split: {split_words(spec)}"
        yield f"Source: {origin}{terms}; sequences: {channels}{split}."


def training_sentences(source: Source) -> Iterator[str]:
    """Yield of each trained model what it is and how it was trained: versions and devices as of its training."""
    for name in source.trained:
        model, folds = source.study["models"][name], source.folds[name]
        settings = said_settings(model, folds)
        versions = {key: recorded(folds, key) for key in ("nnunetv2", "torch")}
        devices = sorted({device_words(fold) for fold in folds})
        channels = join_words(CHANNEL_NAMES[channel] for channel in model["channels"])
        yield (
            f"Network of the model {name}: {network_words(model)} ({cited('nnunet')}; nnU-Net {versions['nnunetv2']} and "
            f"PyTorch {versions['torch']} when it was trained), on {channels}, for the regions {join_words(model['regions'])}."
        )
        yield (
            f"It was trained in {count(len(folds), 'fold')} for {epoch_words(settings)}, loss: {loss_words(settings)}, "
            f"optimiser: {optimiser_words(settings)}, seed {model['seed']}, on {join_words(devices)}."
        )
    if given := [name for name in source.models() if name not in source.trained]:
        yield " ".join(f"{name}: {source.model_words(name)}." for name in given)


def recorded(folds: list[dict[str, Any]], package: str) -> str:
    """Return the version of a package that folds were trained with, or their versions."""
    found = {str(fold.get("versions", {}).get(package) or "of no record") for fold in folds}
    return join_words(sorted(found))


def device_words(fold: Mapping[str, Any]) -> str:
    """Return what a fold was trained on: its GPU, or the processor where it used none."""
    if fold.get("gpu") or fold.get("device") != "cpu":
        return str(fold.get("gpu") or fold.get("device") or UNDEFINED)
    return f"the processor {words}" if (words := processor_words(fold)) != NOT_RECORDED else f"cpu (processor {words})"


def score_sentences(source: Source, cites: set[str]) -> Iterator[str]:
    """Yield what was scored, under which definitions, and how uncertain a mean is."""
    if not source.pairs:
        return
    evaluation = source.study["evaluation"]
    name = evaluation["convention"]
    tools = join_words(f"{tool} ({version})" for tool, version in reversed(convention_sources(source).items()))
    sets = {pair.name: source.scores(pair)["case_id"].nunique() for pair in source.pairs}
    yield (
        f"Every case was scored in the regions {join_words(source.regions)} on its own grid: "
        f"{join_words(f'{cases} of {pair}' for pair, cases in sets.items())}."
    )
    words = " ".join(definition_words(conventions()[name]))
    yield f"Metrics are those of the convention {name} of glioflow, after {tools}. {words}"
    yield (
        "Means, standard deviations and quartiles are over the cases in which a metric is defined; 95 % confidence intervals "
        f"are bootstrap percentile intervals of 10,000 resamples of the patients, widened for small samples "
        f"({cited('bootstrap')})."
    )
    if "agreement" in cites:
        yield (
            f"Volumes were compared by limits of agreement ({cited('agreement')}) and the concordance correlation coefficient "
            f"({cited('concordance')}), by patient."
        )
    if "cv_plus" in cites:
        yield f"The Dice of each case was also predicted without its truth, with 90 % intervals by CV+ ({cited('cv_plus')})."


def comparison_sentences(source: Source, cites: set[str]) -> Iterator[str]:
    """Yield how models that share their cases were compared."""
    if "holm" in cites:
        yield (
            "Models were compared case by case: median paired difference with a 95 % bootstrap interval, two-sided Wilcoxon "
            "signed-rank test of the patients' mean differences, p corrected over regions and pairs of models "
            f"({cited('holm')}), matched-pairs rank-biserial correlation; ranks in the bootstrap samples "
            f"({cited('rank_stability')})."
        )


def failure_sentences(source: Source, cites: set[str]) -> Iterator[str]:
    """Yield how the cases were ranked, what they were compared in, and by which tests."""
    failure = source.study["failure"]
    analysed = [pair for pair in source.pairs if pair.failure]
    if not analysed:
        return
    groups = [source.failure(pair, "extremes")["group"].value_counts() for pair in analysed]
    sizes = join_words(
        f"{count(int(size['worst']), 'worst case')} and {int(size['best'])} best of {pair.name}"
        for pair, size in zip(analysed, groups, strict=True)
    )
    yield f"Cases were ranked by the {find_metric(failure['rank_by']).name} of {failure['region']}: {sizes}."
    yield f"Radiomic features are pyradiomics' {installed('pyradiomics')} ({cited('pyradiomics')}), {features_words(failure)}."
    if "rank_interval" in cites:
        yield (
            "Over all cases, by patient, features were correlated with the metric (Spearman; intervals: "
            f"{cited('rank_interval')}; false discovery rate over all features of a set: {cited('false_discovery')})."
        )
    yield (
        f"Worst and best cases were compared by Cohen's d ({cited('cohen')}) beside the 95th percentile of the largest |d| in "
        f"999 random rankings; wrong voxels were classified and weighed by repair, after {cited('oracle_repair')} and "
        f"{cited('error_diagnosis')}."
    )


def software_sentences(source: Source) -> Iterator[str]:
    """Yield by which software the study was made."""
    commit = read_commit()
    which = f" ({commit.words})" if commit else ""
    yield f"All steps were run by glioflow{which}, a workflow of Snakemake {installed('snakemake')} ({cited('snakemake')})."


def cited(key: str) -> str:
    """Return a reference as a sentence names it: ``Isensee et al. 2021``."""
    return known_references()[key].short


def job_table(jobs: pd.DataFrame) -> Table:
    """Return what the jobs of every rule took: how many there are, their time together and of the longest, their memory."""
    rows = [
        [
            Cell(str(row["rule"]), code=True),
            count_cell(row["jobs"]),
            _time_cell(row["seconds"]),
            _time_cell(row["longest_seconds"]),
            _memory_cell(row),
        ]
        for row in records(jobs)
    ]
    if len(jobs) > 1:
        peak = jobs["peak_memory_mb"].max()
        told = {"peak_memory_mb": peak, "seconds": jobs["seconds"].sum(), "longest_seconds": jobs["longest_seconds"].max()}
        total = [_time_cell(told["seconds"]), _time_cell(told["longest_seconds"]), _memory_cell(told)]
        rows.append([Cell("all"), count_cell(jobs["jobs"].sum()), *total])
    columns = ["Step", "Jobs", "Time of all (h:mm:ss)", "Longest job (h:mm:ss)", "Peak memory (GB)"]
    return Table("What every step took, in the order of the steps.", columns, rows, frozenset(range(1, len(columns))))


def _time_cell(seconds: float) -> Cell:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return Cell(f"{hours}:{minutes:02d}:{rest:02d}", repr(float(seconds)))


def _memory_cell(row: Mapping[str, Any]) -> Cell:
    memory = row["peak_memory_mb"]
    return Cell(UNDEFINED) if pd.isna(memory) else Cell(number(memory * GB_PER_MB, 2), repr(float(memory)))
