"""The published systems as studies: each plans the jobs that express it, at its cohorts' real size. So do its small variants.

Planning looks at the names of files alone, so the cohorts' files are empty here; a data set that is fetched is not even there.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPO
from miniature_cases import HYPHENS, UNDERSCORES, write_lines
from workflows import copy_checkout, planned_jobs, snakemake

UPENN = {"t1": "T1", "t1ce": "T1GD", "t2": "T2", "flair": "FLAIR"}

COHORT = ("convert_cohort", "verify_cohort", "compare_cohorts", "split_cohort")
MODEL = ("write_dataset_json", "plan_model", "preprocess_model", "collect_cv")
ANALYSIS = (
    *("select_extremes", "associate_features", "compare_covariates", "classify_failures", "draw_associations", "draw_extremes"),
    "pack_volumes",
)
QUALITY = (
    *("measure_volumes", "compare_volumes", "follow_volumes", "measure_shapes", "compare_shapes"),
    *("measure_quality", "predict_quality", "evaluate_quality"),
)
SET = ("compare_conventions", *QUALITY)


def jobs(cohorts: int, models: int, analyses: int, **others: int) -> dict[str, int]:
    """Return the jobs of a study: those that every cohort, model, analysed set and scored set has one of, and the others."""
    every = {**dict.fromkeys(COHORT, cohorts), **dict.fromkeys(MODEL, models), **dict.fromkeys(ANALYSIS, analyses)}
    every |= dict.fromkeys(SET, others["summarise_scores"])
    return {**every, **others, "compare_models": 1, "summarise_jobs": 1, "write_report": 1, "all": 1}


# What each study plans. A job scores up to 50 of a cohort's cases, and extracts the features of as many.
STUDIES = {
    # Seven models in five folds; cv and test of each, and meningioma by one. 358 cases are 8 jobs of scores, 60 are 2.
    "t501_gbm.yaml": jobs(
        2, 7, 7, train_fold=35, predict_cases=8, score_cases=14 * 8 + 2, summarise_scores=15, extract_radiomics=7 * 8
    ),
    "t501_gbm_cpu.yaml": jobs(
        2, 2, 2, make_phantom=2, train_fold=4, predict_cases=3, score_cases=5, summarise_scores=5, extract_radiomics=2
    ),
    # One model in five folds; 484 cases, which the registry knows before they are fetched.
    "msd_unet3d.yaml": jobs(1, 1, 1, fetch_dataset=1, train_fold=5, score_cases=10, summarise_scores=1, extract_radiomics=10),
    "msd_unet3d_cpu.yaml": jobs(1, 1, 1, make_phantom=1, train_fold=2, score_cases=1, summarise_scores=1, extract_radiomics=1),
    # 22 folds of 110 patients, cleaned up by what is chosen on cv.
    "lgg_unet2d.yaml": jobs(
        1, 1, 1, fetch_dataset=1, train_fold=22, choose_postprocessing=1, postprocess_cases=1,
        score_cases=3, summarise_scores=1, extract_radiomics=3, compare_published=1,
    ),
    "lgg_unet2d_cpu.yaml": jobs(
        1, 1, 1, make_phantom=1, train_fold=2, choose_postprocessing=1, postprocess_cases=1,
        score_cases=1, summarise_scores=1, extract_radiomics=1,
    ),
    # Three networks in five folds on 1350 cases.
    "post_treatment.yaml": jobs(1, 3, 3, train_fold=15, score_cases=3 * 27, summarise_scores=3, extract_radiomics=3 * 27),
    "post_treatment_cpu.yaml": jobs(
        1, 2, 2, make_phantom=1, train_fold=4, score_cases=2, summarise_scores=2, extract_radiomics=2
    ),
    # Two recipes in five folds on 369 cases, and their merged masks, which are scored and analysed like a model's. The merged
    # regions hold every label, so no probabilities are kept that would have to be released.
    "capstone.yaml": jobs(
        1, 2, 3, train_fold=10, ensemble_models=1, score_cases=3 * 8, summarise_scores=3, extract_radiomics=3 * 8,
        compare_published=1,
    ),
    "capstone_cpu.yaml": jobs(
        1, 2, 3, make_phantom=1, train_fold=4, ensemble_models=1, score_cases=3, summarise_scores=3, extract_radiomics=3
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("studies") / "glioflow")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The variables that the studies name, with folders that are laid out as the data sets are; no data set is fetched yet."""
    root = tmp_path_factory.mktemp("data")
    touch_cases(root / "brats2020", (f"BraTS20_Training_{number:03d}" for number in range(1, 370)), UNDERSCORES)
    touch_cases(root / "brats2024", (f"BraTS-GLI-{number:05d}-100" for number in range(1350)), HYPHENS)
    meningiomas = [f"BraTS-MEN-{number:05d}-000" for number in range(60)]
    touch_cases(root / "meningioma", meningiomas, HYPHENS)
    write_lines(root / "grades.csv", "case_id,grade", *(f"{case},{number % 3 + 1}" for number, case in enumerate(meningiomas)))
    for number in range(1, 359):
        case = f"UPENN-GBM-{number:05d}_11"
        names = [f"images_structural/{case}/{case}_{token}.nii.gz" for token in UPENN.values()]
        touch(root / "upenn", [*names, f"automated_segm/{case}_automated_approx_segm.nii.gz"])
    return {
        "BRATS2020": str(root / "brats2020"),
        "BRATS2024_GLI": str(root / "brats2024"),
        "BRATS_MEN": str(root / "meningioma"),
        "MENINGIOMA_GRADES": str(root / "grades.csv"),
        "UPENN_GBM": str(root / "upenn"),
        "GLIOFLOW_DATA": str(root / "fetched"),
    }


