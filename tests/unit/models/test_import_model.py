"""Models that come from elsewhere: taken over whole where they are what they say, and refused where they are anything else."""

import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_export_model import RESENC, UNET, job, network_of, tiny_dataset, tiny_plans, train_tiny, unzip

import import_fold
from export_model import main as export_main
from glioflow.console import Console, UserError
from glioflow.files import read_json, sha256_file, write_json
from glioflow.models.model_archive import FORMAT_VERSION, read_description
from glioflow.models.nnunet.architectures import architecture
from glioflow.models.nnunet.commands import TRAINERS, ModelFolders
from import_model import main, read_weights

CHECKPOINT = "tiny/fold_0/checkpoint_final.pth"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("exported"))


def export(folder: Path, **model: Any) -> Path:
    work = train_tiny(folder, **model)
    export_main(work, Console())
    return Path(work.output[0])


def import_job(archive: Path, root: Path, model: str = "taken") -> Any:
    folders = ModelFolders(model, root / "nnunet")
    outputs = {
        "dataset": str(folders.raw / "dataset.json"),
        "plans": str(folders.preprocessed / "glioflowPlans.json"),
        "imported": str(root / "imported.json"),
        "postprocessing": str(root / "postprocessing.json"),
    }
    return job({"archive": str(archive)}, outputs, model, root=str(folders.root), told={})


def repack(archive: Path, target: Path, change: Callable[[Path], None], relist: bool = True) -> Path:
    """Return the archive with its files changed by an author who, where ``relist``, also mends the list of checksums."""
    folder = unzip(archive, target.with_suffix(".d"))
    change(folder / "tiny")
    if relist:
        description = read_json(folder / "tiny/model.json")
        files = {name: sha256_file(folder / "tiny" / name) for name in description["files"]}
        write_json(folder / "tiny/model.json", {**description, "files": files})
    with zipfile.ZipFile(target, "w") as opened:
        for path in sorted(folder.rglob("*")):
            opened.write(path, path.relative_to(folder))
    return target


