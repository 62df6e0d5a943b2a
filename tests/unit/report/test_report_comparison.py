"""What the page says of compared models: the better one first, in words and numbers that the tables have."""

from typing import Any

import pandas as pd
import pytest

from compare_models import COLUMNS, RANK_COLUMNS
from glioflow.report.comparison import (
    better_first,
    better_words,
    group_name,
    group_section,
    group_words,
    in_order,
    of_group,
    pair_table,
    percent,
    rank_picture,
    rank_table,
)
from glioflow.report.tables import Table

ROW: dict[str, Any] = {
    "cohort": "demo", "set": "test", "folds": pd.NA, "label": "WT", "metric": "dice", "model_a": "a", "model_b": "b",
    "n": 20, "patients": 20, "undefined": 0, "mean_a": 0.8, "mean_b": 0.7, "median_difference": 0.1, "ci_low": 0.02,
    "ci_high": 0.3, "better_a": 14, "better_b": 5, "tied": 1, "rank_biserial": 0.6, "p": 0.0002, "p_holm": 0.0124,
    "tests": 62, "favours": "a",
}  # fmt: skip


def comparison(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([{**ROW, **row} for row in rows], columns=list(COLUMNS)).astype({"folds": "Int64"})


def ranks(*rows: dict[str, Any], firm: bool = True) -> pd.DataFrame:
    shared = {"cohort": "demo", "set": "test", "folds": pd.NA, "label": "WT", "metric": "dice", "ranking": "mean", "n": 20}
    shares = {"share_rank_1": 0.998, "share_rank_2": 0.002} if firm else {"share_rank_1": None, "share_rank_2": None}
    known: dict[str, Any] = {"value": 0.8, "rank": 1, "rank_median": 1.0, "rank_ci_low": 1.0, "rank_ci_high": 2.0}
    known |= {"tau": 0.7, "tau_ci_low": -1.0, "tau_ci_high": 1.0}
    if not firm:
        known |= dict.fromkeys(("rank_median", "rank_ci_low", "rank_ci_high", "tau", "tau_ci_low", "tau_ci_high"))
    columns = [*RANK_COLUMNS, "share_rank_1", "share_rank_2"]
    return pd.DataFrame([{**shared, **known, **shares, **row} for row in rows], columns=columns).astype({"folds": "Int64"})


def texts(table: Table) -> list[list[str]]:
    return [[cell.text.replace("\u00a0", " ") for cell in row] for row in table.rows]


def test_the_better_model_comes_first_with_its_numbers() -> None:
    assert better_first(ROW) == ROW
    worse = {"favours": "b", "better_a": 5, "better_b": 14, "rank_biserial": -0.6, "median_difference": -0.1}
    turned = better_first({**ROW, **worse, "ci_low": -0.3, "ci_high": -0.02, "mean_a": 0.7, "mean_b": 0.8})
    assert turned == {**ROW, "model_a": "b", "model_b": "a", "favours": "b"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "14 of 20 cases, 1 alike"),
        ({"tied": 0}, "14 of 20 cases"),
        ({"better_a": 0, "tied": 20}, "0 of 20 cases, 20 alike"),
        ({"n": 1, "better_a": 1, "tied": 0}, "1 of 1 case"),
        ({"n": 0, "tied": 0}, "no case has both values"),
    ],
)
def test_in_how_many_cases_a_model_is_better_is_said(row: dict[str, Any], words: str) -> None:
    assert better_words({**ROW, **row}) == words


def test_a_difference_is_a_row_with_its_interval_effect_and_corrected_p() -> None:
    table = pair_table("demo · test", "dice", comparison({}))
    assert table.caption.startswith("Dice of the models on demo · test")
    assert texts(table) == [["WT", "a − b", "14 of 20 cases, 1 alike", "0.100 [0.020, 0.300]", "0.60", "0.012"]]
    assert table.rows[0][5].title == "uncorrected: <\u00a00.001"
    assert table.columns[-1] == "p (Holm, 62 tests)"
    row = {"metric": "hd95_mm", "favours": None, "rank_biserial": 0.0, "undefined": 3}
    table = pair_table("demo · test", "hd95_mm", comparison(row))
    assert table.columns[-1] == "Undefined"
    assert texts(table) == [["WT", "a − b", "14 of 20 cases, 1 alike", "0.10 [0.02, 0.30]", "0.00", "0.012", "3"]]


def test_what_could_not_be_compared_is_a_dash() -> None:
    unknown = dict.fromkeys(("median_difference", "ci_low", "ci_high", "rank_biserial", "p", "p_holm", "favours"))
    (row,) = texts(pair_table("demo · test", "dice", comparison({**unknown, "n": 0, "tied": 0, "undefined": 2})))
    assert row[2:] == ["no case has both values", "– ", "–", "–", "2"]


