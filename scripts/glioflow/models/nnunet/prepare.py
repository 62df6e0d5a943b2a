"""nnU-Net's planning and preprocessing, started so that their time goes to the cases.

    python prepare.py nnUNetv2_plan_and_preprocess|nnUNetv2_preprocess arguments...

Workers are forked, not spawned: a spawned worker imports torch and nnU-Net again, which takes seconds. Forking is safe here,
because nothing has used a GPU or threads before. The fingerprint draws fewer intensities.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from importlib.metadata import entry_points

from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor

# nnU-Net draws 1e8 intensities from the foreground, with replacement, and sorts them for 20 s; only CT is normalised by them.
SAMPLED_INTENSITIES = 1e6
PR_SET_PDEATHSIG = 1  # prctl(2)


class QuickFingerprint(fingerprint_extractor.DatasetFingerprintExtractor):  # type: ignore[misc]
    """nnU-Net's fingerprint of a data set, from fewer intensities."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.num_foreground_voxels_for_intensitystats = SAMPLED_INTENSITIES


def fork_workers() -> None:
    """Let nnU-Net's pools fork, whatever start method it asks for; no worker outlives a killed parent."""
    os.register_at_fork(after_in_child=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    forking = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: forking  # type: ignore[assignment, misc]


def main(command: str, *arguments: str) -> None:
    """Run one of nnU-Net's commands in this process."""
    if command == "nnUNetv2_plan_and_preprocess":
        fingerprint_extractor.QuickFingerprint = QuickFingerprint  # nnU-Net looks for the class in modules of its own
        arguments = (*arguments, "-fpe", QuickFingerprint.__name__)
    fork_workers()
    sys.argv = [command, *arguments]
    (entry,) = entry_points(group="console_scripts", name=command)
    entry.load()()


if __name__ == "__main__":
    main(*sys.argv[1:])
