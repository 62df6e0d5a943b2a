"""What the workflow plans, seen in dry-runs: job lists of the demo and of every study, and what reruns what."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPO, save, write_case
from workflows import copy_checkout, planned_jobs, snakemake

CHAIN = {
    "convert_cohort": 1, "verify_cohort": 1, "compare_cohorts": 1, "split_cohort": 1, "write_dataset_json": 1, "plan_model": 1,
    "preprocess_model": 1, "collect_cv": 1, "select_extremes": 1, "extract_radiomics": 1, "associate_features": 1,
    "compare_covariates": 1, "classify_failures": 1, "draw_associations": 1, "draw_extremes": 1, "pack_volumes": 1,
    "compare_models": 1, "summarise_jobs": 1, "write_report": 1, "all": 1,
}  # fmt: skip

QUALITY = ("measure_volumes", "compare_volumes", "follow_volumes", "measure_shapes", "compare_shapes")
WITHOUT_TRUTH = ("measure_quality", "predict_quality", "evaluate_quality")
COHORT = ("make_phantom", "convert_cohort", "verify_cohort", "compare_cohorts", "split_cohort")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("planning") / "glioflow")


@pytest.fixture(scope="module")
def look_alike(tmp_path_factory):
    """A folder laid out like the real data that the studies name, with tiny cases."""
    root = tmp_path_factory.mktemp("data")
    for number in range(6):
        write_case(root / "brats2021", f"BraTS2021_{number:05d}")
    for case in ("BraTS2024_SSA-00002-000", "BraTS2024_SSA-00230-000"):
        folder = write_case(root / "brats_africa/images", case, raw_et=1)
        for model in ("nnUnet", "SegResNet"):
            target = root / "brats_africa/predictions" / model / case / f"{case}_pred.nii.gz"
            target.parent.mkdir(parents=True)
            shutil.copyfile(folder / f"{case}_seg.nii.gz", target)
    return root


def plan(checkout: Path, study: dict, tmp_path: Path, *arguments: str):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return snakemake(checkout, "-n", "--configfile", str(path), *arguments)


def test_the_demo_plans_every_stage(checkout):
    jobs = planned_jobs(snakemake(checkout, "-n"))
    assert jobs == {
        **CHAIN, **dict.fromkeys(COHORT, 2), "train_fold": 2, "predict_cases": 2, "score_cases": 2, "summarise_scores": 2,
        "compare_conventions": 2, **dict.fromkeys(QUALITY, 2), "measure_quality": 3, "predict_quality": 3,
        "evaluate_quality": 2, "export_scores": 2, "export_model": 1, "write_bundle": 1,
    }  # fmt: skip


def test_the_brats_study_plans_from_its_configuration_alone(checkout, look_alike):
    run = snakemake(checkout, "-n", "--configfile", "config/studies/brats21_cpu.yaml", GLIOFLOW_REAL_DATA=str(look_alike))
    assert planned_jobs(run) == {
        **CHAIN, "train_fold": 2, "score_cases": 1, "summarise_scores": 1, "compare_conventions": 1,
        **dict.fromkeys([*QUALITY, *WITHOUT_TRUTH], 1),
    }  # fmt: skip
    assert "phantom" not in run.stdout, "the demo was merged into the study"


def test_the_scoring_study_plans_no_training(checkout, look_alike):
    run = snakemake(
        checkout, "-n", "--configfile", "config/studies/brats_africa_given.yaml", GLIOFLOW_REAL_DATA=str(look_alike)
    )
    jobs = planned_jobs(run)
    assert jobs["convert_predictions"] == 2
    assert jobs["score_cases"] == 2
    assert not {"plan_model", "preprocess_model", "train_fold", "predict_cases"} & set(jobs)


def test_every_study_file_is_planned_by_a_test():
    tested = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [study.name for study in sorted((REPO / "config/studies").glob("*.yaml")) if study.name not in tested] == []


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("cohorts", "split_cohort"),
        ("models", "train_fold"),
        ("tensorboard", "write_tensorboard"),
        ("exports", "export_model"),
        ("predictions", "predict_cases"),
        ("scores", "summarise_scores"),
        ("failure", "draw_associations"),
        ("quality", "compare_shapes"),
        ("report", "write_report"),
    ],
)
def test_each_stage_is_a_target(checkout, target, last):
    order = [
        "split_cohort", "train_fold", "write_tensorboard", "predict_cases", "summarise_scores", "draw_associations",
        "compare_shapes", "export_model", "write_report",
    ]  # fmt: skip
    jobs = planned_jobs(snakemake(checkout, "-n", target))
    assert jobs[last] >= 1
    assert not set(order[order.index(last) + 1 :]) & set(jobs)
    assert ("classify_failures" in jobs) == (target in ("failure", "report"))


def test_volumes_and_shapes_are_measured_where_the_study_asks_for_it(checkout, tmp_path):
    study = {
        "cohorts": {"c": {"dataset": "phantom", "test_fraction": 0.25}},
        "models": {"a": {"cohort": "c"}},
        "quality": {"sets": ["test"], "follow": [], "shape": None},
    }
    jobs = planned_jobs(plan(checkout, study, tmp_path))
    assert {name: jobs[name] for name in QUALITY if name in jobs} == {"measure_volumes": 1, "compare_volumes": 1}
    without_truth = {name: jobs[name] for name in WITHOUT_TRUTH}
    assert without_truth == {"measure_quality": 2, "predict_quality": 1, "evaluate_quality": 1}  # cv calibrates
    none = planned_jobs(plan(checkout, {**study, "quality": {"sets": []}}, tmp_path))
    assert not {*QUALITY, *WITHOUT_TRUTH} & set(none)


def test_a_cohort_without_truth_gets_quality_and_no_scores(checkout, tmp_path):
    new = {"dataset": "phantom", "external": True, "labelled": False}
    study = {
        "cohorts": {"c": {"dataset": "phantom"}, "new": new},
        "models": {"a": {"cohort": "c", "external": ["new"]}, "b": {"cohort": "c"}},
        "ensembles": {},
    }
    jobs = planned_jobs(plan(checkout, study, tmp_path, "--", "quality"))
    assert jobs["predict_cases"] == 1 and jobs["score_cases"] == 2
    assert [jobs[name] for name in WITHOUT_TRUTH] == [3, 3, 2]


def test_features_are_exported_and_measured_again_where_that_is_asked_for(checkout, tmp_path):
    study = {"cohorts": {"c": {"dataset": "phantom", "cases": 120}}, "models": {"a": {"cohort": "c"}}}
    assert planned_jobs(plan(checkout, study, tmp_path, "--", "exports"))["export_features"] == 1
    usual = planned_jobs(plan(checkout, study, tmp_path))
    asked = planned_jobs(plan(checkout, {**study, "failure": {"stability": True, "binning": True}}, tmp_path))
    assert not {"vary_features", "measure_stability", "measure_binning", "export_features"} & set(usual)
    assert asked - usual == {"vary_features": 2 * 3, "measure_stability": 1, "measure_binning": 1}  # three shards, two kinds


def test_a_model_of_a_custom_trainer_is_not_exported(checkout, tmp_path):
    models = {"a": {"cohort": "c", "postprocessing": {}}, "b": {"cohort": "c", "trainer": "nnUNetTrainerDA5"}}
    study = {"cohorts": {"c": {"dataset": "phantom"}}, "models": models}
    run = plan(checkout, study, tmp_path, "--", "exports")
    assert planned_jobs(run)["export_model"] == 1
    assert planned_jobs(run)["choose_postprocessing"] == 1  # the archive takes its steps along
    assert "models/a/a.zip" in run.stdout


def test_masks_are_cleaned_up_where_the_study_says_so_and_probabilities_are_freed(checkout, tmp_path):
    models = {"a": {"cohort": "c", "folds": 2, "postprocessing": {}}, "b": {"cohort": "c", "folds": 2}}
    study = {
        "cohorts": {"c": {"dataset": "phantom", "test_fraction": 0.25}},
        "models": models,
        "ensembles": {"mean": {"members": ["a", "b"]}, "voted": {"members": ["a", "b"], "method": "vote"}},
    }
    jobs = planned_jobs(plan(checkout, study, tmp_path))
    assert jobs["choose_postprocessing"] == 1
    assert jobs["postprocess_cases"] == 2  # cv and test
    assert jobs["release_probabilities"] == 2  # those of a and b, for the mean
    assert jobs["ensemble_models"] == 4


def test_two_models_an_ensemble_and_an_external_cohort_plan_their_sets(checkout, tmp_path):
    study = {
        "cohorts": {"a": {"dataset": "phantom", "cases": 120, "test_fraction": 0.5}, "b": {"dataset": "phantom", "cases": 20}},
        "models": {"x": {"cohort": "a", "folds": 22, "external": ["b"]}, "y": {"cohort": "a", "folds": 22}},
        "ensembles": {"xy": {"members": ["x", "y"], "merge": {"ED": "y"}}},
    }
    jobs = planned_jobs(plan(checkout, study, tmp_path))
    assert jobs["train_fold"] == 44
    assert jobs["predict_cases"] == 3  # x: test, b; y: test
    assert jobs["ensemble_models"] == 2  # cv, test
    assert jobs["score_cases"] == 2 * 6 + 1  # two shards of 60 cases for each of six sets, one for the 20 of b
    assert jobs["extract_radiomics"] == 2 * 3  # cv of x, y and xy, two shards each


def test_models_are_compared_on_the_sets_that_they_share(checkout, tmp_path):
    study = {
        "cohorts": {"a": {"dataset": "phantom", "test_fraction": 0.5}, "b": {"dataset": "phantom"}},
        "models": {"x": {"cohort": "a", "external": ["b"]}, "y": {"cohort": "a"}},
        "ensembles": {"xy": {"members": ["x", "y"]}},
    }
    both = plan(checkout, study, tmp_path, "--", "scores")
    (inputs,) = re.findall(r"^rule compare_models:\n    input: (.*)$", both.stdout, re.MULTILINE)
    assert inputs.split(", ") == [f"results/scores/{model}/{name}.csv" for name in ("cv", "test") for model in ("x", "y", "xy")]
    study["models"].pop("y")
    alone = plan(checkout, {**study, "ensembles": {}}, tmp_path, "--", "scores")
    assert planned_jobs(alone)["compare_models"] == 1
    assert "rule compare_models:\n    output: results/scores/comparison.csv, results/scores/ranks.csv" in alone.stdout


def test_the_slurm_profile_plans(checkout):
    (checkout / "slurm").symlink_to("profiles/slurm")
    run = snakemake(checkout, "-n", "--profile", "slurm")
    assert planned_jobs(run)["train_fold"] == 2


def test_a_wrong_configuration_stops_before_planning_without_a_traceback(checkout, tmp_path):
    run = plan(checkout, {"cohorts": {"a": {"dataset": "phantom", "casess": 3}}}, tmp_path)
    assert run.returncode != 0
    assert "cohorts.a.casess: unknown key; did you mean 'cases'?" in run.stdout
    assert "study.yaml: 1 problem in the configuration" in run.stdout
    assert "Traceback" not in run.stdout


def test_configuration_on_the_command_line_changes_the_study_it_runs(checkout, tmp_path):
    run = plan(checkout, {"cohorts": {"a": {"dataset": "phantom"}}}, tmp_path, "--config", "results=elsewhere")
    assert "elsewhere/cohorts/a/manifest.csv" in run.stdout


@pytest.fixture(scope="module")
def scored(tmp_path_factory, look_alike):
    """A finished run of a study that scores given masks: the cheap rules, for real."""
    checkout = copy_checkout(tmp_path_factory.mktemp("scored") / "glioflow")
    data = tmp_path_factory.mktemp("brats")
    masks = tmp_path_factory.mktemp("masks")
    for number in range(4):
        folder = write_case(data, f"case{number}", tumour=2 + number, raw_et=4 if number else 1)
        shutil.copyfile(folder / f"case{number}_seg.nii.gz", masks / f"case{number}.nii.gz")
    study = {
        "cohorts": {"c": {"dataset": "brats2021", "path": str(data)}},
        "models": {"m": {"cohort": "c", "predictions": f"{masks}/{{case}}.nii.gz", "label_scheme": "brats2021"}},
        "failure": {"extremes": 2},
    }
    (checkout / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(checkout, "--configfile", "study.yaml")
    assert run.returncode == 0, run.stdout
    return checkout, data, masks, study


def test_a_case_without_enhancing_tumour_is_scored(scored):
    scores = pd.read_csv(scored[0] / "results/scores/m/given.csv").set_index(["case_id", "label"])
    assert np.isnan(scores.loc[("case0", "ET"), "dice"])
    assert scores.loc[("case0", "ET"), "note"] == "absent in truth and prediction"
    assert (scores["dice"].drop(("case0", "ET")) == 1).all()


def jobs_after(checkout: Path, *arguments: str) -> set[str]:
    return set(planned_jobs(snakemake(checkout, "-n", "--configfile", "study.yaml", *arguments)))


def test_nothing_changed_plans_nothing(scored):
    assert jobs_after(scored[0]) == set()


def test_touching_the_code_and_the_results_plans_nothing(scored):
    for path in scored[0].rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()
    assert jobs_after(scored[0]) == set()


def test_a_comment_in_a_script_plans_nothing_and_a_change_plans_the_rule_and_what_follows(scored):
    script = scored[0] / "scripts/associate_features.py"
    text = script.read_text()
    script.write_text(text + "\n# a remark\n")
    assert jobs_after(scored[0]) == set()
    script.write_text(text + "\nCHANGED = 1\n")
    assert jobs_after(scored[0]) == {"associate_features", "draw_associations", "summarise_jobs", "write_report", "all"}
    script.write_text(text)


def test_a_figure_setting_plans_only_what_it_affects(scored):
    jobs = jobs_after(scored[0], "--config", "failure={extremes: 2, bin_width: 10}")
    assert jobs == {"extract_radiomics", "associate_features", "draw_associations", "summarise_jobs", "write_report", "all"}


def test_a_changed_number_of_extremes_reads_no_cohort_again_and_so_trains_nothing(scored):
    jobs = jobs_after(scored[0], "--config", "failure={extremes: 1}")
    assert {"select_extremes", "write_report"} <= jobs
    assert not {"convert_cohort", "verify_cohort", "split_cohort", "convert_predictions", "score_cases"} & jobs


def test_without_failure_analysis_no_failure_job_is_planned(scored):
    jobs = jobs_after(scored[0], "--config", "failure=off")
    assert not {"select_extremes", "extract_radiomics", "associate_features", "compare_covariates", "draw_extremes"} & jobs
    assert "write_report" in jobs


def test_a_changed_mask_is_seen_and_only_its_case_is_done_again(scored):
    checkout, _, masks, _ = scored
    save(masks / "case1.nii.gz", np.zeros((10, 12, 8), np.uint8))
    run = snakemake(checkout, "scores", "--configfile", "study.yaml")
    assert run.returncode == 0, run.stdout
    assert "4 masks, 1 converted" in run.stdout
    assert "4 cases, 12 rows" in run.stdout


def test_no_file_name_joins_two_wildcards_so_that_two_jobs_could_share_one():
    for rules in sorted((REPO / "rules").glob("*.smk")):  # model m + set x_test, and m_x + test
        joined = re.findall(r"\"<\w+>/.*\{(?:cohort|model|set|fold|shard)\}_\{.*\"", rules.read_text())
        assert joined == []
