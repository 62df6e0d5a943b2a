"""A trained model as one file: what ``export_model`` writes into it, and what ``import_model`` takes from nobody on trust.

An archive is a zip with one folder, which bare nnU-Net can predict with unchanged::

    <name>/model.json                     what the model is, and the SHA-256 of every other file
    <name>/plans.json, dataset.json       as nnU-Net wants them, without any case's name or path
    <name>/fold_<k>/checkpoint_final.pth  weights, and the little that nnU-Net reads beside them
    <name>/postprocessing.json            where the model has one
    <name>/README.md                      how to predict

Plans name classes and functions that nnU-Net imports and calls, so in a file from elsewhere they are code of a stranger's
choosing: only names listed here are taken. This module imports no torch, since the configuration check reads archives too.
"""

import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from glioflow.archives import DAMAGED
from glioflow.console import UserError
from glioflow.imaging.labels import REGIONS
from glioflow.models.nnunet.commands import TRAINER
from glioflow.models.nnunet.plans import dataset_json, training_part
from glioflow.study.registry import Channel

FORMAT = "glioflow model"
FORMAT_VERSION = 1
MODEL, PLANS, DATASET, POSTPROCESSING, README = (
    *("model.json", "plans.json", "dataset.json", "postprocessing.json", "README.md"),
)
CHECKPOINT = "checkpoint_final.pth"  # the name that nnU-Net looks for where it is told none
JSON_BYTES = 4_000_000  # plans of a large cohort take some 10 kB

NETWORKS = re.compile(r"dynamic_network_architectures\.architectures\.unet\.\w+|glioflow_networks\.\w+")
OPERATORS = re.compile(r"torch\.nn\.(modules\.\w+\.)?\w+")
# nnU-Net 2.8.1 finds these by name among everything that its modules hold, whatever it is, and calls what it finds.
RESAMPLING = frozenset({"resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"})
SCHEMES = frozenset(
    {"ZScoreNormalization", "NoNormalization", "CTNormalization", "RescaleTo01Normalization", "RGBTo01Normalization"}
)
READERS = frozenset({"SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient"})
PLAN_NAMES = {"image_reader_writer": READERS, "label_manager": frozenset({"LabelManager", None})}
CONFIGURATION_NAMES = {
    "preprocessor_name": frozenset({"DefaultPreprocessor"}),
    "resampling_fn_data": RESAMPLING,
    "resampling_fn_seg": RESAMPLING,
    "resampling_fn_probabilities": RESAMPLING,
}
OTHER_CONFIGURATIONS = ("inherits_from", "previous_stage", "next_stage")  # other configurations, which an archive has none of

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# What plans may ask for is far above what nnU-Net plans for brains; beyond it, a prediction would take all memory or time.
LARGEST_PATCH = 2**25  # voxels: 320 along each axis
LARGEST_LAYER = 2**30  # values of a stage's features in a patch: 4 GiB
Edge = Annotated[int, Field(ge=1, le=1024)]  # voxels
Spacing = Annotated[float, Field(ge=0.3, le=100)]  # mm
Kernel = list[Annotated[int, Field(ge=1, le=15)]]
Stride = list[Annotated[int, Field(ge=1, le=8)]]
Blocks = list[Annotated[int, Field(ge=1, le=32)]]
Width = Annotated[int, Field(ge=1, le=4096)]
Order = Annotated[int, Field(ge=0, le=5)]  # of a spline
Options = dict[str, bool | int | float | None]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Resampling(_Part):
    is_seg: bool
    order: Order = 0
    order_z: Order = 0
    force_separate_z: bool | None = None
    memefficient_seg_resampling: bool = False


class _Network(_Part):
    """The arguments of a network, those of every architecture; names of operators are checked apart."""

    n_stages: int = Field(ge=1, le=12)
    kernel_sizes: list[Kernel]
    strides: list[Stride]
    features_per_stage: list[Width] | None = None
    width: Width = 1
    norm_groups: Width = 1
    n_conv_per_stage: Blocks = []
    n_blocks_per_stage: Blocks = []
    n_conv_per_stage_decoder: Blocks = []
    conv_bias: bool = True
    conv_op: Any = None
    norm_op: Any = None
    dropout_op: Any = None
    nonlin: Any = None
    norm_op_kwargs: Options | None = None
    dropout_op_kwargs: Options | None = None
    nonlin_kwargs: Options | None = None


class _Architecture(_Part):
    network_class_name: str
    arch_kwargs: _Network
    kw_requires_import: list[str] = Field(alias="_kw_requires_import")


