"""Time the scoring of a case beside other tools, and hold the values against theirs. `make bench` runs this.

Usage: python benchmarks/score_cases.py [--truth T.nii.gz --prediction P.nii.gz [--scheme 1:3,2:1,3:2]] [--repeats 7] [--slow]
           [--open-brats2020 FOLDER] [--brats2023 FOLDER] [--metrics-reloaded FOLDER]

Without files a made-up pair of 240 x 240 x 155 voxels at 1 mm is scored, about as large and as ragged as a glioblastoma's.
``--scheme`` maps the files' raw values to the canonical 1 = NCR, 2 = ED, 3 = ET. WT, TC and ET are scored, of these the ones
that both maps have. Peers that are not installed are left out; three that no registry has are timed from clones of one's own.

The contenders take turns, so that what else the machine does falls on all of them, each in one thread; processor time stands
beside the clock's because it is the steadier figure on a busy machine. Peers above 2 s a case have one turn, with ``--slow`` as
many as the others. MedPy and SimpleITK are timed on the whole image, as their users call them, and on the box of the
foreground, which is fairer to their speed (specificity is then of the box only). surface-distance and MONAI crop on their own.

The values of every contender are held against glioflow's under the convention that the contender follows (config/conventions).
A difference above 1e-6 that is not explained ends the script with an error. Tables are in Markdown.
"""

import argparse
import contextlib
import importlib
import io
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from math import inf, isnan, nan, prod
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

# One thread each, before anything that reads this is imported.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import score_cases
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.lesions import lesion_columns
from glioflow.evaluation.metrics import foreground_box, metric_columns
from glioflow.evaluation.scoring import Plan, score_plans
from glioflow.imaging.labels import ED, ET, NCR, canonical_labels, region_mask
from glioflow.imaging.volumes import Volume, read_labels, read_volume, write_volume
from glioflow.parallel import map_unordered

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Values = dict[tuple[str, str], float]

REGIONS = ("WT", "TC", "ET")
SHAPE = (240, 240, 155)
SLOW_S = 2.0
SAME = 1e-6
# Milliseconds that a case may take, for a worker with its files to be read, and megabytes that a worker may hold.
READING = "reading the two files"
TARGETS_MS = {"voxel metrics": 90, "voxel and lesion-wise metrics": 150, READING: 20}
TARGET_MB = 400
WORKER_CASES = 20
PLAIN = "the procedure in scipy and surface-distance"
PACKAGES = ("numpy", "scipy", "nibabel", "medpy", "monai", "SimpleITK", "surface-distance", "connected-components-3d")
CLONES = {
    "--open-brats2020": "lescientifik/open_brats2020",
    "--brats2023": "rachitsaluja/BraTS-2023-Metrics",
    "--metrics-reloaded": "Project-MONAI/MetricsReloaded",
}


@dataclass(frozen=True)
class Task:
    """What every contender gets: label maps (x, y, z) in memory, mm per axis, the same in files, and regions to score."""

    truth: Labels
    prediction: Labels
    spacing: tuple[float, float, float]
    truth_file: str
    prediction_file: str
    regions: tuple[str, ...]

    def masks(self, region: str) -> tuple[Mask, Mask]:
        """Return the truth's and the prediction's mask of a region."""
        return region_mask(self.truth, region), region_mask(self.prediction, region)


@dataclass(frozen=True)
class Contender:
    """Something that is timed: ``run`` returns its values, which follow ``convention``; none where it gives none."""

    name: str
    run: Callable[[Task], Values]
    convention: str = "glioflow"


@dataclass
class Times:
    """Seconds of each turn by the clock and of the processor."""

    wall: list[float]
    processor: list[float]


# What is timed.


def plans() -> dict[str, list[Plan]]:
    """Return what glioflow computes, by its name in the tables."""
    known = conventions()
    lesions = known["brats2023_gli"].lesions
    return {
        "voxel metrics": [Plan(REGIONS, known["glioflow"])],
        "voxel and lesion-wise metrics": [Plan(REGIONS, known["glioflow"], lesions=lesions)],
        "every convention": [Plan(REGIONS, one, lesions=one.lesions) for one in known.values()],
        "BraTS 2023": [Plan(REGIONS, known["brats2023_gli"], lesions=lesions)],
    }