def test_rows_come_region_by_region_and_by_the_metrics_that_are_shown() -> None:
    rows = [{"label": label, "metric": metric} for label in ("WT", "ET") for metric in ("hausdorff", "sens", "dice")]
    ordered = in_order(comparison(*rows), ["dice", "hausdorff"])
    assert ordered[["label", "metric"]].to_numpy().tolist() == [
        *(["WT", "dice"], ["WT", "hausdorff"], ["ET", "dice"], ["ET", "hausdorff"])
    ]


def test_groups_are_told_apart_by_cohort_set_and_folds() -> None:
    by_site = {"set": "cv", "folds": 5, "folds_by": "site"}
    table = comparison({}, {"set": "cv", "folds": 5}, by_site, {"set": "cv", "folds": 3}, {"cohort": "other"})
    groups = [{name: row[name] for name in ("cohort", "set", "folds", "folds_by")} for row in table.to_dict("records")]
    assert [len(of_group(table, group)) for group in groups] == [1, 1, 1, 1, 1]
    names = ["demo · test", "demo · cv (5 folds)", "demo · cv (5 folds by site)", "demo · cv (3 folds)", "other · test"]
    assert [group_name(group) for group in groups] == names
    assert group_name({"cohort": "demo", "set": "all", "folds": pd.NA, "folds_by": pd.NA}) == "demo · all cases"


def test_who_is_compared_and_what_is_left_after_correction_is_said() -> None:
    words = group_words(comparison({}, {"model_b": "c", "n": 19, "p_holm": 0.06}))
    assert words == (
        "a, b and c, on up to 20 cases that they share. Of the 2 differences tested here, 1 is below p = 0.05 after correction "
        "for all tests of their table."
    )
    assert "on up to 20 cases of 12 patients" in group_words(comparison({"patients": 12}))
    assert "none is below" in group_words(comparison({"p_holm": None}))


def test_a_long_table_is_folded_and_cut() -> None:
    group = {"cohort": "demo", "set": "test", "folds": pd.NA, "folds_by": pd.NA}
    few = group_section(group, comparison({}), ranks({"model": "a"}, {"model": "b", "rank": 2}), ["dice"])
    many = group_section(group, comparison(*[{}] * 130), ranks({"model": "a"}), ["dice"])
    (few,), (many,) = few["tables"], many["tables"]
    assert (few["folded"], few["shown"], few["rows"]) == (False, 1, 1)
    assert (many["folded"], many["shown"], many["rows"], len(many["table"].rows)) == (True, 120, 130, 120)


def test_each_metric_has_a_table_of_its_own_whose_tests_were_corrected_together() -> None:
    group = {"cohort": "demo", "set": "test", "folds": pd.NA, "folds_by": pd.NA}
    both = comparison({"tests": 1}, {"metric": "hd95_mm", "tests": 2}, {"metric": "hd95_mm", "label": "TC", "tests": 2})
    found = group_section(group, both, ranks({"model": "a"}), ["dice", "hd95_mm"])["tables"]
    assert [(part["name"], part["rows"]) for part in found] == [("Dice", 1), ("HD95 (mm)", 2)]
    assert [part["table"].columns[-1] for part in found] == ["p (Holm, 1 test)", "p (Holm, 2 tests)"]


def test_ranks_are_shown_with_how_firm_they_are() -> None:
    rows = texts(rank_table("demo · test", ranks({"model": "a"})))
    assert rows == [["WT", "Dice", "a", "0.800", "1", "1", "[1, 2]", "> 99 %", "0.70 [−1.00, 1.00]", "20"]]
    picture = rank_picture("demo · test", ranks({"model": "a"}, {"model": "b", "rank": 2, "share_rank_1": 0.002}), ["dice"])
    assert picture is not None
    assert picture.alt.endswith("First most often: Dice WT: a in >\u00a099\u00a0%.")


def test_ranks_of_one_patient_have_no_picture() -> None:
    table = ranks({"model": "a"}, {"model": "b", "rank": 2}, firm=False)
    assert rank_picture("demo · test", table, ["dice"]) is None
    assert texts(rank_table("demo · test", table))[0][4:] == ["1", "–", "", "", "– ", "20"]


def test_shares_that_are_not_quite_none_or_all_are_bounds() -> None:
    shares = [0.0, 0.0001, 0.005, 0.5, 0.994, 0.9999, 1.0]
    expected = ["0 %", "< 1 %", "< 1 %", "50 %", "99 %", "> 99 %", "100 %"]
    assert [percent(share).replace("\u00a0", " ") for share in shares] == expected
