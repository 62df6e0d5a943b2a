"""The demo for real, on the CPU: once through nnU-Net, then everything that must hold of its results."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import browser
import pandas as pd
import pytest
from workflows import copy_checkout, planned_jobs, snakemake

pytestmark = pytest.mark.e2e

# What a planted cause changes in a tumour's features. Low contrast: how bright grey levels are and how many there are, which
# first-order features measure, and the texture features of grey-level entropy, variance and uniformity. Small volume: size.
# Heavy noise: differences between neighbours.
CAUSES = {
    "low_contrast": r"_firstorder_(?!Skewness|Kurtosis)|Entropy|GrayLevel(Variance|NonUniformity)|GrayLevelZone|GrayLevelRun"
    r"|GrayLevelEmphasis|Cluster(Tendency|Prominence)|glcm_(SumSquares|SumAverage|Autocorrelation|Joint|Contrast)|ngtdm_",
    "small_volume": r"_shape_(MeshVolume|VoxelVolume|SurfaceArea|SurfaceVolumeRatio|Maximum|MajorAxis|MinorAxis|LeastAxis)",
    "heavy_noise": r"_glcm_(Contrast|Difference|Id|Inverse)|_ngtdm_(Contrast|Busyness)|ZonePercentage|RunPercentage",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A copy of the checkout in which the demo has run, and what the run printed."""
    checkout = copy_checkout(tmp_path_factory.mktemp("demo") / "glioflow")
    run = snakemake(checkout, "--quiet", "rules", "--", "all")
    assert run.returncode == 0, run.stdout
    return checkout, run.stdout