def glioflow(name: str) -> Callable[[Task], Values]:
    """Return a function that scores label maps by the plans of a name."""
    chosen = plans()[name]

    def run(task: Task) -> Values:
        here = [replace(plan, regions=task.regions) for plan in chosen]
        first, *_ = list(score_plans(task.truth, task.prediction, task.spacing, here))
        return {
            (row["label"], column): value for row in first for column, value in row.items() if column not in ("label", "note")
        }

    return run


def case_of(truth_file: str, prediction_file: str) -> score_cases.Case:
    """Return a case of the rule score_cases, whose ids and hashes mean nothing."""
    return score_cases.Case(
        case_id="case",
        patient_id="case",
        fold=None,
        tta=None,
        truth=truth_file,
        truth_sha256="",
        truth_spacing="",
        prediction=prediction_file,
        prediction_sha256="",
    )


def read_with_glioflow(task: Task) -> Values:
    for path in (task.truth_file, task.prediction_file):
        read_labels(path)
    return {}


def read_with_nibabel(task: Task) -> Values:
    import nibabel

    for path in (task.truth_file, task.prediction_file):
        np.asanyarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    return {}


def medpy(task: Task) -> Values:
    from medpy.metric import binary  # type: ignore[import-not-found, import-untyped, unused-ignore]

    columns = {
        "dice": binary.dc,
        "iou": binary.jc,
        "sens": binary.sensitivity,
        "spec": binary.specificity,
        "precision": binary.precision,
        "hausdorff": binary.hd,
        "hd95_mm": binary.hd95,
        "assd_mm": binary.assd,
    }
    found: Values = {}
    for region in task.regions:
        truth, prediction = task.masks(region)
        found |= {(region, column): float(metric(prediction, truth)) for column, metric in columns.items()}
    return found


def simpleitk(task: Task) -> Values:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    found: Values = {}
    for region in task.regions:
        images = []
        for mask in reversed(task.masks(region)):
            image = SimpleITK.GetImageFromArray(mask.astype(np.uint8).T)
            image.SetSpacing(task.spacing)
            images.append(image)
        overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*images)
        surfaces = [SimpleITK.LabelContour(image, fullyConnected=False) for image in images]
        fields = [SimpleITK.SignedMaurerDistanceMap(s, squaredDistance=False, useImageSpacing=True) for s in surfaces]
        onto = [SimpleITK.GetArrayViewFromImage(s) > 0 for s in surfaces]
        there, back = (np.abs(SimpleITK.GetArrayViewFromImage(f)[s]) for f, s in zip(fields, reversed(onto), strict=True))
        both = np.concatenate([there, back])
        values = {
            "dice": overlap.GetDiceCoefficient(1),
            "iou": overlap.GetJaccardCoefficient(1),
            "sens": 1 - overlap.GetFalseNegativeError(1),
            "spec": 1 - overlap.GetFalsePositiveError(1),
            "precision": 1 - overlap.GetFalseDiscoveryRate(1),
            "hausdorff": max(there.max(), back.max()),
            "hd95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
            "assd_mm": both.mean(dtype=np.float64),
            "masd_mm": (there.mean(dtype=np.float64) + back.mean(dtype=np.float64)) / 2,
            "nsd_1mm": (both <= 1).mean(),
            "nsd_2mm": (both <= 2).mean(),
        }
        found |= {(region, column): float(value) for column, value in values.items()}
    return found


def surface_distance(task: Task) -> Values:
    import surface_distance as tool  # type: ignore[import-not-found, import-untyped, unused-ignore]

    found: Values = {}
    for region in task.regions:
        truth, prediction = task.masks(region)
        distances = tool.compute_surface_distances(truth, prediction, task.spacing)
        values = {
            "dice": tool.compute_dice_coefficient(truth, prediction),
            "hausdorff": tool.compute_robust_hausdorff(distances, 100),
            "hd95_mm": tool.compute_robust_hausdorff(distances, 95),
            "nsd_1mm": tool.compute_surface_dice_at_tolerance(distances, 1),
            "nsd_2mm": tool.compute_surface_dice_at_tolerance(distances, 2),
        }
        found |= {(region, column): float(value) for column, value in values.items()}
    return found


