"""The study's configuration: one typed model from which the schema, the defaults and the documentation are made.

``load_study`` turns what Snakemake read from a YAML file into a ``Study``, or raises ``UserError`` with every problem of the
file at once, each with its key, what was found and what would be right.
"""

import difflib
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from glioflow.console import UserError
from glioflow.labels import REGIONS

CONFIG_DIR = Path(__file__).resolve().parents[2] / "config"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # names become folders and nnU-Net data set names
TRAINED_SETS = ("cv", "test")
RESERVED_SETS = (*TRAINED_SETS, "given")

Region = Literal["WT", "TC", "ET", "ED", "NCR", "RC"]
Channel = Literal["t1", "t1ce", "t2", "flair"]
Metric = Literal["hausdorff", "hd95_mm", "assd_mm", "dice", "iou", "sens", "spec", "precision"]
Name = Annotated[str, Field(pattern=NAME)]


class Block(BaseModel):
    """A part of the configuration: unknown keys are errors, values are not changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Cohort(Block):
    """What every cohort has, whatever its data set."""

    test_fraction: float = Field(0.0, ge=0, lt=1, description="Share of the patients held out as the `test` set.")
    seed: int = Field(0, ge=0, description="Seed of the train/test split and of the folds (and of the phantoms).")


class PhantomCohort(Cohort):
    """Phantoms: brain-like volumes with planted causes of failure, made by the workflow."""

    dataset: Literal["phantom"] = Field(description="`phantom`.")
    cases: int = Field(24, ge=1, description="How many cases to make.")
    planted: dict[Literal["low_contrast", "small_volume", "heavy_noise"], Annotated[int, Field(ge=0)]] = Field(
        default={"low_contrast": 5, "small_volume": 1, "heavy_noise": 1},
        description="How many cases get each planted difficulty.",
    )
    shape: tuple[int, int, int] = Field((80, 96, 80), description="Voxels along x, y and z.")
    spacing_mm: tuple[float, float, float] = Field((2.0, 2.0, 2.0), description="Voxel edge lengths in mm.")


class FolderCohort(Cohort):
    """Cases in files that follow a pattern: a data set of config/datasets.yaml, or `folders` with patterns of one's own."""

    dataset: str = Field(description="A key of `config/datasets.yaml`, or `folders` with your own `files`.")
    path: str = Field(description="Folder of the data set. `$VARIABLES` of the environment are filled in.")
    files: dict[Channel | Literal["label"], str] | None = Field(
        None,
        description="Where each channel and the label lie under `path`; `{case}` stands for the case's id. "
        "Default: the data set's own layout.",
    )
    label_scheme: str | None = Field(None, description="A key of `config/label_schemes.yaml`. Default: the data set's own.")
    patient_id: str | None = Field(
        None, description="Regular expression whose first group, found in the case id, is the patient. Default: the data set's own."
    )
    on_geometry_mismatch: Literal["error", "use_image_header"] = Field(
        "error",
        description="A label whose header disagrees with its image: an error, or take its voxels by index and the image's header.",
    )


class TableCohort(Cohort):
    """Any layout: a CSV with one row a case."""

    dataset: Literal["table"] = Field(description="`table`.")
    table: str = Field(
        description="CSV with columns case_id, patient_id, one per channel (t1, t1ce, t2, flair), label; any further column is a "
        "covariate. Paths are relative to the table's folder."
    )
    label_scheme: str = Field(description="A key of `config/label_schemes.yaml`.")
    on_geometry_mismatch: Literal["error", "use_image_header"] = Field(
        "error",
        description="A label whose header disagrees with its image: an error, or take its voxels by index and the image's header.",
    )


def _cohort_kind(value: Any) -> str:
    dataset = value.get("dataset") if isinstance(value, Mapping) else getattr(value, "dataset", None)
    return dataset if dataset in ("phantom", "table") else "folders"


AnyCohort = Annotated[
    Union[
        Annotated[PhantomCohort, Tag("phantom")],
        Annotated[TableCohort, Tag("table")],
        Annotated[FolderCohort, Tag("folders")],
    ],
    Discriminator(_cohort_kind),
]


