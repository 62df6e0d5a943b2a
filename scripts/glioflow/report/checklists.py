"""The report's checklists: every item answered by files where these hold what it asks for, else left to the authors."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.models.nnunet.keys import installed
from glioflow.report.references import known_references
from glioflow.report.source import Source
from glioflow.report.tables import Cell, Table
from glioflow.study.checklists import Checklist, Evidence, checklists
from glioflow.study.registry import datasets

AUTHORS = "for the authors"


def checklist_section(source: Source) -> list[dict[str, Any]]:
    """Return the checklists as tables; none where no set is analysed, for then there is no radiomics."""
    if not any(pair.failure for pair in source.pairs):
        return []
    return [_checklist(source, checklist) for checklist in checklists().values()]


def _checklist(source: Source, checklist: Checklist) -> dict[str, Any]:
    rows, answered = [], 0
    weighted = any(item.weight is not None for item in checklist.items.values())
    for number, item in checklist.items.items():
        held = [holds(source, evidence) for evidence in item.evidence]
        shown = bool(held) and all(held)
        answered += shown
        named = "; ".join(dict.fromkeys(name for evidence in item.evidence for name in names_of(source, evidence)))
        answer = (
            Cell(item.shows, link=item.section) if shown else Cell(f"{AUTHORS}: {item.authors}" if item.authors else AUTHORS)
        )
        weight = [Cell("–" if item.weight is None else f"{item.weight:.4f}")] if weighted else []
        rows.append([Cell(str(number)), Cell(item.name), *weight, answer, Cell(named if shown else "", code=True)])
    columns = ["Item", "What it asks for", *(["Weight"] if weighted else []), "Answer", "Where it stands"]
    reference = known_references()[checklist.reference]
    return {
        "title": checklist.title,
        "about": checklist.about,
        "reference": reference,
        "answered": answered,
        "total": count(len(rows), "item"),
        "table": Table(
            f"{checklist.title}: every item with its answer.", columns, rows, frozenset({0, 2} if weighted else {0})
        ),
    }


def holds(source: Source, evidence: Evidence) -> bool:
    """Tell whether a study's configuration or tables hold what an item asks for."""
    if evidence.key:
        value = key_value(source.study, evidence.key)
        if evidence.empty:
            return not value
        return value == evidence.equals if evidence.equals is not None else bool(value)
    if evidence.table:
        found = [any(_has(source, path, evidence) for path in group) for group in table_groups(source, evidence.table)]
        return bool(found) and all(found)
    if evidence.fold:
        folds = [fold for manifests in source.folds.values() for fold in manifests]
        return bool(folds) and all(key_value(fold, evidence.fold) for fold in folds)
    if evidence.sets:
        return any(is_of(source, pair.model, pair.set, evidence.sets) for pair in source.pairs)
    if evidence.dataset:
        used = [datasets().get(spec["dataset"]) for spec in source.study["cohorts"].values()]
        return all(known and known.access not in ("made", "own") and getattr(known, evidence.dataset) for known in used)
    return bool(evidence.package and installed(evidence.package))


def key_value(mapping: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key such as ``failure.bin_width``; None where there is none."""
    value: Any = mapping
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def is_of(source: Source, model: str, name: str, kind: str) -> bool:
    """Tell whether a scored set of a model that was trained here is of a kind: ``test``, or ``external``."""
    return model in source.trained and (name == "test" if kind == "test" else name not in ("cv", "test", "given"))


def table_groups(source: Source, pattern: str) -> Iterator[list[Path]]:
    """Yield the tables that a pattern stands for: of each set one, of all cohorts together one of which is enough."""
    pairs = {"scored": source.pairs, "analysed": [pair for pair in source.pairs if pair.failure]}
    if "{cohort}" in pattern:
        yield [source.root / pattern.format(cohort=cohort) for cohort in source.study["cohorts"]]
        return
    for kind, members in pairs.items():
        if f"{{{kind}}}" in pattern:
            yield from ([source.root / pattern.format(**{kind: f"{pair.model}/{pair.set}"})] for pair in members)
            return
    yield [source.root / pattern]


def _has(source: Source, path: Path, evidence: Evidence) -> bool:
    """Tell whether a table has values, as many different ones as are asked for, in a column."""
    if not path.exists():
        return False
    table = source.table(*path.relative_to(source.root).parts)
    for name, value in evidence.where.items():
        table = table[table[name].astype(str) == value] if name in table else table.iloc[:0]
    columns = evidence.columns or [str(evidence.column)]
    return any(column in table and _distinct(table[column]) >= evidence.distinct for column in columns)


def _distinct(values: pd.Series) -> int:
    return int(values.dropna().astype(str).nunique())


def names_of(source: Source, evidence: Evidence) -> Iterator[str]:
    """Yield the key, or the table and column, in which evidence stands; of several sets the first."""
    if evidence.key:
        yield evidence.key
    elif evidence.table:
        first = next(iter(table_groups(source, evidence.table)), [])
        for path in first[:1]:
            yield f"{path.relative_to(source.root).as_posix()} ({' or '.join(evidence.columns or [str(evidence.column)])})"
    elif evidence.fold:
        yield f"models/*/fold_*/manifest.json ({evidence.fold})"
    elif evidence.sets:
        yield from (f"scores/{p.model}/{p.set}.csv" for p in source.pairs if is_of(source, p.model, p.set, evidence.sets))
    elif evidence.dataset:
        yield f"cohorts.*.dataset, config/datasets.yaml ({evidence.dataset})"
    else:
        yield f"{evidence.package} {installed(str(evidence.package))}"
