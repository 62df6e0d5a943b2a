"""What lets a training stop anywhere and go on as if it had not: random states, a wish to stop, files written whole.

This module imports torch and numpy only: its folder is all that bare nnU-Net needs to predict with a model.
"""

import contextlib
import os
import random
import signal
from typing import Any

import numpy as np
import torch

# Exit statuses of a training that was asked to stop, after sysexits.h: saved (EX_TEMPFAIL), or not to be saved (EX_IOERR).
PAUSED, UNSAVED = 75, 74
LATEST, PREVIOUS = "checkpoint_latest.pth", "checkpoint_previous.pth"


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random numbers, those of every GPU included."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Return the state of all random numbers, to be restored by ``restore_random_state``."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: dict[str, Any]) -> None:
    """Put all random numbers back to where ``random_state`` found them."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


class StopRequest:
    """Whether somebody has asked this process to stop, by SIGTERM (a scheduler) or SIGINT (Ctrl-C)."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        """Take these signals for a wish from now on, instead of dying of them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def _hear(self, *_: Any) -> None:
        self.asked = True


def put_in_place(temporary: str, filename: str) -> None:
    """Rename a finished checkpoint to its name; the latest one before it is kept as ``PREVIOUS``."""
    folder, name = os.path.split(filename)
    if name == LATEST and os.path.exists(filename):  # noqa: PTH110 - nnU-Net's paths are strings
        os.replace(filename, os.path.join(folder, PREVIOUS))  # noqa: PTH118
    os.replace(temporary, filename)


def remove(filename: str) -> None:
    """Remove a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(filename)  # noqa: PTH107