class Plans(Block):
    """Overrides of what nnU-Net's planner chooses. Leave them out to train what nnU-Net plans."""

    patch_size: list[int] | None = Field(None, description="Patch in voxels, in nnU-Net's axis order (z, y, x).")
    batch_size: int | None = Field(None, ge=1, description="Patches per iteration.")
    n_stages: int | None = Field(None, ge=2, description="Resolution stages of the U-Net.")
    base_features: int | None = Field(None, ge=1, description="Feature maps of the first stage; they double at each stage.")


class TrainedModel(Block):
    """A model that nnU-Net trains."""

    cohort: str = Field(description="The cohort it is trained on.")
    channels: list[Channel] = Field(["t1", "t1ce", "t2", "flair"], min_length=1, description="Input channels, in this order.")
    regions: list[Region] = Field(
        ["WT", "TC", "ET"], min_length=1, description="Regions the network predicts, from the largest to the smallest."
    )
    configuration: Literal["2d", "3d_fullres"] = Field("3d_fullres", description="nnU-Net configuration.")
    folds: int = Field(5, ge=2, description="Folds of the cross-validation; each is trained.")
    epochs: int = Field(1000, ge=1, description="Epochs per fold.")
    iterations_per_epoch: int = Field(250, ge=1, description="Training iterations per epoch.")
    validation_iterations: int = Field(50, ge=1, description="Iterations of the pseudo-Dice after each epoch.")
    initial_lr: float = Field(1e-2, gt=0, description="Learning rate at the start of nnU-Net's polynomial schedule.")
    save_every: int = Field(10, ge=1, description="Epochs between checkpoints; as many are lost at most when a job is killed.")
    seed: int = Field(0, ge=0, description="Seed of initialisation, sampling and augmentation.")
    tta: bool = Field(True, description="Mirror the image at prediction and average (test-time augmentation).")
    plans: Plans = Field(default_factory=Plans, description="Overrides of nnU-Net's plans.")
    external: list[str] = Field([], description="Further cohorts to predict with all folds; each becomes a set of that name.")
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="`auto` takes a GPU where there is one. `cpu` also asks Slurm for none."
    )


class GivenModel(Block):
    """Masks that exist already, from any tool: they are scored, not trained."""

    cohort: str = Field(description="The cohort whose cases were segmented.")
    predictions: str = Field(description="Where the masks lie; `{case}` stands for the case's id.")
    label_scheme: str = Field(description="A key of `config/label_schemes.yaml`: what the masks' values mean.")
    on_geometry_mismatch: Literal["error", "use_image_header"] = Field(
        "error",
        description="A mask whose header disagrees with its image: an error, or take its voxels by index and the image's header.",
    )


AnyModel = Annotated[
    Union[Annotated[TrainedModel, Tag("trained")], Annotated[GivenModel, Tag("given")]],
    Discriminator(lambda v: "given" if (isinstance(v, Mapping) and "predictions" in v) or isinstance(v, GivenModel) else "trained"),
]


class Ensemble(Block):
    """Trained models of one cohort combined: the mean of their probabilities, then single labels taken from one member."""

    members: list[str] = Field(min_length=2, description="Trained models of one cohort with the same regions.")
    merge: dict[Literal["ET", "NCR", "ED", "RC"], str] = Field(
        {}, description="Labels taken from one member instead of the mean, as `{ED: b}`; they never overwrite another label."
    )


class Evaluation(Block):
    """What is scored."""

    regions: list[Region] = Field(["WT", "TC", "ET"], min_length=1, description="Regions to score.")


class Failure(Block):
    """Which cases fail, and what sets them apart."""

    rank_by: Metric = Field("hausdorff", description="Column of the score table that ranks the cases.")
    region: Region = Field("WT", description="Region whose score ranks the cases and whose mask the features come from.")
    extremes: int = Field(20, ge=1, description="How many worst and how many best cases to compare.")
    image: Channel = Field("flair", description="Channel that the features and the pictures show.")
    mask: Literal["truth", "prediction"] = Field("truth", description="Whose mask the features are computed in.")
    sets: list[str] | None = Field(
        None, description="Sets to analyse. Default: `cv` of trained models and ensembles, `given` of given masks."
    )
    bin_width: float = Field(25.0, gt=0, description="Grey-level bin width of the texture features, after normalisation.")
    normalise: bool = Field(True, description="z-score each image (mean 0, standard deviation 100) before the features.")


