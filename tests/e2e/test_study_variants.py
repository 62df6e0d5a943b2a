"""The CPU variants of the published systems run, from images to scores, and the scores say what the studies are about."""

import json
import shutil
from pathlib import Path

import browser
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from workflows import copy_checkout, snakemake

pytestmark = [pytest.mark.e2e, pytest.mark.long]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("studies") / "glioflow")


def run_study(checkout: Path, study: str, *targets: str) -> Path:
    """Run a study for its targets and return its results folder."""
    configuration = f"config/studies/{study}.yaml"
    done = snakemake(checkout, "--quiet", "rules", "--configfile", configuration, "--", *targets)
    assert done.returncode == 0, done.stdout
    return checkout / "results/studies" / study


@pytest.fixture
def run(checkout):
    return lambda study: run_study(checkout, study, "scores")


def plans(results: Path, model: str) -> dict:
    return json.loads(next((results / f"models/{model}").rglob("glioflowPlans.json")).read_text())


def curves(results: Path, model: str, fold: int = 0) -> pd.DataFrame:
    return pd.read_csv(results / f"models/{model}/fold_{fold}/curves.csv")


def test_t501_reports_what_a_subset_of_the_sequences_cannot_see_as_not_applicable(run):
    results = run("t501_gbm_cpu")
    flair = pd.read_csv(results / "scores/flair_2d/test.csv")
    unseen = flair[flair["label"] != "WT"]
    assert set(unseen["label"]) == {"ET", "ED"}
    assert unseen[["dice", "sens", "hd95_mm"]].isna().all(axis=None)
    assert unseen["note"].str.contains("not applicable: the model predicts WT only").all()
    assert flair.loc[flair["label"] == "WT", "dice"].notna().all()
    full = pd.read_csv(results / "scores/mpmri/test.csv")
    assert full["dice"].notna().all()
    # the external cohort by group
    groups = pd.read_csv(results / "scores/mpmri/meningioma_groups.csv")
    assert set(groups["covariate"]) == {"planted"}
    dice = groups[(groups["label"] == "WT") & (groups["metric"] == "dice")]
    assert dice["n"].sum() == 4
    assert len(dice) == 2


def test_msd_trains_a_softmax_on_labels_with_soft_dice_and_scores_each_class(run):
    results = run("msd_unet3d_cpu")
    dataset = json.loads(next((results / "models/unet").rglob("raw/*/dataset.json")).read_text())
    assert dataset["labels"] == {"background": 0, "NCR": 1, "ED": 2, "ET": 3, "RC": 4}
    assert "regions_class_order" not in dataset
    assert plans(results, "unet")["glioflow"]["loss"] == "soft_dice"
    course = curves(results, "unet")
    # Soft Dice lies between -1 and 0, with neither cross-entropy added.
    assert course["train_loss"].between(-1, 0).all()
    assert {"pseudo_dice_ED", "pseudo_dice_NCR", "pseudo_dice_ET"} <= set(course.columns)
    summary = pd.read_csv(results / "scores/unet/cv_summary.csv")
    assert set(summary["label"]) == {"ED", "NCR", "ET"}
    assert {"sens", "spec"} <= set(summary["metric"])


def test_lgg_chooses_the_largest_component_on_cv_and_applies_it(run):
    results = run("lgg_unet2d_cpu")
    chosen = json.loads((results / "models/unet/postprocessing.json").read_text())
    assert {step["operation"] for step in chosen["tried"]} == {"largest_component"}
    assert chosen["dice"]["after"]["WT"] >= chosen["dice"]["before"]["WT"]
    table = pd.read_csv(results / "postprocessed/unet/cv/predictions.csv")
    assert len(table) == 6
    assert {len(nib.load(path).shape) for path in table["prediction"].map(lambda path: results.parents[2] / path)} == {3}
    summary = pd.read_csv(results / "scores/unet/cv_summary.csv").set_index(["label", "metric"])
    assert summary.loc[("WT", "dice"), ["mean", "median"]].notna().all()


def test_post_treatment_compares_networks_lesion_by_lesion(run):
    results = run("post_treatment_cpu")
    assert "AttentionResUNet" in str(plans(results, "attention")["configurations"])
    assert "PlainConvUNet" in str(plans(results, "plain")["configurations"])
    for model in ("attention", "plain"):
        scores = pd.read_csv(results / f"scores/{model}/cv.csv")
        assert set(scores["label"]) == {"WT", "TC", "ET", "RC"}
        lesions = scores[scores["label"] == "WT"]
        assert lesions["lesion_dice"].between(0, 1).all()
        assert lesions["lesion_sens"].between(0, 1).all()
        assert (lesions["lesions_found"] <= lesions["lesions_truth"]).all()


@pytest.fixture(scope="module")
def capstone(checkout):
    return run_study(checkout, "capstone_cpu", "all")


def test_capstone_merges_two_recipes_with_and_without_mirroring(capstone, checkout):
    results = capstone
    assert "EquiUnet" in str(plans(results, "a")["configurations"])
    assert len(curves(results, "a")) == 4  # two epochs and a cycle of two
    scores = pd.read_csv(results / "scores/final/cv.csv")
    assert scores.columns[:7].tolist() == ["patient_id", "label", "tta", "hausdorff", "dice", "sens", "spec"]
    assert scores.groupby(["case_id", "label"])["tta"].agg(sorted).map(tuple).unique().tolist() == [(False, True)]
    for tta, folder in ((True, ""), (False, "without_tta/")):
        for case in scores["case_id"].unique():
            final, a, b = (
                np.asarray(nib.load(results / f"predictions/{model}/cv/{folder}{case}.nii.gz").dataobj)
                for model in ("final", "a", "b")
            )
            core = np.isin(a, (1, 3))
            assert np.array_equal(final[core], a[core]), (case, tta)
            assert np.array_equal(final[~core], np.where(b[~core] == 2, 2, 0)), (case, tta)
    worst = pd.read_csv(results / "failure/final/cv/extremes.csv")
    assert worst["group"].tolist() == ["worst"] * 2 + ["best"] * 2
    again = snakemake(checkout, "-n", "--configfile", "config/studies/capstone_cpu.yaml")
    assert "Nothing to be done" in again.stdout


def test_the_report_is_one_page_that_a_browser_shows_alone(capstone, tmp_path):
    if reason := browser.skip_reason():
        pytest.skip(reason)
    moved = shutil.copyfile(capstone / "report/index.html", tmp_path / "alone.html")  # with nothing beside it
    assert pd.read_csv(capstone / "failure/final/cv/extremes.csv")["case_id"][0] in browser.dump_dom(moved)
    browser.take_screenshot(moved, tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 50_000
