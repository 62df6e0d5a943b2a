"""One study with every kind of model, trained once for all tests that need a trained one: the fixture ``composite``."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from workflows import build_once, snakemake

PHANTOM = {"dataset": "phantom", "shape": [32, 40, 32], "spacing_mm": [5, 5, 5]}
TRAINED = {
    "folds": 2, "epochs": 2, "iterations_per_epoch": 2, "validation_iterations": 1, "device": "cpu", "threads": 1,
}  # fmt: skip
PLANS = {"patch_size": [32, 40, 32], "batch_size": 1, "n_stages": 3, "base_features": 4}
STUDY = {
    "cohorts": {
        "own": {**PHANTOM, "cases": 4, "seed": 1, "planted": {}},
        "other": {**PHANTOM, "cases": 6, "seed": 2, "planted": {"low_contrast": 2}},
    },
    "models": {
        "full": {
            **TRAINED, "cohort": "own", "external": ["other"], "channels": ["t1ce", "flair"], "plans": PLANS, "tta": "both",
            "network": "attention_resunet", "loss": "focal_ce", "epochs": 3, "save_every": 1,
        },
        "slices": {
            **TRAINED, "cohort": "own", "configuration": "2d", "channels": ["flair"], "tta": False,
            "plans": {**PLANS, "patch_size": [40, 32]},
        },
        "equiunet": {
            **TRAINED, "cohort": "own", "network": "equiunet", "deep_supervision": False, "loss": "soft_dice", "tta": "both",
            "optimiser": "ranger", "schedule": "cosine", "initial_lr": 1e-4, "weight_decay": 0.0,
            "swa": {"cycles": 1, "epochs_per_cycle": 2, "update_every": 1, "initial_lr": 5e-5},
            "plans": {**PLANS, "base_features": 16},
            "postprocessing": {"largest_component": ["WT"], "min_volume_ml": [], "et_threshold_ml": []},
        },
        "classes": {
            **TRAINED, "cohort": "other", "regions": ["NCR", "ED", "ET", "RC"], "loss": "soft_dice", "deep_supervision": False,
            "tta": False, "plans": PLANS,
        },
    },
    "ensembles": {
        "mean": {"members": ["full", "slices"], "merge": {"ED": "slices"}},
        "merged": {"members": ["full", "equiunet"], "merge": {"TC": "full", "ED": "equiunet"}},
    },
    "evaluation": {"regions": ["WT", "TC", "ET", "ED"], "lesionwise": "brats2024_gli", "group_by": ["planted"]},
    "failure": {"sets": ["other"], "extremes": 2},
}  # fmt: skip
FOLD = "results/models/full/fold_0/manifest.json"


@dataclass(frozen=True)
class Composite:
    """A checkout whose study was killed in training and then run to its end."""

    checkout: Path
    killed: str  # what the killed run printed
    left: list[int]  # the processes of its training that outlived it
    said: str  # what the run to the end printed


def build_composite(factory: pytest.TempPathFactory) -> Composite:
    """Return the study, trained by the first of pytest's workers that asks for it."""
    checkout, said = build_once(factory, "composite", kill_and_run)
    return Composite(checkout, **json.loads(said))


def kill_and_run(checkout: Path) -> str:
    """Kill a training of the study, run the study to its end, and return what was seen as JSON."""
    (checkout / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))  # the order of a merge counts
    killed = run_and_kill(checkout, "epoch 2/3")
    deadline = time.monotonic() + 30
    while processes(checkout, "nnUNetv2_train") and time.monotonic() < deadline:
        time.sleep(0.5)
    left = processes(checkout, "nnUNetv2_train")
    run = snakemake(checkout, "--configfile", "study.yaml", "--", "all")
    assert run.returncode == 0, run.stdout
    return json.dumps({"killed": killed, "left": left, "said": run.stdout})


def run_and_kill(checkout: Path, words: str) -> str:
    """Run fold 0 and kill its job, as a full memory would, as soon as it says ``words``; return what was said."""
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "2", "--configfile", "study.yaml", "--", FOLD]
    said = ""
    with subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if words in line:
                (job,) = processes(checkout, "train_fold.py")
                os.kill(job, signal.SIGKILL)
    assert process.returncode != 0
    return said


def processes(checkout: Path, word: str) -> list[int]:
    """Return the pids of the processes that work in ``checkout`` and have ``word`` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                entry.name.isdigit()
                and (entry / "cwd").resolve() == checkout
                and word.encode() in (entry / "cmdline").read_bytes()
            ):
                found.append(int(entry.name))
    return found
