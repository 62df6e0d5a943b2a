"""How well a predicted label map agrees with the true one, lesion by lesion, as BraTS has scored since 2023.

Sources: rachitsaluja/BraTS-2023-Metrics `eval.py` and rachitsaluja/BraTS-2024-Metrics `metrics_GLI.py`. Their parameters are
data: the block ``lesions`` of a file of config/conventions.

1. A true lesion is the part of the mask in one component of the dilated true mask, so that pieces near one another are one.
2. A predicted lesion is a component of the predicted mask; with ``group_predicted`` (2024) it is found as a true one is, and
   left out where it is small.
3. With ``united_by`` (2024) the lesions of a label that touch one lesion of another label, in the 18-neighbourhood, are one.
4. A predicted lesion belongs to every true lesion whose dilation it meets. One that meets none is false.
5. True lesions of ``min_volume_mm3`` or less do not count; what meets them alone is neither found nor false.
6. Dice, HD95 and surface overlap (NSD) of a true lesion are between it and all predicted lesions that belong to it. A missed
   and a false lesion have a Dice and an NSD of 0 and the penalty as HD95. The scores are means over true lesions that count
   and false ones.

Sensitivity is the share of the true lesions that count which are found, precision the found among the found and the false, F1
their harmonic mean: 2 found / (2 found + missed + false). Where there is no lesion to count and none is false, Dice and NSD are
1 and HD95 is 0, as in the challenges; the ratios are undefined (NaN).

Where glioflow departs from the scripts: the study's convention defines what a distance is; limits of size are in mm³ for
predicted lesions too (2024: in voxels, the same at 1 mm); a lesion that touches two of another label unites what touches
either (2024: what touches the one of the lower number); no files are written.

Known defects of the scripts are columns of their own, computed only where a study asks for them. The one of 2024,
``sensitivity_of_instance_maps``, gives sens_of_instance_maps and spec_of_instance_maps, for which the numbers of lesions are
counted as if they were voxels: a perfect prediction of two equal lesions has a sensitivity of 1/3.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import nan, prod

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from glioflow.evaluation.conventions import Convention, Lesions
from glioflow.evaluation.metrics import PREDICTION, TRUTH, Pair, foreground_box, percentile_of, ratio, surface_overlap
from glioflow.evaluation.surfaces import ROUNDING, Distances, Mask, Places, Spacing, Surface, measure
from glioflow.imaging.components import number_components
from glioflow.imaging.labels import REGIONS
from glioflow.study.metric_registry import LESION_COUNTS

# Steps to the voxels that share a face or an edge.
NEIGHBOURS_18 = [step for step in product((-1, 0, 1), repeat=3) if 0 < sum(map(abs, step)) < 3]
DEFECTS = {"sensitivity_of_instance_maps": ("sens_of_instance_maps", "spec_of_instance_maps")}

Numbers = NDArray[np.int32]
LesionScore = dict[str, float | int]


def lesion_columns(convention: Convention, defects: Collection[str] = ()) -> list[str]:
    """Return the lesion-wise columns under a convention, with those of ``defects``, in the order of the score table."""
    overlaps = [f"lesion_{column}" for column in convention.nsd_columns]
    ratios = ["lesion_sens", "lesion_precision", "lesion_f1"]
    return ["lesion_dice", "lesion_hd95_mm", *overlaps, *ratios, *LESION_COUNTS, *(c for d in defects for c in DEFECTS[d])]


def score_lesions(
    pair: Pair,
    regions: Sequence[str],
    lesions: Lesions,
    convention: Convention,
    defects: Collection[str] = (),
    seen: Collection[str] = tuple(REGIONS),
) -> dict[str, LesionScore]:
    """Return the lesion-wise score, ``lesion_columns``, of each of ``regions`` that ``lesions`` has parameters for.

    ``lesions``: how lesions are told apart, matched and counted. ``convention``: what a distance is. ``defects``: names of
    the tool's known defects to compute as well. ``seen``: the regions that both maps can show. No
    other unites lesions, not of the map that has it either.
    """
    voxel_mm3 = prod(pair.spacing)
    scored = [region for region in regions if region in lesions.dilation]
    uniting = {region: [other for other in lesions.united_by.get(region, ()) if other in seen] for region in scored}
    needed = dict.fromkeys([*scored, *(other for others in uniting.values() for other in others)])
    found = {region: find_lesions(pair, region, lesions, voxel_mm3) for region in needed}
    found |= {
        region: unite_lesions(found[region], [found[one] for one in others]) for region, others in uniting.items() if others
    }
    return {region: score_region(pair, found[region], region, lesions, convention, defects) for region in scored}


@dataclass(frozen=True)
class FoundLesions:
    """The lesions of a region, numbered from 1 in arrays of one shape (0 elsewhere); ``reach``: the dilated true ones.

    ``true_number`` and ``predicted_number``: what each number stands for, after small ones are left out and some united.
    """

    truth: Numbers
    reach: Numbers
    prediction: Numbers
    true_number: Places
    predicted_number: Places


def find_lesions(pair: Pair, region: str, lesions: Lesions, voxel_mm3: float) -> FoundLesions:
    """Return the lesions of a region, before any are united."""
    true_mask, predicted_mask = (pair.mask(region, side) for side in (TRUTH, PREDICTION))
    shape = true_mask.shape
    # Nothing is lost beyond the box of both masks: dilations of two voxels that meet or touch do so between the voxels.
    box = foreground_box(true_mask.view(np.uint8), predicted_mask.view(np.uint8))
    reach, truth, prediction = (np.zeros(shape, np.int32) for _ in range(3))
    inner_truth, inner_prediction = np.ascontiguousarray(true_mask[box]), np.ascontiguousarray(predicted_mask[box])
    grow = lesions.dilation[region], lesions.dilation_neighbours
    if inner_truth.any():
        reach[box] = number_components(dilate(inner_truth, *grow), lesions.connectivity)
        truth[box] = reach[box] * inner_truth
    predicted_number = np.arange(1)
    if inner_prediction.any():
        dilated = dilate(inner_prediction, *grow) if lesions.group_predicted else inner_prediction
        prediction[box] = number_components(dilated, lesions.connectivity) * inner_prediction
        limit = lesions.min_volume_mm3[region] * (1 + ROUNDING) if lesions.group_predicted else 0.0
        large = sizes(prediction) * voxel_mm3 > limit
        predicted_number = np.where(large, np.arange(len(large)), 0)
    return FoundLesions(truth, reach, prediction, np.arange(int(truth.max(initial=0)) + 1), predicted_number)


def dilate(mask: Mask, iterations: int, neighbours: int = 18) -> Mask:
    """Return a 3D mask dilated by its 6, 18 or 26 neighbours, ``iterations`` times; nothing is beyond the array.

    The same as scipy's binary_dilation, in a third of the time: 18 neighbours are a square in each of three planes.
    """
    for _ in range(iterations):
        x, y = widen(mask, 0), widen(mask, 1)
        if neighbours == 6:
            mask = x | y | widen(mask, 2)
        elif neighbours == 18:
            mask = widen(x, 1) | widen(x, 2) | widen(y, 2)
        else:
            mask = widen(widen(x, 1), 2)
    return mask


def widen(mask: Mask, axis: int) -> Mask:
    """Return a 3D mask with the neighbours of its voxels along one axis."""
    wide = mask.copy()
    low, high = (slice(None),) * axis + (slice(None, -1),), (slice(None),) * axis + (slice(1, None),)
    wide[low] |= mask[high]
    wide[high] |= mask[low]
    return wide


def sizes(numbers: Numbers) -> NDArray[np.int64]:
    """Return how many voxels each number has; the background, at 0, counts as none."""
    return np.bincount(numbers[numbers > 0], minlength=1)


def unite_lesions(here: FoundLesions, others: Sequence[FoundLesions]) -> FoundLesions:
    """Return the lesions of a region once those of other regions have united them."""
    predicted = here.predicted_number[here.prediction]
    joined = unite(predicted, [other.predicted_number[other.prediction] for other in others])
    together = unite(here.truth, [other.truth for other in others])
    return replace(here, true_number=together, predicted_number=joined[here.predicted_number])


def unite(numbers: NDArray[np.integer], others: Sequence[NDArray[np.integer]]) -> Places:
    """Return the number that each lesion takes where those that touch one lesion of ``others`` become one.

    All arrays are of one shape. The answer is indexed by the present number, 0 stays 0, and numbers run from 1 without a gap
    other than those of lesions that are not there.
    """
    count, links = int(numbers.max(initial=0)) + 1, []
    nodes = count
    for other in others:
        pairs = touching(numbers, other)
        links.append(pairs + np.array([0, nodes]))
        nodes += int(other.max(initial=0)) + 1
    rows, columns = np.concatenate([np.zeros((0, 2), np.int64), *links]).T
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(nodes, nodes))
    _, group = connected_components(graph, directed=False)
    return np.asarray(np.unique(group[:count], return_inverse=True)[1], np.int64)


def touching(first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the pairs (n, 2) of numbers of two arrays (x, y, z) of one shape that have voxels in one 18-neighbourhood."""
    padded = np.pad(second, 1)
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    filled = np.flatnonzero(first)
    places = np.ravel_multi_index([axis + 1 for axis in np.unravel_index(filled, first.shape)], padded.shape)
    flat, mine = padded.ravel(), first.ravel()[filled].astype(np.int64)
    base = int(second.max(initial=0)) + 1
    found = set[int]()
    for step in NEIGHBOURS_18:
        theirs = flat[places + int(np.dot(step, strides))]
        met = theirs > 0
        found.update(np.unique(mine[met] * base + theirs[met]).tolist())
    codes = np.array(sorted(found), np.int64)
    return np.stack(np.divmod(codes, base), axis=1)


