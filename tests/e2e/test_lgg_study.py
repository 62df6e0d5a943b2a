"""The study of 110 lower-grade gliomas on the real patients at hand, from slices to the report, with its size turned down."""

import re
from pathlib import Path

import blosc2
import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from workflows import copy_checkout, snakemake

from glioflow.cohorts.manifests import read_manifest
from glioflow.imaging.volumes import read_volume
from glioflow.quality.shapes import shape_features

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.real_data]

STUDY = "config/studies/lgg_unet2d.yaml"
SMALL = {
    "folds": 2, "epochs": 2, "iterations_per_epoch": 2, "validation_iterations": 1, "threads": 1, "device": "cpu",
    "plans": {"patch_size": [256, 256], "batch_size": 2, "base_features": 4, "n_stages": 4},
}  # fmt: skip
COLOURS = ("t1", "flair", "t1ce")
LACKING = {"TCGA_DU_7301_19911112": "t1ce=flair", "TCGA_HT_A61B_19991127": "t1=flair;t1ce=flair"}


@pytest.fixture(scope="module")
def patients(real_data: Path) -> Path:
    folder = real_data / "lgg/kaggle_3m"
    if not folder.is_dir():
        pytest.skip(f"no lower-grade gliomas in {folder}")
    return folder


@pytest.fixture(scope="module")
def study(patients, tmp_path_factory):
    """Return the checkout and the arguments of the study, and its results folder, after it ran."""
    root = tmp_path_factory.mktemp("lgg")
    checkout = copy_checkout(root / "glioflow")
    overlay = {
        "results": str(root / "results"),
        "cohorts": {"lgg": {"path": str(patients)}},
        "models": {"unet": SMALL},
        "failure": {"extremes": 3},
    }
    (root / "small.yaml").write_text(yaml.safe_dump(overlay))
    arguments = ("--configfile", STUDY, str(root / "small.yaml"))
    run = snakemake(checkout, "--quiet", "rules", *arguments)
    assert run.returncode == 0, run.stdout
    return checkout, arguments, root / "results"


def published(folder: Path, case: str) -> np.ndarray:
    """Return a patient's slices as they are published: an array (colour, x, y, z)."""
    slices = [path for path in (folder / case).glob("*.tif") if not path.stem.endswith("_mask")]
    stack = np.stack([tifffile.imread(path) for path in sorted(slices, key=lambda path: int(path.stem.rpartition("_")[2]))])
    return stack.transpose(3, 2, 1, 0)


def test_flair_is_read_where_a_patient_lacks_a_sequence_as_the_published_colours_have_it(study, patients):
    manifest = read_manifest(study[2] / "cohorts/lgg/manifest.csv").set_index("case_id")
    assert set(manifest.index) == {folder.name for folder in patients.glob("TCGA_*")}
    assert manifest["substituted"].dropna().to_dict() == LACKING
    for case, row in manifest.iterrows():
        colours = published(patients, case)
        for colour, channel in zip(colours, COLOURS, strict=True):
            assert np.array_equal(read_volume(row[channel]).data, colour), (case, channel)
    assert pd.read_csv(study[2] / "cohorts/lgg/verification.csv")["severity"].eq("warning").all()


def test_the_network_reads_what_takes_the_place_of_a_channel(study):
    folder = next((study[2] / "models/unet").rglob("glioflowPlans_2d"))
    for case, substituted in LACKING.items():
        t1, flair, t1ce = np.asarray(blosc2.open(str(folder / f"{case}.b2nd"), mode="r")[:])
        assert np.array_equal(t1, flair) == ("t1=flair" in substituted.split(";"))
        assert np.array_equal(t1ce, flair)
        assert np.isfinite([t1, flair, t1ce]).all() and flair.std() > 0


def test_every_patient_is_scored_in_cross_validation(study, patients):
    scores = pd.read_csv(study[2] / "scores/unet/cv.csv")
    assert set(scores["case_id"]) == {folder.name for folder in patients.glob("TCGA_*")}
    assert scores["dice"].between(0, 1).all() and scores["volume_truth_ml"].gt(0).all()
    assert scores.set_index("case_id")["substituted"].eq("yes").to_dict() == {c: c in LACKING for c in scores["case_id"]}
    summary = pd.read_csv(study[2] / "scores/unet/cv_summary.csv").set_index(["label", "metric"])
    assert summary.loc[("WT", "dice"), "n"] == len(scores)
    print(summary.loc["WT", ["n", "mean", "median"]].to_string())  # shown by pytest -rP


def test_the_report_counts_the_substituted_channels_and_compares_those_patients(study):
    page = (study[2] / "report/index.html").read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "2 cases of 10 lack a channel that the study reads" in text
    assert "FLAIR takes the place of T1ce in 2 cases" in text and "FLAIR takes the place of T1 in 1 case" in text
    covariates = pd.read_csv(study[2] / "failure/unet/cv/covariates.csv")
    levels = covariates[covariates["covariate"] == "substituted"].set_index("level")
    assert levels["n_level"].to_dict() == {"yes": 2, "no": 8}


def test_shapes_are_those_of_the_published_masks_and_rare_clusters_are_left_out(study, patients):
    shapes = pd.read_csv(study[2] / "quality/unet/cv/shapes.csv").set_index(["mask", "case_id"]).loc["truth"]
    assert set(shapes.index) == {folder.name for folder in patients.glob("TCGA_*")}
    for case, row in shapes.iterrows():
        masks = sorted((patients / case).glob("*_mask.tif"), key=lambda path: int(path.stem.split("_")[-2]))
        mask = np.stack([tifffile.imread(path) for path in masks]).transpose(2, 1, 0) > 0
        features, _ = shape_features(mask, np.diag([-1.0, -1, 1, 1]), (1, 1, 1))
        assert row[list(features)].to_dict() == pytest.approx(features)
    tested = pd.read_csv(study[2] / "quality/unet/cv/shape_covariates.csv")
    clusters = tested[(tested["mask"] == "truth") & (tested["covariate"] == "rnaseq_cluster")]
    assert (clusters["note"] == "left out, fewer than 3 patients: 3, 4").all() and clusters["fisher_p"].between(0, 1).all()


def test_the_report_tells_what_of_volumes_and_shape_cannot_be_told(study):
    text = " ".join(re.sub(r"<[^>]+>", " ", (study[2] / "report/index.html").read_text(encoding="utf-8")).split())
    assert "The enhancing share of the tumour (ET/WT) cannot be compared: not applicable: the truth shows WT only" in text
    assert "Nothing can be said of volumes over time: every patient has one session in this set." in text
    assert "one ml stands for a thousand voxels of an assumed size" in text


def test_nothing_is_to_be_done_again(study):
    checkout, arguments, _ = study
    assert "Nothing to be done" in snakemake(checkout, "-n", *arguments).stdout
