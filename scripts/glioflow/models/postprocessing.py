"""Post-processing of predicted label maps: steps that drop connected components, and what they do to the Dice of a set.

A step drops components of one region and gives their voxels the label of the next region around that the model can predict:
of a whole tumour that is background, of a tumour core oedema, of enhancing tumour necrotic core. There are three operations:

- ``largest_component``: all components but the largest are dropped (of equally large ones the first in C order stays);
- ``min_volume_ml``: components of a volume below the value are dropped;
- ``et_threshold_ml``: the whole region is dropped where its total volume is below the value, as Isensee et al. 2021
  (arXiv:2011.00848) did with the enhancing tumour for BraTS 2020.

Components of ET are in components of TC, and those in components of WT; a step drops components whole. So a label map falls
into pieces, each of one label and of one component of every region, that any steps relabel as wholes: ``Pieces``. They are
found once, whatever is tried on them, and the same function relabels them in choosing and in applying.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glioflow.imaging.components import bounding_box, connected_components
from glioflow.imaging.labels import ED, LABEL_COUNT, NCR, REGION_FILL, REGIONS, region_mask, visible_regions

NESTED = ("WT", "TC", "ET", "RC")  # regions whose components can be dropped, from the outside to the inside; RC is apart
LARGEST, MIN_VOLUME, ET_THRESHOLD = "largest_component", "min_volume_ml", "et_threshold_ml"
# A volume this much below a threshold, relatively, is taken for equal to it: spacings are 32-bit floats in the files.
VOLUME_TOLERANCE = 1e-6

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """An operation on a region; ``value`` in ml where it has one. ``becomes``: the label of what is dropped."""

    region: str
    operation: str
    value: float | None
    becomes: int

    def describe(self) -> dict[str, Any]:
        """Return the step as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Pieces:
    """The pieces of the label maps of some cases.

    ``case``: (n,) index of each piece's case. ``label``: (n,) its canonical label. ``component``: region -> (n,) number of the
    component it is in, no number in two cases; -1 where it is in none. ``voxels``: (n, 5) its voxels by their true label.
    ``voxel_ml``: (cases,) ml of a voxel. ``truth``: (cases, 5) voxels of each true label in the whole image.
    """

    case: Counts
    label: Labels
    component: Mapping[str, Counts]
    voxels: Counts
    voxel_ml: NDArray[np.float64]
    truth: Counts


def judged_regions(regions: Sequence[str]) -> list[str]:
    """Return ``regions`` and those of WT, TC and ET besides that can be told apart in masks of a model of these regions."""
    return [*regions, *(name for name in visible_regions(regions, ("WT", "TC", "ET")) if name not in regions)]


def dropped_label(region: str, regions: Sequence[str]) -> int:
    """Return the label that dropped voxels of ``region`` get from a model of ``regions``: the next around, or background."""
    labels = {REGION_FILL[name] for name in regions}
    around = {"ET": (NCR, ED), "TC": (ED,)}.get(region, ())
    return next((label for label in around if label in labels), 0)


def find_pieces(labels: Labels, voxel_ml: float, truth: Labels | None = None) -> tuple[Pieces, NDArray[np.int32]]:
    """Return the pieces of one label map (x, y, z), and the piece of each voxel, -1 in the background.

    Without ``truth`` all voxels count for the true label 0.
    """
    labelled = labels > 0
    box = bounding_box(labelled)
    inner, at = labels[box], labelled[box]
    value = inner[at]
    component = {name: connected_components(region_mask(inner, name))[at].astype(np.int64) for name in NESTED}
    # The innermost region around a voxel: its component names, with the label, the voxel's piece.
    innermost = np.zeros(len(value), np.int64)
    for numbers in component.values():
        innermost = np.where(numbers > 0, numbers, innermost)
    _, first, piece = np.unique(innermost * LABEL_COUNT + value, return_index=True, return_inverse=True)
    number = np.full(labels.shape, -1, np.int32)
    number[box][at] = piece
    true = np.zeros(labels.shape, np.uint8) if truth is None else truth
    voxels = np.bincount(piece * LABEL_COUNT + true[box][at], minlength=len(first) * LABEL_COUNT)
    pieces = Pieces(
        case=np.zeros(len(first), np.int64),
        label=value[first],
        component={name: numbers[first] - 1 for name, numbers in component.items()},
        voxels=voxels.reshape(-1, LABEL_COUNT),
        voxel_ml=np.array([voxel_ml]),
        truth=np.bincount(true.ravel(order="K"), minlength=LABEL_COUNT)[np.newaxis],
    )
    return pieces, number