def score_region(
    pair: Pair, found: FoundLesions, region: str, lesions: Lesions, convention: Convention, defects: Collection[str]
) -> LesionScore:
    """Return the lesion-wise score of a region, given its lesions."""
    true_voxels = np.flatnonzero(pair.mask(region, TRUTH))
    predicted_voxels = np.flatnonzero(pair.mask(region, PREDICTION))
    numbers = found.true_number[found.truth.ravel()[true_voxels]]
    true_sizes = np.bincount(numbers, minlength=1)
    number = found.predicted_number[found.prediction.ravel()[predicted_voxels]]
    reached = found.true_number[found.reach.ravel()[predicted_voxels]]
    shared_part = found.true_number[found.truth.ravel()[predicted_voxels]]
    predicted_sizes = np.bincount(number, minlength=1)
    true_sizes[0] = predicted_sizes[0] = 0
    met = meetings(reached, number, (len(true_sizes), len(predicted_sizes))) > 0
    shared = meetings(shared_part, number, met.shape)
    limit = lesions.min_volume_mm3[region] * (1 + ROUNDING)
    kept = np.flatnonzero(true_sizes * prod(pair.spacing) > limit).tolist()
    false = int(np.count_nonzero((predicted_sizes > 0) & ~met.any(axis=0)))
    hit = int(met[kept].any(axis=1).sum())
    penalty = pair.diagonal(convention) if lesions.hd95_penalty_mm == "diagonal" else float(lesions.hd95_penalty_mm)
    dice = [2 * shared[k, met[k]].sum() / (true_sizes[k] + predicted_sizes[met[k]].sum()) for k in kept]
    matches = {k: met[k] for k in kept if met[k].any()}
    spacing = pair.steps(convention)
    measured = measure_lesions(pair, region, found, convention.surface, spacing, matches)
    hd95 = [percentile_of(measured[k].__getitem__, convention.hd95_mm) if k in measured else penalty for k in kept]
    scores: LesionScore = {
        "lesion_dice": mean_of(dice, false, 0.0, 1.0),
        "lesion_hd95_mm": mean_of(hd95, false, penalty, 0.0) if convention.hd95_mm else nan,
    }
    if convention.nsd_surface not in (None, convention.surface):
        measured = measure_lesions(pair, region, found, convention.nsd_surface, spacing, matches)
    for column, tolerance in convention.nsd_columns.items():
        overlaps = [
            surface_overlap(measured[k].__getitem__, tolerance, convention.nsd_directions) if k in measured else 0.0
            for k in kept
        ]
        scores[f"lesion_{column}"] = mean_of(overlaps, false, 0.0, 1.0)
    scores |= {
        "lesion_sens": ratio(hit, len(kept)),
        "lesion_precision": ratio(hit, hit + false),
        "lesion_f1": ratio(2 * hit, hit + len(kept) + false),
        "lesions_truth": len(kept),
        "lesions_found": hit,
        "lesions_false": false,
    }
    if defects:
        scores |= instance_map_ratios(pair, found)
    return scores


