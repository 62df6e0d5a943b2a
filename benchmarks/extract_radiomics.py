"""Time the features of a region beside other tools, and hold the values against theirs. `make bench-radiomics` runs this.

Usage: python benchmarks/extract_radiomics.py [--image I.nii.gz --mask M.nii.gz [--labels 1,2,4]] [--repeats 5] [--slow]

Without files two made-up tumours are used, of about 111 and 256 ml in an image of 240 x 240 x 155 voxels at 1 mm. ``--labels``
are the mask's values that make the region (all but 0 by default). Every contender computes all classes of the original image,
normalised to a standard deviation of 100, at a bin width of 25: pyradiomics' 107 features. Peers that are not installed are
left out, and told.

pyradiomics is timed as it is shipped, on the whole image, and on the box of the mask with 5 voxels around, normalised before,
which is fairer to its speed. flash-radiomics gets the same box. nyxus reads files; it has no such normalisation, takes its own
features (more than 107) of the image as it is, and is timed alone.

The contenders take turns, so that what else the machine does falls on all of them, each in one thread; processor time stands
beside the clock's because it is the steadier figure on a busy machine. Peers above 2 s have one turn, with ``--slow`` as many
as the others. A value of glioflow's that differs from pyradiomics' by more than 1e-9 of it ends the script with an error. The
tables are in Markdown.
"""

import argparse
import contextlib
import logging
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

# One thread each, before anything that reads this is imported.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from glioflow.failure.radiomics import extract_features, mask_box
from glioflow.failure.radiomics_parameters import default_parameters
from glioflow.imaging.volumes import Volume, read_volume, write_volume
from glioflow.study.feature_names import FEATURE_GROUPS, is_feature

Values = dict[str, float]

SHAPE = (240, 240, 155)
# Radii in voxels of the made-up tumours, and the seconds of a core that the features of each may take.
TUMOURS = {29.8: 0.4, 39.3: 0.8}
SLOW_S = 2.0
SAME = 1e-9
MARGIN = 5
SETTINGS = {"binWidth": 25, "normalize": True, "normalizeScale": 100, "additionalInfo": False}
PACKAGES = ("numpy", "scipy", "SimpleITK", "pyradiomics", "flash-radiomics", "nyxus")


@dataclass(frozen=True)
class Task:
    """What every contender gets: image and bool mask (x, y, z) in memory, the same in files, and the seconds it may take."""

    image: Volume
    mask: NDArray[np.bool_]
    image_file: str
    mask_file: str
    target: float | None

    def itk(self) -> tuple[Any, Any]:
        """Return image and mask as SimpleITK has them."""
        images = [sitk.GetImageFromArray(array.T) for array in (self.image.data, self.mask.astype(np.uint8))]
        for one in images:
            one.SetSpacing(self.image.spacing)
        return images[0], images[1]


@dataclass(frozen=True)
class Contender:
    """Something that is timed: ``run`` returns its values by pyradiomics' names; none where its own are others."""

    name: str
    run: Callable[[Task], Values]


# What is timed.


def glioflow(task: Task) -> Values:
    return extract_features(task.image, task.mask, default_parameters()).features


def pyradiomics(task: Task) -> Values:
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    return named(RadiomicsFeatureExtractor(**SETTINGS).execute(*task.itk()))


def boxed(extractor: Callable[[], Any]) -> Callable[[Task], Values]:
    """Return a function that normalises the whole image by pyradiomics, and gives an extractor the box of the mask."""

    def run(task: Task) -> Values:
        from radiomics import imageoperations

        image, mask = task.itk()
        image = imageoperations.normalizeImage(image, normalizeScale=SETTINGS["normalizeScale"])
        box = tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in mask_box(task.mask))
        return named(extractor().execute(image[box], mask[box]))

    return run


def cropped_pyradiomics() -> Any:
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    return RadiomicsFeatureExtractor(binWidth=SETTINGS["binWidth"], additionalInfo=False)


