"""The CPU variants of the published systems run, from images to scores, and each stage leaves what the study says."""

import json
import shutil
from pathlib import Path

import browser
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from variants import Variant, build_variant
from workflows import planned_jobs, snakemake

from glioflow.models.predictions import read_predictions

pytestmark = [pytest.mark.e2e, pytest.mark.long]

OTHER_TABLES = ("_summary", "_groups", "_conventions", "_convention_ranks", "_warnings")  # beside the scores of a set
# Of every scored set: how many cases it has, and whether their masks are those with mirroring, those without, or both.
WITHOUT, BOTH = (False,), (False, True)
SETS = {
    "t501_gbm_cpu": {
        "mpmri/cv": (4, WITHOUT), "mpmri/test": (2, WITHOUT), "mpmri/meningioma": (4, WITHOUT),
        "flair_2d/cv": (4, WITHOUT), "flair_2d/test": (2, WITHOUT),
    },
    "lgg_unet2d_cpu": {"unet/cv": (6, WITHOUT)},
    "capstone_cpu": {"a/cv": (6, BOTH), "b/cv": (6, BOTH), "final/cv": (6, BOTH)},
    "post_treatment_cpu": {
        "attention/cv": (6, BOTH), "attention/other": (4, BOTH), "plain/cv": (6, WITHOUT), "mean/cv": (6, WITHOUT),
    },
    "msd_unet3d_cpu": {"unet/cv": (6, WITHOUT)},
}  # fmt: skip


@pytest.fixture
def run(tmp_path_factory):
    return lambda name: build_variant(tmp_path_factory, name).results


@pytest.fixture
def capstone(tmp_path_factory) -> Variant:
    return build_variant(tmp_path_factory, "capstone_cpu")


def plans(results: Path, model: str) -> dict:
    return json.loads(next((results / f"models/{model}").rglob("glioflowPlans.json")).read_text())


def curves(results: Path, model: str, fold: int = 0) -> pd.DataFrame:
    return pd.read_csv(results / f"models/{model}/fold_{fold}/curves.csv")


def mask(results: Path, model: str, name: str) -> np.ndarray:
    return np.asarray(nib.load(results / f"predictions/{model}/cv/{name}").dataobj)


def planted_groups(results: Path, pair: str) -> pd.DataFrame:
    """Return the Dice of WT in a set by the planted cause, which is the only covariate."""
    groups = pd.read_csv(results / f"scores/{pair}_groups.csv")
    assert set(groups["covariate"]) == {"planted"}
    return groups[(groups["label"] == "WT") & (groups["metric"] == "dice")]


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
    dice = planted_groups(results, "mpmri/meningioma")
    assert dice["n"].sum() == 4
    assert len(dice) == 2


def test_lgg_chooses_the_largest_component_on_cv_and_applies_it(run):
    results = run("lgg_unet2d_cpu")
    chosen = json.loads((results / "models/unet/postprocessing.json").read_text())
    assert {step["operation"] for step in chosen["tried"]} == {"largest_component"}
    assert chosen["dice"]["after"]["WT"] >= chosen["dice"]["before"]["WT"]
    table = read_predictions(results / "postprocessed/unet/cv/predictions.csv")
    assert len(table) == 6
    assert {len(nib.load(path).shape) for path in table["prediction"]} == {3}
    summary = pd.read_csv(results / "scores/unet/cv_summary.csv").set_index(["label", "metric"])
    assert summary.loc[("WT", "dice"), ["mean", "median"]].notna().all()


def test_capstone_merges_two_recipes_with_and_without_mirroring(capstone):
    results = capstone.results
    assert "EquiUnet" in str(plans(results, "a")["configurations"])
    assert len(curves(results, "a")) == 4  # two epochs and a cycle of two
    scores = pd.read_csv(results / "scores/final/cv.csv")
    assert scores.columns[:7].tolist() == ["patient_id", "label", "tta", "hausdorff", "dice", "sens", "spec"]
    for folder in ("", "without_tta/"):
        for case in scores["case_id"].unique():
            final, a, b = (mask(results, model, f"{folder}{case}.nii.gz") for model in ("final", "a", "b"))
            core = np.isin(a, (1, 3))
            assert np.array_equal(final[core], a[core]), (case, folder)
            assert np.array_equal(final[~core], np.where(b[~core] == 2, 2, 0)), (case, folder)
    worst = pd.read_csv(results / "failure/final/cv/extremes.csv")
    assert worst["group"].tolist() == ["worst"] * 2 + ["best"] * 2


def test_capstone_cleans_up_masks_with_and_without_mirroring(capstone):
    table = read_predictions(capstone.results / "postprocessed/b/cv/predictions.csv")
    assert table.groupby("case_id")["tta"].agg(sorted).map(tuple).tolist() == [BOTH] * 6
    assert all(Path(path).is_file() for path in table["prediction"])


