"""Models that nnU-Net's own command exported: taken over with the same outputs, and without running anything in them."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_export_model import UNET, full_checkpoint, network_of, tiny_plans
from test_import_model import import_job

from glioflow.console import Console, UserError
from glioflow.files import read_json, write_json
from glioflow.models.nnunet.commands import ModelFolders
from glioflow.models.nnunet_archive import describe_archive
from import_model import main

REGIONS_JSON = {
    "channel_names": {"0": "T2-FLAIR", "1": "T1Gd"},
    "labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]},
    "regions_class_order": [1, 2, 3],
    "numTraining": 7,
    "file_ending": ".nii.gz",
}
MSD_JSON = {**REGIONS_JSON, "labels": {"background": 0, "edema": 1, "non-enhancing": 2, "enhancing": 3}}
del MSD_JSON["regions_class_order"]


def export(root: Path, dataset: dict[str, Any], outputs: int, trainer: str = "nnUNetTrainer", **folds: Any) -> Path:
    """Lay out a plain training as nnU-Net leaves it, and return the zip that its own command makes of it."""
    trained = root / "results/Dataset007_glioma" / f"{trainer}__nnUNetPlans__3d_fullres"
    plans = {key: value for key, value in tiny_plans().items() if key != "glioflow"}
    plans |= {"plans_name": "nnUNetPlans", "dataset_name": "Dataset007_glioma"}
    plans["configurations"] = {**plans["configurations"], "2d": {"patch_size": [1, 1]}}
    for fold in range(2):
        torch.manual_seed(fold)
        folder = trained / f"fold_{fold}"
        (folder / "validation").mkdir(parents=True)
        checkpoint = full_checkpoint(network_of(plans, outputs), plans, fold, trainer=trainer)
        torch.save({**checkpoint, **folds}, folder / "checkpoint_final.pth")
        (folder / "progress.png").write_bytes(b"")
        write_json(folder / "validation/summary.json", {})
    for name, value in (("plans", plans), ("dataset", dataset), ("dataset_fingerprint", {})):
        write_json(trained / f"{name}.json", value)
    places = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
    command = [
        str(Path(sys.executable).with_name("nnUNetv2_export_model_to_zip")),
        "-d",
        "Dataset007_glioma",
        "-o",
        str(root / "m.zip"),
    ]
    command += ["-c", "3d_fullres", "-tr", trainer, "-p", "nnUNetPlans", "-f", "0", "1"]
    for folder in places.values():
        Path(folder).mkdir(exist_ok=True)
    (root / "raw/Dataset007_glioma").mkdir()
    run = subprocess.run(command, env={**os.environ, **places}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return root / "m.zip"


@pytest.fixture(scope="module")
def regions(tmp_path_factory) -> Path:
    return export(tmp_path_factory.mktemp("regions"), REGIONS_JSON, 3)


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    return export(tmp_path_factory.mktemp("labels"), MSD_JSON, 4)


def take(archive: Path, root: Path, **told: Any) -> ModelFolders:
    job = import_job(archive, root)
    job.params.told = told
    main(job, Console())
    return ModelFolders("taken", root / "nnunet")


def change(archive: Path, target: Path, edit: Callable[[str, bytes], bytes | None], **more: bytes) -> Path:
    with zipfile.ZipFile(archive) as opened, zipfile.ZipFile(target, "w") as written:
        for name in opened.namelist():
            if (content := edit(name, opened.read(name))) is not None:
                written.writestr(name, content)
        for name, content in more.items():
            written.writestr(name, content)
    return target


def outputs_of(weights: dict[str, torch.Tensor], outputs: int) -> torch.Tensor:
    network = network_of(tiny_plans(), outputs, deep_supervision=False)
    network.load_state_dict(weights)
    torch.manual_seed(9)
    with torch.no_grad():
        return network.eval()(torch.randn(1, 2, 32, 32, 32))


def weights_of(archive: Path, fold: int) -> dict[str, torch.Tensor]:
    root = archive.parent / "results/Dataset007_glioma"
    (path,) = root.glob(f"*/fold_{fold}/checkpoint_final.pth")
    return torch.load(path, weights_only=False)["network_weights"]


def test_regions_are_taken_by_their_names_with_the_same_weights(regions, tmp_path):
    folders = take(regions, tmp_path / "taken")
    dataset = read_json(folders.raw / "dataset.json")
    assert dataset["channel_names"] == {"0": "flair", "1": "t1ce"}
    assert list(dataset["labels"]) == ["background", "WT", "TC", "ET"] and dataset["regions_class_order"] == [2, 1, 3]
    for fold in (0, 1):
        taken = torch.load(folders.fold("3d_fullres", fold) / "checkpoint_final.pth", weights_only=True)
        assert taken["trainer_name"] == "GlioflowTrainer"
        before = weights_of(regions, fold)
        assert all(torch.equal(taken["network_weights"][name], before[name]) for name in before)
    assert list(read_json(folders.preprocessed / "glioflowPlans.json")["configurations"]) == ["3d_fullres"]
    assert [fold["fold"] for fold in read_json(tmp_path / "taken/imported.json")["folds"]] == [0, 1]


def test_labels_of_another_order_come_out_as_canonical_ones(labels, tmp_path):
    folders = take(labels, tmp_path / "taken")
    assert read_json(folders.raw / "dataset.json")["labels"] == {"background": 0, "NCR": 1, "ED": 2, "ET": 3}
    taken = torch.load(folders.fold("3d_fullres", 0) / "checkpoint_final.pth", weights_only=True)["network_weights"]
    before, after = outputs_of(weights_of(labels, 0), 4), outputs_of(taken, 4)
    assert not torch.allclose(before[:, 1], before[:, 2])
    for canonical, raw in ((0, 0), (1, 2), (2, 1), (3, 3)):  # oedema was 1, the non-enhancing core 2
        assert torch.allclose(after[:, canonical], before[:, raw])


def test_what_the_zip_does_not_tell_the_study_does(labels, tmp_path):
    words = {"channel_names": {"0": "a", "1": "b"}, "labels": {"background": 0, "x": 1, "y": 2, "z": 3}}

    def rename(name: str, content: bytes) -> bytes:
        import json

        return json.dumps({**MSD_JSON, **words}).encode() if name.endswith("/dataset.json") else content

    archive = change(labels, tmp_path / "x.zip", rename)
    with pytest.raises(UserError, match="say by `label_scheme`"):
        describe_archive(archive, {})
    with pytest.raises(UserError, match="say by `channels`"):
        describe_archive(archive, {"label_scheme": "msd_task01"})
    described = describe_archive(archive, {"label_scheme": "msd_task01", "channels": ["flair", "t1ce"]})
    assert described["regions"] == ["NCR", "ED", "ET"] and described["order"] == [0, 2, 1, 3]
    assert describe_archive(archive, {"regions": ["ED", "NCR", "ET"], "channels": ["t1", "t2"]})["order"] == [0, 2, 1, 3]
    with pytest.raises(UserError, match=r"the study tells 1 channels, dataset\.json 2"):
        describe_archive(archive, {"regions": ["ED", "NCR", "ET"], "channels": ["t1"]})


def test_a_trainer_that_nobody_knows_is_told_by_the_study_or_refused(tmp_path):
    archive = export(tmp_path / "own", REGIONS_JSON, 3, trainer="nnUNetTrainerOfMine")
    with pytest.raises(UserError, match="none of nnU-Net's trainers; its code is not run"):
        take(archive, tmp_path / "refused")
    assert not list((tmp_path / "refused").rglob("*.pth"))
    take(archive, tmp_path / "taken", trainer="nnUNetTrainer")
    with pytest.raises(UserError, match="whose network is another"):
        describe_archive(archive, {"trainer": "nnUNetTrainerBN"})
    assert describe_archive(archive, {"trainer": "nnUNetTrainer_100epochs"})["trained_by"] == "nnUNetTrainerOfMine"


class Evil:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["GLIOFLOW_EVIL"]),)


@pytest.fixture
def evil(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GLIOFLOW_EVIL", str(tmp_path / "ran"))
    return tmp_path / "ran"


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path, evil):
    archive = export(tmp_path / "evil", REGIONS_JSON, 3, logging=Evil())
    with pytest.raises(UserError, match="reading it could run code"):
        take(archive, tmp_path / "taken")
    assert not evil.exists() and not list((tmp_path / "taken").rglob("*.pth"))


def test_pickles_beside_the_weights_are_never_opened(regions, tmp_path, evil):
    place = "Dataset007_glioma/nnUNetTrainer__nnUNetPlans__3d_fullres/crossval_results_folds_0_1/postprocessing.pkl"
    archive = change(regions, tmp_path / "x.zip", lambda _, content: content, **{place: pickle.dumps(Evil())})
    take(archive, tmp_path / "taken")
    assert not evil.exists()


def test_plans_that_name_code_and_folds_that_are_not_there_are_refused(regions, tmp_path):
    def other(name: str, content: bytes) -> bytes:
        return content.replace(UNET["network_class_name"].encode(), b"os.system") if name.endswith("/plans.json") else content

    with pytest.raises(UserError, match=r"names the network 'os\.system'"):
        take(change(regions, tmp_path / "x.zip", other), tmp_path / "taken")
    bare = change(regions, tmp_path / "y.zip", lambda name, content: None if name.endswith(".pth") else content)
    with pytest.raises(UserError, match="holds no fold"):
        describe_archive(bare, {})
