"""Connected components of a mask.

Voxels that share a face, an edge or a corner are connected (26-connected), as in the BraTS challenges' lesion-wise scores
(rachitsaluja/BraTS-2023-Metrics ``metrics.py``).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as label_components

NEIGHBOURS = np.ones((3, 3, 3), bool)  # 26-connected


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box around every true voxel of ``mask``, one slice an axis; empty slices where there is none."""
    axes = range(mask.ndim)
    found = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0) for at in found)


def connected_components(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the number of the component of each voxel of a bool mask (x, y, z): 1, 2 and so on, 0 outside the mask.

    They are numbered by their first voxel in C order (z runs fastest), whatever the memory order of ``mask``. Only the
    bounding box is searched.
    """
    numbers = np.zeros(mask.shape, np.int32)
    box = bounding_box(mask)
    if mask[box].size:
        label_components(np.ascontiguousarray(mask[box]), NEIGHBOURS, output=(found := np.zeros(mask[box].shape, np.int32)))
        numbers[box] = found
    return numbers
