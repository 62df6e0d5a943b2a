"""Making again what follows from tables: the steps of a bundle, run by their scripts in the folder that it is laid out in.

``python -m glioflow.bundle.replay FOLDER WHICH`` with the ``scripts`` folder of the workflow on PYTHONPATH, so that all code is
that workflow's. A step runs in a process of its own, as a job does. Outputs get the time at which the study made them: the
report of a study that trains nothing shows it.
"""

import importlib
import json
import multiprocessing
import os
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from glioflow.bundle.steps import RESULTS, Step
from glioflow.code_fingerprint import SCRIPTS
from glioflow.console import Console, UserError
from glioflow.stored_paths import set_results_folder

STEPS = "steps.json"  # in a bundle: the steps, makers first
# What most scripts import besides glioflow: once for all steps, for each of them would take a second over it.
LIBRARIES = ("jinja2", "matplotlib.pyplot", "nibabel", "pandas", "pydantic", "scipy.ndimage", "scipy.stats", "yaml")
TABLES, IMAGES = "tables", "images"  # which steps: those that follow from tables, and those that read masks and images


class Named(list[Any]):
    """Values in order, some with a name, as Snakemake hands them to a script."""

    def __init__(self, pairs: Sequence[Sequence[Any]]) -> None:
        self.names: dict[str, Any] = {}
        for name, value in pairs:
            self.extend(value if isinstance(value, list) and name is None else [value])
            if name is not None:
                self.names[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["names"][name]
        except KeyError:
            raise AttributeError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value by its name."""
        return self.names.get(name, default)

    def keys(self) -> Iterator[str]:
        """Return the names."""
        return iter(self.names)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Return the named values."""
        return iter(self.names.items())


class Files(Named):
    """Paths: a list under a name counts as its paths."""

    def __init__(self, pairs: Sequence[Sequence[Any]]) -> None:
        super().__init__(pairs)
        self[:] = [path for _, value in pairs for path in (value if isinstance(value, list) else [value])]


def script_of(rule: str) -> Path:
    """Return the script of a rule; a module's rules have a prefix before the script's name."""
    found = [path for path in SCRIPTS.glob("*.py") if rule == path.stem or rule.endswith(f"_{path.stem}")]
    if not found:
        raise UserError(f"the workflow has no script of the rule {rule}")
    return max(found, key=lambda path: len(path.stem))


def read_steps(folder: Path) -> list[Step]:
    """Return the steps of a bundle that is laid out in ``folder``."""
    return [Step(**step) for step in json.loads((folder / STEPS).read_text(encoding="utf-8"))]


def chosen_steps(steps: Sequence[Step], which: str) -> list[Step]:
    """Return the steps that follow from tables, or those that measure masks, after those that check the cohorts' images."""
    if which == TABLES:
        return [step for step in steps if not (step.reads_images or step.kept or step.reads_records)]
    return [step for step in steps if step.makes_manifest or (step.reads_masks and not step.is_upstream)]


def run_step(step: Mapping[str, Any], folder: str) -> None:
    """Run a step's script in ``folder``."""
    os.chdir(folder)
    set_results_folder(RESULTS)
    job = Step(**step)
    snakemake = SimpleNamespace(
        rule=job.rule,
        threads=1,
        wildcards=Named(job.wildcards),
        params=Named(job.params),
        **{part: Files(getattr(job, part)) for part in ("input", "output", "log")},
    )
    for output in job.outputs:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
    script = runpy.run_path(str(script_of(job.rule)), run_name="replayed")
    try:
        script["main"](snakemake, Console(None, job.name))
    except UserError as error:
        sys.exit(f"{job.name}: {error}")
    made = datetime.fromisoformat(job.ended).timestamp()
    for output in job.outputs:
        os.utime(output, (made, made))


def main(folder: str, which: str) -> None:
    """Run the chosen steps one after the other, saying which."""
    for library in LIBRARIES:
        importlib.import_module(library)
    steps = chosen_steps(read_steps(Path(folder)), which)
    fork = multiprocessing.get_context("fork")
    for number, step in enumerate(steps, start=1):
        print(f"[replay] {number}/{len(steps)} {step.name}", file=sys.stderr, flush=True)
        process = fork.Process(target=run_step, args=(step.described(), folder))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"{step.name} could not be made again")


if __name__ == "__main__":
    main(*sys.argv[1:])
