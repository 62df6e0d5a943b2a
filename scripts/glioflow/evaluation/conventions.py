"""What the metrics' names mean: the conventions of config/conventions, each a file of parameters with its sources.

Tools agree on what voxels to count and on little else. A ``Convention`` holds what they disagree about, as data:
``glioflow.evaluation.metrics`` and ``glioflow.evaluation.lesions`` compute under any of them.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from glioflow.console import UserError
from glioflow.files import key_of
from glioflow.imaging.labels import REGIONS
from glioflow.study.metric_registry import DISTANCES, METRICS, OVERLAPS
from glioflow.study.registry import CONFIG_DIR
from glioflow.yaml_files import read_yaml

CONVENTIONS_DIR = CONFIG_DIR / "conventions"
DEFAULT_CONVENTION = "glioflow"

Region = Annotated[str, Field(pattern=f"^({'|'.join(REGIONS)})$")]
Neighbours = Literal[6, 18, 26]
# Of a region with nothing to measure: a number, nothing, the image's diagonal, infinity, or what the formula gives.
MeasuredValue = float | Literal["undefined", "diagonal", "infinite"]
CountedValue = float | Literal["formula", "undefined", "infinite"]


class Part(BaseModel):
    """A part of a convention: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Part):
    """Where a convention's parameters were read."""

    tool: str = Field(description="Repository or package.")
    version: str = Field(description="Release, or the commit that was read.")
    file: str = Field(description="File and function in it.")
    note: str = Field("", description="What is there.")


class Percentile(Part):
    """A Hausdorff distance: a percentile of the distances between two surfaces, and how the two directions become one."""

    percentile: float = Field(gt=0, le=100, description="100 is the maximum.")
    directions: Literal["maximum", "pooled", "prediction_to_truth"] = Field(
        description="`maximum` of the two directed percentiles, the percentile of all distances `pooled`, or one direction."
    )


class Average(Part):
    """A mean distance between two surfaces."""

    directions: Literal["pooled", "mean"] = Field(
        description="The mean of all distances `pooled`, or the `mean` of the two directed means."
    )


class EmptyRule(Part):
    """The values of a region that one of the masks, or both, do not have."""

    dice: CountedValue = "formula"
    iou: CountedValue = "formula"
    sens: CountedValue = "formula"
    spec: CountedValue = "formula"
    precision: CountedValue = "formula"
    distances: MeasuredValue = Field("undefined", description="Of every distance: hausdorff, hd95_mm, assd_mm, masd_mm.")
    nsd: float | Literal["undefined"] = "undefined"


class EmptyRules(Part):
    """The values of a region where there is nothing to measure."""

    both: EmptyRule = Field(EmptyRule(), description="Neither mask has a voxel of it.")
    truth: EmptyRule = Field(EmptyRule(), description="Only the prediction has one.")
    prediction: EmptyRule = Field(EmptyRule(), description="Only the truth has one.")


class Lesions(Part):
    """How lesions are told apart, matched and counted; the mappings are by region."""

    dilation: dict[Region, int] = Field(description="Times a mask is dilated to tell lesions apart and to match them.")
    dilation_neighbours: Neighbours = Field(18, description="Structure of the dilation.")
    connectivity: Neighbours = Field(26, description="Neighbours that make voxels one component.")
    min_volume_mm3: dict[Region, float] = Field(description="Lesions of this volume or less do not count.")
    hd95_penalty_mm: float | Literal["diagonal"] = Field(description="HD95 of a lesion that was missed or made up.")
    group_predicted: bool = Field(
        False, description="Whether predicted lesions are told apart so, too, and small ones left out."
    )
    united_by: dict[Region, list[Region]] = Field(
        {}, description="Regions of one label whose lesions unite those of this one that touch them."
    )


class Headline(Part):
    """The columns that the tool's users rank by."""

    overlap: str = "dice"
    distance: str | None = None


class Defect(Part):
    """A known defect of the tool: computed as the tool computes it only with `evaluation.reproduce_defects`."""

    name: Literal["sensitivity_of_instance_maps"]
    about: str


