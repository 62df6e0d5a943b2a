"""The one reader of glioflow's own YAML files."""

from pathlib import Path
from typing import Any

import yaml

from glioflow.errors import UserError


def read_yaml(path: Path) -> dict[Any, Any]:
    """Return the mapping in a YAML file. Raises UserError with file, line and column where there is none."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{path}: {place}{error.problem or error.context}; it cannot be read as YAML") from None
    except (yaml.YAMLError, OSError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: it cannot be read as YAML ({type(error).__name__}: {str(error).splitlines()[0]})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: found {type(value).__name__}; expected a mapping of keys to values")
    return value
