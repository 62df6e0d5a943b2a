"""Where a Hausdorff distance is: the pair of points, one on each mask's surface, whose distance it is.

The points are elements of the surfaces that a convention measures between (``glioflow.evaluation.surfaces``), found by the very
search that scores the case, so that the length of the line between them is the distance in the score table. Where several pairs
are as far apart, it is the first of the truth's surface, else the first of the prediction's, in the order of the array.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glioflow.evaluation.conventions import Convention, Percentile
from glioflow.evaluation.metrics import (
    NOTE_BOTH_EMPTY,
    NOTE_PREDICTION_EMPTY,
    NOTE_TRUTH_EMPTY,
    PENALTY,
    PREDICTION,
    TRUTH,
    Pair,
    foreground_box,
)
from glioflow.evaluation.surfaces import Floats, Spacing, Surface
from glioflow.imaging.labels import Labels

MAXIMUM = Percentile(percentile=100, directions="maximum")
SIDES = {TRUTH: "truth", PREDICTION: "prediction"}
AXES = ("i", "j", "k")
POINT_COLUMNS = (
    *(f"{side}_{axis}" for side in SIDES.values() for axis in AXES),
    *(f"{side}_{axis}_mm" for side in SIDES.values() for axis in ("x", "y", "z")),
)
# Of a table of witnesses, after what names the case.
COLUMNS = ("label", "convention", "distance", "units", "length_mm", "measured_from", *POINT_COLUMNS, "note")
NOTES_OF_EMPTY = {
    (False, False): NOTE_BOTH_EMPTY,
    (True, False): NOTE_PREDICTION_EMPTY.removeprefix(f"{PENALTY}: "),
    (False, True): NOTE_TRUTH_EMPTY.removeprefix(f"{PENALTY}: "),
}


@dataclass(frozen=True)
class Witness:
    """A pair of points that attains a Hausdorff distance.

    ``points`` (2, 3): the truth's and the prediction's, as voxel indices along the stored axes; a surface of areas has its
    elements at voxels' corners, half a voxel from their centres. ``start``: the side that the distance is measured from, 0 the
    truth, 1 the prediction. ``distance``: in the convention's units; ``length_mm``: in mm.
    """

    points: Floats
    start: int
    distance: float
    length_mm: float

    def row(self, affine: NDArray[np.float64]) -> dict[str, Any]:
        """Return the columns that tell of the points; ``affine`` (4, 4) takes voxel indices to mm in RAS+ space."""
        mm = self.points @ affine[:3, :3].T + affine[:3, 3]
        values = [*self.points.ravel().tolist(), *mm.ravel().tolist()]
        told = {"distance": self.distance, "length_mm": self.length_mm, "measured_from": SIDES[self.start]}
        return told | dict(zip(POINT_COLUMNS, values, strict=True))


def find_witness(pair: Pair, region: str, convention: Convention, first: Sequence[int]) -> Witness:
    """Return the witness of a region's Hausdorff distance under a convention; both masks have the region.

    ``first``: index of the first voxel of the pair's box along each axis. Under a convention without a Hausdorff distance, or
    with a percentile in its place, which no pair of points attains, it is that of the largest distance in either direction.
    """
    definition = convention.hausdorff if has_witness(convention) and convention.hausdorff else MAXIMUM
    sides = (PREDICTION,) if definition.directions == "prediction_to_truth" else (TRUTH, PREDICTION)
    steps, kind = pair.steps(convention), convention.surface
    found = {side: pair.distances(region, kind, steps, side) for side in sides}
    start = max(sides, key=lambda side: found[side].mm.max())
    at, nearest = int(found[start].mm.argmax()), found[start].nearest
    assert nearest is not None
    here, there = (pair.surface(region, kind, steps, side) for side in (start, 1 - start))
    places = {start: _indices(here, int(here.places[at])), 1 - start: _indices(there, int(there.places[nearest[at]]))}
    # Element (i, j, k) of areas is the corner between the voxels i - 1 and i, and so on; not across an image of one slice.
    shift = [0.5 if kind == "areas" and axis != pair.across else 0.0 for axis in range(3)]
    points = np.array([places[TRUTH], places[PREDICTION]]) + np.asarray(first, float) - shift
    length = float(np.linalg.norm((points[0] - points[1]) * pair.spacing))
    return Witness(points, start, float(found[start].mm[at]), length)


def _indices(surface: Surface, place: int) -> list[int]:
    return [int(index) for index in np.unravel_index(place, surface.shape)]


def has_witness(convention: Convention) -> bool:
    """Tell whether a pair of points attains the convention's Hausdorff distance."""
    return convention.hausdorff is not None and convention.hausdorff.percentile == MAXIMUM.percentile


def find_witnesses(
    truth: Labels, prediction: Labels, spacing: Spacing, regions: Sequence[str], convention: Convention
) -> dict[str, tuple[Witness | None, str]]:
    """Return the witness of each region, None where a mask lacks it, and a note.

    ``truth`` and ``prediction``: canonical label maps (x, y, z) of one shape; ``spacing``: mm per axis.
    """
    pair = Pair(truth, prediction, spacing)
    first = [part.start for part in foreground_box(truth, prediction)]
    note = "" if has_witness(convention) else "no such distance in the convention: the largest in either direction"
    found: dict[str, tuple[Witness | None, str]] = {}
    for region in regions:
        there = tuple(bool(pair.mask(region, side).any()) for side in SIDES)
        if all(there):
            found[region] = find_witness(pair, region, convention, first), note
        else:
            found[region] = None, NOTES_OF_EMPTY[there[0], there[1]]
    return found
