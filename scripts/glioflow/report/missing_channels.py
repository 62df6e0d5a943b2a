"""The report on channels that cases lack: what took their place, and which cases are left out for want of them."""

from collections import defaultdict
from typing import Any

import pandas as pd

from glioflow.cohorts.manifests import SUBSTITUTED, read_substituted
from glioflow.cohorts.problems import EXCLUDED
from glioflow.console import count
from glioflow.report.plotting import CHANNEL_NAMES
from glioflow.report.tables import Cell, Table, count_cell, join_words


def channel_name(channel: str) -> str:
    """Return a channel, or what takes its place, for people."""
    return CHANNEL_NAMES.get(channel, channel)


def missing_section(name: str, manifest: pd.DataFrame, verification: pd.DataFrame) -> dict[str, Any] | None:
    """Return a sentence and the tables on the missing channels of a cohort; None where no case is changed or left out."""
    replaced: dict[tuple[str, str], list[str]] = defaultdict(list)
    cases = manifest.to_dict("records") if SUBSTITUTED in manifest else []
    for row in cases:
        for pair in read_substituted(row).items():
            replaced[pair].append(str(row["case_id"]))
    excluded = verification[verification["severity"] == EXCLUDED]
    sentences = []
    if replaced:
        lacking = len({case for ids in replaced.values() for case in ids})
        parts = [
            f"{channel_name(other)} takes the place of {channel_name(channel)} in {count(len(ids), 'case')}"
            for (channel, other), ids in replaced.items()
        ]
        verb = "lacks" if lacking == 1 else "lack"
        sentences.append(
            f"{count(lacking, 'case')} of {len(manifest)} {verb} a channel that the study reads: {join_words(parts)}."
        )
    if left_out := int(excluded["case_id"].nunique()):
        verb = "is" if left_out == 1 else "are"
        sentences.append(f"{count(left_out, 'case')} {verb} left out for want of a channel that the study reads.")
    if not sentences:
        return None
    tables = [substituted_table(name, replaced)] if replaced else []
    return {"sentence": " ".join(sentences), "tables": [*tables, *([excluded_table(name, excluded)] if left_out else [])]}


def substituted_table(name: str, replaced: dict[tuple[str, str], list[str]]) -> Table:
    """Return which channels are missing in how many cases, and what took their place."""
    rows = [
        [Cell(channel_name(channel)), Cell(channel_name(other)), count_cell(len(ids)), Cell(", ".join(ids))]
        for (channel, other), ids in replaced.items()
    ]
    columns = ["Missing", "In its place", "Cases", "Which"]
    return Table(f"Channels that cases of {name} lack, and what is read in their place.", columns, rows, frozenset({2}))


def excluded_table(name: str, excluded: pd.DataFrame) -> Table:
    """Return the cases that are left out, each with the reasons."""
    reasons = excluded.groupby("case_id")["found"].agg("; ".join)
    rows = [[Cell(str(case)), Cell(reason)] for case, reason in reasons.items()]
    return Table(f"Cases of {name} that are left out.", ["Case", "Reason"], rows)
