"""The outline of a mask in a slice, and how irregular it is.

Both measures are of the distances from the centroid to the points of the outline, divided by their mean, so that size does not
count. Definitions: Mazurowski et al. 2017 (doi:10.1007/s11060-017-2420-1) and Buda et al. 2019
(doi:10.1016/j.compbiomed.2019.05.002); the angular standard deviation after Georgiou et al. 2007 (Artif Intell Med 41:39-55),
margin fluctuation after Giger et al. 1994 (Cancer Lett 77:201-211).
"""

from collections.abc import Sequence
from math import pi

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

BINS = 10  # equal angles about the centroid
SMOOTHED = 0.1  # of the outline's points, the length of the moving average
# The neighbours of a pixel in the order of a turn.
AROUND = ((0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1))

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def trace_outline(mask: Mask) -> NDArray[np.intp]:
    """Return the pixels (n, 2) of the outer outline of an 8-connected bool mask (rows, columns), in order, each turn once.

    Moore's neighbour tracing. A part that is one pixel wide is passed on the way out and on the way back. Holes do not count.
    """
    inside = np.pad(mask, 1)
    start = tuple(map(int, np.argwhere(inside)[0]))
    point, side = start, 0  # the first pixel of a scan by rows has nothing to its left
    outline, first = [start], None
    while True:
        for turn in range(8):
            place = (side + turn) % 8
            following = (point[0] + AROUND[place][0], point[1] + AROUND[place][1])
            if inside[following]:
                break
        else:
            break  # a single pixel
        move = (point, following)
        if move == first:
            outline.pop()  # the start, met again
            break
        first = first or move
        point = following
        side = (place + 5) % 8  # in the turn, the first neighbour after the pixel that it came from
        outline.append(point)
    return np.array(outline, np.intp) - 1


def relative_distances(mask: Mask, spacing: Sequence[float]) -> tuple[Floats, Floats]:
    """Return angle and distance from the centroid of each point of a mask's outline, distances divided by their mean.

    ``spacing``: mm between rows and between columns. Distances are NaN where the outline is the centroid.
    """
    points, pixels = trace_outline(mask) * np.asarray(spacing), np.argwhere(mask) * np.asarray(spacing)
    rows, columns = (points - pixels.mean(axis=0)).T
    distances = np.hypot(rows, columns)
    mean = float(distances.mean())
    return np.arctan2(rows, columns), distances / mean if mean > 0 else np.full(len(distances), np.nan)


def angular_standard_deviation(angles: Floats, distances: Floats) -> float:
    """Return the mean, over ten equal angles, of the standard deviation of the distances in each; 0 for a circle.

    The standard deviation is that of a population, which one point has too. Angles without a point do not count.
    """
    bins = np.minimum(np.floor((angles % (2 * pi)) / (2 * pi / BINS)), BINS - 1).astype(int)
    return float(np.mean([distances[bins == number].std() for number in np.unique(bins)]))


def margin_fluctuation(distances: Floats) -> float:
    """Return the standard deviation of the distances less their moving average along the closed outline."""
    length = max(1, round(SMOOTHED * len(distances)))
    return float((distances - uniform_filter1d(distances, length, mode="wrap")).std())
