import pytest

from glioflow.console import UserError
from glioflow.nnunet.keys import case_hashes, describe
from glioflow.nnunet.plans import customise, preprocessing_part, training_part

MODEL = {
    "configuration": "3d_fullres", "epochs": 8, "iterations_per_epoch": 25, "validation_iterations": 4, "initial_lr": 0.01,
    "save_every": 4, "seed": 0, "tta": False, "regions": ["WT"],
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
        "architecture": {"network_class_name": "PlainConvUNet", "arch_kwargs": network},
    }  # fmt: skip
    return {
        "plans_name": "nnUNetPlans", "configurations": {"3d_fullres": full, "2d": dict(full)}, "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2], "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 3.0}},
    }  # fmt: skip


def ours(**plans) -> dict:
    return customise(planned(), {**MODEL, "plans": {**MODEL["plans"], **plans}}, "glioflowPlans")


def test_without_overrides_nnunets_plan_is_kept():
    plans = ours()
    full, before = plans["configurations"]["3d_fullres"], planned()["configurations"]["3d_fullres"]
    assert full == {**before, "data_identifier": "glioflowPlans_3d_fullres"}
    assert list(plans["configurations"]) == ["3d_fullres"]
    assert plans["plans_name"] == "glioflowPlans"
    assert plans["glioflow"]["epochs"] == 8


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


def test_what_changes_no_weight_is_not_in_the_key_of_a_fold():
    key = training_part(ours(), "3d_fullres")
    for setting, value in (("save_every", 99), ("tta", True)):
        changed = ours()
        changed["glioflow"][setting] = value
        assert training_part(changed, "3d_fullres") == key
    statistics = ours()
    statistics["foreground_intensity_properties_per_channel"]["0"]["mean"] = 4.0
    assert training_part(statistics, "3d_fullres") == key


@pytest.mark.parametrize(("setting", "value"), [("epochs", 9), ("initial_lr", 0.02), ("seed", 1), ("iterations_per_epoch", 26)])
def test_what_changes_weights_is_in_the_key_of_a_fold(setting, value):
    changed = ours()
    changed["glioflow"][setting] = value
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
