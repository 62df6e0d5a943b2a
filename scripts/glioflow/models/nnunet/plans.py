"""A model's plans: what nnU-Net planned, with the study's overrides and the trainer's settings written in.

The plans file is the whole description of a model: preprocessing, architecture, patch and batch as nnU-Net keeps them, and
a block ``glioflow`` that our trainer reads.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from glioflow.console import UserError
from glioflow.imaging.labels import REGION_FILL, REGIONS
from glioflow.models.nnunet.architectures import DEEP_STAGES, architecture, divisor, fixed_strides

# nnU-Net's planner for each network, and what it calls its plans; networks of ours start from one of those.
PLANNERS = {
    "plain": ("ExperimentPlanner", "nnUNetPlans"),
    "resenc_m": ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans"),
    "resenc_l": ("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans"),
    "attention_resunet": ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans"),
    "equiunet": ("ExperimentPlanner", "nnUNetPlans"),
}
# nnU-Net stops pooling an axis below this many voxels (UNet_featuremap_min_edge_length of its ExperimentPlanner).
MIN_EDGE = 4
MAX_FEATURES = {"2d": 512, "3d_fullres": 320}  # UNet_max_features_2d and _3d of the same planner


def are_labels(regions: Sequence[str], labels: Sequence[int]) -> bool:
    """Tell whether the regions are the cohort's labels themselves, one each: nnU-Net then trains a softmax, not regions."""
    return sorted(REGIONS[region] for region in regions) == [(label,) for label in sorted(labels)]


def output_order(regions: Sequence[str], labels: Sequence[int]) -> list[str]:
    """Return the regions in the order of the network's outputs: labels by their number, overlapping regions as given."""
    return sorted(regions, key=lambda region: REGIONS[region]) if are_labels(regions, labels) else list(regions)


def dataset_json(
    channels: Sequence[str], regions: Sequence[str], labels: Sequence[int], cases: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return nnU-Net's dataset.json; ``cases`` lists files by path, so no image is copied.

    Where ``regions`` are the canonical ``labels`` one by one, nnU-Net trains on labels. Else it trains on regions, from the
    largest to the smallest: it paints them in this order, a later one over an earlier one, each with the canonical label
    that is left where no smaller region covers it.
    """
    described: dict[str, Any] = {"channel_names": {str(index): channel for index, channel in enumerate(channels)}}
    if are_labels(regions, labels):
        described["labels"] = {"background": 0, **{r: REGIONS[r][0] for r in output_order(regions, labels)}}
    else:
        # A label named twice makes one region of it; nnU-Net takes single labels for labels, and wants all of them then.
        parts = {region: list(REGIONS[region]) * (2 if len(REGIONS[region]) == 1 else 1) for region in regions}
        described["labels"] = {"background": 0, **parts}
        described["regions_class_order"] = [REGION_FILL[region] for region in regions]
    return {
        **described,
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "dataset": {case: dict(files) for case, files in cases.items()},
    }


# What our trainer takes from the plans, and what of it changes no weight.
SETTINGS = (
    *("epochs", "iterations_per_epoch", "validation_iterations", "initial_lr", "weight_decay"),
    *("deep_supervision", "loss", "optimiser", "schedule", "swa"),
)
WEIGHTLESS = ("save_every", "tta")


def training_settings(model: Mapping[str, Any], labels: Sequence[int]) -> dict[str, Any]:
    """Return the plans' ``glioflow`` block: what the trainer needs of a model's configuration.

    With a custom trainer, what the study leaves out is that trainer's (``model["said"]`` names the keys that it has).
    """
    keys = [key for key in SETTINGS if not model["trainer"] or key in model["said"]]
    custom = {"trainer": model["trainer_fingerprint"]} if model["trainer"] else {}
    regions = output_order(model["regions"], labels)
    return {**{key: model[key] for key in ("seed", *WEIGHTLESS, *keys)}, "regions": regions, **custom}


def customise(plans: Mapping[str, Any], model: Mapping[str, Any], identifier: str, labels: Sequence[int]) -> dict[str, Any]:
    """Return our plans: nnU-Net's, reduced to the model's configuration, with its overrides and settings written in.

    ``labels`` are the cohort's canonical ones. Raises UserError where a patch size does not fit the strides of the network, or
    leaves it too few stages for deep supervision.
    """
    ours = copy.deepcopy(dict(plans))
    configuration = model["configuration"]
    if configuration not in ours["configurations"]:
        raise UserError(
            f"nnU-Net planned no configuration {configuration!r} for this cohort, but {', '.join(ours['configurations'])}"
        )
    ours["plans_name"] = identifier
    ours["configurations"] = {configuration: ours["configurations"][configuration]}
    planned = ours["configurations"][configuration]
    planned["data_identifier"] = f"{identifier}_{configuration}"
    network, wanted = model["network"], model["plans"]
    planned["batch_size"] = wanted.get("batch_size") or planned["batch_size"]
    if fixed_strides(network):
        planned["patch_size"] = fixed_patch(wanted.get("patch_size"), planned["patch_size"], network, wanted.get("n_stages"))
    else:
        override(planned, wanted, configuration)
    if network in ("attention_resunet", "equiunet"):
        dimensions = len(planned["patch_size"])
        sizes = (wanted.get("base_features"), wanted.get("n_stages")) if fixed_strides(network) else (None, None)
        planned["architecture"] = architecture(network, planned["architecture"], dimensions, *sizes)
    ours["glioflow"] = training_settings(model, labels)
    stages = planned["architecture"]["arch_kwargs"]["n_stages"]
    if ours["glioflow"].get("deep_supervision") and stages < DEEP_STAGES:
        raise UserError(
            f"the network has {stages} stages for patches of {planned['patch_size']} voxels; deep supervision needs at least "
            f"{DEEP_STAGES}: give a larger plans.patch_size, or set deep_supervision: false"
        )
    return ours


def fixed_patch(wanted: Sequence[int] | None, planned: Sequence[int], network: str, n_stages: int | None) -> list[int]:
    """Return the patch of a network with strides of its own: the wanted one, or nnU-Net's made to fit.

    Raises UserError where the wanted one does not fit.
    """
    step = divisor(network, n_stages)
    if wanted and any(edge % step for edge in wanted):
        raise UserError(f"plans.patch_size: {list(wanted)} is not divisible by {step}, as the {network} needs it")
    return list(wanted) if wanted else [-(-edge // step) * step for edge in planned]


def override(planned: dict[str, Any], wanted: Mapping[str, Any], configuration: str) -> None:
    """Write a study's overrides into one planned configuration, the network's strides and features following them."""
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

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
    settings = {key: value for key, value in plans["glioflow"].items() if key not in WEIGHTLESS}
    network = {key: planned[key] for key in ("batch_size", "patch_size", "architecture", "batch_dice")}
    return {"preprocessing": preprocessing_part(plans, configuration), "network": network, "settings": settings}