def change_json(name: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        value = read_json(folder / name)
        change(value)
        write_json(folder / name, value)

    return apply


def change_weights(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        checkpoint = torch.load(folder / "fold_0/checkpoint_final.pth", weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, folder / "fold_0/checkpoint_final.pth")

    return apply


def refused(archive: Path, root: Path, match: str) -> None:
    """Import an archive that must be refused, and see that it has left nothing behind."""
    with pytest.raises(UserError, match=match):
        main(import_job(archive, root), Console())
    assert [path for path in root.rglob("*") if path.is_file()] == []


# ---- what should work


@pytest.fixture
def taken(exported: Path, tmp_path: Path) -> Path:
    main(import_job(exported, tmp_path / "taken"), Console())
    return tmp_path / "taken"


def test_an_imported_model_has_the_weights_that_were_trained_bit_by_bit(exported, taken):
    for fold in (0, 1):
        trained = ModelFolders("tiny", exported.parent / "nnunet").fold("3d_fullres", fold) / "checkpoint_final.pth"
        imported = ModelFolders("taken", taken / "nnunet").fold("3d_fullres", fold) / "checkpoint_final.pth"
        before = torch.load(trained, weights_only=False)["network_weights"]
        after = torch.load(imported, weights_only=True)["network_weights"]
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_what_prediction_reads_lies_where_it_looks(exported, taken):
    folders = ModelFolders("taken", taken / "nnunet")
    assert read_json(folders.preprocessed / "glioflowPlans.json") == tiny_plans()
    given = {**tiny_dataset(), "numTraining": 0}
    assert read_json(folders.raw / "dataset.json") == {key: given[key] for key in given if key != "dataset"}
    imported = read_json(taken / "imported.json")
    assert imported["archive"] == {"name": "tiny.zip", "sha256": sha256_file(exported)}
    assert [fold["fold"] for fold in imported["folds"]] == [0, 1]
    assert read_json(taken / "postprocessing.json") is None
    assert not (folders.root / ".importing").exists()


def test_a_fold_is_vouched_for_as_a_trained_one_is(taken):
    for fold in (0, 1):
        manifest = import_fold.find_fold(read_json(taken / "imported.json"), fold, taken / f"fold_{fold}/manifest.json")
        assert (manifest["model"], manifest["fold"], manifest["key"]) == ("taken", fold, f"{fold}" * 64)
        assert sha256_file(manifest["checkpoint"]["path"]) == manifest["checkpoint"]["sha256"]
        assert manifest["imported"]
        assert manifest["versions"]["nnunetv2"] == "2.8.1"


def test_a_fold_that_is_not_there_or_no_longer_as_imported_is_not_vouched_for(taken):
    imported = read_json(taken / "imported.json")
    with pytest.raises(UserError, match=r"tiny.zip has no fold 4, but 0, 1"):
        import_fold.find_fold(imported, 4, "manifest.json")
    Path(imported["folds"][0]["checkpoint"]["path"]).write_bytes(b"other")
    with pytest.raises(UserError, match=r"is not the checkpoint .* import the model again: delete .*taken/imported.json"):
        import_fold.find_fold(imported, 0, taken / "fold_0/manifest.json")


def test_importing_again_changes_nothing(exported, taken):
    before = {path: path.read_bytes() for path in taken.rglob("*") if path.is_file()}
    main(import_job(exported, taken), Console())
    assert {path: path.read_bytes() for path in taken.rglob("*") if path.is_file()} == before


def test_an_import_sets_a_training_of_the_same_name_aside_and_loses_none(exported, tmp_path):
    folder = ModelFolders("taken", tmp_path / "nnunet").fold("3d_fullres", 0)
    write_json(folder / "glioflow.json", {"key": "a" * 64})
    (folder / "checkpoint_latest.pth").write_text("days of work")
    main(import_job(exported, tmp_path), Console())
    assert (folder.parent / "superseded" / f"fold_0_{'a' * 12}" / "checkpoint_latest.pth").read_text() == "days of work"
    assert not (folder / "checkpoint_latest.pth").exists()


def test_an_imported_model_can_be_exported_again(exported, taken):
    folders = ModelFolders("taken", taken / "nnunet")
    for fold in (0, 1):
        write_json(
            taken / f"fold_{fold}/manifest.json",
            import_fold.find_fold(read_json(taken / "imported.json"), fold, taken / f"fold_{fold}/manifest.json"),
        )
    inputs = {
        "folds": [str(taken / f"fold_{fold}/manifest.json") for fold in (0, 1)],
        "plans": str(folders.preprocessed / "glioflowPlans.json"),
        "dataset": str(folders.raw / "dataset.json"),
    }
    export_main(job(inputs, [str(taken / "tiny.zip")], "tiny"), Console())
    assert (taken / "tiny.zip").read_bytes() == exported.read_bytes()


@pytest.mark.parametrize("kind", ["residual", "attention_resunet", "equiunet"])
def test_other_networks_travel_as_well(tmp_path, kind, monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINERS))
    sizes = {"base_features": 4, "n_stages": 2}
    built = RESENC if kind == "residual" else architecture(kind, UNET, 3, **sizes)
    archive = export(tmp_path / "here", plans=tiny_plans(built), folds=(2,))
    main(import_job(archive, tmp_path / "there"), Console())
    assert read_json(tmp_path / "there/imported.json")["folds"][0]["fold"] == 2


def test_a_model_whose_outputs_are_labels_travels_as_well(tmp_path):
    regions = ["NCR", "ED", "ET"]
    model = {"plans": tiny_plans(regions=regions), "dataset": tiny_dataset(regions), "outputs": 4}
    main(import_job(export(tmp_path / "here", **model), tmp_path / "there"), Console())
    assert "regions_class_order" not in read_json(ModelFolders("taken", tmp_path / "there/nnunet").raw / "dataset.json")


def export_cleaned(folder: Path, postprocessing: dict[str, Any]) -> Path:
    work = train_tiny(folder)
    write_json(folder / "postprocessing.json", postprocessing)
    inputs = {**dict(work.input.items()), "postprocessing": str(folder / "postprocessing.json")}
    export_main(job(inputs, work.output, "tiny"), Console())
    return Path(work.output[0])


STEPS = [
    {"region": "WT", "operation": "largest_component", "value": None, "becomes": 0},
    {"region": "ET", "operation": "et_threshold_ml", "value": 0.5, "becomes": 1},
]


def test_postprocessing_comes_along(tmp_path):
    main(import_job(export_cleaned(tmp_path / "here", {"steps": STEPS}), tmp_path / "there"), Console())
    assert read_json(tmp_path / "there/postprocessing.json") == {"steps": STEPS}


@pytest.mark.parametrize(
    "postprocessing",
    [
        {},
        {"steps": [{**STEPS[0], "operation": "os.system"}]},
        {"steps": [{**STEPS[0], "region": "brain"}]},
        {"steps": [{**STEPS[1], "value": "much"}]},
        {"steps": [{**STEPS[1], "value": None}]},
        {"steps": [{**STEPS[0], "becomes": 9}]},
        {"steps": [{**STEPS[0], "more": 1}]},
    ],
)
def test_postprocessing_that_nobody_knows_is_refused(tmp_path, postprocessing):
    archive = export_cleaned(tmp_path / "here", postprocessing)
    refused(archive, tmp_path / "there", "postprocessing.json has a step that this glioflow does not know")


def test_bare_nnunet_predicts_with_the_unzipped_folder_what_the_network_says(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINERS))
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=False, use_gaussian=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(unzip(exported, tmp_path) / "tiny"), (0, 1))
    assert predictor.allowed_mirroring_axes == (0, 1, 2)
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32))
    logits = predictor.predict_logits_from_preprocessed_data(image)
    wanted = torch.zeros(3, 8, 8, 8)
    for fold in (0, 1):
        network = network_of(tiny_plans(), deep_supervision=False).eval()
        trained = ModelFolders("tiny", exported.parent / "nnunet").fold("3d_fullres", fold) / "checkpoint_final.pth"
        network.load_state_dict(torch.load(trained, weights_only=False)["network_weights"])
        with torch.no_grad():
            wanted += network(image[None])[0].half().float() / 2  # nnU-Net adds its windows up in half precision
    assert torch.allclose(logits.float(), wanted, atol=2e-3)
    assert wanted.abs().max() > 0.1


