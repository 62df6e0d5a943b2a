from typing import Any

import pytest

from glioflow.study.configuration import Study
from glioflow.workflow.sets import (
    compared_sets,
    expected_cases,
    failure_sets,
    model_sets,
    radiomics_shards,
    report_pairs,
    score_shards,
)

TWO_COHORTS = {
    "a": {"dataset": "phantom", "test_fraction": 0.5},
    "b": {"dataset": "phantom"},
}


def study(**parts: Any) -> Study:
    return Study.model_validate({"cohorts": TWO_COHORTS, **parts})


def test_sets_are_listed_by_model_then_ensemble():
    models = {"x": {"cohort": "a", "external": ["b"]}, "y": {"cohort": "a"}, "z": {"cohort": "b"}}
    found = model_sets(study(models=models, ensembles={"xy": {"members": ["x", "y"]}}))
    assert found == ["x/cv", "x/test", "x/b", "y/cv", "y/test", "z/cv", "xy/cv", "xy/test"]


def test_failures_are_looked_for_out_of_fold_unless_the_study_names_sets():
    models = {"x": {"cohort": "a", "external": ["b"]}}
    assert failure_sets(study(models=models)) == ["x/cv"]
    assert failure_sets(study(models=models, failure={"sets": ["test", "b"]})) == ["x/test", "x/b"]


def test_models_are_compared_on_the_sets_that_they_share():
    models = {"x": {"cohort": "a", "external": ["b"]}, "y": {"cohort": "a"}}
    both = study(models=models, ensembles={"xy": {"members": ["x", "y"]}})
    assert compared_sets(both) == [f"{model}/{name}" for name in ("cv", "test") for model in ("x", "y", "xy")]
    assert compared_sets(study(models={"x": {"cohort": "a", "external": ["b"]}})) == []


def test_the_report_shows_every_set_and_says_which_are_analysed():
    pairs = report_pairs(study(models={"x": {"cohort": "a", "external": ["b"]}}))
    assert pairs == [
        {"model": "x", "set": "cv", "cohort": "a", "failure": True},
        {"model": "x", "set": "test", "cohort": "a", "failure": False},
        {"model": "x", "set": "b", "cohort": "b", "failure": False},
    ]


@pytest.mark.parametrize(("cases", "shards"), [(0, 1), (1, 1), (50, 1), (51, 2), (120, 3), (1350, 27)])
def test_a_job_scores_up_to_fifty_cases(cases: int, shards: int):
    assert score_shards(cases) == shards


@pytest.mark.parametrize(("cases", "shards"), [(0, 1), (1, 1), (50, 1), (51, 2), (1350, 27)])
def test_a_job_extracts_the_features_of_up_to_fifty_cases(cases: int, shards: int):
    assert radiomics_shards(study(models={"x": {"cohort": "a"}}), cases) == shards


@pytest.mark.parametrize(("extremes", "shards"), [(1, 1), (25, 1), (26, 2), (60, 3), (1000, 3)])
def test_features_of_the_extremes_alone_take_no_more_jobs_than_they_are_cases(extremes: int, shards: int):
    asked = study(models={"x": {"cohort": "a"}}, failure={"cases": "extremes", "extremes": extremes})
    assert radiomics_shards(asked, 120) == shards


@pytest.mark.parametrize(
    ("split", "held_out", "trained"),
    [
        ({"test_fraction": 0.2}, 20, 80),
        ({"test_size": 30, "train_size": 40}, 30, 40),
        ({"test_cases": ["a"]}, 100, 100),  # how many cases of the cohort they are is not known yet
        ({}, 100, 100),
    ],
)
def test_the_shards_of_a_set_are_for_the_cases_that_the_split_leaves_it(split: dict[str, Any], held_out: int, trained: int):
    asked = study(cohorts={"a": {"dataset": "phantom", **split}}, models={"x": {"cohort": "a"}})
    assert expected_cases(asked, "x", "test", 100) == held_out
    assert expected_cases(asked, "x", "cv", 100) == trained
    assert expected_cases(asked, "x", "a", 100) == 100
