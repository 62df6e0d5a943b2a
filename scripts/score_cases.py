"""Score the cases of one shard: how well each prediction agrees with its truth, region by region.

The metrics are those of ``glioflow.metrics`` under the study's convention; lesion-wise scores, where they are asked for, those
of ``glioflow.lesions``. A shard is every ``shards``-th case in the order of the case ids, with all its predictions: one, or one
with and one without test-time augmentation. A prediction whose truth, regions, convention and rules for lesions are what they
were is taken from the ledger and not read again.

Inputs
------
manifest : the cohort's manifest.csv, with the path, hash and spacing of each case's canonical label map
predictions : predictions.csv, with the path and hash of each case's predicted canonical label map, and whether it was made with
    test-time augmentation (``tta``: True, False, or empty where nobody knows; so is a table without the column). Where the
    column ``missing`` is True the mask is an empty one in place of a prediction that is not there, and the note says so

Outputs
-------
one CSV table, a row per case, tta and region: the columns of ``glioflow.scoring.Plan``, sorted by case id, then with
augmentation before without, regions in the order asked for

Params
------
regions : names of regions, as in ``glioflow.labels.REGIONS``
trained_regions : names of the regions that the model predicts, None where nobody knows; regions that cannot be told apart by
    them are not applicable (``glioflow.labels.visible_regions``)
truth_regions : names of the regions that the cohort's labels can show, None where nobody knows; others are not applicable
convention : a convention of config/conventions, with all its parameters
lesionwise : the rules for lesions of such a convention, or None
defects : names of the known defects of that convention's tool to compute as well
shard, shards : this shard's number, from 0, and how many there are
ledger : path of this shard's ledger
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, read_table, write_table
from glioflow.ledger import Ledger
from glioflow.metrics import Labels
from glioflow.parallel import map_unordered
from glioflow.score_tables import Tta, augmented_first, read_tta
from glioflow.scoring import Plan, geometry_problems, label_problems, plan_of, score_pair, score_table, with_missing_note
from glioflow.volumes import UnreadableVolumeError, read_labels


@dataclass(frozen=True)
class Case:
    """A prediction to score: where its and the truth's canonical label maps are, and what they are known by."""

    case_id: str
    patient_id: str
    fold: int | None
    tta: Tta
    truth: str
    truth_sha256: str
    truth_spacing: str
    prediction: str
    prediction_sha256: str
    missing: bool = False

    @property
    def item(self) -> str:
        """The prediction's name in the ledger."""
        return self.case_id if self.tta is None else f"{self.case_id} {'with' if self.tta else 'without'} tta"


def pair_cases(manifest: pd.DataFrame, predictions: pd.DataFrame, shard: int, shards: int) -> tuple[list[Case], list[str]]:
    """Return the shard's predictions that have both maps, sorted by case id, and a line for each of the others."""
    truths = {row["case_id"]: row for row in manifest.to_dict("records")}
    rows = augmented_first(predictions.assign(tta=read_tta(predictions))).to_dict("records")
    mine = set(sorted({row["case_id"] for row in rows})[shard::shards])
    times = Counter((row["case_id"], row["tta"]) for row in rows)
    cases, problems = [], list[str]()
    for row in sorted((row for row in rows if row["case_id"] in mine), key=lambda row: row["case_id"]):
        case_id, tta = row["case_id"], row["tta"]
        truth = truths.get(case_id)
        if times[case_id, tta] > 1:
            alike = f"{times[case_id, tta]} rows in the table of predictions"
            problems.append(f"{case_id}: has {alike}; one, or one with and one without test-time augmentation, is right")
        elif truth is None:
            problems.append(f"{case_id}: {row['prediction']} has no case of this id in the manifest; its truth is needed")
        elif pd.isna(truth["label"]):
            problems.append(
                f"{case_id}: {row['prediction']} has a case without a label map in the manifest; its truth is needed"
            )
        elif pd.isna(truth["label_sha256"]) or pd.isna(row["sha256"]):
            # Without both hashes a stale score would pass for a fresh one.
            problems.append(f"{case_id}: {row['prediction']} or its truth has no SHA-256 in its table; both hashes are needed")
        else:
            cases.append(
                Case(
                    case_id=case_id,
                    patient_id=row["patient_id"],
                    fold=None if pd.isna(row["fold"]) else int(row["fold"]),
                    tta=tta,
                    truth=truth["label"],
                    truth_sha256=truth["label_sha256"],
                    truth_spacing=truth["spacing_mm"],
                    prediction=row["prediction"],
                    prediction_sha256=row["sha256"],
                    missing=bool(row.get("missing", False)),
                )
            )
    return cases, problems


