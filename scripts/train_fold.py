"""Train one fold with nnU-Net, or find that it is trained.

Inputs: ``manifest.csv``, ``dataset.json``, ``splits_final.json``, ``glioflowPlans.json``, ``preprocessed.json``. Params:
``configuration``, ``channels``, ``device``, ``probabilities`` (keep them for an ensemble), ``root``. Outputs:
``manifest.json`` (written last: key and its parts, checkpoint with SHA-256, versions, pace) and ``curves.csv``.

The fold's key is made of the content of its training cases, the plans and the fold. Key equal and finished: nothing is
trained. Key equal and unfinished: training resumes at the last checkpoint. Another key: the fold that stands there is set
aside, under its key, and taken back when that key comes again; nothing resumes a foreign checkpoint.
"""

import fcntl
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, clock, count, run_script
from glioflow.files import key_of, read_json, read_table, sha256_file, write_json, write_table
from glioflow.nnunet.commands import PLANS, TRAINER, ModelFolders, device_of, environment, run_nnunet
from glioflow.nnunet.keys import case_hashes, describe
from glioflow.nnunet.plans import training_part

FINAL = "checkpoint_final.pth"
RESUMABLE = ("checkpoint_latest.pth", "checkpoint_best.pth")
STATE = "glioflow.json"  # beside the checkpoints: whose they are


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


def take_place(fold: Path, key: str, console: Console) -> None:
    """Make ``fold`` the folder of ``key``: leave it, set a foreign one aside under its own key, bring back one set aside."""
    aside = fold.parent / "superseded"
    if fold.exists():
        state = fold / STATE
        held = read_json(state)["key"] if state.exists() else "unknown"
        if held == key:
            return
        aside.mkdir(exist_ok=True)
        kept = aside / f"{fold.name}_{held[:12]}"
        if kept.exists():
            kept = aside / f"{kept.name}_{datetime.now(UTC):%Y%m%dT%H%M%S}"
        os.replace(fold, kept)
        console.say(f"what this fold is trained from has changed; the former training is kept in {kept}")
    if (returned := aside / f"{fold.name}_{key[:12]}").exists():
        os.replace(returned, fold)
        console.say("a training of exactly this was kept, and is used again")
    fold.mkdir(parents=True, exist_ok=True)


def train(
    folders: ModelFolders,
    configuration: str,
    fold: int,
    env: Mapping[str, str],
    device: str,
    probabilities: bool,
    console: Console,
) -> str:
    """Train the fold as far as it is not trained, then predict its validation cases as far as they are not predicted.

    Returns what was done, in words.
    """
    folder = folders.fold(configuration, fold)
    state = read_json(folder / STATE)
    command = [1, configuration, fold, "-tr", TRAINER, "-p", PLANS, "-device", device, *(["--npz"] if probabilities else [])]
    if not (folder / FINAL).exists():
        resumable = any((folder / name).exists() for name in RESUMABLE)
        if resumable:
            console.say("resuming from the last checkpoint")
        run_nnunet("nnUNetv2_train", [*command, *(["--c"] if resumable else [])], dict(env), console)
        done = "resumed and trained to the end" if resumable else "trained"
    elif state.get("validated") != state["validation_key"]:
        run_nnunet("nnUNetv2_train", [*command, "--val"], dict(env), console)
        done = "already trained; its validation cases predicted again"
    else:
        return "already trained, nothing changed"
    write_json(folder / STATE, {**state, "validated": state["validation_key"]})
    return done


def main(snakemake: Any, console: Console) -> str:
    """Train the fold or find it trained; write its curves and, last, its manifest."""
    params, fold = snakemake.params, int(snakemake.wildcards.fold)
    folders = ModelFolders(snakemake.wildcards.model, Path(params.root))
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
    folder = folders.fold(params.configuration, fold)
    device = device_of(params.device, console)
    with locked(folder.parent / f"{folder.name}.lock"):
        take_place(folder, key, console)
        state = read_json(folder / STATE) if (folder / STATE).exists() else {}
        write_json(folder / STATE, {**state, "key": key, "parts": parts, "validation_key": key_of(validation_parts)})
        env = environment(folders, snakemake.threads, device)
        if device == "cpu" and snakemake.threads == 1:  # no worker to wait for: one process, and the same weights every time
            env["nnUNet_n_proc_DA"] = "0"
        done = train(folders, params.configuration, fold, env, device, params.probabilities, console)
        curves = pd.DataFrame(read_json(folder / "curves.json"))
    write_table(snakemake.output.curves, curves)
    write_json(
        snakemake.output.manifest,
        {
            "model": folders.model,
            "fold": fold,
            "key": key,
            "validation_key": key_of(validation_parts),
            "parts": parts,
            "checkpoint": {"path": str(folder / FINAL), "sha256": sha256_file(folder / FINAL)},
            "validation": {"folder": str(folder / "validation"), "cases": members["val"]},
            "finished_at": datetime.fromtimestamp((folder / FINAL).stat().st_mtime, UTC).isoformat(timespec="seconds"),
            "epochs": len(curves),
            "seconds_per_epoch": float(curves["seconds"].median()),
            "device": device,
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
