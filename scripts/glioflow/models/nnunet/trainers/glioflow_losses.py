"""The losses a study can choose. Each takes logits and a target as nnU-Net gives them, and is one number to make small.

Logits are (batch, channels, *space). Labels come as a map (batch, 1, *space), regions as (batch, regions, *space) of 0 and 1,
boolean or not. Voxels of the ignore label count nothing; with regions they are a last channel of the target, with labels a
value of the map. nnU-Net's own deep supervision wraps these losses, one resolution at a time.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.helpers import softmax_helper_dim1
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss  # type: ignore[import-untyped]

SMOOTH = 1e-5  # nnUNetTrainer._build_loss
FOCAL_GAMMA = 2.0  # Lin et al. 2017 (arXiv:1708.02002), section 4
NO_CLASS_WEIGHT = -1.0  # torchvision: leave out the factor alpha, which softmax's form of the loss has not either


def build_loss(name: str, has_regions: bool, batch_dice: bool, ignore_label: int | None = None) -> nn.Module:
    """Return the loss of this name, for one resolution: dice_ce (nnU-Net's own), soft_dice or focal_ce.

    ``batch_dice`` takes Dice over the whole batch rather than image by image. ValueError for another name.
    """
    if name == "dice_ce":
        return _dice_ce(has_regions, batch_dice, ignore_label)
    if name == "soft_dice":
        return SoftDice(has_regions, batch_dice, ignore_label)
    if name == "focal_ce":
        return FocalCrossEntropy(has_regions, ignore_label)
    raise ValueError(f"no loss is called {name!r}, but dice_ce, soft_dice and focal_ce")


def _dice_options(has_regions: bool, batch_dice: bool) -> dict[str, Any]:
    """Return nnU-Net's settings of the Dice loss: labels leave out the background, which regions do not have."""
    return {"batch_dice": batch_dice, "do_bg": has_regions, "smooth": SMOOTH, "ddp": False}


def _dice_ce(has_regions: bool, batch_dice: bool, ignore_label: int | None) -> nn.Module:
    """Return what nnUNetTrainer._build_loss has before it weighs the depths."""
    dice = _dice_options(has_regions, batch_dice)
    if has_regions:
        return DC_and_BCE_loss({}, dice, use_ignore_label=ignore_label is not None, dice_class=MemoryEfficientSoftDiceLoss)
    return DC_and_CE_loss(dice, {}, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss)


def split_ignored(target: Tensor, has_regions: bool, ignore_label: int | None) -> tuple[Tensor, Tensor | None]:
    """Return the target without the ignore label, and where the loss counts: boolean (batch, 1, *space), None is everywhere."""
    if ignore_label is None:
        return target, None
    if has_regions:
        return target[:, :-1], ~target[:, -1:].bool()
    counted = target != ignore_label
    return torch.where(counted, target, 0), counted


class SoftDice(nn.Module):  # type: ignore[misc]
    """nnU-Net's soft Dice alone: minus the mean Dice of all regions, or of all labels but the background."""

    def __init__(self, has_regions: bool, batch_dice: bool, ignore_label: int | None = None) -> None:
        super().__init__()
        self.has_regions, self.ignore_label = has_regions, ignore_label
        nonlinearity = torch.sigmoid if has_regions else softmax_helper_dim1
        self.dc = MemoryEfficientSoftDiceLoss(nonlinearity, **_dice_options(has_regions, batch_dice))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss, from -1 (perfect) to 0."""
        known, counted = split_ignored(target, self.has_regions, self.ignore_label)
        loss: Tensor = self.dc(logits, known, loss_mask=counted)
        return loss


class FocalCrossEntropy(nn.Module):  # type: ignore[misc]
    """Focal loss (Lin et al. 2017, arXiv:1708.02002, gamma 2) plus cross-entropy, each the mean over what counts.

    For regions every channel is a question of its own (sigmoid); labels exclude each other (softmax). The focal loss is the
    cross-entropy −log p of the truth, times (1 − p)². The paper's factor alpha, which weighs foreground against
    background, is left out, so that both forms are the same loss.
    """

    def __init__(self, has_regions: bool, ignore_label: int | None = None) -> None:
        super().__init__()
        self.has_regions, self.ignore_label = has_regions, ignore_label

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss, 0 (perfect) or more; 0 where nothing counts."""
        known, counted = split_ignored(target, self.has_regions, self.ignore_label)
        logits = logits.float()  # half precision under autocast loses small probabilities
        voxelwise = _regionwise(logits, known.float()) if self.has_regions else _labelwise(logits, known[:, 0].long())
        if counted is None:
            return voxelwise.mean()
        counted = counted.expand_as(voxelwise)
        return (voxelwise * counted).sum() / counted.sum().clamp_min(1)


def _regionwise(logits: Tensor, target: Tensor) -> Tensor:
    focal = sigmoid_focal_loss(logits, target, alpha=NO_CLASS_WEIGHT, gamma=FOCAL_GAMMA)
    cross_entropy: Tensor = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return focal + cross_entropy


def _labelwise(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss of every voxel (batch, 1, *space); ``target`` is (batch, *space)."""
    cross_entropy: Tensor = F.cross_entropy(logits, target, reduction="none")[:, None]
    return cross_entropy * (1 + (1 - torch.exp(-cross_entropy)) ** FOCAL_GAMMA)