# ---- what is no model


def test_a_file_that_is_not_there_or_no_zip_is_named(tmp_path):
    with pytest.raises(UserError, match=r"tiny.zip: there is no such file"):
        read_description(tmp_path / "tiny.zip")
    (tmp_path / "tiny.zip").write_text("no zip")
    with pytest.raises(UserError, match="it is no zip archive"):
        read_description(tmp_path / "tiny.zip")


def test_a_zip_of_something_else_is_no_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("Dataset001_x/nnUNetTrainer__nnUNetPlans__3d_fullres/plans.json", "{}")
    with pytest.raises(UserError, match="not a model that glioflow exported"):
        read_description(tmp_path / "a.zip")


def described(exported: Path, target: Path, **changes: Any) -> Path:
    return repack(exported, target, change_json("model.json", lambda value: value.update(changes)), relist=False)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": "another"}, "not a model that glioflow exported"),
        ({"format_version": FORMAT_VERSION + 1}, "a newer glioflow will read it"),
        ({"format_version": "1"}, "a newer glioflow will read it"),
        ({"trainer": "nnUNetTrainer"}, "trained by 'nnUNetTrainer'; only models of GlioflowTrainer"),
        ({"network": "os.system"}, "names the network 'os.system'"),
        ({"network": "dynamic_network_architectures.architectures.unet.np.load"}, "names the network"),
        ({"channels": ["ct"]}, r"model.json: channels.0"),
        ({"channels": ["t1", "t1"]}, "names one twice"),
        ({"name": "../tiny"}, "model.json: name"),
        ({"folds": [0]}, r"files: fold_1/checkpoint_final.pth"),
        ({"folds": []}, "model.json: folds"),
        ({"files": {"../../x": "0" * 64}}, r"files: "),
        ({"surprise": 1}, "model.json: surprise"),
        ({"trained": {}}, "trained: expected the folds"),
    ],
)
def test_a_description_that_cannot_be_right_is_refused_before_anything_is_unpacked(exported, tmp_path, changes, match):
    archive = described(exported, tmp_path / "tiny.zip", **changes)
    with pytest.raises(UserError, match=match):
        read_description(archive)
    refused(archive, tmp_path / "taken", match)


