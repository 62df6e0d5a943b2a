"""Real MRI of four data sets through convert, verify and split, and the plan of a study on all of them."""

import numpy as np
import pandas as pd
import pytest
import yaml
from workflows import copy_checkout, planned_jobs, snakemake

from glioflow.cohorts.manifests import read_manifest
from glioflow.imaging.volumes import read_labels, read_volume

UNDERSCORES = {role: f"{{case}}/{{case}}_{role}.nii.gz" for role in ("t1", "t1ce", "t2", "flair")}


@pytest.fixture(scope="module")
def study(real_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    checkout = copy_checkout(root / "glioflow")
    cohorts = {
        "brats21": {"dataset": "brats2021", "path": str(real_data / "brats2021"), "test_fraction": 0.2},
        "brats23": {"dataset": "brats2023_gli", "path": str(real_data / "brats2023"), "external": True},
        "africa": {
            "dataset": "brats_africa",
            "path": str(real_data / "brats_africa/images"),
            "files": {**UNDERSCORES, "label": "{case}/{case}_seg.nii.gz"},
            "label_scheme": "et_ncr_ed",
            "on_geometry_mismatch": "use_image_header",
            "grid": {"orientation": "LPS"},
            "external": True,
        },
        "lgg": {"dataset": "lgg_kaggle", "path": str(real_data / "lgg"), "stratify_by": "grade", "spacing_mm": [1, 1, 5]},
    }
    models = {
        "glioma": {"cohort": "brats21", "folds": 2, "external": ["brats23", "africa"]},
        "lower": {"cohort": "lgg", "folds": 8, "channels": ["flair"], "regions": ["WT"]},
    }
    study = {
        "results": str(root / "results"),
        "cohorts": cohorts,
        "models": models,
        "evaluation": {"regions": ["WT"]},
        "failure": {"extremes": 2},
    }
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(checkout, "--configfile", str(root / "study.yaml"), "--quiet", "all", "--", "cohorts")
    assert run.returncode == 0, run.stdout
    return root, checkout


def manifest(study, cohort: str) -> pd.DataFrame:
    return read_manifest(study[0] / f"results/cohorts/{cohort}/manifest.csv").set_index("case_id")


def problems(study, cohort: str) -> list[str]:
    return pd.read_csv(study[0] / f"results/cohorts/{cohort}/verification.csv")["problem"].tolist()


def test_brats_2021_is_used_where_it_lies(study, real_data):
    table = manifest(study, "brats21")
    assert len(table) == 6 and problems(study, "brats21") == []
    assert table["t1"].str.startswith(str(real_data)).all()
    assert not (study[0] / "results/cohorts/brats21/converted").exists()
    without = table.index[table["volume_ET_ml"] == 0].tolist()
    assert without == ["BraTS2021_01477", "BraTS2021_01480"]


def test_brats_2023_names_and_float_labels_become_canonical(study):
    table = manifest(study, "brats23")
    assert problems(study, "brats23") == []
    assert table["patient_id"].tolist() == ["BraTS-GLI-00000"]
    assert table["orientation"].tolist() == ["LPS"]
    assert read_labels(table["label"].iloc[0]).data.dtype == np.uint8


def test_the_turned_african_images_and_their_misplaced_labels_come_to_one_grid(study):
    table = manifest(study, "africa")
    assert set(table["orientation"]) == {"LPS"}
    assert problems(study, "africa") == ["affine_mismatch"] * 2
    for row in table.to_dict("records"):
        image, label = read_volume(row["flair"]), read_labels(row["label"])
        assert np.allclose(image.affine, label.affine)
        enhancing = label.data == 3
        t1ce, t1 = read_volume(row["t1ce"]).data, read_volume(row["t1"]).data
        brain = t1 > 0
        gain = (t1ce / t1ce[brain].mean())[enhancing].mean() - (t1 / t1[brain].mean())[enhancing].mean()
        assert gain > 0.1, "what is called enhancing does not enhance: the label does not lie on its image"


def test_the_colour_slices_of_lgg_become_volumes_with_clinical_columns(study, real_data):
    table = manifest(study, "lgg")
    assert set(table.index) == {folder.name for folder in real_data.glob("lgg/kaggle_3m/TCGA_*")}
    assert set(table["spacing_mm"]) == {"1x1x5"}
    assert {"age_years", "sex", "grade", "histology"} <= set(table.columns)
    assert (table["volume_WT_ml"] > 0).all() and table["volume_ET_ml"].isna().all()
    split = pd.read_csv(study[0] / "results/cohorts/lgg/split.csv")
    assert set(split["fold_of_8"]) == set(range(8))


def test_the_whole_study_is_planned(study):
    root, checkout = study
    jobs = planned_jobs(snakemake(checkout, "-n", "--configfile", str(root / "study.yaml")))
    assert jobs["train_fold"] == 10
    assert jobs["predict_cases"] == 3  # test, brats23, africa
    assert not {"convert_cohort", "verify_cohort", "split_cohort"} & set(jobs)
