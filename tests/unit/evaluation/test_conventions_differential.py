"""The conventions against other people's code, and against slow, plain accounts of what each tool does, on random masks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan

import numpy as np
import pytest
import SimpleITK
import surface_distance  # type: ignore[import-untyped]
from nnunetv2.evaluation.evaluate_predictions import compute_metrics
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

from glioflow.evaluation.conventions import conventions, lesion_conventions
from glioflow.evaluation.lesions import score_lesions
from glioflow.evaluation.metrics import Pair
from glioflow.imaging.labels import ED, ET, NCR, RC, REGIONS

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Spacing = tuple[float, float, float]

ALL = conventions()
SPACINGS: tuple[Spacing, ...] = ((1, 1, 1), (0.5, 0.5, 0.5), (0.9, 0.9, 5), (3, 1.1, 0.7))
# surface-distance 0.1 asks scipy for functions by the names of the packages that they have left.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def random_mask(seed: int, shape: tuple[int, int, int], smooth: float, share: float) -> Mask:
    """Return a mask of ``share`` of the voxels, never none: noise where ``smooth`` is 0, else blobs of about that width."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), smooth)
    return np.asarray(noise >= np.quantile(noise, 1 - share))


def random_pair(seed: int) -> tuple[Mask, Mask]:
    """Return two masks that overlap in part: noise, blobs, or a blob and its noisy double."""
    kind, shape = seed % 3, (13, 9, 11)
    if kind < 2:
        smooth = 1.5 * kind
        return random_mask(seed, shape, smooth, 0.15), random_mask(seed + 1000, shape, smooth, 0.2)
    mask = random_mask(seed, shape, 2, 0.3)
    return mask, mask ^ random_mask(seed + 1000, shape, 0, 0.05)


def score_all(truth: Mask, prediction: Mask, spacing: Spacing, names: Iterable[str] = ALL) -> dict[str, Mapping[str, float]]:
    """Return the numbers by convention."""
    pair = Pair(truth * np.uint8(ED), prediction * np.uint8(ED), spacing)
    found = {name: pair.score("WT", ALL[name]) for name in names}
    return {name: {c: value for c, value in one.items() if not isinstance(value, str)} for name, one in found.items()}


def score(name: str, truth: Mask, prediction: Mask, spacing: Spacing) -> Mapping[str, float]:
    return score_all(truth, prediction, spacing, [name])[name]


def check(found: Mapping[str, float], expected: Mapping[str, float], tolerance: float = 1e-6) -> None:
    for column, value in expected.items():
        assert found[column] == pytest.approx(value, abs=tolerance, nan_ok=True), column


PAIRS = pytest.mark.parametrize("seed", range(9))
EVERY_SPACING = pytest.mark.parametrize("spacing", SPACINGS)


# ---- surface-distance 0.1


@PAIRS
@EVERY_SPACING
def test_areas_are_those_of_surface_distance(seed: int, spacing: Spacing) -> None:
    truth, prediction = random_pair(seed)
    theirs = surface_distance.compute_surface_distances(truth, prediction, spacing)
    hd95 = surface_distance.compute_robust_hausdorff(theirs, 95)
    found = score_all(truth, prediction, spacing, ["surface_distance", *lesion_conventions()])
    check(
        found["surface_distance"],
        {
            "dice": surface_distance.compute_dice_coefficient(truth, prediction),
            "hausdorff": surface_distance.compute_robust_hausdorff(theirs, 100),
            "hd95_mm": hd95,
            "nsd_1mm": surface_distance.compute_surface_dice_at_tolerance(theirs, 1),
            "nsd_2mm": surface_distance.compute_surface_dice_at_tolerance(theirs, 2),
        },
    )
    for name in lesion_conventions():
        check(found[name], {"hd95_mm": hd95})


# ---- SimpleITK


def image(mask: Mask, spacing: Spacing) -> SimpleITK.Image:
    made = SimpleITK.GetImageFromArray(mask.astype(np.uint8).transpose(2, 1, 0))
    made.SetSpacing(spacing)
    return made


@PAIRS
@EVERY_SPACING
def test_overlaps_are_those_of_simpleitk(seed: int, spacing: Spacing) -> None:
    truth, prediction = random_pair(seed)
    measures = SimpleITK.LabelOverlapMeasuresImageFilter()
    measures.Execute(image(truth, spacing), image(prediction, spacing))
    for found in score_all(truth, prediction, spacing).values():
        check(found, {"dice": measures.GetDiceCoefficient(), "iou": measures.GetJaccardCoefficient()})


