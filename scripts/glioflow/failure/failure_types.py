"""What kind of failure keeps a region from a Dice of 1, case by case, from the true and the predicted label map.

Every wrong voxel of a region gets the first kind that fits it, so that the kinds are exhaustive and exclude one another:

===========================  ===================================================================================================
missed, false                when
===========================  ===================================================================================================
missed_lesion, false_lesion  its component of the region (in the map that has it, 26-connected) is covered by at most a tenth by
                             the other map's whole tumour, or by the region there: a resection cavity lies outside the tumour
swap_out, swap_in            the other map has another label there
boundary_in, boundary_out    it is within max(2 mm, the largest voxel edge) of the other map's region
under, over                  the rest: further away, but of a lesion that both maps have
===========================  ===================================================================================================

The first of each pair is a false negative (a voxel of the truth that the prediction lacks), the second a false positive.

How much a kind costs is told by oracle repair, as TIDE does for detectors (Bolya et al. 2020, ECCV, arXiv:2008.08115) after
Hoiem et al. (2012, ECCV, doi:10.1007/978-3-642-33712-3_25): repaired false negatives become true positives, repaired false
positives vanish. ``gain`` is what the Dice gains where one kind alone is repaired. Gains do not add up, since what a repair is
worth depends on what else is wrong. ``share`` does: it is the kind's Shapley value (Shapley 1953), the mean gain of its repair
over all orders in which the kinds can be repaired, and the shares add up to 1 - Dice.

The error that is farthest from the other map's region is described as well, since it alone sets the Hausdorff distance between
the two masks' voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import factorial, inf, nan, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glioflow.evaluation.conventions import Convention, Neighbours
from glioflow.evaluation.metrics import (
    NOTE_BOTH_EMPTY,
    NOTE_PREDICTION_EMPTY,
    NOTE_TRUTH_EMPTY,
    PENALTY,
    PREDICTION,
    TRUTH,
    Pair,
    ratio,
    unlabelled_score,
    unseen_score,
)
from glioflow.evaluation.scoring import Plan
from glioflow.evaluation.surfaces import ROUNDING, Floats, Mask, Places, Spacing, Surface, measure
from glioflow.imaging.components import number_components
from glioflow.imaging.labels import ED, ET, LABEL_COUNT, NCR, RC, Labels

# Of each map, the kinds in the order in which they are tried: false negatives of the truth, false positives of the prediction.
KINDS_OF = {
    TRUTH: ("missed_lesion", "swap_out", "boundary_in", "under"),
    PREDICTION: ("false_lesion", "swap_in", "boundary_out", "over"),
}
KINDS = tuple(kind for pair in zip(KINDS_OF[TRUTH], KINDS_OF[PREDICTION], strict=True) for kind in pair)
LESION, SWAP, BOUNDARY, REST = range(4)

COVERED = 0.1  # of a component, by the other map's tumour; TIDE takes an overlap of as much for none (its t_b)
BOUNDARY_MM = 2.0  # a choice of this workflow: two voxels of BraTS's images
CONNECTIVITY: Neighbours = 26  # as in the BraTS challenges' lesion-wise scores (glioflow.imaging.components)

NOTHING_FOUND, NOTHING_THERE = "nothing_found", "nothing_there"
# Of which of the maps, truth and prediction, has the region. No penalty is counted here.
NOTES_OF_EMPTY = {
    (False, False): NOTE_BOTH_EMPTY,
    (True, False): NOTE_PREDICTION_EMPTY.removeprefix(f"{PENALTY}: "),
    (False, True): NOTE_TRUTH_EMPTY.removeprefix(f"{PENALTY}: "),
}
LABEL_NAMES = {0: "background", NCR: "NCR", ED: "ED", ET: "ET", RC: "RC"}

COLUMNS = (
    *("patient_id", "case_id", "label", "dice", "flag", "dominant"),
    *(f"n_{kind}" for kind in KINDS),
    *(f"ml_{kind}" for kind in KINDS),
    *(f"gain_{kind}" for kind in KINDS),
    *(f"share_{kind}" for kind in KINDS),
    *("swap_out_pair", "swap_in_pair", "missed_lesions", "false_lesions"),
    *("farthest_kind", "farthest_ml", "farthest_mm", "note"),
)
WHOLE_NUMBERS = (*(f"n_{kind}" for kind in KINDS), "missed_lesions", "false_lesions")

Kinds = NDArray[np.int8]


@dataclass(frozen=True)
class Errors:
    """The voxels of a region that one map has and the other has not, n of them.

    ``places`` (n,): rising flat indices into the pair's box. ``kinds`` (n,): 0 to 3, indices into ``KINDS_OF`` of the map.
    ``mm`` (n,): distance to the nearest voxel of the region in the other map, infinite where that has none. ``own`` (n,):
    number of each voxel's component; ``sizes``: voxels of each component, by number. ``lesions``: how many components are
    missed, or false. ``others`` (n,): the other map's label there.
    """

    places: Places
    kinds: Kinds
    mm: Floats
    own: Places
    sizes: Places
    lesions: int
    others: Labels


def find_errors(pair: Pair, region: str, side: int) -> Errors:
    """Return the wrong voxels of a region in the truth (``side`` 0: false negatives) or the prediction (1: false positives)."""
    here, there = pair.mask(region, side), pair.mask(region, 1 - side)
    places = np.flatnonzero(here & ~there)
    if not len(places):
        none = np.zeros(0, np.int64)
        return Errors(places, none.astype(np.int8), none.astype(float), none, none, 0, none.astype(np.uint8))
    numbers = number_components(here, CONNECTIVITY).ravel()
    everywhere = np.flatnonzero(here)
    of_voxel = numbers[everywhere]
    sizes = np.bincount(of_voxel)
    tumour = (pair.mask("WT", 1 - side) | there).ravel()[everywhere]
    lesion = np.bincount(of_voxel[tumour], minlength=len(sizes)) <= COVERED * sizes
    own, others = numbers[places], pair.maps[1 - side].ravel()[places]
    mm = distances_to(pair, region, places, 1 - side)
    near = mm <= max(BOUNDARY_MM, *pair.spacing) * (1 + ROUNDING)
    kinds = np.select([lesion[own], others != 0, near], [LESION, SWAP, BOUNDARY], REST).astype(np.int8)
    return Errors(places, kinds, mm, own.astype(np.int64), sizes, int(np.count_nonzero(lesion[1:])), others)


def distances_to(pair: Pair, region: str, places: Places, side: int) -> Floats:
    """Return how far voxels outside a region are from its nearest voxel in the truth (``side`` 0) or the prediction (1), in mm.

    ``places`` (n,): rising flat indices into the pair's box. Infinite where the map has no voxel of the region. The nearest
    voxel of a mask from outside is on its surface, as a step from any other one towards the outside stays in the mask.
    """
    surface = pair.surface(region, "voxels", pair.spacing, side)
    if not len(surface.places):
        return np.full(len(places), inf)
    return measure(Surface(surface.shape, places), surface, pair.spacing).mm


def repaired_dice(tp: int, missed: Floats, false: Floats, repaired: Mask) -> Floats:
    """Return the Dice after each of some repairs.

    ``tp``: true positives; ``missed``, ``false`` (4,): false negatives and false positives by kind; ``repaired`` (m, 8): the
    kinds that each of the m repairs takes in, those of ``missed`` first. A region that neither map has any more is right: 1.
    """
    count = len(missed)
    found = tp + repaired[:, :count] @ missed
    wrong = ~repaired[:, :count] @ missed + ~repaired[:, count:] @ false
    return np.divide(2 * found, 2 * found + wrong, out=np.ones(len(repaired)), where=2 * found + wrong > 0)


@cache
def _repairs() -> tuple[Mask, Floats]:
    """Return every set of kinds (256, 8), and the weights (8, 256) that make Shapley values of the values of these sets.

    The marginal gain of a kind over a set of s others counts s! (7 - s)! / 8! (Shapley 1953).
    """
    players = len(KINDS)
    sets = (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)
    weights = np.zeros((players, len(sets)))
    for index, chosen in enumerate(sets):
        for player in range(players):
            others = int(chosen.sum()) - int(chosen[player])
            weight = factorial(others) * factorial(players - 1 - others) / factorial(players)
            weights[player, index] = weight if chosen[player] else -weight
    return sets, weights


def gains_and_shares(tp: int, missed: Sequence[int], false: Sequence[int]) -> tuple[Floats, Floats]:
    """Return what the Dice gains where each kind alone is repaired, and each kind's share of 1 - Dice; both (8,).

    ``tp``: true positives; ``missed``, ``false``: false negatives and false positives by kind, four each. The kinds of
    ``missed`` come first. The shares are exact Shapley values, over all 256 sets of kinds.
    """
    sets, weights = _repairs()
    dice = repaired_dice(tp, np.asarray(missed, float), np.asarray(false, float), sets)
    there = np.array([*missed, *false]) > 0  # rounding would leave a trace of the other kinds
    return dice[1 << np.arange(len(KINDS))] - dice[0], np.where(there, weights @ dice, 0.0)


def classify_region(pair: Pair, region: str, convention: Convention) -> dict[str, Any]:
    """Return a region's row of ``COLUMNS`` but the ids: kinds of errors, what they cost, and the farthest of them."""
    missed, false = (find_errors(pair, region, side) for side in (TRUTH, PREDICTION))
    fn, fp = (np.bincount(errors.kinds, minlength=len(KINDS_OF[TRUTH])).tolist() for errors in (missed, false))
    true, predicted = (int(np.count_nonzero(pair.mask(region, side))) for side in (TRUTH, PREDICTION))
    row: dict[str, Any] = {"label": region, "dice": dice_of(true, predicted, true - sum(fn), convention), "dominant": ""}
    row["flag"] = (NOTHING_FOUND if true else NOTHING_THERE) if bool(true) != bool(predicted) else ""
    row["note"] = NOTES_OF_EMPTY.get((bool(true), bool(predicted)), "")
    names = KINDS_OF[TRUTH] + KINDS_OF[PREDICTION]
    voxels = dict(zip(names, fn + fp, strict=True))
    gains, shares = gains_and_shares(true - sum(fn), fn, fp)
    gain, share = dict(zip(names, gains.tolist(), strict=True)), dict(zip(names, shares.tolist(), strict=True))
    voxel_ml = prod(pair.spacing) / 1000.0
    for kind in KINDS:
        row[f"n_{kind}"], row[f"ml_{kind}"] = voxels[kind], voxels[kind] * voxel_ml
        row[f"gain_{kind}"], row[f"share_{kind}"] = gain[kind], share[kind]
    if sum(fn) or sum(fp):
        # Where a map has nothing of the region, kinds that must all be repaired before the Dice moves have equal shares.
        row["dominant"] = max(KINDS, key=lambda kind: (round(share[kind], 12), voxels[kind]))
    row["swap_out_pair"] = swapped_pair(pair, missed, TRUTH)
    row["swap_in_pair"] = swapped_pair(pair, false, PREDICTION)
    row["missed_lesions"], row["false_lesions"] = missed.lesions, false.lesions
    return row | farthest_error(pair, region, missed, false, voxel_ml)