def torch_masks(task: Task) -> tuple[Any, Any]:
    """Return the prediction's and the truth's masks as float tensors (1, region, x, y, z), as MONAI takes them."""
    import torch

    torch.set_num_threads(1)
    stacks = (np.stack([task.masks(region)[side] for region in task.regions]) for side in (1, 0))
    prediction, truth = (torch.from_numpy(stack)[None].float() for stack in stacks)
    return prediction, truth


def monai_counts(prediction: Any, truth: Any) -> dict[str, Any]:
    """Return MONAI's metrics of counts, each a tensor (1, region)."""
    from monai import metrics  # type: ignore[import-not-found, unused-ignore]

    matrix = metrics.get_confusion_matrix(prediction, truth)
    return {
        "dice": metrics.compute_dice(prediction, truth),
        "iou": metrics.compute_iou(prediction, truth),
        "sens": metrics.compute_confusion_matrix_metric("sensitivity", matrix),
        "spec": metrics.compute_confusion_matrix_metric("specificity", matrix),
        "precision": metrics.compute_confusion_matrix_metric("precision", matrix),
    }


def monai(task: Task) -> Values:
    from monai import metrics

    prediction, truth = torch_masks(task)
    options = {"include_background": True, "spacing": task.spacing}
    limits = {f"nsd_{mm}mm": [float(mm)] * len(task.regions) for mm in (1, 2)}
    tables = {
        **monai_counts(prediction, truth),
        "hausdorff": metrics.compute_hausdorff_distance(prediction, truth, **options),
        "hd95_mm": metrics.compute_hausdorff_distance(prediction, truth, percentile=95, **options),
        "assd_mm": metrics.compute_average_surface_distance(prediction, truth, symmetric=True, **options),
        **{column: metrics.compute_surface_dice(prediction, truth, limit, **options) for column, limit in limits.items()},
    }
    return {
        (region, column): float(table.reshape(-1)[number])
        for column, table in tables.items()
        for number, region in enumerate(task.regions)
    }


def monai_once(task: Task) -> Values:
    """Return the values of ``monai``, from distances that MONAI's helper finds once a region."""
    import torch
    from monai.metrics.utils import get_edge_surface_distance  # type: ignore[import-not-found, unused-ignore]

    prediction, truth = torch_masks(task)
    counts = monai_counts(prediction, truth)
    found: Values = {}
    for number, region in enumerate(task.regions):
        masks = prediction[0, number], truth[0, number]
        _, (there, back), _ = get_edge_surface_distance(*masks, spacing=task.spacing, symmetric=True)
        both = torch.cat([there, back])
        values = {
            **{column: table.reshape(-1)[number] for column, table in counts.items()},
            "hausdorff": max(there.max(), back.max()),
            "hd95_mm": max(torch.quantile(there, 0.95), torch.quantile(back, 0.95)),
            "assd_mm": both.mean(),
            "masd_mm": (there.mean() + back.mean()) / 2,
            "nsd_1mm": (both <= 1).double().mean(),
            "nsd_2mm": (both <= 2).double().mean(),
        }
        found |= {(region, column): float(value) for column, value in values.items()}
    return found


