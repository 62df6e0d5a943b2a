"""Predict a set of cases with all folds of a model; nnU-Net averages the folds in one pass.

Inputs: ``manifest.csv`` and ``split.csv`` of the set's cohort, ``dataset.json``, ``glioflowPlans.json``, the folds'
``manifest.json``. Params: ``configuration``, ``channels``, ``device``, ``tta``, ``probabilities``, ``root``, ``ledger``.
Output: ``predictions.csv``; the masks lie beside it, and the probabilities that an ensemble needs in ``probabilities/``.

A case whose images, whose model and whose settings are unchanged is not predicted again. A killed job leaves what it
finished in a working folder named after the model's key; the next one checks those files and goes on from there.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, read_json, read_table, sha256_file, write_json, write_table
from glioflow.ledger import Ledger
from glioflow.nnunet.commands import PLANS, TRAINER, ModelFolders, device_of, environment, run_nnunet
from glioflow.nnunet.keys import case_hashes, describe
from glioflow.nnunet.plans import training_part
from glioflow.predictions import place, prediction_table, set_members
from glioflow.volumes import pack, read_volume


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


def drop_torn(folder: Path, console: Console) -> None:
    """Remove from a working folder every mask that a killed job left half-written."""
    for path in sorted(folder.glob("*.nii.gz")):
        try:
            read_volume(path)
        except UserError as error:
            console.say(f"predicting again what was left unfinished: {error}")
            path.unlink()


def main(snakemake: Any, console: Console) -> str:
    """Predict what is not predicted yet, and list the set's masks."""
    params = snakemake.params
    folders = ModelFolders(snakemake.wildcards.model, Path(params.root))
    folder = Path(snakemake.output[0]).parent
    split, manifest = read_table(snakemake.input.split), read_table(snakemake.input.manifest)
    plans, dataset = read_json(snakemake.input.plans), read_json(snakemake.input.dataset)
    folds = [read_json(path) for path in snakemake.input.folds]
    cases = set_members(split, snakemake.wildcards.set)
    model_key = key_of(
        {
            "checkpoints": {str(fold["fold"]): fold["checkpoint"]["sha256"] for fold in folds},
            "dataset": describe(dataset),
            "plans": training_part(plans, params.configuration),
            "tta": params.tta,
            "probabilities": params.probabilities,
        }
    )
    hashes = case_hashes(manifest, params.channels, cases, label=False)
    keys = {case: key_of({"model": model_key, "images": hashes[case]}) for case in cases}
    ledger = Ledger(params.ledger)
    waiting = [case for case in cases if not stands(folder, case, ledger.get(case, keys[case]), params.probabilities)]
    if waiting:
        work = folder / f".work-{model_key[:12]}"
        predict(folders, manifest, waiting, work, plans, dataset, snakemake, console)
        for case in waiting:
            place(work / f"{case}.nii.gz", folder / f"{case}.nii.gz")
            for ending in (".npz", ".pkl") if params.probabilities else ():
                place(work / f"{case}{ending}", folder / "probabilities" / f"{case}{ending}")
            ledger.put(case, keys[case], {"sha256": sha256_file(folder / f"{case}.nii.gz")})
        shutil.rmtree(work)
    patients = dict(zip(split["case_id"], split["patient_id"], strict=True))
    write_table(snakemake.output[0], prediction_table(folder, {case: patients[case] for case in cases}))
    return f"{count(len(waiting), 'case')} predicted with {count(len(folds), 'fold')}, {len(cases) - len(waiting)} unchanged"


def stands(folder: Path, case: str, entry: Mapping[str, Any] | None, probabilities: bool) -> bool:
    """Tell whether the mask that the ledger knows is still there, unchanged."""
    mask = folder / f"{case}.nii.gz"
    if entry is None or not mask.exists() or sha256_file(mask) != entry["sha256"]:
        return False
    return not probabilities or (folder / "probabilities" / f"{case}.npz").exists()


def predict(
    folders: ModelFolders,
    manifest: pd.DataFrame,
    cases: Sequence[str],
    work: Path,
    plans: Mapping[str, Any],
    dataset: Mapping[str, Any],
    snakemake: Any,
    console: Console,
) -> None:
    """Run nnUNetv2_predict on ``cases`` into the folder ``work``, going on from what is finished there."""
    params, threads = snakemake.params, snakemake.threads
    device = device_of(params.device, console)
    link_inputs(manifest, cases, params.channels, work / "input")
    drop_torn(work, console)
    trained = folders.trained(params.configuration)
    write_json(trained / "plans.json", plans)  # a fold taken back from superseded/ may have left those of another training
    write_json(trained / "dataset.json", dataset)
    workers = max(1, min(threads // 2, 8))
    arguments = [
        "-i", work / "input", "-o", work, "-d", 1, "-c", params.configuration, "-tr", TRAINER, "-p", PLANS,
        "-f", *[read_json(path)["fold"] for path in snakemake.input.folds],
        "-npp", workers, "-nps", workers, "-device", device, "--disable_progress_bar", "--continue_prediction",
        *([] if params.tta else ["--disable_tta"]), *(["--save_probabilities"] if params.probabilities else []),
    ]  # fmt: skip
    console.say(f"predicting {count(len(cases), 'case')} on {device}")
    run_nnunet("nnUNetv2_predict", arguments, environment(folders, threads, device), console)


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