class Convention(Part):
    """The conventions of one tool."""

    name: str = Field(description="The file's name.")
    about: str = Field(description="What it is, in a sentence.")
    sources: list[Source] = Field(description="Where each parameter was read.")
    units: Literal["mm", "voxels"] = Field("mm", description="Of the distances.")
    surface: Literal["voxels", "areas", "mask"] = Field(
        description="Distances are between surface `voxels` of equal weight, surface elements weighed by their `areas` "
        "(marching cubes), or all voxels of the `mask`."
    )
    hausdorff: Percentile | None = Field(None, description="Column `hausdorff`.")
    hd95_mm: Percentile | None = Field(None, description="Column `hd95_mm`.")
    assd_mm: Average | None = Field(None, description="Column `assd_mm`.")
    masd_mm: Average | None = Field(None, description="Column `masd_mm`.")
    nsd_tolerances_mm: list[float] = Field([], description="Columns `nsd_<tolerance>mm`.")
    nsd_surface: Literal["voxels", "areas"] | None = Field(None, description="Surface of the nsd, where it is another one.")
    nsd_directions: Literal["pooled", "mean"] = Field(
        "pooled", description="The share of both surfaces `pooled`, or the `mean` of each one's own share."
    )
    empty: EmptyRules = EmptyRules()
    lesions: Lesions | None = Field(None, description="Columns `lesion_…`.")
    headline: Headline = Headline()
    defects: list[Defect] = []

    @property
    def nsd_columns(self) -> dict[str, float]:
        """The columns of the normalised surface dice and their tolerances in mm."""
        return {f"nsd_{tolerance:g}mm": tolerance for tolerance in self.nsd_tolerances_mm}

    def parameters(self) -> dict[str, Any]:
        """Return all that decides a value, as plain dicts and lists: without the words about it."""
        return self.model_dump(
            mode="json", exclude={"name": True, "about": True, "sources": True, "defects": {"__all__": {"about"}}}
        )

    @model_validator(mode="after")
    def _whole(self) -> "Convention":
        """Raise ValueError where parts of a convention do not go together."""
        scored = [*OVERLAPS, *DISTANCES, *self.nsd_columns]
        lesions = ["lesion_dice", "lesion_hd95_mm"] if self.lesions else []
        for name in filter(None, (self.headline.overlap, self.headline.distance)):
            if name not in [*scored, *lesions] or (name in DISTANCES and getattr(self, name) is None):
                raise ValueError(f"headline: the convention has no column {name}")
        if not self.lesions:
            return self
        told = self.lesions.dilation.keys()
        if told != self.lesions.min_volume_mm3.keys():
            raise ValueError("lesions: dilation and min_volume_mm3 must name the same regions")
        for region, others in self.lesions.united_by.items():
            if missing := [name for name in (region, *others) if name not in told]:
                raise ValueError(f"lesions.united_by: {missing[0]} has no dilation")
        if self.lesions.connectivity != 26 and "areas" in (self.surface, self.nsd_surface):
            raise ValueError("lesions.connectivity: must be 26 with areas, whose elements lesions that touch would share")
        return self

    @property
    def own_names(self) -> dict[str, str]:
        """What columns named after millimetres are called where the convention measures in voxels."""
        if self.units == "mm":
            return {}
        named = [metric.column for metric in METRICS if metric.unit == "mm" and metric.column.endswith("_mm")]
        return {column: column.replace("_mm", "_voxels") for column in named}


@cache
def conventions() -> Mapping[str, Convention]:
    """Return the conventions by name, the default first. Raises UserError where a file is not one."""
    found = {}
    for path in sorted(CONVENTIONS_DIR.glob("*.yaml")):
        try:
            found[path.stem] = Convention.model_validate({"name": path.stem, **read_yaml(path)})
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
            raise UserError("\n  ".join([f"{path} is no convention:", *lines])) from None
    return {DEFAULT_CONVENTION: found[DEFAULT_CONVENTION], **found}


def parameters_hash(*names: str | None) -> str:
    """Return the content hash of all that decides a value in the conventions named; None is no convention."""
    return key_of({name: conventions()[name].parameters() for name in names if name})


def lesion_conventions() -> list[str]:
    """Return the names of the conventions that score lesion by lesion."""
    return [name for name, convention in conventions().items() if convention.lesions]