def plain_lesions(task: Task) -> Values:
    """Return the scores of BraTS 2023, the procedure written down with scipy and surface-distance, step by step."""
    import surface_distance as tool

    structure, everything = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3), bool)
    voxel_mm3 = prod(task.spacing)
    found: Values = {}

    def hd95(truth: Mask, prediction: Mask) -> float:
        return float(tool.compute_robust_hausdorff(tool.compute_surface_distances(truth, prediction, task.spacing), 95))

    for region in task.regions:
        truth, prediction = task.masks(region)
        dilated, count = ndimage.label(ndimage.binary_dilation(truth, structure, iterations=3), everything)
        pieces, piece_count = ndimage.label(prediction, everything)
        dice, distance, matched, hits = [], [], set[int](), 0
        for number in range(1, count + 1):
            reach = dilated == number
            lesion = truth & reach
            near = set(np.unique(pieces[reach]).tolist()) - {0}
            matched |= near
            if np.count_nonzero(lesion) * voxel_mm3 <= 50:
                continue
            mine = np.isin(pieces, list(near))
            hits += bool(near)
            dice.append(2 * np.count_nonzero(lesion & mine) / (np.count_nonzero(lesion) + np.count_nonzero(mine)))
            distance.append(hd95(lesion, mine) if near else 374.0)
        false = piece_count - len(matched)
        lesions = len(dice) + false
        values = {
            "dice": tool.compute_dice_coefficient(truth, prediction),
            "hd95_mm": hd95(truth, prediction),
            "lesion_dice": sum(dice) / lesions if lesions else 1.0,
            "lesion_hd95_mm": (sum(distance) + 374 * false) / lesions if lesions else 0.0,
            "lesions_truth": len(dice),
            "lesions_found": hits,
            "lesions_false": false,
        }
        found |= {(region, column): float(value) for column, value in values.items()}
    return found


def boxed(run: Callable[[Task], Values]) -> Callable[[Task], Values]:
    """Return a function that gives ``run`` the maps cropped to the foreground of both."""

    def run_box(task: Task) -> Values:
        # A margin of one voxel, because ITK takes no outside beyond the border for a neighbour.
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in foreground_box(task.truth, task.prediction))
        return run(replace(task, truth=task.truth[box], prediction=task.prediction[box]))

    return run_box


# Peers that no registry has, from a user's own clones.


def import_from(folder: Path, module: str) -> ModuleType:
    """Import a module of a clone, and what it imports of that clone, whatever else has the same names."""
    own = {path.stem for path in folder.iterdir()}
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in own}
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] in own]:
            del sys.modules[name]
        sys.modules.update(hidden)


def open_brats2020(folder: Path) -> Callable[[Task], Values]:
    utils = import_from(folder, "src.utils")
    columns = {"haussdorf": "hausdorff", "dice": "dice", "sens": "sens", "spec": "spec"}
    order = ("ET", "TC", "WT")

    def run(task: Task) -> Values:
        prediction, truth = (np.stack([task.masks(region)[side] for region in order]) for side in (1, 0))
        with contextlib.redirect_stdout(io.StringIO()):
            rows = utils.calculate_metrics(prediction, truth, "case")
        return {(row["label"], column): float(row[theirs]) for row in rows for theirs, column in columns.items()}

    return run


def brats2023(folder: Path) -> Callable[[Task], Values]:
    """Return a function that runs the challenge's script, which reads the files itself, once for each region.

    Only its last step is done here, the means over lesions: it is made of calls that pandas 3 no longer has.
    """
    if not hasattr(np, "Inf"):
        np.Inf = np.inf  # type: ignore[attr-defined]  # the script is of numpy 1
    names = [path.stem for path in (folder / "metrics.py", folder / "eval.py") if path.exists()]
    if not names:
        raise SystemExit(f"--brats2023 {folder}: no eval.py or metrics.py; a clone at commit 0e272e6 has one")
    score = import_from(folder, names[0]).get_LesionWiseScores

    def run(task: Task) -> Values:
        found: Values = {}
        for region in task.regions:
            _, _, false, _, lesions, dice, hd95, _, _, sens, spec = score(task.prediction_file, task.truth_file, region, 3)
            kept = [(theirs, min(distance, 374.0), met) for met, _, volume, theirs, distance in lesions if volume > 50]
            count = len(kept) + len(false)
            values = {
                "dice": dice,
                "hd95_mm": hd95,
                "sens": sens,
                "spec": spec,
                "lesion_dice": sum(theirs for theirs, _, _ in kept) / count if count else 1.0,
                "lesion_hd95_mm": (sum(distance for _, distance, _ in kept) + 374 * len(false)) / count if count else 0.0,
                "lesions_truth": len(kept),
                "lesions_found": sum(len(met) > 0 for _, _, met in kept),
                "lesions_false": len(false),
            }
            found |= {(region, column): float(value) for column, value in values.items()}
        return found

    return run


