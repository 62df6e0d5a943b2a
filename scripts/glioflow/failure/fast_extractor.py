"""pyradiomics' extractor with the same values in less time: grey levels are made once an image, and the mesh is ours.

pyradiomics 3.0.1 discretises the image anew for each of its six classes that need grey levels, and looks for the least and the
largest value with Python's ``min`` and ``max``, voxel by voxel. Here its own function runs once an image, with numpy's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from radiomics import imageoperations
from radiomics.base import RadiomicsFeaturesBase
from radiomics.featureextractor import RadiomicsFeatureExtractor
from SimpleITK import GetArrayViewFromImage

from glioflow.failure.fast_shape import fast_shape_class

# The co-occurrences of 13 directions take 100 MB there and grow with the square; 16 to 128 grey levels are usual.
MOST_BINS = 1024


class FastExtractor(RadiomicsFeatureExtractor):  # type: ignore[misc]
    """pyradiomics' extractor; of the last extraction, ``grey_levels`` in the mask by image, and why images have no features."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        self.settings["additionalInfo"] = False
        self.grey_levels: dict[str, int] = {}
        self.notes: list[str] = []

    def extract(self, image: Any, mask: Any) -> dict[str, Any]:
        """Return the features of SimpleITK images of one geometry.

        Raises ValueError or RuntimeError where pyradiomics or SimpleITK finds that there can be none.
        """
        with self._anew():
            return dict(self.execute(image, mask))

    def extract_box(self, image: Any, mask: Any) -> dict[str, Any]:
        """Return what ``extract`` returns, of images that are cut to the mask's box, and checked and normalised already.

        Only where no image is filtered, resampled or segmented anew.
        """
        sides = np.array([end for size in mask.GetSize() for end in (0, size - 1)])
        with self._anew():
            features = dict(self.computeShape(image, mask, sides, **self.settings))
            for custom in self.enabledImagetypes.values():
                features |= self.computeFeatures(image, mask, "original", **{**self.settings, **custom})
        return features

    def computeFeatures(self, image: Any, mask: Any, imageTypeName: str, **settings: Any) -> dict[str, Any]:  # noqa: N802, N803
        """Return the features of one image, none where its grey levels are too many, or its values not finite."""
        values = GetArrayViewFromImage(image)[GetArrayViewFromImage(mask) == settings.get("label", 1)]
        if not np.isfinite(values).all():
            self.notes.append(f"{imageTypeName}: values that are not finite in the mask")
            return {}
        if (bins := count_bins(float(values.min()), float(values.max()), settings)) > MOST_BINS:
            self.notes.append(
                f"{imageTypeName}: {bins:.0f} bins of grey levels in the mask, {MOST_BINS} at most: the bins are too narrow"
            )
            return {}
        with discretised_once() as kept:
            features = dict(super().computeFeatures(image, mask, imageTypeName, **settings))
        if kept:
            self.grey_levels[imageTypeName] = len(kept["grayLevels"])
        return features

    @contextmanager
    def _anew(self) -> Iterator[None]:
        self.grey_levels, self.notes = {}, []
        with fast_shape_class():
            yield


def count_bins(least: float, largest: float, settings: dict[str, Any]) -> float:
    """Return how many bins pyradiomics makes of values between two; the edges are multiples of the bin width."""
    if settings.get("binCount") is not None:
        return float(settings["binCount"])
    width = float(settings.get("binWidth", 25))
    return float(np.floor(largest / width) - np.floor(least / width) + 1)


@contextmanager
def discretised_once() -> Iterator[dict[str, Any]]:
    """Let pyradiomics' classes share the grey levels of one image and one mask within the block; they are in what it yields."""
    discretise = RadiomicsFeaturesBase._applyBinning
    kept: dict[str, Any] = {}
    matrices: list[Any] = []

    def once(features: Any, matrix: Any) -> Any:
        if not matrices:
            matrices.append(discretise(features, matrix))
            kept.update({name: features.coefficients[name] for name in ("grayLevels", "Ng")})
        features.coefficients.update(kept)
        return matrices[0].copy()

    imageoperations.min, imageoperations.max = np.min, np.max  # before Python's own, which go through an array item by item
    RadiomicsFeaturesBase._applyBinning = once
    try:
        yield kept
    finally:
        RadiomicsFeaturesBase._applyBinning = discretise
        del imageoperations.min, imageoperations.max
