"""Paths in files of a results folder: written relative to the file that names them, so that the folder can be moved as a whole.

Absolute paths to what is not in the results folder stay absolute.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from glioflow.files import PathLike, read_table, write_table

_results: list[Path] = []


def set_results_folder(folder: PathLike) -> None:
    """Say which folder this process writes its results to. A path given as an absolute one is known by it to be inside."""
    _results[:] = [Path(folder).absolute()]


def store_path(path: PathLike, file: PathLike) -> str:
    """Return how the file ``file`` names ``path``: relative to its own folder, or absolute where ``path`` is elsewhere."""
    inside = any(Path(path).absolute().is_relative_to(results) for results in _results)
    if Path(path).is_absolute() and not inside:
        return Path(path).as_posix()
    return Path(os.path.relpath(path, Path(file).parent)).as_posix()


def find_path(text: str, file: PathLike) -> str:
    """Return the path that the file ``file`` names by ``text``, as the present folder has it."""
    return Path(os.path.normpath(Path(file).parent / text)).as_posix()


def write_path_table(path: PathLike, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Write a table as ``glioflow.files.write_table`` does, the paths in ``columns`` as its readers find them."""
    write_table(path, _with_paths(table, columns, lambda text: store_path(text, path)))


def read_path_table(path: PathLike, columns: Sequence[str]) -> pd.DataFrame:
    """Return a table as ``glioflow.files.read_table`` does, with the present paths in ``columns``."""
    return _with_paths(read_table(path, columns), columns, lambda text: find_path(text, path))


def _with_paths(table: pd.DataFrame, columns: Sequence[str], change: Callable[[str], str]) -> pd.DataFrame:
    named = {name: table[name].map(change, na_action="ignore") for name in columns if name in table.columns}
    return table.assign(**named)
