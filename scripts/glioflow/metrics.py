"""How well a predicted label map agrees with the true one, region by region.

Counts. With TP, FP, FN and TN the voxels of a region in both maps, in the prediction only, in the truth only and in neither
(all voxels of the image): dice = 2 TP / (2 TP + FP + FN), iou = TP / (TP + FP + FN), sens = TP / (TP + FN),
spec = TN / (TN + FP), precision = TP / (TP + FP). A ratio of nothing to nothing is undefined (NaN).

Distances, in mm between voxel centres. The surface of a mask is its voxels that have at least one of their 6 face neighbours
outside it; beyond the image's border is outside (as MedPy `metric/binary.py` and MONAI `metrics/utils.py` have it). Each
surface voxel of one mask has a distance to the nearest surface voxel of the other; this gives two directed sets.

- hausdorff: the larger of the two directed maxima.
- hd95_mm: the larger of the two directed 95th percentiles, every surface voxel of one weight, percentiles by linear
  interpolation (as MONAI and MetricsReloaded `pairwise_measures.py`; MedPy pools both directions, surface-distance and the
  BraTS code weigh by area, and their values differ).
- assd_mm: the mean over the voxels of both surfaces together (as MetricsReloaded and MedPy).

Empty masks, the convention `glioflow`. Where only one mask is empty the distances are the diagonal of the image: no distance
within it is longer, so a miss ranks behind every hit. (BraTS does the same with the constant 374 mm, about the diagonal of
its 240 x 240 x 155 mm images; rachitsaluja/BraTS-2023-Metrics `metrics.py`.)

| truth | prediction | dice, iou | sens      | precision | spec    | distances         | note                            |
|-------|------------|-----------|-----------|-----------|---------|-------------------|---------------------------------|
| empty | empty      | undefined | undefined | undefined | 1       | undefined         | absent in truth and prediction  |
| empty | some       | 0         | undefined | 0         | defined | image diagonal    | penalty: absent in truth        |
| some  | empty      | 0         | 0         | undefined | 1       | image diagonal    | penalty: absent in prediction   |
| some  | some       | defined   | defined   | defined   | defined | defined           | (none)                          |

Where the truth fills the whole image there is no negative to find and spec is undefined.

A region that a model cannot tell from others, because it was trained on coarser ones, is not applicable: it has a truth and
nothing else, and its note begins with ``NOT_APPLICABLE``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, prod

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from glioflow.labels import RC, REGIONS, region_mask

# Part of every stored score's key: raise it whenever a value of any metric changes.
METRICS_VERSION = 1

PENALTY = "penalty"
NOTE_BOTH_EMPTY = "absent in truth and prediction"
NOTE_TRUTH_EMPTY = f"{PENALTY}: absent in truth"
NOTE_PREDICTION_EMPTY = f"{PENALTY}: absent in prediction"
NOT_APPLICABLE = "not applicable"

LABEL_COUNT = RC + 1  # the background and the canonical labels
HD95_PERCENTILE = 95.0  # Menze et al. 2015 (BraTS), doi:10.1109/TMI.2014.2377694
# The same answers as scipy's default tree, built and searched in two thirds of the time on surfaces of 20,000 voxels.
TREE = {"leafsize": 32, "balanced_tree": False, "compact_nodes": False}
# More voxels than any tumour's surface at 1 mm: a prediction of noise or of everything, for which a distance transform of the
# whole box is several times faster than a tree.
TREE_LIMIT = 100_000

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class RegionScore:
    """The scores of one region; undefined values are NaN, ``note`` says why or names the penalty."""

    label: str
    hausdorff: float
    dice: float
    sens: float
    spec: float
    iou: float
    precision: float
    hd95_mm: float
    assd_mm: float
    volume_truth_ml: float
    volume_prediction_ml: float
    note: str


def score_regions(
    truth: Labels, prediction: Labels, spacing: Sequence[float], regions: Sequence[str], diagonal_mm: float
) -> list[RegionScore]:
    """Return one score per region name of ``regions``, in their order.

    ``truth`` and ``prediction``: canonical label maps (x, y, z) of one shape. ``spacing``: mm per axis. ``diagonal_mm``: the
    distance that stands for a miss, the image's diagonal.

    Raises ValueError where the shapes differ or a label is not canonical.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    box = foreground_box(truth, prediction)
    # C order, because the surface search runs fastest over it; NIfTI arrays come in Fortran order.
    inner_truth, inner_prediction = np.ascontiguousarray(truth[box]), np.ascontiguousarray(prediction[box])
    joint = joint_histogram(inner_truth, inner_prediction)
    joint[0, 0] += truth.size - inner_truth.size
    return [score_region(inner_truth, inner_prediction, joint, spacing, region, diagonal_mm) for region in regions]