def metrics_reloaded(folder: Path) -> Callable[[Task], Values]:
    measures = import_from(folder, "MetricsReloaded.metrics.pairwise_measures").BinaryPairwiseMeasures
    columns = {
        "dsc": "dice",
        "iou": "iou",
        "hd": "hausdorff",
        "hd_perc": "hd95_mm",
        "assd": "assd_mm",
        "masd": "masd_mm",
        "nsd": "nsd_1mm",
    }

    def run(task: Task) -> Values:
        found: Values = {}
        for region in task.regions:
            truth, prediction = (mask.astype(np.uint8) for mask in task.masks(region))
            pair = measures(prediction, truth, measures=list(columns), pixdim=task.spacing)
            values = {columns[name]: value for name, value in pair.to_dict_meas().items()}
            values |= {
                "sens": pair.recall(),
                "spec": pair.specificity(),
                "precision": pair.positive_predictive_values(),
            }
            found |= {(region, column): float(value) for column, value in values.items()}
        return found

    return run


# The tables' rows, and why values differ where they do.

OF_THE_BOX = "of the box, not of the image"
REASONS = {
    ("MedPy (boxed)", "spec"): OF_THE_BOX,
    ("SimpleITK (boxed)", "spec"): OF_THE_BOX,
    ("MetricsReloaded (boxed)", "spec"): OF_THE_BOX,
    **{
        (name, column): "of 32-bit floats"
        for name in ("MONAI", "MONAI (distances once)", "SimpleITK", "SimpleITK (boxed)")
        for column in ("hausdorff", "hd95_mm", "assd_mm", "masd_mm")
    },
}


def contenders(options: argparse.Namespace) -> tuple[dict[str, list[Contender]], list[str]]:
    """Return what is timed, by the table that it is in, and a line for each peer that is not there."""
    alone = [Contender(name, glioflow(name)) for name in ("voxel metrics", "voxel and lesion-wise metrics", "every convention")]
    alone += [
        Contender(READING, read_with_glioflow),
        Contender(f"{READING}, by nibabel", read_with_nibabel),
    ]
    voxel = [Contender("glioflow", glioflow("voxel metrics"))]
    lesion = [Contender("glioflow", glioflow("BraTS 2023"), "brats2023_gli")]
    absent = []
    for module, found in {
        "medpy": [Contender("MedPy", medpy, "medpy"), Contender("MedPy (boxed)", boxed(medpy), "medpy")],
        "monai": [Contender("MONAI", monai), Contender("MONAI (distances once)", monai_once)],
        "SimpleITK": [Contender("SimpleITK", simpleitk), Contender("SimpleITK (boxed)", boxed(simpleitk))],
        "surface_distance": [Contender("surface-distance", surface_distance, "surface_distance")],
    }.items():
        if find_spec(module):
            voxel += found
        else:
            absent.append(f"{found[0].name}: not installed")
    if find_spec("surface_distance"):
        lesion.append(Contender(PLAIN, plain_lesions, "brats2023_gli"))
        lesion.append(Contender(f"{PLAIN} (boxed)", boxed(plain_lesions), "brats2023_gli"))
    for option, repository in CLONES.items():
        if getattr(options, option.strip("-").replace("-", "_")) is None:
            absent.append(f"{repository}: not installable from the registry; give a clone of it, `{option} FOLDER`")
    if options.open_brats2020:
        voxel.append(Contender("open_brats2020", open_brats2020(options.open_brats2020), "open_brats2020"))
    if options.metrics_reloaded:
        run = boxed(metrics_reloaded(options.metrics_reloaded))
        voxel.append(Contender("MetricsReloaded (boxed)", run, "metrics_reloaded"))
    if options.brats2023:
        run = brats2023(options.brats2023)
        lesion.append(Contender("BraTS 2023's script (reads the files)", run, "brats2023_gli"))
    return {"glioflow alone": alone, "Voxel metrics": voxel, "BraTS 2023": lesion}, absent


