"""The tables that name a cohort's files: cases.csv (as found) and manifest.csv (as verified)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glioflow.files import PathLike
from glioflow.stored_paths import read_path_table, write_path_table
from glioflow.study.registry import ROLES


def read_manifest(path: PathLike) -> pd.DataFrame:
    """Return cases.csv or manifest.csv: a row a case; the columns of ``ROLES`` hold the paths of its files."""
    return read_path_table(path, ROLES)


def write_manifest(path: PathLike, table: pd.DataFrame) -> None:
    """Write cases.csv or manifest.csv, paths relative to it."""
    write_path_table(path, table, ROLES)


SUBSTITUTED = "substituted"  # column of manifest.csv, where some case has a substituted channel


def format_substituted(substituted: Mapping[str, str]) -> str:
    """Return the cell of the column ``substituted``: missing channel and what took its place, as ``t1=flair;t1ce=zeros``."""
    return ";".join(f"{channel}={other}" for channel, other in substituted.items())


def read_substituted(row: Mapping[Any, Any]) -> dict[str, str]:
    """Return the missing channels of a case, a row of manifest.csv, each with what took its place."""
    cell = row.get(SUBSTITUTED)
    return {} if cell is None or pd.isna(cell) else dict(part.split("=") for part in str(cell).split(";"))
