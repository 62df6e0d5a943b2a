"""What radiomic features tell of a tumour: the meaning groups of config/feature_groups.yaml."""

from functools import cache
from typing import Literal

from pydantic import Field

from glioflow.console import UserError
from glioflow.files import key_of
from glioflow.study.registry import Entry, read_registry

OTHER = "other"


class FeatureGroup(Entry):
    """A group of features that tell much the same."""

    title: str = Field(description="Its name for people.")
    kind: Literal["size", "shape", "intensity", "texture"] = Field(description="What its features are of.")
    features: list[str] = Field(description="Class and name of each, such as `glcm_Idm`.")


@cache
def feature_groups() -> dict[str, FeatureGroup]:
    """Return the groups by name, in the file's order, and last the one of features that none names.

    Raises UserError where the file does not fit, or a feature is in two groups.
    """
    groups = read_registry("feature_groups.yaml", dict[str, FeatureGroup])
    named = [feature for group in groups.values() for feature in group.features]
    if twice := sorted({feature for feature in named if named.count(feature) > 1}):
        raise UserError(f"config/feature_groups.yaml: {', '.join(twice)} in two groups; one group a feature is right")
    return {**groups, OTHER: FeatureGroup(title="Other", kind="texture", features=[])}


@cache
def _group_of() -> dict[str, str]:
    return {feature: name for name, group in feature_groups().items() for feature in group.features}


def meaning_group(feature: str) -> str:
    """Return the group of a feature, whatever filter its image went through: ``level`` of ``original_firstorder_Mean``."""
    return _group_of().get(feature.partition("_")[2], OTHER)


def groups_hash() -> str:
    """Return the content hash of the groups."""
    return key_of({name: group.model_dump() for name, group in feature_groups().items()})