# Timing.


def timed(run: Callable[[Task], Values], task: Task) -> tuple[Values, float, float]:
    """Return what a contender returns, and the seconds that it took by the clock and of the processor."""
    start, start_processor = time.perf_counter(), time.process_time()
    values = run(task)
    return values, time.perf_counter() - start, time.process_time() - start_processor


def take_turns(
    tables: Mapping[str, Sequence[Contender]], task: Task, repeats: int, slow: bool
) -> tuple[list[Values], list[Times]]:
    """Return the values and the times of every contender, in the tables' order."""
    everyone = [one for table in tables.values() for one in table]
    values, times = [], []
    for one in everyone:
        found, wall, processor = timed(one.run, task)  # the first turn warms up; of slow ones it is the only one
        if processor <= SLOW_S:
            found, wall, processor = timed(one.run, task)
        values.append(found)
        times.append(Times([wall], [processor]))
        progress(f"{one.name}: {1000 * wall:.0f} ms")
    for number in range(1, repeats):
        for one, so_far in zip(everyone, times, strict=True):
            if slow or so_far.processor[0] <= SLOW_S:
                _, wall, processor = timed(one.run, task)
                so_far.wall.append(wall)
                so_far.processor.append(processor)
        progress(f"turn {number + 1} of {repeats}")
    return values, times


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def peak_mb() -> float:
    """Return the most memory in MB that this process has held (its resident set)."""
    # Not getrusage, which counts what the parent held before exec.
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6


@dataclass(frozen=True)
class Work:
    """What a fresh process took for a case: medians in seconds, and the most memory in MB before and after all cases."""

    wall: float
    processor: float
    before_mb: float
    most_mb: float


def work(files: tuple[str, str], name: str, cases: int) -> Work:
    """Score ``cases`` cases as the rules score_cases and compare_conventions do, their files read and checked."""
    before, chosen, times = peak_mb(), plans().get(name, []), Times([], [])
    for _ in range(cases):
        start, start_processor = time.perf_counter(), time.process_time()
        truth, prediction = score_cases.read_maps(case_of(*files))
        for _ in score_plans(truth.data, prediction.data, truth.spacing, chosen):
            pass
        times.wall.append(time.perf_counter() - start)
        times.processor.append(time.process_time() - start_processor)
    return Work(median(times.wall), median(times.processor), before, peak_mb())


def cases_per_second(files: tuple[str, str], name: str, workers: int, cases: int) -> float:
    (plan,) = plans()[name]
    start = time.perf_counter()
    for _ in map_unordered(score_cases.score_case, [case_of(*files)] * cases, workers, plan):
        pass
    return cases / (time.perf_counter() - start)


# What is printed.


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def time_table(table: Sequence[Contender], times: Sequence[Times], with_ratios: bool) -> str:
    """Return the times of some contenders, and with ratios to the first of them."""
    rows = []
    for one, here in zip(table, times, strict=True):
        row = [one.name, str(len(here.wall))]
        for own, first in ((here.wall, times[0].wall), (here.processor, times[0].processor)):
            row.append(f"{1000 * median(own):,.0f}")
            if own is here.wall:
                row.append(f"{1000 * min(own):,.0f}")
            if with_ratios:
                row.append(f"{median(own) / median(first):,.1f}")
        if not with_ratios:
            row.append(str(TARGETS_MS.get(one.name, "")))
        rows.append(row)
    ratio = ["ratio"] if with_ratios else []
    last = [] if with_ratios else ["target ms"]
    return markdown(["of label maps in memory", "turns", "clock ms", "fastest", *ratio, "processor ms", *ratio, *last], rows)


