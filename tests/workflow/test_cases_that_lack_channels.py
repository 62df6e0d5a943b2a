"""Cohorts with missing channels from their files to the report: left out, or read with other images in their place."""

import copy
import shutil

import pandas as pd
import pytest
import yaml
from conftest import write_case
from workflows import copy_checkout, planned_jobs, snakemake

from glioflow.cohorts.manifests import read_manifest

CASES = [f"BraTS2021_{number:05d}" for number in range(5)]
LACKING = CASES[1]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return the folder of a finished study whose two cohorts, the same cases, are only scored; one case lacks t1ce."""
    root = tmp_path_factory.mktemp("missing")
    checkout = copy_checkout(root / "glioflow")
    for number, case in enumerate(CASES):
        write_case(root / "data", case, tumour=4 + number % 3)
        (root / "masks").mkdir(exist_ok=True)
        shutil.copyfile(root / f"data/{case}/{case}_seg.nii.gz", root / f"masks/{case}.nii.gz")
    (root / f"data/{LACKING}/{LACKING}_t1ce.nii.gz").unlink()
    cohort = {"dataset": "brats2021", "path": str(root / "data"), "external": True}
    masks = {"predictions": f"{root}/masks/{{case}}.nii.gz", "label_scheme": "brats2021"}
    described = {
        "results": str(root / "results"),
        "cohorts": {
            "left": {**cohort, "on_missing_channel": "exclude"},
            "filled": {**cohort, "on_missing_channel": "substitute", "substitute": {"t1ce": "zeros", "t2": "flair"}},
        },
        "models": {"left": {"cohort": "left", **masks}, "filled": {"cohort": "filled", **masks}},
        "failure": {"extremes": 2, "image": "t1ce", "rank_by": "dice"},
    }
    (root / "study.yaml").write_text(yaml.safe_dump(described))
    run = snakemake(checkout, "--configfile", str(root / "study.yaml"))
    assert run.returncode == 0, run.stdout
    return root, checkout, described, run.stdout


def table(study, path: str) -> pd.DataFrame:
    return pd.read_csv(study[0] / "results" / path)


def test_an_excluded_case_is_in_no_table_but_that_of_the_problems(study):
    rest = [case for case in CASES if case != LACKING]
    for path in ("cohorts/left/manifest.csv", "cohorts/left/split.csv"):
        assert table(study, path)["case_id"].tolist() == rest
    assert set(table(study, "scores/left/given.csv")["case_id"]) == set(rest)
    reasons = table(study, "cohorts/left/verification.csv")
    assert reasons[["case_id", "severity", "found"]].values.tolist() == [[LACKING, "excluded", "no file for channel t1ce"]]
    assert "1 case excluded" in study[3]


def test_a_substituted_channel_is_marked_and_gives_no_features(study):
    manifest = read_manifest(study[0] / "results/cohorts/filled/manifest.csv").set_index("case_id")
    assert manifest["substituted"].dropna().to_dict() == {LACKING: "t1ce=zeros"}
    assert set(table(study, "scores/filled/given.csv")["case_id"]) == set(CASES)
    radiomics = table(study, "failure/filled/given/radiomics.csv").set_index("case_id")
    features = [column for column in radiomics if column.startswith("original_")]
    assert LACKING in radiomics.index  # the second worst of all: every mask is right, and it comes second by its name
    assert radiomics.loc[LACKING, features].isna().all()
    assert "zeros takes its place" in radiomics.loc[LACKING, "note"]
    assert radiomics.drop(LACKING)["original_firstorder_Mean"].notna().all()
    covariates = table(study, "failure/filled/given/covariates.csv")
    assert "substituted" in set(covariates["covariate"])
    page = (study[0] / "results/report/index.html").read_text()
    assert "zeros takes the place of T1ce in 1 case" in page and "1 case is left out" in page


def jobs_after(study, **cohorts: dict) -> set[str]:
    """Return the rules of the jobs that are planned with other keys of a cohort."""
    root, checkout, described, _ = study
    changed = copy.deepcopy(described)
    for name, keys in cohorts.items():
        changed["cohorts"][name].update(keys)
    (root / "study.yaml").write_text(yaml.safe_dump(changed))
    return set(planned_jobs(snakemake(checkout, "-n", "--configfile", str(root / "study.yaml"))))


def test_a_mapping_of_channels_that_nothing_reads_plans_the_report_alone(study):
    assert jobs_after(study) == set()
    assert jobs_after(study, filled={"substitute": {"t1ce": "zeros", "t2": "t1"}}) == {"write_report", "all"}


def test_another_mapping_plans_the_check_of_its_cohort_and_what_follows_and_no_conversion(study):
    jobs = jobs_after(study, filled={"substitute": {"t1ce": "flair"}})
    assert {"verify_cohort", "split_cohort", "extract_radiomics", "draw_extremes", "write_report"} <= jobs
    assert "convert_cohort" not in jobs


def test_without_a_rule_the_case_stops_the_study(study, tmp_path):
    root, checkout, described, _ = study
    plain = copy.deepcopy(described)
    plain["results"] = str(tmp_path)
    plain["cohorts"]["left"].pop("on_missing_channel")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(plain))
    run = snakemake(checkout, "--configfile", str(tmp_path / "study.yaml"), "--", f"{tmp_path}/cohorts/left/split.csv")
    assert run.returncode != 0 and "Traceback" not in run.stdout
    where = root / f"data/{LACKING}/{LACKING}_t1ce.nii.gz"
    assert f"{LACKING}, {where}: found no file for channel t1ce; expected an image" in run.stdout
