"""Every data set of the registry, and anyone's own, goes through convert, verify and split, and its whole study is planned.

The cohorts are miniatures in each data set's documented layout; with real data at hand their voxels are cut from real volumes.
"""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from miniatures import MAKERS, make_miniature
from workflows import copy_checkout, planned_jobs, snakemake

from glioflow.study.registry import datasets

CHANNELS = {"lgg_kaggle": ["flair"]}  # two patients lack others
REGIONS = {"lgg_kaggle": ["WT"]}
# What is told of a data set as its archives are; of others nothing. What is left out is told, and no case of it is taken.
TOLD = {
    **{key: {"left_out", "no_number"} for key in ("brats2018", "brats2019", "brats2020")},  # ALIVE (361 days later)
    **{key: {"left_out"} for key in ("brats2021", "brats2023_gli", "brats_africa", "brats_men")},
    "brats2024_gli": {"left_out", "near_empty_label"},
    "upenn_gbm": {"no_segmentation"},
    "ucsf_alptdg": {"near_empty_label"},
    "ucsd_ptgbm": {"near_empty_label"},
    "lumiere": {"no_segmentation"},
    "lgg_kaggle": {"spacing_unknown"},
}
RESECTED = ("brats2024_gli", "ucsf_alptdg", "ucsd_ptgbm")  # one case has a cavity and no tumour


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One study with a cohort and a model for every data set, after its cohorts were converted, verified and split."""
    root = tmp_path_factory.mktemp("matrix")
    checkout = copy_checkout(root / "glioflow")
    cohorts = {key: make_miniature(key, root / "data" / key, archive=True) for key in MAKERS}
    models = {
        key: {
            "cohort": key,
            "folds": 2,
            "channels": CHANNELS.get(key, ["t1", "t1ce", "t2", "flair"]),
            "regions": REGIONS.get(key, ["WT", "TC", "ET"]),
        }
        for key in cohorts
    }
    study = {"results": str(root / "results"), "cohorts": cohorts, "models": models, "failure": {"extremes": 2}}
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(checkout, "--configfile", str(root / "study.yaml"), "--keep-going", "--quiet", "all", "--", "cohorts")
    return root, checkout, run


def table(root: Path, key: str, name: str) -> pd.DataFrame:
    return pd.read_csv(root / f"results/cohorts/{key}/{name}.csv", dtype={"case_id": str, "patient_id": str})


def test_every_data_set_that_is_not_made_here_has_a_miniature():
    assert set(MAKERS) == {*datasets(), "bids", "table"} - {"phantom"}


@pytest.mark.parametrize("key", MAKERS)
def test_a_data_set_is_converted_verified_and_split(study, key):
    root, _, run = study
    problems = table(root, key, "verification")
    assert problems[problems["severity"] == "error"].empty, problems["message"].tolist()
    assert set(problems["problem"]) == TOLD.get(key, set())
    manifest = table(root, key, "manifest")
    assert len(manifest) == 6
    assert manifest["label_sha256"].notna().all()
    assert (manifest["volume_WT_ml"] == 0).sum() == (key in RESECTED)
    split = table(root, key, "split")
    assert set(split["case_id"]) == set(manifest["case_id"])
    assert split.groupby("patient_id")["fold_of_2"].nunique().max() == 1
    assert "Traceback" not in run.stdout


def test_the_whole_study_of_all_data_sets_is_planned(study):
    root, checkout, _ = study
    jobs = planned_jobs(snakemake(checkout, "-n", "--configfile", str(root / "study.yaml")))
    assert not {"convert_cohort", "verify_cohort", "split_cohort"} & set(jobs)
    assert jobs["train_fold"] == 2 * len(MAKERS)
    assert jobs["write_report"] == 1


def test_a_second_run_converts_and_reads_no_case_again(study):
    root, checkout, _ = study
    shutil.rmtree(checkout / ".snakemake")
    again = ["brats2020", "msd_task01", "lgg_kaggle"]
    for key in again:
        for path in (root / "results/cohorts" / key).glob("*.csv"):
            path.unlink()
    targets = [str(root / f"results/cohorts/{key}/split.csv") for key in again]
    run = snakemake(checkout, "--configfile", str(root / "study.yaml"), "--quiet", "all", "--", *targets)
    assert run.returncode == 0, run.stdout
    assert run.stdout.count(" 0 read") == len(again)
    assert "converted now" not in run.stdout
