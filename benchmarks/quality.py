"""Simulate cohorts, predict the Dice of new cases, and count how often the interval holds the true one: `make bench-quality`.

Usage: python benchmarks/quality.py [--seeds 200] [--patients 20 50 200] [--new 100] [--no-time]

A case has a difficulty and a volume, which its Dice goes with (a logistic curve, so that most values are high and the bad ones
far below, as in tumour masks), and noise that no feature knows. Features are noisy readings of difficulty and volume, expected
Dice an overconfident one. Each cohort calibrates as in a study, predicts as many new cases, and is judged on them: coverage
and width of the interval, how many are said to be outside the calibration though they are of one kind with it, and the area
under the risk-coverage curve (AURC) of the predicted Dice, of the expected Dice alone, and of no order at all. Then the time
that the features take of a case of 240 x 240 x 155 voxels is measured, with a tumour of some 50 ml, of files and arrays as a
job has them.

Ends with an error where the mean coverage of a size is not within 87 to 93 %, or a case takes more than a second. The tables
are in Markdown.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from glioflow.cohorts.phantom.plan import plan_phantoms
from glioflow.cohorts.phantom.rendering import render_phantom
from glioflow.imaging.labels import REGIONS
from glioflow.imaging.volumes import Volume, write_volume
from glioflow.quality.prediction import CONFIDENCE, EXPECTED, FEATURES, VOLUME, Calibration
from glioflow.quality.rank_statistics import aurc

COVERAGE = (0.87, 0.93)
MOST_SECONDS = 1.0
SHAPE = (240, 240, 155)
# nnU-Net's patch for BraTS, windows that overlap by half of the brain's box, and the eight mirrorings.
PATCH, BRAIN, WINDOWS, MIRRORINGS = (128, 160, 112), (146, 180, 142), 8, 8
# How much of difficulty, of volume and of noise is in each feature.
MIXTURES = {
    "mirror_dice": (0.8, 0.2, 0.5),
    "entropy_mean": (-0.8, -0.3, 0.5),
    "ring_contrast": (0.7, 0.0, 0.7),
    "contrast": (0.5, 0.2, 0.8),
    "largest_share": (0.3, 0.3, 0.9),
    "components": (-0.3, 0.1, 0.9),
    "mutual_information_mean": (-0.7, -0.2, 0.6),
}


def logistic(values: Any) -> Any:
    return 1 / (1 + np.exp(-values))


def simulate(patients: int, rng: np.random.Generator) -> Calibration:
    """Return a cohort of one case a patient, with features and true Dice."""
    ease, volume = rng.normal(size=(2, patients))
    dice = logistic(1.7 + 0.8 * ease + 0.4 * volume + 0.45 * rng.normal(size=patients))
    table = {EXPECTED: logistic(2.4 + 0.7 * ease + 0.3 * volume + 0.4 * rng.normal(size=patients)), VOLUME: 3.5 + volume}
    for name, (of_ease, of_volume, of_noise) in MIXTURES.items():
        table[name] = of_ease * ease + of_volume * volume + of_noise * rng.normal(size=patients)
    return Calibration(pd.DataFrame(table)[list(FEATURES)], dice, [f"p{number}" for number in range(patients)])


def judge(patients: int, new: int, seed: int) -> dict[str, float]:
    """Return what one cohort's prediction of new cases is worth."""
    rng = np.random.default_rng([seed, patients])
    known, others = simulate(patients, rng), simulate(new, rng)
    found = known.predict(others.table, known.usable())
    risk, one = 1 - others.dice, np.ones((new, 1))
    order = {"aurc": found.dice, "aurc_expected": others.table[EXPECTED].to_numpy(), "aurc_none": np.zeros(new)}
    return {
        "coverage": float(((found.low <= others.dice) & (others.dice <= found.high)).mean()),
        "width": float((found.high - found.low).mean()),
        "outside": float(np.mean([bool(name) for name in known.extrapolated(others.table, known.usable())])),
        "mae": float(np.abs(found.dice - others.dice).mean()),
        **{name: float(aurc(score, risk, one)[0]) for name, score in order.items()},
        "aurc_best": float(aurc(-risk, risk, one)[0]),
    }


