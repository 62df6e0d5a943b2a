"""The report on a cohort: what it is, how it is split, who its cases are, how large the tumours are, what checking found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glioflow.cohorts.covariate_folds import fold_values, value_columns
from glioflow.console import count
from glioflow.formatting import UNDEFINED, number
from glioflow.imaging.labels import ED, REGION_NAMES, REGIONS, scheme_regions
from glioflow.report.covariates import covariate_table
from glioflow.report.figures import draw_volumes
from glioflow.report.missing_channels import missing_section
from glioflow.report.plotting import CHANNEL_NAMES
from glioflow.report.problems import problem_section
from glioflow.report.source import Source, embed_figure
from glioflow.report.tables import Cell, Table, count_cell, join_words, number_cell, slug, together
from glioflow.study.registry import datasets, label_schemes

# Set of split.csv: the name of that part of a cohort.
PARTS = {"train": "training", "test": "held out", "external": "external"}
ACCESS_WORDS = {
    "open": "open, without registration",
    "synapse": "after registration at Synapse (synapse.org)",
    "tcia": "after registration at The Cancer Imaging Archive",
    "registration": "after registration at its source",
    "made": "made by the workflow",
}


def cohort_section(source: Source, name: str) -> dict[str, Any]:
    """Return what the page shows of a cohort."""
    manifest, split = source.cohort_table(name, "manifest"), source.cohort_table(name, "split")
    volumes, parts = region_volumes(manifest), parts_of(manifest, split)
    medians = ", ".join(f"{region} {number(volumes[region].median(), 1)} ml" for region in volumes)
    alt = f"Volumes of the tumour regions of the cohort {name}, every case a point. Medians: {medians}."
    return {
        "name": name,
        "anchor": slug("cohort", name),
        "facts": cohort_facts(source.study["cohorts"][name], manifest),
        "split": split_table(name, split),
        "volumes": volume_table(name, volumes, parts) if len(volumes.columns) else None,
        "figure": embed_figure(draw_volumes(volumes, parts), alt) if volumes.gt(0).any(axis=None) else None,
        "covariates": covariate_table(name, source.covariates(name), parts),
        "problems": problem_section(
            name,
            source.cohort_table(name, "verification"),
            source.cohort_table(name, "comparison"),
            source.trained_on(name),
        ),
        "missing": missing_section(name, manifest, source.cohort_table(name, "verification")),
        "planted": planted_table(name, source.planted(name), split),
    }


def region_volumes(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the volumes of a manifest in ml, one column a region that the labels can show; without RC where none has one."""
    measured = [region for region in REGIONS if manifest.get(f"volume_{region}_ml", pd.Series()).notna().any()]
    shown = [region for region in measured if region != "RC" or manifest["volume_RC_ml"].gt(0).any()]
    return manifest[[f"volume_{region}_ml" for region in shown]].set_axis(shown, axis=1)


def parts_of(manifest: pd.DataFrame, split: pd.DataFrame) -> dict[str, list[bool]]:
    """Return a bool per row of the manifest for each part of the cohort: training, held out, external; or all cases."""
    set_of = dict(zip(split["case_id"], split["set"], strict=True))
    sets = [set_of.get(case) for case in manifest["case_id"]]
    present = [key for key in PARTS if key in sets]
    if len(present) < 2:
        return {"all cases": [True] * len(manifest)}
    return {PARTS[key]: [member == key for member in sets] for key in present}


