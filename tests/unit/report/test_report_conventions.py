"""The report on definitions: what the picture of ranks shows, and the words beside it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from compare_conventions import RANK_COLUMNS, compare_ranks, rank_table
from glioflow.evaluation.conventions import Convention, Headline, conventions
from glioflow.report import conventions as report
from glioflow.report.conventions import (
    few_words,
    mean_sentence,
    means_table,
    rank_chart,
    ranking_sentence,
    worst_table,
)
from glioflow.report.figures import draw_ranks
from glioflow.report.source import Pair

PAIR = Pair("net", "cv", "demo", failure=True)
# Six cases under four conventions, by distance. The study's worst two are a and b. Under `close` b and c have changed places;
# under `other` the order is turned; under `void` a has no value.
VALUES: dict[str, list[float | None]] = {
    "study": [9, 8, 7, 3, 2, 1],
    "other": [1, 2, 3, 7, 8, 9],
    "close": [9, 7, 8, 3, 2, 1],
    "void": [None, 8, 7, 3, 2, 1],
}


def known(units: Mapping[str, str]) -> dict[str, Convention]:
    ours = conventions()["glioflow"]
    return {
        name: ours.model_copy(update={"name": name, "units": units.get(name, "mm"), "headline": Headline(distance="hd95_mm")})
        for name in VALUES
    }


def tables(values: Mapping[str, list[Any]] = VALUES, extremes: int = 2, **units: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores under each convention, and their ranks."""
    rows = [
        {
            "case_id": "abcdef"[place],
            "label": "WT",
            "convention": name,
            "tta": None,
            "note": None,
            "dice": 0.5,
            "hd95_mm": value,
        }
        for name, of_cases in values.items()
        for place, value in enumerate(of_cases)
    ]
    table = rank_table(pd.DataFrame(rows).astype({"hd95_mm": float}), known(units))
    return table, compare_ranks(table, known(units), "study", extremes)


def by_distance(ranks: pd.DataFrame) -> pd.DataFrame:
    return ranks[ranks["kind"] == "distance"]


def chart(extremes: int = 2) -> report.RankChart:
    table, ranks = tables(extremes=extremes)
    found = rank_chart(table, by_distance(ranks))
    assert found is not None
    return found


def test_conventions_stand_by_their_agreement_with_the_study() -> None:
    # tau: void 1 (of the cases that both rank), close (14 - 1) / 15, other -1.
    assert chart().conventions == ["study", "void", "close", "other"]


def test_a_case_stays_leaves_or_enters() -> None:
    assert {fate: chart().cases(fate) for fate in ("stays", "leaves", "enters")} == {
        "stays": [],
        "leaves": ["a", "b"],
        "enters": ["c", "e", "f"],
    }


def test_a_line_has_its_ranks_and_rows_under_each_convention() -> None:
    lines = {line.case_id: line for line in chart().lines}
    assert {case: line.ranks for case, line in lines.items()} == {
        "a": [1, None, 1, 6],
        "b": [2, 1, 3, 5],
        "c": [3, 2, 2, 4],
        "e": [5, 4, 5, 2],
        "f": [6, 5, 6, 1],
    }
    # The worst two in the rows 0 and 1, row 2 empty, the other three below in their order; a case without a value last.
    assert {case: line.rows for case, line in lines.items()} == {
        "a": [0, 5, 0, 5],
        "b": [1, 0, 3, 4],
        "c": [3, 1, 1, 3],
        "e": [4, 3, 4, 1],
        "f": [5, 4, 5, 0],
    }


def test_no_two_cases_share_a_row() -> None:
    for place in range(4):
        rows = [line.rows[place] for line in chart().lines]
        assert len(set(rows)) == len(rows)


def test_a_case_that_is_worst_everywhere_stays() -> None:
    values = {**VALUES, "other": [9, 1, 2, 3, 4, 5], "void": [9, 8, None, None, None, None]}
    table, ranks = tables(values)
    found = rank_chart(table, by_distance(ranks))
    assert found is not None
    assert found.cases("stays") == ["a"]


def test_more_cases_than_the_eye_can_follow_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_DRAWN", 1)
    assert chart(extremes=3).worst == 1
    assert [line.case_id for line in chart(extremes=3).lines] == ["a", "b", "f"]


@pytest.mark.parametrize(
    "values",
    [
        {"study": [3, 2, 1]},  # no other convention
        {"study": [3], "other": [3]},  # too few cases
        {"study": [None, None], "other": [3, 2]},  # none of the study's
    ],
)
def test_what_cannot_be_drawn_is_no_picture(values: dict[str, list[Any]]) -> None:
    table, ranks = tables(values)
    assert rank_chart(table, by_distance(ranks)) is None
    assert ranking_sentence(by_distance(ranks), "WT") == "No other convention ranks enough cases of WT to be compared."


def test_a_convention_without_any_value_is_not_drawn() -> None:
    table, ranks = tables({**VALUES, "void": [None] * 6})
    found = rank_chart(table, by_distance(ranks))
    assert found is not None
    assert found.conventions == ["study", "close", "other"]


def test_the_picture_names_every_case_and_writes_the_ranks_below_the_worst() -> None:
    found = chart()
    lines = [(line.case_id, line.fate, line.ranks, line.rows) for line in found.lines]
    figure = draw_ranks(found.conventions, lines, found.worst)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a   1", "b   2", "c", "e", "f"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["1   f", "2   e", "c", "b", "a"]
    assert [label.get_text() for label in left.get_xticklabels()] == found.conventions
    written = sorted((text.get_position()[0], text.get_position()[1], text.get_text()) for text in left.texts)
    assert [text for place, _, text in written if place == 0] == ["3", "5", "6"]
    assert [text for place, _, text in written if place == 1] == ["4", "5", "–"]


