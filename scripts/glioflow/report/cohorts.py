"""The report on a cohort: what it is, how it is split, how large the tumours are, what checking its files found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.config import datasets, label_schemes
from glioflow.console import count
from glioflow.figures import CHANNEL_NAMES
from glioflow.labels import REGION_NAMES, REGIONS
from glioflow.report.figures import draw_volumes
from glioflow.report.source import Source, embed_figure
from glioflow.report.tables import UNDEFINED, Cell, Table, count_cell, join_words, number, number_cell, slug, together

# A browser and a reader bear no more; the table's file has them all.
SHOWN_PROBLEMS = 200


def cohort_section(source: Source, name: str) -> dict[str, Any]:
    """Return what the page says of a cohort."""
    manifest, split = source.cohort_table(name, "manifest"), source.cohort_table(name, "split")
    volumes, parts = region_volumes(manifest), parts_of(manifest, split)
    medians = ", ".join(f"{region} {number(volumes[region].median(), 1)} ml" for region in volumes)
    alt = f"Volumes of the tumour regions of the cohort {name}, every case a point. Medians: {medians}."
    return {
        "name": name,
        "anchor": slug("cohort", name),
        "facts": cohort_facts(source.study["cohorts"][name], manifest),
        "split": split_table(name, split),
        "volumes": volume_table(name, volumes, parts),
        "figure": embed_figure(draw_volumes(volumes, parts), alt) if volumes.gt(0).any(axis=None) else None,
        "verification": verification(name, source.cohort_table(name, "verification")),
        "planted": planted_table(name, source.planted(name), split),
    }


def region_volumes(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the volumes of a manifest in ml, one column a region; without RC where no case has a cavity."""
    measured = [region for region in REGIONS if f"volume_{region}_ml" in manifest]
    shown = [region for region in measured if region != "RC" or manifest["volume_RC_ml"].gt(0).any()]
    return manifest[[f"volume_{region}_ml" for region in shown]].set_axis(shown, axis=1)


def parts_of(manifest: pd.DataFrame, split: pd.DataFrame) -> dict[str, list[bool]]:
    """Return a bool per row of the manifest for each part of the cohort: training and held out, or all cases."""
    held_out = set(split.loc[split["set"] == "test", "case_id"])
    if not held_out:
        return {"all cases": [True] * len(manifest)}
    test = [case in held_out for case in manifest["case_id"]]
    return {"training": [not member for member in test], "held out": test}


def cohort_facts(spec: Mapping[str, Any], manifest: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what a cohort is, as pairs of a term and its description."""
    known = datasets().get(spec["dataset"], {})
    origin = f"a table of cases, {spec['table']}" if spec["dataset"] == "table" else str(spec.get("path"))
    facts = [("Data set", str(known.get("title", origin)))]
    facts += [(term, str(known[key])) for term, key in (("Source", "source"), ("Licence", "licence")) if key in known]
    facts.append(
        ("Channels read", join_words(words for channel, words in CHANNEL_NAMES.items() if channel in manifest) or "none")
    )
    for term, column, unit in (("Voxels", "shape", ""), ("Spacing", "spacing_mm", " mm")):
        if column in manifest:
            facts.append((term, most_common(manifest[column].dropna().astype(str).str.replace("x", " × "), unit)))
    scheme = spec.get("label_scheme") or known.get("label_scheme")
    if scheme in label_schemes():
        names = {labels[0]: region for region, labels in REGIONS.items() if len(labels) == 1}
        meaning = [f"{raw} = {names[label]}" for raw, label in label_schemes()[scheme].items()]
        facts.append(("Label scheme", together(f"{scheme}: {', '.join(meaning)}")))
    return facts


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
    if (split["set"] == "test").any():
        parts |= {"training": split[split["set"] == "train"], "held out": split[split["set"] == "test"]}
    for column in (column for column in split.columns if column.startswith("fold_of_")):
        folds = int(column.removeprefix("fold_of_"))
        parts |= {f"fold {fold} of {folds} (validation)": split[split[column] == fold] for fold in range(folds)}
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


def verification(name: str, problems: pd.DataFrame) -> dict[str, Any]:
    """Return what checking the files found: a sentence, and a table where there is a problem."""
    if problems.empty:
        return {"sentence": "Every file was read and checked; no problem was found.", "table": None}
    kinds = problems["severity"].value_counts()
    found = join_words(count(int(kinds[kind]), kind) for kind in ("error", "warning") if kind in kinds)
    sentence = f"Every file was read and checked: {found} in {count(problems['case_id'].nunique(), 'case')}."
    if len(problems) > SHOWN_PROBLEMS:
        sentence += f" The first {SHOWN_PROBLEMS} are shown; all are in cohorts/{name}/verification.csv."
    columns = ["case_id", "severity", "problem", "file", "found", "expected"]
    rows = [
        [Cell(Path(text).name, title=text) if column == "file" else Cell(text) for column, text in row.items()]
        for row in problems[columns].astype("string").fillna("").head(SHOWN_PROBLEMS).to_dict("records")
    ]
    return {
        "sentence": sentence,
        "table": Table(f"Problems found in {name}.", ["Case", *map(str.capitalize, columns[1:])], rows),
    }


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