def score_region(
    truth: Labels, prediction: Labels, joint: NDArray[np.int64], spacing: Sequence[float], region: str, diagonal_mm: float
) -> RegionScore:
    """Return the score of one region.

    ``truth`` and ``prediction`` need be no more than the box of the foreground; ``joint`` counts the voxels of the whole image.
    """
    inside = np.isin(np.arange(LABEL_COUNT), REGIONS[region])
    tp = int(joint[np.ix_(inside, inside)].sum())
    fp = int(joint[np.ix_(~inside, inside)].sum())
    fn = int(joint[np.ix_(inside, ~inside)].sum())
    tn = int(joint[np.ix_(~inside, ~inside)].sum())
    in_truth, in_prediction = tp + fn > 0, tp + fp > 0
    if in_truth and in_prediction:
        hausdorff, hd95, assd = surface_distances(region_mask(truth, region), region_mask(prediction, region), spacing)
        note = ""
    elif in_truth or in_prediction:
        hausdorff = hd95 = assd = diagonal_mm
        note = NOTE_PREDICTION_EMPTY if in_truth else NOTE_TRUTH_EMPTY
    else:
        hausdorff = hd95 = assd = nan
        note = NOTE_BOTH_EMPTY
    voxel_mm3 = prod(float(step) for step in spacing)
    return RegionScore(
        label=region,
        hausdorff=hausdorff,
        dice=ratio(2 * tp, 2 * tp + fp + fn),
        sens=ratio(tp, tp + fn),
        spec=ratio(tn, tn + fp),
        iou=ratio(tp, tp + fp + fn),
        precision=ratio(tp, tp + fp),
        hd95_mm=hd95,
        assd_mm=assd,
        volume_truth_ml=(tp + fn) * voxel_mm3 / 1000.0,
        volume_prediction_ml=(tp + fp) * voxel_mm3 / 1000.0,
        note=note,
    )


def unseen_score(truth: Labels, spacing: Sequence[float], region: str, trained: Sequence[str]) -> RegionScore:
    """Return the score of a region that a model of the ``trained`` regions cannot show: the truth's volume, and the reason."""
    volume_ml = int(np.count_nonzero(region_mask(truth, region))) * prod(float(step) for step in spacing) / 1000.0
    undefined = {name: nan for name in RegionScore.__dataclass_fields__ if name not in ("label", "volume_truth_ml", "note")}
    names = " and ".join([*filter(None, [", ".join(trained[:-1])]), *trained[-1:]])
    return RegionScore(
        **undefined, label=region, volume_truth_ml=volume_ml, note=f"{NOT_APPLICABLE}: the model predicts {names} only"
    )


def ratio(part: int, whole: int) -> float:
    """Return ``part / whole``, NaN where there is no whole."""
    return part / whole if whole else nan


def foreground_box(truth: Labels, prediction: Labels) -> tuple[slice, slice, slice]:
    """Return the smallest box (slices along x, y, z) that holds every non-zero voxel of both maps; empty slices if none."""
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


def surface(mask: Mask) -> Mask:
    """Return the voxels of a 3D mask that have a face neighbour outside it; beyond the array is outside."""
    on_surface = mask.copy()
    core = (slice(1, -1),) * 3
    enclosed = mask[core].copy()
    for axis in range(3):
        for neighbour in (slice(None, -2), slice(2, None)):
            enclosed &= mask[(*core[:axis], neighbour, *core[axis + 1 :])]
    on_surface[core] &= ~enclosed
    return on_surface


def surface_distances(truth: Mask, prediction: Mask, spacing: Sequence[float]) -> tuple[float, float, float]:
    """Return hausdorff, hd95 and assd in mm of two masks (x, y, z) of one shape, neither of them empty."""
    truth_surface, prediction_surface = surface(truth), surface(prediction)
    to_prediction = directed_distances(truth_surface, prediction_surface, spacing)
    to_truth = directed_distances(prediction_surface, truth_surface, spacing)
    return (
        float(max(to_prediction.max(), to_truth.max())),
        larger_percentile(to_prediction, to_truth),
        float((to_prediction.sum() + to_truth.sum()) / (len(to_prediction) + len(to_truth))),
    )


def larger_percentile(to_prediction: NDArray[np.float64], to_truth: NDArray[np.float64]) -> float:
    """Return the hd95 in mm of two directed sets of distances, neither of them empty."""
    return float(max(np.percentile(to_prediction, HD95_PERCENTILE), np.percentile(to_truth, HD95_PERCENTILE)))


def directed_distances(start: Mask, target: Mask, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the distance in mm of every True voxel of ``start`` to the nearest of ``target``, in no particular order."""
    distances = np.zeros(np.count_nonzero(start))  # a voxel on both surfaces is at distance 0 and needs no search
    apart = start & ~target
    searched = np.count_nonzero(apart)
    if searched and max(searched, np.count_nonzero(target)) > TREE_LIMIT:
        distances[:searched] = distance_transform_edt(~target, sampling=spacing)[apart]
    elif searched:
        distances[:searched] = cKDTree(centres_mm(target, spacing), **TREE).query(centres_mm(apart, spacing))[0]
    return distances


def centres_mm(mask: Mask, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the centres (n, 3) in mm, from the first voxel's, of the True voxels of a 3D mask."""
    # np.argwhere gives the same and takes four times as long.
    indices = np.unravel_index(np.flatnonzero(mask), mask.shape)
    return np.stack([index * float(step) for index, step in zip(indices, spacing, strict=True)], axis=1)
