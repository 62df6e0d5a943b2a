"""A tiny trained model, as nnU-Net's trainer leaves it, and the archive that is made of it."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from export_model import main, readme, reduce_checkpoint
from glioflow.console import Console, UserError
from glioflow.files import read_json, sha256_file, write_json
from glioflow.models.model_archive import read_description, shared_dataset
from glioflow.models.nnunet.commands import ModelFolders
from glioflow.models.nnunet.plans import dataset_json

CHANNELS, REGIONS = ["t1", "flair"], ["WT", "TC", "ET"]
VERSIONS = {"python": "3.11.7", "nnunetv2": "2.8.1", "torch": "2.15.0", "numpy": "2.4.6"}
PATIENT = "Patient_007"
RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
UNET = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
RESENC_KWARGS = {key: value for key, value in UNET["arch_kwargs"].items() if key != "n_conv_per_stage"}
RESENC = {
    **UNET,
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {**RESENC_KWARGS, "n_blocks_per_stage": [1, 1]},
}


def tiny_plans(architecture: dict[str, Any] = UNET, regions: list[str] = REGIONS) -> dict[str, Any]:
    """Plans of a U-Net of two stages for patches of 8³ voxels, by hand."""
    planned = {
        "data_identifier": "glioflowPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8, 8, 8],
        "median_image_size_in_voxels": [8.0, 8.0, 8.0],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * 2,
        "use_mask_for_norm": [True, True],
        "architecture": architecture,
        "batch_dice": False,
    }
    for what in ("data", "seg", "probabilities"):
        planned |= {
            f"resampling_fn_{what}": "resample_data_or_seg_to_shape",
            f"resampling_fn_{what}_kwargs": {**RESAMPLING, "is_seg": what == "seg"},
        }
    return {
        "dataset_name": "Dataset001_tiny",
        "plans_name": "glioflowPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": planned},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0}, "1": {"mean": 2.0}},
        "glioflow": {"seed": 0, "regions": regions, "save_every": None, "tta": True, "epochs": 10},
    }


def tiny_dataset(regions: list[str] = REGIONS, labels: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    """dataset.json of a cohort with one training case, which it names."""
    images = [f"/home/someone/{PATIENT}_{channel}.nii.gz" for channel in CHANNELS]
    return dataset_json(
        CHANNELS, regions, labels, {PATIENT: {"images": images, "label": f"/home/someone/{PATIENT}_seg.nii.gz"}}
    )


def network_of(plans: dict[str, Any], outputs: int = 3, deep_supervision: bool = True) -> torch.nn.Module:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    built = plans["configurations"]["3d_fullres"]["architecture"]
    arguments = built["network_class_name"], built["arch_kwargs"], built["_kw_requires_import"], len(CHANNELS), outputs
    return get_network_from_plans(*arguments, allow_init=True, deep_supervision=deep_supervision)


def full_checkpoint(
    network: torch.nn.Module, plans: dict[str, Any], fold: int, trainer: str = "GlioflowTrainer"
) -> dict[str, Any]:
    """What nnU-Net's trainer saves: more than weights, and more than types that torch reads without running code."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": optimiser.state_dict(),
        "grad_scaler_state": None,
        "logging": {"dice_per_class_or_region": [np.array([0.5, 0.25, 0.125])], "lrs": [np.float64(0.01)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 10,
        "init_args": {
            "plans": plans,
            "configuration": "3d_fullres",
            "fold": np.int64(fold),
            "dataset_json": tiny_dataset(),
            "device": torch.device("cpu"),
        },
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": (np.int64(0), np.int64(1), np.int64(2)),
    }


def train_tiny(
    root: Path,
    name: str = "tiny",
    folds: tuple[int, ...] = (0, 1),
    plans: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    outputs: int = 3,
    **checkpoint: Any,
) -> SimpleNamespace:
    """Lay a model out below ``root`` as the workflow leaves one that it trained, and return the job that exports it."""
    plans, dataset = plans or tiny_plans(), dataset or tiny_dataset()
    folders = ModelFolders(name, root / "nnunet")
    manifests = []
    for fold in folds:
        torch.manual_seed(fold)
        path = folders.fold("3d_fullres", fold) / "checkpoint_final.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(full_checkpoint(network_of(plans, outputs), plans, fold, **checkpoint), path)
        manifest = {
            "model": name,
            "fold": fold,
            "key": f"{fold}" * 64,
            "parts": {"cases": {PATIENT: ["0" * 64]}},
            "checkpoint": {"path": str(path), "sha256": sha256_file(path)},
            "validation": {"folder": str(path.parent / "validation"), "cases": [PATIENT]},
            "versions": VERSIONS,
        }
        manifests.append(root / f"fold_{fold}" / "manifest.json")
        write_json(manifests[-1], manifest)
    write_json(folders.preprocessed / "glioflowPlans.json", plans)
    write_json(folders.raw / "dataset.json", dataset)
    inputs = {
        "folds": [str(path) for path in reversed(manifests)],
        "plans": str(folders.preprocessed / "glioflowPlans.json"),
        "dataset": str(folders.raw / "dataset.json"),
    }
    return job({**inputs}, [str(root / f"{name}.zip")], name)


def job(inputs: dict[str, Any], output: Any, model: str, **params: Any) -> SimpleNamespace:
    """What a script sees of Snakemake."""
    outputs = SimpleNamespace(**output, items=output.items) if isinstance(output, dict) else output
    return SimpleNamespace(
        input=SimpleNamespace(**inputs, items=inputs.items),
        output=outputs,
        wildcards=SimpleNamespace(model=model),
        params=SimpleNamespace(**params),
    )


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    work = train_tiny(tmp_path / "here")
    main(work, Console())
    return Path(work.output[0])


def unzip(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder


def test_the_archive_holds_one_folder_with_what_prediction_needs(exported):
    with zipfile.ZipFile(exported) as opened:
        assert sorted(opened.namelist()) == [
            "tiny/README.md",
            "tiny/dataset.json",
            "tiny/fold_0/checkpoint_final.pth",
            "tiny/fold_1/checkpoint_final.pth",
            "tiny/model.json",
            "tiny/plans.json",
        ]
    assert [path.name for path in exported.parent.iterdir() if path.name.startswith(".")] == []


def test_the_description_says_what_the_model_is(exported, tmp_path):
    description = read_description(exported)
    assert description["name"] == "tiny"
    assert description["channels"] == ["t1", "flair"]
    assert description["regions"] == ["WT", "TC", "ET"]
    assert (description["configuration"], description["folds"], description["tta"]) == ("3d_fullres", [0, 1], True)
    assert description["network"].endswith("PlainConvUNet")
    assert description["trained"]["1"] == {"key": "1" * 64, "versions": VERSIONS}
    folder = unzip(exported, tmp_path / "there") / "tiny"
    assert {name: sha256_file(folder / name) for name in description["files"]} == description["files"]


def test_no_case_and_no_path_of_the_study_is_in_the_archive(exported, tmp_path):
    files = [path for path in unzip(exported, tmp_path / "there").rglob("*") if path.is_file()]
    for path in files:
        assert PATIENT.encode() not in path.read_bytes()
        assert b"/home/someone" not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()


def test_a_checkpoint_is_read_without_running_code_and_keeps_its_weights_bit_by_bit(exported, tmp_path):
    folder = unzip(exported, tmp_path / "there") / "tiny"
    for fold in (0, 1):
        trained = ModelFolders("tiny", exported.parent / "nnunet").fold("3d_fullres", fold) / "checkpoint_final.pth"
        with pytest.raises(Exception, match="weights_only"):
            torch.load(trained, weights_only=True)
        before = torch.load(trained, weights_only=False)["network_weights"]
        after = torch.load(folder / f"fold_{fold}/checkpoint_final.pth", weights_only=True)
        assert after["init_args"] == {"configuration": "3d_fullres"}
        assert after["inference_allowed_mirroring_axes"] == (0, 1, 2)
        assert list(after["network_weights"]) == list(before)
        assert all(torch.equal(after["network_weights"][name], before[name]) for name in before)


def test_a_weight_that_the_network_holds_under_two_names_is_kept_once():
    weight, large = torch.arange(6.0).reshape(2, 3), torch.arange(1000.0)
    reduced = reduce_checkpoint(
        {"network_weights": {"encoder": weight, "decoder.encoder": weight, "part": large[:2]}, "trainer_name": "T"}, "2d"
    )
    weights = reduced["network_weights"]
    assert weights["encoder"].data_ptr() == weights["decoder.encoder"].data_ptr()
    assert weights["part"].untyped_storage().nbytes() == 8
    assert reduced["inference_allowed_mirroring_axes"] is None


def test_two_weights_that_look_alike_and_are_not_the_same_stay_two():
    reduced = reduce_checkpoint({"network_weights": {"a": torch.zeros(2), "b": torch.ones(2)}, "trainer_name": "T"}, "2d")
    assert reduced["network_weights"]["a"].tolist() == [0, 0]
    assert reduced["network_weights"]["b"].tolist() == [1, 1]


def test_the_same_model_gives_the_same_bytes(exported, tmp_path):
    again = train_tiny(tmp_path / "again")
    main(again, Console())
    assert Path(again.output[0]).read_bytes() == exported.read_bytes()
    with zipfile.ZipFile(exported) as opened:
        members = opened.infolist()
    assert {(info.date_time, info.external_attr >> 16) for info in members} == {((1980, 1, 1, 0, 0, 0), 0o100644)}
    assert {info.compress_type for info in members} == {zipfile.ZIP_STORED}  # every zlib packs in its own way


def test_a_checkpoint_that_changed_after_training_is_not_exported(tmp_path):
    work = train_tiny(tmp_path)
    checkpoint = ModelFolders("tiny", tmp_path / "nnunet").fold("3d_fullres", 1) / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"fold 1: .*checkpoint_final.pth is not the checkpoint that was trained"):
        main(work, Console())
    checkpoint.unlink()
    with pytest.raises(UserError, match=r"fold 1: .*checkpoint_final.pth is gone"):
        main(work, Console())
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".*"))


