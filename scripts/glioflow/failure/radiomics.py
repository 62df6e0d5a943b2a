"""The radiomic features of one region of one image, by pyradiomics (van Griethuysen et al. 2017, Cancer Research 77:e104).

Normalisation is pyradiomics' own: zero mean and unit standard deviation over the whole image, background included, times a
scale. In skull-stripped images the background counts, so values can be compared between cases of one field of view. Where
nothing but the mask's own voxels matters for the rest, only its box goes to pyradiomics: every value stays the same to the bit.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glioflow.console import count
from glioflow.failure.pyradiomics_log import collected_warnings
from glioflow.failure.radiomics_parameters import Parameters, feature_names, whole_image_needed
from glioflow.imaging.components import count_components
from glioflow.imaging.volumes import Volume
from glioflow.study.feature_names import COMPONENT_COUNT, VOXEL_COUNT

if TYPE_CHECKING:
    from glioflow.failure.fast_extractor import FastExtractor

# Usual numbers of grey levels in a mask (Zwanenburg et al. 2020, Radiology 295:328-338, and van Griethuysen et al.'s advice).
GREY_LEVELS = (16, 128)
# Fewer leave textures next to nothing to tell apart.
FEWEST_GREY_LEVELS = 5
# The largest integer below which every double is exact.
EXACT = 2**53
# Values that are summed at once: few enough to stay in the processor's cache.
PIECE = 2**16


@dataclass(frozen=True)
class Extraction:
    """Features by pyradiomics' names (none where ``note`` has the reason), and what pyradiomics warned of.

    ``grey_levels``: how many the mask has in the image that is not filtered, or else in the first that is.
    """

    features: dict[str, float]
    note: str = ""
    warnings: list[str] = field(default_factory=list)
    grey_levels: int | None = None


def extraction_key(parameters: Parameters) -> dict[str, Any]:
    """Return what, besides image, mask and glioflow's code, a feature's value depends on."""
    packages = {name: version(name) for name in ("pyradiomics", "simpleitk", "pywavelets")}
    return {"parameters": parameters, **packages}


@cache
def _extractor(parameters: str) -> "FastExtractor":
    from glioflow.failure.fast_extractor import FastExtractor

    return FastExtractor(json.loads(parameters))


def extract_features(image: Volume, mask: NDArray[np.bool_], parameters: Parameters) -> Extraction:
    """Return the features of ``mask`` (bool, the image's axes) in ``image``, as ``parameters`` of pyradiomics have it.

    Without features, and with a note, where there can be none: the mask is another shape than the image, empty, a single voxel
    or a line; the image has values that are not finite or, where it is to be normalised, one value only; or pyradiomics says
    so. With a note too where a feature is undefined, or where a mask has so few grey levels that its textures mean little.
    """
    import SimpleITK as sitk  # noqa: N813

    settings = parameters.get("setting", {})
    if reason := _image_reason(image, mask) or ("" if mask.any() else "the mask is empty"):
        return Extraction({}, reason)
    box = mask_box(mask)
    cut_mask = mask[box]
    if reason := _mask_reason(cut_mask, settings):
        return Extraction({}, reason)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums depend on the number of threads, in their last digits
    mean, sd = moments(image.data) if settings.get("normalize") else (0.0, 1.0)
    if sd == 0:
        return Extraction({}, "the image has one value throughout and cannot be normalised")
    with collected_warnings() as warnings:
        extractor = _extractor(json.dumps(parameters))
        label = settings.get("label", 1)
        try:
            if whole_image_needed(parameters):
                whole = _itk_image(image.data, image.spacing)
                values = extractor.extract(whole, _itk_image(mask.astype(np.uint32) * label, image.spacing))
            else:
                cut = image.data[box]
                if settings.get("normalize"):
                    cut = normalised(cut, mean, sd, settings)
                labels = _itk_image(cut_mask.astype(np.uint32) * label, image.spacing)
                values = extractor.extract_box(_itk_image(cut, image.spacing), labels)
        except (ValueError, RuntimeError, AssertionError) as error:  # what pyradiomics and SimpleITK refuse an image with
            return Extraction({}, f"pyradiomics: {str(error).strip().splitlines()[-1].strip()}", warnings)
    features = {name: float(values.get(name, np.nan)) for name in feature_names(parameters)}
    features |= mask_counts(cut_mask)
    levels = extractor.grey_levels.get("original", next(iter(extractor.grey_levels.values()), None))
    return Extraction(features, "; ".join([*extractor.notes, *_notes(features, values, levels)]), warnings, levels)


def mask_counts(mask: NDArray[np.bool_]) -> dict[str, float]:
    """Return how many voxels and 26-connected components a mask has, as pyradiomics' diagnostics count them."""
    cut = mask[mask_box(mask)]
    return {VOXEL_COUNT: float(np.count_nonzero(cut)), COMPONENT_COUNT: float(count_components(cut))}


def _notes(features: Mapping[str, float], values: Mapping[str, Any], levels: int | None) -> list[str]:
    notes = []
    if undefined := [name for name, value in features.items() if name in values and not np.isfinite(value)]:
        notes.append(f"undefined: {', '.join(undefined)}")
    if levels is not None and levels < FEWEST_GREY_LEVELS:
        notes.append(f"{count(levels, 'grey level')} in the mask: textures mean next to nothing (is an intensity outlying?)")
    return notes


def _image_reason(image: Volume, mask: NDArray[np.bool_]) -> str:
    """Return why nothing can be computed in an image, whatever the mask; empty where it can."""
    if image.data.shape != mask.shape:
        return f"the mask has shape {mask.shape}, the image {image.data.shape}: it is not on the image"
    if image.data.dtype.kind == "f" and (wrong := int(np.count_nonzero(~np.isfinite(image.data)))):
        return f"{count(wrong, 'voxel')} of the image {'is' if wrong == 1 else 'are'} not finite"
    return ""


def _mask_reason(cut: NDArray[np.bool_], settings: Mapping[str, Any]) -> str:
    """Return why pyradiomics has no features of a mask, cut to its box, by the least sides and voxels that are asked for."""
    if max(cut.shape) == 1:
        return "the mask is a single voxel"
    voxels = int(np.count_nonzero(cut))
    if (thick := sum(side > 1 for side in cut.shape)) < (least := settings.get("minimumROIDimensions", 2)):
        kind = "line" if thick == 1 else "plane"
        return f"the mask is a {kind} of {voxels} voxels" + ("" if least == 2 else f", and {least} dimensions are asked for")
    fewest = settings.get("minimumROISize")
    return f"the mask has {voxels} voxels, and more than {fewest} are asked for" if fewest and voxels <= fewest else ""


def mask_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box that holds a mask, which is not empty."""
    box = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def moments(data: NDArray[Any]) -> tuple[float, float]:
    """Return the mean and the standard deviation (n - 1) of an image, the very doubles that SimpleITK normalises it with.

    SimpleITK sums with a correction for what rounding loses. Sums of integers lose nothing, in any order, while they are below
    2^53; for other values SimpleITK itself is asked. A constant image has a standard deviation of 0, and no trace of rounding.
    """
    flat = data.ravel(order="K")
    least, most = float(flat.min()), float(flat.max())
    if least == most:
        return least, 0.0
    largest = max(abs(least), abs(most))
    if flat.size * largest**2 < EXACT and (sums := _exact_sums(flat)):
        total, squares = sums
        return total / flat.size, sqrt((squares - total * total / flat.size) / (flat.size - 1))
    import SimpleITK as sitk  # noqa: N813

    found = sitk.StatisticsImageFilter()
    found.Execute(_itk_image(data, (1.0, 1.0, 1.0)))
    return float(found.GetMean()), float(found.GetSigma())


def _exact_sums(flat: NDArray[Any]) -> tuple[float, float] | None:
    """Return the sum of values and of their squares, piece by piece; None where they are not all integers."""
    total = squares = 0.0
    for start in range(0, flat.size, PIECE):
        values = flat[start : start + PIECE].astype(np.float64)
        if flat.dtype.kind == "f" and (values != np.rint(values)).any():
            return None
        total, squares = total + float(values.sum()), squares + float(values @ values)
    return total, squares


def normalised(cut: NDArray[Any], mean: float, sd: float, settings: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return part of an image normalised as ``imageoperations.normalizeImage`` does the whole."""
    values = (cut.astype(np.float64) - mean) * (1 / sd)
    if (outliers := settings.get("removeOutliers")) is not None:
        values = np.clip(values, -outliers, outliers)
    return np.asarray(values * settings.get("normalizeScale", 1))


def _itk_image(data: NDArray[np.generic], spacing: tuple[float, float, float]) -> Any:
    import SimpleITK as sitk  # noqa: N813

    native = data.astype(data.dtype.newbyteorder("="), copy=False)
    image = sitk.GetImageFromArray(native.T)  # SimpleITK's arrays are (z, y, x)
    image.SetSpacing(spacing)
    return image
