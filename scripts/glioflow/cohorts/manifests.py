"""The tables that name a cohort's files: cases.csv (as found) and manifest.csv (as verified)."""

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
