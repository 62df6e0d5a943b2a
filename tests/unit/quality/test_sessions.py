"""The order of a patient's sessions: by number, by date, else by id."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glioflow.quality.sessions import natural_key, order_sessions, session_time


def order(cases: dict[str, str], times: dict[str, str | None] | None = None) -> dict[str, tuple]:
    return {str(case): tuple(row) for case, *row in order_sessions(cases, times, "when").itertuples()}


def test_numbers_order_sessions_and_tell_the_time_since_the_first():
    found = order({"a": "p", "b": "p", "c": "p"}, {"a": "100", "b": "-5", "c": "40.5"})
    assert found == {"b": (1, 3, "when", 0, "when"), "c": (2, 3, "when", 45.5, "when"), "a": (3, 3, "when", 105, "when")}


def test_dates_order_sessions_by_days():
    found = order({"a": "p", "b": "p"}, {"a": "2020-03-01", "b": "2020-02-28T08:30"})
    assert found["b"][:3] == (1, 2, "when") and found["a"] == (2, 2, "when", 2, "days")  # a leap year


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"w_2": "1"},
        {"w_2": "1", "w_10": None},
        {"w_2": "1", "w_10": "2020-01-01"},  # a number and a date
        {"w_2": "7", "w_10": "7"},
        {"w_2": "01/02/2020", "w_10": "05/01/2020"},  # day or month first?
        {"w_2": "2020-13-01", "w_10": "2020-01-01"},
        {"w_2": "before", "w_10": "after"},
    ],
)
def test_without_a_sound_time_of_each_session_ids_give_the_order(times):
    found = order({"w_10": "p", "w_2": "p"}, times)
    assert [row[:3] for row in (found["w_2"], found["w_10"])] == [(1, 2, "case_id"), (2, 2, "case_id")]
    assert math.isnan(found["w_10"][3]) and found["w_10"][4] is None


def test_a_patient_without_times_does_not_take_them_from_another():
    found = order({"a1": "a", "a2": "a", "b1": "b", "b2": "b"}, {"a1": "9", "a2": "3"})
    assert found["a2"][:3] == (1, 2, "when") and found["b1"][:3] == (1, 2, "case_id")


def test_a_single_session_is_the_first_of_one():
    assert order({"a": "p"})["a"][:3] == (1, 1, "case_id")


@given(st.lists(st.integers(0, 10**4), min_size=2, max_size=8, unique=True))
def test_ids_are_ordered_by_the_numbers_in_them(weeks):
    names = [f"Patient-001_week-{week}" for week in weeks]
    assert sorted(names, key=natural_key) == [f"Patient-001_week-{week}" for week in sorted(weeks)]


@given(st.lists(st.text(max_size=6), max_size=6))
def test_any_ids_can_be_ordered(names):
    keys = [natural_key(name) for name in sorted(names, key=natural_key)]
    assert all(before <= after for before, after in pairwise(keys))


def test_a_time_is_a_number_or_a_day():
    assert session_time("12") == ("number", 12)
    assert session_time("2020.1.2") == session_time("2020/01/02")
    assert session_time("2020-01/02") is None and session_time(None) is None