class Report(Block):
    """The HTML page."""

    title: str = Field("Which cases fail, and why", description="Heading of the report.")


class Study(Block):
    """A study: one configuration file."""

    results: str = Field("results", description="Folder that everything is written to.")
    cohorts: dict[Name, AnyCohort] = Field(min_length=1, description="Cohorts by name.")
    models: dict[Name, AnyModel] = Field({}, description="Models by name.")
    ensembles: dict[Name, Ensemble] = Field({}, description="Ensembles by name; they are scored like models.")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="What is scored.")
    failure: Failure = Field(default_factory=Failure, description="Failure analysis.")
    report: Report = Field(default_factory=Report, description="The report.")

    def cohort_of(self, model: str) -> str:
        """Return the name of the cohort of a model or an ensemble."""
        return self.cohort_of(self.ensembles[model].members[0]) if model in self.ensembles else self.models[model].cohort

    def trained(self) -> dict[str, TrainedModel]:
        """Return the models that nnU-Net trains."""
        return {name: model for name, model in self.models.items() if isinstance(model, TrainedModel)}

    def sets_of(self, model: str) -> list[str]:
        """Return the prediction sets of a model or an ensemble: `cv`, `test`, `given`, external cohorts."""
        if model in self.ensembles:
            members = [self.sets_of(member) for member in self.ensembles[model].members]
            return [name for name in members[0] if all(name in sets for sets in members)]
        spec = self.models[model]
        if isinstance(spec, GivenModel):
            return ["given"]
        held_out = ["test"] if self.cohorts[spec.cohort].test_fraction > 0 else []
        return ["cv", *held_out, *spec.external]

    def failure_sets_of(self, model: str) -> list[str]:
        """Return the sets of a model whose failures are analysed."""
        sets = self.sets_of(model)
        wanted = ["cv", "given"] if self.failure.sets is None else self.failure.sets
        return [name for name in sets if name in wanted]

    def cohort_of_set(self, model: str, set_name: str) -> str:
        """Return the cohort that the cases of a model's set belong to."""
        return self.cohort_of(model) if set_name in RESERVED_SETS else set_name


@cache
def datasets() -> dict[str, dict[str, Any]]:
    """Return the registry of data sets, config/datasets.yaml."""
    return dict(yaml.safe_load((CONFIG_DIR / "datasets.yaml").read_text(encoding="utf-8")))


@cache
def label_schemes() -> dict[str, dict[int, int]]:
    """Return the label schemes by name, config/label_schemes.yaml."""
    return dict(yaml.safe_load((CONFIG_DIR / "label_schemes.yaml").read_text(encoding="utf-8")))


def expand_path(path: str) -> str:
    """Return ``path`` with ``~`` and environment variables filled in. Raises ValueError where a variable is not set."""
    full = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111 - a pattern, not a path
    if unset := re.findall(r"\$(?:\{(\w+)\}|(\w+))", full):
        name = "".join(unset[0])
        raise ValueError(f"the environment variable {name} is not set; set it, or write the folder itself instead of ${name}")
    return full


def cohort_layout(cohort: AnyCohort) -> dict[str, Any]:
    """Return how a cohort's files are found: ``files`` patterns, ``patient_id`` pattern, ``label_scheme`` name."""
    if isinstance(cohort, TableCohort):
        return {"files": None, "patient_id": None, "label_scheme": cohort.label_scheme}
    known = datasets().get(cohort.dataset, {})
    layout = {key: known.get(key) for key in ("files", "patient_id", "label_scheme")}
    if isinstance(cohort, FolderCohort):
        layout |= {key: value for key in layout if (value := getattr(cohort, key)) is not None}
    return {**layout, "patient_id": layout["patient_id"] or "(.+)"}


