"""Cases without a truth, labels without images, and regions that a label scheme cannot show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import save, write_case

from glioflow.cohorts.case_checks import CheckRules, check_case
from glioflow.cohorts.cohort_checks import check_requirements
from glioflow.cohorts.layouts import FoundCase, list_cohort
from glioflow.cohorts.splits import SplitPlan, split_cases
from glioflow.imaging.labels import REGIONS
from glioflow.report.cohorts import cohort_scheme, region_volumes, scheme_words
from glioflow.study.configuration import FolderCohort
from glioflow.study.registry import label_schemes
from verify_cohort import assemble


def rules_of(scheme: str, folder: Path, channels: tuple[str, ...] = ("flair",)) -> CheckRules:
    return CheckRules(label_schemes()[scheme], scheme, channels, "error", True, str(folder / "labels"))


@pytest.fixture
def cases(tmp_path: Path) -> list[FoundCase]:
    for case in ("a", "b"):
        write_case(tmp_path / "brats", case)
    return list_cohort(FolderCohort(dataset="brats2021", path=str(tmp_path / "brats")), tmp_path / "brats").cases


def test_a_case_without_truth_is_an_error_unless_the_cohort_is_not_labelled(tmp_path: Path, cases: list[FoundCase]) -> None:
    row = cases[0].row()
    Path(row["label"]).unlink()
    rules = rules_of("brats2021", tmp_path)
    (problem,) = check_case(row, rules)["problems"]
    assert problem["problem"] == "missing_label" and "labelled: false" in problem["expected"]
    found = check_case({key: value for key, value in row.items() if key != "label"}, replace(rules, scheme={}, labelled=False))
    assert found["problems"] == []
    assert "flair" in found["row"] and not any(key.startswith(("label", "volume")) for key in found["row"])


def test_the_manifest_of_a_cohort_without_truth_has_no_volumes_and_can_be_split(tmp_path: Path, cases: list[FoundCase]) -> None:
    rules = replace(rules_of("brats2021", tmp_path), scheme={}, labelled=False)
    rows = [{**check_case(case.row(), rules)["row"], "case_id": case.case_id, "patient_id": case.patient_id} for case in cases]
    manifest = assemble([case.row() for case in cases], rows)
    assert manifest[["label", "volume_WT_ml"]].isna().all(axis=None)
    requirements = {"source": "here", "split": {"external": True}, "trained": True, "blank": []}
    assert check_requirements(manifest, requirements) == []
    assert set(split_cases(manifest, SplitPlan(external=True))["set"]) == {"external"}
    assert region_volumes(manifest).empty or not len(region_volumes(manifest).columns)


def test_a_label_without_an_image_has_its_own_grid(tmp_path: Path, cases: list[FoundCase]) -> None:
    row = {key: value for key, value in cases[0].row().items() if key not in ("t1", "t1ce", "t2", "flair")}
    found = check_case(row, rules_of("brats2021", tmp_path, ()))
    assert found["problems"] == []
    assert (found["row"]["shape"], found["row"]["volume_WT_ml"]) == ("10x12x8", pytest.approx(0.064))


@pytest.mark.parametrize("scheme", ["whole_tumour", "brats2021", "brats2024", "lgg_kaggle"])
def test_a_region_that_the_scheme_cannot_show_has_no_volume_and_not_0(tmp_path: Path, scheme: str) -> None:
    raw = next(iter(label_schemes()[scheme]))
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1] = raw
    path = save(tmp_path / "a.nii.gz", labels)
    row = check_case({"case_id": "a", "patient_id": "a", "label": str(path)}, rules_of(scheme, tmp_path, ()))["row"]
    shown = {
        "whole_tumour": {"WT"}, "lgg_kaggle": {"WT"}, "brats2021": {"WT", "TC", "ET", "ED", "NCR"}, "brats2024": set(REGIONS)
    }[scheme]  # fmt: skip
    assert {key.split("_")[1] for key in row if key.startswith("volume_")} == shown
    if "ET" in shown:
        assert row["volume_ET_ml"] == 0


def test_the_report_shows_the_volumes_that_are_known() -> None:
    manifest = pd.DataFrame({"volume_WT_ml": [1.0, 2.0], "volume_ET_ml": [None, None], "volume_RC_ml": [0.0, 0.0]})
    assert list(region_volumes(manifest)) == ["WT"]


def test_a_label_that_stands_for_the_whole_tumour_is_called_so() -> None:
    assert scheme_words("whole_tumour") == "1\u00a0=\u00a0WT"
    assert scheme_words("brats2021").replace("\u00a0", " ") == "1 = NCR, 2 = ED, 4 = ET"
    assert cohort_scheme({"dataset": "brats2021"}) == "brats2021"
    assert cohort_scheme({"dataset": "brats2021", "labelled": False}) is None
