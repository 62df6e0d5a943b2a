from math import log

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

from glioflow.models.nnunet.trainers.glioflow_losses import build_loss

NAMES = ["dice_ce", "soft_dice", "focal_ce"]

# One region, two voxels: 0.75 of what is there is found, and 0.75 of what is not there is left out.
REGION = torch.tensor([[[[0.75, 0.25]]]]).logit()
REGION_TRUTH = torch.tensor([[[[1.0, 0.0]]]])

# Three labels, two voxels that belong to labels 1 and 0, each with a probability of 0.6.
LABELS = torch.tensor([[0.2, 0.6], [0.6, 0.2], [0.2, 0.2]]).log().reshape(1, 3, 1, 2)
LABELS_TRUTH = torch.tensor([[[[1, 0]]]])

BCE = -log(0.75)
CE = -log(0.6)
LABEL_DICE = (2 * 0.6 / (0.8 + 1) + 0) / 2  # label 1 and the absent label 2, without the background


@pytest.mark.parametrize(
    ("name", "expected"), [("dice_ce", BCE - 0.75), ("soft_dice", -0.75), ("focal_ce", BCE + 0.25**2 * BCE)]
)
def test_losses_of_regions(name, expected):
    assert build_loss(name, True, False)(REGION, REGION_TRUTH).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"), [("dice_ce", CE - LABEL_DICE), ("soft_dice", -LABEL_DICE), ("focal_ce", CE + 0.4**2 * CE)]
)
def test_losses_of_labels(name, expected):
    assert build_loss(name, False, False)(LABELS, LABELS_TRUTH).item() == pytest.approx(expected, abs=1e-4)


def test_dice_ce_is_nnunets_own_loss():
    assert type(build_loss("dice_ce", True, False)) is DC_and_BCE_loss
    assert type(build_loss("dice_ce", False, False)) is DC_and_CE_loss


@pytest.mark.parametrize("name", NAMES)
def test_truth_may_be_boolean_or_whole_or_real_numbers(name):
    regions, labels = build_loss(name, True, False), build_loss(name, False, False)
    assert torch.equal(regions(REGION, REGION_TRUTH.bool()), regions(REGION, REGION_TRUTH))
    assert torch.equal(labels(LABELS, LABELS_TRUTH.to(torch.int16)), labels(LABELS, LABELS_TRUTH.float()))


@pytest.mark.parametrize("name", ["dice_ce", "soft_dice"])
def test_batch_dice_pools_the_images_of_a_batch(name):
    undecided = torch.zeros(2, 1, 1, 2)
    truth = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).reshape(2, 1, 1, 2)
    each, pooled = (build_loss(name, True, batch_dice)(undecided, truth).item() for batch_dice in (False, True))
    assert each - pooled == pytest.approx(2 / 4 - (2 / 3 + 0) / 2, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_ignored_voxels_of_regions_count_nothing(name):
    logits = torch.cat([REGION, torch.full((1, 1, 1, 1), 9.0)], dim=3)
    truth = torch.tensor([[[[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]]])  # the ignore label is the last channel
    alone = build_loss(name, True, False)(REGION, REGION_TRUTH)
    loss = build_loss(name, True, False, ignore_label=4)
    for target in (truth, truth.bool()):
        torch.testing.assert_close(loss(logits, target), alone)


@pytest.mark.parametrize("name", NAMES)
def test_ignored_voxels_of_labels_count_nothing(name):
    logits = torch.cat([LABELS, torch.tensor([9.0, -9.0, 0.0]).reshape(1, 3, 1, 1)], dim=3)
    truth = torch.tensor([[[[1, 0, 3]]]])
    alone = build_loss(name, False, False)(LABELS, LABELS_TRUTH)
    torch.testing.assert_close(build_loss(name, False, False, ignore_label=3)(logits, truth), alone)


def test_several_regions_count_alike_with_and_without_ignored_voxels():
    logits, truth = REGION.repeat(1, 3, 1, 1), REGION_TRUTH.repeat(1, 3, 1, 1)
    nothing_ignored = torch.cat([truth, torch.zeros_like(REGION_TRUTH)], dim=1)
    with_ignore = build_loss("focal_ce", True, False, ignore_label=4)(logits, nothing_ignored)
    torch.testing.assert_close(with_ignore, build_loss("focal_ce", True, False)(REGION, REGION_TRUTH))


def test_a_patch_that_is_ignored_altogether_costs_nothing():
    truth = torch.full_like(LABELS_TRUTH, 3)
    assert build_loss("focal_ce", False, False, ignore_label=3)(LABELS, truth).item() == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("has_regions", "logits", "truth"), [(True, REGION, REGION_TRUTH), (False, LABELS, LABELS_TRUTH)])
def test_steps_down_the_gradient_make_every_loss_smaller(name, has_regions, logits, truth):
    loss = build_loss(name, has_regions, False)
    moving = logits.clone().requires_grad_()
    before = loss(moving, truth)
    before.backward()
    assert loss(logits - 0.1 * moving.grad, truth) < before


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_certainty_costs_a_finite_amount_in_half_precision(name):
    logits = torch.tensor([[[[-30.0, 30.0]]]], dtype=torch.float16, requires_grad=True)
    loss = build_loss(name, True, False)(logits, REGION_TRUTH)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_a_large_patch_in_half_precision_does_not_overflow():
    wrong = torch.tensor([30.0, -30.0], dtype=torch.float16).reshape(1, 2, 1, 1).expand(1, 2, 100, 100)
    loss = build_loss("focal_ce", False, False, ignore_label=2)(wrong, torch.ones(1, 1, 100, 100))
    assert loss.item() == pytest.approx(60 + 60)


def test_losses_are_weighed_over_the_depths_by_nnunets_wrapper():
    loss = build_loss("soft_dice", True, False)
    half_found = torch.zeros_like(REGION)  # Dice 2 * 0.5 / (1 + 1)
    deep = DeepSupervisionWrapper(loss, [2 / 3, 1 / 3])([REGION, half_found], [REGION_TRUTH, REGION_TRUTH])
    assert deep.item() == pytest.approx(-(2 * 0.75 + 0.5) / 3, abs=1e-4)


def test_an_unknown_loss_is_refused_by_name():
    with pytest.raises(ValueError, match="'dice'"):
        build_loss("dice", True, False)
