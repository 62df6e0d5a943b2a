"""The registry of data sets, config/datasets.yaml, and the label schemes, config/label_schemes.yaml.

A data set is an entry of the registry: what it is, who gives it out and under which licence, where its files are, and what
its labels mean. ``layout`` names the function of ``glioflow.cohorts.layouts`` that finds its cases.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, TypeAdapter, ValidationError

from glioflow.errors import UserError
from glioflow.yaml_files import read_yaml

CONFIG_DIR = Path(__file__).resolve().parents[3] / "config"

Channel = Literal["t1", "t1ce", "t2", "flair"]
Role = Literal["t1", "t1ce", "t2", "flair", "label"]
CHANNELS: tuple[str, ...] = ("t1", "t1ce", "t2", "flair")
ROLES: tuple[str, ...] = (*CHANNELS, "label")

# One pattern, or several of which one has a file: glioflow.cohorts.layouts.patterns tells what may stand in it.
Patterns = str | list[str]
CanonicalLabel = Annotated[int, Field(strict=True, ge=0, le=4)]
ChecksumText = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")]


class Entry(BaseModel):
    """A part of the registry: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Archive(Entry):
    """An archive that can be fetched: by its web address, or by its id on Synapse."""

    url: str = Field(description="Web address, or `synapse:<id>`.")
    name: str = Field(description="Name of the file.")
    checksum: ChecksumText | None = Field(None, description="`sha256:…` or `md5:…`; none where its publisher gives none.")
    bytes: int | None = Field(None, description="Size of the archive, for the progress bar and the check of free space.")
    unpacked_bytes: int = Field(100_000_000_000, description="More than this is not unpacked.")


class CovariateTable(Entry):
    """A table of clinical columns that a data set comes with."""

    file: str = Field(description="Pattern of the table below the data set's folder; ** stands for any folders.")
    case_id: str | list[str] = Field(description="Column with the case's or the patient's id; the first that is there.")
    id_digits: int | None = Field(None, description="Digits that the first number of an id has in the names of the files.")
    columns: dict[str, str] = Field({}, description="Column of the table: name of the covariate. Others keep their name.")
    values: dict[str, dict[str, str]] = Field({}, description="Covariate: its codes and what they mean.")
    numbers: list[str] = Field([], description="Covariates that are numbers; of these, any other text counts as unknown.")


class Dataset(Entry):
    """One data set."""

    title: str = Field(description="What it is.")
    version: str = Field(description="Which release this entry describes.")
    source: str = Field(description="The page to read, and to register at.")
    access: Literal["open", "synapse", "tcia", "registration", "made", "own"] = Field(
        description="`open`: for everybody; `synapse`, `tcia`: from there; `registration`: after one at its source; `made` by "
        "the workflow; `own`."
    )
    licence: str = Field(description="Terms of use.")
    citation: str = Field(description="What to cite.")
    archives: list[Archive] = Field([], description="What is fetched.")
    cases: int | None = Field(None, description="Labelled cases, known before they are fetched.")
    layout: str = Field(description="Function of scripts/glioflow/cohorts/layouts that finds the cases.")
    label_scheme: str | None = Field(None, description="Key of config/label_schemes.yaml.")
    patient_id: str = Field("(.+)", description="Pattern whose first group, found in the case id, is the patient.")
    same_patient: dict[str, str] = Field({}, description="Case: another case of the same patient, where the ids do not tell.")
    files: dict[Role, Patterns] | None = Field(None, description="Where each channel and the label are.")
    channels: list[Channel] = Field(["t1", "t1ce", "t2", "flair"], description="The channels it has.")
    options: dict[str, Any] = Field({}, description="What the layout's function needs besides.")
    leave_out: str | None = Field(
        None, description="Pattern found in the paths, below the folder, of files that are no part of the data set."
    )
    labelled_in_part: bool = Field(False, description="Whether cases without a label are left out; else they are errors.")
    skull_stripped: bool = Field(False, description="Whether the images show the brain alone.")
    covariates: list[CovariateTable] = Field([], description="Clinical tables.")
    covariates_in_path: dict[str, str] = Field(
        {}, description="Covariate: pattern whose first group, in the path, is its value."
    )


@cache
def datasets() -> dict[str, Dataset]:
    """Return the registry of data sets by key. Raises UserError."""
    return dict(read_registry("datasets.yaml", dict[str, Dataset]))


@cache
def label_schemes() -> dict[str, dict[int, int]]:
    """Return the label schemes by name: raw value to canonical label. Raises UserError."""
    return dict(read_registry("label_schemes.yaml", dict[str, dict[StrictInt, CanonicalLabel]]))


def read_registry(name: str, form: Any) -> Any:
    """Return a YAML file of ``config/`` as the type ``form``. Raises UserError with every entry that does not fit."""
    path = CONFIG_DIR / name
    try:
        return TypeAdapter(form).validate_python(read_yaml(path))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise UserError("\n  ".join([f"{path}:", *lines])) from None


def patient_of(case_id: str, dataset: Dataset) -> str:
    """Return the patient of a case: the first group of ``patient_id`` in its id, the id itself where nothing matches.

    Of a case that ``same_patient`` names, the id of the other case is asked.
    """
    asked = dataset.same_patient.get(case_id, case_id)
    match = re.search(dataset.patient_id, asked)
    return match[1] if match else asked