@PAIRS
@EVERY_SPACING
def test_the_longer_way_between_all_voxels_is_simpleitks(seed: int, spacing: Spacing) -> None:
    truth, prediction = random_pair(seed)
    distance = SimpleITK.HausdorffDistanceImageFilter()
    distance.Execute(image(truth, (1, 1, 1)), image(prediction, (1, 1, 1)))
    both_ways = [score("open_brats2020", *masks, spacing)["hausdorff"] for masks in ((truth, prediction), (prediction, truth))]
    assert max(both_ways) == pytest.approx(distance.GetHausdorffDistance(), abs=1e-5)


# ---- nnU-Net 2.8


class Arrays:
    """A reader of images for nnU-Net that has them already, by the names of files."""

    def __init__(self, **maps: Labels) -> None:
        self.maps = maps

    def read_seg(self, name: str) -> tuple[Labels, dict[str, object]]:
        return self.maps[name], {}


@pytest.mark.parametrize("empty", ["", "truth", "prediction", "truth prediction"])
@pytest.mark.parametrize("seed", range(3))
def test_overlaps_are_those_of_nnunet(seed: int, empty: str) -> None:
    rng = np.random.default_rng(seed)
    labels = [NCR, ED, ET]
    truth, prediction = (
        rng.choice([0, 0, *(label for label in labels if label != ET or side not in empty)], (6, 5, 4))
        for side in ("truth", "prediction")
    )
    truth, prediction = truth.astype(np.uint8), prediction.astype(np.uint8)
    regions = {region: tuple(values) for region, values in REGIONS.items() if region != "RC"}
    reader = Arrays(truth=truth, prediction=prediction)
    theirs = compute_metrics("truth", "prediction", reader, list(regions.values()))["metrics"]
    pair = Pair(truth, prediction, (1, 1, 1))
    for region, values in regions.items():
        found = pair.score(region, ALL["nnunet"])
        assert [found["dice"], found["iou"]] == pytest.approx([theirs[values]["Dice"], theirs[values]["IoU"]], nan_ok=True)
        assert found["volume_truth_ml"] == pytest.approx(theirs[values]["n_ref"] / 1000)


# ---- plain accounts with scipy


def rim(mask: Mask) -> Mask:
    return np.asarray(mask & ~ndimage.binary_erosion(mask))


def one_way(start: Mask, target: Mask, spacing: Spacing) -> Floats:
    return np.asarray(ndimage.distance_transform_edt(~target, sampling=spacing)[start], float)


def surface_ways(truth: Mask, prediction: Mask, spacing: Spacing) -> tuple[Floats, Floats]:
    """Return the distances of surface voxels from the truth to the prediction, and back."""
    first, second = rim(truth), rim(prediction)
    return one_way(first, second, spacing), one_way(second, first, spacing)


def by_medpy(truth: Mask, prediction: Mask, spacing: Spacing) -> Mapping[str, float]:
    there, back = surface_ways(truth, prediction, (1, 1, 1))
    every = np.concatenate([there, back])
    return {"hausdorff": every.max(), "hd95_mm": np.percentile(every, 95), "assd_mm": every.mean(), "masd_mm": nan}


def by_brats2020(truth: Mask, prediction: Mask, spacing: Spacing) -> Mapping[str, float]:
    return {"hausdorff": nan, "hd95_mm": by_medpy(truth, prediction, spacing)["hd95_mm"], "assd_mm": nan, "masd_mm": nan}


def by_metrics_reloaded(truth: Mask, prediction: Mask, spacing: Spacing) -> Mapping[str, float]:
    there, back = surface_ways(truth, prediction, spacing)
    return {
        "hausdorff": max(there.max(), back.max()),
        "hd95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd_mm": (there.sum() + back.sum()) / (len(there) + len(back)),
        "masd_mm": 0.5 * (there.mean() + back.mean()),
        "nsd_1mm": (np.sum(there <= 1) + np.sum(back <= 1)) / (len(there) + len(back)),
    }


def by_glioflow(truth: Mask, prediction: Mask, spacing: Spacing) -> Mapping[str, float]:
    there, back = surface_ways(truth, prediction, spacing)
    second = (np.sum(there <= 2) + np.sum(back <= 2)) / (len(there) + len(back))
    return {**by_metrics_reloaded(truth, prediction, spacing), "nsd_2mm": second}