def differences(table: Sequence[Contender], values: Sequence[Values], task: Task) -> Iterator[tuple[str, str, float]]:
    """Yield the largest difference over the regions of each contender's value of a column from its convention's."""
    for one, found in zip(table, values, strict=True):
        convention = conventions()[one.convention]
        plan = Plan(task.regions, convention, lesions=convention.lesions)
        (rows,) = score_plans(task.truth, task.prediction, task.spacing, [plan])
        right = {(row["label"], column): value for row in rows for column, value in row.items()}
        for column in dict.fromkeys(column for _, column in found):
            # What a convention does not define is not compared.
            defined = [region for region in task.regions if not isnan(right.get((region, column), nan))]
            apart = [inf if isnan(value := found[r, column]) else abs(value - right[r, column]) for r in defined]
            if apart:
                yield one.name, column, max(apart)


def value_table(found: Sequence[tuple[str, str, float]]) -> tuple[str, list[str]]:
    """Return the differences as a table, and the remarks on those above ``SAME``."""
    names, present = dict.fromkeys(name for name, _, _ in found), {column for _, column, _ in found}
    known = conventions()
    columns = [c for c in (*metric_columns(known["glioflow"]), *lesion_columns(known["brats2023_gli"])) if c in present]
    cells, notes = dict[tuple[str, str], str](), dict[str, list[str]]()
    for name, column, apart in found:
        cells[name, column] = f"{apart:.0e}" if apart else "0"
        if apart > SAME:
            reason = REASONS.get((name, column), "unexplained")
            cells[name, column] = f"**{apart:.1e}**"
            notes.setdefault(reason, []).append(f"{column} of {name}")
    rows = [[name, *(cells.get((name, column), "") for column in columns)] for name in names]
    return markdown(["largest difference", *columns], rows), [
        f"- {'; '.join(where)}: {reason}" for reason, where in notes.items()
    ]


