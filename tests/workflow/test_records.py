"""Whether a result still holds follows from the results folder alone: with and without Snakemake's notes, copied and moved."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import write_case
from workflows import copy_checkout, planned_jobs, snakemake


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A checkout with the finished results of a study that scores precomputed masks of two models, and the study."""
    checkout = copy_checkout(tmp_path_factory.mktemp("records") / "glioflow")
    data, masks = tmp_path_factory.mktemp("brats"), tmp_path_factory.mktemp("masks")
    for number in range(4):
        folder = write_case(data, f"case{number}", tumour=2 + number)
        for model in "mn":
            (masks / model).mkdir(exist_ok=True)
            shutil.copyfile(folder / f"case{number}_seg.nii.gz", masks / model / f"case{number}.nii.gz")
    (data / "grades.csv").write_text("case_id,grade\n" + "".join(f"case{number},{number % 2}\n" for number in range(4)))
    (masks / "radiomics.yaml").write_text("setting: {binWidth: 10}\n")
    given = {"cohort": "c", "label_scheme": "brats2021"}
    study = {
        "results": "results",
        "cohorts": {"c": {"dataset": "brats2021", "path": str(data), "covariates": str(data / "grades.csv")}},
        "models": {model: {**given, "predictions": f"{masks}/{model}/{{case}}.nii.gz"} for model in "mn"},
        "failure": {"extremes": 2},
    }
    run = plan(checkout, study, dry=False)
    assert run.returncode == 0, run.stdout
    return checkout, study


def plan(checkout: Path, study: dict[str, Any], dry: bool = True, **changed: Any):
    (checkout / "study.yaml").write_text(yaml.safe_dump(change(study, changed)))
    return snakemake(checkout, *(["-n"] if dry else []), "--configfile", "study.yaml", "--", "all", "scores")


