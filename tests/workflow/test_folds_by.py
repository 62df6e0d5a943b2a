"""Folds by a covariate, seen as a user sees them: planned by their number, made of the sites, refused before any training."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from workflows import copy_checkout, planned_jobs, snakemake

SPLITS = "models/m/nnunet/preprocessed/Dataset001_m/splits_final.json"
SITES = ("north", "south", "north", "east", "south", "east")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("folds") / "glioflow")


def run(checkout: Path, brats: Path, folds: int, sites: tuple[str, ...], *arguments: str):
    """Run what comes before planning a network, of six cases at sites, to be divided into ``folds``."""
    rows = [f"BraTS2021_{number:05d},{site}" for number, site in enumerate(sites)]
    (brats.parent / "sites.csv").write_text("\n".join(["case_id,Site", *rows]))
    study = {
        "results": str(brats.parent / "results"),
        "cohorts": {"c": {"dataset": "brats2021", "path": str(brats), "covariates": str(brats.parent / "sites.csv")}},
        "models": {"m": {"cohort": "c", "folds": folds, "folds_by": "site", "device": "cpu"}},
        "failure": {"extremes": 3},
    }
    path = brats.parent / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return snakemake(checkout, "--configfile", str(path), *arguments)


def test_each_site_is_a_fold(checkout, brats_folder):
    assert planned_jobs(run(checkout, brats_folder, 3, SITES, "-n"))["train_fold"] == 3
    results = brats_folder.parent / "results"
    made = run(checkout, brats_folder, 3, SITES, "--", f"{results}/{SPLITS}")
    assert made.returncode == 0, made.stdout
    split = pd.read_csv(results / "cohorts/c/split.csv")
    assert split["fold_by_site"].tolist() == list(SITES)
    assert not [column for column in split if column.startswith("fold_of_")]
    validated = [fold["val"] for fold in json.loads((results / SPLITS).read_text())]
    east, north, south = (
        [f"BraTS2021_{number:05d}" for number, site in enumerate(SITES) if site == name] for name in ("east", "north", "south")
    )
    assert validated == [east, north, south]
    assert planned_jobs(run(checkout, brats_folder, 3, SITES, "-n", "--", f"{results}/{SPLITS}")) == {}


def test_sites_that_make_no_folds_stop_before_anything_is_trained(checkout, brats_folder):
    said = run(checkout, brats_folder, 5, (*SITES[:3], "west", "south", "")).stdout
    assert "Traceback" not in said
    assert not (brats_folder.parent / "results/models").exists()
    for words in (
        "the cohort 'c' has 3 problems; nothing was trained",
        "found no value of site in 1 training case (BraTS2021_00005); expected one in each, for folds_by: site",
        "found one training patient only whose site is west",
        "found 3 values of site among the training cases (north: 2 patients, south: 2 patients, west: 1 patient) for folds: 5",
    ):
        assert words in said, said