# ---- what came damaged or altered


def test_an_altered_byte_is_found(exported, tmp_path):
    def alter(folder: Path) -> None:
        path = folder / "fold_1/checkpoint_final.pth"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    archive = repack(exported, tmp_path / "tiny.zip", alter, relist=False)
    refused(archive, tmp_path / "taken", r"fold_1/checkpoint_final.pth does not have the SHA-256")


def test_a_missing_file_and_one_too_many_are_found(exported, tmp_path):
    archive = repack(exported, tmp_path / "a.zip", lambda folder: (folder / "plans.json").unlink(), relist=False)
    refused(archive, tmp_path / "a", r"plans.json is in the list of model.json, but not in it")
    archive = repack(exported, tmp_path / "b.zip", lambda folder: (folder / "setup.py").write_text("pass"))
    refused(archive, tmp_path / "b", r"setup.py is in it, but not in the list")
    archive = repack(exported, tmp_path / "c.zip", lambda folder: (folder.parent / "plans.json").write_text("{}"))
    refused(archive, tmp_path / "c", r"plans.json is in it, but not in the list")


def with_member(exported: Path, target: Path, info: zipfile.ZipInfo | str, data: bytes) -> Path:
    shutil.copyfile(exported, target)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(info, data)
    return target


@pytest.mark.parametrize("name", ["../evil.pth", "tiny/../../evil.pth", "/evil.pth", "C:\\evil.pth", "..\\evil.pth"])
def test_a_path_that_leads_out_of_the_folder_is_refused(exported, tmp_path, name):
    archive = with_member(exported, tmp_path / "tiny.zip", name, b"evil")
    refused(archive, tmp_path / "taken", "would land outside the folder")
    assert not list(tmp_path.rglob("evil.pth"))


def test_a_link_is_refused(exported, tmp_path):
    info = zipfile.ZipInfo("tiny/fold_2")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    refused(with_member(exported, tmp_path / "tiny.zip", info, b"/etc"), tmp_path / "taken", "it is a link or a device")


