"""Whole studies up to the report: wrong label schemes on real masks, labels without images, a cohort without truth."""

import re

import pandas as pd
import pytest
import yaml
from conftest import write_case
from workflows import copy_checkout, planned_jobs, snakemake

CASES = ("Brats18_2013_11_1", "Brats18_TCIA02_606_1")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("warnings") / "glioflow")


def run(checkout, folder, study, *arguments):
    (folder / "study.yaml").write_text(yaml.safe_dump({"results": str(folder / "results"), **study}))
    return snakemake(checkout, "--configfile", str(folder / "study.yaml"), *arguments)


def report(folder) -> str:
    """Return the text of a report without its markup, one space between words."""
    page = (folder / "results/report/index.html").read_text(encoding="utf-8")
    text = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(text.replace("&#39;", "'").replace("\u00a0", " ").split())


@pytest.mark.long
@pytest.mark.real_data
def test_wrong_label_schemes_of_real_masks_and_of_their_truth_are_in_the_report(checkout, real_data, tmp_path):
    data = real_data / "brats2018_given"
    for name in ("brats18", "masks"):
        (tmp_path / name).mkdir()
    for case in CASES:
        (tmp_path / "brats18" / case).symlink_to(data / case)
        (tmp_path / "masks" / f"{case}.nii.gz").symlink_to(data / f"predictions/{case}.nii.gz")
    files = {"flair": "{case}/{case}_flair.nii.gz", "label": "{case}/{case}_seg.nii.gz"}
    cohort = {"dataset": "folders", "path": str(tmp_path / "brats18"), "files": files}
    masks = f"{tmp_path}/masks/{{case}}.nii.gz"
    study = {
        "cohorts": {"truth": {**cohort, "label_scheme": "brats2021"}, "misread": {**cohort, "label_scheme": "brats2024"}},
        "models": {
            "right": {"cohort": "truth", "predictions": masks, "label_scheme": "brats2023"},
            "wrong": {"cohort": "truth", "predictions": masks, "label_scheme": "nnunet"},
            "other": {"cohort": "misread", "predictions": masks, "label_scheme": "brats2023"},
        },
        "failure": False,
    }
    done = run(checkout, tmp_path, study)
    assert done.returncode == 0, done.stdout
    text = report(tmp_path)
    warnings = text.split(" Warnings ")[1].split(" Volumes and shape ")[0]
    assert "wrong · given : The masks hold 1, 2, 3, which the scheme 'nnunet' knows; but read as" in warnings
    assert "other · given : ET is in none of 2 truths and in 2 of their predictions" in warnings
    assert "right · given" not in warnings
    schemes = text.split("Label schemes: ")[1].split(" Warnings ")[0]
    assert "wrong nnunet 1 = ED, 2 = NCR, 3 = ET" in schemes
    assert "misread brats2024 1 = NCR, 2 = ED, 3 = ET, 4 = RC" in schemes
    assert "The failure analysis is turned off" in text


def test_labels_alone_are_scored_and_reported(checkout, tmp_path):
    for number in range(3):
        folder = write_case(tmp_path / "labels", f"case{number}", tumour=3 + number)
        for image in (image for image in folder.iterdir() if not image.name.endswith("_seg.nii.gz")):
            image.unlink()
    files = {"label": "{case}/{case}_seg.nii.gz"}
    study = {
        "cohorts": {"c": {"dataset": "folders", "path": str(tmp_path / "labels"), "files": files, "label_scheme": "brats2021"}},
        "models": {
            "m": {"cohort": "c", "predictions": f"{tmp_path}/labels/{{case}}/{{case}}_seg.nii.gz", "label_scheme": "brats2021"}
        },
    }
    refused = run(checkout, tmp_path, study)
    assert refused.returncode != 0 and "write failure: off" in refused.stdout and "Traceback" not in refused.stdout
    done = run(checkout, tmp_path, {**study, "failure": False})
    assert done.returncode == 0, done.stdout
    scores = pd.read_csv(tmp_path / "results/scores/m/given.csv")
    assert set(scores["case_id"]) == {"case0", "case1", "case2"} and (scores["dice"].dropna() == 1).all()
    assert not (tmp_path / "results/failure").exists()
    assert "The failure analysis is turned off" in report(tmp_path)


def test_a_cohort_without_truth_is_verified_and_planned_to_be_predicted_and_not_scored(checkout, tmp_path):
    for number in range(4):
        write_case(tmp_path / "old", f"case{number}")
        write_case(tmp_path / "new", f"P{number // 2}_v{number % 2}", seed=1)
    for label in tmp_path.glob("new/*/*_seg.nii.gz"):
        label.unlink()
    study = {
        "cohorts": {
            "old": {"dataset": "brats2021", "path": str(tmp_path / "old")},
            "new": {"dataset": "brats2021", "path": str(tmp_path / "new"), "external": True, "labelled": False},
        },
        "models": {"m": {"cohort": "old", "folds": 2, "external": ["new"], "postprocessing": {}}},
    }
    done = run(checkout, tmp_path, study, "--", "cohorts")
    assert done.returncode == 0, done.stdout
    problems = pd.read_csv(tmp_path / "results/cohorts/new/verification.csv")
    assert problems["problem"].tolist() == ["visit_ids"]
    assert "P0_v0, P0_v1, P1_v0, P1_v1" in problems["found"][0]
    assert pd.read_csv(tmp_path / "results/cohorts/new/split.csv")["set"].tolist() == ["external"] * 4
    jobs = planned_jobs(run(checkout, tmp_path, study, "-n"))
    assert (jobs["predict_cases"], jobs["postprocess_cases"]) == (1, 2)
    assert (jobs["score_cases"], jobs["select_extremes"], jobs["compare_conventions"]) == (1, 1, 1)  # of cv alone
