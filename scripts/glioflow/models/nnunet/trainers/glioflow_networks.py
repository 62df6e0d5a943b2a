"""Networks that nnU-Net itself has not: the EquiUnet of BraTS 2020, and a residual U-Net with attention on its skips.

Plans name them as ``glioflow_networks.EquiUnet`` and ``glioflow_networks.AttentionResUNet``; nnU-Net builds them with
``input_channels``, ``num_classes``, the plans' ``arch_kwargs`` and ``deep_supervision``. Both obey
``network.decoder.deep_supervision``: with it on they return a list of logits, one of every resolution from the full one to the
one above the lowest, without it the full resolution alone. All heads exist either way, so that the weights always load.
This module imports torch and dynamic_network_architectures only, which every nnU-Net environment has.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder  # type: ignore[import-untyped]
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder  # type: ignore[import-untyped]
from dynamic_network_architectures.initialization.weight_init import (  # type: ignore[import-untyped]
    InitWeights_He,
    init_last_bn_before_add_to_0,
)
from torch import Tensor, nn

BOTTOM_DILATION = 2  # lescientifik/open_brats2020, src/models/unet.py


def _dimensions(conv_op: type[nn.Module]) -> int:
    return {nn.Conv2d: 2, nn.Conv3d: 3}[conv_op]


def _resize(x: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Return ``x`` (batch, channels, *space) at another spatial size, interpolated linearly along every axis."""
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    resized: Tensor = F.interpolate(x, size=tuple(size), mode=mode, align_corners=align_corners)
    return resized