def test_a_file_that_comes_twice_is_refused(exported, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = with_member(exported, tmp_path / "tiny.zip", "tiny/plans.json", b"{}")
    refused(archive, tmp_path / "taken", "another member has this name already")


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(exported, tmp_path):
    archive = with_member(exported, tmp_path / "tiny.zip", "tiny/fold_2/checkpoint_final.pth", bytes(30_000_000))
    refused(archive, tmp_path / "taken", "unpacks to more than the")


def test_an_archive_that_says_it_is_larger_than_the_disk_is_refused(exported, tmp_path):
    shutil.copyfile(exported, tmp_path / "tiny.zip")
    with zipfile.ZipFile(tmp_path / "tiny.zip", "a") as opened:
        opened.writestr("tiny/empty", b"")
        opened.getinfo("tiny/plans.json").file_size = 1 << 60
    refused(tmp_path / "tiny.zip", tmp_path / "taken", "are still to come")


def test_a_description_without_end_is_not_read_to_its_end(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("tiny/model.json", b" " * 50_000_000)
    with pytest.raises(UserError, match=r"model.json is larger than"):
        read_description(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("tiny/model.json", b"[" * 1_000_000)
    with pytest.raises(UserError, match=r"model.json is no JSON"):
        read_description(tmp_path / "b.zip")


# ---- what would run code


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_in_it_is_refused_and_its_code_is_not_run(exported, tmp_path):
    proof = tmp_path / "proof"
    archive = repack(
        exported, tmp_path / "tiny.zip", change_weights(lambda checkpoint: checkpoint.update(init_args=Evil(proof)))
    )
    refused(archive, tmp_path / "taken", r"fold_0/checkpoint_final.pth holds something else than weights")
    assert not proof.exists()
    torch.load(tmp_path / "tiny.d" / CHECKPOINT, weights_only=False)
    assert proof.exists()  # nnU-Net, which reads like this, would have run it


def test_a_checkpoint_in_the_form_of_old_torch_is_refused(exported, tmp_path):
    def old(folder: Path) -> None:
        path = folder / "fold_0/checkpoint_final.pth"
        torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)

    refused(repack(exported, tmp_path / "tiny.zip", old), tmp_path / "taken", "no checkpoint that torch.save wrote")


def test_a_checkpoint_that_is_itself_compressed_is_refused(exported, tmp_path):
    def compress(folder: Path) -> None:
        path = folder / "fold_0/checkpoint_final.pth"
        with zipfile.ZipFile(path) as opened:
            records = {info.filename: opened.read(info) for info in opened.infolist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, data in records.items():
                opened.writestr(name, data)

    refused(repack(exported, tmp_path / "tiny.zip", compress), tmp_path / "taken", "in a way that torch.save does not use")


def test_a_checkpoint_of_nonsense_is_refused_whatever_reading_it_meets(exported, tmp_path):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(unzip(exported, tmp_path / "d") / CHECKPOINT) as opened:
        records = {info.filename: opened.read(info) for info in opened.infolist()}
    description, path = read_description(exported), tmp_path / "fold_0/checkpoint_final.pth"
    path.parent.mkdir()
    refusals = 0
    for _ in range(60):
        pickled = bytearray(records["checkpoint_final/data.pkl"])
        pickled[rng.integers(len(pickled))] = rng.integers(256)
        with zipfile.ZipFile(path, "w") as opened:
            for name, data in records.items():
                opened.writestr(name, bytes(pickled) if name.endswith("data.pkl") else data)
        try:
            read_weights(exported, path, description)
        except UserError:
            refusals += 1
    assert refusals > 10  # most bytes are letters of names, which are compared with the network's later


def set_network(name: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        change_json("model.json", lambda value: value.update(network=name))(folder)
        change_json(
            "plans.json",
            lambda value: value["configurations"]["3d_fullres"]["architecture"].update(network_class_name=name),
        )(folder)

    return apply


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "dynamic_network_architectures.architectures.unet.torch.load",
        "dynamic_network_architectures.architectures.dinov2_eva.DinoV2",
    ],
)
def test_a_network_that_nobody_knows_is_refused(exported, tmp_path, name):
    archive = repack(exported, tmp_path / "tiny.zip", set_network(name))
    refused(archive, tmp_path / "taken", "is none of nnU-Net's or glioflow's")


@pytest.mark.parametrize(
    "name",
    [
        "dynamic_network_architectures.architectures.unet.nn",
        "dynamic_network_architectures.architectures.unet.get_matching_convtransp",
        "dynamic_network_architectures.architectures.unet.Union",
        "dynamic_network_architectures.architectures.unet.Missing",
        "glioflow_networks.math",
        "glioflow_networks.Sequence",
        "glioflow_networks.UNetDecoder",
    ],
)
def test_a_name_that_stands_for_something_else_than_a_network_is_refused(exported, tmp_path, name):
    archive = repack(exported, tmp_path / "tiny.zip", set_network(name))
    refused(archive, tmp_path / "taken", "does not stand for a network module")


def test_the_network_of_the_plans_must_be_the_one_that_is_described(exported, tmp_path):
    def change(plans: dict[str, Any]) -> None:
        plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "os.system"

    archive = repack(exported, tmp_path / "tiny.zip", change_json("plans.json", change))
    refused(archive, tmp_path / "taken", r"plans.json names the network 'os.system'")


def set_planned(**changes: Any) -> Callable[[Path], None]:
    return change_json("plans.json", lambda value: value["configurations"]["3d_fullres"].update(changes))


def set_operator(key: str, value: Any) -> Callable[[Path], None]:
    def change(plans: dict[str, Any]) -> None:
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][key] = value

    return change_json("plans.json", change)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_operator("nonlin", "os.system"), "nonlin: 'os.system' is not an operator of torch.nn"),
        (set_operator("nonlin", ["torch.nn.ReLU"]), "is not an operator of torch.nn"),
        (set_operator("nonlin", "torch.nn.modules.conv.F"), "does not stand for a network module of torch.nn"),
        (set_operator("nonlin", "torch.nn.factory_kwargs"), "does not stand for a network module of torch.nn"),
        (set_operator("nonlin_kwargs", {"surprise": 1}), "cannot be built"),
        (set_planned(preprocessor_name="join"), "preprocessor_name: 'join' is not known"),
        (set_planned(preprocessor_name=["DefaultPreprocessor"]), "preprocessor_name"),
        (set_planned(resampling_fn_data="recursive_find_python_class"), "resampling_fn_data: "),
        (set_planned(resampling_fn_probabilities="partial"), "resampling_fn_probabilities: "),
        (set_planned(normalization_schemes=["ZScoreNormalization", "os"]), "normalization_schemes: 'os' is not known"),
        (set_planned(normalization_schemes=["ZScoreNormalization"]), "one scheme for each channel"),
        (set_planned(previous_stage="3d_lowres"), "previous_stage: a model stands alone"),
        (set_planned(architecture=None), "not such as nnU-Net 2.8 writes"),
        (change_json("plans.json", lambda plans: plans.update(image_reader_writer="os")), "image_reader_writer: 'os'"),
        (change_json("plans.json", lambda plans: plans.update(label_manager="sys")), "label_manager: 'sys'"),
        (change_json("plans.json", lambda plans: plans.pop("glioflow")), "not such as nnU-Net 2.8 writes"),
        (change_json("plans.json", lambda plans: plans["configurations"].update({"2d": {}})), "has the configurations"),
        (change_json("dataset.json", lambda d: d.update(overwrite_image_reader_writer="os")), "dataset.json does not say"),
        (change_json("dataset.json", lambda d: d["channel_names"].update({"0": "flair"})), "dataset.json does not say"),
        (lambda folder: (folder / "plans.json").write_text("[]"), r"plans.json holds no object"),
    ],
)
def test_plans_that_name_anything_unknown_are_refused(exported, tmp_path, change, match):
    refused(repack(exported, tmp_path / "tiny.zip", change), tmp_path / "taken", match)


