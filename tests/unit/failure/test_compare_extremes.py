"""Cohen's d by hand, its invariances, and where it is undefined."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

import compare_extremes
from compare_extremes import gather
from glioflow.console import Console, UserError
from glioflow.failure.effects import cohens_d
from glioflow.failure.radiomics_table import primary_rows
from glioflow.files import read_table, write_table

VALUES = st.lists(st.integers(-1000, 1000).map(lambda n: n / 8), min_size=2, max_size=12)


def varies(*groups: list[float]) -> bool:
    return any(len(set(group)) > 1 for group in groups)


def test_two_groups_of_three_by_hand() -> None:
    effect = cohens_d([2, 4, 6], [1, 2, 3])
    assert (effect.mean_worst, effect.mean_best, effect.n_worst, effect.n_best, effect.note) == (4, 2, 3, 3, "")
    assert effect.sd_pooled == pytest.approx(math.sqrt((2 * 4 + 2 * 1) / 4))
    assert effect.cohens_d == pytest.approx(2 / math.sqrt(2.5))


def test_groups_of_different_size_are_weighted_by_their_degrees_of_freedom() -> None:
    # Squares about the means 2 and 4: 2 and 18; pooled over 2 + 4 - 2 degrees of freedom.
    effect = cohens_d([1, 3], [2, 2, 5, 7])
    assert effect.sd_pooled == pytest.approx(math.sqrt(20 / 4))
    assert effect.cohens_d == pytest.approx(-2 / math.sqrt(5))


def test_a_missing_value_is_left_out_and_not_counted() -> None:
    assert cohens_d([2, np.nan, 4, 6], [1, 2, 3]) == cohens_d([2, 4, 6], [1, 2, 3])


@pytest.mark.parametrize(
    ("worst", "best", "named"),
    [([1.0], [1.0, 2.0], "worst"), ([1.0, 2.0], [np.nan, 1.0], "best"), ([], [3.0], "worst and best")],
)
def test_fewer_than_two_values_give_no_effect_and_a_note(worst: list[float], best: list[float], named: str) -> None:
    effect = cohens_d(worst, best)
    assert math.isnan(effect.cohens_d)
    assert math.isnan(effect.sd_pooled)
    assert effect.note == f"fewer than two values among the {named} cases"


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_feature_that_does_not_vary_has_no_effect_even_where_the_groups_differ(value: float) -> None:
    effect = cohens_d([value] * 3, [value + 1] * 4)
    assert math.isnan(effect.cohens_d)
    assert effect.sd_pooled == 0
    assert effect.note == "the feature does not vary within the groups"


def test_rounding_is_not_taken_for_variation() -> None:
    assert math.isnan(cohens_d([1.0, 1.0 + 2e-16, 1.0], [1.0 + 4e-16, 1.0, 1.0]).cohens_d)


@pytest.mark.filterwarnings("ignore:Precision loss")
@settings(deadline=None, max_examples=50)
@given(VALUES, VALUES)
def test_the_effect_is_that_of_students_t(worst: list[float], best: list[float]) -> None:
    assume(varies(worst, best))
    t = ttest_ind(worst, best, equal_var=True).statistic
    assert cohens_d(worst, best).cohens_d == pytest.approx(t * math.sqrt(1 / len(worst) + 1 / len(best)), rel=1e-9, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(VALUES, VALUES, st.integers(-100, 100), st.sampled_from([0.25, 0.5, 4.0, 1000.0]))
def test_the_effect_does_not_depend_on_a_features_unit_or_origin(
    worst: list[float], best: list[float], shift: int, scale: float
) -> None:
    assume(varies(worst, best))
    moved = cohens_d([scale * v + shift for v in worst], [scale * v + shift for v in best])
    assert moved.cohens_d == pytest.approx(cohens_d(worst, best).cohens_d, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(VALUES, VALUES)
def test_swapping_the_groups_turns_the_sign(worst: list[float], best: list[float]) -> None:
    assume(varies(worst, best))
    assert cohens_d(worst, best).cohens_d == pytest.approx(-cohens_d(best, worst).cohens_d)


FURTHER = [("flair", "ET"), ("t1ce", "WT"), ("t1ce", "ET")]


def radiomics() -> pd.DataFrame:
    """Return two worst and two best cases with a large, a small, a negative, a constant and an empty feature."""
    return pd.DataFrame(
        {
            "group": ["worst", "worst", "best", "best"],
            "rank": [1, 2, 2, 1],
            "case_id": ["d", "b", "c", "a"],
            "patient_id": ["d", "b", "c", "a"],
            "image": ["flair"] * 4,
            "region": ["WT"] * 4,
            "original_shape_Small": [1.0, 2.0, 1.1, 2.1],
            "original_glcm_Large": [9.0, 10.0, 1.0, 2.0],
            "original_ngtdm_Negative": [1.0, 2.0, 4.0, 5.0],
            "original_gldm_Constant": [3.0] * 4,
            "original_glszm_Empty": [np.nan] * 4,
            "note": [None] * 4,
        }
    )


def test_the_largest_effect_of_either_sign_comes_first_and_undefined_ones_last() -> None:
    table = compare_extremes.effect_table(radiomics(), radiomics())
    assert list(table["feature"].str.rpartition("_")[2]) == ["Large", "Negative", "Small", "Constant", "Empty"]
    assert list(table["feature_group"]) == ["glcm", "ngtdm", "shape", "gldm", "glszm"]
    assert list(table.columns) == [
        *("feature", "feature_group", "cohens_d", "mean_worst", "mean_best", "sd_pooled", "n_worst", "n_best", "note")
    ]
    assert table["cohens_d"][0] == pytest.approx(8 / math.sqrt(0.5))
    assert table["cohens_d"][1] == pytest.approx(-3 / math.sqrt(0.5))


def test_shards_are_put_in_the_order_of_the_set() -> None:
    whole = radiomics()
    shards = [whole.iloc[2:], whole.iloc[:0], whole.iloc[:2]]
    assert list(gather(["c", "b", "d", "a"], ["a"], shards)["case_id"]) == ["c", "b", "d", "a"]


@pytest.mark.parametrize(("rows", "named"), [([0, 1, 2], "a"), ([0, 1, 2, 3, 3], "a"), ([], "a, b"), ([0, 1, 2, 3], "c")])
def test_a_missing_a_double_and_a_strange_case_are_refused_by_name(rows: list[int], named: str) -> None:
    whole = radiomics()
    set_cases = ["d", "b", "a"] if named == "c" else ["d", "b", "c", "a"]
    with pytest.raises(UserError, match=f"do not fit the set in {named}; run extract_radiomics again"):
        gather(set_cases, ["a", "b"], [whole.iloc[rows]])


def test_every_image_and_region_is_gathered_and_effects_are_of_the_first() -> None:
    first = radiomics()
    further = [first.assign(image=image, region=region, original_glcm_Large=0.0) for image, region in FURTHER]
    rows = pd.concat([first, *further]).sort_values("case_id", kind="stable")
    table = gather(["d", "b", "c", "a"], ["a"], [rows.iloc[:8], rows.iloc[8:]])
    kinds = [("flair", "WT"), *FURTHER]
    assert list(zip(table["case_id"], table["image"], table["region"], strict=True)) == [
        (case, *kind) for case in ("d", "b", "c", "a") for kind in kinds
    ]
    pd.testing.assert_frame_equal(primary_rows(table), first)
    assert effect_sizes(primary_rows(table))["original_glcm_Large"] == pytest.approx(8 / math.sqrt(0.5))


def effect_sizes(table: pd.DataFrame) -> pd.Series:
    return compare_extremes.effect_table(table, radiomics()).set_index("feature")["cohens_d"]


def test_both_tables_are_written(tmp_path: Path) -> None:
    whole = radiomics()
    write_table(tmp_path / "extremes.csv", whole[["group", "rank", "case_id"]])
    write_table(tmp_path / "scores.csv", whole[["patient_id", "case_id"]].assign(label="WT"))
    for shard in (0, 1):
        write_table(tmp_path / f"{shard}.csv", whole.iloc[shard::2])
    job = SimpleNamespace(
        input=SimpleNamespace(
            scores=str(tmp_path / "scores.csv"),
            extremes=str(tmp_path / "extremes.csv"),
            shards=[str(tmp_path / f"{i}.csv") for i in (0, 1)],
        ),
        params=SimpleNamespace(region="WT"),
        output=SimpleNamespace(radiomics=str(tmp_path / "radiomics.csv"), effects=str(tmp_path / "effects.csv")),
    )
    said = compare_extremes.main(job, Console())
    assert said == "4 cases, 3 effect sizes, 2 undefined, the largest +11.31 (original_glcm_Large)"
    assert list(read_table(tmp_path / "radiomics.csv")["case_id"]) == ["d", "b", "c", "a"]
    assert list(read_table(tmp_path / "effects.csv")["n_worst"]) == [2, 2, 2, 2, 0]
