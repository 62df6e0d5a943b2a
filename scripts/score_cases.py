"""Score the cases of one shard: how well each prediction agrees with its truth, region by region.

The metrics, their conventions and the rules for empty masks are those of ``glioflow.metrics``. A shard is every
``shards``-th case in the order of the case ids. A case whose truth, prediction, regions and metrics are what they were is
taken from the ledger and not read again.

Inputs
------
manifest : the cohort's manifest.csv, with the path, hash and spacing of each case's canonical label map
predictions : predictions.csv, with the path and hash of each case's predicted canonical label map

Outputs
-------
one CSV table, a row per case and region: ``COLUMNS``, sorted by case id, regions in the order asked for

Params
------
regions : names of regions, as in ``glioflow.labels.REGIONS``
tta : whether the predictions were made with test-time augmentation; None where nobody knows
shard, shards : this shard's number, from 0, and how many there are
ledger : path of this shard's ledger
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, read_table, write_table
from glioflow.ledger import Ledger
from glioflow.metrics import LABEL_COUNT, METRICS_VERSION, score_regions
from glioflow.parallel import map_unordered
from glioflow.volumes import UnreadableVolumeError, Volume, affine_distance_mm, read_labels, same_geometry

# The first seven are those of open_brats2020's patients_indiv_perf.csv, so that what reads its tables reads these.
COLUMNS = (
    *("patient_id", "label", "tta", "hausdorff", "dice", "sens", "spec"),
    *("case_id", "fold", "iou", "precision", "hd95_mm", "assd_mm", "volume_truth_ml", "volume_prediction_ml", "note"),
)


@dataclass(frozen=True)
class Case:
    """A case to score: where its two canonical label maps are, and what they are known by."""

    case_id: str
    patient_id: str
    fold: int | None
    truth: str
    truth_sha256: str
    truth_spacing: str
    prediction: str
    prediction_sha256: str


def pair_cases(manifest: pd.DataFrame, predictions: pd.DataFrame, shard: int, shards: int) -> tuple[list[Case], list[str]]:
    """Return the shard's cases, sorted by id, that have both maps, and a line for each of its cases that has not."""
    truths = {row["case_id"]: row for row in manifest.to_dict("records")}
    predicted = {row["case_id"]: row for row in predictions.to_dict("records")}
    times = Counter(predictions["case_id"])
    cases, problems = [], []
    for case_id in sorted(predicted)[shard::shards]:
        row, truth = predicted[case_id], truths.get(case_id)
        if times[case_id] > 1:
            problems.append(f"{case_id}: has {times[case_id]} rows in the table of predictions; one is right")
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
                    truth=truth["label"],
                    truth_sha256=truth["label_sha256"],
                    truth_spacing=truth["spacing_mm"],
                    prediction=row["prediction"],
                    prediction_sha256=row["sha256"],
                )
            )
    return cases, problems


def case_key(case: Case, regions: Sequence[str]) -> str:
    """Return the content key of a case's scores: they are the same wherever it is the same."""
    return key_of(
        {
            "metrics": METRICS_VERSION,
            "prediction": case.prediction_sha256,
            "regions": list(regions),
            # The manifest's hash of a truth is of its voxels only.
            "spacing": case.truth_spacing,
            "truth": case.truth_sha256,
        }
    )


def score_case(case: Case, regions: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a case's scores, one for each region, or else the lines that say why it cannot be scored."""
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
        return [], problems
    true_labels, predicted_labels = (np.asarray(volume.data, np.uint8) for volume in volumes)
    scores = score_regions(true_labels, predicted_labels, truth.spacing, regions, truth.diagonal_mm)
    return [asdict(score) for score in scores], []


def label_problems(volume: Volume) -> Iterable[str]:
    """Yield what is wrong with the values of a canonical label map."""
    labels = np.asarray(volume.data, np.uint8)
    if strange := sorted(set(labels[labels >= LABEL_COUNT].tolist())):
        yield f"label values {strange} found; canonical labels are 0 to {LABEL_COUNT - 1}"


def geometry_problems(truth: Volume, prediction: Volume) -> Iterable[str]:
    """Yield what is wrong with the shape or the place of ``prediction``, given those of ``truth``."""
    if truth.data.shape != prediction.data.shape:
        found, right = ("x".join(map(str, volume.data.shape)) for volume in (prediction, truth))
        yield f"shape {found} found; {right}, its truth's, is right"
    elif not same_geometry(truth, prediction):
        yield f"its voxels lie up to {affine_distance_mm(truth, prediction):.4g} mm from its truth's; one affine is right"


def score_table(cases: Sequence[Case], scores: dict[str, list[dict[str, Any]]], tta: bool | None) -> pd.DataFrame:
    """Return the table of ``scores`` (by case id) in the order of ``cases``, with the columns ``COLUMNS``."""
    rows = [
        {**score, "patient_id": case.patient_id, "case_id": case.case_id, "fold": case.fold, "tta": tta}
        for case in cases
        for score in scores[case.case_id]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"fold": "Int64"})


def main(snakemake: Any, console: Console) -> str:
    """Score the shard's cases, those of the ledger excepted, and write their table.

    Raises ``UserError``, with a line for each, once every other case is scored, where cases cannot be.
    """
    regions, tables = list(snakemake.params.regions), snakemake.input
    cases, problems = pair_cases(
        read_table(tables.manifest), read_table(tables.predictions), snakemake.params.shard, snakemake.params.shards
    )
    ledger = Ledger(snakemake.params.ledger)
    scores: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        if known := ledger.get(case.case_id, case_key(case, regions)):
            scores[case.case_id] = known
    waiting = [case for case in cases if case.case_id not in scores]
    results = map_unordered(score_case, waiting, snakemake.threads, regions)
    for case, (scored, wrong) in console.track(results, len(waiting), "cases scored"):
        problems.extend(wrong)
        if not wrong:
            ledger.put(case.case_id, case_key(case, regions), scored)
            scores[case.case_id] = scored
    if problems:
        raise UserError("\n  ".join(["these cases cannot be scored:", *sorted(problems)]))
    table = score_table(cases, scores, snakemake.params.tta)
    write_table(snakemake.output[0], table)
    kept = f", {len(cases) - len(waiting)} already scored" if len(waiting) < len(cases) else ""
    return f"{count(len(cases), 'case')}, {count(len(table), 'row')}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
