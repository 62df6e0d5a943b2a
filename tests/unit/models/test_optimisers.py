import io
from math import sqrt

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from glioflow.models.nnunet.trainers.glioflow_optimisers import build_optimiser, build_schedule, swa_learning_rate

NAMES = ["sgd", "adam", "adamw", "ranger"]


def number(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor([value], dtype=torch.float64))


def ranger(value: float, gradients: list[float], lr: float, decay: float) -> list[float]:
    """One number under Ranger, written from the published ranger.py, before and after every step."""
    slow, mean, square, course = value, 0.0, 0.0, [value]
    longest = 2 / (1 - 0.999) - 1
    for step, gradient in enumerate(gradients, start=1):
        square = 0.999 * square + 0.001 * gradient**2
        mean = 0.95 * mean + 0.05 * gradient
        length = longest - 2 * step * 0.999**step / (1 - 0.999**step)
        value -= decay * lr * value
        size = lr / (1 - 0.95**step)
        if length > 5:
            known = (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
            value -= size * sqrt((1 - 0.999**step) * known) * mean / (sqrt(square) + 1e-5)
        else:
            value -= size * mean
        if step % 6 == 0:
            slow += 0.5 * (value - slow)
            value = slow
        course.append(value)
    return course


def take_steps(optimiser, weights: list[nn.Parameter], steps: range) -> None:
    """Take steps with gradients that depend on the weights and on the step."""
    for step in steps:
        optimiser.zero_grad(set_to_none=True)
        for one in weights:
            one.grad = one.detach() * 0.3 + torch.sin(torch.arange(one.numel()) + step).reshape(one.shape)
        optimiser.step()


def fresh_weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2, 3), (3,))]


def test_rangers_first_step_goes_along_the_gradient_and_shrinks_the_weight_apart_from_it():
    weight = number(1.0)
    optimiser = build_optimiser("ranger", [weight], 0.1, 0.5)
    weight.grad = torch.tensor([2.0], dtype=torch.float64)
    optimiser.step()
    assert weight.item() == pytest.approx(1 - 0.1 * 0.5 * 1 - 0.1 * 2)


def test_ranger_takes_the_steps_of_the_published_one():
    gradients = [2.0, -1.0, 0.5, 3.0, 1.0, 1.5, -2.0, 0.1, 0.7, 1.0, -0.3, 2.5, 1.0, 0.2]
    weight = number(1.0)
    optimiser, course = build_optimiser("ranger", [weight], 0.1, 0.02), [1.0]
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        course.append(weight.item())
    assert course == pytest.approx(ranger(1.0, gradients, 0.1, 0.02), rel=1e-12)


def test_ranger_takes_the_mean_off_the_gradients_of_each_output_but_not_off_a_bias():
    weight, bias = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    optimiser = build_optimiser("ranger", [weight, bias], 0.1, 0.0)
    weight.grad, bias.grad = torch.tensor([[1.0, 3.0], [2.0, 2.0]]), torch.tensor([1.0, 3.0])
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([[0.1, -0.1], [0.0, 0.0]]))
    torch.testing.assert_close(bias.detach(), torch.tensor([-0.1, -0.3]))


def test_ranger_leaves_weights_without_a_gradient_alone():
    moving, still = number(1.0), number(1.0)
    optimiser = build_optimiser("ranger", [moving, still], 0.1, 0.5)
    for _ in range(7):
        moving.grad = torch.ones_like(moving)
        optimiser.step()
    assert still.item() == 1
    assert moving.item() < 1


