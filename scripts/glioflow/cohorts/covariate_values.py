"""The values of covariates: read as the text that they are, and told apart into numbers and categories."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from glioflow.cohorts.covariates import covariate_columns, is_number
from glioflow.cohorts.layouts.listing import FoundCase
from glioflow.cohorts.manifests import SUBSTITUTED
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import count
from glioflow.files import PathLike, read_text_table

# Numbers with no more distinct values than this are taken for the codes of a category, such as 0 and 1 for no and yes.
FEWEST_NUMBERS = 3
IDENTIFIER_SUFFIX = "_id"
NUMBER_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)+(\.\d+)?")
DATE = re.compile(r"\d{4}([-/.])\d{1,2}\1\d{1,2}([ T][\d:.]+Z?)?|\d{1,2}([-/.])\d{1,2}\3\d{2,4}")
SHOWN_CASES = 3

Kind = Literal["number", "category"]


def read_covariates(manifest: PathLike) -> pd.DataFrame:
    """Return the covariates of manifest.csv as text, unchanged: a row a case, by case_id; empty cells undefined.

    Where some cases have substituted channels and others do not, ``substituted`` (yes or no) is one of them.
    """
    table = read_text_table(manifest).set_index("case_id")
    covariates = pd.DataFrame(table[covariate_columns(table)])
    if SUBSTITUTED in table and table[SUBSTITUTED].isna().any():
        covariates[SUBSTITUTED] = table[SUBSTITUTED].notna().map({True: "yes", False: "no"}).astype("string")
    return covariates


def numbers_of(values: pd.Series) -> pd.Series | None:
    """Return text as finite floats, undefined where it is; None where a text is no number, or where there is no text."""
    known = values.dropna()
    numbers = pd.to_numeric(known, errors="coerce").astype(float)
    finite = numbers.notna() & numbers.abs().lt(float("inf"))
    return numbers.reindex(values.index) if len(known) and finite.all() else None


def in_one_spelling(values: pd.Series) -> pd.Series:
    """Return a covariate as text in which one number has one spelling: 2 and 2.0 are one group, 01 and 1 as well."""
    numbers = numbers_of(values)
    return values if numbers is None else values.groupby(numbers).transform("first").reindex(values.index)


def in_order(values: Iterable[str]) -> list[str]:
    """Return the values of a covariate sorted: as numbers where they are, else as text."""
    numbers = numbers_of(pd.Series(sorted(values), dtype="string"))
    return sorted(values) if numbers is None else sorted(sorted(values), key=float)


def typed_covariate(values: pd.Series) -> tuple[Kind, pd.Series]:
    """Return what a covariate is, and its values: floats of a number, text of a category.

    A number is a column of numbers with at least three distinct values. Of two spellings of one number, such as 1 and 1.0, a
    category takes the first. Codes with more values cannot be told from numbers.
    """
    numbers = numbers_of(values)
    if numbers is None:
        return "category", values
    if numbers.nunique() >= FEWEST_NUMBERS:
        return "number", numbers
    return "category", in_one_spelling(values)


def is_identifier(name: str) -> bool:
    """Tell whether a covariate names a case or a patient: its name ends in ``_id``."""
    return name.endswith(IDENTIFIER_SUFFIX)


def all_different(kind: Kind, values: pd.Series) -> bool:
    """Tell whether a covariate is text that no two cases share, so that there is nothing to compare."""
    return kind == "category" and len(known := values.dropna()) > 1 and bool(known.is_unique)


def are_dates(values: pd.Series) -> bool:
    """Tell whether every known value of a covariate is a date, in figures."""
    known = values.dropna()
    return bool(len(known) and known.astype("string").str.fullmatch(DATE).all())


def mixed_numbers(cases: Sequence[FoundCase]) -> list[Problem]:
    """Return a warning for each covariate that would be a number, were it not for texts or commas in some cases."""
    values: dict[str, dict[str, str]] = defaultdict(dict)
    for case in cases:
        for name, text in case.covariates.items():
            values[name][case.case_id] = text
    problems = []
    for name, by_case in values.items():
        strange = {case: text for case, text in by_case.items() if not is_number(text)}
        numbers = [text for text in by_case.values() if is_number(text) or NUMBER_WITH_COMMA.fullmatch(text)]
        if not strange or len(set(numbers)) < FEWEST_NUMBERS or 2 * len(numbers) <= len(by_case):
            continue
        shown = "; ".join(f"{case}: {text!r}" for case, text in list(strange.items())[:SHOWN_CASES])
        more = "; …" if len(strange) > SHOWN_CASES else ""
        plain = f"a number in {len(by_case) - len(strange)} of {count(len(by_case), 'case')}"
        found = f"{name}, {plain}, another text in {shown}{more}"
        expected = "a number with a decimal point, or an empty cell; as it is, each value counts as a category"
        problems.append(problem_row("", "", "mixed_numbers", found, expected, "warning"))
    return problems
