"""Time the scoring of one case against peer libraries, and compare the values.

Usage: python benchmarks/score_cases.py [--truth T.nii.gz --prediction P.nii.gz [--scheme 1:3,2:1,3:2]] [--repeats 5]

Without files a made-up pair of 240 x 240 x 155 voxels at 1 mm is scored. ``--scheme`` maps the files' raw values to the
canonical 1 = NCR, 2 = ED, 3 = ET. Peers that are not installed are left out.

Every contender computes Dice, IoU, sensitivity, specificity, precision, Hausdorff, HD95 and ASSD of WT, TC and ET from two
label maps in memory. The contenders take turns, so that what else the machine does falls on all of them; processor time stands
beside the clock's because it is the steadier figure on a busy machine. MedPy and SimpleITK are timed on the whole image, as
their users call them, and on the box of the foreground, which is fairer to their speed (specificity is then of the box only).
"""

import argparse
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from glioflow.labels import ED, ET, NCR, canonical_labels, region_mask
from glioflow.metrics import foreground_box, score_regions
from glioflow.volumes import read_volume

Labels = NDArray[np.uint8]
Spacing = tuple[float, float, float]
Values = dict[tuple[str, str], float]
Scorer = Callable[[Labels, Labels, Spacing], Values]
REGIONS = ("WT", "TC", "ET")
METRICS = ("dice", "iou", "sens", "spec", "precision", "hausdorff", "hd95_mm", "assd_mm")
SHAPE = (240, 240, 155)
# Where a peer's definition is another one: its values differ by more than rounding, and should.
OTHER_DEFINITION = {
    ("MedPy", "hd95_mm"): "pools both directions",
    ("MedPy, boxed", "hd95_mm"): "pools both directions",
    ("MedPy, boxed", "spec"): "of the box, not of the image",
    ("SimpleITK, boxed", "spec"): "of the box, not of the image",
}


def glioflow_scores(truth: Labels, prediction: Labels, spacing: Spacing) -> Values:
    scores = score_regions(truth, prediction, spacing, REGIONS, float("nan"))
    return {(score.label, metric): getattr(score, metric) for score in scores for metric in METRICS}


def medpy_scores(truth: Labels, prediction: Labels, spacing: Spacing) -> Values:
    from medpy.metric import binary  # type: ignore[import-untyped]

    found: Values = {}
    for region in REGIONS:
        masks = region_mask(prediction, region), region_mask(truth, region)
        counts = (binary.dc, binary.jc, binary.sensitivity, binary.specificity, binary.precision)
        values = [f(*masks) for f in counts] + [f(*masks, spacing) for f in (binary.hd, binary.hd95, binary.assd)]
        found.update({(region, metric): float(value) for metric, value in zip(METRICS, values, strict=True)})
    return found


def simpleitk_scores(truth: Labels, prediction: Labels, spacing: Spacing) -> Values:
    import SimpleITK

    found: Values = {}
    for region in REGIONS:
        images = []
        for labels in (prediction, truth):
            image = SimpleITK.GetImageFromArray(region_mask(labels, region).astype(np.uint8).T)
            image.SetSpacing(spacing)
            images.append(image)
        overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*images)
        surfaces = [SimpleITK.LabelContour(image, fullyConnected=False) for image in images]
        fields = [SimpleITK.SignedMaurerDistanceMap(s, squaredDistance=False, useImageSpacing=True) for s in surfaces]
        onto = [SimpleITK.GetArrayViewFromImage(s) > 0 for s in surfaces]
        there, back = (np.abs(SimpleITK.GetArrayViewFromImage(f)[s]) for f, s in zip(fields, reversed(onto), strict=True))
        values = (
            overlap.GetDiceCoefficient(1),
            overlap.GetJaccardCoefficient(1),
            1 - overlap.GetFalseNegativeError(1),
            1 - overlap.GetFalsePositiveError(1),
            1 - overlap.GetFalseDiscoveryRate(1),
            max(there.max(), back.max()),
            max(np.percentile(there, 95), np.percentile(back, 95)),
            np.concatenate([there, back]).mean(dtype=np.float64),
        )
        found.update({(region, metric): float(value) for metric, value in zip(METRICS, values, strict=True)})
    return found