def touch_cases(folder: Path, cases: Iterable[str], suffixes: Mapping[str, str]) -> None:
    """Make empty files for cases that have a folder each, named as BraTS's are."""
    for case in cases:
        touch(folder, [f"{case}/{case}{suffix}.nii.gz" for suffix in suffixes.values()])


def touch(folder: Path, names: Iterable[str]) -> None:
    """Make empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("study", STUDIES)
def test_a_published_system_plans_the_jobs_that_express_it(study, checkout, data):
    run = snakemake(checkout, "-n", "--configfile", f"config/studies/{study}", **data)
    assert planned_jobs(run) == STUDIES[study]


FULL = [study for study in STUDIES if not study.endswith("_cpu.yaml")]
RECIPE = ("network", "configuration", "loss", "optimiser", "schedule", "initial_lr", "deep_supervision", "postprocessing")


@pytest.mark.parametrize("study", FULL)
def test_the_variant_for_a_cpu_needs_no_data_and_leaves_out_no_kind_of_result(study):
    full, small = (read_study(name) for name in (study, study.replace(".yaml", "_cpu.yaml")))
    assert {cohort["dataset"] for cohort in small["cohorts"].values()} == {"phantom"}
    assert small.get("ensembles") == full.get("ensembles")
    for key in ("regions", "lesionwise"):
        assert small["evaluation"].get(key) == full["evaluation"].get(key)
    assert bool(small["evaluation"].get("group_by")) == bool(full["evaluation"].get("group_by"))
    assert {**small["failure"], "extremes": None} == {**full["failure"], "extremes": None}
    for key in RECIPE:  # of the three networks of post_treatment two are enough: attention_resunet has the blocks of resenc_m
        assert used(small, key) == used(full, key) - {"resenc_m"}, key


def used(study: dict[str, Any], key: str) -> set[str]:
    """Return what the models of a study say for a key."""
    return {str(model.get(key)) for model in study["models"].values()}


def read_study(name: str) -> dict[str, Any]:
    return yaml.safe_load((REPO / "config/studies" / name).read_text())
