"""How well a predicted label map agrees with the true one, region by region, under a convention.

docs/metrics.md defines every column. Counts are of all voxels of the image; a ratio of nothing to nothing is undefined (NaN).
Distances are between the elements of two surfaces (``glioflow.evaluation.surfaces``), from each one to the other: two directed
sets. A ``Convention`` (config/conventions) decides what a surface is, how two directions become one number, and what stands for
a region that a mask does not have.

A region that a model cannot tell from others, because it was trained on coarser ones, is not applicable: it has a truth and
nothing else, and its note begins with ``NOT_APPLICABLE``.
"""

from collections.abc import Callable, Sequence
from math import inf, nan, prod

import numpy as np
from numpy.typing import NDArray

from glioflow.evaluation.conventions import Average, Convention, EmptyRule, Percentile
from glioflow.evaluation.surfaces import (
    Distances,
    Mask,
    Spacing,
    Surface,
    as_spacing,
    find_surface,
    measure,
    moment,
    percentile,
    together,
    total,
    within,
)
from glioflow.imaging.components import count_components
from glioflow.imaging.labels import LABEL_COUNT, REGIONS, Labels, region_mask
from glioflow.study.metric_registry import COMPONENTS, DISTANCES, OVERLAPS, VOLUMES

PENALTY = "penalty"
ABSENT = "absent in"
NOTE_BOTH_EMPTY = f"{ABSENT} truth and prediction"
NOTE_TRUTH_EMPTY = f"{PENALTY}: {ABSENT} truth"
NOTE_PREDICTION_EMPTY = f"{PENALTY}: {ABSENT} prediction"
NOT_APPLICABLE = "not applicable"

# The first of a score table are those of the tables that open_brats2020's users have, so that what reads those reads these.
FIRST_METRICS = ("hausdorff", "dice", "sens", "spec")

Score = dict[str, float | str]
Directed = Callable[[int], Distances]  # from the truth (0) or the prediction (1)
TRUTH, PREDICTION = 0, 1


def metric_columns(convention: Convention) -> list[str]:
    """Return the metrics' columns under a convention, in the order of the score table."""
    others = [column for column in (*OVERLAPS, *DISTANCES) if column not in FIRST_METRICS]
    return [*FIRST_METRICS, *others, *convention.nsd_columns, *VOLUMES, *COMPONENTS]