class _Planned(_Part):
    """Of a planned configuration, what decides how much memory and time a prediction takes."""

    model_config = ConfigDict(extra="ignore")

    batch_size: int = Field(ge=1, le=1024)
    patch_size: list[Edge] = Field(min_length=2, max_length=3)
    spacing: list[Spacing] = Field(min_length=2, max_length=3)
    use_mask_for_norm: list[bool]
    architecture: _Architecture
    resampling_fn_data_kwargs: _Resampling
    resampling_fn_seg_kwargs: _Resampling
    resampling_fn_probabilities_kwargs: _Resampling

    def problem(self, channels: int, dimensions: int) -> str | None:
        """Return what of it does not fit together, or would take all memory; None where it is sound."""
        network, patch = self.architecture.arch_kwargs, prod(self.patch_size)
        if len(self.patch_size) != dimensions or len(self.spacing) < dimensions:
            return f"patch_size and spacing are not those of {dimensions} axes"
        if len(self.use_mask_for_norm) != channels:
            return f"use_mask_for_norm has {len(self.use_mask_for_norm)} entries for {channels} channels"
        if patch > LARGEST_PATCH:
            return f"patch_size: {patch} voxels are more than {LARGEST_PATCH}"
        features = network.features_per_stage or [network.width * 2**stage for stage in range(network.n_stages)]
        if {len(network.kernel_sizes), len(network.strides), len(features)} != {network.n_stages}:
            return f"architecture: kernel_sizes, strides and features are not those of {network.n_stages} stages"
        if any(len(each) != dimensions for each in (*network.kernel_sizes, *network.strides)):
            return f"architecture: kernel_sizes and strides are not those of {dimensions} axes"
        blocks = (network.n_conv_per_stage, network.n_blocks_per_stage, network.n_conv_per_stage_decoder)
        if any(len(each) > network.n_stages for each in blocks):
            return f"architecture: more blocks than those of {network.n_stages} stages"
        for number, stride in zip(features, network.strides, strict=True):
            patch = patch // prod(stride)
            if patch * number > LARGEST_LAYER:
                return f"architecture: {number} features for {patch} voxels are more than {LARGEST_LAYER} values"
        return None


class _Intensities(_Part):
    model_config = ConfigDict(extra="ignore")

    mean: float
    std: float = Field(gt=0)
    percentile_00_5: float
    percentile_99_5: float


class TrainedFold(_Part):
    """Where the weights of a fold come from: its key as ``train_fold`` made it, and the versions it was trained with."""

    key: Sha256
    versions: dict[str, str]


class Description(_Part):
    """The content of model.json."""

    format: Literal["glioflow model"]
    format_version: int
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    channels: list[Channel] = Field(min_length=1)
    regions: list[Literal["WT", "TC", "ET", "ED", "NCR", "RC"]] = Field(min_length=1)
    outputs: Literal["regions", "labels"]
    configuration: Literal["2d", "3d_fullres"]
    trainer: str
    network: str
    folds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    tta: bool | Literal["both"]
    trained: dict[str, TrainedFold]
    files: dict[str, Sha256]


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Yield the empty folder ``folder``, and delete it after the block; what a killed job left there is deleted before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def checkpoint_name(fold: int) -> str:
    """Return the path of a fold's weights inside the model's folder."""
    return f"fold_{fold}/{CHECKPOINT}"


def refusal(archive: Path, why: str) -> UserError:
    """Return the error that names why an archive is not imported."""
    return UserError(f"{archive}: {why}. Nothing was imported")


def read_description(archive: Path) -> dict[str, Any]:
    """Return the content of the archive's model.json, checked, without reading any weights.

    Raises UserError where the file is missing, is no zip, has no model of glioflow, or one of a format that is newer than
    this glioflow, and where model.json contradicts itself.
    """
    if not archive.is_file():
        raise UserError(f"{archive}: there is no such file; expected the zip that glioflow wrote when it exported a model")
    try:
        with zipfile.ZipFile(archive) as opened:
            found = [info for info in opened.infolist() if PurePosixPath(info.filename).parts[1:] == (MODEL,)]
            if len(found) != 1:
                raise refusal(archive, f"it is not a model that glioflow exported: it holds no folder with a {MODEL}")
            with opened.open(found[0]) as stream:
                text = stream.read(JSON_BYTES + 1)
    except (*DAMAGED, OSError, ValueError) as error:
        raise refusal(archive, f"it is no zip archive, or a damaged one ({error})") from None
    return check_description(archive, parse_json(archive, MODEL, text))