def load_study(config: Mapping[str, Any], source: str) -> Study:
    """Return the validated study of ``config``, read from the file ``source``.

    Raises UserError listing every problem at once: key, what was found, what would be right.
    """
    try:
        study = Study.model_validate(dict(config))
    except ValidationError as error:
        raise UserError(_report(source, [_explain(e) for e in error.errors()])) from None
    if problems := list(_cross_check(study)):
        raise UserError(_report(source, problems))
    return study


def _report(source: str, problems: list[str]) -> str:
    head = f"{source}: {len(problems)} problem{'s' if len(problems) > 1 else ''} in the configuration"
    return "\n".join([head, *(f"  - {problem}" for problem in problems)])


def suggestion(word: str, known: list[str]) -> str:
    """Return ``did you mean 'x'?`` where a known word is close, else the list of what is known."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _explain(error: Any) -> str:
    """Return one pydantic error as ``key: what was found; what would be right``."""
    path, block = _locate(error["loc"])
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; {suggestion(path[-1], list(block.model_fields))}"
    if error["type"] == "missing":
        return f"{key}: missing; expected: {block.model_fields[path[-1]].description}"
    if error["type"] == "string_pattern_mismatch":
        return f"{key.removesuffix('.[key]')}: a name may hold letters, digits, '-' and '_' only"
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}; found {error['input']!r}"


_BLOCKS: dict[str, type[Block]] = {
    "phantom": PhantomCohort,
    "table": TableCohort,
    "folders": FolderCohort,
    "trained": TrainedModel,
    "given": GivenModel,
    "plans": Plans,
    "ensembles": Ensemble,
    "evaluation": Evaluation,
    "failure": Failure,
    "report": Report,
}


def _locate(location: tuple[Any, ...]) -> tuple[list[str], type[Block]]:
    """Return the keys that lead to an error, and the block that its last key belongs to."""
    parts = [str(part) for part in location]
    block: type[Block] = _BLOCKS.get(parts[0], Study) if len(parts) > 1 else Study
    if parts[0] in ("cohorts", "models") and len(parts) > 2 and parts[2] in _BLOCKS:  # pydantic puts the tag of the union after the name
        block = _BLOCKS[parts.pop(2)]
        if len(parts) > 3:
            block = _BLOCKS.get(parts[2], block)
    return parts, block


def _cross_check(study: Study) -> Any:
    """Yield what single keys cannot tell: references between blocks, folders that must exist."""
    for name, cohort in study.cohorts.items():
        yield from _check_cohort(f"cohorts.{name}", name, cohort)
    cohorts = list(study.cohorts)
    for name, model in study.models.items():
        key = f"models.{name}"
        if name in study.ensembles:
            yield f"ensembles.{name}: a model has this name already"
        if model.cohort not in study.cohorts:
            yield f"{key}.cohort: no cohort is called {model.cohort!r}; {suggestion(model.cohort, cohorts)}"
            continue
        if isinstance(model, TrainedModel):
            yield from _check_trained(key, model, study)
        else:
            yield from _check_given(key, model)
    for name, ensemble in study.ensembles.items():
        yield from _check_ensemble(f"ensembles.{name}", ensemble, study)
    known_sets = {*RESERVED_SETS, *cohorts}
    for set_name in study.failure.sets or []:
        if set_name not in known_sets:
            yield f"failure.sets: no set is called {set_name!r}; {suggestion(set_name, sorted(known_sets))}"
    if study.failure.region not in study.evaluation.regions:
        yield (
            f"failure.region: {study.failure.region} is not among evaluation.regions "
            f"({', '.join(study.evaluation.regions)}); the cases are ranked by a score of that region"
        )


def _check_cohort(key: str, name: str, cohort: AnyCohort) -> Any:
    if name in RESERVED_SETS:
        yield f"{key}: {name!r} is the name of a prediction set; choose another name for the cohort"
    if isinstance(cohort, PhantomCohort):
        if sum(cohort.planted.values()) > cohort.cases:
            yield f"{key}.planted: {sum(cohort.planted.values())} difficult cases do not fit into {cohort.cases} cases"
        return
    if isinstance(cohort, TableCohort):
        yield from _check_path(f"{key}.table", cohort.table, "file")
    else:
        known = [*datasets(), "folders", "table"]
        if cohort.dataset not in known:
            yield f"{key}.dataset: unknown data set {cohort.dataset!r}; {suggestion(cohort.dataset, known)}"
            return
        layout = cohort_layout(cohort)
        yield from _check_path(f"{key}.path", cohort.path, "folder")
        for part in ("files", "label_scheme"):
            if not layout[part]:
                yield f"{key}.{part}: missing; a cohort of the data set 'folders' needs it"
        for role, pattern in (layout["files"] or {}).items():
            if "{case}" not in pattern:
                yield f"{key}.files.{role}: {pattern!r} has no {{case}}; it must stand where the case's id stands in the path"
        try:
            if re.compile(layout["patient_id"]).groups < 1:
                yield f"{key}.patient_id: {layout['patient_id']!r} has no group; put the patient's part in brackets: (.+)-\\d+"
        except re.error as error:
            yield f"{key}.patient_id: not a regular expression ({error})"
    yield from _check_scheme(f"{key}.label_scheme", cohort.label_scheme)


def _check_scheme(key: str, scheme: str | None) -> Any:
    if scheme is not None and scheme not in label_schemes():
        yield f"{key}: unknown label scheme {scheme!r}; {suggestion(scheme, list(label_schemes()))}"


def _check_path(key: str, path: str, kind: str) -> Any:
    try:
        full = Path(expand_path(path))
    except ValueError as error:
        yield f"{key}: {error}"
        return
    if not (full.is_dir() if kind == "folder" else full.is_file()):
        yield f"{key}: {full} is not a {kind} that exists"


def cohort_channels(cohort: AnyCohort) -> list[str] | None:
    """Return the channels a cohort's layout has, or None where only its table can tell."""
    files = cohort_layout(cohort)["files"]
    return None if files is None else [channel for channel in get_args(Channel) if channel in files]


