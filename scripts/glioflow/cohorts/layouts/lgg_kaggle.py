"""Layout ``lgg_kaggle``: the TCGA lower-grade gliomas of Buda et al. as colour slices, one TIFF file an axial slice.

``kaggle_3m/<patient>/<patient>_<n>.tif`` holds T1 before contrast, FLAIR and T1 after contrast as red, green and blue, and
``…_<n>_mask.tif`` the FLAIR abnormality as 255 (Buda et al. 2019, doi:10.1016/j.compbiomed.2019.05.002; the order is that of
``preprocessing3D.m`` in the authors' repository, MaciejMazurowski/brain-segmentation). A sequence that a patient lacks was
replaced by FLAIR, so a colour that equals FLAIR in every slice is taken for missing.

What is known of the place of a voxel: slices are axial, numbered from 1 at the skull base upwards, with the forehead up (seen
in eight patients). Arrays (x, y, z) are columns, rows and slices, with an affine that points to the patient's left, back and
head (LPS). That the left of a picture is the patient's right is how radiologists show slices, not something that the files
tell; nor do they tell the edges of a voxel (option ``spacing_mm``), since slices were scaled to 256 pixels.
"""

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glioflow.cohorts.layouts.listing import Converted, FoundCase, Listing, walk_files
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.study.registry import Dataset, patient_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLICE = re.compile(r"(?P<prefix>(?:.*/)?)(?P<case>TCGA_[^/_]+_[^/_]+_\d+)/(?P=case)_(?P<number>\d+)(?P<mask>_mask)?\.tif")
COLOURS = ("t1", "flair", "t1ce")  # red, green, blue
UNKNOWN_SPACING = (1.0, 1.0, 1.0)


def find(folder: Path, dataset: Dataset) -> Listing:
    """Return one case a patient's folder, with its slices as sources.

    The archive holds every patient twice, below ``kaggle_3m`` and ``lgg-mri-segmentation/kaggle_3m``; one is taken: that with
    more slices, or else the shorter path.
    """
    paths, problems = walk_files(folder)
    places: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        if match := SLICE.fullmatch(path):
            places[match["case"]][match["prefix"]].append((folder / path).as_posix())
    cases = []
    for case_id in sorted(places):
        prefixes = places[case_id]
        chosen = min(prefixes, key=lambda prefix: (-len(prefixes[prefix]), prefix.count("/"), prefix))
        case = FoundCase(case_id, patient_of(case_id, dataset), {}, sources=tuple(prefixes[chosen]))
        cases.append(case)
        problems += numbering_problems(case)
    if cases and not dataset.options.get("spacing_mm"):
        found = "TIFF files, which tell no voxel size: 1 x 1 x 1 is taken, so distances are in pixels and slices, not mm"
        expected = "the cohort's key spacing_mm, where the size is known"
        problems.append(problem_row("", folder.as_posix(), "spacing_unknown", found, expected, "warning"))
    return Listing(cases, problems)


def numbered_slices(sources: Iterable[str]) -> tuple[dict[int, str], dict[int, str]]:
    """Return the paths of a patient's images and of its masks by slice number, in the order of the numbers."""
    images: dict[int, str] = {}
    masks: dict[int, str] = {}
    for path in sources:
        if match := SLICE.fullmatch(path):
            (masks if match["mask"] else images)[int(match["number"])] = path
    return dict(sorted(images.items())), dict(sorted(masks.items()))


def numbering_problems(case: FoundCase) -> list[Problem]:
    """Return what the names of a patient's slices tell: numbers that are missing, images without mask and the reverse."""
    images, masks = numbered_slices(case.sources)
    place = Path(case.sources[0]).parent.as_posix()
    problems = []
    if gaps := sorted(set(range(1, max(images | masks) + 1)) - set(images) - set(masks)):
        found = f"slices 1 to {max(images | masks)} without {listed(gaps)}"
        expected = "every slice; unpack or download the patient again"
        problems.append(problem_row(case.case_id, place, "missing_slices", found, expected, patient_id=case.patient_id))
    for have, lack, text in ((images, masks, "no mask"), (masks, images, "a mask without its image")):
        if alone := sorted(set(have) - set(lack)):
            found, expected = f"{text} for slice {listed(alone)}", "an image and a mask for each slice"
            problems.append(problem_row(case.case_id, place, "unpaired_slices", found, expected, patient_id=case.patient_id))
    return problems