def test_the_sentence_says_who_stays_and_which_convention_agrees_least() -> None:
    _, ranks = tables()
    assert ranking_sentence(by_distance(ranks), "WT") == (
        "Of the 2 cases that are worst in WT (whole tumour) under study (HD95), 0 are among the worst 2 under each of 3 "
        "other conventions as well. Most of them change under other (HD95): f and e enter and a and b leave. The order of all "
        "cases agrees least under other (HD95), τ = −1.00."
    )
    _, ranks = tables({name: VALUES[name] for name in ("study", "void")})
    assert ranking_sentence(by_distance(ranks), "WT").endswith(
        "1 is among the worst 2 under the other convention as well. Most of them change under void (HD95): c enters and a "
        "leaves, 1 without a value. The order of all cases agrees least under void (HD95), τ = 1.00."
    )
    _, ranks = tables({"study": [9, 8, 7, 3, 2, 1], "close": [9, 8, 7, 3, 1, 2]})
    assert ranking_sentence(by_distance(ranks), "WT").endswith(
        "2 are among the worst 2 under the other convention as well. The order of all cases agrees least under close (HD95), "
        "τ = 0.87."
    )


def test_the_worst_may_change_most_where_the_order_of_all_does_not() -> None:
    # other: a and b keep their places, the four others are turned, so tau is (15 - 2 * 6) / 15. close: b and c are turned.
    _, ranks = tables({"study": [9, 8, 7, 3, 2, 1], "close": [9, 7, 8, 3, 2, 1], "other": [9, 8, 1, 2, 3, 7]})
    said = ranking_sentence(by_distance(ranks), "WT")
    assert "Most of them change under close (HD95): c enters and b leaves." in said
    assert said.endswith("The order of all cases agrees least under other (HD95), τ = 0.20.")


def test_a_convention_that_ranks_fewer_cases_is_not_counted_among_those_that_keep_them() -> None:
    _, ranks = tables({"study": VALUES["study"], "void": [None, None, None, 3, 2, 1], "close": VALUES["close"]})
    assert "1 is among the worst 2 under the other convention as well." in ranking_sentence(by_distance(ranks), "WT")


def test_the_means_are_told_from_the_lowest_to_the_highest_in_mm_alone() -> None:
    _, ranks = tables({**VALUES, "other": [90, 90, 90, 90, 90, 90]}, other="voxels")
    # 30 / 6 under study and close, 21 / 5 under void; all values of Dice are one half.
    assert mean_sentence(ranks, "WT") == (
        "Of these same masks the mean distance in WT is anything from 4.20 mm (void, HD95, n = 5) to 5.00 mm (study, HD95)."
    )
    assert mean_sentence(ranks, "ET") == ""


def test_an_infinite_mean_is_shown_as_one() -> None:
    _, ranks = tables({**VALUES, "close": [float("inf"), 8, 7, 3, 2, 1]})
    assert "to ∞ mm (close, HD95)" in mean_sentence(ranks, "WT")
    (mean,) = [row[7].text for row in means_table(PAIR, ranks).rows if row[1].text == "close"]
    assert mean == "∞ mm (1 infinite)"


def test_the_table_of_the_worst_names_the_cases() -> None:
    _, ranks = tables()
    table = worst_table(PAIR, by_distance(ranks), "WT")
    assert table.columns == ["Convention", "Cases ranked", "τ", "Shared", "Enter", "Leave"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["study (HD95)", "6 of 6", "1.00", "2 of 2", "", ""],
        ["void (HD95)", "5 of 6", "1.00", "1 of 2", "c", "a (–)"],
        ["close (HD95)", "6 of 6", "0.87", "1 of 2", "c", "b"],
        ["other (HD95)", "6 of 6", "−1.00", "0 of 2", "f, e", "a, b"],
    ]


def test_the_table_of_the_means_has_a_row_per_region_and_convention() -> None:
    _, ranks = tables(other="voxels")
    table = means_table(PAIR, ranks)
    assert table.columns[:6] == ["Region", "Convention", "Overlap", "Mean", "τ", "Shared"]
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows[0] == ["WT", "study (the study's)", "Dice", "0.500", "–", "2 of 2", "HD95", "5.00 mm", "1.00", "2 of 2"]
    assert [row[6:8] for row in rows[1:]] == [["HD95", "5.00 voxels"], ["HD95", "5.00 mm"], ["HD95", "4.20 mm, n = 5"]]


def test_a_convention_without_a_distance_has_empty_cells() -> None:
    _, ranks = tables()
    table = means_table(PAIR, ranks[~((ranks["convention"] == "close") & (ranks["kind"] == "distance"))])
    assert [cell.text for cell in table.rows[2][6:]] == [""] * 4


def test_a_long_list_is_cut() -> None:
    assert few_words(list("abcd")) == "a, b, c and d"
    assert few_words(list("abcde")) == "a, b, c and 2 more"


def test_every_column_that_is_shown_is_one_of_the_table() -> None:
    assert {"unit", "mean", "tau_b", "entering", "leaving", "leaving_unranked", "infinite"} <= set(RANK_COLUMNS)
