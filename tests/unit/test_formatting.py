import math

import pytest

from glioflow.formatting import number, significant


@pytest.mark.parametrize(
    ("value", "text"),
    [(math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "–"), (None, "–"), (0, "0"), (1234.5678, "1235"), (-0.0123456, "−0.01235")],
)
def test_significant_digits_tell_infinite_from_undefined(value: float | None, text: str):
    assert significant(value) == text


@pytest.mark.parametrize(("value", "text"), [(math.inf, "∞"), (-math.inf, "−∞"), (None, "–"), (-0.001, "0.0"), (2.25, "2.2")])
def test_a_number_has_so_many_decimals(value: float | None, text: str):
    assert number(value, 1) == text
