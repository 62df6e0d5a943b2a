from pathlib import Path
from typing import Any

import pytest
from conftest import write_case

from glioflow.study.configuration import Study
from glioflow.workflow.cohort_lookups import CohortLookups
from glioflow.workflow.model_lookups import ModelLookups


def lookups(models: dict[str, Any], **parts: Any) -> ModelLookups:
    """Return the look-ups of a study with the phantoms ``c`` and the models, of which each has that cohort."""
    with_cohort = {name: {"cohort": "c", **model} for name, model in models.items()}
    cohorts = {"c": {"dataset": "phantom"}, **parts.pop("cohorts", {})}
    study = Study.model_validate({"cohorts": cohorts, "models": with_cohort, **parts})
    return ModelLookups(study, CohortLookups(study))


def test_plans_depend_on_what_changes_a_weight_or_a_mask_and_on_nothing_else():
    plain = lookups({"m": {}}).plan_block("m")
    assert lookups({"m": {"epochs": 3}}).plan_block("m") != plain
    assert lookups({"m": {"tta": "both"}}).plan_block("m") != plain
    for further in (
        {"device": "cpu"},
        {"threads": 2},
        {"folds": 3},
        {"folds_by": "site"},
        {"prediction_folds": [0]},
        {"postprocessing": {}},
    ):
        assert lookups({"m": further}).plan_block("m") == plain


def test_what_a_custom_trainer_is_told_is_what_the_study_says(tmp_path: Path):
    block = lookups({"m": {"trainer": "nnUNetTrainer", "epochs": 3}}).plan_block("m")
    assert block["said"] == ["cohort", "epochs", "trainer"]
    assert block["trainer_fingerprint"]


def test_folds_that_predict_are_all_or_those_named():
    assert lookups({"m": {"folds": 3}}).predicting_folds("m") == [0, 1, 2]
    assert lookups({"m": {"folds": 3, "prediction_folds": [2]}}).predicting_folds("m") == [2]


def test_a_gpu_is_asked_for_unless_the_device_is_the_cpu():
    found = lookups({"a": {}, "b": {"device": "cpu"}})
    assert (found.gpus("a"), found.gpus("b")) == (1, 0)


def test_only_models_without_a_custom_trainer_are_exported():
    assert lookups({"a": {}, "b": {"trainer": "nnUNetTrainerDA5"}}).exportable() == ["a"]


def test_probabilities_are_kept_for_means_that_are_not_merged_away_and_known_by_what_they_are_for():
    models = {"a": {"regions": ["WT", "TC", "ET"]}, "b": {}, "alone": {}}
    ensembles = {
        "mean": {"members": ["a", "b"]},
        "voted": {"members": ["a", "b"], "method": "vote"},
        "merged": {"members": ["a", "b"], "merge": {"TC": "a", "ED": "b"}},  # every label from one member
    }
    found = lookups(models, ensembles=ensembles)
    assert found.using_ensembles("a") == ["mean"] == found.using_ensembles("b")
    assert found.releasing() == ["a", "b"]
    assert found.kept_probabilities("alone") is None
    assert [found.reads_probabilities(name) for name in ensembles] == [True, False, False]
    other = lookups(models, ensembles={**ensembles, "mean": {"members": ["a", "b"], "merge": {"ET": "b"}}})
    assert other.kept_probabilities("a") not in (None, found.kept_probabilities("a"))


@pytest.mark.parametrize(
    ("modes", "shared"),
    [
        ((True, True), [True]),
        (("both", "both"), [True, False]),
        (("both", False), [False]),
        ((True, False), [None]),
    ],
)
def test_an_ensembles_masks_have_the_tta_mode_that_its_members_share(modes, shared):
    models = {name: {"tta": mode} for name, mode in zip("ab", modes, strict=True)}
    assert lookups(models, ensembles={"e": {"members": ["a", "b"]}}).member_tta("e") == shared


def test_masks_are_cleaned_up_where_the_study_says_so():
    found = lookups(
        {"a": {"postprocessing": {}}, "b": {}, "given": {"predictions": "x/{case}.nii.gz", "label_scheme": "brats2021"}},
        ensembles={"e": {"members": ["a", "b"]}, "f": {"members": ["a", "b"], "postprocessing": {}}},
    )
    assert [found.is_postprocessed(name) for name in ("a", "b", "given", "e", "f")] == [True, False, False, False, True]


def test_regions_that_masks_can_show():
    given = {"predictions": "x/{case}.nii.gz", "label_scheme": "lgg_kaggle"}
    found = lookups(
        {
            "a": {"regions": ["WT", "ET"]},
            "given": given,
            "told": {**given, "label_scheme": "brats2021", "regions": ["WT", "TC"]},
        },
        evaluation={"regions": ["WT", "TC", "ET"]},
    )
    assert found.predicted_regions("a") == ["WT", "ET"]
    assert found.shown_regions("a") == ["WT", "ET"]
    assert found.predicted_regions("given") == ["WT"]  # the scheme has one label
    assert found.predicted_regions("told") == ["WT", "TC"]
    assert found.labelled_regions("a", "cv") == ["WT", "TC", "ET", "ED", "NCR", "RC"]  # phantoms are labelled canonically


def test_precomputed_masks_are_stamped(tmp_path: Path):
    write_case(tmp_path / "brats", "BraTS2021_00000")
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "BraTS2021_00000.nii.gz").write_bytes(b"x")
    parts = {
        "cohorts": {"real": {"dataset": "brats2021", "path": str(tmp_path / "brats")}},
        "models": {"g": {"cohort": "real", "predictions": f"{masks}/{{case}}.nii.gz", "label_scheme": "brats2021"}},
    }
    stamp = lookups(**parts).precomputed_stamp("g")
    assert lookups(**parts).precomputed_stamp("g") == stamp
    (masks / "BraTS2021_00000.nii.gz").write_bytes(b"xy")
    assert lookups(**parts).precomputed_stamp("g") != stamp
