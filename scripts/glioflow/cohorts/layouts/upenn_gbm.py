"""Layout ``upenn_gbm``: UPENN-GBM of The Cancer Imaging Archive as NIfTI (Bakas et al. 2022, doi:10.1038/s41597-022-01560-7).

Images are in a folder a case, labels flat in ``images_segm`` (refined by hand) and ``automated_segm``. Of a case with both, the
refined one is taken; a covariate tells which it is, another whether the case is pre-operative (``_11``) or a follow-up
(``_21``). Follow-ups were published without labels.
"""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from glioflow.cohorts.layouts.listing import FoundCase, Listing, shortened, unlabelled, walk_files
from glioflow.cohorts.layouts.patterns import alternatives, pattern_expression
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import count
from glioflow.study.registry import ROLES, Dataset, patient_of

SEGMENTATIONS = ("manual", "automated")  # in the order of the registry's patterns of the label
TIMEPOINTS = {"11": "pre-operative", "21": "follow-up"}


def find(folder: Path, dataset: Dataset) -> Listing:
    """Return the cases with images and a label; those with one of the two are counted in a warning each.

    Of several patterns of a role the first that has a file counts.
    """
    assert dataset.files is not None
    paths, problems = walk_files(folder)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    which: dict[str, int] = {}
    places: dict[str, str] = {}
    for role in ROLES:
        for index, option in enumerate(alternatives(dataset.files.get(role, []))):  # type: ignore[call-overload]
            expression = pattern_expression(option)
            for path in sorted(paths, key=lambda path: (path.count("/"), path)):
                match = expression.fullmatch(path)
                if not match or match["suffix"] not in (".nii", ".nii.gz"):
                    continue
                case_id, taken = match["case"], found[match["case"]].get(role)
                if taken is None:
                    found[case_id][role] = path
                    if role == "label":
                        which[case_id] = index
                    else:
                        places[case_id] = match["prefix"]
                elif role != "label" or which[case_id] == index:
                    problems.append(two_files(case_id, folder, role, taken, path, dataset))
    cases = []
    for case_id in sorted(found):
        if case_id not in places or case_id not in which:
            continue
        files = {}
        for role in ROLES:
            if options := alternatives(dataset.files.get(role, [])):  # type: ignore[call-overload]
                expected = places[case_id] + options[0].removeprefix("**/").replace("{case}", case_id)
                files[role] = (folder / found[case_id].get(role, expected)).as_posix()
        covariates = {"segmentation": SEGMENTATIONS[min(which[case_id], 1)]}
        if timepoint := TIMEPOINTS.get(case_id.rsplit("_", 1)[-1]):
            covariates["timepoint"] = timepoint
        cases.append(FoundCase(case_id, patient_of(case_id, dataset), files, covariates))
    bare = found.keys() - which.keys()
    problems += unlabelled(folder, bare, len(found), "a file in images_segm or automated_segm")
    return Listing(cases, [*problems, *without_images(folder, found.keys() - places.keys())])


def two_files(case_id: str, folder: Path, role: str, first: str, second: str, dataset: Dataset) -> Problem:
    """Return the problem of a role of a case that has two files."""
    found = f"2 files for {role}: {first}, {second}"
    patient_id = patient_of(case_id, dataset)
    return problem_row(
        case_id, (folder / first).as_posix(), "two_files", found, "one; move the other away", patient_id=patient_id
    )


def without_images(folder: Path, cases: Collection[str]) -> list[Problem]:
    """Return a warning for the segmentations of cases that have no images."""
    if not cases:
        return []
    found = f"{count(len(cases), 'segmentation')} without images ({shortened(cases)})"
    expected = "a folder in images_structural; without one a case is left out"
    return [problem_row("", folder.as_posix(), "no_images", found, expected, "warning")]
