"""Layout ``upenn_gbm``: UPENN-GBM of The Cancer Imaging Archive as NIfTI (Bakas et al. 2022, doi:10.1038/s41597-022-01560-7).

Images are in a folder a case, labels flat in ``images_segm`` (refined by hand) and ``automated_segm``. Of a case with both, the
refined one is taken; a covariate tells which it is, another whether the case is pre-operative (``_11``) or a follow-up
(``_21``). Follow-ups were published without labels.
"""

from collections import defaultdict
from pathlib import Path

from glioflow.cohorts.layouts.listing import FoundCase, Listing, walk_files
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
        cases.append(FoundCase(case_id, patient_of(case_id, dataset.patient_id), files, covariates))
    return Listing(cases, [*problems, *left_out(folder, found, places, which)])


def two_files(case_id: str, folder: Path, role: str, first: str, second: str, dataset: Dataset) -> Problem:
    """Return the problem of a role of a case that has two files."""
    found = f"2 files for {role}: {first}, {second}"
    patient_id = patient_of(case_id, dataset.patient_id)
    return problem_row(
        case_id, (folder / first).as_posix(), "two_files", found, "one; move the other away", patient_id=patient_id
    )


def left_out(folder: Path, found: dict[str, dict[str, str]], images: dict[str, str], labels: dict[str, int]) -> list[Problem]:
    """Return one warning for the cases that have no label, and one for labels that have no image."""
    problems = []
    unlabelled = sorted(set(found) - set(labels))
    if unlabelled:
        text = f"{count(len(unlabelled), 'case')} of {len(found)} without a segmentation ({shortened(unlabelled)})"
        expected = "a file in images_segm or automated_segm; without one a case is left out"
        problems.append(problem_row("", folder.as_posix(), "no_segmentation", text, expected, "warning"))
    if bare := sorted(set(found) - set(images)):
        text = f"{count(len(bare), 'segmentation')} without images ({shortened(bare)})"
        expected = "a folder in images_structural; without one a case is left out"
        problems.append(problem_row("", folder.as_posix(), "no_images", text, expected, "warning"))
    return problems


def shortened(ids: list[str]) -> str:
    """Return ids as text, the first five of them."""
    return ", ".join(ids[:5]) + (" …" if len(ids) > 5 else "")
