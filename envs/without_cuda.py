"""Print a lock without torch and all that CUDA brings, or what torch for CPUs alone is called; for ``make setup TORCH=cpu``.

Usage: .venv/bin/python envs/without_cuda.py LOCK [--torch]

torch and torchvision for CPUs are the same releases under a local version (``2.15.0+cpu``), on an index of PyTorch's own. The
lock has no hash of theirs; all else keeps its hashes.
"""

import sys
from pathlib import Path

from write_conda import read_pins, without

BUILT_FOR_CPUS = ("torch", "torchvision")


def is_for_gpus(package: str) -> bool:
    """Tell whether a package of the lock is there for GPUs alone."""
    return package.startswith(("nvidia-", "cuda-")) or package == "triton"


def cpu_lock(lock: str) -> str:
    """Return the text of a lock without torch, torchvision and what is there for GPUs alone."""
    return without(lock, [name for name in read_pins(lock) if name in BUILT_FOR_CPUS or is_for_gpus(name)])


def cpu_requirements(lock: str) -> list[str]:
    """Return the requirements of torch and torchvision for CPUs, of the lock's releases."""
    pins = read_pins(lock)
    return [f"{name}=={pins[name]}+cpu" for name in BUILT_FOR_CPUS if name in pins]


if __name__ == "__main__":
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    sys.stdout.write("\n".join(cpu_requirements(text)) + "\n" if "--torch" in sys.argv[2:] else cpu_lock(text))