def instance_map_ratios(pair: Pair, found: FoundLesions) -> LesionScore:
    """Return the sensitivity and specificity that the 2024 script gives, of maps of lesions' numbers.

    What is equal and 1 counts as found, and each voxel counts as much as its lesion's number
    (rachitsaluja/BraTS-2024-Metrics `metrics_GLI.py`, get_sensitivity_and_specificity).
    """
    truth, prediction = (
        in_order(stands_for[numbers])
        for stands_for, numbers in ((found.true_number, found.truth), (found.predicted_number, found.prediction))
    )
    tp = int(np.count_nonzero((truth == 1) & (prediction == 1)))
    fp, fn = int(prediction.sum()) - tp, int(truth.sum()) - tp
    tn = int(np.count_nonzero((truth != 1) & (prediction != 1))) + prod(pair.shape) - truth.size
    sensitivity = tp / (tp + fn) if tp + fn else float(tp + fp == 0)
    return dict(zip(DEFECTS["sensitivity_of_instance_maps"], (sensitivity, ratio(tn, tn + fp)), strict=True))


def in_order(numbers: Places) -> Places:
    """Return lesions numbered from 1 in the order in which they first come as a NIfTI file stores its voxels, x first."""
    present, first = np.unique(numbers.ravel(order="F"), return_index=True)
    rank = np.zeros(int(numbers.max(initial=0)) + 1, np.int64)
    ordered = present[np.argsort(first)]
    rank[ordered[ordered > 0]] = np.arange(1, np.count_nonzero(ordered) + 1)
    return rank[numbers]