def machine() -> str:
    """Return the processor's model and number, and the versions of what is timed."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    model = next(
        (line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine()
    )
    here = [f"{name} {version(name)}" for name in PACKAGES if find_spec(name.replace("-", "_")) or name.startswith("connected")]
    return f"{model}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, {', '.join(here)}."


# What is scored.


def made_up_pair() -> tuple[Labels, Labels]:
    """Return a ragged tumour of about 230 ml with satellites, and a prediction of it: shifted, some missed, some made up."""
    x, y, z = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in SHAPE), indexing="ij", sparse=True)

    def tumour(shift: float, swell: float, satellites: Sequence[tuple[int, int, int, int]]) -> Labels:
        radius = np.sqrt((x - 90 - shift) ** 2 + (0.85 * (y - 130 + shift)) ** 2 + (z - 80 - shift / 2) ** 2)
        lobes = swell + 4 * np.sin(x / 5) * np.cos(y / 4) + 2 * np.sin(z / 3)
        ragged = lobes + np.sin(x * 1.3 + shift) * np.sin(y * 1.1) * np.sin(z * 1.2)
        labels = np.zeros(SHAPE, np.uint8, order="F")  # the order in which NIfTI files are read
        for label, limit in ((ED, 36), (ET, 24), (NCR, 12)):
            labels[radius < limit + ragged] = label
        for i, j, k, size in satellites:
            around = np.sqrt((x - i) ** 2 + (y - j) ** 2 + (z - k) ** 2)
            labels[around < size] = ED
            labels[around < size / 2] = ET
        return labels

    truth = tumour(0.0, 0.0, [(160, 110, 100, 8), (150, 170, 60, 6), (60, 60, 40, 2), (170, 150, 120, 5)])
    prediction = tumour(2.0, -1.0, [(161, 110, 101, 7), (151, 169, 60, 6), (153, 103, 92, 4), (40, 150, 100, 5)])
    return truth, prediction


def read_pair(truth: Path, prediction: Path, scheme: str) -> tuple[Labels, Labels, tuple[float, float, float]]:
    raw_to_canonical = {int(raw): int(label) for raw, label in (pair.split(":") for pair in scheme.split(","))}
    first, second = read_volume(truth), read_volume(prediction)
    maps = [np.asfortranarray(canonical_labels(volume.data, raw_to_canonical)[0]) for volume in (first, second)]
    return maps[0], maps[1], first.spacing


def make_task(options: argparse.Namespace, folder: Path) -> Task:
    """Return the task, its maps also written to ``folder``."""
    if options.truth:
        truth, prediction, spacing = read_pair(options.truth, options.prediction, options.scheme)
    else:
        (truth, prediction), spacing = made_up_pair(), (1.0, 1.0, 1.0)
    files = folder / "truth.nii.gz", folder / "prediction.nii.gz"
    for path, labels in zip(files, (truth, prediction), strict=True):
        write_volume(path, Volume(labels, np.diag([*spacing, 1.0])))
    in_both = (r for r in REGIONS if region_mask(truth, r).any() and region_mask(prediction, r).any())
    return Task(truth, prediction, spacing, str(files[0]), str(files[1]), tuple(in_both))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--prediction", type=Path)
    parser.add_argument("--scheme", default="1:1,2:2,3:3", help="raw:canonical labels of the two files")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each contender")
    parser.add_argument("--slow", action="store_true", help="as many turns for those above 2 s a case")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes of the last table")
    for option, repository in CLONES.items():
        parser.add_argument(option, type=Path, metavar="FOLDER", help=f"a clone of {repository}, to be timed as well")
    options = parser.parse_args()
    if (options.truth is None) != (options.prediction is None):
        parser.error("--truth and --prediction go together")
    warnings.simplefilter("ignore")  # of the peers
    with tempfile.TemporaryDirectory(prefix="score_") as folder:
        return report(options, make_task(options, Path(folder)))


def report(options: argparse.Namespace, task: Task) -> int:
    """Time everything, print the tables, and return how many differences have no explanation."""
    tables, absent = contenders(options)
    values, times = take_turns(tables, task, options.repeats, options.slow)
    files = task.truth_file, task.prediction_file
    shape = " x ".join(map(str, task.truth.shape))
    what = "the made-up pair" if options.truth is None else "a pair of files"
    print(f"{machine()}\n\n{shape} voxels ({what}), {', '.join(task.regions)}; medians over turns, one thread.")
    found, start = list[tuple[str, str, float]](), 0
    for title, table in tables.items():
        part = slice(start, start := start + len(table))
        print(f"\n### {title}\n\n{time_table(table, times[part], title != 'glioflow alone')}")
        if title != "glioflow alone":
            found += [one for one in differences(table, values[part], task) if one[0] != "glioflow"]
    if absent:
        print("".join(f"\n- {line}" for line in absent))
    table_text, notes = value_table(found)
    print(f"\n### Values\n\n{table_text}\n\n" + "\n".join(notes))

    rows = []
    for name in (READING, "voxel metrics", "voxel and lesion-wise metrics", "every convention"):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            took = pool.submit(work, files, name, WORKER_CASES).result()
        target = "" if name not in TARGETS_MS else str(TARGETS_MS[name] + (TARGETS_MS[READING] if name != READING else 0))
        ms, mb = (took.wall * 1000, took.processor * 1000), (took.before_mb, took.most_mb)
        rows.append([name, *(f"{one:,.0f}" for one in ms), target, *(f"{one:.0f}" for one in mb), str(TARGET_MB)])
    header = ["files read and", "clock ms", "processor ms", "target ms", "MB before", "MB at most", "target MB"]
    print(f"\n### A worker, over {WORKER_CASES} cases\n\n{markdown(header, rows)}")

    rows = []
    for name in ("voxel metrics", "voxel and lesion-wise metrics"):
        counts = dict.fromkeys([1, options.workers])
        rates = [cases_per_second(files, name, workers, WORKER_CASES * workers) for workers in counts]
        ratios = [f"{rate / rates[0]:.2f}" for rate in rates]
        rows += [[name, str(n), f"{rate:.1f}", ratio] for n, rate, ratio in zip(counts, rates, ratios, strict=True)]
    print(f"\n### Over cores\n\n{markdown(['the rule score_cases', 'processes', 'cases a second', 'ratio'], rows)}")
    return sum(note.endswith("unexplained") for note in notes)


if __name__ == "__main__":
    sys.exit(main())
