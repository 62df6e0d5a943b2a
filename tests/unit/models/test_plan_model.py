import pytest

from glioflow.console import Console, UserError
from glioflow.files import write_json
from glioflow.models.nnunet.commands import ModelFolders
from glioflow.models.nnunet.keys import case_hashes, describe
from glioflow.models.nnunet.plans import (
    customise,
    fixed_patch,
    output_order,
    preprocessing_part,
    training_part,
    training_settings,
)
from plan_model import bring_trainer, keep_planned, plan_words

MODEL = {
    "configuration": "3d_fullres", "network": "plain", "epochs": 8, "iterations_per_epoch": 25, "validation_iterations": 4,
    "initial_lr": 0.01, "weight_decay": 3e-5, "deep_supervision": True, "loss": "dice_ce", "optimiser": "sgd",
    "schedule": "poly", "swa": None, "trainer": None, "save_every": 4, "seed": 0, "tta": False, "regions": ["WT"],
    "plans": {"patch_size": None, "batch_size": None, "n_stages": None, "base_features": None},
}  # fmt: skip


def planned() -> dict:
    """Plans as nnU-Net's planner writes them, as far as they matter here."""
    network = {
        "n_stages": 5, "features_per_stage": [32, 64, 128, 256, 320], "strides": [[1] * 3] + [[2] * 3] * 4,
        "kernel_sizes": [[3] * 3] * 5, "n_conv_per_stage": [2] * 5, "n_conv_per_stage_decoder": [2] * 4,
    }  # fmt: skip
    full = {
        "data_identifier": "nnUNetPlans_3d_fullres", "batch_size": 2, "patch_size": [96, 96, 96], "spacing": [1.0, 1.0, 1.0],
        "median_image_size_in_voxels": [100, 100, 100], "normalization_schemes": ["ZScoreNormalization"], "batch_dice": False,
        "architecture": {"network_class_name": "PlainConvUNet", "arch_kwargs": network, "_kw_requires_import": ["conv_op"]},
    }  # fmt: skip
    return {
        "plans_name": "nnUNetPlans", "configurations": {"3d_fullres": full, "2d": dict(full)}, "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2], "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 3.0}},
    }  # fmt: skip


def ours(**plans) -> dict:
    return with_model(plans={**MODEL["plans"], **plans})


def with_model(**model) -> dict:
    """Our plans of a model with these settings, of a cohort with the labels 1, 2 and 3."""
    return customise(planned(), {**MODEL, **model}, "glioflowPlans", [1, 2, 3])


def architecture_of(plans: dict) -> dict:
    return plans["configurations"]["3d_fullres"]["architecture"]


def test_without_overrides_nnunets_plan_is_kept():
    plans = ours()
    full, before = plans["configurations"]["3d_fullres"], planned()["configurations"]["3d_fullres"]
    assert full == {**before, "data_identifier": "glioflowPlans_3d_fullres"}
    assert list(plans["configurations"]) == ["3d_fullres"]
    assert plans["plans_name"] == "glioflowPlans"
    assert plans["glioflow"]["epochs"] == 8
    assert "trainer" not in plans["glioflow"]


def test_a_smaller_patch_network_and_batch_are_written_into_all_that_depends_on_them():
    full = ours(patch_size=[48, 48, 32], batch_size=4, n_stages=4, base_features=8)["configurations"]["3d_fullres"]
    network = full["architecture"]["arch_kwargs"]
    assert (full["patch_size"], full["batch_size"]) == ([48, 48, 32], 4)
    assert network["n_stages"] == 4
    assert network["features_per_stage"] == [8, 16, 32, 64]
    assert network["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert network["n_conv_per_stage"] == [2, 2, 2, 2]
    assert network["n_conv_per_stage_decoder"] == [2, 2, 2]


def test_features_stop_at_nnunets_maximum():
    features = ours(base_features=128)["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"]
    assert features == [128, 256, 320, 320, 320]


def test_a_patch_that_the_strides_do_not_divide_is_refused_with_one_that_they_do():
    with pytest.raises(UserError, match=r"\[50, 48, 48\] is not divisible.*\[56, 48, 48\] would be"):
        ours(patch_size=[50, 48, 48], n_stages=4)


def test_a_patch_too_small_for_deep_supervision_is_refused():
    wanted = {"patch_size": [8, 8, 8], "n_stages": None}
    with pytest.raises(UserError, match=r"the network has 2 stages for patches of \[8, 8, 8\] voxels; .* at least 3"):
        with_model(plans={**MODEL["plans"], **wanted, "n_stages": 2}, deep_supervision=True)
    with_model(plans={**MODEL["plans"], **wanted, "n_stages": 2}, deep_supervision=False)


def test_what_changes_no_weight_is_not_in_the_key_of_a_fold():
    key = training_part(ours(), "3d_fullres")
    for setting, value in (("save_every", 99), ("tta", True), ("tta", "both")):
        changed = with_model(**{setting: value})
        assert changed["glioflow"][setting] == value
        assert training_part(changed, "3d_fullres") == key
    statistics = ours()
    statistics["foreground_intensity_properties_per_channel"]["0"]["mean"] = 4.0
    assert training_part(statistics, "3d_fullres") == key


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("epochs", 9), ("initial_lr", 0.02), ("seed", 1), ("iterations_per_epoch", 26), ("weight_decay", 0.0)),
        *(("loss", "focal_ce"), ("optimiser", "ranger"), ("schedule", "cosine"), ("deep_supervision", False)),
        ("swa", {"cycles": 2, "epochs_per_cycle": 3, "update_every": 1, "initial_lr": 1e-4}),
    ],
)
def test_what_changes_weights_is_in_the_key_of_a_fold(setting, value):
    changed = with_model(**{setting: value})
    assert changed["glioflow"][setting] == value
    assert training_part(changed, "3d_fullres") != training_part(ours(), "3d_fullres")


