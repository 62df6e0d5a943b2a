"""What a layout returns, and the walk through a folder that all layouts share."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from glioflow.cohorts.problems import Problem, problem_row
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