def flash_radiomics() -> Any:
    from flash_radiomics.featureextractor import RadiomicsFeatureExtractor  # type: ignore[import-not-found, unused-ignore]

    extractor = RadiomicsFeatureExtractor(
        {
            "featureClass": {group: [] for group in FEATURE_GROUPS},
            "imageType": {"Original": {}},
            "setting": {"binWidth": SETTINGS["binWidth"], "additionalInfo": False},
        }
    )
    # Its own ``execute`` also writes a file of 3 MB, which is no part of the features.
    return SimpleNamespace(execute=lambda *images: extractor.extract_from_preprocessed(extractor.preprocess_case(*images)))


def nyxus(task: Task) -> Values:
    from nyxus import Nyxus3D  # type: ignore[import-not-found, import-untyped, unused-ignore]

    tool = Nyxus3D(["*3D_ALL*"], n_feature_calc_threads=1)
    tool.featurize_files([task.image_file], [task.mask_file], False)
    return {}


def named(values: Mapping[str, Any]) -> Values:
    """Return the values that are features."""
    return {name: float(value) for name, value in values.items() if is_feature(name) and not name.startswith("diagnostics")}


def contenders() -> tuple[list[Contender], list[str]]:
    """Return what is timed, and a line for each peer that is not there."""
    table = [
        Contender("glioflow", glioflow),
        Contender("pyradiomics", pyradiomics),
        Contender("pyradiomics (boxed)", boxed(cropped_pyradiomics)),
    ]
    absent = []
    for module, found in {
        "flash_radiomics": Contender("flash-radiomics (boxed)", boxed(flash_radiomics)),
        "nyxus": Contender("nyxus (its own features, reads the files)", nyxus),
    }.items():
        if find_spec(module):
            table.append(found)
        else:
            absent.append(f"{module.replace('_', '-')}: not installed")
    return table, absent


# Timing.


@contextlib.contextmanager
def quiet() -> Any:
    """Send what peers print, from compiled code too, nowhere."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def timed(one: Contender, task: Task) -> tuple[Values, float, float]:
    """Return what a contender returns, and the seconds that it took by the clock and of the processor."""
    with quiet():
        start, start_processor = time.perf_counter(), time.process_time()
        values = one.run(task)
        return values, time.perf_counter() - start, time.process_time() - start_processor


def take_turns(
    table: Sequence[Contender], task: Task, repeats: int, slow: bool
) -> tuple[list[Values], list[list[tuple[float, float]]]]:
    """Return the values of every contender, and of each turn the seconds by the clock and of the processor."""
    values, times = [], []
    for one in table:
        found, *took = timed(one, task)  # the first turn warms up; of slow ones it is the only one
        if took[1] <= SLOW_S:
            found, *took = timed(one, task)
        values.append(found)
        times.append([(took[0], took[1])])
        print(f"{one.name}: {1000 * took[0]:.0f} ms", file=sys.stderr, flush=True)
    for _ in range(1, repeats):
        for one, so_far in zip(table, times, strict=True):
            if slow or so_far[0][1] <= SLOW_S:
                _, wall, processor = timed(one, task)
                so_far.append((wall, processor))
    return values, times


# What is printed.


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def time_table(table: Sequence[Contender], times: Sequence[Sequence[tuple[float, float]]], target: float | None) -> str:
    """Return the times, with ratios to the first contender's."""
    first = [median(turn[kind] for turn in times[0]) for kind in (0, 1)]
    rows = []
    for one, turns in zip(table, times, strict=True):
        row = [one.name, str(len(turns))]
        for kind in (0, 1):
            middle = median(turn[kind] for turn in turns)
            row += [f"{1000 * middle:,.0f}", f"{middle / first[kind]:.1f}"]
        rows.append([*row, f"{1000 * target:.0f}" if target and not rows else ""])
    return markdown(["features of one region", "turns", "clock ms", "ratio", "processor ms", "ratio", "target ms"], rows)


def differences(values: Mapping[str, Values], reference: Values) -> dict[str, tuple[float, str]]:
    """Return of each contender the largest relative difference from ``reference``, and the feature that it is of."""
    found = {}
    for name, here in values.items():
        common = [feature for feature in reference if feature in here]
        apart = {f: abs(here[f] - reference[f]) / max(abs(reference[f]), 1e-12) for f in common if reference[f] == reference[f]}
        if apart:
            worst = max(apart, key=lambda feature: apart[feature])
            found[name] = apart[worst], worst
    return found


