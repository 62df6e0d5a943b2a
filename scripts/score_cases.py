"""Score the cases of one shard: how well each prediction agrees with its truth, region by region.

The metrics, their conventions and the rules for empty masks are those of ``glioflow.metrics``; lesion-wise scores, where they
are asked for, those of ``glioflow.lesions``. A shard is every ``shards``-th case in the order of the case ids, with all
its predictions: one, or one with and one without test-time augmentation. A prediction whose truth, regions and metrics are what
they were is taken from the ledger and not read again.

Inputs
------
manifest : the cohort's manifest.csv, with the path, hash and spacing of each case's canonical label map
predictions : predictions.csv, with the path and hash of each case's predicted canonical label map, and whether it was made with
    test-time augmentation (``tta``: True, False, or empty where nobody knows; so is a table without the column)

Outputs
-------
one CSV table, a row per case, tta and region: ``score_columns``, sorted by case id, then with augmentation before without,
regions in the order asked for

Params
------
regions : names of regions, as in ``glioflow.labels.REGIONS``
trained_regions : names of the regions that the model predicts, None where nobody knows; regions that cannot be told apart by
    them are not applicable (``glioflow.labels.visible_regions``)
lesionwise : a set of parameters of config/lesionwise.yaml, or None
shard, shards : this shard's number, from 0, and how many there are
ledger : path of this shard's ledger
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, read_table, write_table
from glioflow.labels import visible_regions
from glioflow.ledger import Ledger
from glioflow.lesions import LESION_COLUMNS, LESION_COUNTS, LESIONS_VERSION, LesionRules, score_lesions
from glioflow.metrics import LABEL_COUNT, METRICS_VERSION, score_regions, unseen_score
from glioflow.parallel import map_unordered
from glioflow.score_tables import Tta, augmented_first, read_tta
from glioflow.volumes import UnreadableVolumeError, Volume, affine_distance_mm, read_labels, same_geometry

# The first seven are those of open_brats2020's patients_indiv_perf.csv, so that what reads its tables reads these.
COLUMNS = (
    *("patient_id", "label", "tta", "hausdorff", "dice", "sens", "spec"),
    *("case_id", "fold", "iou", "precision", "hd95_mm", "assd_mm", "volume_truth_ml", "volume_prediction_ml", "note"),
)


def score_columns(lesionwise: bool) -> list[str]:
    """Return the columns of the score table, the note last."""
    return [*COLUMNS[:-1], *(LESION_COLUMNS if lesionwise else ()), *COLUMNS[-1:]]


@dataclass(frozen=True)
class Plan:
    """What is scored: regions, those that the model predicts (None: unknown), and the lesion-wise parameters, if any."""

    regions: Sequence[str]
    trained_regions: Sequence[str] | None = None
    lesionwise: Mapping[str, Any] | None = None

    @property
    def visible(self) -> list[str]:
        """The regions that the model's masks can show."""
        return list(self.regions) if self.trained_regions is None else visible_regions(self.trained_regions, self.regions)


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
                )
            )
    return cases, problems


def case_key(case: Case, plan: Plan) -> str:
    """Return the content key of a prediction's scores: they are the same wherever it is the same."""
    parts = {
        "metrics": METRICS_VERSION,
        "prediction": case.prediction_sha256,
        "regions": list(plan.regions),
        # The manifest's hash of a truth is of its voxels only.
        "spacing": case.truth_spacing,
        "truth": case.truth_sha256,
    }
    if plan.visible != list(plan.regions):
        parts["trained_regions"] = list(plan.trained_regions or ())
    if plan.lesionwise:
        parts["lesionwise"] = [LESIONS_VERSION, dict(plan.lesionwise)]
    return key_of(parts)


def score_case(case: Case, plan: Plan) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a prediction's scores, one for each region, or else the lines that say why it cannot be scored."""
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
    scores = score_regions(true_labels, predicted_labels, truth.spacing, plan.visible, truth.diagonal_mm)
    found = {score.label: asdict(score) for score in scores}
    if plan.lesionwise:
        rules = LesionRules(**plan.lesionwise)
        for region, score in score_lesions(true_labels, predicted_labels, truth.spacing, plan.visible, rules).items():
            found[region] |= asdict(score)
    unseen = [region for region in plan.regions if region not in found]
    found |= {r: asdict(unseen_score(true_labels, truth.spacing, r, plan.trained_regions or ())) for r in unseen}
    return [found[region] for region in plan.regions], []


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


def score_table(cases: Sequence[Case], scores: Mapping[Case, list[dict[str, Any]]], columns: Sequence[str]) -> pd.DataFrame:
    """Return the table of ``scores`` in the order of ``cases``."""
    rows = [
        {**score, "patient_id": case.patient_id, "case_id": case.case_id, "fold": case.fold, "tta": case.tta}
        for case in cases
        for score in scores[case]
    ]
    table = pd.DataFrame(rows, columns=list(columns))
    return table.astype({column: "Int64" for column in ("fold", *LESION_COUNTS) if column in table})


def main(snakemake: Any, console: Console) -> str:
    """Score the shard's predictions, those of the ledger excepted, and write their table.

    Raises ``UserError``, with a line for each, once every other one is scored, where some cannot be.
    """
    params, tables = snakemake.params, snakemake.input
    plan = Plan(list(params.regions), params.trained_regions and list(params.trained_regions), plain(params.lesionwise))
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
    table = score_table(cases, scores, score_columns(bool(plan.lesionwise)))
    write_table(snakemake.output[0], table)
    ids = len({case.case_id for case in cases})
    twice = f", {len(cases)} predictions" if len(cases) > ids else ""
    kept = f", {len(cases) - len(waiting)} already scored" if len(waiting) < len(cases) else ""
    return f"{count(ids, 'case')}{twice}, {count(len(table), 'row')}{kept}"


def plain(settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return parameters as plain dicts and lists, without the types of Snakemake."""
    return None if settings is None else dict(json.loads(json.dumps(settings)))


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
