"""Published values in a run: the table is made with the scores, and a changed value plans nothing but the comparison."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import write_case
from workflows import copy_checkout, planned_jobs, snakemake

PUBLISHED = {"model": "m", "set": "given", "metric": "dice", "region": "WT", "statistic": "mean", "value": 0.75, "source": "x"}


def snake(checkout: Path, study: dict[str, Any], *arguments: str):
    (checkout / "study.yaml").write_text(yaml.safe_dump(study))
    return snakemake(checkout, "--configfile", "study.yaml", *arguments)


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """A study whose masks are the truth, with its scores and the published value beside them."""
    checkout = copy_checkout(tmp_path_factory.mktemp("published") / "glioflow")
    for number in range(4):
        case = write_case(checkout / "data", f"case{number}", tumour=2 + number)
        (checkout / "masks").mkdir(exist_ok=True)
        shutil.copyfile(case / f"case{number}_seg.nii.gz", checkout / f"masks/case{number}.nii.gz")
    study = {
        "cohorts": {"c": {"dataset": "brats2021", "path": "data"}},
        "models": {"m": {"cohort": "c", "predictions": "masks/{case}.nii.gz", "label_scheme": "brats2021"}},
        "failure": {"extremes": 2},
        "published": [PUBLISHED],
    }
    run = snake(checkout, study, "--", "scores")
    assert run.returncode == 0, run.stdout
    assert "1 published value, 1 with one of ours beside it" in run.stdout
    return checkout, study


def test_ours_is_that_of_the_summary(scored):
    (row,) = pd.read_csv(scored[0] / "results/scores/published.csv").to_dict("records")
    assert (row["ours"], row["n"], row["published"], row["difference"]) == (1, 4, 0.75, 0.25)
    assert (row["ci_low"], row["ci_high"]) == (1, 1)


def test_only_the_comparison_depends_on_a_published_value(scored):
    checkout, study = scored
    assert planned_jobs(snake(checkout, study, "-n", "--", "scores")) == {}
    other = {**study, "published": [{**PUBLISHED, "value": 0.5}]}
    assert planned_jobs(snake(checkout, other, "-n", "--", "scores")) == {"compare_published": 1, "scores": 1}
    assert planned_jobs(snake(checkout, {**study, "published": []}, "-n", "--", "scores")) == {}


def test_a_value_that_nothing_can_be_compared_with_stops_before_planning(scored):
    checkout, study = scored
    run = snake(checkout, {**study, "published": [{**PUBLISHED, "metric": "dsc"}]}, "-n")
    assert run.returncode != 0
    assert "Traceback" not in run.stdout
    assert "study.yaml: 1 problem in the configuration" in run.stdout
    assert "published.0.metric: the study's scores have no column 'dsc'" in run.stdout
