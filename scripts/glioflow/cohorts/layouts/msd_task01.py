"""Layout ``msd_task01``: the Medical Segmentation Decathlon's brain tumours, one 4D NIfTI file a case.

``imagesTr/BRATS_001.nii.gz`` holds the sequences along its fourth axis, in the order of ``modality`` in ``dataset.json``;
``labelsTr/BRATS_001.nii.gz`` is the label (Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9). ``imagesTs`` has no labels
and is left out.
"""

import json
import re
from pathlib import Path
from typing import Any

from glioflow.cohorts.layouts.listing import Converted, FoundCase, Listing, either_nifti, walk_files
from glioflow.cohorts.problems import Problem, orientation_unknown, problem_row
from glioflow.study.registry import Dataset, patient_of

FILE = re.compile(r"(?P<root>(?:.*/)?)(?P<kind>imagesTr|labelsTr)/(?P<case>[^/]+?)\.nii(\.gz)?")
NAMES = {"flair": "flair", "t1w": "t1", "t1": "t1", "t1gd": "t1ce", "t1ce": "t1ce", "t2w": "t2", "t2": "t2"}
ORDER = ("flair", "t1", "t1ce", "t2")  # of the data set as it is given out: FLAIR, T1w, t1gd, T2w
DESCRIPTION = "dataset.json"


def find(folder: Path, dataset: Dataset) -> Listing:
    """Return every case with an image or a label in the training folders, and what dataset.json leaves unclear."""
    paths, problems = walk_files(folder)
    known = set(paths)
    roots: dict[str, str] = {}
    for path in paths:
        if match := FILE.fullmatch(path):
            roots.setdefault(match["case"], match["root"])
    descriptions = {}
    for root in dict.fromkeys(roots.values()):
        descriptions[root] = folder / root / DESCRIPTION
        problems += description_problems(descriptions[root])
    cases = []
    for case_id, root in sorted(roots.items()):
        image = (folder / either_nifti(f"{root}imagesTr/{case_id}.nii.gz", known)).as_posix()
        label = (folder / either_nifti(f"{root}labelsTr/{case_id}.nii.gz", known)).as_posix()
        sources = (image, descriptions[root].as_posix())
        cases.append(FoundCase(case_id, patient_of(case_id, dataset), {"label": label}, sources=sources))
    return Listing(cases, problems)


def channel_order(description: Path) -> tuple[str, ...]:
    """Return the channels along the fourth axis by dataset.json; the published order where there is no such file.

    Raises ValueError where the file cannot be read or names a sequence that is not known.
    """
    try:
        content: Any = json.loads(description.read_text(encoding="utf-8"))
        modality = content["modality"]
        names = [str(modality[key]) for key in sorted(modality, key=int)]
    except FileNotFoundError:
        return ORDER
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no readable list `modality` ({type(error).__name__}: {error})") from None
    channels = tuple(NAMES.get(name.strip().lower(), "") for name in names)
    if not all(channels) or len(set(channels)) != len(channels):
        raise ValueError(f"the sequences {', '.join(names)}")
    return channels


def description_problems(description: Path) -> list[Problem]:
    """Return what is wrong with dataset.json, or that the published order is taken without it."""
    expected = 'its "modality" with FLAIR, T1w, t1gd and T2w, each once, by number'
    if not description.exists():
        found = "no dataset.json: the channels are taken to be FLAIR, T1w, t1gd, T2w"
        return [problem_row("", description.as_posix(), "no_channel_order", found, expected, "warning")]
    try:
        channel_order(description)
    except ValueError as error:
        return [problem_row("", description.as_posix(), "channel_order", str(error), expected)]
    return []


def convert(case: FoundCase, target: Path, dataset: Dataset) -> Converted:
    """Write each sequence of a case as a 3D NIfTI file in the stored type; the label stays where it is."""
    from glioflow.imaging.headers import ONE_READING  # reads images: not for planning
    from glioflow.imaging.volumes import UnreadableVolumeError, Volume, parse_volume, read_bytes, write_volume

    image, description = case.sources
    files = dict(case.files)
    try:
        channels = channel_order(Path(description))
    except ValueError:  # reported by find, for all cases at once
        return Converted(files)
    try:
        volume = parse_volume(image, read_bytes(image), dimensions=4)
    except UnreadableVolumeError as error:
        expected = f"a 4D NIfTI image of {len(channels)} sequences ({', '.join(channels)}): {error.expected}"
        problem = problem_row(case.case_id, image, error.problem, error.found, expected, patient_id=case.patient_id)
        return Converted(files, problems=[problem])
    if volume.misplaced:
        problem = problem_row(case.case_id, image, "affine", volume.misplaced, ONE_READING, patient_id=case.patient_id)
        return Converted(files, problems=[problem])
    if volume.data.shape[3] != len(channels):
        found = f"{volume.data.shape[3]} volumes along the fourth axis"
        expected = f"{len(channels)}, as dataset.json names: {', '.join(channels)}"
        problem = problem_row(case.case_id, image, "channel_count", found, expected, patient_id=case.patient_id)
        return Converted(files, problems=[problem])
    problems = []
    if volume.header and not volume.header.oriented:
        problems.append(orientation_unknown(case.case_id, image, case.patient_id))
    for index, channel in enumerate(channels):
        path = target / f"{case.case_id}_{channel}.nii.gz"
        write_volume(path, Volume(volume.data[..., index], volume.affine))
        files[channel] = path.as_posix()
    return Converted(files, problems=problems)