def by_open_brats2020(truth: Mask, prediction: Mask, spacing: Spacing) -> Mapping[str, float]:
    return {"hausdorff": directed_hausdorff(np.argwhere(prediction), np.argwhere(truth))[0], "hd95_mm": nan, "assd_mm": nan}


ACCOUNTS: dict[str, Callable[[Mask, Mask, Spacing], Mapping[str, float]]] = {
    "medpy": by_medpy,
    "brats2020": by_brats2020,
    "metrics_reloaded": by_metrics_reloaded,
    "glioflow": by_glioflow,
    "open_brats2020": by_open_brats2020,
}


@PAIRS
@EVERY_SPACING
def test_distances_are_those_of_plain_accounts(seed: int, spacing: Spacing) -> None:
    truth, prediction = random_pair(seed)
    for name, found in score_all(truth, prediction, spacing, ACCOUNTS).items():
        check(found, ACCOUNTS[name](truth, prediction, spacing), 1e-9)


def test_a_prediction_of_nothing_is_at_no_distance_from_anything_in_open_brats2020() -> None:
    truth = random_mask(0, (5, 5, 5), 0, 0.2)
    theirs = directed_hausdorff(np.zeros((0, 3)), np.argwhere(truth))[0]
    assert score("open_brats2020", truth, np.zeros_like(truth), (1, 1, 1))["hausdorff"] == theirs == 0


# ---- lesions, told apart and counted step by step as BraTS has them

FACES_AND_EDGES, CORNERS_TOO = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3))


def grown(mask: Mask, times: int) -> Mask:
    return np.asarray(ndimage.binary_dilation(mask, FACES_AND_EDGES, iterations=times) if times else mask)


def parts(mask: Mask, times: int = 0) -> list[Mask]:
    """Return what each 26-connected component of the grown mask holds of the mask."""
    numbers, count = ndimage.label(grown(mask, times), CORNERS_TOO)
    return [mask & (numbers == number) for number in range(1, count + 1)]


def join_over(lesions: list[Mask], others: Sequence[Mask]) -> list[Mask]:
    """Return the lesions with those made one that touch one of the others."""
    for other in others:
        near = grown(other, 1)
        touching = [lesion for lesion in lesions if (lesion & near).any()]
        apart = [lesion for lesion in lesions if not (lesion & near).any()]
        lesions = [*apart, np.any(touching, axis=0)] if touching else lesions
    return lesions


def found_lesions(labels: Labels, region: str, name: str, side: str, voxel_mm3: float) -> list[Mask]:
    """Return the lesions of a region in the truth or the prediction."""
    rules = ALL[name].lesions
    assert rules is not None

    def of(region: str) -> list[Mask]:
        mask = np.isin(labels, REGIONS[region])
        if side == "truth":
            return parts(mask, rules.dilation[region])
        if not rules.group_predicted:
            return parts(mask)
        grouped = parts(mask, rules.dilation[region])
        return [lesion for lesion in grouped if lesion.sum() * voxel_mm3 > rules.min_volume_mm3[region]]

    return join_over(of(region), [lesion for other in rules.united_by.get(region, []) for lesion in of(other)])


def plain_lesion_scores(truth: Labels, prediction: Labels, spacing: Spacing, region: str, name: str) -> Mapping[str, float]:
    """Return the lesion-wise scores: a loop over the true lesions, with surface-distance's HD95."""
    rules = ALL[name].lesions
    assert rules is not None
    assert isinstance(rules.hd95_penalty_mm, float)
    voxel_mm3 = float(np.prod(spacing))
    true, predicted = (
        found_lesions(labels, region, name, side, voxel_mm3) for labels, side in ((truth, "truth"), (prediction, "prediction"))
    )
    met_any = [False] * len(predicted)
    dice, hd95, found, missed = list[float](), list[float](), 0, 0
    for lesion in true:
        reach = grown(lesion, rules.dilation[region])
        met = [bool((reach & one).any()) for one in predicted]
        met_any = [before or now for before, now in zip(met_any, met, strict=True)]
        if lesion.sum() * voxel_mm3 <= rules.min_volume_mm3[region]:
            continue
        if not any(met):
            missed += 1
            dice.append(0)
            hd95.append(rules.hd95_penalty_mm)
            continue
        found += 1
        theirs = np.any([one for one, is_met in zip(predicted, met, strict=True) if is_met], axis=0)
        dice.append(2 * (lesion & theirs).sum() / (lesion.sum() + theirs.sum()))
        measured = surface_distance.compute_surface_distances(lesion, theirs, spacing)
        hd95.append(surface_distance.compute_robust_hausdorff(measured, 95))
    false = met_any.count(False)
    scored = len(dice) + false
    return {
        "lesion_dice": sum(dice) / scored if scored else 1,
        "lesion_hd95_mm": (sum(hd95) + false * rules.hd95_penalty_mm) / scored if scored else 0,
        "lesion_sens": found / (found + missed) if found + missed else nan,
        "lesion_precision": found / (found + false) if found + false else nan,
        "lesion_f1": 2 * found / (2 * found + missed + false) if found + missed + false else nan,
        "lesions_truth": found + missed,
        "lesions_found": found,
        "lesions_false": false,
    }


