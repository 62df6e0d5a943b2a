"""The radiomic features of one region of one image, by pyradiomics (van Griethuysen et al. 2017, Cancer Research 77:e104).

All seven classes of the original image: 107 features. Normalisation is pyradiomics' own: zero mean and unit standard deviation
over the whole image, background included, times a scale. In skull-stripped images the background counts, so values can be
compared between cases of one field of view. The scale matters: at pyradiomics' default of 1 a bin width of 25 leaves two grey
levels in a FLAIR image and textures mean nothing; at 100 about twenty remain.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glioflow.console import UserError, count
from glioflow.failure.fast_shape import fast_shape_class
from glioflow.imaging.volumes import Volume

FEATURE_GROUPS = ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
# Our setting and pyradiomics' name for it.
SETTINGS = {"bin_width": "binWidth", "normalise": "normalize", "normalise_scale": "normalizeScale"}
DEFAULT_SETTINGS: dict[str, Any] = {"bin_width": 25, "normalise": True, "normalise_scale": 100}
# Voxels kept around the mask's box. The features use none of them; pyradiomics keeps as many where it resamples.
CROP_MARGIN = 5
# Fewer grey levels in a mask leave textures next to nothing to tell apart: 16 to 128 levels are usual (Zwanenburg et al. 2020,
# Radiology 295:328-338, and van Griethuysen et al.'s own advice).
FEWEST_GREY_LEVELS = 5


@dataclass(frozen=True)
class Extraction:
    """Features by pyradiomics' names (none where ``note`` has the reason), and what pyradiomics warned of."""

    features: dict[str, float]
    note: str = ""
    warnings: list[str] = field(default_factory=list)


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``settings`` with defaults filled in. Raises ``UserError`` for a setting that does not exist."""
    if unknown := sorted(set(settings) - set(SETTINGS)):
        raise UserError(f"radiomics: unknown setting {', '.join(unknown)}; the settings are {', '.join(SETTINGS)}")
    return {**DEFAULT_SETTINGS, **settings}


def extraction_key(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what, besides image, mask and glioflow's code, a feature's value depends on."""
    return {
        "settings": complete_settings(settings),
        "pyradiomics": version("pyradiomics"),
        "simpleitk": version("simpleitk"),
    }


@cache
def feature_names() -> tuple[str, ...]:
    """Return the names of all features, class by class, such as ``original_shape_MeshVolume``."""
    from radiomics import getFeatureClasses

    classes = getFeatureClasses()
    return tuple(
        f"original_{group}_{name}"
        for group in FEATURE_GROUPS
        for name, deprecated in sorted(classes[group].getFeatureNames().items())
        if not deprecated
    )


def feature_group(feature: str) -> str:
    """Return the class of a feature: ``glcm`` of ``original_glcm_Idm``."""
    return feature.split("_")[1]


def extract_features(image: Volume, mask: NDArray[np.bool_], settings: Mapping[str, Any]) -> Extraction:
    """Return the features of ``mask`` (bool, the image's axes) in ``image``.

    Without features, and with a note, where the mask has fewer than two voxels or runs along one axis only: pyradiomics
    defines none for it. With a note too where the image has so few grey levels in the mask that its features mean little.
    """
    import SimpleITK as sitk  # noqa: N813
    from radiomics import imageoperations
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    if reason := _too_small(mask):
        return Extraction({}, reason)
    names = {SETTINGS[key]: value for key, value in complete_settings(settings).items()}
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums depend on the number of threads, in their last digits
    whole = _itk_image(image.data, image.spacing)
    if names.pop("normalize"):
        whole = imageoperations.normalizeImage(whole, normalizeScale=names["normalizeScale"])
    box = _box(mask, CROP_MARGIN)
    cropped_mask = _itk_image(mask[box].astype(np.uint8), image.spacing)
    cropped_mask.SetOrigin(whole[box].GetOrigin())
    extractor = RadiomicsFeatureExtractor(**names, additionalInfo=False)
    with fast_shape_class(), _collected_warnings() as warnings:
        values = extractor.execute(whole[box], cropped_mask)
    features = {name: float(values[name]) for name in feature_names()}
    notes = []
    if undefined := [name for name, value in features.items() if not np.isfinite(value)]:
        notes.append(f"undefined: {', '.join(undefined)}")
    if (levels := _grey_levels(sitk.GetArrayFromImage(whole[box]).T[mask[box]], names["binWidth"])) < FEWEST_GREY_LEVELS:
        notes.append(f"{count(levels, 'grey level')} in the mask: textures mean next to nothing (is an intensity outlying?)")
    return Extraction(features, "; ".join(notes), warnings)


def _grey_levels(values: NDArray[Any], bin_width: float) -> int:
    """Return how many bins of pyradiomics' grey levels the values of a mask fill; their edges are multiples of the width."""
    return len(np.unique(np.floor(values / bin_width)))


def _too_small(mask: NDArray[np.bool_]) -> str:
    voxels = np.nonzero(mask)
    if len(voxels[0]) == 0:
        return "the mask is empty"
    if len(voxels[0]) == 1:
        return "the mask is a single voxel"
    if sum(np.ptp(axis) > 0 for axis in voxels) < 2:
        return f"the mask is a line of {len(voxels[0])} voxels"
    return ""


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    box = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(max(int(filled[0]) - margin, 0), min(int(filled[-1]) + margin + 1, mask.shape[axis])))
    return tuple(box)


def _itk_image(data: NDArray[np.generic], spacing: tuple[float, float, float]) -> Any:
    import SimpleITK as sitk  # noqa: N813

    native = data.astype(data.dtype.newbyteorder("="), copy=False)
    image = sitk.GetImageFromArray(native.T)  # SimpleITK's arrays are (z, y, x)
    image.SetSpacing(spacing)
    return image


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    import radiomics

    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    radiomics.setVerbosity(logging.CRITICAL + 10)
    radiomics.logger.addHandler(handler)
    try:
        yield messages
    finally:
        radiomics.logger.removeHandler(handler)