def test_a_second_run_has_nothing_to_do(capstone):
    assert planned_jobs(snakemake(capstone.checkout, "-n", *capstone.study)) == {}


def test_the_report_is_one_page_that_a_browser_shows_alone(capstone, tmp_path):
    if reason := browser.skip_reason():
        pytest.skip(reason)
    moved = shutil.copyfile(capstone.results / "report/index.html", tmp_path / "alone.html")  # with nothing beside it
    assert pd.read_csv(capstone.results / "failure/final/cv/extremes.csv")["case_id"][0] in browser.dump_dom(moved)
    browser.take_screenshot(moved, tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 50_000


def test_post_treatment_compares_networks_lesion_by_lesion(run):
    results = run("post_treatment_cpu")
    assert "AttentionResUNet" in str(plans(results, "attention")["configurations"])
    assert "PlainConvUNet" in str(plans(results, "plain")["configurations"])
    for pair in ("attention/cv", "attention/other", "plain/cv"):
        scores = pd.read_csv(results / f"scores/{pair}.csv")
        assert set(scores["label"]) == {"WT", "TC", "ET", "RC"}
        lesions = scores[scores["label"] == "WT"]
        assert lesions["lesion_dice"].between(0, 1).all()
        assert lesions["lesion_sens"].between(0, 1).all()
        assert (lesions["lesions_found"] <= lesions["lesions_truth"]).all()


def test_the_masks_of_a_2d_network_are_volumes(run):
    results = run("post_treatment_cpu")
    assert list(plans(results, "plain")["configurations"]) == ["2d"]
    names = [path.name for path in (results / "predictions/plain/cv").glob("*.nii.gz")]
    assert len(names) == 6
    for name in names:
        assert mask(results, "plain", name).shape == mask(results, "attention", name).shape


def test_an_ensemble_of_probabilities_takes_its_merged_label_from_its_member(run):
    results = run("post_treatment_cpu")
    names = [path.name for path in (results / "predictions/mean/cv").glob("*.nii.gz")]
    assert len(names) == 6
    for name in names:
        mean, member = mask(results, "mean", name), mask(results, "plain", name)
        assert not ((mean == 2) & (member != 2)).any()
        assert ((mean != 0) | (member != 2)).all()


def test_an_external_cohort_is_shown_by_group_with_and_without_mirroring(run):
    dice = planted_groups(run("post_treatment_cpu"), "attention/other")
    assert dice["n"].groupby(dice["tta"]).sum().tolist() == [4, 4]
    assert len(dice) == 4


def test_the_chosen_sets_failures_are_analysed_and_all_is_reported(run):
    results = run("post_treatment_cpu")
    extremes = pd.read_csv(results / "failure/attention/other/extremes.csv")
    assert extremes["group"].tolist() == ["worst"] * 2 + ["best"] * 2
    assert [path.parent.name for path in results.glob("failure/*/*")] == ["attention"]
    assert (results / "report/index.html").exists()


def test_msd_trains_a_softmax_on_labels_with_soft_dice_and_scores_each_class(run):
    results = run("msd_unet3d_cpu")
    dataset = json.loads(next((results / "models/unet").rglob("raw/*/dataset.json")).read_text())
    assert dataset["labels"] == {"background": 0, "NCR": 1, "ED": 2, "ET": 3, "RC": 4}
    assert "regions_class_order" not in dataset
    assert "PlainConvUNet" in str(plans(results, "unet")["configurations"])
    assert plans(results, "unet")["glioflow"]["loss"] == "soft_dice"
    course = curves(results, "unet")
    # Soft Dice lies between -1 and 0, with neither cross-entropy added.
    assert course["train_loss"].between(-1, 0).all()
    assert {"pseudo_dice_ED", "pseudo_dice_NCR", "pseudo_dice_ET"} <= set(course.columns)
    summary = pd.read_csv(results / "scores/unet/cv_summary.csv")
    assert set(summary["label"]) == {"ED", "NCR", "ET"}
    assert {"sens", "spec"} <= set(summary["metric"])


def test_no_image_is_copied_for_nnunet(run):
    raw = run("msd_unet3d_cpu") / "models/unet/nnunet/raw"
    assert {path.name for path in raw.rglob("*") if path.is_file()} == {"dataset.json", ".dataset.json.made.json"}


@pytest.mark.parametrize("name", SETS)
def test_every_set_of_every_model_is_scored_with_and_without_mirroring_as_asked(run, name):
    scores = run(name) / "scores"
    tables = {str(path.relative_to(scores).with_suffix("")): path for path in scores.glob("*/*.csv")}
    found = {}
    for pair, path in tables.items():
        if not pair.endswith(OTHER_TABLES):
            table = pd.read_csv(path)
            (ways,) = set(table.groupby(["case_id", "label"])["tta"].agg(sorted).map(tuple))
            found[pair] = (table["case_id"].nunique(), ways)
    assert found == SETS[name]
