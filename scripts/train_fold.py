"""Train one fold with nnU-Net, or find that it is trained.

Inputs: ``manifest.csv``, ``dataset.json``, ``splits_final.json``, ``glioflowPlans.json``, ``preprocessed.json``. Params:
``configuration``, ``channels``, ``device``, ``trainer`` (its class), ``probabilities`` (what they are kept for, or None),
``released`` (the record that they were deleted again), ``retrain_on_upgrade``, ``root``. Outputs: ``manifest.json`` (written
last: key and its parts, checkpoint with SHA-256, what it was trained with, pace) and ``curves.csv``.

The fold's key is made of the content of its training cases, the plans and the fold. Key equal and finished: nothing is
trained. Key equal and unfinished: training resumes at the last checkpoint that is whole, validation at the first case that is
missing. Another key: the fold that is there is archived, under its key, and taken back when that key comes again; nothing
resumes a stale checkpoint. A finished checkpoint that is not what was trained stops the job.

Versions, code, device, processor and precision are recorded in the fold's folder when a training begins, its checkpoint's
SHA-256 when it ends; the manifest repeats them, whatever is installed by then. Other code than today's is no reason to train
again, unless ``retrain_on_upgrade`` asks for it.
"""

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, clock, count, run_script
from glioflow.files import key_of, read_json, sha256_file, write_json, write_table
from glioflow.models.devices import claim_device, read_processor, training_precision
from glioflow.models.fold_state import (
    FINAL,
    STATE,
    archive_fold,
    archived_name,
    check_checkpoint,
    is_whole,
    locked,
    prepare_fold,
    write_fold,
)
from glioflow.models.nnunet.commands import PLANS, ModelFolders, environment, run_nnunet
from glioflow.models.nnunet.keys import case_hashes, describe, installed, prediction_code, training_code
from glioflow.models.nnunet.plans import training_part
from glioflow.models.predictions import (
    WITHOUT_TTA,
    drop_truncated,
    has_probabilities,
    hash_probabilities,
    remove_probabilities,
)

LATEST, PREVIOUS = "checkpoint_latest.pth", "checkpoint_previous.pth"
RESUMABLE = (LATEST, PREVIOUS, "checkpoint_best.pth")
VALIDATION = ("validation", f"{WITHOUT_TTA}/validation")  # the second beside the first, for masks without mirroring


@dataclass(frozen=True)
class FoldJob:
    """One fold to train: whose, where, on what device, and what its validation masks are known by."""

    folders: ModelFolders
    configuration: str
    fold: int
    folder: Path
    validation_key: str
    masks: Sequence[Path]  # of the validation cases
    threads: int
    device: str
    probabilities: str | None  # what they are kept for
    released: bool  # were those that are kept for it deleted again?

    def expects_probabilities(self, state: Mapping[str, Any]) -> bool:
        """Tell whether the probabilities of the validation cases must be there, given the fold's state."""
        made = state.get("probabilities", {}).get("for") == self.probabilities
        return self.probabilities is not None and not (made and self.released)

    def waits_for(self, state: Mapping[str, Any]) -> bool:
        """Tell whether there is anything to do: to train, or to predict a validation case."""
        if not (self.folder / FINAL).exists() or state.get("validated") != self.validation_key:
            return True
        if not all(path.exists() for path in self.masks):
            return True
        return self.expects_probabilities(state) and bool(without_probabilities(self.folder))


def prepare_checkpoints(fold: Path, console: Console) -> bool:
    """Rename what is damaged, so that nnU-Net goes on from the newest checkpoint that is whole; return whether there is one.

    nnU-Net looks for checkpoint_final, then checkpoint_latest, then checkpoint_best.
    """
    found = [path for name in (FINAL, *RESUMABLE) if (path := fold / name).exists()]
    whole = []
    for path in found:
        if is_whole(path):
            whole.append(path)
        else:
            console.say(f"{path} is damaged; it is kept as {path.name}.damaged, and training goes on from the one before")
            os.replace(path, path.with_name(f"{path.name}.damaged"))
    if not whole or whole[0].name == FINAL:
        return bool(whole)
    newest = max(whole, key=lambda path: path.stat().st_mtime_ns)
    if newest.name == PREVIOUS:
        os.replace(newest, fold / LATEST)
    return True


def validation_folders(fold: Path) -> list[Path]:
    """Return the folders of a fold's validation masks: with mirroring, and without where there are both."""
    return [fold / name for name in VALIDATION]


def without_probabilities(fold: Path) -> list[Path]:
    """Return the validation masks whose probabilities are gone."""
    masks = [path for folder in validation_folders(fold) for path in sorted(folder.glob("*.nii.gz"))]
    return [path for path in masks if not has_probabilities(path.parent, path.name.removesuffix(".nii.gz"))]


