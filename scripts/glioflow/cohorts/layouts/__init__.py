"""Where a cohort's files are: one function a layout, read without opening an image.

The planning of the workflow and ``convert_cohort`` both look here, so nothing heavy is imported at the top of these modules.

A layout is ``find(folder, dataset) -> Listing`` and, where its images are not one NIfTI file a channel, also
``convert(case, target, dataset) -> Converted``, which writes the files of one case once. docs/add-a-cohort.md shows how to
add one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from glioflow.cohorts.layouts import bids, case_table, lgg_kaggle, msd_task01, patterns, upenn_gbm
from glioflow.cohorts.layouts.listing import Converted, Listing
from glioflow.cohorts.layouts.listing import FoundCase as FoundCase
from glioflow.files import file_stamp, key_of
from glioflow.study.configuration import (
    AnyCohort,
    PhantomCohort,
    TableCohort,
    cohort_dataset,
    data_folder,
    expand_path,
    is_labelled,
)
from glioflow.study.registry import Dataset


@dataclass(frozen=True)
class Layout:
    """How the cases of a data set are found and, where that is needed, converted."""

    find: Callable[[Path, Dataset], Listing]
    convert: Callable[[FoundCase, Path, Dataset], Converted] | None = None


LAYOUTS: dict[str, Layout] = {
    "patterns": Layout(patterns.find),
    "table": Layout(case_table.find),
    "bids": Layout(bids.find),
    "upenn_gbm": Layout(upenn_gbm.find),
    "msd_task01": Layout(msd_task01.find, msd_task01.convert),
    "lgg_kaggle": Layout(lgg_kaggle.find, lgg_kaggle.convert),
}


def cohort_layout(cohort: AnyCohort) -> Layout:
    """Return the layout of a cohort's data set."""
    return LAYOUTS[cohort_dataset(cohort).layout]


def cohort_folder(cohort: AnyCohort, phantoms: Path, data: str | None) -> Path:
    """Return where a cohort's files are: its path, the folder its data set is fetched into, or that of the phantoms."""
    if isinstance(cohort, PhantomCohort):
        return phantoms
    if isinstance(cohort, TableCohort):
        return Path(expand_path(cohort.table))
    return Path(expand_path(cohort.path)) if cohort.path else data_folder(cohort.dataset, data)


def list_cohort(cohort: AnyCohort, folder: Path) -> Listing:
    """Return the cases that a cohort's source shows below ``folder`` (the table itself, for a table)."""
    listing = cohort_layout(cohort).find(folder, cohort_dataset(cohort))
    if is_labelled(cohort):
        return listing
    return replace(listing, cases=[replace(case, files=without_label(case.files)) for case in listing.cases])


def without_label(files: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a case whose truth is not read."""
    return {role: path for role, path in files.items() if role != "label"}


def source_stamp(cases: list[FoundCase]) -> str:
    """Return a fingerprint of the cases' files by path and stamp: it differs when a look at them is due."""
    return key_of({"cases": [[case.case_id, case.patient_id, case.covariates, case_stamp(case)] for case in cases]})


def case_stamp(case: FoundCase) -> list[list[object]]:
    """Return path and stamp of every file of a case."""
    return [[role, *stamp] for role, stamp in zip(case.files, file_stamps(case.files.values()), strict=True)] + file_stamps(
        case.sources
    )


def file_stamps(paths: Iterable[str | Path]) -> list[list[object]]:
    """Return path and stamp of each file; the path alone where there is none."""
    stamps: list[list[object]] = []
    for path in paths:
        try:
            stamps.append([str(path), *file_stamp(path)])
        except OSError:
            stamps.append([str(path)])
    return stamps
