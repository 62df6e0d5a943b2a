"""Folds by a covariate: who is in which, in split.csv and back, and what stops them."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from glioflow.cohorts.cohort_checks import check_requirements
from glioflow.cohorts.covariate_folds import check_values, fold_values
from glioflow.cohorts.problems import PROBLEM_COLUMNS
from glioflow.cohorts.splits import SplitPlan, check_split, split_cases
from glioflow.console import Console
from glioflow.files import read_table
from split_cohort import main


def cohort(**sites: str | None) -> pd.DataFrame:
    """A manifest in which ``p3_1="b"`` is the second case of patient p3, at site b."""
    rows = [(case, case.partition("_")[0], 10.0 * number, site) for number, (case, site) in enumerate(sites.items())]
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "volume_WT_ml", "site"])


THREE = cohort(p0="b", p1="a", p2="b", p3="a", p4="c", p5="c")


def found(manifest: pd.DataFrame, folds: int, **plan: Any) -> list[str]:
    """Return the messages about a cohort to be divided by site."""
    split = {"folds_by": {"site": [folds]}, **plan}
    requirements = {"split": split, "trained": False, "blank": [], "source": "there"}
    return [problem["message"] for problem in check_requirements(manifest, requirements)]


def test_each_value_is_a_fold_and_numbers_count_as_numbers() -> None:
    manifest = cohort(p0="10", p1="9", p2="10.0", p3_0="9", p3_1="9")
    split = split_cases(manifest, SplitPlan(folds_by={"site": [2]}))
    assert split["fold_by_site"].tolist() == ["10", "9", "10", "9", "9"]
    assert fold_values(split, "site") == ["9", "10"]
    assert found(manifest, 2) == []


def test_only_training_cases_have_a_fold() -> None:
    split = split_cases(THREE, SplitPlan(test_cases=["p4", "p5"], folds_by={"site": [2]}))
    assert split["fold_by_site"].tolist() == ["b", "a", "b", "a", pd.NA, pd.NA]
    assert fold_values(split, "site") == ["a", "b"]
    assert found(THREE, 2, test_cases=["p4", "p5"]) == []


@pytest.mark.parametrize(
    ("changed", "folds", "words"),
    [
        ({}, 5, "found 3 values of site among the training cases (a: 2 patients, b: 2 patients, c: 2 patients) for folds: 5; "
                "expected folds: 3, as folds_by: site makes a fold of each value"),
        ({}, 2, "for folds: 2; expected folds: 3"),
        (dict.fromkeys(("p0", "p2", "p4", "p5"), "a"), 2, "found 1 value of site"),
        ({"p4": None}, 3, "found no value of site in 1 training case (p4); expected one in each"),
        ({"p5": "b"}, 3, "found one training patient only whose site is c; expected two or more of each value"),
    ],
)  # fmt: skip
def test_what_stops_folds_by_a_covariate_is_said(changed: dict[str, str | None], folds: int, words: str) -> None:
    sites = {**dict(zip(THREE["case_id"], THREE["site"], strict=True)), **changed}
    messages = found(cohort(**sites), folds)
    assert any(words in message for message in messages), messages


def test_a_patient_at_two_sites_is_one_message() -> None:
    manifest = cohort(p0_0="a", p0_1="b", p1="a", p2="b")
    assert found(manifest, 2) == [
        "found the patient p0 in a and b; expected all cases of a patient in one site, for folds_by: site"
    ]


def test_a_value_that_may_be_another_ones_misspelling_is_a_warning() -> None:
    split = split_cases(cohort(p0="Penn", p1="Penn", p2="penn", p3="penn"), SplitPlan(folds_by={"site": [2]}))
    (problem,) = check_values(split, {"site": [2]})
    assert (problem["problem"], problem["severity"]) == ("near_values", "warning")
    assert "found the values 'Penn' and 'penn' of site" in problem["message"]


@pytest.mark.parametrize("name", ["hospital", "volume_WT_ml", "case_id"])
def test_what_is_no_covariate_makes_no_folds(name: str) -> None:
    (problem,) = check_split(THREE, SplitPlan(folds_by={name: [2]}))
    assert problem["message"] == f"found no covariate {name!r} to make folds by; expected one of the cohort's: site"


def test_the_split_keeps_its_values_as_text_and_comes_back_byte_for_byte(tmp_path) -> None:
    manifest = cohort(p0="01", p1="01", p2="02", p3="02", p4="10", p5="10")
    (tmp_path / "manifest.csv").write_text(manifest.to_csv(index=False))
    for name in ("verification", "comparison"):
        (tmp_path / f"{name}.csv").write_text(",".join(PROBLEM_COLUMNS) + "\n")

    def run(name: str, **split: Any) -> bytes:
        paths = {part: str(tmp_path / f"{part}.csv") for part in ("manifest", "verification", "comparison")}
        main(
            SimpleNamespace(
                input=SimpleNamespace(**paths),
                output=[str(tmp_path / name)],
                params=SimpleNamespace(split=split),
                wildcards=SimpleNamespace(cohort="c"),
            ),
            Console(),
        )
        return (tmp_path / name).read_bytes()

    published = run("split.csv", folds_by={"site": [3]}, folds=[2])
    split = read_table(tmp_path / "split.csv")
    assert fold_values(split, "site") == ["01", "02", "10"]
    file = str(tmp_path / "split.csv")
    assert run("again.csv", file=file, folds_by={"site": [3]}, folds=[2]) == published
    # The file's folds count where the cohort does not know the covariate.
    assert check_split(manifest.drop(columns="site"), SplitPlan(file=file, folds_by={"site": [3]})) == []
    assert "fold_by_site" in run("none.csv", file=file, folds_by={"site": [3]}).decode()
