"""Variants of a measurement: a case whose mask, image or parameters are a little otherwise."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from glioflow.failure.radiomics_parameters import NORMALISE_SCALE, Parameters
from glioflow.imaging.volumes import Volume

# What the stability of features is measured over (after Zwanenburg et al. 2019, Scientific Reports 9:614).
PERTURBATIONS = ("original", "eroded", "dilated", "noise")
REFERENCE = "reference"
WIDTH_FACTORS = (0.5, 1.0, 2.0)
# The median of a normal variable's absolute value, in standard deviations.
MEDIAN_ABSOLUTE = 0.6745


def perturb(image: Volume, mask: NDArray[np.bool_], kind: str, seed: int) -> tuple[Volume, NDArray[np.bool_]]:
    """Return the image and the mask of one of ``PERTURBATIONS``.

    The mask loses or gains the voxels at its faces (6-connected). The noise is normal, independent from voxel to voxel, and as
    strong as the noise that the image has already by ``noise_sd``; ``seed`` decides it.
    """
    if kind == "eroded":
        return image, ndimage.binary_erosion(mask)
    if kind == "dilated":
        return image, ndimage.binary_dilation(mask)
    if kind == "noise":
        noise = np.random.default_rng(seed).normal(0, noise_sd(image.data), image.data.shape)
        return Volume(np.where(image.data == 0, 0, image.data + noise), image.affine), mask
    return image, mask


def noise_sd(data: NDArray[Any]) -> float:
    """Return the standard deviation of an image's noise, from its finest details (Donoho and Johnstone 1994, Biometrika 81).

    These are the differences along all three axes at once, a Haar wavelet's, among 2 x 2 x 2 voxels none of which is zero, as
    the background of a skull-stripped image is. 0 where there are none.
    """
    values = np.asarray(data, np.float64)
    inside = values != 0
    for axis in range(3):
        values = np.diff(values, axis=axis)
        inside = inside[_but(axis, slice(1, None))] & inside[_but(axis, slice(None, -1))]
    details = np.abs(values[inside]) / np.sqrt(8)
    return float(np.median(details)) / MEDIAN_ABSOLUTE if details.size else 0.0


def _but(axis: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if other == axis else slice(None) for other in range(3))


def binning_variants(parameters: Parameters) -> dict[str, dict[str, Any]]:
    """Return the parameters as they are, by the name ``REFERENCE``, and with other bins and the other normalisation.

    Where the number of bins is fixed, that number varies. The others' names are ``<factor> <normalised>``.
    """
    normalise = bool(parameters.get("setting", {}).get("normalize"))
    variants = {}
    for used in (normalise, not normalise):
        for factor in WIDTH_FACTORS:
            varied = _with_bins(parameters, factor)
            if used != normalise:
                varied["setting"]["normalize"] = used
                varied["setting"].setdefault("normalizeScale", NORMALISE_SCALE)
            own = used == normalise and factor == 1
            variants[REFERENCE if own else f"{factor:g} {str(used).lower()}"] = varied
    return variants


def _with_bins(parameters: Parameters, factor: float) -> dict[str, Any]:
    varied = copy.deepcopy({block: _plain(fields) for block, fields in parameters.items()})
    settings = varied.setdefault("setting", {})
    if settings.get("binCount") is None:
        settings.setdefault("binWidth", 25)
    for fields in (settings, *varied.get("imageType", {}).values()):
        if fields.get("binWidth") is not None:
            fields["binWidth"] *= factor
        if fields.get("binCount") is not None:
            fields["binCount"] = max(1, round(fields["binCount"] * factor))
    return varied


def _plain(fields: Any) -> Any:
    """Return a block of parameters as plain mappings and lists, whatever kind Snakemake handed over."""
    if isinstance(fields, Mapping):
        return {key: _plain(value) for key, value in fields.items()}
    return [_plain(item) for item in fields] if isinstance(fields, list | tuple) else fields


def bins_of(parameters: Parameters) -> tuple[float | None, int | None]:
    """Return the bin width, or else the number of bins, that the parameters say; None for the other."""
    settings = parameters.get("setting", {})
    number = settings.get("binCount")
    return (None, int(number)) if number is not None else (float(settings.get("binWidth", 25)), None)
