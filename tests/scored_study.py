"""One finished study that scores precomputed masks of two models, for all tests that need one: ``build_scored``."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import write_case
from filelock import FileLock
from workflows import build_once, copy_checkout, snakemake

CASES = 4


def build_scored(factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a checkout with the finished results of the study, and the study; made by the first of pytest's workers."""
    checkout, said = build_once(factory, "scored", finish)
    return checkout, json.loads(said)


def finish(checkout: Path) -> str:
    """Run the study in a checkout to its end and return it as JSON."""
    study = write_study(checkout)
    run = run_study(checkout, study, dry=False)
    assert run.returncode == 0, run.stdout
    return json.dumps(study)


def write_study(checkout: Path) -> dict[str, Any]:
    """Write the study's cases and masks beside a checkout, and return it."""
    data, masks = checkout.parent / "brats", checkout.parent / "masks"
    for number in range(CASES):
        folder = write_case(data, f"case{number}", tumour=2 + number)
        for model in "mn":
            (masks / model).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / f"case{number}_seg.nii.gz", masks / model / f"case{number}.nii.gz")
    (data / "grades.csv").write_text("case_id,grade\n" + "".join(f"case{number},{number % 2}\n" for number in range(CASES)))
    (masks / "radiomics.yaml").write_text("setting: {binWidth: 10}\n")
    given = {"cohort": "c", "label_scheme": "brats2021"}
    return {
        "results": "results",
        "cohorts": {"c": {"dataset": "brats2021", "path": str(data), "covariates": str(data / "grades.csv")}},
        "models": {model: {**given, "predictions": f"{masks}/{model}/{{case}}.nii.gz"} for model in "mn"},
        "failure": {"extremes": 2},
    }


def run_study(checkout: Path, study: dict[str, Any], dry: bool = True, **changed: Any):
    """Plan, or run, the study with some keys changed, up to its report and scores; one at a time in a checkout."""
    with FileLock(f"{checkout}.lock"):
        (checkout / "study.yaml").write_text(yaml.safe_dump(change(study, changed)))
        return snakemake(checkout, *(["-n"] if dry else []), "--configfile", "study.yaml", "--", "all", "scores")


def change(study: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """Return the study with the changed keys; a mapping changes only what it names."""
    merged = {**study}
    for key, value in changed.items():
        merged[key] = change(study.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def elsewhere(checkout: Path, target: Path, results: str = "results") -> Path:
    """Return a new clone with a copy of the results, all files new, as ``cp -r`` makes them; nothing of Snakemake's."""
    copy_checkout(target)
    shutil.copytree(checkout / "results", target / results, copy_function=shutil.copyfile)
    return target