def change(study: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """Return the study with the changed keys; a mapping changes only what it names."""
    merged = {**study}
    for key, value in changed.items():
        merged[key] = change(study.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def elsewhere(checkout: Path, target: Path, results: str = "results") -> Path:
    """Return a new clone with a copy of the results, all files new, as ``cp -r`` makes them; nothing of Snakemake's."""
    copy_checkout(target)
    shutil.copytree(checkout / "results", target / results, copy_function=shutil.copyfile)
    return target


# What is changed, and the first rule that it concerns.
CHANGES = {
    "covariates": ({"cohorts": {"c": {"covariates": None}}}, "convert_cohort"),
    "test_fraction": ({"cohorts": {"c": {"external": True}}}, "split_cohort"),
    "geometry": ({"cohorts": {"c": {"on_geometry_mismatch": "use_image_header"}}}, "verify_cohort"),
    "label_scheme": ({"models": {"m": {"label_scheme": "brats2023"}}}, "convert_predictions"),
    "on_missing": ({"evaluation": {"on_missing": "count_as_empty"}}, "convert_predictions"),
    "regions_seen": ({"models": {"m": {"regions": ["WT"]}}}, "score_cases"),
    "regions": ({"evaluation": {"regions": ["WT", "ET"]}}, "score_cases"),
    "convention": ({"evaluation": {"convention": "surface_distance"}}, "score_cases"),
    "lesionwise": ({"evaluation": {"lesionwise": "brats2023_gli"}}, "score_cases"),
    "group_by": ({"evaluation": {"group_by": ["grade"]}}, "summarise_scores"),
    "model": ({"models": {"n": {"predictions": "{masks}/m/{case}.nii.gz"}}}, "convert_predictions"),
    "rank_by": ({"failure": {"rank_by": "dice"}}, "select_extremes"),
    "region": ({"failure": {"region": "TC"}}, "select_extremes"),
    "extremes": ({"failure": {"extremes": 1}}, "select_extremes"),
    "penalised": ({"failure": {"penalised": "include"}}, "select_extremes"),
    "mask": ({"failure": {"mask": "prediction"}}, "extract_radiomics"),
    "bin_width": ({"failure": {"bin_width": 10}}, "extract_radiomics"),
    "normalise": ({"failure": {"normalise": False}}, "extract_radiomics"),
    "radiomics": ({"failure": {"radiomics": "{masks}/radiomics.yaml"}}, "extract_radiomics"),
    "feature_regions": ({"failure": {"feature_regions": ["WT", "TC"]}}, "extract_radiomics"),
    "stability": ({"failure": {"stability": True}}, "vary_features"),
    "binning": ({"failure": {"binning": True}}, "measure_binning"),
    "image": ({"failure": {"image": "t1"}}, "verify_cohort"),
    "images": ({"failure": {"image": ["flair", "t1"]}}, "verify_cohort"),
    "session_by": ({"quality": {"session_by": "grade"}}, "measure_volumes"),
    "follow": ({"quality": {"follow": ["WT"]}}, "follow_volumes"),
    "response_increase": ({"quality": {"response_increase": 0.25}}, "follow_volumes"),
    "response_decrease": ({"quality": {"response_decrease": 0.5}}, "follow_volumes"),
    "measurable_ml": ({"quality": {"measurable_ml": 2}}, "follow_volumes"),
    "shape": ({"quality": {"shape": "TC"}}, "measure_shapes"),
    "title": ({"report": {"title": "Other"}}, "write_report"),
}


def test_a_clone_with_copied_results_has_nothing_to_do(finished, tmp_path: Path):
    checkout, study = finished
    assert planned_jobs(plan(elsewhere(checkout, tmp_path / "clone"), study)) == Counter()


def test_a_moved_results_folder_has_nothing_to_do_and_goes_on(finished, tmp_path: Path):
    checkout, study = finished
    clone = elsewhere(checkout, tmp_path / "clone", "moved/out")
    assert planned_jobs(plan(clone, study, results="moved/out")) == Counter()
    run = plan(clone, study, dry=False, results="moved/out", failure={"bin_width": 10})
    assert run.returncode == 0, run.stdout
    assert "extract_radiomics" in run.stdout and "score_cases" not in planned_or_run(run.stdout)
    assert not (clone / "results").exists()


def planned_or_run(text: str) -> set[str]:
    return {line.removeprefix("rule ").rstrip(":") for line in text.splitlines() if line.startswith(("rule ", "localrule "))}


@pytest.fixture(scope="module")
def without_notes(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return elsewhere(finished[0], tmp_path_factory.mktemp("clone") / "glioflow")


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_is_seen_with_and_without_snakemakes_notes(finished, without_notes: Path, name: str):
    checkout, study = finished
    changed, rule = CHANGES[name]
    if name == "model":
        changed = {"models": {"n": {"predictions": study["models"]["m"]["predictions"]}}}
    if name == "radiomics":
        changed = {"failure": {"radiomics": str(Path(study["models"]["m"]["predictions"]).parents[1] / "radiomics.yaml")}}
    with_notes = planned_jobs(plan(checkout, study, **changed))
    shutil.rmtree(without_notes / ".snakemake", ignore_errors=True)
    assert planned_jobs(plan(without_notes, study, **changed)) == with_notes
    assert rule in with_notes
    assert planned_jobs(plan(without_notes, study)) == Counter(), "planning another study must not make the first one stale"


def test_other_code_is_seen_without_snakemakes_notes(finished, without_notes: Path):
    script = without_notes / "scripts/associate_features.py"
    text = script.read_text()
    script.write_text(text + "\nCHANGED = 1\n")
    shutil.rmtree(without_notes / ".snakemake", ignore_errors=True)
    planned = set(planned_jobs(plan(without_notes, finished[1])))
    assert planned == {"associate_features", "draw_associations", "write_report", "all"}
    script.write_text(text)


def test_an_output_whose_record_is_gone_is_made_again(finished, tmp_path: Path):
    checkout, study = finished
    clone = elsewhere(checkout, tmp_path / "clone")
    (clone / "results/failure/m/given/.associations.csv.made.json").unlink()
    assert planned_jobs(plan(clone, study))["associate_features"] == 1
