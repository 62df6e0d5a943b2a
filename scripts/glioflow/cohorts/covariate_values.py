"""The values of covariates: read as the text that they are, and told apart into numbers and categories."""

from pathlib import Path
from typing import Literal

import pandas as pd

from glioflow.cohorts.covariates import covariate_columns
from glioflow.files import PathLike

# Numbers with no more distinct values than this are taken for the codes of a category, such as 0 and 1 for no and yes.
FEWEST_NUMBERS = 3
IDENTIFIER_SUFFIX = "_id"

Kind = Literal["number", "category"]


def read_covariates(manifest: PathLike) -> pd.DataFrame:
    """Return the covariates of manifest.csv as text, as they stand there: a row a case, by case_id; empty cells undefined."""
    table = pd.read_csv(Path(manifest), dtype="string", keep_default_na=False, na_values=[""])
    return pd.DataFrame(table.set_index("case_id")[covariate_columns(table)])


def numbers_of(values: pd.Series) -> pd.Series | None:
    """Return text as finite floats, undefined where it is; None where a text is no number, or where there is no text."""
    known = values.dropna()
    numbers = pd.to_numeric(known, errors="coerce").astype(float)
    finite = numbers.notna() & numbers.abs().lt(float("inf"))
    return numbers.reindex(values.index) if len(known) and finite.all() else None


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
    return "category", values.groupby(numbers).transform("first").reindex(values.index)


def is_identifier(name: str) -> bool:
    """Tell whether a covariate names a case or a patient: its name ends in ``_id``."""
    return name.endswith(IDENTIFIER_SUFFIX)


def all_different(kind: Kind, values: pd.Series) -> bool:
    """Tell whether a covariate is text that no two cases share, so that there is nothing to compare."""
    return kind == "category" and len(known := values.dropna()) > 1 and bool(known.is_unique)
