import json
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from glioflow.models.nnunet.architectures import architecture, divisor, fixed_strides
from glioflow.models.nnunet.trainers.glioflow_networks import AttentionGate, AttentionResUNet, EquiUnet

NETWORKS = ["attention_resunet", "equiunet"]


@pytest.fixture
def trainers(repo, monkeypatch) -> Path:
    """The folder of nnU-Net's trainers on the path, as glioflow's trainer puts it there."""
    folder = repo / "scripts" / "glioflow" / "models" / "nnunet" / "trainers"
    monkeypatch.syspath_prepend(str(folder))
    return folder


def planned(dimensions: int = 3, residual: bool = False) -> dict:
    """An architecture as nnU-Net plans it: three levels, the first axis pooled at the last of them only."""
    blocks = {"n_blocks_per_stage": [1, 2, 2]} if residual else {"n_conv_per_stage": [2, 2, 2]}
    flat = [1, *[2] * (dimensions - 1)]
    arguments = {
        "n_stages": 3, "features_per_stage": [4, 8, 12], "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": [[1, *[3] * (dimensions - 1)]] + [[3] * dimensions] * 2,
        "strides": [[1] * dimensions, flat, [2] * dimensions], **blocks, "n_conv_per_stage_decoder": [1 if residual else 2] * 2,
        "conv_bias": True, "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
    }  # fmt: skip
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": arguments,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def equiunet(width: int = 4, dimensions: int = 3, n_stages: int = 3, deep: bool = False) -> EquiUnet:
    strides = [[1] * dimensions] + [[2] * dimensions] * (n_stages - 1)
    conv_op = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    kernels = [[3] * dimensions] * n_stages
    return EquiUnet(2, 3, conv_op, strides, kernels, n_stages, width, 16, deep)


def attention_arguments(**changes) -> dict:
    return {
        "n_stages": 3, "features_per_stage": [4, 6, 8], "conv_op": nn.Conv3d, "kernel_sizes": [[3] * 3] * 3,
        "strides": [[1] * 3, [1, 2, 2], [2] * 3], "n_blocks_per_stage": [1, 2, 1], "n_conv_per_stage_decoder": [1, 1],
        "norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"affine": True}, "nonlin": nn.LeakyReLU, **changes,
    }  # fmt: skip


def attention(deep: bool = False) -> AttentionResUNet:
    return AttentionResUNet(2, 3, deep_supervision=deep, **attention_arguments())


