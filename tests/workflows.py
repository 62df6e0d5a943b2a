"""Running the workflow from tests: in a copy of the checkout, with this very Python environment."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import preloaded
import pytest
from filelock import FileLock

REPO = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "rules", "scripts", "config", "envs", "profiles", "workflow")


def copy_checkout(target: Path) -> Path:
    """Copy what a run needs of the checkout to ``target``, with new times, as a clone would."""
    for part in PARTS:
        source = REPO / part
        if source.is_dir():
            shutil.copytree(source, target / part, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / part)
    return target


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], str]) -> tuple[Path, str]:
    """Return a checkout in which ``build`` has run once for all of pytest's workers, and what it returned.

    Where ``GLIOFLOW_TEST_STUDIES`` names a folder, calls of pytest one after the other share it, too.
    """
    folder = factory.getbasetemp()
    of_this_call = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    shared = Path(os.environ.get("GLIOFLOW_TEST_STUDIES", of_this_call)) / name
    checkout, said = shared / "glioflow", shared / "said.txt"
    with FileLock(f"{shared}.lock"):
        if not said.exists():
            shutil.rmtree(shared, ignore_errors=True)
            text = build(copy_checkout(checkout))
            said.write_text(text)
    return checkout, said.read_text()


def snakemake(folder: Path, *arguments: str, cores: int = 2, **env: str) -> subprocess.CompletedProcess[str]:
    """Run snakemake in ``folder``, with libraries preloaded; ``stdout`` of what is returned has both streams together."""
    status, said = preloaded.run(folder, ("--cores", str(cores), *arguments), {**os.environ, **env})
    return subprocess.CompletedProcess(list(arguments), status, stdout=said)


def snakemake_from_shell(folder: Path, *arguments: str, cores: int = 2) -> subprocess.CompletedProcess[str]:
    """Run snakemake as users do, which takes longer, and return the same: where it counts what a job starts and uses."""
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", str(cores), *arguments]
    return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def planned_jobs(run: subprocess.CompletedProcess[str]) -> Counter[str]:
    """Return how many jobs of each rule a dry-run planned; nothing where there was nothing to be done."""
    assert run.returncode == 0, run.stdout
    table = re.search(r"^Job stats:\n(.*?)\n\n", run.stdout, re.DOTALL | re.MULTILINE)
    if table is None:
        assert "Nothing to be done" in run.stdout, run.stdout
        return Counter()
    rows = (line.split() for line in table[1].splitlines()[2:])
    return Counter({name: int(number) for name, number in rows if name != "total"})
