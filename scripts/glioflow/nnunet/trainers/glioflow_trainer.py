"""The trainer of glioflow's models, found by nnU-Net through ``nnUNet_extTrainer``, at inference too.

Everything it needs stands in the plans, in the block ``glioflow``: a trained model is self-describing. This module imports
nnU-Net only, so that the folder alone is enough to predict with plain ``nnUNetv2_predict``.
"""

import ctypes
import json
import os
import random
import signal
import sys
import time
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

PROGRESS = "glioflow| "
PR_SET_PDEATHSIG = 1  # prctl(2)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if "GLIOFLOW_THREADS" in os.environ:  # on a CPU nnU-Net's commands, before they look for this class, take every core there is
    torch.set_num_threads(int(os.environ["GLIOFLOW_THREADS"]))

if sys.platform == "linux":  # a killed training leaves no worker of its data loaders behind
    os.register_at_fork(after_in_child=_die_with_parent)


class GlioflowTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer with its settings taken from the plans, seeded, with atomic checkpoints and readable progress."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        settings = plans["glioflow"]
        self.num_epochs = settings["epochs"]
        self.num_iterations_per_epoch = settings["iterations_per_epoch"]
        self.num_val_iterations_per_epoch = settings["validation_iterations"]
        self.initial_lr = settings["initial_lr"]
        self.save_every = settings["save_every"]
        self.seed = settings["seed"]
        self.tta = settings["tta"]
        self.regions = settings["regions"]

    def initialize(self) -> None:
        """Build the network from the seed, the same in every run."""
        torch.manual_seed(self.seed + 1000 * int(self.fold))
        super().initialize()

    def on_train_start(self) -> None:
        """Seed sampling and augmentation; a resumed training draws on from the epoch it resumes at."""
        seed = self.seed + 1000 * int(self.fold) + 100_000 * self.current_epoch
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        super().on_train_start()
        self._first_epoch, self._started = self.current_epoch, time.monotonic()

    def plot_network_architecture(self) -> None:
        """Draw nothing: it needs a package that is no longer kept."""

    def save_checkpoint(self, filename: str) -> None:
        """Write the checkpoint under a temporary name and rename it, so that a kill never leaves half of one."""
        temporary = f"{filename}.writing"
        super().save_checkpoint(temporary)
        if os.path.exists(temporary):  # noqa: PTH110 - nnU-Net's paths are strings
            os.replace(temporary, filename)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the fold's validation cases, mirrored or not as the plans say; the checkpoint keeps the axes either way."""
        axes: tuple[int, ...] | None = self.inference_allowed_mirroring_axes  # type: ignore[has-type]
        self.inference_allowed_mirroring_axes = axes if self.tta else None
        try:
            super().perform_actual_validation(save_probabilities)
        finally:
            self.inference_allowed_mirroring_axes = axes

    def write_curves(self) -> None:
        """Write the training's course so far to curves.json, beside the checkpoints."""
        log = self.logger.get_checkpoint()
        epochs = [
            {
                "epoch": epoch,
                "train_loss": float(log["train_losses"][epoch]),
                "val_loss": float(log["val_losses"][epoch]),
                **{
                    f"pseudo_dice_{region}": float(dice)
                    for region, dice in zip(self.regions, log["dice_per_class_or_region"][epoch], strict=True)
                },
                "learning_rate": float(log["lrs"][epoch]),
                "seconds": float(log["epoch_end_timestamps"][epoch] - log["epoch_start_timestamps"][epoch]),
            }
            for epoch in range(self.current_epoch)
        ]
        target = os.path.join(self.output_folder, "curves.json")  # noqa: PTH118
        with open(f"{target}.writing", "w", encoding="utf-8") as stream:
            json.dump(epochs, stream)
        os.replace(f"{target}.writing", target)

    def on_epoch_end(self) -> None:
        """Print one line a person can read: losses, pseudo-Dice of each region, pace, time left."""
        super().on_epoch_end()
        self.write_curves()
        done = self.current_epoch - self._first_epoch
        pace = (time.monotonic() - self._started) / done
        minutes, seconds = divmod(round(pace * (self.num_epochs - self.current_epoch)), 60)
        hours, minutes = divmod(minutes, 60)
        value = self.logger.get_value
        dice = " ".join(
            f"{region} {score:.2f}"
            for region, score in zip(self.regions, value("dice_per_class_or_region", step=-1), strict=True)
        )
        print(
            f"{PROGRESS}epoch {self.current_epoch}/{self.num_epochs}: loss {value('train_losses', step=-1):.3f} "
            f"(validation {value('val_losses', step=-1):.3f}), pseudo-Dice {dice}, {pace:.1f} s an epoch, "
            f"{f'{hours}:{minutes:02d}' if hours else minutes}:{seconds:02d} left",
            flush=True,
        )
