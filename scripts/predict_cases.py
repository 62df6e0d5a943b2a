"""Predict a set of cases with all folds of a model; nnU-Net averages the folds in one pass.

Inputs: ``manifest.csv`` and ``split.csv`` of the set's cohort, ``dataset.json``, ``glioflowPlans.json``, the folds'
``manifest.json``. Params: ``configuration``, ``channels``, ``device``, ``tta``, ``probabilities``, ``root``, ``cache``,
``released`` (the record that the probabilities were deleted again). Outputs: ``predictions.csv``; the masks are beside it, and
the probabilities that an ensemble needs in ``probabilities/``; ``probabilities``, a table of their hashes, which stay when
they are deleted; and ``uncertainty``, what the probabilities tell of every mask (``glioflow.models.uncertainty``), measured
while they are made. The masks' entropy maps are in ``entropy/``; one that is deleted is not made again.

A case whose images, whose model and whose settings are unchanged is not predicted again, unless an ensemble comes to need its
probabilities; those that none needs are deleted. Every checkpoint is checked before it predicts. A killed job leaves what it
finished in a working folder named after the model's key; the next one checks those files and goes on from there.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.case_cache import CaseCache
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, count, run_script
from glioflow.files import key_of, read_json, read_table, write_json, write_table
from glioflow.imaging.volumes import pack
from glioflow.models.devices import claim_device
from glioflow.models.fold_state import FINAL, check_checkpoint, read_fold
from glioflow.models.nnunet.commands import PLANS, ModelFolders, environment, run_nnunet
from glioflow.models.nnunet.keys import case_hashes, describe, prediction_code
from glioflow.models.nnunet.plans import training_part
from glioflow.models.predictions import (
    PROBABILITY_ENDINGS,
    drop_truncated,
    has_probabilities,
    hash_probabilities,
    place,
    prediction_table,
    remove_probabilities,
    set_members,
    tta_folders,
    write_predictions,
)
from glioflow.models.uncertainty import place_map, read_record, record_rows, write_records


def link_inputs(manifest: pd.DataFrame, cases: Sequence[str], channels: Sequence[str], folder: Path) -> None:
    """Fill ``folder`` with links named as nnU-Net wants its inputs, ``<case>_0000.nii.gz`` and so on.

    No image is copied but one that is not compressed, which nnU-Net does not look for.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = manifest.set_index("case_id")
    for case in cases:
        for index, channel in enumerate(channels):
            source = Path(str(rows.loc[case, channel])).absolute()
            target = folder / f"{case}_{index:04d}.nii.gz"
            if source.name.endswith(".gz"):
                target.symlink_to(source)
            else:
                target.write_bytes(pack(source.read_bytes()))


