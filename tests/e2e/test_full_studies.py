"""The five published systems run from their data sets' raw files to the report, on miniatures with what is irregular there.

Each study is its full file. One overlay turns down how long and how large networks are trained, and folds, sets and extremes
to the few cases of a miniature; nothing else is changed.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from miniature_cases import write_lines
from miniatures import make_miniature
from workflows import copy_checkout, snakemake

from glioflow.cohorts.manifests import read_manifest

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.studies]

TRAINED = {
    "epochs": 1, "iterations_per_epoch": 2, "validation_iterations": 1, "folds": 2, "device": "cpu", "threads": 1,
}  # fmt: skip
PLANS = {"patch_size": [32, 32, 32], "batch_size": 1, "n_stages": 3, "base_features": 4}
SIZES = {"test_size": 2, "train_size": 4}  # of a cohort that has them
SWA = {"cycles": 1, "epochs_per_cycle": 2, "update_every": 1}


def turned_down(study: dict[str, Any]) -> dict[str, Any]:
    """Return a study with small and short trainings, two folds, small sets and one extreme case at either end."""
    for cohort in study["cohorts"].values():
        cohort |= {key: size for key, size in SIZES.items() if key in cohort}
    for model in study["models"].values():
        plans = {**PLANS, "base_features": 16 if model.get("network") == "equiunet" else 4}  # equiunet's smallest
        if model.get("configuration") == "2d":
            plans["patch_size"] = [32, 32]
        model |= {**TRAINED, "plans": plans} | ({"swa": {**model["swa"], **SWA}} if "swa" in model else {})
    study["failure"]["extremes"] = 1
    return study


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("full") / "glioflow")


def run_study(checkout: Path, name: str, **env: str) -> Path:
    """Run a published system to its report; return its results folder."""
    path = checkout / "config/studies" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(turned_down(yaml.safe_load(path.read_text())), sort_keys=False))
    configuration = f"config/studies/{name}.yaml"
    run = snakemake(checkout, "--quiet", "rules", "--configfile", configuration, "--", "all", **env)
    assert run.returncode == 0, run.stdout
    assert "Traceback" not in run.stdout
    again = snakemake(checkout, "-n", "--configfile", configuration, **env)
    assert "Nothing to be done" in again.stdout, again.stdout
    return checkout / "results/studies" / name


def told(results: Path, cohort: str) -> set[str]:
    """Return the kinds of warnings of a cohort, of which none is an error."""
    problems = pd.read_csv(results / f"cohorts/{cohort}/verification.csv")
    assert set(problems["severity"]) <= {"warning"}, problems["message"].tolist()
    return set(problems["problem"])


def cases(results: Path, cohort: str) -> pd.DataFrame:
    return read_manifest(results / f"cohorts/{cohort}/manifest.csv").set_index("case_id")


def scores(results: Path, model: str, set_name: str = "cv") -> pd.DataFrame:
    return pd.read_csv(results / f"scores/{model}/{set_name}.csv")


def is_reported(results: Path, *words: str) -> None:
    page = (results / "report/index.html").read_text(encoding="utf-8")
    for word in words:
        assert word in page, word


def test_capstone_runs_on_brats_2020_with_case_355_and_the_validation_cases_beside(checkout: Path, tmp_path: Path):
    block = make_miniature("brats2020", tmp_path, archive=True)
    results = run_study(checkout, "capstone", BRATS2020=block["path"])
    assert told(results, "brats20") == {"left_out", "no_number"}
    table = cases(results, "brats20")
    assert table.index.tolist() == [f"BraTS20_Training_{number:03d}" for number in (1, 2, 3, 4, 5, 355)]
    assert table.loc["BraTS20_Training_355", "label"].endswith("/labels/BraTS20_Training_355.nii.gz")
    assert table.loc["BraTS20_Training_003", "volume_ET_ml"] == 0 and table.loc["BraTS20_Training_003", "grade"] == "LGG"
    for model in ("a", "b", "final"):
        scored = scores(results, model)
        assert len(scored) == 6 * 3 * 2  # cases, regions, with and without mirroring
        assert scored[["dice", "sens"]].notna().any(axis=None)
    absent = scores(results, "final").query("case_id == 'BraTS20_Training_003' and label == 'ET'")
    assert absent["note"].str.len().gt(0).all()
    is_reported(results, "Two recipes on BraTS 2020", "BraTS20_Training_355")


def test_t501_runs_on_upenn_gbm_and_on_meningioma_with_a_grade_missing(checkout: Path, tmp_path: Path):
    gbm = make_miniature("upenn_gbm", tmp_path / "gbm", cases=8, archive=True)
    men = make_miniature("brats_men", tmp_path / "men", archive=True)
    known = sorted(path.name for path in (tmp_path / "men/TrainingData").glob("BraTS-MEN-*"))[:-1]
    grades = tmp_path / "grades.csv"
    write_lines(grades, "case_id,grade", *(f"{case},{number % 2 + 1}" for number, case in enumerate(known)))
    folders = {"UPENN_GBM": gbm["path"], "BRATS_MEN": men["path"], "MENINGIOMA_GRADES": grades.as_posix()}
    results = run_study(checkout, "t501_gbm", **folders)
    assert told(results, "gbm") == {"no_segmentation"}
    assert told(results, "meningioma") == {"left_out", "no_covariates"}
    table = cases(results, "gbm")
    assert set(table["segmentation"]) == {"manual", "automated"}
    assert set(table["timepoint"]) == {"pre-operative", "follow-up"}
    split = pd.read_csv(results / "cohorts/gbm/split.csv")
    assert split.groupby("patient_id")["set"].nunique().max() == 1
    assert {"train", "test"} <= set(split["set"])
    for model in ("mpmri", "mpmri_2d", "t1ce_flair", "t1ce", "flair", "t2", "t1"):
        assert set(scores(results, model, "test")["label"]) == {"WT", "ET", "ED"}
    groups = pd.read_csv(results / "scores/mpmri/meningioma_groups.csv").query("label == 'WT' and metric == 'dice'")
    assert groups[["value", "n"]].fillna(0).to_numpy().tolist() == [[1, 3], [2, 2], [0, 1]]  # 0: no grade known
    is_reported(results, "Glioblastoma by subsets of the sequences")


def test_msd_runs_on_task01_with_the_files_of_macos_and_a_case_without_enhancement(checkout: Path, tmp_path: Path):
    make_miniature("msd_task01", tmp_path / "msd_task01-2.0", archive=True)
    results = run_study(checkout, "msd_unet3d", GLIOFLOW_DATA=tmp_path.as_posix())
    assert told(results, "task01") == set()
    table = cases(results, "task01")
    assert table.index.tolist() == [f"BRATS_{number:03d}" for number in range(1, 7)]
    assert table.loc["BRATS_003", "volume_ET_ml"] == 0
    assert len(scores(results, "unet")) == 6 * 3
    is_reported(results, "Task01 of the Medical Segmentation Decathlon")


def test_post_treatment_runs_on_brats_2024_with_a_case_of_cavity_alone(checkout: Path, tmp_path: Path):
    block = make_miniature("brats2024_gli", tmp_path, archive=True)
    results = run_study(checkout, "post_treatment", BRATS2024_GLI=block["path"])
    assert told(results, "treated") == {"left_out", "near_empty_label"}
    table = cases(results, "treated")
    assert table.loc["BraTS-GLI-00005-100", ["volume_WT_ml", "volume_RC_ml"]].tolist() == [0, 0.003]
    assert table.loc["BraTS-GLI-00006-101", "patient_id"] == table.loc["BraTS-GLI-00006-100", "patient_id"]
    for model in ("attention", "plain", "resenc"):
        scored = scores(results, model)
        assert len(scored) == 6 * 4
        assert scored["lesion_dice"].notna().any()
        ranked = pd.read_csv(results / f"failure/{model}/cv/extremes.csv")
        assert ranked["group"].tolist() == ["worst", "best"]
    is_reported(results, "Glioma after treatment, by three networks")


def test_lgg_runs_on_kaggles_archive_with_patients_who_lack_sequences(checkout: Path, tmp_path: Path):
    make_miniature("lgg_kaggle", tmp_path / "lgg_kaggle-2", archive=True)
    results = run_study(checkout, "lgg_unet2d", GLIOFLOW_DATA=tmp_path.as_posix())
    table = cases(results, "lgg")
    assert len(table) == 6
    assert table["missing_sequences"].dropna().tolist() == ["t1ce", "t1 t1ce"]
    assert len(scores(results, "unet")) == 6
    groups = pd.read_csv(results / "scores/unet/cv_groups.csv")
    assert set(groups["covariate"]) == {"grade", "histology"}
    is_reported(results, "A 2D U-Net on 110 lower-grade gliomas")
