"""Which device a job works on: one GPU of its own, or the CPU.

On one machine several folds run side by side, and Snakemake gives them no device. So a job claims one: a lock file for each
GPU, in a folder of the user's own on this host. The lock is the process's: however the process ends, the GPU is free again.
"""

import fcntl
import os
import platform
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from glioflow.console import Console, UserError, count

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 1.0
PROCESSORS = Path("/proc/cpuinfo")


def read_processor(file: Path = PROCESSORS) -> dict[str, Any]:
    """Return the ``name`` of this machine's processor and how many ``cores`` it has, those that share one counted once.

    Where the kernel does not say, the name is that of the architecture, and every thread is a core.
    """
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    threads = [dict(re.findall(r"^([^\t:]+)\s*:[ ]*(.*)$", block, re.MULTILINE)) for block in text.split("\n\n")]
    names = [thread["model name"] for thread in threads if thread.get("model name")]
    cores = {(thread.get("physical id"), thread["core id"]) for thread in threads if "core id" in thread}
    return {"name": " ".join((names or [platform.machine()])[0].split()), "cores": len(cores) or os.cpu_count() or 1}


def has_bfloat16(file: Path = PROCESSORS) -> bool:
    """Tell whether this machine's processor multiplies bfloat16 numbers by instructions of its own (AVX-512 BF16 or AMX)."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return flags is not None and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags[1].split())


def training_precision(device: str) -> str:
    """Return in which numbers the layers of a network compute while it is trained; weights and loss are float32 anyhow."""
    if device != "cpu":
        return "float16"  # what nnU-Net asks torch for on a GPU
    return "bfloat16" if has_bfloat16() else "float32"


def list_devices(environment: Mapping[str, str], number: int) -> list[str]:
    """Return the GPUs a job may take, as entries of CUDA_VISIBLE_DEVICES: numbers, or UUIDs of GPUs and of MIG slices.

    ``number`` is how many CUDA can use, of those that the variable names. CUDA counts up to the first entry that it does not
    know, so these are the first ones; without the variable they are numbered from 0.
    """
    if VISIBLE in environment:
        return [entry.strip() for entry in environment[VISIBLE].split(",")][:number]
    return [str(index) for index in range(number)]


def identify(entry: str, uuids: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return a name of the GPU that ``entry`` stands for which is the same in every process of this host.

    ``uuids`` are those of the GPUs that this process may see, in their order. Numbers alone will not do: where Slurm confines
    jobs by cgroups, each has a GPU 0, and it is another one. A UUID may be shortened, as CUDA allows.
    """
    if entry.isdigit() and int(entry) < len(uuids):
        return uuids[int(entry)]
    if entry.startswith("GPU-"):
        return next((uuid for uuid in uuids if uuid.startswith(entry)), entry)
    if entry.isdigit() and "SLURM_JOB_ID" in environment:
        return f"{environment['SLURM_JOB_ID']}-{entry}"
    return entry


def lock_folder() -> Path:
    """Return the folder of the user's locks on this host. Raises UserError where the folder is someone else's."""
    folder = Path(tempfile.gettempdir()) / f"glioflow-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(f"{folder}, the folder for locks of GPUs, is not a folder of yours; remove it, or set TMPDIR")
    folder.chmod(0o700)
    return folder


def _lock(path: Path) -> IO[str] | None:
    """Return the lock file, open and locked, or None where another process holds it."""
    stream = path.open("a")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    return stream


@contextmanager
def claim_one(devices: Mapping[str, str], folder: Path, console: Console) -> Iterator[str]:
    """Yield the first device that no other process has claimed, waiting for one where all are taken.

    ``devices`` maps each entry of CUDA_VISIBLE_DEVICES to the GPU's name on this host, after which its lock in ``folder`` is
    called.
    """
    locks = {entry: folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.lock" for entry, name in devices.items()}
    said = False
    while True:
        for entry, path in locks.items():
            if stream := _lock(path):
                with stream:
                    yield entry
                return
        if not said:
            all_taken = "the GPU is" if len(locks) == 1 else f"all {len(locks)} GPUs are"
            console.say(f"{all_taken} taken by other jobs of yours on this machine; waiting for one")
            said = True
        time.sleep(POLL_SECONDS)


def gpu_uuids() -> list[str]:
    """Return the UUIDs of the GPUs that the driver shows this process, in its order; none where nvidia-smi cannot list them."""
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return []
    return shown.stdout.split()


def explain_absence(environment: Mapping[str, str], uuids: Sequence[str], torch_version: str, cuda: str | None) -> str:
    """Return what was found instead of a GPU that torch can use; ``cuda`` is the CUDA version that torch was built with."""
    driver = f"nvidia-smi lists {count(len(uuids), 'GPU')}" if uuids else "nvidia-smi lists none"
    built = f"built for CUDA {cuda}" if cuda else "built without CUDA"
    visible = f"{VISIBLE} is {environment[VISIBLE]!r}" if VISIBLE in environment else f"{VISIBLE} is not set"
    return f"torch {torch_version} ({built}) finds no GPU, {driver}, {visible}"


@contextmanager
def claim_device(wanted: str, console: Console) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the device for a model's ``device`` (auto, cuda, cpu) and what to add to the environment of nnU-Net's commands.

    The device is ``cuda`` or ``cpu``. A GPU is the job's own until the block ends; where all are taken, the job waits. Says so
    where ``auto`` finds none. Raises UserError where ``cuda`` finds none.
    """
    if wanted == "cpu":
        yield "cpu", {}
        return
    import torch

    devices, uuids = list_devices(os.environ, torch.cuda.device_count()), gpu_uuids()
    if not devices:
        found = explain_absence(os.environ, uuids, torch.__version__, torch.version.cuda)
        if wanted == "cuda":
            raise UserError(f"device: cuda, but {found}; device: auto or cpu would work on the CPU")
        console.say(f"working on the CPU: {found} (device: cpu chooses it without this line)")
        yield "cpu", {}
        return
    names = {entry: identify(entry, uuids, os.environ) for entry in devices}
    with claim_one(names, lock_folder(), console) as entry:
        console.note(f"working on GPU {entry} ({names[entry]})")
        yield "cuda", {VISIBLE: entry}