def test_the_network_is_in_the_key_of_a_fold_and_not_in_that_of_the_preprocessed_data():
    wider = ours(base_features=16)
    assert training_part(wider, "3d_fullres") != training_part(ours(), "3d_fullres")
    assert preprocessing_part(wider, "3d_fullres") == preprocessing_part(ours(), "3d_fullres")


def test_intensity_statistics_count_where_normalisation_reads_them():
    def with_mean(mean: float) -> dict:
        plans = ours()
        plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization"]
        plans["foreground_intensity_properties_per_channel"]["0"]["mean"] = mean
        return preprocessing_part(plans, "3d_fullres")

    assert with_mean(3.0) != with_mean(4.0)


def custom_trainer(said: list[str], fingerprint: str = "f" * 64) -> dict:
    model = {**MODEL, "trainer": "code/mine.py:Mine", "trainer_fingerprint": fingerprint, "said": said}
    return training_settings(model, [1, 2, 3])


def test_what_a_study_does_not_say_stays_its_custom_trainers():
    assert custom_trainer([]) == {"seed": 0, "save_every": 4, "tta": False, "regions": ["WT"], "trainer": "f" * 64}
    assert custom_trainer(["epochs", "channels"]) == {**custom_trainer([]), "epochs": 8}


def test_the_plan_is_told_in_a_line():
    assert plan_words(ours(batch_size=3), MODEL) == "plain 3d_fullres, patch 96x96x96, batch 3, 8 epochs"
    custom = {**MODEL, "network": "equiunet", "trainer": "mine.py:Mine", "trainer_fingerprint": "f" * 64, "said": []}
    told = plan_words(customise(planned(), custom, "glioflowPlans", [1, 2, 3]), custom)
    assert told == "equiunet 3d_fullres, patch 96x96x96, batch 2, the trainer's own epochs"


def test_another_nnunet_changes_no_plan_that_stands(tmp_path):
    file = tmp_path / "nnUNetPlans.json"
    write_json(file, {"patch": 1})
    assert keep_planned(file, "these cases") == {"patch": 1}
    write_json(file, {"patch": 2})
    assert keep_planned(file, "these cases") == {"patch": 1}
    assert keep_planned(file, "other cases") == {"patch": 2}
    write_json(file, {"patch": 3})
    assert keep_planned(file, "other cases") == {"patch": 2}


def test_a_custom_trainer_is_brought_to_nnunet_and_told_what_of_it_has_no_effect(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n\n\n"
        "class Mine(nnUNetTrainer):\n    def run_training(self):\n        pass\n"
    )
    folders = ModelFolders("m", tmp_path / "nnunet")
    bring_trainer(folders, f"{tmp_path}/mine.py:Mine", Console())
    assert str(tmp_path / "nnunet/trainer") in folders.trainers
    assert "GlioflowTrainer_Mine: glioflow has its own run_training; the trainer's have no effect" in capsys.readouterr().err


@pytest.mark.long
def test_a_custom_trainer_that_cannot_be_imported_stops_the_planning(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import a_package_that_nobody_has\nfrom nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n\n\n"
        "class Mine(nnUNetTrainer):\n    pass\n"
    )
    with pytest.raises(UserError, match=r"(?s)GlioflowTrainer_Mine cannot be imported.*a_package_that_nobody_has"):
        bring_trainer(ModelFolders("m", tmp_path / "nnunet"), f"{tmp_path}/mine.py:Mine", Console())


