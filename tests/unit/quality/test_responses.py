"""Response categories of series of volumes, by hand, and what must hold of any."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glioflow.quality.responses import CATEGORIES, Thresholds, respond

RANO = Thresholds(increase=0.4, decrease=0.65, measurable_ml=1.0)


def categories(*volumes: float) -> list[str]:
    return [response.category for response in respond(volumes, RANO)]


@pytest.mark.parametrize(
    ("volumes", "found"),
    [
        ((10, 13.9), "SD"), ((10, 14), "PD"), ((10, 3.6), "SD"), ((10, 3.5), "PR"), ((10, 0), "CR"), ((10, 10), "SD"),
        ((0, 0), "SD"), ((0, 0.9), "SD"), ((0, 1), "PD"), ((0.5, 0.9), "SD"), ((0.5, 2), "PD"),
        ((0.5, 0.1), "SD"), ((0.5, 0), "CR"),
    ],
)  # fmt: skip
def test_the_second_session_is_held_against_the_first(volumes, found):
    assert categories(*volumes) == ["", found]


def test_progression_counts_from_the_smallest_volume_and_response_from_the_first():
    # 3 is a response to 10; 4.2 is 40 % over 3, though it is far below the first.
    assert categories(10, 3, 4.1, 4.2, 3.4) == ["", "PR", "SD", "PD", "PR"]
    assert categories(10, 0, 0, 2) == ["", "CR", "CR", "PD"]
    # Progression goes before response: 3.4 is 66 % below the first and 70 % over the smallest.
    assert categories(10, 2, 3.4) == ["", "PR", "PD"]


def test_changes_are_fractions_of_baseline_and_nadir():
    last = respond([10, 4, 6], RANO)[-1]
    assert (last.from_baseline, last.from_nadir) == (pytest.approx(-0.4), pytest.approx(0.5))
    assert math.isnan(respond([0, 3], RANO)[1].from_baseline)


def test_a_session_without_a_volume_has_no_category_and_is_passed_over():
    assert categories(10, math.nan, 14) == ["", "", "PD"]
    assert categories(10, 5, math.nan, 6) == ["", "SD", "", "SD"]


def test_without_a_baseline_there_is_no_category():
    assert categories(math.nan, 10, 20) == ["", "", ""]


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=6), st.floats(1.5, 20))
def test_every_session_after_the_first_has_one_category_and_larger_thresholds_find_fewer_progressions(volumes, factor):
    found = categories(*volumes)
    assert found[0] == "" and set(found[1:]) <= set(CATEGORIES)
    strict = [response.category for response in respond(volumes, Thresholds(0.4 * factor, 0.65, 1.0))]
    assert strict.count("PD") <= found.count("PD")