def listed(numbers: Sequence[int]) -> str:
    """Return numbers as text, the first ten of them."""
    return ", ".join(map(str, numbers[:10])) + (" …" if len(numbers) > 10 else "")


def convert(case: FoundCase, target: Path, dataset: Dataset) -> Converted:
    """Write a patient's slices as one uint8 volume a sequence and one of the mask; sequences it lacks are left out."""
    import numpy as np  # heavy, and planning needs none of it

    from glioflow.imaging.volumes import Volume, write_volume  # reads and writes images: not for planning

    if numbering_problems(case):  # reported by find; a stack with holes would be a wrong volume
        return Converted({})
    images, masks = numbered_slices(case.sources)
    colour, problems = read_stack(case, list(images.values()), 3)
    mask, mask_problems = read_stack(case, list(masks.values()), 2)
    problems += mask_problems
    if colour is None or mask is None:
        return Converted({}, problems=problems)
    if colour.shape[:3] != mask.shape:
        found = f"masks of {mask.shape[1]}x{mask.shape[2]} pixels beside images of {colour.shape[1]}x{colour.shape[2]}"
        place = Path(case.sources[0]).parent.as_posix()
        problems.append(problem_row(case.case_id, place, "slice_size", found, "one size", patient_id=case.patient_id))
        return Converted({}, problems=problems)
    flair = COLOURS.index("flair")
    missing = [role for i, role in enumerate(COLOURS) if i != flair and np.array_equal(colour[..., i], colour[..., flair])]
    stacks = {role: colour[..., i] for i, role in enumerate(COLOURS) if role not in missing} | {"label": mask}
    affine = np.diag([*np.multiply(dataset.options.get("spacing_mm") or UNKNOWN_SPACING, (-1, -1, 1)), 1.0])
    files = {}
    for role, stack in stacks.items():
        path = target / f"{case.case_id}_{role}.nii.gz"
        write_volume(path, Volume(np.ascontiguousarray(stack.transpose(2, 1, 0)), affine))
        files[role] = path.as_posix()
    return Converted(files, {"missing_sequences": " ".join(missing)} if missing else {}, problems)


def read_stack(case: FoundCase, paths: Sequence[str], dimensions: int) -> tuple["NDArray[Any] | None", list[Problem]]:
    """Return TIFF files as one array (slice, row, column), and 3 colours where ``dimensions`` is 3; None where one is wrong."""
    import numpy as np  # heavy, and planning needs none of it
    import tifffile

    problems = []
    slices: dict[str, NDArray[Any]] = {}
    expected = "an RGB image of 8 bits" if dimensions == 3 else "a grey image of 8 bits"
    for path in paths:
        try:
            data = np.asarray(tifffile.imread(path))
        except (OSError, ValueError, IndexError, KeyError, struct.error, tifffile.TiffFileError) as error:
            found = f"a file that cannot be read as TIFF ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            text = "a TIFF image; unpack or download it again"
            problems.append(problem_row(case.case_id, path, "unreadable", found, text, patient_id=case.patient_id))
            continue
        if data.dtype != np.uint8 or data.ndim != dimensions or data.shape[2:] not in ((), (3,)):
            found = f"an array of shape {data.shape}, {data.dtype}"
            problems.append(problem_row(case.case_id, path, "slice_kind", found, expected, patient_id=case.patient_id))
            continue
        slices[path] = data
    usual = Counter(data.shape for data in slices.values()).most_common(1)
    for path, data in slices.items():
        if data.shape != usual[0][0]:
            found = f"{data.shape[0]}x{data.shape[1]} pixels"
            text = f"{usual[0][0][0]}x{usual[0][0][1]} as most of the patient's slices"
            problems.append(problem_row(case.case_id, path, "slice_size", found, text, patient_id=case.patient_id))
    return (None if problems else np.stack(list(slices.values()))), problems
