"""Studies that analyse no failures, and cohorts that have no truth: what is planned of them, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from conftest import write_case

from glioflow.console import UserError
from glioflow.evaluation.comparison_groups import comparison_groups
from glioflow.study.configuration import Study, cohort_dataset
from glioflow.workflow.checks import load_study
from glioflow.workflow.cohort_lookups import CohortLookups
from glioflow.workflow.sets import failure_sets, report_pairs, scored_sets, unscored_sets

PHANTOMS: dict[str, Any] = {"c": {"dataset": "phantom"}}


@pytest.fixture
def brats(tmp_path: Path) -> Path:
    for case in ("a", "b"):
        write_case(tmp_path / "brats", case)
    return tmp_path / "brats"


def load(**parts: Any) -> Study:
    return load_study({"cohorts": PHANTOMS, **parts}, "study.yaml")


def problem(**parts: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(**parts)
    (line,) = str(caught.value).split("\n")[1:]
    return line.removeprefix("  - ")


@pytest.mark.parametrize("off", [False, "off"])  # YAML reads off as false
def test_a_study_without_failure_analysis_analyses_no_set_and_needs_no_region_and_no_metric_for_it(off: object) -> None:
    evaluation = {"regions": ["ET"], "convention": "nnunet"}  # which has no Hausdorff distance
    assert failure_sets(load(models={"m": {"cohort": "c"}}, failure=off, evaluation=evaluation)) == []
    assert failure_sets(load(models={"m": {"cohort": "c"}})) == ["m/cv"]
    with pytest.raises(UserError, match=r"failure\.region: WT is not among evaluation\.regions.*failure: off ranks none"):
        load(models={"m": {"cohort": "c"}}, evaluation=evaluation)


def test_labels_alone_can_be_scored_and_the_message_says_how(tmp_path: Path, brats: Path) -> None:
    files = {"label": "{case}/{case}_seg.nii.gz"}
    cohorts = {"c": {"dataset": "folders", "path": str(brats), "files": files, "label_scheme": "brats2021"}}
    models = {"m": {"cohort": "c", "predictions": f"{tmp_path}/{{case}}.nii.gz", "label_scheme": "brats2021"}}
    said = problem(cohorts=cohorts, models=models)
    assert said.startswith("failure.image: the cohort 'c' has no channel flair; it has labels alone.")
    assert "failure: off" in said
    study = load(cohorts=cohorts, models=models, failure=False)
    assert scored_sets(study) == ["m/given"]
    assert CohortLookups(study).needed_channels("c") == []


def test_a_changed_number_of_extremes_asks_nothing_else_of_a_cohort() -> None:
    """What verifying depends on, training follows: a plan would list it."""
    models = {"m": {"cohort": "c"}}
    asked = [CohortLookups(load(models=models, failure={"extremes": number})).requirements("c") for number in (3, 20)]
    assert asked[0] == asked[1]


def unlabelled(brats: Path, **keys: Any) -> dict[str, Any]:
    return {**PHANTOMS, "new": {"dataset": "brats2021", "path": str(brats), "external": True, "labelled": False, **keys}}


def test_a_cohort_without_truth_is_predicted_and_not_scored(brats: Path) -> None:
    cohorts = unlabelled(brats)
    models = {"m": {"cohort": "c", "external": ["new"]}, "n": {"cohort": "c", "external": ["new"]}}
    study = load(cohorts=cohorts, models=models, failure={"sets": ["cv"]})
    assert study.sets_of("m") == ["cv", "new"]
    assert scored_sets(study) == ["m/cv", "n/cv"]
    assert unscored_sets(study) == ["m/new", "n/new"]
    assert [pair["set"] for pair in report_pairs(study)] == ["cv", "cv"]
    assert [group.set for group in comparison_groups(study)] == ["cv"]
    look_ups = CohortLookups(study)
    assert (look_ups.scheme_name("new"), look_ups.scheme("new"), look_ups.is_labelled("new")) == ("", {}, False)
    assert all(set(case.files) == {"t1", "t1ce", "t2", "flair"} for case in look_ups.cases("new"))


def test_cases_without_a_label_are_found_also_where_a_data_set_leaves_them_out(brats: Path) -> None:
    for label in brats.glob("*/*_seg.nii.gz"):
        label.unlink()
    study = load(cohorts=unlabelled(brats, dataset="lumiere"), models={"m": {"cohort": "c", "external": ["new"]}})
    entry = cohort_dataset(study.cohorts["new"])
    assert not entry.labelled_in_part and "label" not in (entry.files or {})


@pytest.mark.parametrize(
    ("keys", "parts", "words"),
    [
        ({"external": False}, {}, "cohorts.new.labelled: false; only a cohort with external: true"),
        (
            {},
            {"models": {"g": {"cohort": "new", "predictions": "{case}.nii.gz", "label_scheme": "canonical"}}},
            "models.g.cohort: 'new' is not labelled",
        ),
        ({}, {"failure": {"sets": ["new"]}}, "failure.sets: the cohort 'new' is not labelled"),
    ],
)
def test_what_needs_a_truth_is_refused_of_a_cohort_without_one(
    brats: Path, keys: dict[str, Any], parts: dict[str, Any], words: str
) -> None:
    assert problem(cohorts=unlabelled(brats, **keys), **parts).startswith(words)


def test_a_published_value_of_a_set_without_truth_is_compared_with_nothing(brats: Path) -> None:
    published = {"model": "m", "set": "new", "metric": "dice", "region": "WT", "statistic": "mean", "value": 0.8, "source": "x"}
    models = {"m": {"cohort": "c", "external": ["new"]}}
    assert "m has no set 'new'" in problem(cohorts=unlabelled(brats), models=models, published=[published])
