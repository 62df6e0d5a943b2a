"""What a study says about its radiomic features: a parameter file of pyradiomics, or the two keys in its place."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glioflow.errors import UserError
from glioflow.failure.radiomics_parameters import default_parameters, read_parameters
from glioflow.study.configuration import Failure, expand_path

REPLACED = ("bin_width", "normalise")


def radiomics_parameters(failure: Failure) -> dict[str, Any]:
    """Return the parameters that pyradiomics gets. Raises ``UserError`` where the study's file is not valid."""
    if failure.radiomics is None:
        return default_parameters(failure.bin_width, failure.normalise)
    return read_parameters(Path(expand_path(failure.radiomics)))


def radiomics_problems(failure: Failure, scored: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with images, regions (of those that are ``scored``) and the parameter file, or what is beside it."""
    asked_for: dict[str, list[str]] = {"image": [*failure.images], "feature_regions": [*failure.featured_regions]}
    for key, asked in asked_for.items():
        yield from (f"failure.{key}: {name} stands twice" for name in dict.fromkeys(asked) if asked.count(name) > 1)
    for region in [region for region in failure.feature_regions or [] if region not in scored]:
        yield f"failure.feature_regions: {region} is not among evaluation.regions ({', '.join(scored)}), which give its volume"
    if failure.radiomics is None:
        return
    for key in REPLACED:
        if key in failure.model_fields_set:
            yield f"failure.{key}: the parameter file {failure.radiomics} says that; leave one of them out"
    try:
        path = Path(expand_path(failure.radiomics))
        if not path.is_file():
            yield f"failure.radiomics: {path} is no file; expected: a parameter file of pyradiomics"
            return
        read_parameters(path)
    except ValueError as error:
        yield f"failure.radiomics: {error}"
    except UserError as error:
        yield from (f"failure.radiomics: {problem}" for problem in error.args)
