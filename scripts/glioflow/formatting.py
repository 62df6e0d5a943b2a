"""How numbers are written for people: decimals, the sign of undefined and of infinite values."""

from math import floor, isfinite, log10
from typing import Any

import numpy as np
import pandas as pd

UNDEFINED = "–"
INFINITE = "∞"
MINUS = "−"


def number(value: Any, decimals: int) -> str:
    """Return a number with so many decimals and a true minus sign, ``–`` where it is undefined, ``∞`` where it is infinite."""
    if value is None or pd.isna(value):
        return UNDEFINED
    if not isfinite(float(value)):
        return INFINITE if value > 0 else MINUS + INFINITE
    text = f"{float(value):.{decimals}f}"
    return MINUS + text[1:] if text.startswith("-") and text.strip("-0.") else text.lstrip("-")


def significant(value: Any, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits, without dropping digits before the point."""
    if value is None or pd.isna(value) or not isfinite(float(value)):
        return number(value, 0)
    size = float(value)
    if size == 0:
        return "0"
    power = floor(log10(abs(size)))
    if power < -4 or power >= 9:
        mantissa, _, exponent = f"{size:.{digits - 1}e}".partition("e")
        return f"{mantissa} × 10^{int(exponent)}".replace("-", MINUS)
    return number(size, max(0, digits - 1 - power))


def exact(value: float) -> str:
    """Return a number with all digits that tell it from its neighbours of 32 bits, or of 64 where it is none of 32."""
    if float(value).is_integer():
        return str(int(value))
    with np.errstate(over="ignore"):
        short = np.float32(value)
    return str(short) if float(short) == value else repr(value)