def _check_trained(key: str, model: TrainedModel, study: Study) -> Any:
    for cohort in (model.cohort, *model.external):
        if cohort not in study.cohorts:
            yield f"{key}.external: no cohort is called {cohort!r}; {suggestion(cohort, list(study.cohorts))}"
            continue
        channels = cohort_channels(study.cohorts[cohort])
        for channel in (*model.channels, study.failure.image):
            if channels is not None and channel not in channels:
                where = f"{key}.channels" if channel in model.channels else "failure.image"
                yield f"{where}: the cohort {cohort!r} has no channel {channel}; it has {', '.join(channels)}"
    if len(set(model.channels)) < len(model.channels):
        yield f"{key}.channels: a channel stands twice in {model.channels}"
    sizes = [len(REGIONS[region]) for region in model.regions]
    if sizes != sorted(sizes, reverse=True) or len(set(model.regions)) < len(model.regions):
        yield f"{key}.regions: {model.regions} must go from the largest region to the smallest, each once: a later one is painted last"
    dimensions = 2 if model.configuration == "2d" else 3
    if model.plans.patch_size and len(model.plans.patch_size) != dimensions:
        yield f"{key}.plans.patch_size: {model.plans.patch_size} does not have the {dimensions} axes of {model.configuration}"


def _check_given(key: str, model: GivenModel) -> Any:
    if "{case}" not in model.predictions:
        yield f"{key}.predictions: {model.predictions!r} has no {{case}}; it must stand where the case's id stands in the path"
    else:
        root = model.predictions.split("{case}")[0]
        yield from _check_path(f"{key}.predictions", root.rpartition("/")[0] or ".", "folder")
    yield from _check_scheme(f"{key}.label_scheme", model.label_scheme)


def _check_ensemble(key: str, ensemble: Ensemble, study: Study) -> Any:
    trained = study.trained()
    for member in ensemble.members:
        if member not in trained:
            yield f"{key}.members: no trained model is called {member!r}; {suggestion(member, list(trained))}"
    members = [trained[member] for member in ensemble.members if member in trained]
    for what in ("cohort", "regions", "folds"):
        if len({str(getattr(member, what)) for member in members}) > 1:
            yield f"{key}.members: they differ in {what}; an ensemble needs the same"
    for region, member in ensemble.merge.items():
        if member not in ensemble.members:
            yield f"{key}.merge.{region}: {member!r} is not a member; {suggestion(member, ensemble.members)}"