def boxed(score: Scorer) -> Scorer:
    def score_box(truth: Labels, prediction: Labels, spacing: Spacing) -> Values:
        # A margin of one voxel, because ITK takes no outside beyond the border for a neighbour.
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in foreground_box(truth, prediction))
        return score(truth[box], prediction[box], spacing)

    return score_box


def made_up_pair() -> tuple[Labels, Labels]:
    """Return a lobed tumour of about 150 ml with a core, and a prediction of it that is shifted and has a false spot."""
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in SHAPE), indexing="ij"))

    def tumour(centre: tuple[float, float, float], swell: float) -> Labels:
        offset = grid - np.array(centre, np.float32)[:, None, None, None]
        radius = np.sqrt((offset**2).sum(axis=0))
        lobes = swell + 4 * np.sin(offset[0] / 5) * np.cos(offset[1] / 4) + 2 * np.sin(offset[2] / 3)
        labels = np.zeros(SHAPE, np.uint8, order="F")  # the order in which NIfTI files are read
        for label, limit in ((ED, 32), (ET, 18), (NCR, 11)):
            labels[radius < limit + lobes] = label
        return labels

    truth, prediction = tumour((90, 130, 80), 0.0), tumour((91, 129, 80.5), -1.0)
    prediction[150:156, 100:106, 90:94] = ED
    return truth, prediction


def read_pair(truth: Path, prediction: Path, scheme: str) -> tuple[Labels, Labels, Spacing]:
    raw_to_canonical = {int(raw): int(label) for raw, label in (pair.split(":") for pair in scheme.split(","))}
    first, second = read_volume(truth), read_volume(prediction)
    maps = (canonical_labels(volume.data, raw_to_canonical)[0] for volume in (first, second))
    return *maps, first.spacing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--prediction", type=Path)
    parser.add_argument("--scheme", default="1:1,2:2,3:3", help="raw:canonical labels of the two files")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if (options.truth is None) != (options.prediction is None):
        parser.error("--truth and --prediction go together")
    if options.truth:
        truth, prediction, spacing = read_pair(options.truth, options.prediction, options.scheme)
    else:
        (truth, prediction), spacing = made_up_pair(), (1.0, 1.0, 1.0)

    contenders: dict[str, Scorer] = {"glioflow": glioflow_scores}
    if find_spec("medpy"):
        contenders |= {"MedPy": medpy_scores, "MedPy, boxed": boxed(medpy_scores)}
    if find_spec("SimpleITK"):
        contenders |= {"SimpleITK": simpleitk_scores, "SimpleITK, boxed": boxed(simpleitk_scores)}
    values = {name: score(truth, prediction, spacing) for name, score in contenders.items()}  # also warms them up
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.repeats):
        for name, score in contenders.items():
            start, start_processor = time.perf_counter(), time.process_time()
            score(truth, prediction, spacing)
            wall[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - start_processor)

    print(f"{'x'.join(map(str, truth.shape))} voxels, {len(REGIONS)} regions, median of {options.repeats} runs in turn")
    print(f"{'':16} {'clock ms':>9} {'fastest':>9} {'ratio':>7} {'processor ms':>13} {'ratio':>7}")
    for name in contenders:
        clock_ms, cpu_ms = 1000 * median(wall[name]), 1000 * median(processor[name])
        clock_ratio, cpu_ratio = (median(t[name]) / median(t["glioflow"]) for t in (wall, processor))
        print(f"{name:16} {clock_ms:9.1f} {1000 * min(wall[name]):9.1f} {clock_ratio:7.1f} {cpu_ms:13.1f} {cpu_ratio:7.1f}")
    print("\nlargest difference from glioflow's value over the regions")
    for name in [name for name in contenders if name != "glioflow"]:
        for metric in METRICS:
            apart = max(abs(values[name][region, metric] - values["glioflow"][region, metric]) for region in REGIONS)
            print(f"{name:16} {metric:10} {apart:10.2e}  {OTHER_DEFINITION.get((name, metric), '')}".rstrip())
    print("\nglioflow's values")
    for region in REGIONS:
        print(region, *(f"{metric} {values['glioflow'][region, metric]:.4f}" for metric in METRICS))


if __name__ == "__main__":
    main()
