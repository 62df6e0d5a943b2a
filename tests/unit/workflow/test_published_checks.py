"""Published values that nothing of a study can be compared with are refused, with what would be right."""

from typing import Any

import pytest

from glioflow.console import UserError
from glioflow.study.configuration import Study
from glioflow.workflow.checks import load_study
from glioflow.workflow.published_checks import scored_metrics
from glioflow.workflow.sets import published_sets

STUDY: dict[str, Any] = {
    "cohorts": {"c": {"dataset": "phantom", "test_fraction": 0.25}, "far": {"dataset": "phantom", "external": True}},
    "models": {"m": {"cohort": "c", "external": ["far"]}, "flair": {"cohort": "c", "regions": ["WT"]}},
}
VALUE: dict[str, Any] = {
    "model": "m", "set": "cv", "metric": "dice", "region": "ET", "statistic": "mean", "value": 0.79, "source": "here",
}  # fmt: skip


def load(*values: dict[str, Any], **parts: Any) -> Study:
    return load_study({**STUDY, "published": [{**VALUE, **value} for value in values], **parts}, "study.yaml")


def test_values_of_any_set_and_metric_that_is_scored_are_taken() -> None:
    sets = [{"set": name} for name in ("cv", "test", "far", "cv")]
    others = [
        {"metric": "hd95_mm", "value": 20.4, "measured_on": "test", "differs": "another scanner"},
        {"metric": "volume_error_ml", "value": -3.0, "statistic": "median"},
        {"metric": "volume_error_relative", "value": 1.5},
    ]
    study = load(*sets, *others)
    assert len(study.published) == 7
    assert published_sets(study) == ["m/cv", "m/test", "m/far"]
    assert published_sets(load()) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"model": "n"}, "published.0.model: no model or ensemble is called 'n'; known: m, flair"),
        ({"set": "given"}, "published.0.set: m has no set 'given'; known: cv, test, far"),
        ({"model": "flair", "set": "far", "region": "WT"}, "published.0.set: flair has no set 'far'; known: cv, test"),
        ({"metric": "Dice"}, "published.0.metric: the study's scores have no column 'Dice'; did you mean 'dice'?"),
        ({"metric": "hd95"}, "published.0.metric: the study's scores have no column 'hd95'; did you mean 'hd95_mm'?"),
        ({"metric": "lesion_dice"}, "published.0.metric: the study's scores have no column 'lesion_dice'"),
        ({"region": "ED"}, "published.0.region: ED is not among evaluation.regions; known: WT, TC, ET"),
        ({"model": "flair"}, "published.0.region: ET is not applicable to flair; known: WT"),
        ({"region": "core"}, "published.0.region: input should be 'WT', 'TC'"),
        ({"statistic": "sd"}, "published.0.statistic: input should be 'mean' or 'median'; found 'sd'"),
        ({"value": 79}, "published.0.value: found 79; expected a Dice from 0 to 1; if it is per cent, write 0.79"),
        ({"value": -0.1}, "published.0.value: found -0.1; expected a Dice from 0 to 1"),
        ({"metric": "hd95_mm", "value": -1}, "published.0.value: found -1; expected a 95th percentile Hausdorff distance of 0"),
        ({"value": float("nan")}, "published.0.value: input should be a finite number"),
        ({"source": ""}, "published.0.source: string should have at least 1 character"),
        ({"reference": "x"}, "published.0.reference: unknown key; known: model, set, metric"),
    ],
)
def test_what_cannot_be_compared_is_one_message(value: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(value)
    message = str(caught.value)
    assert words in message
    assert "1 problem in the configuration" in message


def test_a_missing_key_says_what_is_expected() -> None:
    with pytest.raises(UserError, match=r"published\.0\.source: missing; expected: Where it was published"):
        load_study({**STUDY, "published": [{k: v for k, v in VALUE.items() if k != "source"}]}, "study.yaml")


def test_lesions_and_what_a_convention_leaves_out_decide_the_metrics() -> None:
    assert load({"metric": "lesion_dice"}, evaluation={"lesionwise": "brats2023_gli"}).published[0].metric == "lesion_dice"
    nnunet = load(evaluation={"convention": "nnunet"}, failure={"rank_by": "dice"}).evaluation
    assert "hd95_mm" not in scored_metrics(nnunet) and "dice" in scored_metrics(nnunet)


def test_a_value_of_a_model_without_a_cohort_adds_no_message_of_its_own() -> None:
    with pytest.raises(UserError) as caught:
        load({}, models={"m": {"cohort": "d"}})
    assert "1 problem" in str(caught.value)
    with pytest.raises(UserError) as caught:
        load({"model": "e"}, ensembles={"e": {"members": ["m", "x"]}})
    assert "1 problem" in str(caught.value)
