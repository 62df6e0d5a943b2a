"""Models are compared where their sets hold the same cases."""

from typing import Any

from glioflow.evaluation.comparison_groups import Group, comparison_groups
from glioflow.study.configuration import Study

COHORTS = {"a": {"dataset": "phantom", "test_fraction": 0.25}, "b": {"dataset": "phantom"}}
MASKS = {"predictions": "masks/{case}.nii.gz", "label_scheme": "canonical"}


def groups(models: dict[str, Any], ensembles: dict[str, Any] | None = None) -> dict[tuple[str, str, int | None], Group]:
    study = Study.model_validate({"cohorts": COHORTS, "models": models, "ensembles": ensembles or {}})
    return {(group.cohort, group.set, group.folds): group for group in comparison_groups(study)}


def test_one_model_is_compared_with_nothing() -> None:
    assert groups({"x": {"cohort": "a"}}) == {}


def test_models_of_one_cohort_are_compared_on_both_of_its_sets() -> None:
    found = groups({"x": {"cohort": "a"}, "y": {"cohort": "a"}})
    assert list(found) == [("a", "cv", 5), ("a", "test", None)]
    assert found["a", "cv", 5].models == {"x": "cv", "y": "cv"}
    assert found["a", "test", None].models == {"x": "test", "y": "test"}
    assert found["a", "test", None].pairs == [("x", "y")]


def test_models_of_different_cohorts_are_not_compared() -> None:
    assert groups({"x": {"cohort": "a"}, "y": {"cohort": "b"}}) == {}


def test_cross_validations_are_compared_only_where_their_folds_are_the_same() -> None:
    models = {name: {"cohort": "a", "folds": folds} for name, folds in (("x", 5), ("y", 3), ("z", 5), ("w", 2))}
    found = groups(models)
    assert list(found) == [("a", "cv", 5), ("a", "test", None)]
    assert list(found["a", "cv", 5].models) == ["x", "z"]
    assert list(found["a", "test", None].models) == ["x", "y", "z", "w"]


def test_folds_by_a_covariate_are_compared_with_each_other_only() -> None:
    by_site = {"cohort": "b", "folds_by": "site"}
    study = Study.model_validate(
        {
            "cohorts": COHORTS,
            "models": {"x": {"cohort": "b"}, "y": {"cohort": "b"}, "x_site": by_site, "y_site": by_site},
        }
    )
    found = comparison_groups(study)
    assert [list(group.models) for group in found] == [["x", "y"], ["x_site", "y_site"]]
    assert [group.columns["folds_by"] for group in found] == [None, "site"]


def test_an_ensemble_is_compared_with_its_members() -> None:
    found = groups({"x": {"cohort": "b"}, "y": {"cohort": "b"}}, {"both": {"members": ["x", "y"]}})
    assert list(found) == [("b", "cv", 5)]
    assert found["b", "cv", 5].pairs == [("x", "y"), ("x", "both"), ("y", "both")]


def test_what_predicts_a_whole_cohort_is_compared_whatever_its_set_is_called() -> None:
    models = {
        "x": {"cohort": "a", "external": ["b"]},
        "mine": {"archive": "mine.zip", "cohort": "b"},
        "theirs": {"cohort": "b", **MASKS},
    }
    found = groups(models)
    assert list(found) == [("b", "all", None)]
    assert found["b", "all", None].own == {"x": "b", "mine": "b", "theirs": "given"}


def test_given_masks_join_the_sets_of_the_models_trained_on_their_cohort() -> None:
    models = {"x": {"cohort": "a"}, "theirs": {"cohort": "a", **MASKS}, "others": {"cohort": "a", **MASKS}}
    found = groups(models)
    assert list(found) == [("a", "cv", 5), ("a", "test", None), ("a", "all", None)]
    for name in (("a", "cv", 5), ("a", "test", None)):
        assert (list(found[name].own), list(found[name].joining)) == (["x"], ["theirs", "others"])
        # The two that join are compared with each other on all their cases, and not again on some.
        assert found[name].pairs == [("x", "theirs"), ("x", "others")]
    assert found["a", "all", None].pairs == [("theirs", "others")]