def set_planned_of(key: str, **changes: Any) -> Callable[[Path], None]:
    return change_json("plans.json", lambda value: value["configurations"]["3d_fullres"][key].update(changes))


def set_plans(**changes: Any) -> Callable[[Path], None]:
    return change_json("plans.json", lambda value: value.update(changes))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_planned(batch_size=0), "batch_size: input should be greater than or equal to 1"),
        (set_planned(batch_size=True), "batch_size: "),
        (set_planned(patch_size=[8, 8, 0]), r"patch_size.2: "),
        (set_planned(patch_size=[8, 8]), "patch_size and spacing are not those of 3 axes"),
        (set_planned(patch_size=[1024, 1024, 1024]), "patch_size: 1073741824 voxels are more than 33554432"),
        (set_planned(patch_size=[8.5, 8, 8]), r"patch_size.0: "),
        (set_planned(spacing=[1, 1, float("nan")]), r"spacing.2: "),
        (set_planned(spacing=[1, 1, float("inf")]), r"spacing.2: "),
        (set_planned(spacing=[1, 1, -1]), r"spacing.2: "),
        (set_planned(spacing=[1, 1, 1e-6]), r"spacing.2: "),  # a brain would be resampled to 10^15 voxels
        (set_planned(use_mask_for_norm=[True] * 3), "use_mask_for_norm has 3 entries for 2 channels"),
        (set_plans(transpose_forward=[0, 1, 1]), "do not permute three axes and back"),
        (set_plans(transpose_forward=[1, 2, 0], transpose_backward=[1, 2, 0]), "do not permute three axes and back"),
        (set_plans(transpose_backward=[0, 1, 7]), "transpose|not such as nnU-Net"),
        (set_plans(transpose_forward="012"), "do not permute"),
        (set_planned_of("resampling_fn_data_kwargs", order=6), r"resampling_fn_data_kwargs.order: "),
        (set_planned_of("resampling_fn_probabilities_kwargs", order_z=-1), r"resampling_fn_probabilities_kwargs.order_z: "),
        (set_planned_of("resampling_fn_seg_kwargs", num_threads=10**9), r"resampling_fn_seg_kwargs.num_threads: "),
        (set_operator("n_stages", 3), "are not those of 3 stages"),
        (set_operator("n_stages", 10**6), "n_stages: input should be less than or equal to 12"),
        (set_operator("n_conv_per_stage", [10**6, 1]), r"n_conv_per_stage.0: "),
        (set_operator("n_conv_per_stage", [1] * 50), "more blocks than those of 2 stages"),
        (set_operator("kernel_sizes", [[3, 3, 3], [99, 3, 3]]), r"kernel_sizes.1.0: "),
        (set_operator("strides", [[1, 1], [2, 2]]), "are not those of 3 axes"),
        (set_operator("features_per_stage", [10**9, 8]), r"features_per_stage.0: "),
        (set_operator("stem_channels", 10**9), r"stem_channels: "),
        (set_operator("norm_op_kwargs", {"eps": [0] * 9}), r"norm_op_kwargs.eps"),
        (
            change_json(
                "plans.json",
                lambda plans: (
                    plans["configurations"]["3d_fullres"].update(patch_size=[320, 320, 320]),
                    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(features_per_stage=[64, 8]),
                ),
            ),
            "64 features for 32768000 voxels are more than 1073741824 values",
        ),
    ],
)
def test_plans_that_would_take_all_memory_or_make_no_sense_are_refused(exported, tmp_path, change, match):
    refused(repack(exported, tmp_path / "tiny.zip", change), tmp_path / "taken", match)


