"""The tables and other texts of a results folder, as they go into a bundle."""

import csv
import io
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glioflow.bundle.identifiers import Identifiers
from glioflow.bundle.steps import RESULTS
from glioflow.cohorts.covariates import covariate_columns
from glioflow.files import NUMBER, read_text_table
from glioflow.models.uncertainty import map_path
from glioflow.study.registry import ROLES

INPUTS = "inputs"  # the folder that a bundle's workflow reads the user's own data from
MASK = "mask"  # role in inputs.csv of a mask that the study was given
PICTURES, IMAGES = (".png", ".svg", ".jpg"), (".nii", ".nii.gz")
VOLUMES = ".js"  # of the report's viewer: images with both masks
PATH_COLUMNS = (*ROLES, "prediction", "picture", "path")
FREE_COLUMNS = ("message", "note", "file", "found", "expected")
FOLD_VALUES = "fold_by_"
IDENTIFIER = re.compile(r"(case|patient)_id$")


@dataclass
class Policy:
    """What goes along, and what is written in place of what does not."""

    identifiers: Identifiers
    covariates: Collection[str]  # that go along
    withheld: Collection[str]  # that do not
    pictures: bool
    predictions: bool
    images: bool
    cohort_roots: Mapping[str, tuple[str, str]]  # cohort: its folder, and what is written for it


@dataclass
class Shared:
    """A file of a bundle: its text, and the files that it names and that go along: name in the bundle to where it is."""

    text: str
    files: dict[str, Path] = field(default_factory=dict)


