"""What jobs ask a cluster for: ``config/resources.yaml``, with a site's own numbers over it.

Memory and time follow from the number of cases and of iterations that a job works on, and grow with each further attempt.
"""

import os
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from glioflow.errors import UserError
from glioflow.study.registry import CONFIG_DIR
from glioflow.yaml_files import read_yaml

SITE_VARIABLE = "GLIOFLOW_RESOURCES"  # names a site's own file


class Cost(BaseModel):
    """What a job of a rule takes: its memory, its time besides the cases, and seconds of one core a case."""

    model_config = ConfigDict(extra="forbid")

    mem_mb: int = Field(gt=0)
    minutes: float = Field(gt=0)
    seconds: float = Field(0, ge=0)
    seconds_per_iteration: float = Field(0, ge=0)


class Costs(BaseModel):
    """The costs of every rule that works on cases, and how many times the time reckoned from them a job asks for."""

    model_config = ConfigDict(extra="forbid")

    safety: float = Field(ge=1)
    rules: dict[str, Cost]

    def memory_mb(self, rule: str, attempt: int = 1) -> int:
        """Return the memory that a job asks for, in MB."""
        return self.rules[rule].mem_mb * attempt

    def runtime(self, rule: str, cases: int = 0, cores: int = 1, iterations: int = 0, attempt: int = 1) -> int:
        """Return the time that a job asks for, in whole minutes."""
        cost = self.rules[rule]
        seconds = cost.seconds * cases / cores + cost.seconds_per_iteration * iterations
        return ceil((cost.minutes + self.safety * seconds / 60) * attempt)


def read_costs() -> Costs:
    """Return the costs of ``config/resources.yaml``, with those of the file that $GLIOFLOW_RESOURCES names in their place.

    Raises UserError with every entry of the site's file that does not fit.
    """
    own = CONFIG_DIR / "resources.yaml"
    costs = _checked(read_yaml(own), own)
    if not (named := os.environ.get(SITE_VARIABLE)):
        return costs
    site = Path(named).expanduser()
    if not site.is_file():
        raise UserError(f"${SITE_VARIABLE}: {site} is no file; name one of the form of {own}, or unset it")
    given = read_yaml(site) or {}
    if not isinstance(given.get("rules", {}), dict):
        raise UserError(f"{site}: rules: found no mapping of rules to what their jobs ask for; it has the form of {own}")
    if unknown := sorted(set(given.get("rules", {})) - set(costs.rules)):
        raise UserError(f"{site}: rules.{unknown[0]}: unknown; known are {', '.join(sorted(costs.rules))}")
    merged = costs.model_dump()
    for rule, cost in given.get("rules", {}).items():
        merged["rules"][rule] |= cost or {}
    return _checked({**merged, **{key: value for key, value in given.items() if key != "rules"}}, site)


def _checked(content: Mapping[str, Any], file: Path) -> Costs:
    try:
        return Costs.model_validate(content)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise UserError("\n  ".join([f"{file}:", *lines])) from None