def test_a_model_of_a_custom_trainer_is_not_exported(tmp_path):
    with pytest.raises(UserError, match="trained by MyTrainer; an archive holds weights and no code"):
        main(train_tiny(tmp_path, trainer="MyTrainer"), Console())


def test_a_model_whose_outputs_are_labels_says_so(tmp_path):
    regions = ["ED", "NCR", "ET"]
    work = train_tiny(tmp_path, plans=tiny_plans(regions=regions), dataset=tiny_dataset(regions), outputs=4)
    main(work, Console())
    description = read_description(Path(work.output[0]))
    assert description["outputs"] == "labels"
    assert shared_dataset(description)["labels"] == {"background": 0, "NCR": 1, "ED": 2, "ET": 3}


def test_postprocessing_goes_along_where_the_model_has_one(tmp_path):
    work = train_tiny(tmp_path)
    write_json(tmp_path / "postprocessing.json", {"minimum_ml": {"ET": 0.05}})
    inputs = {**dict(work.input.items()), "postprocessing": str(tmp_path / "postprocessing.json")}
    main(job(inputs, work.output, "tiny"), Console())
    folder = unzip(Path(work.output[0]), tmp_path / "there") / "tiny"
    assert read_json(folder / "postprocessing.json") == {"minimum_ml": {"ET": 0.05}}
    assert "postprocessing.json" in read_json(folder / "model.json")["files"]
    assert "Bare nnU-Net does not apply `postprocessing.json`" in (folder / "README.md").read_text()


def test_the_readme_tells_the_inputs_the_command_and_the_values_of_the_masks(exported, tmp_path):
    text = (unzip(exported, tmp_path / "there") / "tiny/README.md").read_text()
    assert "nnUNetv2_predict_from_modelfolder -i images -o masks -m tiny -f 0 1\n" in text
    assert "pip install nnunetv2==2.8.1" in text
    assert "| `CASE_0001.nii.gz` | flair |" in text
    assert "| 1 | tumour core, where no smaller region covers it |" in text
    assert "| 3 | enhancing tumour |" in text


def test_the_readme_leaves_mirroring_out_where_the_model_does(exported):
    description = {**read_description(exported), "tta": False}
    assert "-f 0 1 --disable_tta\n" in readme(description)


def test_model_json_is_text_that_people_can_read(exported):
    with zipfile.ZipFile(exported) as opened:
        assert json.loads(opened.read("tiny/model.json"))["format"] == "glioflow model"
