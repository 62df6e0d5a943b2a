"""nnU-Net's folders and commands, as glioflow uses them.

Each model has nnU-Net folders of its own (``models/<model>/nnunet/{raw,preprocessed,results}``), so that models never share
a data set id, and parallel jobs of different models never meet.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glioflow.console import Console, UserError
from glioflow.disk import explain_output
from glioflow.imaging.labels import REGIONS
from glioflow.models.devices import training_precision

PLANS = "glioflowPlans"
TRAINER = "GlioflowTrainer"
TRAINERS = Path(__file__).parent / "trainers"
PREPARE, PREDICT = (Path(__file__).with_name(name) for name in ("prepare.py", "predict.py"))
PROGRESS = "glioflow| "  # what a line of our trainer begins with that is meant for the terminal
PAUSED, UNSAVED = 75, 74  # exit statuses of a training that was asked to stop (glioflow_resume)
PR_SET_PDEATHSIG = 1  # prctl(2)
# Commands that run by a script of ours: prepare.py starts them quickly, predict.py measures the probabilities.
STARTED_BY = {"nnUNetv2_plan_and_preprocess": PREPARE, "nnUNetv2_preprocess": PREPARE, "nnUNetv2_predict": PREDICT}
# A CPU training that gives every activation's memory back to the system spends a tenth of its time on getting it again.
KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**33)}


@dataclass(frozen=True)
class ModelFolders:
    """Where nnU-Net keeps what belongs to a model, below ``models/<model>/nnunet``."""

    model: str
    root: Path
    trainer: str = TRAINER

    @property
    def dataset(self) -> str:
        """nnU-Net's name of the model's data set."""
        return f"Dataset001_{self.model}"

    @property
    def raw(self) -> Path:
        """Folder of dataset.json."""
        return self.root / "raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        """Folder of the fingerprint, the plans, the splits and the preprocessed cases."""
        return self.root / "preprocessed" / self.dataset

    def trained(self, configuration: str) -> Path:
        """Return the folder of a trained configuration's folds."""
        return self.root / "results" / self.dataset / f"{self.trainer}__{PLANS}__{configuration}"

    @property
    def trainers(self) -> str:
        """Folders in which nnU-Net looks for the model's trainer: ours, and the model's own where it has one."""
        own = self.root / "trainer"
        return os.pathsep.join([str(TRAINERS), *([str(own.absolute())] if own.is_dir() else [])])

    def fold(self, configuration: str, fold: int) -> Path:
        """Return nnU-Net's folder of one fold: checkpoints, logs and the predictions of its validation cases."""
        return self.trained(configuration) / f"fold_{fold}"


def environment(folders: ModelFolders, threads: int, device: str) -> dict[str, str]:
    """Return the environment of an nnU-Net command: its folders, our trainers, and as many workers as threads."""
    workers = str(max(1, threads - 1 if device == "cuda" else threads // 2))
    return {
        **os.environ,
        "nnUNet_raw": str((folders.root / "raw").absolute()),
        "nnUNet_preprocessed": str((folders.root / "preprocessed").absolute()),
        "nnUNet_results": str((folders.root / "results").absolute()),
        "nnUNet_extTrainer": folders.trainers,
        "nnUNet_n_proc_DA": workers,
        "nnUNet_def_n_proc": str(threads),
        "nnUNet_compile": "t" if device == "cuda" else "f",
        **({"GLIOFLOW_THREADS": str(threads), **KEPT_MEMORY} if device == "cpu" else {}),
        **({"GLIOFLOW_BFLOAT16": "1"} if training_precision(device) == "bfloat16" else {}),
        "GLIOFLOW_REGIONS": json.dumps(REGIONS),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait made training ten times slower on a busy machine
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "MPLBACKEND": "Agg",
    }


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _handing_on(process: subprocess.Popen[str]) -> Iterator[None]:
    """Hand SIGTERM and SIGINT on to ``process`` instead of ending on them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, lambda *_: process.terminate()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def run_nnunet(
    command: str,
    arguments: Sequence[object],
    env: dict[str, str],
    console: Console,
) -> None:
    """Run an nnU-Net command of this very Python environment, its output going to the log.

    Lines of our trainer meant for people go to the terminal. The command dies with this process, so
    that no training outlives a killed job; SIGTERM and Ctrl-C are handed on to it, and waited for while it saves itself.
    Raises UserError where it has done so, RuntimeError with the last lines printed where the command fails.
    """
    executable = str(Path(sys.executable).with_name(command))
    console.note(" ".join(["$", executable, *map(str, arguments)]))
    starting = [sys.executable, "-P", str(STARTED_BY[command]), command] if command in STARTED_BY else [executable]
    last: deque[str] = deque(maxlen=15)
    with (
        subprocess.Popen(
            [*starting, *map(str, arguments)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=_die_with_parent,
        ) as process,
        _handing_on(process),
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(PROGRESS):
                console.say(line.removeprefix(PROGRESS).rstrip("\n"))
                continue
            console.note(line)
            if line.strip():
                last.append(line.rstrip())
    if process.returncode == PAUSED:
        raise UserError("asked to stop, and saved; run again to go on from there")
    if process.returncode == UNSAVED:
        raise UserError(
            "asked to stop, but nothing could be saved (the line before has the reason); make room, and run again to go on "
            "from the last checkpoint"
        )
    if process.returncode in (-signal.SIGTERM, -signal.SIGINT):
        raise UserError("asked to stop; run again to go on from what was saved")
    if process.returncode and (told := explain_output(last, [Path(env["nnUNet_results"]), Path(env["nnUNet_preprocessed"])])):
        raise UserError(f"{command}: {told}")
    if process.returncode:
        raise RuntimeError(f"{command} ended with exit status {process.returncode}; the last it printed:\n" + "\n".join(last))
