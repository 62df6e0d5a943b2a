"""Connected components of a mask.

Voxels that share a face, an edge or a corner are connected (26-connected), as in the BraTS challenges' lesion-wise scores
(rachitsaluja/BraTS-2023-Metrics ``metrics.py``).
"""

from typing import Literal

import cc3d
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


def number_components(mask: NDArray[np.bool_], neighbours: Literal[6, 18, 26] = 26) -> NDArray[np.int32]:
    """Return the number of the component of each voxel of a bool mask (x, y, z), from 1 in no fixed order, 0 outside the mask.

    ``neighbours``: 6, 18 or 26 voxels around one are connected with it. A tenth of ``connected_components``'s time. cc3d 4.1.1
    gets bytes in one piece: of bool masks one voxel wide it refuses some, and parts of larger arrays it can misread.
    """
    if not mask.size:
        return np.zeros(mask.shape, np.int32)
    return np.asarray(cc3d.connected_components(np.ascontiguousarray(mask).view(np.uint8), connectivity=neighbours), np.int32)


def count_components(mask: NDArray[np.bool_]) -> int:
    """Return how many 26-connected components a bool mask (x, y, z) has."""
    return int(number_components(mask).max(initial=0))