class ConvNormRelu(nn.Sequential):  # type: ignore[misc]
    """Convolution without bias, group normalisation and ReLU; the spatial size is unchanged.

    Where ``norm_groups`` does not divide the channels, their greatest common divisor is the number of groups.
    """

    def __init__(
        self,
        conv_op: type[nn.Module],
        inputs: int,
        outputs: int,
        kernel_size: Sequence[int],
        norm_groups: int,
        dilation: int = 1,
    ) -> None:
        padding = [dilation * (edge // 2) for edge in kernel_size]
        super().__init__(
            conv_op(inputs, outputs, tuple(kernel_size), padding=padding, dilation=dilation, bias=False),
            nn.GroupNorm(math.gcd(norm_groups, outputs), outputs),
            nn.ReLU(inplace=True),
        )


class EquiUnet(nn.Module):  # type: ignore[misc]
    """The EquiUnet of Henry et al. 2020 (arXiv:2011.01045), in 3D or 2D as ``conv_op`` is.

    Layers are those of ``src/models/unet.py`` in lescientifik/open_brats2020: level i of ``n_stages`` has ``width`` × 2^i
    features in both convolutions of its block, max pooling leads down, a block of dilation 2 follows at the lowest level, whose
    output, joined to its input, one convolution merges; linear upsampling leads up, and a 1×1 convolution ends it. Of the
    published network this differs in deep supervision alone: there four heads (the dilated block, its merger and the two
    decoder levels below the full resolution) are upsampled to the full resolution and count alike; here, as nnU-Net has
    it, a head is on every decoder level, is compared at its own resolution, and counts half of the one above, the lowest
    nothing. With the published four levels that is three heads.

    The published network has 4 levels, a width of 48 and 16 groups (``src/train.py``, ``src/models/layers.py``). ``strides``
    and ``kernel_sizes`` are in the plans for nnU-Net's sake, one entry a level; there they are 2 and 3 along every axis.
    ValueError where they do not fit ``n_stages``.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        conv_op: type[nn.Module],
        strides: Sequence[Sequence[int]],
        kernel_sizes: Sequence[Sequence[int]],
        n_stages: int,
        width: int,
        norm_groups: int,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if n_stages < 2 or not n_stages == len(strides) == len(kernel_sizes):
            raise ValueError(
                f"a network of {n_stages} levels with {len(strides)} strides and {len(kernel_sizes)} kernels: "
                "two levels or more, and as many strides and kernels"
            )
        features = [width * 2**level for level in range(n_stages)]
        self.encoder = EquiEncoder(input_channels, conv_op, features, strides, kernel_sizes, norm_groups)
        self.decoder = EquiDecoder(num_classes, conv_op, features, kernel_sizes, norm_groups, deep_supervision)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (batch, classes, *space) of ``x`` (batch, channels, *space); a list of them with deep supervision."""
        logits: Tensor | list[Tensor] = self.decoder(self.encoder(x))
        return logits

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialise one module as open_brats2020 does: convolutions after He et al. 2015 by fan-out."""
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class EquiEncoder(nn.Module):  # type: ignore[misc]
    """The EquiUnet's way down; gives the skips from the full resolution on, and last what the decoder starts from."""

    def __init__(
        self,
        input_channels: int,
        conv_op: type[nn.Module],
        features: Sequence[int],
        strides: Sequence[Sequence[int]],
        kernel_sizes: Sequence[Sequence[int]],
        norm_groups: int,
    ) -> None:
        super().__init__()
        pool_op = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[_dimensions(conv_op)]
        inputs = [input_channels, *features]
        self.pools = nn.ModuleList(pool_op(tuple(stride), tuple(stride)) for stride in strides)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                ConvNormRelu(conv_op, inputs[level], wide, kernel_sizes[level], norm_groups),
                ConvNormRelu(conv_op, wide, wide, kernel_sizes[level], norm_groups),
            )
            for level, wide in enumerate(features)
        )
        lowest, kernel = features[-1], kernel_sizes[-1]
        self.bottom = nn.Sequential(
            ConvNormRelu(conv_op, lowest, lowest, kernel, norm_groups, BOTTOM_DILATION),
            ConvNormRelu(conv_op, lowest, lowest, kernel, norm_groups, BOTTOM_DILATION),
        )
        self.merge = ConvNormRelu(conv_op, 2 * lowest, features[-2], kernel, norm_groups)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the skips of all levels but the lowest, and the merged bottom."""
        skips = []
        for pool, block in zip(self.pools, self.blocks, strict=True):
            x = block(pool(x))
            skips.append(x)
        skips[-1] = self.merge(torch.cat([x, self.bottom(x)], dim=1))
        return skips


class EquiDecoder(nn.Module):  # type: ignore[misc]
    """The EquiUnet's way up, with a head on every level."""

    def __init__(
        self,
        num_classes: int,
        conv_op: type[nn.Module],
        features: Sequence[int],
        kernel_sizes: Sequence[Sequence[int]],
        norm_groups: int,
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        levels = list(reversed(range(len(features) - 1)))
        outputs = {level: features[max(level - 1, 0)] for level in levels}
        self.blocks = nn.ModuleList(
            nn.Sequential(
                ConvNormRelu(conv_op, 2 * features[level], features[level], kernel_sizes[level], norm_groups),
                ConvNormRelu(conv_op, features[level], outputs[level], kernel_sizes[level], norm_groups),
            )
            for level in levels
        )
        self.heads = nn.ModuleList(conv_op(outputs[level], num_classes, 1) for level in levels)

    def forward(self, skips: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return the logits of every level, the full resolution first, or with deep supervision off the full one alone."""
        x, logits = skips[-1], []
        for skip, block, head in zip(reversed(skips[:-1]), self.blocks, self.heads, strict=True):
            x = block(torch.cat([skip, _resize(x, skip.shape[2:], align_corners=True)], dim=1))
            if self.deep_supervision:
                logits.append(head(x))
        return logits[::-1] if self.deep_supervision else self.heads[-1](x)


class AttentionGate(nn.Module):  # type: ignore[misc]
    """Additive attention over space, Oktay et al. 2018 (arXiv:1804.03999), equations 1 and 2.

    A skip is multiplied, voxel by voxel, by a weight in (0, 1) that it and the coarser features below it agree on. The weight
    is worked out on the coarser grid and interpolated. Half of the skip's channels are between, as in the authors' own
    ``grid_attention_layer.py`` (ozan-oktay/Attention-Gated-Networks).
    """

    def __init__(self, conv_op: type[nn.Module], skip_channels: int, gate_channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        between = max(skip_channels // 2, 1)
        self.of_skip = conv_op(skip_channels, between, tuple(stride), stride=tuple(stride), bias=False)
        self.of_gate = conv_op(gate_channels, between, 1)
        self.weight = conv_op(between, 1, 1)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Return ``skip`` (batch, channels, *space), weighted; ``gate`` is one level below it."""
        weight = torch.sigmoid(self.weight(F.relu(self.of_skip(skip) + self.of_gate(gate))))
        return skip * _resize(weight, skip.shape[2:], align_corners=False)


class AttentionDecoder(UNetDecoder):  # type: ignore[misc]
    """nnU-Net's decoder, every skip passing an attention gate first.

    The authors left the topmost skip ungated; here every skip is gated.
    """

    def __init__(
        self, encoder: ResidualEncoder, num_classes: int, n_conv_per_stage: int | Sequence[int], deep_supervision: bool
    ) -> None:
        super().__init__(encoder, num_classes, n_conv_per_stage, deep_supervision)
        channels, strides = encoder.output_channels, encoder.strides
        self.gates = nn.ModuleList(
            AttentionGate(encoder.conv_op, channels[level], channels[level + 1], strides[level + 1])
            for level in reversed(range(len(channels) - 1))
        )

    def forward(self, skips: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return the logits of every level, the full resolution first, or with deep supervision off the full one alone."""
        x, logits = skips[-1], []
        levels = zip(reversed(skips[:-1]), self.gates, self.transpconvs, self.stages, self.seg_layers, strict=True)
        for skip, gate, upsample, stage, head in levels:
            x = stage(torch.cat([upsample(x), gate(skip, x)], dim=1))
            if self.deep_supervision:
                logits.append(head(x))
        return logits[::-1] if self.deep_supervision else self.seg_layers[-1](x)


class AttentionResUNet(nn.Module):  # type: ignore[misc]
    """nnU-Net's residual encoder U-Net with attention gates (Oktay et al. 2018, arXiv:1804.03999) on all skips.

    Arguments are those of nnU-Net's ``ResidualEncoderUNet``; those of its encoder go to it as they are.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        n_conv_per_stage_decoder: int | Sequence[int],
        deep_supervision: bool = False,
        **encoder: Any,
    ) -> None:
        super().__init__()
        self.encoder = ResidualEncoder(input_channels, return_skips=True, **encoder)
        self.decoder = AttentionDecoder(self.encoder, num_classes, n_conv_per_stage_decoder, deep_supervision)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (batch, classes, *space) of ``x`` (batch, channels, *space); a list of them with deep supervision."""
        logits: Tensor | list[Tensor] = self.decoder(self.encoder(x))
        return logits

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialise one module as nnU-Net does in its residual encoder U-Net."""
        InitWeights_He(1e-2)(module)
        init_last_bn_before_add_to_0(module)
