"""A training that is killed, asked to stop, robbed of its disk or of its checkpoint ends as if nothing had happened.

Once it is killed as a job of Snakemake; then the job is started by itself, and killed many times.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPO
from variants import Variant, build_variant

pytestmark = [pytest.mark.e2e, pytest.mark.long]

EPOCHS, SAVE_EVERY = 18, 2
# What is trained: the prepared cases of the small MSD study, whose network has a softmax, with settings that have much to lose.
SETTINGS = {
    "epochs": 14, "iterations_per_epoch": 4, "save_every": SAVE_EVERY, "tta": "both", "optimiser": "ranger",
    "schedule": "cosine", "initial_lr": 1e-3,
    "swa": {"cycles": 2, "epochs_per_cycle": 2, "update_every": 1, "initial_lr": 5e-4},
}  # fmt: skip
# The job of Snakemake's, by itself: a folder and, where wanted, the largest file (bytes) that the disk still takes.
JOB = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
from snakemake.iocontainers import Namedlist
sys.path.insert(0, sys.argv[1])
from glioflow.console import run_script
from train_fold import main
results, limit = Path(sys.argv[2]), int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
model = results / "models/unet"
prepared, fold = model / "nnunet/preprocessed/Dataset001_unet", model / "fold_0"
def named(**values):
    return Namedlist(fromdict=values)
inputs = named(
    manifest=results / "cohorts/task01/manifest.csv", dataset=model / "nnunet/raw/Dataset001_unet/dataset.json",
    splits=prepared / "splits_final.json", plans=prepared / "glioflowPlans.json",
)
params = named(
    configuration="3d_fullres", channels=["flair", "t1", "t1ce", "t2"], device="cpu", trainer="GlioflowTrainer",
    probabilities=None, retrain_on_upgrade=False, root=str(model / "nnunet"),
)
class Names(dict):
    model, fold = "unet", "0"
if __name__ == "__main__":
    run_script(main, SimpleNamespace(
        rule="train_fold", wildcards=Names(model="unet", fold="0"), log=[str(results / "train.log")],
        threads=1, resources={},
        params=params, input=inputs, output=named(manifest=fold / "manifest.json", curves=fold / "curves.csv"),
    ))
"""