def join_pieces(parts: Sequence[Pieces]) -> Pieces:
    """Return the pieces of several cases as one, with components renumbered. There is at least one part."""
    component: dict[str, list[Counts]] = {region: [] for region in NESTED}
    for region, numbers in component.items():
        start = 0
        for part in parts:
            own = part.component[region]
            numbers.append(np.where(own >= 0, own + start, -1))
            start += int(own.max(initial=-1)) + 1
    cases = np.cumsum([0, *(len(part.voxel_ml) for part in parts)])
    return Pieces(
        case=np.concatenate([part.case + start for part, start in zip(parts, cases, strict=False)]),
        label=np.concatenate([part.label for part in parts]),
        component={region: np.concatenate(numbers) for region, numbers in component.items()},
        voxels=np.concatenate([part.voxels for part in parts]),
        voxel_ml=np.concatenate([part.voxel_ml for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
    )


def in_region(labels: Labels, region: str) -> NDArray[np.bool_]:
    """Return which of ``labels`` belong to ``region``."""
    return np.isin(labels, REGIONS[region])


def apply_step(pieces: Pieces, step: Step) -> Pieces:
    """Return the pieces with the labels they have after ``step``."""
    inside = in_region(pieces.label, step.region)
    number, case = pieces.component[step.region], pieces.case
    if not inside.any():
        return pieces
    components = int(number[inside].max()) + 1
    voxels = pieces.voxels.sum(axis=1)
    size = np.zeros(components, np.int64)
    np.add.at(size, number[inside], voxels[inside])
    case_of = np.zeros(components, np.int64)
    case_of[number[inside]] = case[inside]
    if step.operation == LARGEST:
        # By case, the largest first, and of equal ones the first numbered: all but the first of each case are dropped.
        order = np.lexsort((np.arange(components), -size, case_of))
        dropped = np.ones(components, bool)
        dropped[order[np.unique(case_of[order], return_index=True)[1]]] = False
    else:
        assert step.value is not None
        total = np.bincount(case[inside], weights=voxels[inside], minlength=len(pieces.voxel_ml)) * pieces.voxel_ml
        volume = size * pieces.voxel_ml[case_of] if step.operation == MIN_VOLUME else total[case_of]
        dropped = volume < step.value * (1 - VOLUME_TOLERANCE)
    label = pieces.label.copy()
    label[np.flatnonzero(inside)[dropped[number[inside]]]] = step.becomes
    return replace(pieces, label=label)


def mean_dice(pieces: Pieces, region: str) -> float:
    """Return the mean Dice of ``region`` over the cases: 1 where it is empty in both maps, 0 where it is in one of them."""
    inside, cases = in_region(pieces.label, region), len(pieces.voxel_ml)
    values = list(REGIONS[region])
    size = np.bincount(pieces.case[inside], weights=pieces.voxels[inside].sum(axis=1), minlength=cases)
    hits = np.bincount(pieces.case[inside], weights=pieces.voxels[inside][:, values].sum(axis=1), minlength=cases)
    both = size + pieces.truth[:, values].sum(axis=1)
    dice = np.divide(2 * hits, both, out=np.ones(cases), where=both > 0)
    return fsum(dice) / cases  # exact, so that a mean changes only where a case does


def process_labels(labels: Labels, voxel_ml: float, steps: Sequence[Step]) -> Labels:
    """Return a label map (x, y, z) after ``steps``; ``voxel_ml``: ml of a voxel."""
    pieces, number = find_pieces(labels, voxel_ml)
    for step in steps:
        pieces = apply_step(pieces, step)
    return np.append(pieces.label, np.uint8(0))[number]