def dice_of(true: int, predicted: int, both: int, convention: Convention) -> float:
    """Return the Dice of a region under a convention, given the voxels of the truth, the prediction and both."""
    formula = ratio(2 * both, true + predicted)
    if true and predicted:
        return formula
    rules = convention.empty
    said = (rules.prediction if true else rules.truth if predicted else rules.both).dice
    return {"formula": formula, "undefined": nan, "infinite": inf}[said] if isinstance(said, str) else float(said)


def swapped_pair(pair: Pair, errors: Errors, side: int) -> str:
    """Return the labels that most swapped voxels have, true then predicted, such as ``ET>NCR``; nothing where none is."""
    swapped = errors.kinds == SWAP
    if not swapped.any():
        return ""
    here, there = pair.maps[side].ravel()[errors.places[swapped]], errors.others[swapped]
    true, predicted = (here, there) if side == TRUTH else (there, here)
    most = int(np.bincount(true * np.uint8(LABEL_COUNT) + predicted).argmax())
    return f"{LABEL_NAMES[most // LABEL_COUNT]}>{LABEL_NAMES[most % LABEL_COUNT]}"


def farthest_error(pair: Pair, region: str, missed: Errors, false: Errors, voxel_ml: float) -> dict[str, Any]:
    """Return the kind of the error voxel farthest from the other map's region, its distance in mm and how large it is in ml.

    That is the volume of the missed or false lesion that it belongs to; of other kinds, that of the connected false negatives,
    or false positives, around it. Nothing where there is no error or a map has nothing of the region.
    """
    worst, side = max(((errors.mm.max(initial=0.0), side) for side, errors in enumerate((missed, false))), key=lambda at: at[0])
    if not 0 < worst < inf:
        return {"farthest_kind": "", "farthest_ml": nan, "farthest_mm": nan}
    errors = (missed, false)[side]
    at = int(errors.mm.argmax())
    if errors.kinds[at] == LESION:
        voxels = int(errors.sizes[errors.own[at]])
    else:
        wrong = pair.mask(region, side) & ~pair.mask(region, 1 - side)
        numbers = number_components(wrong, CONNECTIVITY).ravel()[errors.places]
        voxels = int(np.count_nonzero(numbers == numbers[at]))
    kind = KINDS_OF[side][int(errors.kinds[at])]
    return {"farthest_kind": kind, "farthest_ml": voxels * voxel_ml, "farthest_mm": float(worst)}


def classify_pair(truth: Labels, prediction: Labels, spacing: Spacing, plan: Plan) -> dict[str, Any]:
    """Return ``rows``, the failures of a prediction, one for each region of the plan, and ``confusion``, ml by both labels.

    ``truth`` and ``prediction``: canonical label maps (x, y, z) of one shape; ``spacing``: mm per axis. A region that the truth
    or the model's masks cannot show has a row with its note alone. ``confusion``: rows by true, columns by predicted label.
    """
    pair = Pair(truth, prediction, spacing)
    rows = []
    for region in plan.regions:
        if region in plan.visible:
            rows.append(classify_region(pair, region, plan.convention))
        elif plan.truth_regions is not None and region not in plan.truth_regions:
            rows.append({"label": region, "note": unlabelled_score(region, plan.truth_regions, plan.convention)["note"]})
        else:
            score = unseen_score(truth, spacing, region, plan.trained_regions or (), plan.convention)
            rows.append({"label": region, "note": score["note"]})
    return {"rows": rows, "confusion": (pair.joint * prod(pair.spacing) / 1000.0).tolist()}