def mean_of(scores: Sequence[float], false: int, false_score: float, none: float) -> float:
    """Return the mean over true lesions and ``false`` ones of ``false_score`` each, ``none`` where there is no lesion."""
    count = len(scores) + false
    return (float(np.sum(scores)) + false * false_score) / count if count else none


def meetings(truth: Places, prediction: Places, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return how many voxels (n,) each pair of a true and a predicted lesion has, as a table of ``shape``; 0 is no lesion."""
    table = np.bincount(truth * shape[1] + prediction, minlength=shape[0] * shape[1]).reshape(shape)
    table[0], table[:, 0] = 0, 0
    return table


def measure_lesions(
    pair: Pair, region: str, found: FoundLesions, kind: str, spacing: Spacing, matches: Mapping[int, Mask]
) -> dict[int, tuple[Distances, Distances]]:
    """Return the distances from each true lesion to the predicted ones that belong to it, and back.

    ``matches``: by true lesion, which numbers of predicted ones these are. ``kind``: of surface.
    """
    if not matches:
        return {}
    surfaces = LesionSurfaces(pair, region, found, kind, spacing)
    return {lesion: surfaces.measure(lesion, mine) for lesion, mine in matches.items()}


class LesionSurfaces:
    """The surfaces of a region, whose elements are its lesions', and the distances between them.

    Lesions have no common surface: neither a face, nor, being 26-connected, one of the cubes of eight voxels.
    """

    def __init__(self, pair: Pair, region: str, found: FoundLesions, kind: str, spacing: Spacing) -> None:
        """Find whose each element is."""
        self.spacing = spacing
        self.surfaces = [pair.surface(region, kind, spacing, side) for side in (TRUTH, PREDICTION)]
        self.distances = [pair.distances(region, kind, spacing, side) for side in (TRUTH, PREDICTION)]
        numbers = (found.true_number, found.truth), (found.predicted_number, found.prediction)
        self.owners = [
            stands_for[owners_of(surface, lesions)]
            for surface, (stands_for, lesions) in zip(self.surfaces, numbers, strict=True)
        ]

    def measure(self, lesion: int, mine: NDArray[np.bool_]) -> tuple[Distances, Distances]:
        """Return the distances from a true lesion to the predicted ones that are ``mine`` (by number), and back."""
        chosen = self.owners[TRUTH] == lesion, mine[self.owners[PREDICTION]]
        return self._directed(TRUTH, chosen), self._directed(PREDICTION, chosen)

    def _directed(self, start: int, chosen: tuple[Mask, Mask]) -> Distances:
        """Return the distances from the chosen elements of one surface to the chosen of the other.

        Where the nearest of all elements is a chosen one, it is the nearest of these; the others are searched again.
        """
        from_all = self.distances[start]
        assert from_all.nearest is not None
        mine = chosen[start]
        mm = from_all.mm[mine]
        elsewhere = ~chosen[1 - start][from_all.nearest[mine]]
        if elsewhere.any():
            ends = self.surfaces[start].part(mine).part(elsewhere), self.surfaces[1 - start].part(chosen[1 - start])
            mm[elsewhere] = measure(*ends, self.spacing).mm
        return Distances(mm, None if from_all.weights is None else from_all.weights[mine])


def owners_of(surface: Surface, lesions: Numbers) -> Numbers:
    """Return the number of the lesion that each element of a surface belongs to."""
    if surface.shape == lesions.shape:
        return np.asarray(lesions.ravel()[surface.places], np.int32)
    # The grid of the voxels' corners: of the voxels around one, those of the mask are of one lesion.
    longer = [long - short for long, short in zip(surface.shape, lesions.shape, strict=True)]
    padded = np.pad(lesions, [(step, step) for step in longer])
    indices = np.unravel_index(surface.places, surface.shape)
    owners = np.zeros(len(surface.places), np.int32)
    for corner in product(*(range(step + 1) for step in longer)):
        around = padded[tuple(index + step for index, step in zip(indices, corner, strict=True))]
        np.maximum(owners, around, out=owners)
    return owners