def machine() -> str:
    """Return the processor's model and number, and the versions of what is timed."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    model = next(
        (line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine()
    )
    there = {"pyradiomics": "radiomics"}
    here = [f"{name} {version(name)}" for name in PACKAGES if find_spec(there.get(name, name.replace("-", "_")))]
    return f"{model}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, {', '.join(here)}."


# What is measured.


def made_up(radius: float) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Return a brain-like image with a ragged, brighter tumour of about a radius in voxels, and the tumour's mask."""
    x, y, z = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in SHAPE), indexing="ij", sparse=True)
    noise = np.random.default_rng(0).normal(0, 40, SHAPE)
    brain = ((x - 120) / 70) ** 2 + ((y - 120) / 85) ** 2 + ((z - 77) / 65) ** 2 < 1
    distance = np.sqrt((x - 100) ** 2 + (y - 125) ** 2 + (z - 80) ** 2)
    ragged = 3 * np.sin(x / 5) * np.cos(y / 4) + 2 * np.sin(z / 3) + np.sin(x * 1.3) * np.sin(y * 1.1) * np.sin(z * 1.2)
    tumour = (distance < radius + ragged) & brain
    tissue = 400 + 60 * np.sin(x / 11) * np.cos(y / 9) * np.sin(z / 13) + noise
    image = np.where(brain, tissue + np.where(tumour, 350 - 4 * distance, 0), 0)
    return np.asfortranarray(np.maximum(image, 0).astype(np.int16)), np.asfortranarray(tumour)


def make_task(folder: Path, image: Volume, mask: NDArray[np.bool_], target: float | None) -> Task:
    """Return a task, image and mask also written to ``folder``."""
    files = folder / "image.nii.gz", folder / "mask.nii.gz"
    write_volume(files[0], image)
    write_volume(files[1], Volume(mask.astype(np.uint8), image.affine))
    return Task(image, mask, str(files[0]), str(files[1]), target)


def report(task: Task, repeats: int, slow: bool) -> bool:
    """Time everything, print the tables, and tell whether glioflow's values are pyradiomics'."""
    table, absent = contenders()
    values, times = take_turns(table, task, repeats, slow)
    print(f"\n### {int(task.mask.sum()):,} voxels\n\n{time_table(table, times, task.target)}")
    if absent:
        print("".join(f"\n- {line}" for line in absent))
    by_name = {one.name: found for one, found in zip(table, values, strict=True) if found}
    found = differences(by_name, by_name["pyradiomics"])
    rows = [[name, f"{apart:.1e}" if apart else "0", feature if apart else ""] for name, (apart, feature) in found.items()]
    print(f"\n{markdown(['largest relative difference from pyradiomics', 'difference', 'of'], rows)}")
    return found["glioflow"][0] <= SAME


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--mask", type=Path)
    parser.add_argument("--labels", help="the mask's values that make the region, such as 1,2,4")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contender")
    parser.add_argument("--slow", action="store_true", help="as many turns for those above 2 s")
    options = parser.parse_args()
    if (options.image is None) != (options.mask is None):
        parser.error("--image and --mask go together")
    warnings.simplefilter("ignore")  # of the peers
    logging.disable(logging.CRITICAL)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    print(f"{machine()}\n\nMedians over turns, one thread; images of {' x '.join(map(str, SHAPE))} voxels unless given.")
    with tempfile.TemporaryDirectory(prefix="radiomics_") as name:
        folder = Path(name)
        if options.image:
            labels = read_volume(options.mask).data
            mask = np.isin(labels, [int(value) for value in options.labels.split(",")]) if options.labels else labels > 0
            return 0 if report(make_task(folder, read_volume(options.image), mask, None), options.repeats, options.slow) else 1
        right = True
        for radius, target in TUMOURS.items():
            data, mask = made_up(radius)
            right &= report(make_task(folder, Volume(data, np.eye(4)), mask, target), options.repeats, options.slow)
        return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
