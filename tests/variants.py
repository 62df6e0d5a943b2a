"""The CPU variants of the published systems, each run once for all tests that need it: ``build_variant``."""

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

OVERLAY = "overlay.yaml"
LARGEST_COMPONENT = {"largest_component": ["WT"], "min_volume_ml": [], "et_threshold_ml": []}
# What tests need besides the shipped file. ``post_treatment`` gets an external cohort, and an ensemble of networks that differ
# in dimensions, channels and mirroring.
OVERLAYS = {
    "msd_unet3d_cpu": {"models": {"unet": {"epochs": 3, "save_every": 1}}},
    "post_treatment_cpu": {
        "cohorts": {
            "other": {
                "dataset": "phantom", "cases": 4, "seed": 9, "shape": [32, 40, 32], "spacing_mm": [5, 5, 5],
                "planted": {"low_contrast": 2},
            },
        },
        "models": {
            "attention": {"tta": "both", "external": ["other"]},
            "plain": {
                "channels": ["flair"], "configuration": "2d", "plans": {"patch_size": [40, 32]},
                "postprocessing": LARGEST_COMPONENT,
            },
        },
        "ensembles": {"mean": {"members": ["attention", "plain"], "merge": {"ED": "plain"}}},
        "evaluation": {"group_by": ["planted"]},
        "failure": {"sets": ["other"], "extremes": 2},
    },
    "capstone_cpu": {"models": {"b": {"postprocessing": LARGEST_COMPONENT}}},
}  # fmt: skip
TARGETS = {"post_treatment_cpu": ("all", "scores"), "capstone_cpu": ("all",)}
KILLED = "msd_unet3d_cpu"  # a training of this one is killed before the run to the end


@dataclass(frozen=True)
class Variant:
    """A checkout in which a variant has run; change it in a copy only."""

    name: str
    checkout: Path
    said: str  # what the run to the end printed
    killed: str  # what the run printed whose training was killed
    left: list[int]  # the processes of that training that outlived it

    @property
    def study(self) -> tuple[str, ...]:
        """The arguments that name the study."""
        return study_arguments(self.name)

    @property
    def results(self) -> Path:
        return self.checkout / results_of(self.name)


def results_of(name: str) -> Path:
    """Return the results folder of a variant, as seen from its checkout."""
    return Path("results/studies", name)


def study_arguments(name: str) -> tuple[str, ...]:
    return ("--configfile", f"config/studies/{name}.yaml", *([OVERLAY] if name in OVERLAYS else []))


def build_variant(factory: pytest.TempPathFactory, name: str) -> Variant:
    """Return the variant ``name``, run by the first of pytest's workers that asks for it."""
    checkout, said = build_once(factory, name, lambda checkout: run_variant(checkout, name))
    return Variant(name, checkout, **json.loads(said))


def run_variant(checkout: Path, name: str) -> str:
    """Run a variant to its end and return what was seen as JSON."""
    if name in OVERLAYS:
        (checkout / OVERLAY).write_text(yaml.safe_dump(OVERLAYS[name], sort_keys=False))  # the order of a merge counts
    killed, left = kill_training(checkout, name, "unet", "epoch 2/3") if name == KILLED else ("", [])
    run = snakemake(checkout, "--quiet", "rules", *study_arguments(name), "--", *TARGETS.get(name, ("scores",)))
    assert run.returncode == 0, run.stdout
    return json.dumps({"said": run.stdout, "killed": killed, "left": left})


def kill_training(checkout: Path, name: str, model: str, words: str) -> tuple[str, list[int]]:
    """Run fold 0 of a model and kill its job, as a full memory would, as soon as it says ``words``.

    Return what was said, and the processes of the training that are left half a minute later.
    """
    fold = results_of(name) / f"models/{model}/fold_0/manifest.json"
    program = str(Path(sys.executable).with_name("snakemake"))
    command = [program, "--cores", "2", *study_arguments(name), "--", str(fold)]
    said = ""
    with subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if words in line:
                (job,) = processes(checkout, "train_fold.py")
                os.kill(job, signal.SIGKILL)
    assert process.returncode != 0
    deadline = time.monotonic() + 30
    while (left := processes(checkout, "nnUNetv2_train")) and time.monotonic() < deadline:
        time.sleep(0.5)
    return said, left


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
