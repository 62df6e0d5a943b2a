"""Train one fold with nnU-Net, or find that it is trained.

Inputs: ``manifest.csv``, ``dataset.json``, ``splits_final.json``, ``glioflowPlans.json``, ``preprocessed.json``. Params:
``configuration``, ``channels``, ``device``, ``trainer`` (its class), ``probabilities`` (what they are kept for, or None),
``released`` (the record that they were deleted again), ``root``. Outputs: ``manifest.json`` (written last: key and its parts,
checkpoint with SHA-256, versions, pace) and ``curves.csv``.

The fold's key is made of the content of its training cases, the plans and the fold. Key equal and finished: nothing is
trained. Key equal and unfinished: training resumes at the last checkpoint that is whole, validation at the first case that is
missing. Another key: the fold that stands there is set
aside, under its key, and taken back when that key comes again; nothing resumes a foreign checkpoint.
"""

import fcntl
import os
import platform
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, clock, count, run_script
from glioflow.files import key_of, read_json, read_table, sha256_file, write_json, write_table
from glioflow.models.devices import claim_device
from glioflow.models.fold_state import STATE, take_place
from glioflow.models.nnunet.commands import PLANS, ModelFolders, environment, run_nnunet
from glioflow.models.nnunet.keys import case_hashes, describe
from glioflow.models.nnunet.plans import training_part
from glioflow.models.predictions import WITHOUT_TTA, drop_truncated, has_probabilities

FINAL = "checkpoint_final.pth"
LATEST, PREVIOUS = "checkpoint_latest.pth", "checkpoint_previous.pth"
RESUMABLE = (LATEST, PREVIOUS, "checkpoint_best.pth")


@dataclass(frozen=True)
class FoldJob:
    """One fold to train: whose, where, on what device, and what its validation masks are known by."""

    folders: ModelFolders
    configuration: str
    fold: int
    folder: Path
    validation_key: str
    env: dict[str, str]
    device: str
    probabilities: bool
    expected: bool  # are the probabilities of what is predicted still to be there?


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the fold's lock, so that no two processes train it at once. Raises UserError where another one does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is training this fold (it holds {path}); wait for it, or end it") from None
        yield


def usable(checkpoint: Path) -> bool:
    """Tell whether a checkpoint is whole: torch's files are zip archives with a checksum for each part."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError):
        return False


def prepare_checkpoints(fold: Path, console: Console) -> bool:
    """Put aside what is damaged, so that nnU-Net goes on from the newest checkpoint that is whole; tell if there is one.

    nnU-Net looks for checkpoint_final, then checkpoint_latest, then checkpoint_best.
    """
    found = [path for name in (FINAL, *RESUMABLE) if (path := fold / name).exists()]
    whole = []
    for path in found:
        if usable(path):
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
    return [fold / "validation", fold / WITHOUT_TTA / "validation"]


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


def train(fold: FoldJob, console: Console) -> str:
    """Train the fold as far as it is not trained, then predict its validation cases as far as they are not predicted.

    Returns what was done, in words.
    """
    state = read_json(fold.folder / STATE)
    command = [1, fold.configuration, fold.fold, "-tr", fold.folders.trainer, "-p", PLANS, "-device", fold.device]
    command += ["--npz"] if fold.probabilities else []
    resumable = prepare_checkpoints(fold.folder, console)
    complete = not (fold.expected and without_probabilities(fold.folder))
    if (fold.folder / FINAL).exists() and state.get("validated") == fold.validation_key and complete:
        return "already trained, nothing changed"
    prepare_validation(fold.folder, fold.validation_key, fold.expected, console)
    if (fold.folder / FINAL).exists():
        run_nnunet("nnUNetv2_train", [*command, "--val"], fold.env, console)
        done = "already trained; its validation cases predicted"
    else:
        if resumable:
            console.say("resuming from the last checkpoint")
        run_nnunet("nnUNetv2_train", [*command, *(["--c"] if resumable else [])], fold.env, console)
        done = "resumed and trained to the end" if resumable else "trained"
    write_json(fold.folder / STATE, {**state, "validated": fold.validation_key})
    return done


def main(snakemake: Any, console: Console) -> str:
    """Train the fold or find it trained; write its curves and, last, its manifest."""
    params, fold = snakemake.params, int(snakemake.wildcards.fold)
    folders = ModelFolders(snakemake.wildcards.model, Path(params.root), params.trainer)
    plans, dataset = read_json(snakemake.input.plans), read_json(snakemake.input.dataset)
    members = read_json(snakemake.input.splits)[fold]
    manifest = read_table(snakemake.input.manifest)
    parts = {
        "fold": fold,
        "cases": case_hashes(manifest, params.channels, members["train"]),
        "dataset": describe(dataset),
        "plans": training_part(plans, params.configuration),
    }
    key = key_of(parts)
    validation_parts = {
        "key": key,
        "cases": case_hashes(manifest, params.channels, members["val"], label=False),
        "tta": plans["glioflow"]["tta"],
        "probabilities": params.probabilities,
    }
    validation_key = key_of(validation_parts)
    folder = folders.fold(params.configuration, fold)
    with locked(folder.parent / f"{folder.name}.lock"):
        take_place(folder, key, console)
        state = read_json(folder / STATE) if (folder / STATE).exists() else {}
        write_json(folder / STATE, {**state, "key": key, "parts": parts})
        with claim_device(params.device, console) as (device, claimed):
            env = {**environment(folders, snakemake.threads, device), **claimed}
            if device == "cpu" and snakemake.threads == 1:  # no worker to wait for: one process, the same weights every time
                env["nnUNet_n_proc_DA"] = "0"
            kept = params.probabilities is not None
            expected = kept and not Path(params.released).exists()
            job = FoldJob(folders, params.configuration, fold, folder, validation_key, env, device, kept, expected)
            done = train(job, console)
        curves = pd.DataFrame(read_json(folder / "curves.json"))
    write_table(snakemake.output.curves, curves)
    validation = {"folder": str(folder / "validation"), "cases": members["val"]}
    if plans["glioflow"]["tta"] == "both":
        validation["folder_without_tta"] = str(folder / "without_tta" / "validation")
    write_json(
        snakemake.output.manifest,
        {
            "model": folders.model,
            "fold": fold,
            "key": key,
            "validation_key": validation_key,
            "parts": parts,
            "checkpoint": {"path": str(folder / FINAL), "sha256": sha256_file(folder / FINAL)},
            "validation": validation,
            "finished_at": datetime.fromtimestamp((folder / FINAL).stat().st_mtime, UTC).isoformat(timespec="seconds"),
            "epochs": len(curves),
            "seconds_per_epoch": float(curves["seconds"].median()),
            "device": device,
            "gpu": read_json(folder / "debug.json").get("gpu_name"),
            "trainer": folders.trainer,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("nnunetv2", "torch", "numpy")},
            },
        },
    )
    return (
        f"{done}: {count(len(members['train']), 'training case')}, {count(len(curves), 'epoch')} "
        f"of {clock(float(curves['seconds'].median()))}"
    )


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
