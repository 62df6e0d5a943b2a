"""A study small enough to be killed and changed: two models, an ensemble, an external cohort, test-time mirroring, 2D."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from test_demo import checkpoints
from workflows import copy_checkout, snakemake

pytestmark = pytest.mark.e2e

PHANTOM = {"dataset": "phantom", "shape": [40, 48, 40], "spacing_mm": [4, 4, 4], "planted": {}}
TRAINED = {
    "cohort": "a", "folds": 2, "epochs": 3, "iterations_per_epoch": 3, "validation_iterations": 1, "save_every": 1,
    "device": "cpu", "threads": 1,
}  # fmt: skip
STUDY = {
    "cohorts": {"a": {**PHANTOM, "cases": 8, "test_fraction": 0.25}, "b": {**PHANTOM, "cases": 2, "seed": 1}},
    "models": {
        "full": {
            **TRAINED, "external": ["b"], "channels": ["t1ce", "flair"],
            "plans": {"patch_size": [32, 32, 32], "batch_size": 1, "n_stages": 3, "base_features": 4},
        },
        "slices": {
            **TRAINED, "configuration": "2d", "channels": ["flair"], "tta": False,
            "plans": {"patch_size": [32, 32], "batch_size": 2, "n_stages": 3, "base_features": 4},
        },
    },
    "ensembles": {"both": {"members": ["full", "slices"], "merge": {"ED": "slices"}}},
    "failure": {"extremes": 2},
}  # fmt: skip
FOLD = "results/models/full/fold_0/manifest.json"
OTHER_TABLES = ("_summary", "_groups", "_conventions", "_convention_ranks")  # beside the scores of a set


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


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A checkout whose study was killed in training and then run to its end, with what both runs said."""
    checkout = copy_checkout(tmp_path_factory.mktemp("small") / "glioflow")
    (checkout / "study.yaml").write_text(yaml.safe_dump(STUDY))
    killed = run_and_kill(checkout, "epoch 2/3")
    deadline = time.monotonic() + 30
    while processes(checkout, "nnUNetv2_train") and time.monotonic() < deadline:
        time.sleep(0.5)
    left = processes(checkout, "nnUNetv2_train")
    run = snakemake(checkout, "--configfile", "study.yaml", "--", "scores")
    assert run.returncode == 0, run.stdout
    return checkout, killed, run.stdout, left


def test_a_killed_training_resumes_where_it_was_saved_and_leaves_no_process(study):
    checkout, killed, said, left = study
    assert "[train_fold full 0] epoch 2/3" in killed
    assert left == []
    assert "[train_fold full 0] resuming from the last checkpoint" in said
    assert "[train_fold full 0] epoch 3/3" in said
    assert "[train_fold full 0] epoch 1/3" not in said
    curves = pd.read_csv(checkout / "results/models/full/fold_0/curves.csv")
    assert curves["epoch"].tolist() == [0, 1, 2]


def test_every_set_of_every_model_is_scored(study):
    scores = {
        str(p.relative_to(study[0] / "results/scores"))[:-4]: pd.read_csv(p) for p in study[0].glob("results/scores/*/*.csv")
    }
    sets = {name: table["case_id"].nunique() for name, table in scores.items() if not name.endswith(OTHER_TABLES)}
    assert sets == {
        "full/cv": 6, "full/test": 2, "full/b": 2, "slices/cv": 6, "slices/test": 2, "both/cv": 6, "both/test": 2,
    }  # fmt: skip
    assert scores["full/test"]["tta"].all()
    assert not scores["slices/test"]["tta"].any()
    assert scores["both/test"]["tta"].isna().all()


def test_an_ensemble_takes_its_merged_label_from_its_member(study):
    folder = study[0] / "results/predictions"
    for mask in sorted((folder / "both").glob("*/*.nii.gz")):
        merged, member = (np.asarray(nib.load(p).dataobj) for p in (mask, folder / "slices" / mask.parent.name / mask.name))
        assert not ((merged == 2) & (member != 2)).any()
        assert ((merged == 2) | (merged != 0) | (member != 2)).all()


def test_no_image_is_copied_for_nnunet(study):
    raw = study[0] / "results/models/full/nnunet/raw"
    assert [path.name for path in raw.rglob("*") if path.is_file()] == ["dataset.json"]


def test_other_epochs_train_afresh_and_the_former_training_comes_back(study):
    checkout = study[0]
    before = checkpoints(checkout)
    longer = ("--configfile", "study.yaml", "--config", "models={full: {epochs: 4}}", "--", FOLD)
    run = snakemake(checkout, *longer)
    assert run.returncode == 0, run.stdout
    assert "the former training is kept in" in run.stdout
    assert "epoch 1/4" in run.stdout
    back = snakemake(checkout, "--configfile", "study.yaml", "--", FOLD)
    assert back.returncode == 0, back.stdout
    assert "a training of exactly this was kept, and is used again" in back.stdout
    assert not re.search(r"epoch \d/", back.stdout)
    after = checkpoints(checkout)
    assert {path: after[path] for path in before} == before


def test_probabilities_that_were_deleted_are_made_again_as_the_message_says(study):
    checkout = study[0]
    mask = sorted(checkout.glob("results/predictions/both/*/*.nii.gz"))[0]
    records = [f"results/models/{model}/probabilities_released.json" for model in ("full", "slices")]
    targets = ("--configfile", "study.yaml", "--", "results/predictions/both/cv/predictions.csv", *records)
    assert snakemake(checkout, *targets).returncode == 0
    before = mask.read_bytes()
    mask.unlink()
    (checkout / "results/predictions/both/cv/predictions.csv").unlink()
    said = snakemake(checkout, *targets).stdout
    assert "the probabilities of the model 'full' are gone" in said
    assert f"delete {records[0]} and {records[1]} and run again with --forcerun train_fold predict_cases" in said
    for record in records:
        (checkout / record).unlink()
    run = snakemake(checkout, "--forcerun", "train_fold", "predict_cases", *targets)
    assert run.returncode == 0, run.stdout
    assert not re.search(r"epoch \d/", run.stdout)
    assert mask.read_bytes() == before
