"""What the plans contain for the networks that glioflow adds to nnU-Net's (``trainers/glioflow_networks.py``)."""

import copy
from collections.abc import Mapping
from typing import Any

# Networks whose strides do not follow patch and spacing: how many levels they have where a study gives no number.
FIXED_STAGES = {"equiunet": 4}  # open_brats2020, src/models/unet.py
EQUIUNET_WIDTH, EQUIUNET_GROUPS = 48, 16  # open_brats2020, src/train.py and src/models/layers.py
# nnU-Net's ResEncUNetPlanner: residual blocks from the full resolution down, and convolutions per level of the decoder.
RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6)
DECODER_CONVOLUTIONS = 1
# With two stages nnU-Net's loss has one output, as the coarsest weighted 0, which makes 0/0 (nnUNetTrainer._build_loss).
DEEP_STAGES = 3


def fixed_strides(network: str) -> bool:
    """Return whether a network halves every axis at every level, whatever patch and spacing are."""
    return network in FIXED_STAGES


def divisor(network: str, n_stages: int | None = None) -> int:
    """Return what every edge of the patch must be a multiple of: 1 where the network's strides follow the patch instead."""
    if not fixed_strides(network):
        return 1
    return int(2 ** ((n_stages or FIXED_STAGES[network]) - 1))


def architecture(
    network: str,
    planned: Mapping[str, Any],
    dimensions: int,
    base_features: int | None = None,
    n_stages: int | None = None,
) -> dict[str, Any]:
    """Return the plans' block ``architecture`` for attention_resunet or equiunet.

    ``planned`` is that block as it is for a plain or a residual U-Net, a study's overrides written in: attention_resunet
    takes its levels, strides, kernels and features over. The equiunet has strides and sizes of its own, for which
    ``base_features`` (48) and ``n_stages`` (4) are; for the other they must be what is planned. ValueError where they do not,
    and for another network.
    """
    if network == "equiunet":
        return _equiunet(dimensions, base_features or EQUIUNET_WIDTH, n_stages or FIXED_STAGES[network])
    if network == "attention_resunet":
        arguments = planned["arch_kwargs"]
        for wanted, found in ((base_features, arguments["features_per_stage"][0]), (n_stages, arguments["n_stages"])):
            if wanted not in (None, found):
                raise ValueError(f"attention_resunet is wanted with {wanted} where {found} is planned")
        return _attention_resunet(planned)
    raise ValueError(f"no architecture of glioflow is called {network!r}, but attention_resunet and equiunet")


def _equiunet(dimensions: int, width: int, n_stages: int) -> dict[str, Any]:
    return {
        "network_class_name": "glioflow_networks.EquiUnet",
        "arch_kwargs": {
            "n_stages": n_stages,
            "width": width,
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [[3] * dimensions for _ in range(n_stages)],
            "strides": [[1 if level == 0 else 2] * dimensions for level in range(n_stages)],
            "norm_groups": EQUIUNET_GROUPS,
        },
        "_kw_requires_import": ["conv_op"],
    }


def _attention_resunet(planned: Mapping[str, Any]) -> dict[str, Any]:
    arguments = copy.deepcopy(dict(planned["arch_kwargs"]))
    if "n_conv_per_stage" in arguments:  # a plain U-Net's plan
        del arguments["n_conv_per_stage"]
        stages = arguments["n_stages"]
        arguments["n_blocks_per_stage"] = list(RESIDUAL_BLOCKS[:stages])
        arguments["n_conv_per_stage_decoder"] = [DECODER_CONVOLUTIONS] * (stages - 1)
    return {
        "network_class_name": "glioflow_networks.AttentionResUNet",
        "arch_kwargs": arguments,
        "_kw_requires_import": list(planned["_kw_requires_import"]),
    }