def test_ranger_works_out_the_loss_of_a_closure_with_gradients():
    weight = number(2.0)
    optimiser = build_optimiser("ranger", [weight], 0.1, 0.0)

    def closure() -> torch.Tensor:
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimiser.step(closure).item() == 4
    assert weight.item() == pytest.approx(2 - 0.1 * 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("interrupted", [0, 5, 6, 8])
def test_a_training_taken_up_from_a_file_ends_in_the_very_same_weights(name, interrupted):
    whole = fresh_weights()
    in_one_go = build_optimiser(name, whole, 0.05, 0.01)
    take_steps(in_one_go, whole, range(13))

    weights = fresh_weights()
    optimiser = build_optimiser(name, weights, 0.05, 0.01)
    take_steps(optimiser, weights, range(interrupted))
    file = io.BytesIO()
    torch.save({"weights": [one.detach() for one in weights], "optimiser": optimiser.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=False)
    resumed = [nn.Parameter(one) for one in saved["weights"]]
    again = build_optimiser(name, resumed, 0.9, 0.9)  # whatever it was built with
    again.load_state_dict(saved["optimiser"])
    take_steps(again, resumed, range(interrupted, 13))

    assert all(torch.equal(one, other) for one, other in zip(resumed, whole, strict=True))
    for one, other in zip(resumed, whole, strict=True):
        state, expected = again.state[one], in_one_go.state[other]
        assert state.keys() == expected.keys()
        assert all(torch.equal(torch.as_tensor(state[key]), torch.as_tensor(expected[key])) for key in state)


def test_rangers_slow_weights_and_its_count_are_saved():
    weights = fresh_weights()
    optimiser = build_optimiser("ranger", weights, 0.05, 0.0)
    take_steps(optimiser, weights, range(4))
    saved = optimiser.state_dict()["state"]
    assert torch.equal(saved[0]["slow"], fresh_weights()[0])
    assert saved[1]["step"] == 4


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_set_from_outside_is_the_one_that_counts(name):
    weights = fresh_weights()
    optimiser = build_optimiser(name, weights, 0.05, 0.01)
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    take_steps(optimiser, weights, range(3))
    assert all(torch.equal(one, other) for one, other in zip(weights, fresh_weights(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_scaled_gradients_of_mixed_precision_lead_to_the_same_weights(name):
    def train(scaler: torch.amp.GradScaler | None) -> torch.Tensor:
        weight = nn.Parameter(torch.tensor([[1.0, -2.0, 0.5]]))
        optimiser = build_optimiser(name, [weight], 0.01, 0.01)
        for step in range(8):
            optimiser.zero_grad(set_to_none=True)
            loss = ((weight * (step + 1)).square()).sum()
            if scaler is None:
                loss.backward()
                optimiser.step()
                continue
            scaler.scale(loss).backward()
            scaler.unscale_(optimiser)
            scaler.step(optimiser)
            scaler.update()
        return weight.detach()

    assert torch.equal(train(torch.amp.GradScaler("cpu", init_scale=8.0)), train(None))


def test_a_step_with_infinite_gradients_is_left_out_and_not_counted():
    weights = fresh_weights()
    optimiser, scaler = build_optimiser("ranger", weights, 0.05, 0.0), torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(weights[0].sum() * float("inf")).backward()
    scaler.unscale_(optimiser)
    scaler.step(optimiser)
    scaler.update()
    assert torch.equal(weights[0], fresh_weights()[0])
    assert not optimiser.state


def test_sgd_is_nnunets():
    group = build_optimiser("sgd", fresh_weights(), 0.01, 3e-5).param_groups[0]
    assert [group[key] for key in ("lr", "momentum", "nesterov", "weight_decay")] == [0.01, 0.99, True, 3e-5]


def test_adamw_decays_weights_apart_from_the_gradient_and_adam_does_not():
    for name, expected in (("adamw", 1 - 0.1 * 0.5), ("adam", 1 - 0.1)):
        weight = number(1.0)
        weight.grad = torch.zeros_like(weight)
        build_optimiser(name, [weight], 0.1, 0.5).step()
        assert weight.item() == pytest.approx(expected, rel=1e-6)


def rates(name: str, optimiser: str, epochs: int) -> list[float]:
    """Return the rate of every epoch; they are asked for in a wild order, which must not matter."""
    built = build_optimiser(optimiser, [number(0.0)], 0.3, 0.0)
    schedule, found = build_schedule(name, built, 0.02, epochs), {}
    for epoch in sorted(range(epochs), key=lambda epoch: (epoch * 7) % 5):
        schedule.step(epoch)
        found[epoch] = built.param_groups[0]["lr"]
    return [found[epoch] for epoch in range(epochs)]


def test_poly_is_nnunets():
    assert rates("poly", "sgd", 4) == pytest.approx([0.02 * (1 - epoch / 4) ** 0.9 for epoch in range(4)])


def test_constant_stays():
    assert rates("constant", "adamw", 3) == [0.02] * 3


def published(epochs: int, rangered: bool) -> list[float]:
    """The rates of open_brats2020's train.py: torch's cosine, stepped at the end of epochs as its loop does."""
    optimiser, found = torch.optim.SGD([number(0.0)], 0.02), []
    scheduler = CosineAnnealingLR(optimiser, round(epochs * 0.5) if rangered else epochs + 30)
    for epoch in range(epochs):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if not rangered or epoch / epochs > 0.5:
            scheduler.step()
    return found


@pytest.mark.parametrize("epochs", [200, 11, 2])
@pytest.mark.parametrize("optimiser", ["ranger", "adam"])
def test_cosine_is_that_of_open_brats2020(epochs, optimiser):
    assert rates("cosine", optimiser, epochs) == pytest.approx(published(epochs, optimiser == "ranger"), rel=1e-9)


def test_cosine_with_ranger_stays_for_the_first_half():
    found = rates("cosine", "ranger", 200)
    assert found[:102] == [0.02] * 102
    assert found[102] < 0.02
    assert found[199] < 0.02 / 500


def test_a_single_epoch_has_the_initial_rate():
    assert rates("cosine", "ranger", 1) == [0.02]


def test_averaging_restarts_every_cycle_as_open_brats2020_does():
    found = []
    for _ in range(2):
        optimiser = torch.optim.Adam([number(0.0)], 0.01)
        scheduler = CosineAnnealingLR(optimiser, 30 + 10)
        for _ in range(30):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
    assert [swa_learning_rate(0.01, epoch, 30) for epoch in range(60)] == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("build", [build_optimiser, build_schedule])
def test_an_unknown_name_is_refused(build):
    with pytest.raises(ValueError, match="'best'"):
        build("best", [number(0.0)], 0.1, 1)
