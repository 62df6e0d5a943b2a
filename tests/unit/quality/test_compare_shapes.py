"""What goes along with the shape of tumours: tests of every covariate with every feature, by patient."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, fisher_exact, kruskal

import compare_shapes
from compare_shapes import as_category
from glioflow.quality.shapes import FEATURES


def shapes_of(values: dict[str, float], mask: str = "truth", patients: dict[str, str] | None = None) -> pd.DataFrame:
    """Return a table of shapes whose features are multiples of one value by case."""
    rows = [
        {"case_id": case, "patient_id": (patients or {}).get(case, case), "mask": mask, "region": "WT", "note": None}
        | {feature: value * (place + 1) for place, feature in enumerate(FEATURES)}
        for case, value in values.items()
    ]
    return pd.DataFrame(rows)


def compare(shapes: pd.DataFrame, **covariates: list[Any]) -> pd.DataFrame:
    cases = list(dict.fromkeys(shapes["case_id"]))
    text = {
        name: pd.array([None if v is None else str(v) for v in values], dtype="string") for name, values in covariates.items()
    }
    return compare_shapes.compare_shapes(shapes, pd.DataFrame(text, index=cases))


def first(table: pd.DataFrame) -> dict[str, Any]:
    return table.to_dict("records")[0]


TWELVE = {f"p{number:02d}": float(number) for number in range(1, 13)}
GROUPS = ["a"] * 6 + ["b"] * 6


def test_both_tests_are_those_of_scipy_on_patients():
    values = dict(zip(TWELVE, np.random.default_rng(0).normal(size=12), strict=True))
    row = first(compare(shapes_of(values), cluster=GROUPS))
    numbers = np.array(list(values.values()))
    above = numbers > np.median(numbers)
    counts = [[int(above[:6].sum()), int((~above[:6]).sum())], [int(above[6:].sum()), int((~above[6:]).sum())]]
    assert row["fisher_p"] == pytest.approx(fisher_exact(counts).pvalue)
    assert row["kruskal_h"] == pytest.approx(kruskal(numbers[:6], numbers[6:]).statistic)
    assert row["levels"] == f"a: {counts[0][0]}/6; b: {counts[1][0]}/6"
    assert (row["n"], row["groups"], row["median"]) == (12, 2, np.median(numbers))


def test_a_perfect_division_by_hand():
    row = first(compare(shapes_of(TWELVE), cluster=GROUPS))
    assert row["fisher_p"] == pytest.approx(2 / 924)  # of 12 choose 6 tables the two farthest
    assert row["kruskal_p"] == pytest.approx(2 / 924, abs=0.002)  # by permutation


def test_q_is_corrected_for_the_tests_of_a_kind_in_a_mask():
    rng = np.random.default_rng(1)
    both = pd.concat([shapes_of(dict(zip(TWELVE, rng.normal(size=12), strict=True)), mask) for mask in ("truth", "prediction")])
    table = compare(both, cluster=GROUPS, other=["x", "y"] * 6)
    for mask in ("truth", "prediction"):
        own = table[table["mask"] == mask]
        assert len(own) == 6
        for test in ("fisher", "kruskal"):
            assert own[f"{test}_q"].tolist() == pytest.approx(list(false_discovery_control(own[f"{test}_p"])))


def test_a_value_of_fewer_than_three_patients_is_left_out_and_named():
    row = first(compare(shapes_of(TWELVE), cluster=["a"] * 5 + ["b"] * 5 + ["c"] * 2))
    assert (row["n"], row["groups"]) == (10, 2)
    assert row["note"] == "left out, fewer than 3 patients: c"
    alone = first(compare(shapes_of(TWELVE), cluster=["a"] * 10 + ["b", "c"]))
    assert pd.isna(alone["fisher_p"]) and alone["note"] == "left out, fewer than 3 patients: b, c; one value to test: a"
    none = first(compare(shapes_of({"x": 1.0, "y": 2.0}), cluster=["a", "b"]))
    assert pd.isna(none["kruskal_p"]) and none["note"].startswith("a text that differs in every case")


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["2020-01-01"] * 12, "dates"),
        ([None] * 12, "no case of the set has a value"),
        (list("abcdefghijkl"), "a text that differs in every case"),
        (["x"] * 12, "one value to test: x"),
    ],
)
def test_what_cannot_be_tested_has_its_reason(values, note):
    table = compare(shapes_of(TWELVE), covariate=values)
    assert table["note"].tolist() == [note] * 3 and table[["fisher_p", "kruskal_p", "fisher_q"]].isna().all(axis=None)


def test_an_identifier_is_not_tested():
    assert first(compare(shapes_of(TWELVE), site_id=GROUPS))["note"] == "an identifier"


def test_equal_shapes_have_no_test():
    row = first(compare(shapes_of(dict.fromkeys(TWELVE, 2.0)), cluster=GROUPS))
    assert pd.isna(row["fisher_p"]) and row["note"] == "the feature has one value in every patient"


def test_masks_without_a_shape_say_why():
    shapes = shapes_of(dict.fromkeys(TWELVE, np.nan)).assign(note="the region is empty")
    assert first(compare(shapes, cluster=GROUPS))["note"] == "the region is empty"


def test_a_patient_counts_once_and_is_left_out_where_its_cases_differ():
    cases = {**TWELVE, "p01_b": 3.0, "p02_b": 40.0}
    patients = {"p01_b": "p01", "p02_b": "p02"}
    table = compare(shapes_of(cases, patients=patients), cluster=[*GROUPS, "a", "b"])
    row = first(table)
    assert (row["n"], row["patients_left_out"]) == (11, 1)
    assert row["median"] == 7  # of 2 (the mean of 1 and 3), 3, …, 12; p02, whose cases differ, is not among them


def test_small_whole_numbers_are_codes_and_other_numbers_are_cut_at_their_median():
    def kinds(*values: Any) -> list[str]:
        return as_category(pd.Series([str(value) for value in values], dtype="string")).tolist()

    assert kinds(1, 2, 3, 2) == ["1", "2", "3", "2"]
    assert kinds("1", "2.0", "3", "02") == ["1", "2", "3", "2"]
    assert kinds(30, 40, 50, 60) == ["≤ 45", "≤ 45", "> 45", "> 45"]
    assert kinds(0.5, 1, 2) == ["≤ 1", "≤ 1", "> 1"]
    assert kinds(-1, 0, 1) == ["≤ 0", "≤ 0", "> 0"]