def prepare_validation(fold: Path, key: str, expected: bool, console: Console) -> None:
    """Keep the validation masks of ``key`` that are whole; remove others, and those of another key.

    Where the probabilities are ``expected``, a mask without them is none.
    """
    folders = validation_folders(fold)
    stamp = fold / "validation.key"
    if not stamp.exists() or stamp.read_text() != key:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        stamp.write_text(key)
    for folder in folders:
        drop_truncated(folder, console)
    for path in without_probabilities(fold) if expected else []:
        path.unlink()


def begin_training(fold: Path, device: str, resumed: bool) -> None:
    """Record in the fold's state with what it is trained from now on, after what it was trained with so far if ``resumed``."""
    versions = {"python": platform.python_version(), **{name: installed(name) for name in ("nnunetv2", "torch", "numpy")}}
    conditions = {"device": device, "processor": read_processor(), "precision": training_precision(device)}
    today = {"code": training_code()["code"], **conditions, "versions": versions}
    state = read_json(fold / STATE)
    former = state.get("training", {}).get("with", [None]) if resumed else []
    so_far = former if former[-1:] == [today] else [*former, today]
    write_json(fold / STATE, {**state, "training": {"with": so_far}})


def end_training(fold: Path) -> None:
    """Record the fold's final checkpoint in its state, where that has not been done.

    Where nothing was recorded when the training began, what nnU-Net noted then is all that is known.
    """
    state = read_json(fold / STATE)
    training = state.get("training", {})
    if "sha256" in training:
        return
    noted = read_json(fold / "debug.json") if (fold / "debug.json").exists() else {}
    conditions = training.get("with", [None])
    unknown: dict[str, Any] = {"code": None, "device": None, "versions": {}}
    if conditions == [None] and "torch_version" in noted:
        unknown |= {"device": noted["device"], "versions": {"torch": noted["torch_version"].partition("+")[0]}}
    ended = {
        "with": [one or unknown for one in conditions],
        "gpu": noted.get("gpu_name"),
        "finished_at": datetime.fromtimestamp((fold / FINAL).stat().st_mtime, UTC).isoformat(timespec="seconds"),
        "sha256": sha256_file(fold / FINAL),
    }
    write_json(fold / STATE, {**state, "training": ended})


def archive_outdated(fold: Path, key: str, console: Console) -> None:
    """Archive a training that other code than today's is known to have made, and leave an empty folder."""
    state = read_json(fold / STATE) if (fold / STATE).exists() else {}
    known = [one for one in state.get("training", {}).get("with", []) if one and one["code"]]
    told = [{"code": one["code"], **{name: one["versions"][name] for name in ("nnunetv2", "torch")}} for one in known]
    if other := [one for one in told if one != training_code()]:
        name = f"{archived_name(fold, key)}_{key_of(other[0])[:8]}"  # another name than that by which it would come back
        archive_fold(fold, name, "retrain_on_upgrade: this fold was trained by other code than today's", console)
        fold.mkdir()


def train(fold: FoldJob, device: str, claimed: Mapping[str, str], console: Console) -> str:
    """Train the fold as far as it is not trained, then predict its validation cases as far as they are not predicted.

    Returns what was done, in words.
    """
    env = {**environment(fold.folders, fold.threads, device), **claimed}
    if device == "cpu" and fold.threads == 1:  # no worker to wait for: one process, the same weights every time
        env["nnUNet_n_proc_DA"] = "0"
    command = [1, fold.configuration, fold.fold, "-tr", fold.folders.trainer, "-p", PLANS, "-device", device]
    command += ["--npz"] if fold.probabilities else []
    resumable = prepare_checkpoints(fold.folder, console)
    trained = (fold.folder / FINAL).exists()
    if not trained:  # masks that are there are another checkpoint's
        (fold.folder / "validation.key").unlink(missing_ok=True)
    expected = fold.expects_probabilities(read_json(fold.folder / STATE))
    prepare_validation(fold.folder, fold.validation_key, expected, console)
    if trained:
        run_nnunet("nnUNetv2_train", [*command, "--val"], env, console)
        return "already trained; its validation cases predicted"
    if resumable:
        console.say("resuming from the last checkpoint")
    begin_training(fold.folder, device, resumable)
    run_nnunet("nnUNetv2_train", [*command, *(["--c"] if resumable else [])], env, console)
    return "resumed and trained to the end" if resumable else "trained"


