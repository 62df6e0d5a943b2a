"""Whether a result still holds follows from the results folder alone: with and without Snakemake's notes, copied and moved."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scored_study import build_scored, elsewhere, run_study
from workflows import planned_jobs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return build_scored(tmp_path_factory)


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
# The first of each rule is planned by `make test`, the others by `make test-long`.
OFTEN = {rule: name for name, (_, rule) in reversed(CHANGES.items())}.values()


def test_a_clone_with_copied_results_has_nothing_to_do(finished, tmp_path: Path):
    checkout, study = finished
    assert planned_jobs(run_study(elsewhere(checkout, tmp_path / "clone"), study)) == Counter()


def test_a_moved_results_folder_has_nothing_to_do_and_goes_on(finished, tmp_path: Path):
    checkout, study = finished
    clone = elsewhere(checkout, tmp_path / "clone", "moved/out")
    assert planned_jobs(run_study(clone, study, results="moved/out")) == Counter()
    run = run_study(clone, study, dry=False, results="moved/out", failure={"bin_width": 10})
    assert run.returncode == 0, run.stdout
    assert "extract_radiomics" in run.stdout and "score_cases" not in planned_or_run(run.stdout)
    assert not (clone / "results").exists()


def planned_or_run(text: str) -> set[str]:
    return {line.removeprefix("rule ").rstrip(":") for line in text.splitlines() if line.startswith(("rule ", "localrule "))}


@pytest.fixture(scope="module")
def without_notes(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return elsewhere(finished[0], tmp_path_factory.mktemp("clone") / "glioflow")


@pytest.mark.parametrize("name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.long) for name in CHANGES])
def test_a_changed_setting_is_seen_with_and_without_snakemakes_notes(finished, without_notes: Path, name: str):
    checkout, study = finished
    changed, rule = CHANGES[name]
    if name == "model":
        changed = {"models": {"n": {"predictions": study["models"]["m"]["predictions"]}}}
    if name == "radiomics":
        changed = {"failure": {"radiomics": str(Path(study["models"]["m"]["predictions"]).parents[1] / "radiomics.yaml")}}
    with_notes = planned_jobs(run_study(checkout, study, **changed))
    shutil.rmtree(without_notes / ".snakemake", ignore_errors=True)
    assert planned_jobs(run_study(without_notes, study, **changed)) == with_notes
    assert rule in with_notes


def test_planning_another_study_does_not_make_the_first_one_stale(finished, without_notes: Path):
    for rule in ("split_cohort", "score_cases", "extract_radiomics", "write_report"):
        changed = next(changed for changed, first in CHANGES.values() if first == rule)
        assert rule in planned_jobs(run_study(without_notes, finished[1], **changed))
    assert planned_jobs(run_study(without_notes, finished[1])) == Counter()


def test_other_code_is_seen_without_snakemakes_notes(finished, without_notes: Path):
    script = without_notes / "scripts/associate_features.py"
    text = script.read_text()
    script.write_text(text + "\nCHANGED = 1\n")
    shutil.rmtree(without_notes / ".snakemake", ignore_errors=True)
    planned = set(planned_jobs(run_study(without_notes, finished[1])))
    assert planned == {"associate_features", "draw_associations", "summarise_jobs", "write_report", "all"}
    script.write_text(text)


def test_an_output_whose_record_is_gone_is_made_again(finished, tmp_path: Path):
    checkout, study = finished
    clone = elsewhere(checkout, tmp_path / "clone")
    (clone / "results/failure/m/given/.associations.csv.made.json").unlink()
    assert planned_jobs(run_study(clone, study))["associate_features"] == 1
