"""What features are computed of what images, as pyradiomics' users write it: imageType, featureClass and setting.

A study names such a file, or none: then the original image is normalised (mean 0, standard deviation 100) and all of its 107
features computed. At pyradiomics' own scale of 1 a bin width of 25 leaves two grey levels in a FLAIR image and textures mean
nothing; at 100 about twenty remain.
"""

import json
import logging
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from glioflow.console import UserError
from glioflow.study.feature_names import FEATURE_GROUPS, MASK_COUNTS, feature_group, feature_image
from glioflow.yaml_files import read_yaml

Parameters = Mapping[str, Any]

BLOCKS = ("imageType", "featureClass", "setting", "voxelSetting")
# Standard deviation that images are normalised to without a parameter file.
NORMALISE_SCALE = 100
# Packages that pyradiomics needs for an image type, and that it leaves the images out without.
NEEDED = {"LBP2D": "skimage", "LBP3D": "trimesh"}
# What can leave nothing of the few voxels that the names of features are taken from; no name depends on it.
_NAMELESS = ("resampledPixelSpacing", "resegmentRange", "minimumROISize", "normalize", "binCount", "binWidth", "removeOutliers")


def default_parameters(bin_width: float = 25, normalise: bool = True) -> dict[str, Any]:
    """Return the parameters of a study that names no file."""
    return {
        "imageType": {"Original": {}},
        "featureClass": {group: [] for group in FEATURE_GROUPS},
        "setting": {"binWidth": bin_width, "normalize": normalise, "normalizeScale": NORMALISE_SCALE},
    }


def read_parameters(path: str | Path) -> dict[str, Any]:
    """Return the parameters of a file of pyradiomics. Raises ``UserError``, which names file and key, where it is not valid."""
    parameters = read_yaml(Path(path))
    if problems := parameter_problems(parameters):
        raise UserError(*(f"{path}: {problem}" for problem in problems))
    return {block: fields for block, fields in _filled(parameters).items() if fields}


def _filled(parameters: Parameters) -> dict[str, Any]:
    """Return the parameters with what is written as nothing, such as ``Original:``, as an empty mapping or list."""
    filled = {block: dict(parameters.get(block) or {}) for block in BLOCKS}
    filled["imageType"] = {name: dict(custom or {}) for name, custom in filled["imageType"].items()}
    filled["featureClass"] = {name: list(features or []) for name, features in filled["featureClass"].items()}
    return filled


def parameter_problems(parameters: Parameters) -> list[str]:
    """Return what is wrong with the parameters, each with its key: by pyradiomics' own schema, then by what it would refuse."""
    if unknown := [str(block) for block in parameters if block not in BLOCKS]:
        return [f"{block}: unknown key; known: {', '.join(BLOCKS)}" for block in unknown]
    if wrong := [block for block in BLOCKS if not isinstance(parameters.get(block) or {}, Mapping)]:
        return [f"{block}: found {parameters[block]!r}; expected a mapping" for block in wrong]
    if problems := [problem for block, fields in _written(parameters).items() for problem in _schema_problems(block, fields)]:
        return problems
    filled = _filled(parameters)
    problems = [
        f"imageType.{name}: pyradiomics makes no such image without the package {package}, which is not installed"
        for name, package in NEEDED.items()
        if name in filled["imageType"] and find_spec(package) is None
    ]
    if "LoG" in filled["imageType"] and not (filled["imageType"]["LoG"].get("sigma") or filled["setting"].get("sigma")):
        problems.append("imageType.LoG.sigma: missing; expected: a list of filter widths in mm, such as [2.0, 4.0]")
    for key, lengths in (("resampledPixelSpacing", (3,)), ("resegmentRange", (1, 2))):
        value = filled["setting"].get(key)
        if value is not None and len(value) not in lengths:
            expected = " or ".join(map(str, lengths))
            problems.append(f"setting.{key}: found {value!r}; expected {expected} numbers")
    return problems


def _written(parameters: Parameters) -> dict[str, Any]:
    """Return the blocks that say something; a setting that is null, which pyradiomics' documentation allows, is its default."""
    said = {block: fields for block, fields in parameters.items() if fields}
    if "imageType" in said:
        said["imageType"] = {name: custom or {} for name, custom in said["imageType"].items()}
    return said


def _schema_problems(block: str, fields: Mapping[str, Any]) -> list[str]:
    import pykwalify.core
    from pykwalify.errors import PyKwalifyException
    from radiomics import getParameterValidationFiles

    logging.getLogger("pykwalify").setLevel(logging.CRITICAL + 10)
    schema, functions = getParameterValidationFiles()
    try:
        core = pykwalify.core.Core(source_data={block: fields}, schema_files=[schema], extensions=[functions])
        core.validate(raise_exception=False)
        return [_told(block, str(error)) for error in core.validation_errors or []]
    except (PyKwalifyException, TypeError, ValueError) as error:  # pyradiomics' own checks of names raise
        return [_told(block, str(error.args[0] if error.args else error))]


def _told(block: str, message: str) -> str:
    """Return a message of the schema with its key first: ``setting.binWidth: Value 'x' is not of type 'float'``."""
    found = re.search(r"\s*Path: '/?([^']*)'", message)
    if not found:
        return f"{block}: {message}"
    return f"{found[1].replace('/', '.')}: {message[: found.start()].strip().rstrip('.')}"


def whole_image_needed(parameters: Parameters) -> bool:
    """Tell whether features depend on more than the voxels of the mask's box: images are filtered, resampled or resegmented."""
    settings = parameters.get("setting", {})
    anew = any(settings.get(name) is not None for name in ("resampledPixelSpacing", "resegmentRange"))
    return anew or list(parameters.get("imageType", {"Original": {}})) != ["Original"]


def feature_names(parameters: Parameters) -> tuple[str, ...]:
    """Return the names of all features: the counts of the mask, then image by image and class by class."""
    return _feature_names(json.dumps(parameters))


@cache
def _feature_names(parameters: str) -> tuple[str, ...]:
    """Take the names from pyradiomics itself, which is given a few voxels that are wide enough for any of its filters."""
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    from glioflow.failure.fast_extractor import FastExtractor
    from glioflow.failure.pyradiomics_log import collected_warnings

    known = json.loads(parameters)
    known["setting"] = {key: value for key, value in known.get("setting", {}).items() if key not in _NAMELESS}
    custom = known.get("imageType", {}).values()
    widest = max([1.0, *(float(sigma) for fields in (known["setting"], *custom) for sigma in fields.get("sigma", []))])
    level = max([1, *(fields.get("level", 1) + fields.get("start_level", 0) for fields in (known["setting"], *custom))])
    side = max(16, 4 << level)
    mask = np.zeros((side, side, side), np.uint8)
    sides = [slice(4, 12)] * 3
    if known["setting"].get("force2D") and "shape2D" in known.get("featureClass", {"shape2D": []}):
        sides[known["setting"].get("force2Ddimension", 0)] = slice(4, 5)  # the shape of a plane is all that there is
    mask[tuple(sides)] = known["setting"].get("label", 1)
    images = [sitk.GetImageFromArray(array) for array in (np.random.default_rng(0).normal(100, 20, mask.shape), mask)]
    for image in images:
        image.SetSpacing((widest,) * 3)
    with collected_warnings():
        found = FastExtractor(known).extract(*images)
    order = {image: place for place, image in enumerate(dict.fromkeys(map(feature_image, found)))}
    groups = [*FEATURE_GROUPS, "shape2D"]
    names = sorted(found, key=lambda name: (order[feature_image(name)], groups.index(feature_group(name)), name))
    return (*MASK_COUNTS, *names)
