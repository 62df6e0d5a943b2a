"""The optimisers and learning-rate schedules a study can choose.

A schedule is a pure function of the epoch, so that a training taken up again goes on with the rate it would have had.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import Tensor

# lessw2020/Ranger-Deep-Learning-Optimizer, ranger/ranger.py, version 20.4.11: the defaults of class Ranger.
RANGER_BETAS, RANGER_EPS = (0.95, 0.999), 1e-5
LOOKAHEAD_STEPS, LOOKAHEAD_SHARE = 6, 0.5

# lescientifik/open_brats2020, src/train.py: the cosine ends this many epochs after training does, for all optimisers but
# Ranger, and this many after a cycle of weight averaging does.
COSINE_TAIL, SWA_TAIL = 30, 10


class Ranger(torch.optim.RAdam):  # type: ignore[misc]
    """Ranger: RAdam, lookahead and centralised gradients, with the numbers of lessw2020's ``ranger.py``.

    Gradients of weights with two axes or more lose their mean over all axes but the first (Yong et al. 2020,
    arXiv:2004.01461). RAdam (Liu et al. 2019, arXiv:1908.03265) takes the step, weight decay apart from it. After every
    6 steps the slow weights, which begin as the initial ones, go half the way to where these led, and training goes on from
    there (Zhang et al. 2019, arXiv:1907.08610). Slow weights and the count of steps are in the state of each parameter, and so
    in ``state_dict``.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(
            params, lr=lr, betas=RANGER_BETAS, eps=RANGER_EPS, weight_decay=weight_decay, decoupled_weight_decay=True
        )

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; ``closure`` computes the loss again, which is then returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = [one for group in self.param_groups for one in group["params"] if one.grad is not None]
        initial = {one: one.clone() for one in moving if not self.state[one]}
        for one in moving:
            if one.ndim > 1:
                one.grad.sub_(one.grad.mean(dim=tuple(range(1, one.ndim)), keepdim=True))
        super().step()
        for one in moving:
            state = self.state[one]
            if one in initial:  # not before RAdam's step, which takes a state with anything in it for its own
                state["slow"] = initial[one]
            if int(state["step"]) % LOOKAHEAD_STEPS == 0:
                one.copy_(state["slow"].lerp_(one, LOOKAHEAD_SHARE))
        return loss


def build_optimiser(name: str, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return the optimiser of this name: sgd (as nnU-Net's own trainer has it), adam, adamw (torch's defaults) or ranger.

    ValueError for another name.
    """
    if name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=0.99, nesterov=True, weight_decay=weight_decay)
    if name == "adam":
        return torch.optim.Adam(parameters, lr, weight_decay=weight_decay)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay)
    if name == "ranger":
        return Ranger(parameters, lr, weight_decay)
    raise ValueError(f"no optimiser is called {name!r}, but sgd, adam, adamw and ranger")


class Schedule(Protocol):
    """What nnU-Net's trainer asks of a schedule."""

    def step(self, current_epoch: int) -> None:
        """Give the optimiser the learning rate of an epoch, counted from 0."""


class EpochSchedule:
    """A schedule that sets the rate ``rate(epoch)`` in every group of an optimiser's parameters."""

    def __init__(self, optimiser: torch.optim.Optimizer, rate: Callable[[int], float]) -> None:
        self.optimiser, self.rate = optimiser, rate

    def step(self, current_epoch: int) -> None:
        """Give the optimiser the learning rate of an epoch, counted from 0."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(current_epoch)


def build_schedule(name: str, optimiser: torch.optim.Optimizer, initial_lr: float, epochs: int) -> Schedule:
    """Return the schedule of this name over a training of ``epochs`` epochs: poly (nnU-Net's own), cosine or constant.

    The cosine is open_brats2020's (see ``cosine_rate``). ValueError for another name.
    """
    if name == "poly":
        schedule: Schedule = PolyLRScheduler(optimiser, initial_lr, epochs)
        return schedule
    if name == "cosine":
        late = isinstance(optimiser, Ranger)
        return EpochSchedule(optimiser, lambda epoch: cosine_rate(initial_lr, epoch, epochs, late))
    if name == "constant":
        return EpochSchedule(optimiser, lambda epoch: initial_lr)
    raise ValueError(f"no schedule is called {name!r}, but poly, cosine and constant")


def cosine_rate(initial_lr: float, epoch: int, epochs: int, late: bool) -> float:
    """Return the learning rate of an epoch, counted from 0, in a cosine schedule as in open_brats2020's ``train.py``.

    It falls from the first epoch, towards 0 at 30 epochs after the last; ``late``, as there with Ranger: it is constant until
    the epoch after the middle one is over, then falls, over as many epochs as half of them. Warming up is left out.
    """
    if not late:
        return _cosine(initial_lr, epoch, epochs + COSINE_TAIL)
    steps = max(epoch - epochs // 2 - 1, 0)  # epochs over by now with a number greater than half of all, counted from 0
    return _cosine(initial_lr, steps, max(round(epochs * 0.5), 1))


def swa_learning_rate(initial_lr: float, epoch: int, epochs_per_cycle: int) -> float:
    """Return the learning rate in cycles of stochastic weight averaging; ``epoch`` counts from the first cycle's first, 0.

    Every cycle begins at ``initial_lr`` (open_brats2020: half the training's own, in cycles of 30 epochs) and falls as a
    cosine that would end 10 epochs after the cycle does.
    """
    return _cosine(initial_lr, epoch % epochs_per_cycle, epochs_per_cycle + SWA_TAIL)


def _cosine(initial_lr: float, step: int, steps: int) -> float:
    return initial_lr * (1 + math.cos(math.pi * step / steps)) / 2
