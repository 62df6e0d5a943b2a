"""The target ``measure_efficiency`` on a study that was run: what its rules ask for, and what the file it writes does."""

from pathlib import Path

import pytest
import yaml
from scored_study import build_scored, elsewhere
from workflows import planned_jobs, snakemake, snakemake_from_shell

from glioflow.files import read_table


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    checkout, study = build_scored(tmp_path_factory)
    clone = elsewhere(checkout, tmp_path_factory.mktemp("efficiency") / "glioflow")
    (clone / "study.yaml").write_text(yaml.safe_dump(study))
    scored = snakemake_from_shell(clone, "--configfile", "study.yaml", "--forcerun", "score_cases", "--", "scores")
    assert scored.returncode == 0, scored.stdout
    run = snakemake(clone, "--configfile", "study.yaml", "--", "measure_efficiency")
    assert run.returncode == 0, run.stdout
    return clone, run.stdout


def test_what_was_asked_is_what_the_rules_ask_for_and_what_was_used_was_measured(measured):
    table = read_table(measured[0] / "results/efficiency.csv").set_index("rule")
    scored = table.loc["score_cases"]
    # 30 minutes besides, 4 x 0.25 s x 50 cases on 2 cores
    assert (scored["jobs"], scored["cases"], scored["asked_minutes"], scored["asked_mb"]) == (2, 4, 31, 4000)
    assert (scored["asked_cores"], scored["asked_gpus"]) == (2, 0)
    assert 0 < scored["used_minutes"] < 5
    assert 50 < scored["used_mb"] < 4000
    assert {"verify_cohort", "extract_radiomics", "write_report"} <= set(table.index)
    assert "select_extremes" not in table.index, "what runs where Snakemake does asks for nothing"


def test_the_next_run_asks_for_what_was_written_and_makes_nothing_anew(measured):
    clone, said = measured
    assert "export GLIOFLOW_RESOURCES=results/resources.yaml" in said
    site = yaml.safe_load((clone / "results/resources.yaml").read_text())["rules"]
    assert site["score_cases"]["minutes"] == 10
    arguments = ("-n", "--configfile", "study.yaml", "--", "all", "scores")
    assert planned_jobs(snakemake(clone, *arguments, GLIOFLOW_RESOURCES="results/resources.yaml")) == {}
    shown = snakemake(
        clone, "-n", "--forcerun", "score_cases", "--configfile", "study.yaml", "--", "results/scores/m/given.csv",
        GLIOFLOW_RESOURCES="results/resources.yaml",
    )  # fmt: skip
    assert f"mem_mb={site['score_cases']['mem_mb']}" in shown.stdout
