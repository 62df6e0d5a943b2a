"""Running the workflow from tests: in a copy of the checkout, with this very Python environment."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

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


def snakemake(folder: Path, *arguments: str, cores: int = 2, **env: str) -> subprocess.CompletedProcess[str]:
    """Run snakemake in ``folder`` and return what it printed, both streams together, in ``stdout``."""
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", str(cores), *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **env}
    return subprocess.run(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def planned_jobs(run: subprocess.CompletedProcess[str]) -> Counter[str]:
    """Return how many jobs of each rule a dry-run planned; nothing where there was nothing to be done."""
    assert run.returncode == 0, run.stdout
    table = re.search(r"^Job stats:\n(.*?)\n\n", run.stdout, re.DOTALL | re.MULTILINE)
    if table is None:
        assert "Nothing to be done" in run.stdout, run.stdout
        return Counter()
    rows = (line.split() for line in table[1].splitlines()[2:])
    return Counter({name: int(number) for name, number in rows if name != "total"})
