"""What docs/reruns.md says of studies that train nothing: the jobs planned for each change, and those that computed a case."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import save, write_case
from reruns import promised, tables
from scored_study import build_scored, elsewhere, run_study
from workflows import copy_checkout, planned_jobs, snakemake

SETTINGS = {
    "`report.title`": {"report": {"title": "Other"}},
    "`failure.extremes`": {"failure": {"extremes": 1}},
    "`failure.rank_by`": {"failure": {"rank_by": "dice"}},
    "`failure.bin_width`": {"failure": {"bin_width": 10}},
    "`failure.stability`": {"failure": {"stability": True}},
    "`evaluation.convention`": {"evaluation": {"convention": "surface_distance"}},
    "`evaluation.group_by`": {"evaluation": {"group_by": ["grade"]}},
    "`quality.shape`": {"quality": {"shape": "TC"}},
}
CODE = "the code that draws a figure"
SETTINGS_TABLE, CASES_TABLE, NOTHING = "Scores, failure analysis and report", "Cases", "Nothing reruns"
TARGETS = {"all", "scores"}


def planned(run) -> set[str]:
    return set(planned_jobs(run)) - TARGETS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return build_scored(tmp_path_factory)


@pytest.fixture(scope="module")
def clone(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a copy of the results."""
    return elsewhere(finished[0], tmp_path_factory.mktemp("reruns") / "glioflow")


def test_every_row_of_the_page_is_tested():
    assert set(tables()[SETTINGS_TABLE]) == {*SETTINGS, CODE}
    assert set(tables()[CASES_TABLE]) == {
        "one mask",
        "one label",
        "one case more",
        "a table of covariates",
        "the times of images and masks",
    }
    assert set(tables()[NOTHING]) == {*UNCHANGED, "a clone, with a copy of the results", "checkout and results moved"}
    assert all(rules == set() for rules in tables()[NOTHING].values())


@pytest.mark.parametrize("change", SETTINGS)
def test_a_changed_setting_plans_what_the_page_says(finished, change: str):
    checkout, study = finished
    assert planned(run_study(checkout, study, **SETTINGS[change])) == promised(SETTINGS_TABLE, change)


def touch(clone: Path) -> None:
    for path in clone.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()


def comment(clone: Path) -> None:
    script = clone / "scripts/score_cases.py"
    script.write_text(script.read_text() + "\n# a remark\n")


def forget_times(clone: Path) -> None:
    for part in ("logs", "benchmarks"):
        shutil.rmtree(clone / "results" / part)


# What is done to a clone, and the arguments of the run.
UNCHANGED = {
    "nothing": (lambda clone: None, ()),
    "the time of every file": (touch, ()),
    "a comment in the code of a step": (comment, ()),
    "`logs/` and `benchmarks/` deleted": (forget_times, ()),
    "other `--cores`": (lambda clone: None, ("--cores", "7")),
    "`--profile slurm`": (lambda clone: None, ("--profile", "profiles/slurm")),
}


@pytest.mark.parametrize("change", UNCHANGED)
def test_what_is_no_change_plans_nothing(finished, clone: Path, change: str):
    do, arguments = UNCHANGED[change]
    (clone / "study.yaml").write_text(yaml.safe_dump(finished[1]))
    do(clone)
    assert planned(snakemake(clone, "-n", *arguments, "--configfile", "study.yaml", "--", "all", "scores")) == set()


def test_a_moved_checkout_with_its_results_has_nothing_to_do(finished, tmp_path: Path):
    first = elsewhere(finished[0], tmp_path / "first")
    assert planned(run_study(first, finished[1])) == set()
    moved = tmp_path / "a folder, für später"
    first.rename(moved)
    assert planned(run_study(moved, finished[1])) == set()


def test_other_code_of_a_figure_draws_it_again(finished, clone: Path):
    script = clone / "scripts/draw_associations.py"
    text = script.read_text()
    script.write_text(text + "\nCHANGED = 1\n")
    assert planned(run_study(clone, finished[1])) == promised(SETTINGS_TABLE, CODE)
    script.write_text(text)