class Training:
    """One start of the job on a copy of the prepared results; what it prints is read as it comes."""

    def __init__(self, results: Path, limit: int = 0) -> None:
        self.lines: list[str] = []
        command = [sys.executable, "-u", "-c", JOB, str(REPO / "scripts"), str(results), str(limit)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"}
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def wait_for(self, words: str) -> None:
        while not any(words in line for line in self.lines):
            assert self.process.poll() is None, self.said
            time.sleep(0.01)

    def wait_for_epochs(self, number: int) -> None:
        """Wait until so many epochs are over."""
        while len(epochs(self.said)) < number:
            assert self.process.poll() is None, self.said
            time.sleep(0.01)

    def end(self, number: int | None = None) -> str:
        """Send a signal, wait for the end, and return all that was printed."""
        if number is not None:
            self.process.send_signal(number)
        self.process.wait(timeout=300)
        self.reader.join()
        return self.said

    @property
    def said(self) -> str:
        return "".join(self.lines)


def epochs(said: str) -> list[int]:
    return [int(number) for number in re.findall(rf"epoch (\d+)/{EPOCHS}:", said)]


@pytest.fixture(scope="module")
def msd(tmp_path_factory) -> Variant:
    return build_variant(tmp_path_factory, "msd_unet3d_cpu")


@pytest.fixture(scope="module")
def prepared(msd, tmp_path_factory):
    """Results up to the preprocessed cases, under other settings."""
    source, results = msd.results, tmp_path_factory.mktemp("interrupted") / "results"
    (results / "cohorts/task01").mkdir(parents=True)
    shutil.copy(source / "cohorts/task01/manifest.csv", results / "cohorts/task01")
    for part in ("raw", "preprocessed"):
        shutil.copytree(source / "models/unet/nnunet" / part, results / "models/unet/nnunet" / part)
    (plans,) = results.rglob("glioflowPlans.json")
    described = json.loads(plans.read_text())
    described["glioflow"] |= SETTINGS
    plans.write_text(json.dumps(described))
    return results


@pytest.fixture(scope="module")
def copy_of(prepared, tmp_path_factory) -> Callable[[], Path]:
    return lambda: Path(shutil.copytree(prepared, tmp_path_factory.mktemp("copy") / "results"))


@pytest.fixture(scope="module")
def undisturbed(copy_of):
    results = copy_of()
    training = Training(results)
    said = training.end()
    assert training.process.returncode == 0, said
    assert epochs(said) == list(range(1, EPOCHS + 1))
    return results


def fold(results: Path) -> Path:
    return next(results.glob("models/unet/nnunet/results/*/*/fold_0"))


def outcome(results: Path) -> dict[str, np.ndarray]:
    """Return the final weights, and the validation masks with and without mirroring, with their maps of entropy."""
    checkpoint = torch.load(fold(results) / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    masks = {str(path.relative_to(fold(results))): path for path in fold(results).rglob("*.nii.gz")}
    return {
        **{name: weight.numpy() for name, weight in checkpoint["network_weights"].items()},
        **{name: np.frombuffer(path.read_bytes(), np.uint8) for name, path in masks.items()},
    }


def assert_equal(results: Path, other: Path) -> None:
    found, wanted = outcome(results), outcome(other)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not np.array_equal(found[name], wanted[name])] == []
    # 3 validation cases, each with and without mirroring, a mask and its map of entropy
    assert sum(name.endswith(".nii.gz") for name in wanted) == 12


def test_killed_under_snakemake_it_resumes_where_it_was_saved_and_leaves_no_process(msd):
    assert "[train_fold unet 0] epoch 2/3" in msd.killed
    assert msd.left == []
    assert "[train_fold unet 0] resuming from the last checkpoint" in msd.said
    assert "[train_fold unet 0] epoch 3/3" in msd.said
    assert "[train_fold unet 0] epoch 1/3" not in msd.said
    assert pd.read_csv(msd.results / "models/unet/fold_0/curves.csv")["epoch"].tolist() == [0, 1, 2]


def test_kills_at_random_moments_and_one_in_validation_change_nothing(undisturbed, copy_of):
    results, moments, last = copy_of(), random.Random(8), 0
    for _ in range(10):
        training = Training(results)
        lines = moments.choice([0, 1, 2])  # epochs that end before the kill; none: while it starts
        training.wait_for_epochs(lines)
        time.sleep(moments.uniform(0, 0.7 if lines else 8))
        said = training.end(signal.SIGKILL)
        assert training.process.returncode == -signal.SIGKILL, said
        # What follows a kill begins at most SAVE_EVERY - 1 epochs before what was reached.
        if done := epochs(said):
            assert done[0] > last - SAVE_EVERY
            assert done == list(range(done[0], done[-1] + 1))
            last = done[-1]
    assert 0 < last < EPOCHS
    training = Training(results)
    training.wait_for("predicting validation case 2 of 3")
    training.end(signal.SIGKILL)
    training = Training(results)
    said = training.end()
    assert training.process.returncode == 0, said
    assert epochs(said) == []
    assert_equal(results, undisturbed)


def test_asked_to_stop_it_saves_inside_an_epoch_and_goes_on_from_there(undisturbed, copy_of):
    results, reached = copy_of(), 0
    for words in ("epoch 3/", "epoch 16/"):  # the second one in a cycle of weight averaging
        training = Training(results)
        training.wait_for(words)
        said = training.end(signal.SIGTERM)
        assert training.process.returncode == 1
        assert "run again to go on from there" in said
        saved = re.search(r"asked to stop: saved in epoch (\d+), iteration \d+ of 4", said)
        assert saved, said
        assert epochs(said) == list(range(reached + 1, int(saved[1])))
        reached = int(saved[1]) - 1
    said = Training(results).end()
    assert epochs(said) == list(range(reached + 1, EPOCHS + 1))
    assert_equal(results, undisturbed)


def test_neither_a_full_disk_nor_a_damaged_checkpoint_costs_more_than_some_epochs(undisturbed, copy_of):
    results = copy_of()
    training = Training(results)
    training.wait_for("epoch 5/")
    training.end(signal.SIGKILL)
    latest = fold(results) / "checkpoint_latest.pth"
    before = latest.read_bytes()
    training = Training(results, limit=60_000)
    said = training.end()
    assert training.process.returncode == 1
    assert "no checkpoint could be written" in said
    assert epochs(said) == list(range(5, EPOCHS + 1))
    assert latest.read_bytes() == before
    assert list(fold(results).glob("*.writing")) == []
    training = Training(results, limit=60_000)
    training.wait_for("epoch 6/")
    said = training.end(signal.SIGTERM)
    assert "asked to stop: nothing could be saved in epoch" in said
    assert "asked to stop, but nothing could be saved" in said
    assert latest.read_bytes() == before
    # Now that there is room again, the two checkpoints of epoch 4 turn out to be damaged.
    for path in (latest, latest.with_name("checkpoint_best.pth")):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    said = Training(results).end()
    assert "checkpoint_latest.pth is damaged" in said
    assert latest.with_name("checkpoint_latest.pth.damaged").stat().st_size == len(before)
    assert epochs(said) == list(range(3, EPOCHS + 1))
    assert_equal(results, undisturbed)


def test_a_changed_label_retrains_only_the_folds_that_train_on_it(undisturbed, tmp_path):
    results = Path(shutil.copytree(undisturbed, tmp_path / "results"))
    members = json.loads(next(results.glob("models/unet/nnunet/preprocessed/*/splits_final.json")).read_text())[0]
    weights = (fold(results) / "checkpoint_final.pth").read_bytes()
    table = results / "cohorts/task01/manifest.csv"
    manifest = pd.read_csv(table, dtype=str).set_index("case_id")

    def change_label_of(case: str) -> None:
        changed = manifest.copy()
        changed.loc[case, "label_sha256"] = "0" * 64
        changed.to_csv(table)

    change_label_of(members["val"][0])
    said = Training(results).end()
    assert "already trained, nothing changed" in said
    change_label_of(members["train"][0])
    training = Training(results)
    training.wait_for("epoch 1/")
    said = training.end(signal.SIGKILL)
    assert "what this fold is trained from has changed; the former training is kept in" in said
    assert next(fold(results).parent.glob("superseded/*/checkpoint_final.pth")).read_bytes() == weights
