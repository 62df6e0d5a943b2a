"""A bundle laid out to run again: its trained folds lie where a run looks for them, with the weights that it holds."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from test_export_model import network_of, tiny_plans, train_tiny

from export_model import main as export_main
from glioflow.bundle.rerun import lay_out_folds
from glioflow.console import Console
from glioflow.files import read_json, sha256_file, write_json, write_table
from glioflow.models.nnunet.commands import TRAINERS, ModelFolders


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """An unpacked bundle with a model of two folds, and their records."""
    models = tmp_path / "bundle/results/models/tiny"
    work = train_tiny(tmp_path / "trained")
    export_main(work, Console())
    models.mkdir(parents=True)
    Path(work.output[0]).rename(models / "tiny.zip")
    for fold in range(2):
        manifest = read_json(tmp_path / f"trained/fold_{fold}/manifest.json")
        more = {"trained_with": [{"code": "c"}], "gpu": None, "finished_at": "2026-01-01T00:00:00+00:00"}
        path = f"../nnunet/results/Dataset001_tiny/GlioflowTrainer__glioflowPlans__3d_fullres/fold_{fold}/checkpoint_final.pth"
        write_json(
            models / f"fold_{fold}/manifest.json", {**manifest, **more, "checkpoint": {"path": path, "sha256": "0" * 64}}
        )
        write_table(models / f"fold_{fold}/curves.csv", pd.DataFrame({"epoch": [0, 1], "seconds": [1.5, 2.5]}))
    return tmp_path / "bundle"


def test_a_trained_fold_is_laid_out_with_its_key_its_weights_and_its_curves(unpacked, tmp_path):
    assert lay_out_folds(unpacked, tmp_path / "again", Console()) == 2
    folders = ModelFolders("tiny", tmp_path / "again/results/models/tiny/nnunet")
    for fold in (0, 1):
        folder = folders.fold("3d_fullres", fold)
        state = read_json(folder / "glioflow.json")
        assert state["key"] == f"{fold}" * 64 and state["training"]["with"] == [{"code": "c"}]
        assert state["training"]["sha256"] == sha256_file(folder / "checkpoint_final.pth")
        assert [row["seconds"] for row in read_json(folder / "curves.json")] == [1.5, 2.5]
        before = ModelFolders("tiny", tmp_path / "trained/nnunet").fold("3d_fullres", fold) / "checkpoint_final.pth"
        weights = torch.load(before, weights_only=False)["network_weights"]
        laid_out = torch.load(folder / "checkpoint_final.pth", weights_only=True)["network_weights"]
        assert all(torch.equal(laid_out[name], weights[name]) for name in weights)
    assert not (tmp_path / "again/.models").exists()


def test_the_trainer_takes_weights_alone_to_predict_the_validation_cases(unpacked, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINERS))
    from glioflow_trainer import GlioflowTrainer

    lay_out_folds(unpacked, tmp_path / "again", Console())
    folder = ModelFolders("tiny", tmp_path / "again/results/models/tiny/nnunet").fold("3d_fullres", 1)
    torch.manual_seed(5)
    trainer = object.__new__(GlioflowTrainer)
    trainer.was_initialized, trainer.is_ddp, trainer.network = True, False, network_of(tiny_plans())
    trainer.load_checkpoint(str(folder / "checkpoint_final.pth"))
    weights = torch.load(folder / "checkpoint_final.pth", weights_only=True)["network_weights"]
    assert all(torch.equal(value, weights[name]) for name, value in trainer.network.state_dict().items())
    assert trainer.inference_allowed_mirroring_axes == (0, 1, 2)
    assert "glioflow_trainer" in sys.modules