def test_plans_of_ct_need_finite_intensities(exported, tmp_path):
    def change(std: float) -> Callable[[Path], None]:
        intensities = {"mean": 0.0, "std": std, "percentile_00_5": -1.0, "percentile_99_5": 1.0}

        def apply(plans: dict[str, Any]) -> None:
            plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization"] * 2
            plans["foreground_intensity_properties_per_channel"] = {"0": intensities, "1": intensities}

        return change_json("plans.json", apply)

    for std in (0.0, float("nan")):
        refused(repack(exported, tmp_path / "tiny.zip", change(std)), tmp_path / "taken", r"plans.json: std: ")
        shutil.rmtree(tmp_path / "tiny.d")
    main(import_job(repack(exported, tmp_path / "tiny.zip", change(1.0)), tmp_path / "taken"), Console())


def test_labels_in_another_order_are_refused_though_their_values_are_right(exported, tmp_path):
    def turn(dataset: dict[str, Any]) -> None:
        dataset["labels"] = dict(reversed(list(dataset["labels"].items())))

    archive = repack(exported, tmp_path / "tiny.zip", change_json("dataset.json", turn))
    refused(archive, tmp_path / "taken", "dataset.json does not say what follows")


# ---- weights that are not the network's


def first_weight(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, Any]], None]:
    def apply(checkpoint: dict[str, Any]) -> None:
        name = next(iter(checkpoint["network_weights"]))
        checkpoint["network_weights"][name] = change(checkpoint["network_weights"][name])

    return apply


