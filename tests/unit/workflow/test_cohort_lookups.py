import os
from pathlib import Path
from typing import Any

import pytest
from conftest import write_case

from glioflow.console import UserError
from glioflow.study.configuration import Study
from glioflow.workflow.cohort_lookups import CohortLookups


def lookups(cohort: dict[str, Any], models: dict[str, Any] | None = None, **parts: Any) -> CohortLookups:
    """Return the look-ups of a study with the cohort ``c``, and ``p``, phantoms."""
    cohorts = {"c": cohort, "p": {"dataset": "phantom", "cases": 7}}
    return CohortLookups(Study.model_validate({"results": "out", "cohorts": cohorts, "models": models or {}, **parts}))


@pytest.fixture
def brats(tmp_path: Path) -> dict[str, Any]:
    for number in range(3):
        write_case(tmp_path / "brats", f"BraTS2021_{number:05d}")
    return {"dataset": "brats2021", "path": str(tmp_path / "brats"), "test_fraction": 0.25, "seed": 3}


def test_phantoms_have_their_place_below_the_results_and_their_size_in_the_study(brats):
    found = lookups(brats)
    assert found.is_phantom("p") and not found.is_fetched("p")
    assert found.phantom_folder("p") == "out/cohorts/p/phantoms"
    assert found.source("p") == "the phantom generator"
    assert (found.size("p"), found.stamp("p")) == (7, "phantom")


def test_a_folder_of_ones_own_is_listed_and_stamped_by_its_files(brats, tmp_path):
    found = lookups(brats)
    assert not found.is_phantom("c") and not found.is_fetched("c")
    assert found.size("c") == 3
    assert found.source("c") == str(tmp_path / "brats")
    stamp = found.stamp("c")
    assert lookups(brats).stamp("c") == stamp
    image = next((tmp_path / "brats").rglob("*_t1.nii.gz"))
    os.utime(image, ns=(0, 0))
    assert lookups(brats).stamp("c") != stamp


def test_a_data_set_to_fetch_has_the_size_that_the_registry_tells(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIOFLOW_DATA", str(tmp_path))
    found = lookups({"dataset": "lgg_kaggle"})
    assert found.is_fetched("c")
    assert (found.size("c"), found.stamp("c")) == (110, "lgg_kaggle")


def test_a_source_that_cannot_be_listed_names_its_cohort(tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("wrong,columns\n1,2\n")
    found = lookups({"dataset": "table", "table": str(table), "label_scheme": "brats2021"})
    with pytest.raises(UserError, match=r"^cohorts\.c: .*cases\.csv"):
        found.cases("c")


def test_what_the_study_needs_of_a_cohort(brats):
    models = {
        "m": {"cohort": "c", "channels": ["t2", "t1"], "folds": 2, "external": ["p"]},
        "n": {"cohort": "c", "channels": ["t1"], "folds": 3},
    }
    found = lookups(brats, models, failure={"image": "flair", "extremes": 1})
    assert found.needed_channels("c") == ["t1", "t2", "flair"]  # in canonical order; flair for the failures of cv
    assert found.needed_channels("p") == ["t1", "t2"]
    assert found.folds("c") == [2, 3]
    assert found.training_cohorts("p") == ["c"] and found.training_cohorts("c") == []
    assert found.split_block("c") == {
        "test_fraction": 0.25, "test_size": None, "test_cases": [], "train_size": None, "stratify_by": None, "external": False,
        "seed": 3, "file": None, "folds": [2, 3], "folds_by": {},
    }  # fmt: skip
    asked = found.requirements("c")
    assert asked["trained"] is True
    assert lookups(brats).requirements("c")["trained"] is False


def test_what_is_done_about_channels_that_the_study_does_not_need_makes_no_difference(brats):
    models = {"m": {"cohort": "c", "channels": ["t2", "t1"]}}
    keys = {"on_missing_channel": "substitute", "substitute": {"flair": "t2", "t1ce": "t1", "t1": "zeros"}}
    found = lookups({**brats, **keys}, models)
    assert found.missing_channels("c") == {"on_missing_channel": "substitute", "substitute": {"t1": "zeros", "flair": "t2"}}
    unneeded = {**keys, "substitute": {"t1ce": "zeros"}}
    assert lookups({**brats, **unneeded}, models).missing_channels("c") == lookups(brats, models).missing_channels("c")
    assert lookups(brats, models).missing_channels("c") == {"on_missing_channel": "error", "substitute": {}}
    assert lookups({**brats, **keys}).missing_channels("c")["substitute"] == {}  # no model: nothing is needed
    assert found.block("c") == lookups(brats, models).block("c")  # converting does not depend on it
    assert lookups(brats, models).missing_channels("p") == {"on_missing_channel": "error", "substitute": {}}


def test_a_model_that_could_see_nothing_but_zeros_is_known(brats):
    models = {"m": {"cohort": "c", "channels": ["t1"]}, "n": {"cohort": "c", "channels": ["t1", "t2"]}}
    keys = {"on_missing_channel": "substitute", "substitute": {"t1": "zeros"}}
    assert lookups({**brats, **keys}, models).requirements("c")["blank"] == [("t1",)]
    assert lookups(brats, models).requirements("c")["blank"] == []


def test_drawn_folds_and_folds_by_a_covariate_are_asked_for_apart(brats):
    models = {
        "drawn": {"cohort": "c", "folds": 3},
        "by_site": {"cohort": "c", "folds": 4, "folds_by": "site"},
        "otherwise": {"cohort": "c", "folds": 2, "folds_by": "site"},
    }
    block = lookups(brats, models).split_block("c")
    assert (block["folds"], block["folds_by"]) == ([3], {"site": [2, 4]})


def test_labels_and_schemes(brats):
    found = lookups(brats)
    assert found.scheme_name("c") == "brats2021"
    assert found.scheme("c") == {1: 1, 2: 2, 4: 3}
    assert found.labels("c") == [1, 2, 3]
    assert found.is_skull_stripped("c")
    assert found.on_geometry_mismatch("c") == "error" == found.on_geometry_mismatch("p")


def test_files_besides_the_images(brats, tmp_path):
    for name in ("grades.csv", "split.csv"):
        (tmp_path / name).touch()
    given = {key: value for key, value in brats.items() if key != "test_fraction"}
    found = lookups({**given, "covariates": str(tmp_path / "grades.csv"), "split": str(tmp_path / "split.csv")})
    assert found.further_files("c") == [str(tmp_path / "grades.csv"), str(tmp_path / "split.csv")]
    assert lookups(brats).further_files("c") == []
