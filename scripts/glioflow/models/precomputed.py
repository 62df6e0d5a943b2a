"""Precomputed predictions, masks from any tool: found, read as canonical labels, their label scheme checked."""

import glob
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glioflow.cohorts.layouts.listing import NIFTI, walk_files
from glioflow.cohorts.layouts.patterns import pattern_expression
from glioflow.console import count
from glioflow.formatting import exact
from glioflow.imaging.labels import LABEL_COUNT, REGIONS, Labels, UnknownLabelsError, canonical_labels, fitting_schemes
from glioflow.study.registry import label_schemes

# What tools append to a case's id in the name of a mask, and of an image, which is none.
MASK_NAME = re.compile(
    r"(?P<case>.+?)(?:[_-](?:seg|segmentation|label|labels|mask|gt|truth|groundtruth|pred|prediction))?\.nii(?:\.gz)?", re.I
)
IMAGE_NAME = re.compile(r".+[_-](?:t1|t1c|t1ce|t1gd|t1n|t2|t2w|t2f|flair)\.nii(?:\.gz)?", re.I)

# How much better the regions must overlap, on average, under another scheme for it to be thought the right one. A region that
# is taken for another overlaps by next to nothing; a sound model's masks overlap worse under every scheme but their own.
BETTER_DICE = 0.1
LISTED_VALUES = 10


@dataclass(frozen=True)
class MaskPair:
    """The files of a case's truth and of its precomputed prediction; None where there is none and an empty one counts."""

    case_id: str
    truth: str
    prediction: str | None


# Raw value of a prediction (as text, for JSON) -> voxels by canonical label of the truth.
Counts = dict[str, list[int]]


def find_masks(folder: Path, pattern: str | None = None) -> dict[str, list[str]]:
    """Return the NIfTI masks below ``folder`` by case id, as paths.

    ``pattern``: a path below it in which ``{case}`` stands for the id, ``**/`` at its beginning for any folders and ``*`` for
    part of a name; .nii and .nii.gz both match. Without one, the id is a file's name without what tools append to it, such
    as ``_seg``; files named as images (``_flair`` …) are left out.
    """
    found = defaultdict[str, list[str]](list)
    for path in walked(folder) if pattern is None else glob_pattern(folder, pattern):
        if pattern is None:
            name = path.rpartition("/")[2]
            match = None if IMAGE_NAME.fullmatch(name) else MASK_NAME.fullmatch(name)
        else:
            match = pattern_expression(pattern).fullmatch(path)
            match = match if match and match["suffix"] in NIFTI else None
        if match:
            found[match["case"]].append((folder / path).as_posix())
    return dict(sorted(found.items()))


def walked(folder: Path) -> list[str]:
    """Return all files below ``folder``, sorted; a link that leads nowhere is one, which nobody can read."""
    files, problems = walk_files(folder)
    links = [path for path in (Path(str(problem["file"])) for problem in problems) if path.is_symlink() and not path.is_dir()]
    return sorted([*files, *(path.relative_to(folder).as_posix() for path in links)])