def count(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def from_plans(block: dict, deep: bool) -> nn.Module:
    """Build a network as nnU-Net does from a plans file, which is JSON."""
    block = json.loads(json.dumps(block))
    names = block["network_class_name"], block["arch_kwargs"], block["_kw_requires_import"]
    return get_network_from_plans(*names, 2, 3, deep_supervision=deep)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_network_of_the_plans_gives_the_resolutions_that_nnunets_targets_have(trainers, name, dimensions):
    block = architecture(name, planned(dimensions), dimensions, 4 if name == "equiunet" else None)
    network = from_plans(block, deep=True)
    outputs = network(torch.randn(2, 2, *[16] * dimensions))
    scales = 1 / np.cumprod(block["arch_kwargs"]["strides"], axis=0)[:-1]  # nnUNetTrainer._get_deep_supervision_scales
    assert [tuple(one.shape) for one in outputs] == [(2, 3, *(16 * scale).astype(int)) for scale in scales]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_the_plans_predicts_the_full_resolution_without_deep_supervision(trainers, name):
    network = from_plans(architecture(name, planned(), 3, 4 if name == "equiunet" else None), deep=False)
    assert network(torch.randn(1, 2, 8, 16, 24)).shape == (1, 3, 8, 16, 24)


def test_the_published_four_levels_have_three_heads():
    assert [one.shape[-1] for one in equiunet(n_stages=4, deep=True)(torch.randn(1, 2, 16, 16, 16))] == [16, 8, 4]


@pytest.mark.parametrize("build", [equiunet, attention])
def test_nnunets_switch_turns_deep_supervision_on_and_off_and_leaves_the_full_resolution_alone(build):
    network, image = build(deep=False).eval(), torch.randn(1, 2, 8, 8, 8)
    alone = network(image)
    network.decoder.deep_supervision = True
    several = network(image)
    assert isinstance(several, list)
    assert torch.equal(several[0], alone)
    network.decoder.deep_supervision = False
    assert torch.equal(network(image), alone)


@pytest.mark.parametrize("build", [equiunet, attention])
def test_weights_trained_with_deep_supervision_load_without_it(build):
    build(deep=False).load_state_dict(build(deep=True).state_dict())


@pytest.mark.parametrize("build", [equiunet, attention])
def test_every_parameter_learns(build):
    torch.manual_seed(0)
    network = build(deep=True)
    sum(one.square().sum() for one in network(torch.randn(2, 2, 8, 8, 8))).backward()
    idle = [name for name, weights in network.named_parameters() if weights.grad is None or not weights.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("build", [equiunet, attention])
def test_half_precision_goes_through(build):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert build()(torch.randn(1, 2, 8, 8, 8)).isfinite().all()


def test_equiunet_of_the_published_size_has_the_parameters_of_the_published_layers():
    def conv(inputs: int, outputs: int) -> int:
        return 27 * inputs * outputs + 2 * outputs  # no bias; scale and shift of the group normalisation

    def block(inputs: int, middle: int, outputs: int) -> int:
        return conv(inputs, middle) + conv(middle, outputs)

    down = block(4, 48, 48) + block(48, 96, 96) + block(96, 192, 192) + block(192, 384, 384)
    bottom = block(384, 384, 384) + conv(768, 192)
    up = block(384, 192, 96) + block(192, 96, 48) + block(96, 48, 48)
    out = 48 * 3 + 3
    assert down + bottom + up + out == 23_152_563
    deep = (48 * 3 + 3) + (96 * 3 + 3)
    arguments = architecture("equiunet", {}, 3)["arch_kwargs"]
    with torch.device("meta"):
        network = EquiUnet(4, 3, **{**arguments, "conv_op": nn.Conv3d})
    assert count(network) == 23_152_563 + deep


def test_equiunets_lowest_block_alone_is_dilated_and_its_merger_sees_both_sides_of_it():
    network = equiunet(n_stages=4)
    dilated = {name for name, one in network.named_modules() if isinstance(one, nn.Conv3d) and one.dilation == (2, 2, 2)}
    assert dilated == {"encoder.bottom.0.0", "encoder.bottom.1.0"}
    assert network.encoder.merge[0].in_channels == 2 * 32


def test_equiunet_upsamples_linearly_corner_to_corner():
    network = equiunet(dimensions=2, n_stages=2)
    seen = {}
    network.decoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.update(joined=inputs[0]))
    low = torch.tensor([[0.0, 3.0], [6.0, 9.0]]).expand(1, 4, 2, 2)
    network.decoder([torch.zeros(1, 4, 4, 4), low])
    rows = torch.arange(4.0)[:, None]
    torch.testing.assert_close(seen["joined"][0, 4], 2 * rows + rows.T)


def test_equiunet_has_sixteen_groups_or_as_many_as_divide_its_features():
    assert {one.num_groups for one in equiunet(16, 2, 2).modules() if isinstance(one, nn.GroupNorm)} == {16}
    assert [one.num_groups for one in equiunet(12, 2, 2).modules() if isinstance(one, nn.GroupNorm)][:3] == [4, 4, 8]


def test_equiunet_begins_with_weights_scaled_to_what_a_layer_gives(trainers):
    torch.manual_seed(0)
    network = from_plans(architecture("equiunet", {}, 3, 16), deep=False)
    weights = network.encoder.blocks[1][0][0].weight  # 16 features to 32
    assert weights.std().item() == pytest.approx((2 / (27 * 32)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("stages", "strides"), [(1, 1), (3, 4)])
def test_equiunet_refuses_levels_that_its_strides_do_not_fit(stages, strides):
    with pytest.raises(ValueError, match=f"{stages} levels with {strides} strides"):
        EquiUnet(1, 1, nn.Conv3d, [[2] * 3] * strides, [[3] * 3] * strides, stages, 4, 16)


def test_attention_weighs_each_voxel_of_a_skip_by_what_it_and_the_features_below_agree_on():
    gate = AttentionGate(nn.Conv2d, 2, 1, [2, 1])
    with torch.no_grad():
        gate.of_skip.weight.copy_(
            torch.tensor([[0.5, 0.5], [0.0, 0.0]]).reshape(1, 2, 2, 1)
        )  # first channel's mean of two rows
        gate.of_gate.weight.fill_(1)
        gate.of_gate.bias.fill_(-2)
        gate.weight.weight.fill_(2)
        gate.weight.bias.fill_(-1)
    skip = torch.tensor([[[1.0, 5.0], [3.0, 5.0]], [[7.0, 8.0], [9.0, 6.0]]])
    weighted = gate(skip[None], torch.tensor([[[[0.0, 0.0]]]]))
    weights = torch.tensor([2 * (2 + 0 - 2) - 1, 2 * (5 + 0 - 2) - 1]).sigmoid()  # of the two columns, in either channel
    torch.testing.assert_close(weighted[0], skip * weights)
    closed = gate(skip[None], torch.tensor([[[[0.0, -9.0]]]]))  # ReLU of 5 - 9 - 2 is 0
    torch.testing.assert_close(closed[0], skip / (1 + np.e))


def test_attention_network_is_nnunets_residual_unet_and_a_gate_on_every_skip():
    arguments = attention_arguments()
    features, strides = arguments["features_per_stage"], arguments["strides"]
    gates = 0
    for level in (0, 1):
        between = features[level] // 2
        of_skip = features[level] * between * prod(strides[level + 1])
        of_gate = features[level + 1] * between + between
        gates += of_skip + of_gate + between + 1
    assert gates == (4 * 2 * 4 + 14 + 3) + (6 * 3 * 8 + 27 + 4)
    assert count(attention()) == count(ResidualEncoderUNet(2, num_classes=3, **arguments)) + gates


def test_open_gates_leave_nnunets_residual_unet_as_it_is():
    torch.manual_seed(0)
    network, plain = attention(deep=True), ResidualEncoderUNet(2, num_classes=3, deep_supervision=True, **attention_arguments())
    for gate in network.decoder.gates:
        nn.init.zeros_(gate.weight.weight)
        nn.init.constant_(gate.weight.bias, 100)
    plain.load_state_dict({name: one for name, one in network.state_dict().items() if "gates" not in name})
    image = torch.randn(1, 2, 8, 16, 16)
    for ours, theirs in zip(network(image), plain(image), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_attention_takes_over_what_was_planned_and_brings_residual_blocks_to_a_plain_plan():
    plain = planned()
    arguments = architecture("attention_resunet", plain, 3)["arch_kwargs"]
    assert "n_conv_per_stage" not in arguments
    assert arguments["n_blocks_per_stage"] == [1, 3, 4]
    assert arguments["n_conv_per_stage_decoder"] == [1, 1]
    kept = ("strides", "kernel_sizes", "features_per_stage", "norm_op")
    assert {key: arguments[key] for key in kept} == {key: plain["arch_kwargs"][key] for key in kept}
    assert plain == planned()


def test_attention_keeps_the_blocks_of_a_residual_plan():
    assert architecture("attention_resunet", planned(residual=True), 3)["arch_kwargs"]["n_blocks_per_stage"] == [1, 2, 2]


def test_attention_refuses_other_sizes_than_planned():
    assert architecture("attention_resunet", planned(), 3, base_features=4, n_stages=3)
    with pytest.raises(ValueError, match="wanted with 16 where 4 is planned"):
        architecture("attention_resunet", planned(), 3, base_features=16)
    with pytest.raises(ValueError, match="wanted with 4 where 3 is planned"):
        architecture("attention_resunet", planned(), 3, n_stages=4)


def test_equiunet_has_its_published_size_unless_a_study_says_otherwise():
    arguments = architecture("equiunet", planned(), 3)["arch_kwargs"]
    assert (arguments["width"], arguments["n_stages"]) == (48, 4)
    assert arguments["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    small = architecture("equiunet", planned(2), 2, base_features=8, n_stages=3)["arch_kwargs"]
    assert (small["width"], small["strides"]) == (8, [[1, 1], [2, 2], [2, 2]])


def test_what_a_patch_must_be_divisible_by_is_known_before_planning():
    assert fixed_strides("equiunet")
    assert (divisor("equiunet"), divisor("equiunet", 5)) == (8, 16)
    assert not fixed_strides("attention_resunet")
    assert divisor("attention_resunet", 6) == 1


def test_an_unknown_network_is_refused_by_name():
    with pytest.raises(ValueError, match="'resnet'"):
        architecture("resnet", planned(), 3)
