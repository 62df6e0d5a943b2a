"""The demo for real, on the CPU: once through nnU-Net, then everything that must hold of its results."""

import hashlib
import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bundles import rewrite
from scipy.ndimage import binary_dilation, binary_erosion
from workflows import copy_checkout, planned_jobs, snakemake, snakemake_from_shell

import rerun_from_bundle
import verify_bundle
from glioflow.bundle.zip_files import CHECKSUMS, checksum_problems
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console
from glioflow.failure.radiomics import extract_features
from glioflow.failure.radiomics_parameters import default_parameters
from glioflow.files import read_table, sha256_file
from glioflow.imaging.volumes import read_labels, read_volume, same_geometry
from glioflow.models.fold_state import read_fold
from glioflow.models.uncertainty import map_hashes, map_path
from glioflow.report.claims import findings

pytestmark = pytest.mark.e2e

STRONGLY_MOVED = 0.6  # rho with the planted contrast itself


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A copy of the checkout in which the demo has run, and what the run printed."""
    checkout = copy_checkout(tmp_path_factory.mktemp("demo") / "glioflow")
    run = snakemake_from_shell(checkout, "--quiet", "rules", "--", "all")
    assert run.returncode == 0, run.stdout
    return checkout, run.stdout


def checkpoints(checkout: Path) -> dict[str, str]:
    """Return the SHA-256 of every final checkpoint, as the files are now."""
    found = sorted((checkout / "results").rglob("checkpoint_final.pth"))
    return {str(path.relative_to(checkout)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_whole_tumour_dice_on_held_out_cases_is_far_above_chance(demo):
    scores = pd.read_csv(demo[0] / "results/scores/mpmri/test.csv")
    assert list(scores.columns[:7]) == ["patient_id", "label", "tta", "hausdorff", "dice", "sens", "spec"]
    whole = scores[scores["label"] == "WT"]
    split = pd.read_csv(demo[0] / "results/cohorts/demo/split.csv")
    assert sorted(whole["case_id"]) == sorted(split.loc[split["set"] == "test", "case_id"])
    assert whole["dice"].mean() >= 0.75


def test_no_fold_leaves_a_region_unlearnt(demo):
    scores = pd.read_csv(demo[0] / "results/scores/mpmri/cv.csv")
    assert (scores.groupby(["label", "fold"])["dice"].mean() > 0.2).all()


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


def test_every_mask_of_a_network_has_a_map_of_entropy_that_the_viewer_shows(demo):
    results = demo[0] / "results"
    for folder in (results / "predictions/mpmri" / name for name in ("cv", "test", "clinic")):
        masks = sorted(folder.glob("*.nii.gz"))
        assert [path.name for path in sorted((folder / "entropy").iterdir())] == [path.name for path in masks]
        hashes = map_hashes(folder / "uncertainty.csv")
        for mask in masks:
            labels, entropy = read_labels(mask), read_volume(map_path(mask))
            assert same_geometry(labels, entropy)
            assert hashes[mask.name.removesuffix(".nii.gz"), False] == sha256_file(map_path(mask))
            tumour = labels.data > 0
            assert (
                entropy.data[tumour ^ binary_erosion(tumour)].mean()
                > entropy.data[~binary_dilation(tumour, iterations=3)].mean()
            )
    scripts = list((results / "report/viewer/mpmri/cv").glob("*.js"))
    assert scripts and all('"uncertainty":{"picture":"data:image/webp' in path.read_text() for path in scripts)


def test_a_fold_says_what_it_was_made_of(demo):
    manifest = read_fold(demo[0] / "results/models/mpmri/fold_0/manifest.json")
    checkpoint = Path(manifest["checkpoint"]["path"])
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() == manifest["checkpoint"]["sha256"]
    assert manifest["versions"]["nnunetv2"] and manifest["versions"]["torch"]
    curves = pd.read_csv(demo[0] / "results/models/mpmri/fold_0/curves.csv")
    assert len(curves) == manifest["epochs"]
    assert {"epoch", "train_loss", "val_loss", "pseudo_dice_WT", "learning_rate", "seconds"} <= set(curves.columns)
    assert curves["train_loss"].iloc[-1] < curves["train_loss"].iloc[0]


def moved_by_contrast(checkout: Path) -> pd.Series:
    """Return Spearman's rho of every feature with the planted contrast.

    It is what the cause does to the images, taken from the generator's truth over the whole cohort: no model has a part in it.
    """
    folder = checkout / "results/cohorts/demo"
    contrast = pd.read_csv(folder / "phantom.csv").set_index("case_id")["flair_contrast"]
    features = {}
    for case in read_manifest(folder / "manifest.csv").itertuples():
        image, labels = read_volume(str(case.flair)), read_labels(str(case.label))
        features[case.case_id] = extract_features(image, labels.data > 0, default_parameters()).features
    table = pd.DataFrame(features).T.astype(float)
    return table.corrwith(contrast[table.index], method="spearman")


def test_the_planted_cause_of_failure_is_what_is_found(demo):
    failure = demo[0] / "results/failure/mpmri/cv"
    planted = pd.read_csv(demo[0] / "results/cohorts/demo/phantom.csv").set_index("case_id")["planted"]
    extremes = pd.read_csv(failure / "extremes.csv")
    among_worst = planted[extremes.loc[extremes["group"] == "worst", "case_id"]].fillna("nothing").value_counts()
    assert among_worst.index[0] == "low_contrast", "most of the worst cases have not what was planted most often"
    assert planted[extremes.loc[extremes["group"] == "best", "case_id"]].isna().all()
    associations = read_table(failure / "associations.csv")
    first = findings(associations)
    assert len(first), "nothing is found, though contrast was planted"
    moved = moved_by_contrast(demo[0])
    strongest = first.iloc[0]
    assert abs(moved[strongest["feature"]]) >= STRONGLY_MOVED, f"{strongest['feature']} is not what contrast moves"
    assert np.sign(moved[strongest["feature"]]) == -np.sign(strongest["spearman_rho"]), "the reverse of what low contrast does"
    rho = associations.set_index("feature")["spearman_rho"]
    assert rho.corr(moved.reindex(rho.index)) < -0.5, "failure looks otherwise than low contrast does"
    assert rho["original_firstorder_Mean"] < 0  # darker where they fail


def test_progress_can_be_read_by_a_person(demo):
    said = demo[1]
    assert re.search(r"\[verify_cohort demo\] 30 cases, 30 read, no problem \(\d+:\d\d\)", said)
    assert re.search(r"\[predict_quality mpmri clinic\] 4 cases, \d+ predicted Dice values", said)
    number = r"-?\d\.\d+"
    epoch = rf"epoch 1/\d+: loss {number} \(validation {number}\), pseudo-Dice WT {number} TC {number} ET {number}"
    assert re.search(r"\[train_fold mpmri 0\] " + epoch + r", \d+\.\d s an epoch, \d+:\d\d left", said)
    assert re.search(r"\[train_fold mpmri 0\] trained: \d+ training cases", said)


def test_the_report_is_one_page_that_shows_the_worst_case(demo):
    page = demo[0] / "results/report/index.html"
    text = page.read_text(encoding="utf-8")
    worst = pd.read_csv(demo[0] / "results/failure/mpmri/cv/extremes.csv")["case_id"][0]
    assert worst in text
    assert not re.search(r"""(src|href)=["'](https?:)?//[^"']+\.(js|css|png|woff2?)""", text)


def test_cases_without_truth_are_predicted_ordered_and_not_scored(demo):
    results = demo[0] / "results"
    quality = read_table(results / "quality/mpmri/clinic/quality.csv", ("region", "note", "features", "extrapolates"))
    assert quality["case_id"].nunique() == 4 and set(quality["region"]) == {"WT", "TC", "ET"}
    whole = quality[quality["region"] == "WT"]
    assert (whole["method"] == "ridge").all() and (whole["n_calibration"] >= 20).all()
    assert ((whole["dice_low"] <= whole["predicted_dice"]) & (whole["predicted_dice"] <= whole["dice_high"])).all()
    assert not (results / "scores/mpmri/clinic.csv").exists()
    planted = pd.read_csv(results / "cohorts/clinic/phantom.csv").set_index("case_id")["planted"]
    first = whole.sort_values("predicted_dice")["case_id"].iloc[0]
    assert planted[first] == "low_contrast", "the case that was made hard is not the first to look at"
    page = (results / "report/index.html").read_text(encoding="utf-8")
    assert "mpmri · clinic: look at these first" in page


def test_predicted_dice_is_about_right_on_cases_with_truth(demo):
    table = read_table(demo[0] / "results/quality/mpmri/cv/quality_evaluation.csv", ("region", "predictor", "note"))
    whole = table[table["region"] == "WT"].set_index("predictor").loc["ridge"]
    assert whole["mae"] < 0.2 and whole["coverage"] >= 0.7 and whole["n"] >= 20


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


def test_the_demos_bundle_verifies_and_every_flipped_byte_is_named(demo, tmp_path):
    bundle = demo[0] / "results/bundle/demo-1.0.0.zip"
    assert verify_bundle.main([str(bundle), "--recompute"]) == 0

    def flip(name: str, content: bytes) -> bytes:
        middle = len(content) // 2
        return (
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            if content and name != CHECKSUMS
            else content
        )

    flipped = rewrite(bundle, tmp_path / "flipped.zip", flip)
    with zipfile.ZipFile(bundle) as opened:
        filled = {info.filename for info in opened.infolist() if info.file_size}
    assert {line.partition(":")[0] for line in checksum_problems(flipped, Console())} == filled - {CHECKSUMS}


def test_a_rerun_from_the_demos_bundle_trains_nothing(demo, tmp_path):
    again = tmp_path / "again"
    assert rerun_from_bundle.main([str(demo[0] / "results/bundle/demo-1.0.0.zip"), str(again)]) == 0
    run = snakemake(again, "--configfile", "study.yaml", "--quiet", "rules", "--", "models")
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("already trained; its validation cases predicted") == 2
    for fold in range(2):
        record = f"results/models/mpmri/fold_{fold}/manifest.json"
        assert json.loads((again / record).read_text())["key"] == json.loads((demo[0] / record).read_text())["key"]
