"""Write ``glioflow.yaml``, the conda form of ``glioflow.lock`` for ``snakemake --sdm conda``. Run by ``make lock``.

conda gives Python, pip and a C compiler; every package comes through pip at the lock's version, so that both forms hold the
same builds. pyradiomics is left to ``glioflow.post-deploy.sh``: pip's section of a conda file cannot ask for a build without
isolation.
"""

import re
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LOCK = FOLDER / "glioflow.lock"
CONDA = FOLDER / "glioflow.yaml"
POST_DEPLOYED = ("pyradiomics",)

HEADER = """\
# Written by `make lock` from glioflow.lock: edit glioflow.in instead.
# pyradiomics follows in glioflow.post-deploy.sh, which Snakemake runs in the finished environment.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - c-compiler
  - pip:
"""


def read_pins(lock: str) -> dict[str, str]:
    """Return the version of every package in the text of a compiled lock (or of an ``.in`` file), by lower-case name."""
    return {name.lower(): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, flags=re.MULTILINE)}


def without(lock: str, left_out: Sequence[str]) -> str:
    """Return the text of a lock without the entries of some packages."""
    kept, keeps = [], True
    for line in lock.splitlines(keepends=True):
        if line[:1].isalnum():
            keeps = line.partition("==")[0] not in left_out
        kept += [line] if keeps else []
    return "".join(kept)


def conda_form(lock: str) -> str:
    """Return the conda file that holds the same packages as the text of a lock."""
    pins = [f"      - {name}=={version}\n" for name, version in read_pins(lock).items() if name not in POST_DEPLOYED]
    return HEADER + "".join(pins)


if __name__ == "__main__":
    CONDA.write_text(conda_form(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
