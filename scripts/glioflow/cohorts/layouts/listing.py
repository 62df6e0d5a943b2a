"""What a layout returns, and the walk through a folder that all layouts share."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import count
from glioflow.study.registry import ROLES

NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class FoundCase:
    """A case as its source shows it: ids, the path of each role, what else it is made from, clinical columns."""

    case_id: str
    patient_id: str
    files: dict[str, str]  # role -> path; where a file is missing, the path where it should be
    covariates: dict[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()  # further files that its images are made from

    def row(self) -> dict[str, str]:
        """Return the case as a row of cases.csv."""
        paths = {role: self.files[role] for role in ROLES if role in self.files}
        return {"case_id": self.case_id, "patient_id": self.patient_id, **paths, **self.covariates}


@dataclass(frozen=True)
class Listing:
    """The cases of a source, sorted by id, and what is wrong with it as far as names and places of files show."""

    cases: list[FoundCase]
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Converted:
    """What became of a case: the path of each role, covariates learnt on the way, and what is wrong with its files."""

    files: dict[str, str]
    covariates: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def walk_files(folder: Path) -> tuple[list[str], list[Problem]]:
    """Return the paths of all files below ``folder``, relative, with ``/``, sorted; symbolic links are followed.

    A link that leads back to a folder above it, or nowhere, is a problem and is not followed.
    """
    found: list[str] = []
    problems: list[Problem] = []

    def enter(place: str, prefix: str, above: tuple[tuple[int, int], ...]) -> None:
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            problems.append(problem_row("", place, "unreadable_folder", str(error.strerror), "a folder that can be listed"))
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if not entry.is_dir():
                    if entry.is_symlink():
                        entry.stat()
                    found.append(prefix + entry.name)
                    continue
                stat = entry.stat()
            except OSError as error:
                expected = "a link to a file or folder that exists, or no link"
                problems.append(
                    problem_row("", entry.path, "broken_link", f"a link that leads nowhere ({error.strerror})", expected)
                )
                continue
            identity = (stat.st_dev, stat.st_ino)
            if identity in above:
                text = "a link to a folder that it lies in: a loop"
                problems.append(problem_row("", entry.path, "link_loop", text, "no such link; remove it", "warning"))
                continue
            enter(entry.path, f"{prefix}{entry.name}/", (*above, identity))

    if folder.is_dir():
        stat = folder.stat()
        enter(str(folder), "", ((stat.st_dev, stat.st_ino),))
    return sorted(found), problems


def either_nifti(path: str, files: Iterable[str]) -> str:
    """Return ``path``, or its other form of NIfTI (.nii for .nii.gz and the reverse) where only that is among ``files``."""
    other = path.removesuffix(".gz") if path.endswith(".nii.gz") else path + ".gz"
    return other if path not in files and path.endswith(NIFTI) and other in files else path


def left_out(folder: Path, cases: Collection[str]) -> list[Problem]:
    """Return a warning for the cases that the folder shows and that are no part of the data set."""
    if not cases:
        return []
    found = f"{count(len(cases), 'case')} in folders of other data ({shortened(cases)})"
    expected = "no such cases: a challenge's validation cases and other diagnoses are no part of the data set and are left out"
    return [problem_row("", folder.as_posix(), "left_out", found, expected, "warning")]


def unlabelled(folder: Path, cases: Collection[str], total: int, expected: str) -> list[Problem]:
    """Return a warning for the cases that have no label, of a data set that is labelled in part."""
    if not cases:
        return []
    found = f"{count(len(cases), 'case')} of {total} without a segmentation ({shortened(cases)})"
    return [
        problem_row("", folder.as_posix(), "no_segmentation", found, f"{expected}; without one a case is left out", "warning")
    ]


def shortened(ids: Collection[str]) -> str:
    """Return ids as text, sorted, the first five of them."""
    return ", ".join(sorted(ids)[:5]) + (" …" if len(ids) > 5 else "")