def parse_json(archive: Path, name: str, text: bytes) -> dict[str, Any]:
    """Return the object in a JSON file of the archive. Raises UserError where it is no object, or a huge one."""
    if len(text) > JSON_BYTES:
        raise refusal(archive, f"{name} is larger than {JSON_BYTES} bytes")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refusal(archive, f"{name} is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise refusal(archive, f"{name} holds no object, but {type(value).__name__}")
    return value


def check_description(archive: Path, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return model.json's content where it describes a model that this glioflow can predict with, else raise UserError."""
    if value.get("format") != FORMAT:
        raise refusal(archive, f"it is not a model that glioflow exported: {MODEL} says format {value.get('format')!r}")
    if not isinstance(value.get("format_version"), int) or value["format_version"] > FORMAT_VERSION:
        raise refusal(
            archive,
            f"it has version {value.get('format_version')!r} of the format, and this glioflow reads up to {FORMAT_VERSION}; "
            "a newer glioflow will read it",
        )
    try:
        description = Description.model_validate(dict(value))
    except ValidationError as error:
        raise refusal(archive, f"{MODEL}: {_first_problem(error)}") from None
    if description.trainer != TRAINER:
        raise refusal(archive, f"it was trained by {description.trainer!r}; only models of {TRAINER} are taken")
    if not NETWORKS.fullmatch(description.network):
        raise refusal(archive, f"it names the network {description.network!r}, which is none of nnU-Net's or glioflow's")
    for what, names in (("channels", description.channels), ("regions", description.regions), ("folds", description.folds)):
        if len(set(names)) < len(names):
            raise refusal(archive, f"{MODEL}: {what}: {names} names one twice")
    expected = {PLANS, DATASET, README, *map(checkpoint_name, description.folds)}
    if odd := sorted((set(description.files) - {POSTPROCESSING}) ^ expected):
        raise refusal(archive, f"{MODEL}: files: {odd[0]} is listed and does not belong there, or belongs there and is not")
    if set(description.trained) != set(map(str, description.folds)):
        raise refusal(archive, f"{MODEL}: trained: expected the folds {description.folds}, found {list(description.trained)}")
    return description.model_dump()


def shared_dataset(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dataset.json of an archive: channels and labels, and of the training cases not even how many there were."""
    regions = description["regions"]
    # nnU-Net's outputs are labels where the regions are the cohort's labels one by one: glioflow.models.nnunet.plans.are_labels
    labels = [REGIONS[region][0] for region in regions] if description["outputs"] == "labels" else []
    full = dataset_json(description["channels"], regions, labels, {})
    return {key: value for key, value in full.items() if key != "dataset"}


def check_dataset(archive: Path, dataset: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Raise UserError where dataset.json differs from what follows from the model's channels and regions.

    The order counts: nnU-Net takes the network's outputs for the labels in the order of that file.
    """
    if json.dumps(dataset) != json.dumps(shared_dataset(description)):
        raise refusal(archive, f"{DATASET} does not say what follows from the channels and regions of {MODEL}")


def check_plans(archive: Path, plans: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Raise UserError where plans.json is not a model's of this description, names unknown code, or asks for too much memory.

    Names that nnU-Net looks up and calls are compared with the lists of this module. That a network's name stands for a
    network is left to ``import_model``, which imports it.
    """
    configuration = description["configuration"]
    try:
        if list(plans["configurations"]) != [configuration]:
            raise refusal(archive, f"{PLANS} has the configurations {list(plans['configurations'])}, {MODEL} {configuration}")
        planned = plans["configurations"][configuration]
        architecture = planned["architecture"]
        network, operators = architecture["network_class_name"], architecture["_kw_requires_import"]
        for named, known in ((plans, PLAN_NAMES), (planned, CONFIGURATION_NAMES)):
            for key, values in known.items():
                _check_name(archive, key, named.get(key), values)
        for scheme in planned["normalization_schemes"]:
            _check_name(archive, "normalization_schemes", scheme, SCHEMES)
        if len(planned["normalization_schemes"]) != len(description["channels"]):
            raise refusal(archive, f"{PLANS}: normalization_schemes does not have one scheme for each channel")
        if others := [key for key in OTHER_CONFIGURATIONS if planned.get(key)]:
            raise refusal(archive, f"{PLANS}: {others[0]}: a model stands alone, without other configurations")
        if network != description["network"] or not NETWORKS.fullmatch(network):
            raise refusal(archive, f"{PLANS} names the network {network!r}, {MODEL} {description['network']!r}")
        for key in operators:
            value = architecture["arch_kwargs"][key]
            if value is not None and not (isinstance(value, str) and OPERATORS.fullmatch(value)):
                raise refusal(archive, f"{PLANS}: {key}: {value!r} is not an operator of torch.nn")
        training_part(plans, configuration)
        forward, backward = plans["transpose_forward"], plans["transpose_backward"]
        if sorted(forward) != [0, 1, 2] or [forward[axis] for axis in backward] != [0, 1, 2]:
            raise refusal(archive, f"{PLANS}: transpose_forward and transpose_backward do not permute three axes and back")
        if "CTNormalization" in planned["normalization_schemes"]:
            for channel in range(len(description["channels"])):
                _Intensities.model_validate(plans["foreground_intensity_properties_per_channel"][str(channel)])
        sizes = _Planned.model_validate(planned)
        if problem := sizes.problem(len(description["channels"]), 2 if configuration == "2d" else 3):
            raise refusal(archive, f"{PLANS}: {problem}")
    except ValidationError as error:
        raise refusal(archive, f"{PLANS}: {_first_problem(error)}") from None
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise refusal(archive, f"{PLANS} is not such as nnU-Net 2.8 writes ({type(error).__name__}: {error})") from None


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _check_name(archive: Path, key: str, value: object, known: frozenset[Any]) -> None:
    if not isinstance(value, str | None) or value not in known:
        names = ", ".join(sorted(name for name in known if name))
        raise refusal(archive, f"{PLANS}: {key}: {value!r} is not known; known: {names}")
