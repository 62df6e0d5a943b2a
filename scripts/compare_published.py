"""Put the study's values beside the published ones that its configuration names.

Ours are the rows of the sets' summaries, with their 95 % confidence intervals by patient, and with test-time augmentation where
there are both. Nothing is computed anew.

Inputs
------
summaries : the summaries that ``summarise_scores`` wrote, in the order of ``pairs``

Outputs
-------
published : CSV, a row a published value in the order of the study (``COLUMNS``). ``ours`` with the interval ``ci_low``,
    ``ci_high`` and over ``n`` cases; ``difference`` is ours less the published; ``differs`` holds what makes the two differ
    besides the model, the kind of set first

Params
------
pairs : ``model/set`` of each summary
published : the published values, as the study has them
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_table
from glioflow.models.predictions import augmented_first

COLUMNS = (
    *("model", "set", "metric", "region", "statistic", "ours", "ci_low", "ci_high", "n", "published", "difference"),
    *("differs", "source"),
)
MEASURED_WORDS = {"cv": "out-of-fold predictions of training cases", "test": "a test set"}
SET_WORDS = {**MEASURED_WORDS, "test": "the study's own test set", "given": "precomputed masks"}


def compare_values(values: Sequence[Mapping[str, Any]], summaries: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of published.csv. ``summaries``: by ``model/set``."""
    rows = []
    for value in values:
        summary = augmented_first(summaries[f"{value['model']}/{value['set']}"])
        found = summary[(summary["label"] == value["region"]) & (summary["metric"] == value["metric"])].iloc[0]
        statistic = value["statistic"]
        rows.append(
            {
                **{column: value[column] for column in ("model", "set", "metric", "region", "statistic", "source")},
                "ours": found[statistic],
                "ci_low": found[f"{statistic}_ci_low"],
                "ci_high": found[f"{statistic}_ci_high"],
                "n": found["n"],
                "published": value["value"],
                "difference": found[statistic] - value["value"],
                "differs": differing_words(value),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def differing_words(value: Mapping[str, Any]) -> str | None:
    """Return what differs between a published value and ours: the kind of set, where it does, and what the study says."""
    measured, own = value.get("measured_on"), value["set"]
    kinds = f"published: {MEASURED_WORDS[measured]}; here: {SET_WORDS.get(own, 'an external cohort')}" if measured else None
    return "; ".join(filter(None, [kinds if measured != own else None, value.get("differs")])) or None


def main(snakemake: Any, console: Console) -> str:
    """Write published.csv."""
    params = snakemake.params
    read = [read_table(path, ("metric",)) for path in snakemake.input.summaries]
    values = list(params.published)
    table = compare_values(values, dict(zip(params.pairs, read, strict=True)))
    write_table(snakemake.output[0], table)
    return f"{count(len(table), 'published value')}, {int(table['ours'].notna().sum())} with one of ours beside it"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
