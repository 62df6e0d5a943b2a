"""A model's plans: what nnU-Net planned, with the study's overrides and the trainer's settings written in.

The plans file is the whole description of a model: preprocessing, architecture, patch and batch as nnU-Net keeps them, and
a block ``glioflow`` that our trainer reads.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from glioflow.console import UserError
from glioflow.labels import REGION_FILL, REGIONS

# nnU-Net stops pooling an axis below this many voxels (UNet_featuremap_min_edge_length of its ExperimentPlanner).
MIN_EDGE = 4
MAX_FEATURES = {"2d": 512, "3d_fullres": 320}  # UNet_max_features_2d and _3d of the same planner


def dataset_json(channels: Sequence[str], regions: Sequence[str], cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return nnU-Net's dataset.json for region-based training; ``cases`` lists files by path, so no image is copied.

    ``regions`` go from the largest to the smallest: nnU-Net paints them in this order, a later one over an earlier one, each
    with the canonical label that is left where no smaller region covers it.
    """
    return {
        "channel_names": {str(index): channel for index, channel in enumerate(channels)},
        "labels": {"background": 0, **{region: list(REGIONS[region]) for region in regions}},
        "regions_class_order": [REGION_FILL[region] for region in regions],
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "dataset": {case: dict(files) for case, files in cases.items()},
    }


def training_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plans' ``glioflow`` block: what the trainer needs of a model's configuration."""
    keys = ("epochs", "iterations_per_epoch", "validation_iterations", "initial_lr", "save_every", "seed", "tta", "regions")
    return {key: model[key] for key in keys}


def customise(plans: Mapping[str, Any], model: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    """Return our plans: nnU-Net's, reduced to the model's configuration, with its overrides and settings written in.

    Raises UserError where a patch size does not fit the strides of the network.
    """
    ours = copy.deepcopy(dict(plans))
    configuration = model["configuration"]
    if configuration not in ours["configurations"]:
        raise UserError(
            f"nnU-Net planned no configuration {configuration!r} for this cohort, but {', '.join(ours['configurations'])}"
        )
    ours["plans_name"] = identifier
    ours["configurations"] = {configuration: ours["configurations"][configuration]}
    ours["configurations"][configuration]["data_identifier"] = f"{identifier}_{configuration}"
    override(ours["configurations"][configuration], model["plans"], configuration)
    ours["glioflow"] = training_settings(model)
    return ours


def override(planned: dict[str, Any], wanted: Mapping[str, Any], configuration: str) -> None:
    """Write a study's overrides into one planned configuration, the network's strides and features following them."""
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    if wanted.get("batch_size"):
        planned["batch_size"] = wanted["batch_size"]
    if not any(wanted.get(key) for key in ("patch_size", "n_stages", "base_features")):
        return
    network = planned["architecture"]["arch_kwargs"]
    patch = list(wanted.get("patch_size") or planned["patch_size"])
    stages = wanted.get("n_stages") or network["n_stages"]
    _, strides, kernels, fitting, _ = get_pool_and_conv_props(planned["spacing"][-len(patch) :], patch, MIN_EDGE, stages - 1)
    if list(fitting) != patch:
        raise UserError(
            f"plans.patch_size: {patch} is not divisible by the strides of a network of {len(strides)} stages; "
            f"{[int(n) for n in fitting]} would be"
        )
    base = wanted.get("base_features") or network["features_per_stage"][0]
    planned["patch_size"] = patch
    network["n_stages"] = len(strides)
    network["strides"] = [[int(n) for n in stride] for stride in strides]
    network["kernel_sizes"] = [[int(n) for n in kernel] for kernel in kernels]
    network["features_per_stage"] = [min(base * 2**stage, MAX_FEATURES[configuration]) for stage in range(len(strides))]
    for key in ("n_conv_per_stage", "n_conv_per_stage_decoder", "n_blocks_per_stage"):
        if key in network:
            length = len(strides) - (key == "n_conv_per_stage_decoder")
            network[key] = (list(network[key]) + [network[key][-1]] * length)[:length]


def preprocessing_part(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """Return the part of the plans that decides what preprocessed data look like: the rest may change without a rerun."""
    planned = plans["configurations"][configuration]
    training_only = ("batch_size", "patch_size", "architecture", "batch_dice", "median_image_size_in_voxels")
    common = {key: plans[key] for key in ("transpose_forward", "transpose_backward", "image_reader_writer")}
    if "CTNormalization" in planned["normalization_schemes"]:  # the only scheme that looks at the cohort's intensities
        common["intensities"] = plans["foreground_intensity_properties_per_channel"]
    return {"configuration": {key: value for key, value in planned.items() if key not in training_only}, **common}


def training_part(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """Return the part of the plans that decides a fold's final weights, and so belongs to the fold's key.

    How often a checkpoint is saved and whether prediction mirrors the image change no weight. Statistics of the whole cohort
    that z-scored training does not read are left out, so that a changed case retrains only the folds that train on it.
    """
    planned = plans["configurations"][configuration]
    settings = {key: value for key, value in plans["glioflow"].items() if key not in ("save_every", "tta")}
    network = {key: planned[key] for key in ("batch_size", "patch_size", "architecture", "batch_dice")}
    return {"preprocessing": preprocessing_part(plans, configuration), "network": network, "settings": settings}