class Pair:
    """A true and a predicted label map, with what was found in them, so that nothing is searched for twice.

    ``truth`` and ``prediction``: canonical label maps (x, y, z) of one shape; ``spacing``: mm per axis. Raises ValueError where
    the shapes differ or a label is not canonical.
    """

    def __init__(self, truth: Labels, prediction: Labels, spacing: Sequence[float]) -> None:
        """Crop both maps to the box of their foreground."""
        if truth.shape != prediction.shape:
            raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
        self.shape = truth.shape
        self.spacing = as_spacing(spacing)
        box = foreground_box(truth, prediction)
        # C order, because the surface search runs fastest over it; NIfTI arrays come in Fortran order.
        self.maps = np.ascontiguousarray(truth[box]), np.ascontiguousarray(prediction[box])
        self.joint = joint_histogram(*self.maps)  # of the whole image
        self.joint[0, 0] += truth.size - self.maps[TRUTH].size
        flat = [axis for axis, size in enumerate(truth.shape) if size == 1]
        self.across = flat[0] if len(flat) == 1 else None
        self._masks: dict[tuple[str, int], Mask] = {}
        self._components: dict[str, int] = {}
        self._surfaces: dict[tuple[str, str, Spacing, int], Surface] = {}
        self._distances: dict[tuple[str, str, Spacing, int], Distances] = {}

    def mask(self, region: str, side: int) -> Mask:
        """Return the mask of a region in the box, of the truth (``side`` 0) or the prediction (1)."""
        if (region, side) not in self._masks:
            self._masks[region, side] = region_mask(self.maps[side], region)
        return self._masks[region, side]

    def predicted_components(self, region: str) -> int:
        """Return how many 26-connected components a region has in the prediction."""
        if region not in self._components:
            self._components[region] = count_components(self.mask(region, PREDICTION))
        return self._components[region]

    def surface(self, region: str, kind: str, spacing: Spacing, side: int) -> Surface:
        """Return the surface of a region in the truth (``side`` 0) or the prediction (1)."""
        key = (region, kind, spacing, side)
        if key not in self._surfaces:
            self._surfaces[key] = find_surface(self.mask(region, side), kind, spacing, self.across)
        return self._surfaces[key]

    def distances(self, region: str, kind: str, spacing: Spacing, start: int) -> Distances:
        """Return the distances from a region's surface in the truth (``start`` 0) or the prediction (1) to the other's.

        Neither surface is empty.
        """
        key = (region, kind, spacing, start)
        if key not in self._distances:
            here, there = (self.surface(region, kind, spacing, side) for side in (start, 1 - start))
            self._distances[key] = measure(here, there, spacing)
        return self._distances[key]

    def steps(self, convention: Convention) -> Spacing:
        """Return the voxels' edge lengths in the convention's units."""
        return self.spacing if convention.units == "mm" else (1.0, 1.0, 1.0)

    def diagonal(self, convention: Convention) -> float:
        """Return the length of the image's diagonal, from edge to edge, in the convention's units."""
        return float(np.linalg.norm(np.multiply(self.shape, self.steps(convention))))

    def score(self, region: str, convention: Convention) -> Score:
        """Return the scores of a region, ``metric_columns`` and before them ``label``, after them ``note``."""
        inside = np.isin(np.arange(LABEL_COUNT), REGIONS[region])
        tp = int(self.joint[np.ix_(inside, inside)].sum())
        fp = int(self.joint[np.ix_(~inside, inside)].sum())
        fn = int(self.joint[np.ix_(inside, ~inside)].sum())
        tn = int(self.joint[np.ix_(~inside, ~inside)].sum())
        ratios = {
            "dice": ratio(2 * tp, 2 * tp + fp + fn),
            "iou": ratio(tp, tp + fp + fn),
            "sens": ratio(tp, tp + fn),
            "spec": ratio(tn, tn + fp),
            "precision": ratio(tp, tp + fp),
        }
        if tp + fn and tp + fp:
            found = {**ratios, **self._measured(region, convention)}
            note = ""
        else:
            rule, note = self._empty_rule(bool(tp + fn), bool(tp + fp), convention)
            found = self._unmeasured(ratios, rule, convention)
            if not any(found[name] > 0 for name in DISTANCES):
                note = note.removeprefix(f"{PENALTY}: ")
        found |= volumes(tp + fn, tp + fp, prod(self.spacing) / 1000.0)
        found["components_prediction"] = self.predicted_components(region)
        return {"label": region, **{name: found[name] for name in metric_columns(convention)}, "note": note}

    def _measured(self, region: str, convention: Convention) -> dict[str, float]:
        """Return the distances and the surface overlaps of a region that both masks have."""
        spacing = self.steps(convention)

        def directed(start: int) -> Distances:
            return self.distances(region, convention.surface, spacing, start)

        def overlapping(start: int) -> Distances:
            return self.distances(region, convention.nsd_surface or convention.surface, spacing, start)

        found = {
            "hausdorff": percentile_of(directed, convention.hausdorff),
            "hd95_mm": percentile_of(directed, convention.hd95_mm),
            "assd_mm": average_of(directed, convention.assd_mm),
            "masd_mm": average_of(directed, convention.masd_mm),
        }
        for column, tolerance in convention.nsd_columns.items():
            found[column] = surface_overlap(overlapping, tolerance, convention.nsd_directions)
        return found

    def _empty_rule(self, in_truth: bool, in_prediction: bool, convention: Convention) -> tuple[EmptyRule, str]:
        """Return a convention's rule for a region that a mask, or both, do not have, and the note of it."""
        rules = convention.empty
        if in_truth:
            return rules.prediction, NOTE_PREDICTION_EMPTY
        return (rules.truth, NOTE_TRUTH_EMPTY) if in_prediction else (rules.both, NOTE_BOTH_EMPTY)

    def _unmeasured(self, ratios: dict[str, float], rule: EmptyRule, convention: Convention) -> dict[str, float]:
        """Return the values of a region that a mask, or both, do not have."""

        def value(said: float | str, formula: float = nan) -> float:
            words = {"formula": formula, "undefined": nan, "diagonal": self.diagonal(convention), "infinite": inf}
            return words[said] if isinstance(said, str) else float(said)

        found = {name: value(getattr(rule, name), ratios[name]) for name in OVERLAPS}
        found |= {name: value(rule.distances) if getattr(convention, name) else nan for name in DISTANCES}
        return found | dict.fromkeys(convention.nsd_columns, value(rule.nsd))