def best_of(turns: int, work: Callable[[], object]) -> float:
    """Return the processor seconds of the fastest of some turns."""
    spent = []
    for _ in range(turns):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def time_features(folder: Path) -> dict[str, float]:
    """Return the processor seconds that each part of the features takes of a case."""
    import torch

    os.environ["GLIOFLOW_REGIONS"] = json.dumps(REGIONS)
    torch.set_num_threads(1)
    from glioflow.models.nnunet.trainers import glioflow_uncertainty as uncertainty
    from measure_quality import Case, measure_case

    phantom = render_phantom(plan_phantoms(1, 3, {}, "none")[0], SHAPE, (1.0, 1.0, 1.0))
    write_volume(folder / "mask.nii.gz", Volume(phantom.labels, phantom.affine))
    images = {}
    for channel in ("flair", "t1ce"):
        write_volume(folder / f"{channel}.nii.gz", Volume(phantom.images[channel], phantom.affine))
        images[channel] = (str(folder / f"{channel}.nii.gz"), "")
    regions = {"WT": images["flair"], "TC": images["t1ce"], "ET": images["t1ce"]}
    case = Case("a", str(folder / "mask.nii.gz"), "", regions)

    class Manager:
        has_regions, regions_class_order, all_labels = True, (2, 1, 3), [0, 1, 2, 3]
        num_segmentation_heads = 3

        @staticmethod
        def apply_inference_nonlin(logits: Any) -> Any:
            return torch.sigmoid(logits.float())

    predictor = object.__new__(uncertainty.MeasuringPredictor)
    predictor.label_manager, predictor.dataset_json = Manager(), {"labels": {"background": 0, "WT": 1, "TC": 1, "ET": 1}}
    predictor.regions, predictor.networks, predictor.mirrored = REGIONS, [], None
    predictor.target, predictor.list_of_parameters, predictor.device = str(folder / "case"), None, torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    logits = torch.stack([torch.from_numpy(np.isin(phantom.labels, REGIONS[name])) for name in ("WT", "TC", "ET")])
    middle = tuple(slice((size - own) // 2, (size - own) // 2 + own) for size, own in zip(SHAPE, BRAIN, strict=True))
    logits = 12 * logits[(slice(None), *middle)].float() - 7
    for axis in (1, 2, 3):  # a soft edge, some voxels wide
        logits = (logits.roll(1, axis) + logits + logits.roll(-1, axis)) / 3
    logits = (logits + 0.3 * torch.randn(logits.shape, generator=generator)).half()
    window = torch.randn((3, *PATCH), generator=generator)
    corner = [slice(0, size) for size in PATCH]

    def gather() -> None:
        found = uncertainty.MirroredLogits(MIRRORINGS, (3, *BRAIN), torch.ones(PATCH), torch.device("cpu"))
        for _ in range(WINDOWS):
            for member in range(MIRRORINGS):
                found.add(member, window, (slice(None), *corner))

    def mirrorings() -> None:
        predictor.mirrored = made = uncertainty.MirroredLogits(MIRRORINGS, (3, *BRAIN), torch.ones(PATCH), torch.device("cpu"))
        made.sums[:] = logits.float()
        made.weights[:] = 1
        start = time.process_time()
        predictor.note_network(logits)
        spent.append(time.process_time() - start)
        predictor.networks = []

    spent: list[float] = []
    mirrorings()
    mirrorings()
    return {
        "mask and images, files read": best_of(3, lambda: measure_case(case)),
        "probabilities, in the brain's box that the network sees": best_of(3, lambda: predictor.finish(logits)),
        "eight mirrorings compared": min(spent),
        "eight mirrorings gathered from eight windows, on a CPU": best_of(2, gather),
    }


def main() -> None:
    """Print the tables; exit with an error where a bound is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 50, 200])
    parser.add_argument("--new", type=int, default=100)
    parser.add_argument("--no-time", action="store_true")
    asked = parser.parse_args()
    missed = []
    print(f"{asked.seeds} cohorts of each size, {asked.new} new cases each; intervals of {100 * CONFIDENCE:.0f} %.\n")
    head = (
        "patients",
        "coverage",
        "5–95 % of the cohorts",
        "width",
        "mean error",
        "said to be outside",
        "AURC",
        "expected Dice alone",
        "no order",
        "best",
    )
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for patients in asked.patients:
        table = pd.DataFrame([judge(patients, asked.new, seed) for seed in range(asked.seeds)])
        mean = table.mean()
        low, high = table["coverage"].quantile([0.05, 0.95])
        numbers = [f"{mean[name]:.3f}" for name in ("width", "mae")] + [f"{100 * mean['outside']:.1f} %"]
        numbers += [f"{mean[name]:.3f}" for name in ("aurc", "aurc_expected", "aurc_none", "aurc_best")]
        print(
            f"| {patients} | {100 * mean['coverage']:.1f} % | {100 * low:.0f}–{100 * high:.0f} % | {' | '.join(numbers)} |",
            flush=True,
        )
        if not COVERAGE[0] <= mean["coverage"] <= COVERAGE[1]:
            missed.append(f"{patients} patients: mean coverage {100 * mean['coverage']:.1f} %")
    if not asked.no_time:
        with tempfile.TemporaryDirectory() as folder:
            times = time_features(Path(folder))
        print("\n| of a case of 240 × 240 × 155 voxels | processor s |\n|---|---|")
        for what, seconds in times.items():
            print(f"| {what} | {seconds:.2f} |")
        total = sum(times.values())
        print(f"| together | {total:.2f} |")
        if total > MOST_SECONDS:
            missed.append(f"the features of a case take {total:.2f} s")
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