def main(snakemake: Any, console: Console) -> str:
    """Predict what is not predicted yet, mirrored or not or both, and list the set's masks."""
    params = snakemake.params
    folder = Path(snakemake.output[0]).parent
    split, manifest = read_table(snakemake.input.split), read_manifest(snakemake.input.manifest)
    plans, dataset = read_json(snakemake.input.plans), read_json(snakemake.input.dataset)
    folds = [read_fold(path) for path in snakemake.input.folds]
    cases = set_members(split, snakemake.wildcards.set)
    hashes = case_hashes(manifest, params.channels, cases, label=False)
    cache = CaseCache(params.cache)
    purpose, targets = params.probabilities, tta_folders(folder, params.tta)
    released = purpose is not None and Path(params.released).exists()
    predicted, hashed, measured = 0, list[dict[str, Any]](), list[dict[str, Any]]()
    for tta, target in targets.items():
        model_key = key_of(
            {
                "checkpoints": {str(fold["fold"]): fold["checkpoint"]["sha256"] for fold in folds},
                "dataset": describe(dataset),
                "plans": training_part(plans, params.configuration),
                "tta": tta,
                "code": prediction_code("predict_cases"),
            }
        )
        aside = " without tta" if target != folder else ""
        keys = {case + aside: key_of({"model": model_key, "images": hashes[case]}) for case in cases}
        found = cache.find(keys, snakemake.threads)
        waiting = [case for case in cases if not is_valid(found.get(case + aside), target, case, purpose, released)]
        predicted += len(waiting)
        if waiting:
            work = target / f".work-{model_key[:12]}{'-probabilities' if purpose else ''}"
            predict(manifest, waiting, work, plans, dataset, bool(tta), snakemake, console)
            for case in waiting:
                entropy_sha256 = place_map(work / f"{case}.nii.gz", target / f"{case}.nii.gz")
                place(work / f"{case}.nii.gz", target / f"{case}.nii.gz")
                for ending in PROBABILITY_ENDINGS if purpose else ():
                    place(work / f"{case}{ending}", target / "probabilities" / f"{case}{ending}")
                told = {"uncertainty": read_record(work, case), "entropy_sha256": entropy_sha256}
                found[case + aside] = cache.put(case + aside, keys[case + aside], told, [target / f"{case}.nii.gz"])
            shutil.rmtree(work)
        for case in cases:
            known = found[case + aside]
            measured += record_rows(case, tta, known["uncertainty"], known["entropy_sha256"])
        if purpose is None:
            remove_probabilities(target / "probabilities")
            continue
        for case in cases:
            known = found[case + aside]
            sha256 = hash_probabilities(target / "probabilities", case) or known.get("sha256")
            if known != (value := {**known, "for": purpose, "sha256": sha256}):
                cache.put(case + aside, keys[case + aside], value, [target / f"{case}.nii.gz"])
            hashed.append({"case_id": case, "tta": tta, "sha256": sha256})
    write_table(snakemake.output.probabilities, pd.DataFrame(hashed, columns=["case_id", "tta", "sha256"]))
    write_records(snakemake.output.uncertainty, measured)
    patients = dict(zip(split["case_id"], split["patient_id"], strict=True))
    write_predictions(snakemake.output[0], prediction_table(targets, {case: patients[case] for case in cases}))
    unchanged = len(cases) * len(targets) - predicted
    return f"{count(predicted, 'mask')} predicted with {count(len(folds), 'fold')}, {unchanged} unchanged"


def is_valid(known: Mapping[str, Any] | None, folder: Path, case: str, purpose: str | None, released: bool) -> bool:
    """Tell whether a case need not be predicted.

    ``known``: what the cache has of its mask: what its probabilities were kept ``for``, if for anything. ``purpose``: what they
    are needed for now; ``released``: whether those that were needed for it have served and are deleted.
    """
    if known is None or purpose is None:
        return known is not None
    return has_probabilities(folder / "probabilities", case) or (released and known.get("for") == purpose)


def predict(
    manifest: pd.DataFrame,
    cases: Sequence[str],
    work: Path,
    plans: Mapping[str, Any],
    dataset: Mapping[str, Any],
    mirrored: bool,
    snakemake: Any,
    console: Console,
) -> None:
    """Run nnUNetv2_predict on ``cases`` into the folder ``work``, going on from what is finished there."""
    params, threads = snakemake.params, snakemake.threads
    folders = ModelFolders(snakemake.wildcards.model, Path(params.root), params.trainer)
    for record in snakemake.input.folds:
        fold = read_json(record)
        check_checkpoint(folders.fold(params.configuration, fold["fold"]) / FINAL, fold, record)
    link_inputs(manifest, cases, params.channels, work / "input")
    drop_truncated(work, console)
    trained = folders.trained(params.configuration)
    write_json(trained / "plans.json", plans)  # a fold taken back from superseded/ may have left those of another training
    write_json(trained / "dataset.json", dataset)
    with claim_device(params.device, console) as (device, claimed):
        # On a GPU other processes prepare images and write masks meanwhile; on a CPU they would only compete with the network.
        workers = max(1, min(threads // 2, 8)) if device == "cuda" else 0
        arguments = [
            "-i", work / "input", "-o", work, "-d", 1, "-c", params.configuration, "-tr", params.trainer, "-p", PLANS,
            "-f", *[read_json(path)["fold"] for path in snakemake.input.folds],
            "-npp", workers, "-nps", workers, "-device", device, "--disable_progress_bar", "--continue_prediction",
            *([] if mirrored else ["--disable_tta"]), *(["--save_probabilities"] if params.probabilities else []),
        ]  # fmt: skip
        console.say(f"predicting {count(len(cases), 'case')} on {device}{'' if mirrored else ', without mirroring'}")
        run_nnunet("nnUNetv2_predict", arguments, {**environment(folders, threads, device), **claimed}, console)


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