def percentile_of(directed: Directed, definition: Percentile | None) -> float:
    """Return a Hausdorff distance of two directed sets, NaN where the convention has none."""
    if definition is None:
        return nan
    if definition.directions == "prediction_to_truth":
        return percentile(directed(PREDICTION), definition.percentile)
    if definition.directions == "pooled":
        return percentile(together(directed(TRUTH), directed(PREDICTION)), definition.percentile)
    return max(percentile(directed(side), definition.percentile) for side in (TRUTH, PREDICTION))


def average_of(directed: Directed, definition: Average | None) -> float:
    """Return a mean distance of two directed sets, NaN where the convention has none."""
    if definition is None:
        return nan
    sums = [(moment(directed(side)), total(directed(side))) for side in (TRUTH, PREDICTION)]
    if definition.directions == "pooled":
        return sum(distance for distance, _ in sums) / sum(weight for _, weight in sums)
    return sum(distance / weight for distance, weight in sums) / 2


def surface_overlap(directed: Directed, tolerance_mm: float, directions: str) -> float:
    """Return the share of two surfaces that is at most ``tolerance_mm`` from the other (normalised surface dice).

    ``directions``: of both surfaces ``pooled``, or the ``mean`` of each one's own share.
    """
    shares = [(within(directed(side), tolerance_mm), total(directed(side))) for side in (TRUTH, PREDICTION)]
    if directions == "mean":
        return sum(near / weight for near, weight in shares) / 2
    return sum(near for near, _ in shares) / sum(weight for _, weight in shares)


def volumes(truth: int, prediction: int, voxel_ml: float) -> dict[str, float]:
    """Return the columns of volume, given the masks' numbers of voxels and a voxel's volume in ml."""
    return {
        "volume_truth_ml": truth * voxel_ml,
        "volume_prediction_ml": prediction * voxel_ml,
        "volume_error_ml": (prediction - truth) * voxel_ml,
        "volume_error_relative": ratio(prediction - truth, truth),
    }


def unseen_score(truth: Labels, spacing: Sequence[float], region: str, trained: Sequence[str], convention: Convention) -> Score:
    """Return the score of a region that a model of the ``trained`` regions cannot show: the truth's volume, and the reason."""
    volume_ml = int(np.count_nonzero(region_mask(truth, region))) * prod(as_spacing(spacing)) / 1000.0
    undefined = dict.fromkeys(metric_columns(convention), nan) | {"volume_truth_ml": volume_ml}
    return {"label": region, **undefined, "note": f"{NOT_APPLICABLE}: the model predicts {in_words(trained)} only"}


def unlabelled_score(region: str, shown: Sequence[str], convention: Convention) -> Score:
    """Return the score of a region that truths whose labels show ``shown`` cannot have: nothing but the reason."""
    undefined = dict.fromkeys(metric_columns(convention), nan)
    return {"label": region, **undefined, "note": f"{NOT_APPLICABLE}: the truth shows {in_words(shown)} only"}


def in_words(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])


def ratio(part: int, whole: int) -> float:
    """Return ``part / whole``, NaN where there is no whole."""
    return part / whole if whole else nan


def foreground_box(truth: Labels, prediction: Labels) -> tuple[slice, slice, slice]:
    """Return the smallest box (slices along x, y, z) around every non-zero voxel of both maps; empty slices if none."""
    either = np.bitwise_or(truth, prediction)
    plane = np.bitwise_or.reduce(either, axis=2)
    x, y = extent(np.bitwise_or.reduce(plane, axis=1)), extent(np.bitwise_or.reduce(plane, axis=0))
    return x, y, extent(np.bitwise_or.reduce(either[x, y], axis=(0, 1)))


def extent(line: NDArray[np.generic]) -> slice:
    """Return the slice from the first to the last non-zero value of a 1D array, an empty one if there is none."""
    found = np.flatnonzero(line)
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def joint_histogram(truth: Labels, prediction: Labels) -> NDArray[np.int64]:
    """Return counts (truth label, prediction label) of the voxels of two canonical maps of one shape.

    Raises ValueError where a label is not canonical.
    """
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if labels.size and (largest := int(labels.max())) >= LABEL_COUNT:
            raise ValueError(f"{name} holds the label {largest}; canonical labels are 0 to {LABEL_COUNT - 1}")
    pairs = truth * np.uint8(LABEL_COUNT) + prediction
    return np.bincount(pairs.ravel(order="K"), minlength=LABEL_COUNT**2).reshape(LABEL_COUNT, LABEL_COUNT)