def cohort_facts(spec: Mapping[str, Any], manifest: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what a cohort is, as pairs of a term and its description."""
    known = datasets().get(spec["dataset"])
    facts = [("Data set", known.title if known else own_origin(spec))]
    if known:
        cite = "" if spec["dataset"] == "phantom" else known.citation
        told = (("Version", known.version), ("Source", known.source), ("Access", ACCESS_WORDS.get(known.access, known.access)))
        facts += [(term, text) for term, text in (*told, ("Licence", known.licence), ("Citation", cite)) if text]
    facts.append(("Split", together(split_words(spec))))
    facts.append(
        ("Channels read", join_words(words for channel, words in CHANNEL_NAMES.items() if channel in manifest) or "none")
    )
    for term, column, unit in (("Voxels", "shape", ""), ("Spacing", "spacing_mm", " mm"), ("Orientation", "orientation", "")):
        if column in manifest:
            values = manifest[column].dropna().astype(str)
            facts.append((term, most_common(values if term == "Orientation" else values.str.replace("x", " × "), unit)))
    if "brain_ml" in manifest and (volumes := manifest["brain_ml"].dropna().astype(float)).size:
        given = spec.get("skull_stripped")
        stripped = given if given is not None else bool(known and known.skull_stripped)
        ends = " to ".join(dict.fromkeys(number(volume, 0) for volume in (volumes.min(), volumes.max())))
        facts.append(("Brain volume" if stripped else "Volume off the background", f"{ends} ml"))
    scheme = cohort_scheme(spec)
    if scheme in label_schemes():
        facts.append(("Label scheme", f"{scheme}: {scheme_words(scheme)}"))
    return facts


def cohort_scheme(spec: Mapping[str, Any]) -> str | None:
    """Return the name of the label scheme of a cohort's truth; None where it has no truth, or names no scheme."""
    known = datasets().get(spec["dataset"])
    return (spec.get("label_scheme") or (known.label_scheme if known else None)) if spec.get("labelled", True) else None


def scheme_words(scheme: str) -> str:
    """Return what the raw values of a label scheme mean: ``1 = NCR, 2 = ED, 4 = ET``."""
    labels = label_schemes()[scheme]
    names = {parts[0]: region for region, parts in REGIONS.items() if len(parts) == 1}
    if "ED" not in scheme_regions(labels.values()):  # one label stands for the whole tumour
        names[ED] = "WT"
    return together(", ".join(f"{raw} = {names[label]}" for raw, label in labels.items()))


def own_origin(spec: Mapping[str, Any]) -> str:
    """Return where a cohort of the user's own comes from."""
    if spec["dataset"] == "table":
        return f"a table of cases, {spec['table']}"
    return f"a BIDS tree, {spec['path']}" if spec["dataset"] == "bids" else str(spec.get("path"))


def split_words(spec: Mapping[str, Any]) -> str:
    """Return how a cohort is divided, as its configuration has it."""
    if spec.get("external"):
        return "external: nothing is trained on it"
    if spec.get("split"):
        return f"read from {spec['split']}"
    strata = f"volume within each {spec['stratify_by']}" if spec.get("stratify_by") else "volume"
    drawn = f"drawn by patient with seed {spec['seed']}, alike in whole-tumour {strata}"
    aside = f"; {count(spec['train_size'], 'patient')} for training, the others left aside" if spec.get("train_size") else ""
    training = "training set and folds" if aside else "folds"
    if spec.get("test_cases"):
        return f"test cases named in the configuration{aside}; {training} {drawn}"
    if spec["test_fraction"] or spec.get("test_size"):
        share = f"{number(100 * spec['test_fraction'], 0)} %"
        held_out = count(spec["test_size"], "patient") if spec.get("test_size") else share
        return f"{held_out} held out{aside}; test set{',' if aside else ' and'} {training} {drawn}"
    return f"none held out{aside}; {training} {drawn}"


def most_common(values: pd.Series, unit: str) -> str:
    """Return the values that most cases share; where cases differ, with the number of cases."""
    counted = Counter(values).most_common()
    if len(counted) < 2:
        return f"{counted[0][0]}{unit} in every case" if counted else UNDEFINED
    shown = [f"{value}{unit} ({count(cases, 'case')})" for value, cases in counted[:3]]
    return ", ".join([*shown, *([f"{len(counted) - 3} others"] if len(counted) > 3 else [])])


def split_table(name: str, split: pd.DataFrame) -> Table:
    """Return cases and patients of each part, and of each fold's validation cases."""
    parts = {"all": split}
    present = [key for key in PARTS if (split["set"] == key).any()]
    parts |= {PARTS[key]: split[split["set"] == key] for key in present if len(present) > 1}
    for column in (column for column in split.columns if column.startswith("fold_of_")):
        folds = int(column.removeprefix("fold_of_"))
        parts |= {f"fold {fold} of {folds} (validation)": split[split[column] == fold] for fold in range(folds)}
    for covariate, column in value_columns(split).items():
        for fold, value in enumerate(fold_values(split, covariate)):
            validation = (split["set"] == "train") & (split[column] == value)
            parts[f"fold {fold} by {covariate}: {value} (validation)"] = split[validation.fillna(False)]
    rows = [[Cell(words), count_cell(len(part)), count_cell(part["patient_id"].nunique())] for words, part in parts.items()]
    return Table(f"How {name} is split; no patient is in two parts.", ["Part", "Cases", "Patients"], rows, frozenset({1, 2}))


def volume_table(name: str, volumes: pd.DataFrame, parts: Mapping[str, Sequence[bool]]) -> Table:
    """Return the volumes of each region in each part, over the cases that have the region."""
    rows = []
    for region in map(str, volumes):
        for part, members in parts.items():
            values = volumes.loc[list(members), region]
            present = values[values > 0]
            low, middle, high = present.quantile([0.25, 0.5, 0.75])
            quartiles = f"{number(low, 1)} to {number(high, 1)}" if len(present) else UNDEFINED
            ends = f"{number(present.min(), 1)} to {number(present.max(), 1)}" if len(present) else UNDEFINED
            counts = [count_cell(len(present)), count_cell((values == 0).sum())]
            rows.append(
                [
                    Cell(region, title=REGION_NAMES[region]),
                    Cell(part),
                    *counts,
                    number_cell(middle, 1),
                    Cell(quartiles),
                    Cell(ends),
                ]
            )
    columns = ["Region", "Part", "Cases with it", "Cases without", "Median (ml)", "Quartiles (ml)", "Range (ml)"]
    return Table(
        f"Volumes of the regions in {name}, over the cases that have them.", columns, rows, frozenset(range(2, 7)), headers=2
    )


def planted_table(name: str, planted: Mapping[str, str], split: pd.DataFrame) -> Table | None:
    """Return how many phantoms were made hard and in which way; None for other cohorts."""
    if not planted:
        return None
    test = set(split.loc[split["set"] == "test", "case_id"])
    rows = []
    for kind in sorted(set(planted.values()), key=lambda kind: (kind == "", kind)):
        cases = [case for case, planted_kind in planted.items() if planted_kind == kind]
        counts = [count_cell(len(cases)), count_cell(len(test & set(cases)))]
        rows.append([Cell(planted_words(kind) or "nothing"), *counts, Cell(", ".join(cases) if kind else "all others")])
    columns = ["Planted", "Cases", "Held out", "Which"]
    return Table(f"What makes cases of {name} hard: what the failure analysis should find.", columns, rows, frozenset({1, 2}))


def planted_words(kind: str) -> str:
    """Return a kind of planted difficulty for people."""
    return kind.replace("_", " ")
