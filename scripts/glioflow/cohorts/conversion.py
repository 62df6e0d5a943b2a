"""What happens to a case between its source and cases.csv: conversion to one NIfTI file a channel, and to a common grid.

Most cases need neither and stay where they are. What is written goes to ``<folder>/<case_id>/`` once, and a cache remembers
from which files.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.layouts import FoundCase, case_stamp, cohort_layout, without_label
from glioflow.cohorts.layouts.listing import Converted
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import Console
from glioflow.disk import largest_image_bytes
from glioflow.files import key_of
from glioflow.study.configuration import AnyCohort, Grid, PhantomCohort, cohort_dataset, is_labelled
from glioflow.study.registry import CHANNELS

LONGEST_ID = 128  # file systems take names of 255 bytes, and an id is but a part of a file's name
CASE_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_ID - 1}}}")


def needs_conversion(cohort: AnyCohort) -> bool:
    """Tell whether the cases of a cohort cannot be used where they are."""
    return cohort_layout(cohort).convert is not None or grid_of(cohort) is not None


def grid_of(cohort: AnyCohort) -> Grid | None:
    """Return the grid that the cohort's images are brought to, if any."""
    return None if isinstance(cohort, PhantomCohort) else cohort.grid


def convert_cases(
    cases: Sequence[FoundCase],
    cohort: AnyCohort,
    folder: Path,
    cache: CaseCache,
    threads: int,
    console: Console,
    reread: bool = False,
) -> tuple[list[FoundCase], list[Problem], int]:
    """Return the cases as the workflow reads them, what is wrong with their files, and how many were converted now.

    A case that could not be converted has a problem and is left out: there is no image of it to check. ``reread``: what is in
    the cache is converted again.
    """
    if not needs_conversion(cohort):
        return list(cases), [], 0
    convertible = [case for case in cases if CASE_ID.fullmatch(case.case_id)]  # another id never becomes a folder's name
    values, written = compute_cases(
        _describe_conversion,
        {case.case_id: case for case in convertible},
        cohort,
        folder,
        threads=threads,
        console=console,
        what="cases converted",
        cache=cache,
        keys={case.case_id: conversion_key(case, cohort) for case in convertible},
        files=lambda _, value: [folder / path for path in value["written"].values()],
        reread=reread,
    )
    done = {case_id: _read_conversion(value, folder) for case_id, value in values.items()}
    changed = [
        replace(case, files=done[case.case_id].files, covariates={**case.covariates, **done[case.case_id].covariates})
        if case.case_id in done
        else case
        for case in cases
        if case.case_id not in done or is_usable(done[case.case_id])
    ]
    return changed, [problem for case in convertible for problem in done[case.case_id].problems], written


def is_usable(converted: Converted) -> bool:
    """Tell whether something of a case is left to be checked: an image, or a label that comes without any and is sound."""
    return bool(set(converted.files) & set(CHANNELS)) or bool(converted.files and not converted.problems)


def conversion_key(case: FoundCase, cohort: AnyCohort) -> str:
    """Return the key under which a converted case stays converted: its files and what is done to them."""
    grid, dataset = grid_of(cohort), cohort_dataset(cohort)
    rules = {"layout": dataset.layout, "options": dataset.options, "grid": grid and grid.model_dump(mode="json")}
    limits = {
        "labelled": is_labelled(cohort),
        "mismatch": getattr(cohort, "on_geometry_mismatch", "error"),
        "largest": largest_image_bytes(),
    }
    return key_of({"files": case_stamp(case), "rules": rules, **limits, "code": module_fingerprint(__name__)})


def _describe_conversion(case: FoundCase, cohort: AnyCohort, folder: Path) -> dict[str, Any]:
    """Return what ``convert_case`` did, the paths of what it wrote relative to ``folder``, which may be moved."""
    converted = convert_case(case, cohort, folder)
    paths = {role: Path(path) for role, path in converted.files.items()}
    written = {role: path.relative_to(folder).as_posix() for role, path in paths.items() if path.is_relative_to(folder)}
    return {**asdict(converted), "written": written}


def _read_conversion(described: dict[str, Any], folder: Path) -> Converted:
    """Return what ``_describe_conversion`` described, with the present paths."""
    written = {role: (folder / path).as_posix() for role, path in described["written"].items()}
    fields = {name: value for name, value in described.items() if name != "written"}
    return Converted(**{**fields, "files": {**described["files"], **written}})


def convert_case(case: FoundCase, cohort: AnyCohort, folder: Path) -> Converted:
    """Write what a case needs below ``folder``; return where its files are then, and what is wrong with them."""
    try:
        return _convert(case, cohort, folder)
    except Exception as error:  # what no converter foresaw is a problem of this case, and the others go on
        path = next(iter((*case.sources, *case.files.values())), "")
        found, expected = (
            f"something that no converter foresaw ({type(error).__name__}: {error})",
            "files that other tools read",
        )
        return Converted(
            {}, problems=[problem_row(case.case_id, path, "unreadable", found, expected, patient_id=case.patient_id)]
        )


def _convert(case: FoundCase, cohort: AnyCohort, folder: Path) -> Converted:
    convert = cohort_layout(cohort).convert
    target = folder / case.case_id
    converted = convert(case, target, cohort_dataset(cohort)) if convert else Converted(dict(case.files))
    if not is_labelled(cohort):
        converted = replace(converted, files=without_label(converted.files))
    grid = grid_of(cohort)
    if grid is None:
        return converted
    from glioflow.cohorts.grids import regrid_case  # nibabel's resampling is slow to import and seldom needed

    regridded = regrid_case(
        replace(case, files=converted.files), grid, getattr(cohort, "on_geometry_mismatch", "error"), target
    )
    return replace(converted, files=regridded.files, problems=[*converted.problems, *regridded.problems])