def case_key(case: Case, plan: Plan) -> str:
    """Return the content key of a prediction's scores: they are the same wherever it is the same."""
    return key_of(
        {
            **plan.key_parts(),
            "prediction": case.prediction_sha256,
            # The manifest's hash of a truth is of its voxels only.
            "spacing": case.truth_spacing,
            "truth": case.truth_sha256,
        }
    )


def score_case(case: Case, plan: Plan) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a prediction's scores, one for each region, or else the lines that say why it cannot be scored."""
    maps, problems = read_maps(case)
    return (score_pair(*maps, plan) if maps else []), problems


def read_maps(case: Case) -> tuple[tuple[Labels, Labels, Sequence[float]] | None, list[str]]:
    """Return the true and the predicted label map and mm per axis, or else the lines that say why they cannot be scored."""
    volumes, problems = [], []
    for path in (case.truth, case.prediction):
        try:
            volume = read_labels(path)
        except UnreadableVolumeError as error:
            problems.append(f"{case.case_id}: {error}")
            continue
        volumes.append(volume)
        problems.extend(f"{case.case_id}: {path}: {problem}" for problem in label_problems(volume))
    if len(volumes) == 2:
        truth, prediction = volumes
        problems.extend(f"{case.case_id}: {case.prediction}: {problem}" for problem in geometry_problems(truth, prediction))
    if problems:
        return None, problems
    true_labels, predicted_labels = (np.asarray(volume.data, np.uint8) for volume in volumes)
    return (true_labels, predicted_labels, truth.spacing), []


def case_rows(case: Case, scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a prediction in the score table."""
    told = {"patient_id": case.patient_id, "case_id": case.case_id, "fold": case.fold, "tta": case.tta}
    return [{**(with_missing_note(score) if case.missing else score), **told} for score in scores]


def main(snakemake: Any, console: Console) -> str:
    """Score the shard's predictions, those of the ledger excepted, and write their table.

    Raises ``UserError``, with a line for each, once every other one is scored, where some cannot be.
    """
    params, tables = snakemake.params, snakemake.input
    plan = plan_of(params)
    cases, problems = pair_cases(read_table(tables.manifest), read_table(tables.predictions), params.shard, params.shards)
    ledger = Ledger(params.ledger)
    scores: dict[Case, list[dict[str, Any]]] = {}
    for case in cases:
        if known := ledger.get(case.item, case_key(case, plan)):
            scores[case] = known
    waiting = [case for case in cases if case not in scores]
    results = map_unordered(score_case, waiting, snakemake.threads, plan)
    for case, (scored, wrong) in console.track(results, len(waiting), "predictions scored"):
        problems.extend(wrong)
        if not wrong:
            ledger.put(case.item, case_key(case, plan), scored)
            scores[case] = scored
    if problems:
        raise UserError("\n  ".join(["these cases cannot be scored:", *sorted(set(problems))]))
    table = score_table((row for case in cases for row in case_rows(case, scores[case])), plan)
    write_table(snakemake.output[0], table)
    ids = len({case.case_id for case in cases})
    twice = f", {len(cases)} predictions" if len(cases) > ids else ""
    kept = f", {len(cases) - len(waiting)} already scored" if len(waiting) < len(cases) else ""
    return f"{count(ids, 'case')}{twice}, {count(len(table), 'row')}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
