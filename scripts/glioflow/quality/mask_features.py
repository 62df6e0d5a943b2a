"""What a predicted mask and the image under it tell of its quality: size, pieces, and how it stands out.

The features of a region are

- ``log_volume_ml``: natural logarithm of its volume in ml.
- ``components``: how many 26-connected pieces it has; ``largest_share``: the share of its voxels in the largest of them.
- ``contrast``: mean intensity in the region less that of the brain outside all predicted labels, over the standard deviation
  there. The brain is where the image is not 0.
- ``ring_contrast``: the same against the ring around the region, brain within ``RING_MM`` along each axis.

They are NaN where nothing of the region is predicted, contrasts also without an image or where the brain has one intensity.
"""

from collections.abc import Sequence
from math import log, nan

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from glioflow.imaging.components import bounding_box, number_components
from glioflow.imaging.labels import region_mask

SHAPE, CONTRAST = ("log_volume_ml", "components", "largest_share"), ("contrast", "ring_contrast")
MASK_FEATURES = (*SHAPE, *CONTRAST)
RING_MM = 5.0
# The channel in which a region stands out most; where a model does not read it, its first channel is taken.
SHOWN_IN = {"WT": "flair", "ED": "flair", "TC": "t1ce", "ET": "t1ce", "NCR": "t1ce", "RC": "flair"}
NOTHING_PREDICTED, MISSING = "nothing predicted", "prediction missing"  # how the note of a region without features begins

Box = tuple[slice, ...]
Labels = NDArray[np.uint8]
Image = NDArray[np.floating | np.integer]


def shown_in(region: str, channels: Sequence[str]) -> str | None:
    """Return the channel that a region's contrast is measured in, of those a model reads; None of none."""
    wanted = SHOWN_IN[region]
    return wanted if wanted in channels else next(iter(channels), None)


def shape_features(mask: NDArray[np.bool_], voxel_ml: float) -> dict[str, float]:
    """Return the features of a bool mask (x, y, z) alone; ``voxel_ml``: the volume of a voxel."""
    inner = mask[bounding_box(mask)]
    size = int(inner.sum())
    if not size:
        return dict.fromkeys(SHAPE, nan)
    sizes = np.bincount(number_components(inner).ravel())[1:]
    values = (log(size * voxel_ml), float(len(sizes)), float(sizes.max() / size))
    return dict(zip(SHAPE, values, strict=True))


class Surroundings:
    """An image (x, y, z) and the brain outside all labels of a map: its mean and standard deviation."""

    def __init__(self, image: Image, labels: Labels) -> None:
        self.image = image
        rest = image[(labels == 0) & (image != 0)].astype(np.float64)
        self.mean, self.sd = (float(rest.mean()), float(rest.std())) if rest.size else (nan, nan)

    def contrasts(self, mask: NDArray[np.bool_], spacing: Sequence[float]) -> dict[str, float]:
        """Return ``contrast`` and ``ring_contrast`` of a bool mask; ``spacing``: mm per axis."""
        values = [nan, nan]
        if mask.any() and self.sd > 0:
            reach = [int(RING_MM / edge) for edge in spacing]
            box = _grown(bounding_box(mask), reach, mask.shape)
            inside, image = mask[box], self.image[box]
            level = float(image[inside].mean(dtype=np.float64))
            ring = (_dilated(inside, reach) > inside) & (image != 0)
            around = float(image[ring].mean(dtype=np.float64)) if ring.any() else nan
            values = [(level - self.mean) / self.sd, (level - around) / self.sd]
        return dict(zip(CONTRAST, values, strict=True))


def mask_features(labels: Labels, region: str, spacing: Sequence[float], around: Surroundings | None) -> dict[str, float]:
    """Return ``MASK_FEATURES`` of a region of a canonical label map (x, y, z); ``spacing``: mm per axis; None: no image."""
    mask = region_mask(labels, region)
    contrasts = around.contrasts(mask, spacing) if around is not None else dict.fromkeys(CONTRAST, nan)
    return {**shape_features(mask, float(np.prod(spacing)) / 1000), **contrasts}


def _grown(box: Box, reach: Sequence[int], shape: Sequence[int]) -> Box:
    ends = zip(box, reach, shape, strict=True)
    return tuple(slice(max(0, part.start - more), min(size, part.stop + more)) for part, more, size in ends)


def _dilated(mask: NDArray[np.bool_], reach: Sequence[int]) -> NDArray[np.bool_]:
    """Return a mask dilated by a box that reaches so many voxels along each axis."""
    grown = mask.view(np.uint8)
    for axis, more in enumerate(reach):
        if more:
            grown = maximum_filter1d(grown, 2 * more + 1, axis=axis, mode="constant")
    return grown.astype(bool)
