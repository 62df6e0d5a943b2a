"""Choose a model's post-processing on its cross-validation, whose every case was predicted by a fold that never saw it.

The candidates are tried region by region, from the whole tumour inwards, on what the steps kept so far have left: the largest
component only, components above a volume only, and for ET the threshold of its total volume. Of the values of an operation
the one with the best mean Dice of its region counts, of equally good ones the smallest. A step is kept only where the mean
Dice of its region rises and that of no other region falls; nnU-Net's ``determine_postprocessing`` is as cautious
(``nnunetv2/postprocessing/remove_connected_components.py``; Isensee et al. 2021, doi:10.1038/s41592-020-01008-z). In this
Dice a region that is empty in both maps counts 1, and one that is empty in one of them 0, so that the absence of enhancing
tumour is rewarded, as BraTS does. Where a case has masks with and without mirroring, the steps are chosen on the former.

The operations are those of ``glioflow.models.postprocessing``. Each case is read once, and is not read again while it is
unchanged.

Inputs
------
manifest : the cohort's manifest.csv, with the path, hash and spacing of each case's canonical label map
predictions : predictions.csv of the model's set ``cv``

Outputs
-------
postprocessing.json: ``steps`` to apply, in order; ``dice`` of each region ``before`` and ``after`` them; everything ``tried``

Params
------
regions : names of the regions that the model predicts
operations : ``largest_component`` (regions), ``min_volume_ml`` and ``et_threshold_ml`` (values to try)
cache : path of the cache
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.cases import Case, pair_cases, read_maps
from glioflow.files import key_of, write_json
from glioflow.imaging.labels import LABEL_COUNT
from glioflow.models.postprocessing import (
    ET_THRESHOLD,
    LARGEST,
    MIN_VOLUME,
    NESTED,
    Pieces,
    Step,
    apply_step,
    dropped_label,
    find_pieces,
    join_pieces,
    judged_regions,
    mean_dice,
)
from glioflow.models.predictions import read_predictions


def pieces_key(case: Case) -> str:
    """Return the content key of a case's pieces."""
    parts = {"truth": case.truth_sha256, "spacing": case.truth_spacing, "prediction": case.prediction_sha256}
    return key_of({"code": module_fingerprint("choose_postprocessing"), **parts})


def case_pieces(case: Case) -> dict[str, Any]:
    """Return the pieces of a case's prediction as a JSON object. Raises ``UserError`` where its two maps do not fit."""
    truth, prediction = read_maps(case)
    pieces, _ = find_pieces(prediction.data, prediction.voxel_ml, truth.data)
    return {
        "label": pieces.label.tolist(),
        "component": {region: numbers.tolist() for region, numbers in pieces.component.items()},
        "voxels": pieces.voxels.tolist(),
        "voxel_ml": float(pieces.voxel_ml[0]),
        "truth": pieces.truth[0].tolist(),
    }


def pieces_of(entry: Mapping[str, Any]) -> Pieces:
    """Return the pieces of one case that ``case_pieces`` described."""
    return Pieces(
        case=np.zeros(len(entry["label"]), np.int64),
        label=np.array(entry["label"], np.uint8),
        component={region: np.array(numbers, np.int64) for region, numbers in entry["component"].items()},
        voxels=np.array(entry["voxels"], np.int64).reshape(-1, LABEL_COUNT),
        voxel_ml=np.array([entry["voxel_ml"]]),
        truth=np.array([entry["truth"]], np.int64),
    )


def candidates(regions: Sequence[str], operations: Mapping[str, Any]) -> Iterator[list[Step]]:
    """Yield the steps to try, those of which at most one is kept together; by region from the outside to the inside."""
    for region in [name for name in NESTED if name in judged_regions(regions)]:
        becomes = dropped_label(region, regions)
        if region in operations[LARGEST]:
            yield [Step(region, LARGEST, None, becomes)]
        for operation in (MIN_VOLUME, *([ET_THRESHOLD] if region == "ET" else [])):
            if operations[operation]:
                yield [Step(region, operation, value, becomes) for value in sorted(operations[operation])]


def dice_of(pieces: Pieces, regions: Sequence[str]) -> dict[str, float]:
    """Return the mean Dice of each region."""
    return {region: mean_dice(pieces, region) for region in regions}


def choose_steps(
    pieces: Pieces, regions: Sequence[str], operations: Mapping[str, Any]
) -> tuple[list[Step], list[dict[str, Any]], dict[str, float]]:
    """Return the steps to keep, what was tried with the mean Dice before and after, and the mean Dice after all steps.

    ``regions``: those that the model predicts; those made of the same labels are judged too.
    """
    judged = judged_regions(regions)
    dice = dice_of(pieces, judged)
    kept, tried = [], []
    for steps in candidates(regions, operations):
        outcomes = [apply_step(pieces, step) for step in steps]
        after = [dice_of(outcome, judged) for outcome in outcomes]
        region = steps[0].region
        better = [
            index
            for index, scores in enumerate(after)
            if scores[region] > dice[region] and all(scores[name] >= dice[name] for name in judged)
        ]
        best = max(better, key=lambda index: after[index][region], default=None)  # the first of equally good ones
        tried += [
            {**step.describe(), "dice_before": dice, "dice_after": scores, "kept": index == best}
            for index, (step, scores) in enumerate(zip(steps, after, strict=True))
        ]
        if best is not None:
            kept.append(steps[best])
            pieces, dice = outcomes[best], after[best]
    return kept, tried, dice


def main(snakemake: Any, console: Console) -> str:
    """Find the pieces of every case, those of the cache excepted; choose the steps and write them.

    Raises ``UserError``, with a line for each, once every other case is read, where some cannot be.
    """
    params, tables = snakemake.params, snakemake.input
    predictions = read_predictions(tables.predictions)
    if predictions.empty:
        raise UserError(f"{tables.predictions} lists no case; post-processing is chosen on cases")
    paired, problems = pair_cases(read_manifest(tables.manifest), predictions)
    cases = {case.case_id: case for case in reversed(paired)}  # of two predictions that with mirroring, which comes first
    found, _ = compute_cases(
        case_pieces,
        dict(sorted(cases.items())),
        threads=snakemake.threads,
        console=console,
        what="cases read",
        cache=CaseCache(params.cache),
        keys={case_id: pieces_key(case) for case_id, case in cases.items()},
        problems=problems,
    )
    if problems:
        raise UserError("\n  ".join(["post-processing cannot be chosen on these cases:", *sorted(set(problems))]))
    pieces = join_pieces([pieces_of(entry) for entry in found.values()])
    steps, tried, after = choose_steps(pieces, params.regions, params.operations)
    write_json(
        snakemake.output[0],
        {
            "steps": [step.describe() for step in steps],
            "dice": {"before": dice_of(pieces, list(after)), "after": after},
            "tried": tried,
            "cases": len(cases),
            "set": "cv",
        },
    )
    return f"{count(len(steps), 'step')} kept of {len(tried)} tried on {count(len(cases), 'case')}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
