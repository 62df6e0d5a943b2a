"""What a study may say about its features, and what is told where it is wrong."""

from pathlib import Path
from typing import Any

import pytest

from glioflow.console import UserError
from glioflow.failure.radiomics_parameters import default_parameters
from glioflow.study.configuration import Study
from glioflow.workflow.checks import load_study
from glioflow.workflow.radiomics_settings import radiomics_parameters


def study(**failure: Any) -> Study:
    config = {"cohorts": {"demo": {"dataset": "phantom"}}, "models": {"m": {"cohort": "demo"}}, "failure": failure}
    return load_study(config, "study.yaml")


def problems(**failure: Any) -> str:
    with pytest.raises(UserError) as caught:
        study(**failure)
    return str(caught.value)


def test_without_a_file_the_two_keys_are_the_parameters() -> None:
    assert radiomics_parameters(study().failure) == default_parameters()
    assert radiomics_parameters(study(bin_width=5, normalise=False).failure) == default_parameters(5, normalise=False)


def test_a_file_takes_their_place(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("setting: {binWidth: 5}")
    assert radiomics_parameters(study(radiomics=str(file)).failure) == {"setting": {"binWidth": 5}}


def test_a_file_beside_the_keys_that_it_replaces_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("setting: {binWidth: 5}")
    said = problems(radiomics=str(file), bin_width=5, normalise=True)
    assert f"failure.bin_width: the parameter file {file} says that; leave one of them out" in said
    assert "failure.normalise: " in said


def test_a_file_that_is_missing_or_wrong_is_told_with_key_and_file_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    assert f"failure.radiomics: {file} is no file; expected: a parameter file of pyradiomics" in problems(radiomics=str(file))
    file.write_text("setting: {binWidth: wide, label: one}")
    said = problems(radiomics=str(file))
    assert "study.yaml: 2 problems in the configuration" in said
    assert f"failure.radiomics: {file}: setting.binWidth: Value 'wide' is not of type 'float'" in said
    assert "the environment variable NOWHERE is not set" in problems(radiomics="$NOWHERE/parameters.yaml")


def test_one_image_or_several_and_the_ranked_region_or_others() -> None:
    assert (study().failure.images, study().failure.featured_regions) == (["flair"], ["WT"])
    several = study(image=["t1ce", "flair"], feature_regions=["TC", "ET"], region="TC").failure
    assert (several.images, several.featured_regions) == (["t1ce", "flair"], ["TC", "ET"])


def test_features_are_of_regions_that_are_scored() -> None:
    said = problems(feature_regions=["WT", "ED"])
    assert "failure.feature_regions: ED is not among evaluation.regions (WT, TC, ET), which give its volume" in said


@pytest.mark.parametrize("image", ["flare", ["flair", "flare"], [], 3])
def test_an_image_that_is_no_channel_is_refused(image: Any) -> None:
    assert "failure.image" in problems(image=image)


@pytest.mark.parametrize("key", ["image", "feature_regions"])
def test_nothing_is_asked_for_twice(key: str) -> None:
    twice = {"image": ["flair", "flair"], "feature_regions": ["WT", "WT"]}[key]
    assert f"failure.{key}: {twice[0]} stands twice" in problems(**{key: twice})