class ResultsFiles:
    """The files of one results folder."""

    def __init__(self, results: Path, policy: Policy) -> None:
        self.results = Path(os.path.abspath(results))  # noqa: PTH100 - links stay as they are named
        self.policy = policy

    def name(self, path: Path) -> str | None:
        """Return what a file of the results folder is called in the bundle, None for one that is elsewhere."""
        full = Path(os.path.normpath(self.results / path))
        if not full.is_relative_to(self.results):
            return None
        return self.policy.identifiers.text(f"{RESULTS}/{full.relative_to(self.results).as_posix()}")

    def share(self, file: Path) -> Shared:
        """Return a table, JSON file or text of the results as it goes into a bundle."""
        full = Path(os.path.abspath(file))  # noqa: PTH100
        if full.suffix == ".csv":
            return self._table(full)
        text = full.read_text(encoding="utf-8", errors="replace")
        if full.suffix == ".json":
            value = self._json(json.loads(text), full.parent)
            changed = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
            return Shared(text if json.loads(text) == value else changed)
        return Shared(self.policy.identifiers.free(text))

    def _json(self, value: Any, base: Path) -> Any:
        if isinstance(value, str):
            return (
                self._path(value, base) if "/" in value and not re.search(r"\s", value) else self.policy.identifiers.text(value)
            )
        if isinstance(value, list):
            changed = [self._json(each, base) for each in value]
            return sorted(changed) if self._hides_order(value, changed) else changed
        if isinstance(value, dict):
            pairs = [(self._json(key, base), self._json(each, base)) for key, each in value.items()]
            return dict(sorted(pairs) if self._hides_order(value, [key for key, _ in pairs]) else pairs)
        return value

    def _hides_order(self, texts: Iterable[Any], changed: Iterable[Any]) -> bool:
        """Tell whether texts hold ids, whose order would tell which pseudonym is whose."""
        pairs = list(zip(texts, changed, strict=True))
        hides = self.policy.identifiers.pseudonyms is not None and all(isinstance(text, str) for text, _ in pairs)
        return hides and any(text != other for text, other in pairs)

    def _path(self, text: str, base: Path) -> str:
        """Return a path in a file of the folder ``base``, as the bundle has it."""
        if "://" in text:
            return self.policy.identifiers.text(text)
        full = os.path.normpath(base / text)
        name = self.name(Path(full))
        if name is not None:
            return self.policy.identifiers.text(text) if not text.startswith("/") else self._relative(name, base)
        if not text.startswith(("/", "..")):
            return self.policy.identifiers.text(text)
        return self._relative(self.policy.identifiers.text(self.policy.identifiers.place(full)), base)

    def _relative(self, name: str, base: Path) -> str:
        return os.path.relpath(name, self.name(base) or RESULTS)

    # ---- tables

    def _table(self, file: Path) -> Shared:
        text = file.read_text(encoding="utf-8")
        rows = list(csv.reader(io.StringIO(text, newline="")))
        if not rows:
            return Shared(text)
        header, *body = rows
        kept = [index for index, column in enumerate(header) if not self._is_withheld(column)]
        shared = Shared("")
        lines = [[header[index] for index in kept]]
        for row in body:
            cells = self._row(dict(zip(header, row, strict=True)), file, shared)
            if cells is not None:
                lines.append([cells[header[index]] for index in kept])
        if self.policy.identifiers.pseudonyms and "case_id" in lines[0] and not {"group", "rank"} <= set(lines[0]):
            place = lines[0].index("case_id")  # in the order of the ids, every pseudonym's owner could be told
            lines[1:] = sorted(lines[1:], key=lambda line: line[place])
        stream = io.StringIO(newline="")
        returns = any("\r" in cell for line in lines for cell in line)  # as glioflow.files.write_table has it
        csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL).writerows(lines)
        shared.text = text if lines == rows else stream.getvalue()
        return shared

    def _is_withheld(self, column: str) -> bool:
        return column in self.policy.withheld or column.removeprefix(FOLD_VALUES) in self.policy.withheld

    def _row(self, row: dict[str, str], file: Path, shared: Shared) -> dict[str, str] | None:
        """Return a row's cells as they go along, and note the files it names; None where the row does not."""
        cells, patient = dict(row), self._patient(row)
        for column, cell in row.items():
            if not cell or self._is_withheld(column):
                continue
            if column in PATH_COLUMNS:
                found = self._file(cell, column, row, file)
                if found is None:
                    return None
                cells[column], named = found
                shared.files |= named
            elif IDENTIFIER.search(column):
                cells[column] = self.id(cell)
            elif column in FREE_COLUMNS:
                cells[column] = self.policy.identifiers.free(cell)
            elif not _is_plain(cell):
                cells[column] = self.policy.identifiers.text(cell)
            if column in self.policy.covariates:
                cells[column] = self._without_dates(cells[column], patient)
        return cells

    def _patient(self, row: Mapping[str, str]) -> str:
        pseudonyms = self.policy.identifiers.pseudonyms
        named = row.get("patient_id") or row.get("case_id") or ""
        return pseudonyms.patient_of.get(named, named) if pseudonyms else named

    def id(self, cell: str) -> str:
        """Return what is written for the id of a case or a patient."""
        pseudonyms = self.policy.identifiers.pseudonyms
        return pseudonyms.id(cell) if pseudonyms else self.policy.identifiers.text(cell)

    def _without_dates(self, cell: str, patient: str) -> str:
        pseudonyms = self.policy.identifiers.pseudonyms
        return pseudonyms.shift(cell, patient) if pseudonyms else cell

    def _file(self, cell: str, column: str, row: Mapping[str, str], file: Path) -> tuple[str, dict[str, Path]] | None:
        """Return what is written for a file that a table names, and the file where it goes along; None: nor does the row."""
        full, base = Path(os.path.normpath(file.parent / cell)), file.parent
        name = self.name(full)
        if name is None:
            place = self._input(full, column, row, file)
            goes = self.policy.images and column in ROLES and full.is_file()
            return self._relative(place, base), {place: full} if goes else {}
        if full.name.endswith(PICTURES) and not self.policy.pictures:
            return None
        takes = self.policy.predictions if column == "prediction" else self.policy.images or full.name.endswith(PICTURES)
        if full.name.endswith(VOLUMES):
            takes = self.policy.images and self.policy.predictions
        files = {name: full} if takes and full.is_file() else {}
        if files and column == "prediction" and (entropy := map_path(full)).is_file() and (beside := self.name(entropy)):
            files[beside] = entropy
        return self._relative(name, base), files

    def _input(self, full: Path, column: str, row: Mapping[str, str], file: Path) -> str:
        """Return what a file of the user's is called: below the folder of its cohort, or by its case's pseudonym."""
        cohort = file.parent.name
        pseudonyms = self.policy.identifiers.pseudonyms
        if pseudonyms and (case := row.get("case_id")):
            suffix = next((suffix for suffix in (".nii.gz", ".nii") if full.name.endswith(suffix)), "")
            return f"{INPUTS}/{cohort}/{pseudonyms.id(case)}_{column}{suffix}"
        root, written = self.policy.cohort_roots.get(cohort, ("", ""))
        if root and full.is_relative_to(root):
            return f"{written}/{full.relative_to(root).as_posix()}"
        return self.policy.identifiers.text(self.policy.identifiers.place(str(full)))


def _is_plain(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell))


def covariates_of(tables: Iterable[Path]) -> Iterator[tuple[str, set[str]]]:
    """Yield every covariate of tables of cases with its values."""
    for path in tables:
        table = read_text_table(path)
        for column in covariate_columns(table):
            yield column, set(table[column].dropna().astype(str))


def patients_of(tables: Mapping[str, Path]) -> dict[str, str]:
    """Return case to patient of the cohorts' tables."""
    found: dict[str, str] = {}
    for path in tables.values():
        table = read_text_table(path)
        found |= dict(zip(table["case_id"].astype(str), table["patient_id"].astype(str), strict=True))
    return found
