"""Classify what is wrong in every prediction of a set: which kinds of errors keep each region from a Dice of 1.

The kinds, what each costs and how the farthest error is found: ``glioflow.failure.failure_types``. The masks are read and
checked as ``score_cases`` does. Of a case with and without test-time augmentation the augmented prediction is classified. A
prediction whose truth, regions and convention are what they were is taken from the cache and not read again.

Inputs
------
manifest, predictions : as of score_cases

Outputs
-------
failure_types : CSV, a row per case and region, sorted by case id, regions in the order asked for (``failure_types.COLUMNS``):
    dice, flag (``nothing_found``: only the truth has the region; ``nothing_there``: only the prediction), dominant (the kind of
    the largest share), voxels n, volume ml, gain and share of every kind, the labels that are most often swapped, the numbers
    of missed and false lesions, kind, volume and distance of the farthest error, and a note. A region that the truth or the
    model's masks cannot show has its note alone
confusion : CSV, a row per pair of labels that the set has (``CONFUSION_COLUMNS``): ml of all cases together, and their share of
    the true label's volume

Params
------
regions, trained_regions, truth_regions : as of score_cases
convention : name of the study's: it decides the Dice of a region that neither map has
conventions : content hash of it, so that the rule runs again where a value may change
cache : path of the cache
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.cases import Case, case_key, case_rows, pair_cases, read_maps
from glioflow.evaluation.scoring import Plan, plan_of
from glioflow.failure.failure_types import COLUMNS, LABEL_NAMES, WHOLE_NUMBERS, classify_pair
from glioflow.files import key_of, write_table
from glioflow.models.predictions import main_rows, read_predictions

CONFUSION_COLUMNS = ("true_label", "predicted_label", "ml", "share")


def failure_key(case: Case, plan: Plan) -> str:
    """Return the content key of what is wrong in a prediction."""
    return key_of({"code": module_fingerprint("classify_failures"), "scores": case_key(case, plan)})


def classify_case(case: Case, plan: Plan) -> dict[str, Any]:
    """Return ``classify_pair`` of a prediction. Raises ``UserError`` where it cannot be read or does not fit its truth."""
    truth, prediction = read_maps(case)
    return classify_pair(truth.data, prediction.data, truth.spacing, plan)


def failure_table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a table of ``COLUMNS``; empty text is no text."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS)).replace("", pd.NA)
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def confusion_table(ml: NDArray[np.float64]) -> pd.DataFrame:
    """Return the confusion of labels, ``ml`` by true label (rows) and predicted one (columns), as a table.

    A label that neither the truths nor the predictions have is left out. The share is undefined where no truth has the label.
    """
    present = [label for label in LABEL_NAMES if ml[label].sum() + ml[:, label].sum() > 0]
    rows = [
        {
            "true_label": LABEL_NAMES[true],
            "predicted_label": LABEL_NAMES[predicted],
            "ml": float(ml[true, predicted]),
            "share": float(ml[true, predicted] / ml[true].sum()) if ml[true].sum() else np.nan,
        }
        for true in present
        for predicted in present
    ]
    return pd.DataFrame(rows, columns=list(CONFUSION_COLUMNS))


def main(snakemake: Any, console: Console) -> str:
    """Classify the set's predictions, those of the cache excepted, and write both tables.

    Raises ``UserError``, with a line for each, once every other one is classified, where some cannot be.
    """
    params, tables = snakemake.params, snakemake.input
    plan = plan_of(params, params.convention)
    predictions = main_rows(read_predictions(tables.predictions))
    cases, problems = pair_cases(read_manifest(tables.manifest), predictions)
    found, computed = compute_cases(
        classify_case,
        {case.case_id: case for case in cases},
        plan,
        threads=snakemake.threads,
        console=console,
        what="predictions classified",
        cache=CaseCache(params.cache),
        keys={case.case_id: failure_key(case, plan) for case in cases},
        problems=problems,
    )
    if problems:
        raise UserError("\n  ".join(["the errors of these cases cannot be classified:", *sorted(set(problems))]))
    table = failure_table(row for case in cases for row in case_rows(case, found[case.case_id]["rows"]))
    write_table(snakemake.output.failure_types, table)
    confusion = sum((np.array(found[case.case_id]["confusion"]) for case in cases), np.zeros((len(LABEL_NAMES),) * 2))
    write_table(snakemake.output.confusion, confusion_table(confusion))
    kept = f", {len(cases) - computed} kept from before" if computed < len(cases) else ""
    return f"{count(len(cases), 'case')}, {count(len(table), 'row')}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