def keep_probabilities(fold: FoldJob, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the fold's state has of the probabilities: what they are ``for``, and their ``hashes`` by mask.

    Of deleted ones the hash is known from before. Where nothing needs probabilities, those that are there are deleted.
    """
    known: dict[str, Any] = state.get("probabilities", {})
    if fold.probabilities is None:
        for path in fold.masks:
            remove_probabilities(path.parent, [path.name.removesuffix(".nii.gz")])
        return known
    hashes = known.get("hashes", {})
    for path in fold.masks:
        case, name = path.name.removesuffix(".nii.gz"), path.relative_to(fold.folder).as_posix()
        hashes[name] = hash_probabilities(path.parent, case) or hashes.get(name)
    return {"for": fold.probabilities, "hashes": hashes}


def describe_validation(fold: FoldJob, cases: Sequence[str], both: bool, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest's part on the validation cases: where the masks are, and the hashes of their probabilities."""
    described: dict[str, Any] = {"folder": str(fold.folder / VALIDATION[0]), "cases": list(cases)}
    if both:
        described["folder_without_tta"] = str(fold.folder / VALIDATION[1])
    if fold.probabilities is not None:
        suffixes = ("", "_without_tta") if both else ("",)
        for suffix, name in zip(suffixes, VALIDATION, strict=False):
            described[f"probabilities{suffix}"] = {case: hashes[f"{name}/{case}.nii.gz"] for case in cases}
    return described


def main(snakemake: Any, console: Console) -> str:
    """Train the fold or find it trained; write its curves and, last, its manifest."""
    params, fold = snakemake.params, int(snakemake.wildcards.fold)
    folders = ModelFolders(snakemake.wildcards.model, Path(params.root), params.trainer)
    plans, dataset = read_json(snakemake.input.plans), read_json(snakemake.input.dataset)
    members = read_json(snakemake.input.splits)[fold]
    manifest = read_manifest(snakemake.input.manifest)
    parts = {
        "fold": fold,
        "cases": case_hashes(manifest, params.channels, members["train"]),
        "dataset": describe(dataset),
        "plans": training_part(plans, params.configuration),
    }
    key, both = key_of(parts), plans["glioflow"]["tta"] == "both"
    validation_parts = {
        "key": key,
        "cases": case_hashes(manifest, params.channels, members["val"], label=False),
        "tta": plans["glioflow"]["tta"],
        "code": prediction_code(),
    }
    folder = folders.fold(params.configuration, fold)
    masks = [folder / name / f"{case}.nii.gz" for name in VALIDATION[: 1 + both] for case in members["val"]]
    kept = params.probabilities
    job = FoldJob(
        *(folders, params.configuration, fold, folder, key_of(validation_parts), masks, snakemake.threads, params.device),
        *(kept, kept is not None and Path(params.released).exists()),
    )
    with locked(folder):
        prepare_fold(folder, key, console)
        if params.retrain_on_upgrade:
            archive_outdated(folder, key, console)
        state = read_json(folder / STATE) if (folder / STATE).exists() else {}
        write_json(folder / STATE, {**state, "key": key, "parts": parts})
        if (folder / FINAL).exists() and (sha256 := state.get("training", {}).get("sha256")):
            check_checkpoint(folder / FINAL, {"fold": fold, "checkpoint": {"sha256": sha256}}, snakemake.output.manifest)
        done = "already trained, nothing changed"
        if job.waits_for(state):
            with claim_device(params.device, console) as (device, claimed):
                done = train(job, device, claimed, console)
        end_training(folder)
        state = read_json(folder / STATE)
        probabilities = keep_probabilities(job, state)
        write_json(folder / STATE, {**state, "validated": job.validation_key, "probabilities": probabilities})
        curves, training = pd.DataFrame(read_json(folder / "curves.json")), state["training"]
    write_table(snakemake.output.curves, curves)
    write_fold(
        snakemake.output.manifest,
        {
            "model": folders.model,
            "fold": fold,
            "key": key,
            "validation_key": job.validation_key,
            "parts": parts,
            "checkpoint": {"path": str(folder / FINAL), "sha256": training["sha256"]},
            "validation": describe_validation(job, members["val"], both, probabilities.get("hashes", {})),
            "finished_at": training["finished_at"],
            "epochs": len(curves),
            "seconds_per_epoch": float(curves["seconds"].median()),
            "device": training["with"][-1]["device"],
            "gpu": training["gpu"],
            "trainer": folders.trainer,
            "versions": training["with"][-1]["versions"],
            "trained_with": training["with"],
        },
    )
    return (
        f"{done}: {count(len(members['train']), 'training case')}, {count(len(curves), 'epoch')} "
        f"of {clock(float(curves['seconds'].median()))}"
    )


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
