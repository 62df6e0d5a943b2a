"""What vouches for a fold: its checkpoint is checked, what it was trained with stays recorded, and nothing is done twice."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import save
from test_export_model import CHANNELS, tiny_dataset, tiny_plans

import collect_cv
import list_archived
import predict_cases
import train_fold as script
from glioflow.console import Console, UserError
from glioflow.files import read_json, sha256_file, write_json, write_table
from glioflow.models.devices import read_processor, training_precision
from glioflow.models.fold_state import FINAL, STATE, check_checkpoint, locked
from glioflow.models.nnunet.commands import UNSAVED, ModelFolders, run_nnunet
from glioflow.models.nnunet.keys import training_code

VERSIONS = {"python": "3.9.0", "nnunetv2": "2.4", "torch": "2.0", "numpy": "1.26"}
FORMER = {"code": "0" * 16, "device": "cuda", "versions": VERSIONS}


class Fold:
    """Fold 0 of a model as an earlier job left it, trained and validated, and the job that looks after it."""

    def __init__(self, root: Path, tta: bool | str = True) -> None:
        self.root, self.tta = root, tta
        self.folders = ModelFolders("m", root / "models/m/nnunet")
        self.folder = self.folders.fold("3d_fullres", 0)
        self.manifest = root / "models/m/fold_0/manifest.json"
        hashes = {f"{channel}_sha256": "0" * 64 for channel in CHANNELS}
        cases = [{"case_id": case, **hashes, "label_sha256": "1" * 64} for case in "abcd"]
        write_table(root / "manifest.csv", pd.DataFrame(cases))
        plans = tiny_plans()
        plans["glioflow"]["tta"] = tta
        write_json(root / "plans.json", plans)
        write_json(root / "dataset.json", tiny_dataset())
        write_json(root / "splits.json", [{"train": ["a", "b"], "val": ["c", "d"]}])
        self.folder.mkdir(parents=True)
        torch.save({"network_weights": torch.arange(1000.0)}, self.folder / FINAL)
        write_json(self.folder / "curves.json", [{"epoch": 0, "seconds": 2.0}])
        for folder in script.VALIDATION[: 1 + (tta == "both")]:
            for case in "cd":
                save(self.folder / folder / f"{case}.nii.gz", np.ones((3, 3, 3), np.uint8))
        key = self.keys()
        write_json(self.folder / STATE, {"key": key[0], "validated": key[1]})
        (self.folder / "validation.key").write_text(key[1])

    def keys(self) -> list[str]:
        """Return the keys of the fold and of its validation masks, as a job finds them."""
        found: list[str] = []

        def stop(fold: Path, key: str, console: Console) -> None:
            found.append(key)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(script, "prepare_fold", stop)
            patch.setattr(script.FoldJob, "waits_for", lambda job, state: found.append(job.validation_key))
            patch.setattr(script, "end_training", lambda folder: write_json(folder / STATE, {"training": training()}))
            self.run()
        return found

    def record(self, **training: Any) -> None:
        """Record what a training that has ended leaves."""
        state = read_json(self.folder / STATE)
        write_json(self.folder / STATE, {**state, "training": training})

    def run(self, **params: Any) -> tuple[str, dict[str, Any]]:
        settings = {
            "configuration": "3d_fullres",
            "channels": CHANNELS,
            "device": "cpu",
            "trainer": "GlioflowTrainer",
            "probabilities": None,
            "released": str(self.root / "released.json"),
            "retrain_on_upgrade": False,
        }
        inputs = {name: str(self.root / f"{name}.json") for name in ("plans", "dataset", "splits")}
        job = SimpleNamespace(
            input=SimpleNamespace(manifest=str(self.root / "manifest.csv"), **inputs),
            output=SimpleNamespace(manifest=str(self.manifest), curves=str(self.root / "curves.csv")),
            params=SimpleNamespace(**{**settings, **params}, root=str(self.folders.root)),
            wildcards=SimpleNamespace(model="m", fold="0"),
            threads=1,
        )
        return script.main(job, Console()), read_json(self.manifest)

    def write_probabilities(self, folder: str = "validation") -> list[Path]:
        paths = [self.folder / folder / f"{case}{ending}" for case in "cd" for ending in (".npz", ".pkl")]
        for path in paths:
            path.write_text(path.name)
        return paths


def training(**changes: Any) -> dict[str, Any]:
    ended = {"gpu": "Old GPU", "finished_at": "2020-01-01T00:00:00+00:00", "sha256": "0" * 64}
    return {"with": [FORMER], **ended, **changes}


@pytest.fixture
def fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fold:
    """A finished fold, which no job may train, predict or claim a device for."""
    made = Fold(tmp_path)
    monkeypatch.setattr(script, "claim_device", lambda *_: pytest.fail("a device is claimed"))
    return made


# ---- the checkpoint


def negate(path: Path) -> None:
    """Change weights and leave a whole archive of the same size."""
    content = torch.load(path)
    torch.save({name: -tensor for name, tensor in content.items()}, path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(("change", "said"), [(negate, "is not the"), (truncate, "is not the"), (Path.unlink, "is gone")])
def test_a_checkpoint_that_is_not_the_trained_one_is_told_with_what_to_do(fold, change, said):
    path, record = fold.folder / FINAL, "models/m/fold_0/manifest.json"
    manifest = {"fold": 0, "checkpoint": {"sha256": sha256_file(path)}}
    check_checkpoint(path, manifest, record)
    change(path)
    with pytest.raises(UserError, match=rf"fold 0: .*{FINAL} {said}") as caught:
        check_checkpoint(path, manifest, record)
    assert str(caught.value).endswith(f"train the fold again: delete {fold.folder} and {record}, and run again")
    with pytest.raises(UserError, match=r"import the model again: delete models/m/imported.json, and run again"):
        check_checkpoint(path, {**manifest, "imported": True}, record)


def test_a_checkpoint_that_was_damaged_when_it_was_vouched_for_is_told(fold):
    path = fold.folder / FINAL
    truncate(path)
    with pytest.raises(UserError, match=f"{FINAL} is damaged"):
        check_checkpoint(path, {"fold": 0, "checkpoint": {"sha256": sha256_file(path)}}, "manifest.json")


def test_a_finished_fold_whose_weights_changed_is_neither_vouched_for_nor_trained_again(fold):
    fold.run()
    negate(fold.folder / FINAL)
    with pytest.raises(UserError, match="is not the checkpoint that was trained"):
        fold.run()
    assert (fold.folder / FINAL).exists()


def test_nothing_is_predicted_with_weights_that_nobody_vouches_for(fold, monkeypatch):
    fold.run()
    negate(fold.folder / FINAL)
    monkeypatch.setattr(predict_cases, "run_nnunet", lambda *_: pytest.fail("predicted"))
    image = save(fold.root / "t1.nii.gz", np.ones((3, 3, 3), np.uint8))
    table = {"case_id": ["c"], "patient_id": ["c"], "set": ["test"], **{channel: [str(image)] for channel in CHANNELS}}
    write_table(fold.root / "test.csv", pd.DataFrame({**table, **{f"{channel}_sha256": ["0"] for channel in CHANNELS}}))
    params = {
        "configuration": "3d_fullres",
        "channels": CHANNELS,
        "device": "cpu",
        "trainer": "GlioflowTrainer",
        "tta": True,
        "probabilities": None,
        "released": "",
        "root": str(fold.folders.root),
        "cache": str(fold.root / "cache.jsonl"),
    }
    files = {name: str(fold.root / f"{name}.json") for name in ("plans", "dataset")}
    job = SimpleNamespace(
        input=SimpleNamespace(
            manifest=str(fold.root / "test.csv"), split=str(fold.root / "test.csv"), folds=[str(fold.manifest)], **files
        ),
        output=[str(fold.root / "predictions/m/test/predictions.csv")],
        params=SimpleNamespace(**params),
        wildcards=SimpleNamespace(model="m", set="test"),
        threads=1,
    )
    with pytest.raises(UserError, match=rf"fold 0: .*{FINAL} is not the checkpoint that was trained"):
        predict_cases.main(job, Console())


# ---- what it was trained with


def test_a_later_job_does_not_rewrite_what_a_fold_was_trained_with(fold):
    fold.record(**training(sha256=sha256_file(fold.folder / FINAL)))
    os.utime(fold.folder / FINAL)
    said, manifest = fold.run()
    assert said.startswith("already trained, nothing changed: 2 training cases")
    assert manifest["versions"] == VERSIONS
    assert (manifest["device"], manifest["gpu"], manifest["finished_at"]) == ("cuda", "Old GPU", "2020-01-01T00:00:00+00:00")
    assert manifest["trained_with"] == [FORMER]


def test_of_a_fold_without_a_record_only_what_nnunet_noted_is_known_and_it_is_not_trained_again(fold):
    _, manifest = fold.run()
    assert (manifest["versions"], manifest["device"], manifest["gpu"]) == ({}, None, None)
    state = read_json(fold.folder / STATE)
    write_json(fold.folder / STATE, {key: value for key, value in state.items() if key != "training"})
    write_json(fold.folder / "debug.json", {"torch_version": "2.0+cu118", "device": "cuda:0", "gpu_name": "Old GPU"})
    for flag in (False, True):  # what is unknown is no other code
        _, manifest = fold.run(retrain_on_upgrade=flag)
        assert (manifest["versions"], manifest["device"], manifest["gpu"]) == ({"torch": "2.0"}, "cuda:0", "Old GPU")
        assert manifest["checkpoint"]["sha256"] == sha256_file(fold.folder / FINAL)


def test_what_a_training_begins_and_goes_on_with_is_recorded(fold):
    script.begin_training(fold.folder, "cpu", resumed=False)
    (today,) = read_json(fold.folder / STATE)["training"]["with"]
    assert {"code": today["code"], **{name: today["versions"][name] for name in ("nnunetv2", "torch")}} == training_code()
    assert today["processor"] == read_processor()
    assert today["precision"] == training_precision("cpu")
    script.begin_training(fold.folder, "cpu", resumed=True)
    assert read_json(fold.folder / STATE)["training"]["with"] == [today]
    fold.record(**{"with": [FORMER]})
    script.begin_training(fold.folder, "cpu", resumed=True)
    script.end_training(fold.folder)
    ended = read_json(fold.folder / STATE)["training"]
    assert ended["with"] == [FORMER, today]
    assert ended["sha256"] == sha256_file(fold.folder / FINAL)
    script.begin_training(fold.folder, "cpu", resumed=False)
    assert read_json(fold.folder / STATE)["training"] == {"with": [today]}


def test_other_code_trains_again_only_where_the_model_asks_for_it(fold, monkeypatch):
    fold.record(**training(sha256=sha256_file(fold.folder / FINAL)))
    assert fold.run()[0].startswith("already trained")
    weights = (fold.folder / FINAL).read_bytes()

    class TrainingError(Exception):
        pass

    def train(job, *_):
        assert not (job.folder / FINAL).exists()
        raise TrainingError

    monkeypatch.undo()
    monkeypatch.setattr(script, "train", train)
    for _ in range(2):  # the archived one does not come back
        with pytest.raises(TrainingError):
            fold.run(retrain_on_upgrade=True)
    (kept,) = (fold.folder.parent / "superseded").iterdir()
    assert (kept / FINAL).read_bytes() == weights


# ---- validation masks and probabilities


@pytest.mark.parametrize("tta", [True, "both"])
def test_a_deleted_validation_mask_is_predicted_again(tmp_path, monkeypatch, tta):
    fold = Fold(tmp_path, tta)
    monkeypatch.setattr(script, "train", lambda job, *_: pytest.fail("predicted"))
    assert fold.run()[0].startswith("already trained, nothing changed")
    (fold.folder / script.VALIDATION[tta == "both"] / "d.nii.gz").unlink()
    monkeypatch.setattr(script, "train", lambda job, *_: "predicted again")
    assert fold.run()[0].startswith("predicted again")


def test_a_missing_validation_mask_says_how_it_is_made_again(fold):
    fold.run()
    (fold.folder / "validation/d.nii.gz").unlink()
    split = {"case_id": list("abcd"), "patient_id": list("abcd"), "set": "train"}
    write_table(fold.root / "split.csv", pd.DataFrame(split))
    job = SimpleNamespace(
        input=SimpleNamespace(split=str(fold.root / "split.csv"), folds=[str(fold.manifest)]),
        output=[str(fold.root / "cv/predictions.csv")],
        params=SimpleNamespace(tta=True),
    )
    with pytest.raises(UserError, match=rf"d: .*validation/d.nii.gz is gone; delete {fold.manifest} and run again"):
        collect_cv.main(job, Console())


def test_masks_of_another_checkpoint_do_not_pass_for_those_of_a_new_one(fold, monkeypatch):
    (fold.folder / FINAL).unlink()
    monkeypatch.undo()
    seen: list[list[Path]] = []

    def train(*_: Any) -> None:
        seen.append(list(fold.folder.rglob("*.nii.gz")))
        torch.save({}, fold.folder / FINAL)

    monkeypatch.setattr(script, "run_nnunet", train)
    fold.run()
    assert seen == [[]]


def test_the_hashes_of_probabilities_outlive_them(fold):
    paths = fold.write_probabilities()
    _, manifest = fold.run(probabilities="an ensemble")
    known = manifest["validation"]["probabilities"]
    assert sorted(known) == ["c", "d"]
    assert all(len(sha256) == 64 for sha256 in known.values())
    for path in paths:
        path.unlink()
    write_json(fold.root / "released.json", {})
    assert fold.run(probabilities="an ensemble")[1]["validation"]["probabilities"] == known


def test_probabilities_that_another_ensemble_needs_are_made_again_where_they_are_gone(fold, monkeypatch):
    fold.write_probabilities()
    fold.run(probabilities="an ensemble")
    fold.run(probabilities="another ensemble")  # they are there
    for path in fold.folder.rglob("*.npz"):
        path.unlink()
    write_json(fold.root / "released.json", {})
    fold.run(probabilities="another ensemble")
    monkeypatch.undo()
    monkeypatch.setattr(script, "train", lambda job, *_: "predicted again")
    assert fold.run(probabilities="a third")[0].startswith("predicted again")


def test_probabilities_are_deleted_once_no_ensemble_needs_them(fold):
    paths = fold.write_probabilities()
    others = [fold.folder / "validation/summary.json", fold.folder / "validation/of_no_case.npz"]
    for path in others:
        path.touch()
    fold.run(probabilities="an ensemble")
    assert all(path.exists() for path in paths)
    said, manifest = fold.run()
    assert said.startswith("already trained, nothing changed")  # masks stay
    assert not any(path.exists() for path in paths)
    assert all(path.exists() for path in others)
    assert "probabilities" not in manifest["validation"]


# ---- stopping and archives


def test_a_training_that_could_not_save_itself_does_not_say_it_did(monkeypatch, tmp_path):
    command = tmp_path / "nnUNetv2_train"
    command.write_text(f"#!/bin/sh\nexit {UNSAVED}\n")
    command.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(UserError, match="nothing could be saved"):
        run_nnunet("nnUNetv2_train", [], dict(os.environ), Console())


def test_archived_trainings_are_listed_and_deleted_where_that_is_asked_for(fold, capsys):
    archive = fold.folder.parent / "superseded"
    for name, size in (("fold_0_aaaa", 1500), ("fold_1_bbbb_20200101T000000", 10)):
        (archive / name).mkdir(parents=True)
        (archive / name / FINAL).write_bytes(b"x" * size)
    (archive / "fold_1_bbbb_20200101T000000/link").symlink_to(fold.folder, target_is_directory=True)
    list_archived.main([str(fold.root)])
    said = capsys.readouterr().out
    assert "1.5 kB  " in said and str(archive / "fold_0_aaaa") in said
    assert said.splitlines()[-1].startswith("2 archived trainings, 1.5 kB in all; --delete")
    with locked(fold.folder), pytest.raises(SystemExit, match="another process is training this fold"):
        list_archived.main([str(fold.root), "--delete", "--only", "fold_0_aaaa"])
    list_archived.main([str(fold.root), "--delete", "--only", "fold_1_bbbb_20200101T000000"])
    assert [path.name for path in archive.iterdir()] == ["fold_0_aaaa"]
    list_archived.main([str(fold.root), "--delete"])
    assert list(archive.iterdir()) == []
    assert (fold.folder / FINAL).exists()
    capsys.readouterr()
    list_archived.main([str(fold.root)])
    assert capsys.readouterr().out == "0 archived trainings, 0 bytes found\n"
    with pytest.raises(SystemExit, match="there is no such folder"):
        list_archived.main([str(fold.root / "nothing")])