def test_the_code_of_a_custom_trainer_is_in_the_key_of_a_fold():
    def key(fingerprint: str) -> dict:
        plans = with_model(trainer="mine.py:Mine", trainer_fingerprint=fingerprint, said=[])
        return training_part(plans, "3d_fullres")

    assert key("a" * 64) != key("b" * 64)


def test_regions_that_are_the_labels_themselves_stand_in_the_order_of_the_outputs():
    assert output_order(["ED", "NCR", "ET"], [1, 2, 3]) == ["NCR", "ED", "ET"]
    assert output_order(["WT", "TC", "ET"], [1, 2, 3]) == ["WT", "TC", "ET"]
    assert output_order(["ED", "NCR"], [1, 2, 3]) == ["ED", "NCR"]  # not all labels: these are regions
    assert training_settings({**MODEL, "regions": ["ED", "NCR", "ET"]}, [1, 2, 3])["regions"] == ["NCR", "ED", "ET"]


def test_an_attention_resunet_takes_over_what_is_planned_with_the_overrides():
    plans = with_model(network="attention_resunet", plans={**MODEL["plans"], "patch_size": [48, 48, 32], "base_features": 8})
    network = architecture_of(plans)
    assert network["network_class_name"] == "glioflow_networks.AttentionResUNet"
    assert network["arch_kwargs"]["features_per_stage"] == [8, 16, 32, 64]
    assert network["arch_kwargs"]["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert network["arch_kwargs"]["n_blocks_per_stage"] == [1, 3, 4, 6]
    assert plans["configurations"]["3d_fullres"]["patch_size"] == [48, 48, 32]


def test_an_equiunet_has_sizes_of_its_own_and_a_patch_that_they_divide():
    full = with_model(network="equiunet")["configurations"]["3d_fullres"]
    assert full["architecture"]["network_class_name"] == "glioflow_networks.EquiUnet"
    assert (full["architecture"]["arch_kwargs"]["n_stages"], full["architecture"]["arch_kwargs"]["width"]) == (4, 48)
    assert full["patch_size"] == [96, 96, 96]
    wanted = {**MODEL["plans"], "patch_size": [32, 16, 16], "n_stages": 3, "base_features": 6, "batch_size": 5}
    small = with_model(network="equiunet", plans=wanted)["configurations"]["3d_fullres"]
    assert (small["architecture"]["arch_kwargs"]["n_stages"], small["architecture"]["arch_kwargs"]["width"]) == (3, 6)
    assert (small["patch_size"], small["batch_size"]) == ([32, 16, 16], 5)


def test_a_planned_patch_grows_to_what_a_fixed_network_divides_and_a_wanted_one_is_refused():
    assert fixed_patch(None, [97, 96, 90], "equiunet", None) == [104, 96, 96]
    assert fixed_patch(None, [97, 96, 90], "equiunet", 3) == [100, 96, 92]
    with pytest.raises(UserError, match=r"patch_size: \[36, 32, 32\] is not divisible by 8, as the equiunet needs it"):
        fixed_patch([36, 32, 32], [96, 96, 96], "equiunet", None)
    assert fixed_patch([36, 32, 32], [96, 96, 96], "equiunet", 3) == [36, 32, 32]


def test_each_network_has_a_key_of_its_own():
    keys = [training_part(with_model(network=network), "3d_fullres") for network in ("plain", "attention_resunet", "equiunet")]
    assert all(first != second for first, second in zip(keys, keys[1:] + keys[:1], strict=True))


def test_a_configuration_that_was_not_planned_is_named():
    plans = planned()
    del plans["configurations"]["2d"]
    with pytest.raises(UserError, match="nnU-Net planned no configuration '2d' for this cohort, but 3d_fullres"):
        customise(plans, {**MODEL, "configuration": "2d"}, "glioflowPlans", [1, 2, 3])


def test_keys_hold_content_and_no_paths():
    import pandas as pd

    manifest = pd.DataFrame(
        {"case_id": ["b", "a"], "t1": ["/x/b", "/x/a"], "t1_sha256": ["2", "1"], "label_sha256": ["4", "3"]}
    )
    assert case_hashes(manifest, ["t1"], ["b", "a"]) == {"a": ["1", "3"], "b": ["2", "4"]}
    assert case_hashes(manifest, ["t1"], ["a"], label=False) == {"a": ["1"]}
    described = describe(
        {"channel_names": {}, "labels": {}, "regions_class_order": [], "dataset": {"a": "/x"}, "numTraining": 1}
    )
    assert set(described) == {"channel_names", "labels", "regions_class_order"}