FIRST = r"encoder\.stages\.0\.0\.convs\.0\.conv\.weight"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (first_weight(lambda weight: weight[:3]), rf"{FIRST} has the shape \(3, 2, 3, 3, 3\), the network's \(4, 2, 3, 3, 3\)"),
        (first_weight(lambda weight: weight.half()), rf"{FIRST} is not a plain tensor of torch.float32"),
        (first_weight(lambda weight: torch.zeros(1).expand(weight.shape)), rf"{FIRST} is not a plain tensor"),
        (first_weight(lambda weight: weight * torch.nan), rf"{FIRST} has values that are not finite"),
        (lambda c: c["network_weights"].popitem(), "another architecture .*only the network has decoder"),
        (lambda c: c["network_weights"].update(more=torch.zeros(1)), "another architecture .*only the checkpoint has more"),
        (lambda c: c.update(network_weights={"a": 1}), "network_weights are not tensors"),
        (lambda c: c.update(trainer_name="nnUNetTrainer"), "belongs to another trainer"),
        (lambda c: c.update(init_args={"configuration": "2d"}), "belongs to another trainer or configuration"),
        (lambda c: c.update(inference_allowed_mirroring_axes=(0, 3)), r"cannot be mirrored along the axes \(0, 3\)"),
        (lambda c: c.update(optimizer_state={}), "does not hold just"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(exported, tmp_path, change, match):
    refused(repack(exported, tmp_path / "tiny.zip", change_weights(change)), tmp_path / "taken", match)


def test_a_network_that_claims_to_be_huge_takes_no_memory_before_it_is_refused(exported, tmp_path):
    archive = repack(exported, tmp_path / "tiny.zip", set_operator("features_per_stage", [4096, 4096]))
    refused(archive, tmp_path / "taken", r"another architecture .*the network's \(4096, 2, 3, 3, 3\)")


def test_what_is_written_is_not_the_file_that_came_but_one_written_anew(exported, tmp_path):
    def append(folder: Path) -> None:
        with zipfile.ZipFile(folder / "fold_0/checkpoint_final.pth", "a") as opened:
            opened.writestr("checkpoint_final/hidden", b"rider")

    archive = repack(exported, tmp_path / "tiny.zip", append)
    main(import_job(archive, tmp_path / "taken"), Console())
    written = ModelFolders("taken", tmp_path / "taken/nnunet").fold("3d_fullres", 0) / "checkpoint_final.pth"
    assert b"rider" in (tmp_path / "tiny.d" / CHECKPOINT).read_bytes()
    assert b"rider" not in written.read_bytes()
    with zipfile.ZipFile(exported) as opened:
        assert hashlib.sha256(opened.read(CHECKPOINT)).hexdigest() == sha256_file(written)


def test_a_killed_import_leaves_no_outputs_and_the_next_one_succeeds(exported, tmp_path):
    work = import_job(exported, tmp_path)
    torn = tmp_path / "nnunet/.importing/tiny/plans.json"
    torn.parent.mkdir(parents=True)
    torn.write_text("{")
    main(work, Console())
    assert json.loads(Path(work.output.plans).read_text()) == tiny_plans()
    assert not torn.exists()
