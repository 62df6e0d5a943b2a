"""Running the workflow from tests: in a copy of the checkout, with this very Python environment."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

REPO = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "rules", "scripts", "config", "envs", "profiles", "workflow")
# What a plan needs besides glioflow, imported once for all plans.
PLANNING = multiprocessing.get_context("forkserver")
PLANNING.set_forkserver_preload(["snakemake.cli", "snakemake.workflow", "pandas", "nibabel", "pydantic", "scipy.ndimage"])


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
    """Run snakemake in ``folder`` and return what it printed, both streams together, in ``stdout``."""
    arguments = ("--cores", str(cores), *arguments)
    if "-n" in arguments:
        return _plan(folder, arguments, env)
    command = [str(Path(sys.executable).with_name("snakemake")), *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **env}
    return subprocess.run(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _plan(folder: Path, arguments: tuple[str, ...], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a dry-run in a process forked from one that has imported Snakemake already: most of a plan's time is imports."""
    with tempfile.NamedTemporaryFile("r") as output:
        process = PLANNING.Process(target=_run_snakemake, args=(folder, arguments, {**os.environ, **env}, output.name))
        process.start()
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(list(arguments), process.exitcode, stdout=output.read())


def _run_snakemake(folder: Path, arguments: tuple[str, ...], env: dict[str, str], output: str) -> None:
    """Become ``snakemake arguments`` in ``folder``, as from a shell."""
    with open(output, "w") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["snakemake", *arguments]
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != REPO / "scripts"]
    from snakemake.cli import main

    main(list(arguments))


def planned_jobs(run: subprocess.CompletedProcess[str]) -> Counter[str]:
    """Return how many jobs of each rule a dry-run planned; nothing where there was nothing to be done."""
    assert run.returncode == 0, run.stdout
    table = re.search(r"^Job stats:\n(.*?)\n\n", run.stdout, re.DOTALL | re.MULTILINE)
    if table is None:
        assert "Nothing to be done" in run.stdout, run.stdout
        return Counter()
    rows = (line.split() for line in table[1].splitlines()[2:])
    return Counter({name: int(number) for name, number in rows if name != "total"})
