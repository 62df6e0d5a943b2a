"""Write a set's scores in the forms that users of other tools read: open_brats2020's table of cases, nnU-Net's summary.json.

The table is that of open_brats2020 (lescientifik/open_brats2020, src/utils.py, ``calculate_metrics`` and
``generate_segmentations``): its columns in its order and its spelling, the regions in its order, its values (the convention
``open_brats2020``); its ``patient_id`` is the name of the case's folder, here the case id. The summary is that of nnU-Net
(nnunetv2/evaluation/evaluate_predictions.py, ``compute_metrics_on_folder``): for every case and region the voxels and their
ratios, the means of these over the cases in which they are defined, and the means of the means over the regions. Its regions
are named by their canonical labels, as the masks have them. A prediction whose truth, regions and convention are what they were
is not read again.

Inputs
------
manifest, predictions : as of score_cases

Outputs
-------
table : CSV (``TABLE_COLUMNS``), a row per case, tta and region, those that the model cannot show left out
summary : JSON, of each case with and without test-time augmentation the augmented prediction

Params
------
regions, trained_regions, truth_regions : as of score_cases
convention : ``open_brats2020``
conventions : its content hash, so that the rule runs again where a value may change
cache : path of the cache
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.cases import Case, case_key, pair_cases, read_maps
from glioflow.evaluation.metrics import Pair, ratio
from glioflow.evaluation.scoring import Plan, plan_of
from glioflow.files import key_of, write_json, write_table
from glioflow.imaging.labels import LABEL_COUNT, REGIONS
from glioflow.models.predictions import read_predictions

# Column of open_brats2020's table: ours. The spelling is its own.
TABLE_METRICS = {"haussdorf": "hausdorff", "dice": "dice", "sens": "sens", "spec": "spec"}
TABLE_COLUMNS = ("patient_id", "label", "tta", *TABLE_METRICS)
TABLE_REGIONS = ("ET", "TC", "WT")

# Of a case: by region, the values of the table and the voxels of the summary.
Exported = dict[str, dict[str, Any]]


def export_case(case: Case, plan: Plan) -> Exported:
    """Return what both files have of a prediction. Raises ``UserError`` where it cannot be read."""
    truth, prediction = read_maps(case)
    pair = Pair(truth.data, prediction.data, truth.spacing)
    exported: Exported = {region: {"voxels": count_voxels(pair, region)} for region in plan.visible}
    for region in (region for region in TABLE_REGIONS if region in exported):
        score = pair.score(region, plan.convention)
        exported[region]["scores"] = {column: score[name] for column, name in TABLE_METRICS.items()}
    return exported


def count_voxels(pair: Pair, region: str) -> dict[str, int]:
    """Return how many voxels of the image are in a region in both masks (TP), one (FP: the prediction, FN) or neither (TN)."""
    inside = np.isin(np.arange(LABEL_COUNT), REGIONS[region])
    parts = {"TP": (inside, inside), "FP": (~inside, inside), "FN": (inside, ~inside), "TN": (~inside, ~inside)}
    return {name: int(pair.joint[np.ix_(*sides)].sum()) for name, sides in parts.items()}


def table_rows(case: Case, exported: Exported) -> list[dict[str, Any]]:
    """Return a prediction's rows of open_brats2020's table."""
    told = {"patient_id": case.case_id, "tta": case.tta}
    return [{**told, "label": region, **exported[region]["scores"]} for region in TABLE_REGIONS if region in exported]


def region_key(region: str) -> str:
    """Return nnU-Net's key of a region: the tuple of its labels, as text."""
    return str(REGIONS[region])


def case_metrics(voxels: Mapping[str, int]) -> dict[str, float]:
    """Return nnU-Net's metrics of a region; Dice and IoU are undefined where neither mask has a voxel of it."""
    tp, fp, fn = voxels["TP"], voxels["FP"], voxels["FN"]
    ratios = {"Dice": ratio(2 * tp, 2 * tp + fp + fn), "IoU": ratio(tp, tp + fp + fn)}
    return {**ratios, **voxels, "n_pred": tp + fp, "n_ref": tp + fn}


def summarise(cases: Sequence[Case], exported: Mapping[str, Exported]) -> dict[str, Any]:
    """Return nnU-Net's summary of the cases' predictions, one a case."""
    measured = [{region_key(r): case_metrics(found["voxels"]) for r, found in exported[case.item].items()} for case in cases]
    per_case = [
        {"metrics": metrics, "prediction_file": case.prediction, "reference_file": case.truth}
        for case, metrics in zip(cases, measured, strict=True)
    ]
    regions = list(measured[0]) if measured else []
    names = list(measured[0][regions[0]]) if regions else []
    means = {region: {name: mean([metrics[region][name] for metrics in measured]) for name in names} for region in regions}
    # Unlike the means over cases, nnU-Net's mean over regions is undefined where one of them is.
    foreground = {name: float(np.mean([of_region[name] for of_region in means.values()])) for name in names}
    return {"foreground_mean": foreground, "mean": means, "metric_per_case": per_case}


def mean(values: Sequence[float]) -> float:
    """Return the mean of the defined values, NaN where there is none."""
    return nan if np.isnan(values).all() else float(np.nanmean(values))


def main(snakemake: Any, console: Console) -> str:
    """Write both files.

    Raises ``UserError``, with a line for each, once every other prediction is read, where some cannot be.
    """
    params, tables = snakemake.params, snakemake.input
    plan, code = plan_of(params, params.convention), module_fingerprint("export_scores")
    cases, problems = pair_cases(read_manifest(tables.manifest), read_predictions(tables.predictions))
    exported, computed = compute_cases(
        export_case,
        {case.item: case for case in cases},
        plan,
        threads=snakemake.threads,
        console=console,
        what="predictions read",
        cache=CaseCache(params.cache),
        keys={case.item: key_of({"code": code, "scores": case_key(case, plan)}) for case in cases},
        problems=problems,
    )
    if problems:
        raise UserError("\n  ".join(["these cases cannot be exported:", *sorted(set(problems))]))
    rows = [row for case in cases for row in table_rows(case, exported[case.item])]
    write_table(snakemake.output.table, pd.DataFrame(rows, columns=list(TABLE_COLUMNS)))
    first = list({case.case_id: case for case in reversed(cases)}.values())[::-1]
    write_json(snakemake.output.summary, summarise(first, exported))
    kept = f", {len(cases) - computed} already read" if computed < len(cases) else ""
    return f"{count(len(first), 'case')}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