def glob_pattern(folder: Path, pattern: str) -> list[str]:
    """Return the files below ``folder`` that may match a pattern, sorted.

    They are searched at the pattern's own depth: what else is there may be a whole archive.
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", pattern.removeprefix("**/"))
    parts = re.split(r"(\{case\}|\*)", stem)
    spread = "".join("*" if part in ("{case}", "*") else glob.escape(part) for part in parts)
    start = "**/" if pattern.startswith("**/") else ""
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"{start}{spread}.nii*") if not path.is_dir())


def unexpected_masks(pattern: str, cases: Collection[str]) -> list[str]:
    """Return the sorted ids of the masks that match a path with ``{case}`` to the letter and are none of ``cases``."""
    before, slash, _ = pattern.partition("{case}")[0].rpartition("/")
    found = find_masks(Path(before + slash), pattern[len(before + slash) :])
    return sorted(c for c, paths in found.items() if c not in cases and Path(pattern.replace("{case}", c)).as_posix() in paths)


def labels_as(data: NDArray[np.generic], scheme_name: str, scheme: Mapping[int, int]) -> tuple[Labels | None, list[str]]:
    """Return the canonical map of a raw one (x, y, z), or None and all that is wrong with its values."""
    try:
        return canonical_labels(data, scheme)[0], []
    except UnknownLabelsError as error:
        return None, list(value_problems(error, data, scheme_name, scheme))


def value_problems(
    error: UnknownLabelsError, data: NDArray[np.generic], scheme_name: str, scheme: Mapping[int, int]
) -> Iterator[str]:
    """Yield what is wrong with the values of a raw label map that its scheme does not know."""
    undefined = int(data.size - np.count_nonzero(np.isfinite(data)))
    broken = [value for value in error.unknown if isfinite(value) and not value.is_integer()]
    whole = [value for value in error.values if isfinite(value) and value.is_integer()]
    unknown = [value for value in whole if value not in scheme]
    if undefined:
        yield f"found {count(undefined, 'voxel')} that {'is' if undefined == 1 else 'are'} NaN or infinite; expected labels"
    if broken:
        where = count(int(np.isin(data, broken).sum()), "voxel")
        yield (
            f"found values that are not whole numbers, {listed(broken)}, in {where}; expected labels: a mask has to be "
            "resampled by its nearest neighbours"
        )
    if unknown:
        fitting = fitting_schemes(whole, label_schemes())
        would = f"; {count(len(fitting), 'scheme')} would fit: {', '.join(fitting)}" if fitting else ""
        right = ", ".join(map(str, sorted({0, *scheme})))
        yield f"found the values {listed(unknown)}; expected those of the scheme {scheme_name!r}, {right}{would}"


def listed(values: Sequence[float]) -> str:
    """Return the first of some numbers in words."""
    text = ", ".join(map(exact, values[:LISTED_VALUES]))
    return f"{text} and {len(values) - LISTED_VALUES} more" if len(values) > LISTED_VALUES else text


def count_labels(truth: Labels, raw: NDArray[np.generic]) -> Counts:
    """Return how many voxels of each canonical label of the truth each raw value of a prediction has.

    ``raw``: whole numbers from 0 to 255, in an array (x, y, z) of the truth's shape.
    """
    values, labels = raw.astype(np.uint8).ravel(order="F"), truth.ravel(order="F")
    labelled = np.flatnonzero(values | labels)
    codes = values[labelled].astype(np.intp) * LABEL_COUNT + labels[labelled]
    table = np.bincount(codes, minlength=256 * LABEL_COUNT).reshape(256, LABEL_COUNT)
    return {str(value): table[value].tolist() for value in np.flatnonzero(table.any(axis=1))}


def scheme_warnings(counted: Iterable[Counts], scheme_name: str, regions: Sequence[str]) -> list[str]:
    """Return why the label scheme of a model's masks may not be theirs although it knows every value, a sentence each.

    ``counted``: the counts of each of its cases; ``regions``: those that are scored.
    """
    cases = [case for case in counted if case.keys() - {"0"}]  # an empty mask shows nothing, and a missing one as little
    values = sorted({int(value) for case in cases for value in case} - {0})
    having = {
        region: sum(any(voxels[label] for voxels in case.values() for label in REGIONS[region]) for case in cases)
        for region in regions
    }
    regions = [region for region in regions if having[region]]
    if not values or not regions:
        return []
    schemes = label_schemes()
    pooled = {value: np.sum([case.get(str(value), [0] * LABEL_COUNT) for case in cases], axis=0) for value in [0, *values]}
    fitting = fitting_schemes([float(value) for value in values], schemes)
    dice = {name: [pooled_dice(pooled, schemes[name], region) for region in regions] for name in fitting}
    mean = {name: sum(found) / len(found) for name, found in dice.items()}
    best = max(mean.values())
    if best > mean[scheme_name] + BETTER_DICE:
        better = [name for name in mean if mean[name] == best]
        compared = zip(regions, dice[better[0]], dice[scheme_name], strict=True)
        gains = ", ".join(f"{region} {new:.2f} instead of {old:.2f}" for region, new, old in compared if new > old)
        return [
            f"the masks hold {listed(values)}, which the scheme {scheme_name!r} knows; but read as {' or '.join(better)} they "
            f"overlap the truth better (Dice over all cases together: {gains}); is {scheme_name!r} right, and the truth's "
            "scheme?"
        ]
    shown = {
        region: {str(raw) for raw, label in schemes[scheme_name].items() if label in REGIONS[region]} for region in regions
    }
    return [
        f"{region} is in {having[region]} of {count(len(cases), 'truth')} and in no mask; is the scheme {scheme_name!r} right?"
        for region in regions
        if not any(shown[region] & set(case) for case in cases)
    ]


def pooled_dice(pooled: Mapping[int, NDArray[np.int64]], scheme: Mapping[int, int], region: str) -> float:
    """Return the Dice of a region that the truth has, over the voxels of all cases together.

    ``pooled``: raw value of the predictions -> voxels by canonical label of the truths.
    """
    labels = list(REGIONS[region])
    inside = [voxels for raw, voxels in pooled.items() if scheme.get(raw, 0) in labels]
    truth = sum(int(voxels[labels].sum()) for voxels in pooled.values())
    return 2 * sum(int(voxels[labels].sum()) for voxels in inside) / (truth + sum(int(voxels.sum()) for voxels in inside))