def tumours(seed: int) -> tuple[Labels, Labels]:
    """Return two maps with several lesions of several labels, some in both, some in one only, some small, some near another.

    Two far ends of a bar are of another label than the bar, which is whole in one map or in both.
    """
    rng = np.random.default_rng(seed)
    maps = np.zeros((48, 46, 26), np.uint8), np.zeros((48, 46, 26), np.uint8)

    def put(label: int, start: NDArray[np.int64], size: NDArray[np.int64], truth: bool, prediction: bool) -> None:
        for labels, there in zip(maps, (truth, prediction), strict=True):
            if there:
                moved = start + rng.integers(0, 2, 3)
                labels[tuple(slice(a, a + n) for a, n in zip(moved, size, strict=True))] = label

    for _ in range(12):
        fate = rng.random()
        put(rng.choice([ED, NCR, ET, ET, RC]), rng.integers(0, (40, 38, 18)), rng.integers(2, 8, 3), fate < 0.6, fate > 0.4)
    for _ in range(2):
        end, bar = rng.choice([(ET, NCR), (ET, RC), (NCR, RC), (RC, ET), (ED, ET)]) if seed % 2 else (ET, NCR)
        start, fate = rng.integers(0, (16, 24, 20)), rng.random()
        put(end, start, np.array([5, 4, 4]), True, True)
        put(end, start + np.array([22, 0, 0]), np.array([5, 4, 4]), True, True)
        put(bar, start + np.array([4, 0, 0]), np.array([19, 5, 5]), fate < 0.7, fate > 0.3)
    return maps


LESION_SPACINGS: tuple[Spacing, ...] = ((1, 1, 1), (1, 1, 2.5))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", LESION_SPACINGS)
@pytest.mark.parametrize("name", lesion_conventions())
def test_lesions_are_those_of_a_plain_account(name: str, spacing: Spacing, seed: int) -> None:
    truth, prediction = tumours(seed)
    rules = ALL[name].lesions
    assert rules is not None
    found = score_lesions(Pair(truth, prediction, spacing), list(rules.dilation), rules, ALL[name])
    for region in rules.dilation:
        check(found[region], plain_lesion_scores(truth, prediction, spacing, region, name))


@pytest.mark.parametrize("name", lesion_conventions())
def test_the_random_lesions_are_of_every_fate(name: str) -> None:
    rules = ALL[name].lesions
    assert rules is not None
    fates = np.zeros(5, int)
    for seed in range(6):
        truth, prediction = tumours(seed)
        one = plain_lesion_scores(truth, prediction, (1, 1, 1), "ET", name)
        small = [mask for mask in found_lesions(truth, "ET", name, "truth", 1) if mask.sum() <= rules.min_volume_mm3["ET"]]
        near = len(parts(truth == ET)) - len(found_lesions(truth, "ET", name, "truth", 1))
        missed = one["lesions_truth"] - one["lesions_found"]
        fates += np.sign([one["lesions_found"], missed, one["lesions_false"], len(small), near]).astype(int)
    assert (fates > 0).all(), fates


@pytest.mark.parametrize("name", ["brats2024_gli", "brats_africa"])
def test_some_random_lesions_are_united(name: str) -> None:
    rules = ALL[name].lesions
    assert rules is not None
    apart = rules.model_copy(update={"united_by": {}})
    pairs = [Pair(*tumours(seed), (1, 1, 1)) for seed in range(6)]
    counts = [[score_lesions(pair, ["ET"], one, ALL[name])["ET"]["lesions_truth"] for pair in pairs] for one in (rules, apart)]
    assert counts[0] != counts[1]