def checkpoints(checkout: Path) -> dict[str, str]:
    """Return the SHA-256 of every final checkpoint, as the files are now."""
    found = sorted((checkout / "results/models").rglob("checkpoint_final.pth"))
    return {str(path.relative_to(checkout)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_whole_tumour_dice_on_held_out_cases_is_far_above_chance(demo):
    scores = pd.read_csv(demo[0] / "results/scores/mpmri/test.csv")
    assert list(scores.columns[:7]) == ["patient_id", "label", "tta", "hausdorff", "dice", "sens", "spec"]
    whole = scores[scores["label"] == "WT"]
    split = pd.read_csv(demo[0] / "results/cohorts/demo/split.csv")
    assert sorted(whole["case_id"]) == sorted(split.loc[split["set"] == "test", "case_id"])
    assert whole["dice"].mean() >= 0.75


def test_every_case_is_predicted_by_a_fold_that_never_saw_it(demo):
    split = pd.read_csv(demo[0] / "results/cohorts/demo/split.csv").set_index("case_id")
    predicted = pd.read_csv(demo[0] / "results/predictions/mpmri/cv/predictions.csv")
    assert set(predicted["case_id"]) == set(split.index[split["set"] == "train"])
    column = next(name for name in split.columns if name.startswith("fold_of_"))
    for fold in sorted((demo[0] / "results/models/mpmri").glob("fold_*/manifest.json")):
        manifest = json.loads(fold.read_text())
        mine = predicted.loc[predicted["fold"] == manifest["fold"], "case_id"]
        assert set(mine) == set(split.index[split[column] == manifest["fold"]])
        assert not set(mine) & set(manifest["parts"]["cases"])


def test_a_fold_says_what_it_was_made_of(demo):
    manifest = json.loads((demo[0] / "results/models/mpmri/fold_0/manifest.json").read_text())
    checkpoint = demo[0] / manifest["checkpoint"]["path"]
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() == manifest["checkpoint"]["sha256"]
    assert manifest["versions"]["nnunetv2"] and manifest["versions"]["torch"]
    curves = pd.read_csv(demo[0] / "results/models/mpmri/fold_0/curves.csv")
    assert len(curves) == manifest["epochs"]
    assert {"epoch", "train_loss", "val_loss", "pseudo_dice_WT", "learning_rate", "seconds"} <= set(curves.columns)
    assert curves["train_loss"].iloc[-1] < curves["train_loss"].iloc[0]


def test_the_planted_cause_of_failure_ranks_in_the_top_five_effects(demo):
    failure = demo[0] / "results/failure/mpmri/cv"
    planted = pd.read_csv(demo[0] / "results/cohorts/demo/phantom.csv").set_index("case_id")["planted"]
    extremes = pd.read_csv(failure / "extremes.csv")
    among_worst = planted[extremes.loc[extremes["group"] == "worst", "case_id"]].fillna("none").value_counts()
    among_best = planted[extremes.loc[extremes["group"] == "best", "case_id"]]
    cause = among_worst.index[0]
    assert cause == "low_contrast", "most of the worst cases have something else than what was planted most often"
    assert cause not in set(among_best)
    effects = pd.read_csv(failure / "effects.csv").set_index("feature")
    found = effects.index[:5].str.contains(CAUSES[cause])
    assert found.all(), f"not all of the five largest effects are of {cause}: {effects.index[:5].tolist()}"
    assert effects.loc["original_firstorder_Mean", "cohens_d"] < -0.8  # darker where they fail; 0.8 is Cohen's "large"
    assert abs(effects.loc["original_shape_Sphericity", "cohens_d"]) < effects["cohens_d"].abs().iloc[4]


def test_progress_can_be_read_by_a_person(demo):
    said = demo[1]
    assert re.search(r"\[verify_cohort demo\] 30 cases, 30 read, no problem \(\d+:\d\d\)", said)
    number = r"-?\d\.\d+"
    epoch = rf"epoch 1/\d+: loss {number} \(validation {number}\), pseudo-Dice WT {number} TC {number} ET {number}"
    assert re.search(r"\[train_fold mpmri 0\] " + epoch + r", \d+\.\d s an epoch, \d+:\d\d left", said)
    assert re.search(r"\[train_fold mpmri 0\] trained: \d+ training cases", said)


def test_the_report_is_one_page_that_shows_the_worst_case(demo, tmp_path):
    page = demo[0] / "results/report/index.html"
    text = page.read_text(encoding="utf-8")
    worst = pd.read_csv(demo[0] / "results/failure/mpmri/cv/extremes.csv")["case_id"][0]
    assert worst in text
    assert not re.search(r"""(src|href)=["'](https?:)?//[^"']+\.(js|css|png|woff2?)""", text)
    if reason := browser.skip_reason():
        pytest.skip(reason)
    moved = shutil.copyfile(page, tmp_path / "alone.html")  # with nothing beside it
    assert worst in browser.dump_dom(moved)
    browser.take_screenshot(moved, tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 50_000


def test_a_second_run_has_nothing_to_do(demo):
    assert planned_jobs(snakemake(demo[0], "-n")) == {}


def test_touching_every_file_trains_nothing(demo):
    checkout = demo[0]
    before = checkpoints(checkout)
    for path in [*checkout.rglob("*")]:
        inside = path.relative_to(checkout).parts
        if path.is_file() and inside[0] != ".snakemake" and (inside[0] != "results" or inside[1] == "cohorts"):
            path.touch()
    run = snakemake(checkout, "--quiet", "rules", "--", "all")
    assert run.returncode == 0, run.stdout
    assert "epoch" not in run.stdout
    assert checkpoints(checkout) == before


def test_a_new_clone_with_the_results_trains_nothing_even_when_forced(demo, tmp_path):
    """No record of Snakemake's survives, every fold is asked for again, and still not one iteration runs."""
    clone = copy_checkout(tmp_path / "elsewhere")
    shutil.copytree(demo[0] / "results", clone / "results", copy_function=shutil.copyfile)
    before = checkpoints(clone)
    assert before
    run = snakemake(clone, "--quiet", "rules", "--forcerun", "write_dataset_json", "train_fold", "--", "models")
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("already trained, nothing changed") == len(before)
    assert "epoch 1/" not in run.stdout
    assert checkpoints(clone) == before