# ---- cases: planned, run, and looked at


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the five masks of a study are scored, three a shard on average."""
    checkout = copy_checkout(tmp_path_factory.mktemp("cases") / "glioflow")
    sets = checkout / "scripts/glioflow/workflow/sets.py"
    text = sets.read_text()
    assert "SCORES_PER_SHARD = 50" in text
    sets.write_text(text.replace("SCORES_PER_SHARD = 50", "SCORES_PER_SHARD = 3"))
    for number in range(5):
        add_case(checkout, number)
    write_grades(checkout, 5)
    study = {
        "cohorts": {"c": {"dataset": "brats2021", "path": "../data", "covariates": "../grades.csv"}},
        "models": {"m": {"cohort": "c", "predictions": "../masks/{case}.nii.gz", "label_scheme": "brats2021"}},
        "failure": False,
    }
    (checkout / "study.yaml").write_text(yaml.safe_dump(study))
    run = score(checkout)
    assert run.returncode == 0, run.stdout
    return checkout


def add_case(checkout: Path, number: int) -> None:
    folder = write_case(checkout.parent / "data", f"case{number}", tumour=2 + number % 4)
    masks = checkout.parent / "masks"
    masks.mkdir(exist_ok=True)
    shutil.copyfile(folder / f"case{number}_seg.nii.gz", masks / f"case{number}.nii.gz")


def write_grades(checkout: Path, number: int, grade: int = 3) -> None:
    rows = "".join(f"case{place},{grade}\n" for place in range(number))
    (checkout.parent / "grades.csv").write_text(f"case_id,grade\n{rows}")


def score(checkout: Path, *arguments: str):
    return snakemake(checkout, *arguments, "--configfile", "study.yaml", "--", "results/scores/m/given_summary.csv")


def shards(checkout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (checkout / "results/scores/m/given_shards").glob("*.csv")}


def computed(text: str) -> int:
    """Return how many cases the jobs of a run scored: those of each shard, less those that were scored already."""
    said = re.findall(r"\[score_cases m given \S+\] (\d+) cases?, \d+ rows(?:, (\d+) already scored)?", text)
    return sum(int(cases) - int(kept or 0) for cases, kept in said)


def run_after(checkout: Path, change: str) -> tuple[int, set[str]]:
    """Hold the plan against the page, run it, and return how many cases were scored and which shards' tables changed."""
    before = shards(checkout)
    assert planned(score(checkout, "-n")) == promised(CASES_TABLE, change)
    run = score(checkout)
    assert run.returncode == 0, run.stdout
    assert planned(score(checkout, "-n")) == set()
    after = shards(checkout)
    assert set(after) == set(before)
    return computed(run.stdout), {name for name in after if after[name] != before[name]}


def test_one_mask_is_scored_again_and_its_shard_changes_alone(cases: Path):
    assert set(shards(cases)) == {"1-of-2.csv", "2-of-2.csv"}
    save(cases.parent / "masks/case1.nii.gz", np.zeros((10, 12, 8), np.uint8))
    scored, changed = run_after(cases, "one mask")
    assert scored == 1
    assert len(changed) == 1


def test_one_case_more_is_scored_alone_and_changes_one_shard(cases: Path):
    add_case(cases, 5)
    scored, changed = run_after(cases, "one case more")
    assert scored == 1
    assert len(changed) == 1


def test_one_label_has_its_case_scored_again(cases: Path):
    truth = cases.parent / "data/case2/case2_seg.nii.gz"
    save(truth, np.pad(np.ones((2, 2, 2), np.uint8), ((2, 6), (2, 8), (2, 4))))
    scored, changed = run_after(cases, "one label")
    assert scored == 1
    assert len(changed) == 1


def test_covariates_score_nothing_again(cases: Path):
    write_grades(cases, 6, grade=4)
    assert run_after(cases, "a table of covariates") == (0, set())


def test_other_times_of_images_and_masks_score_nothing_again(cases: Path):
    for folder in ("data", "masks"):
        for path in (cases.parent / folder).rglob("*.nii.gz"):
            path.touch()
    assert run_after(cases, "the times of images and masks") == (0, set())
