"""Models as nnU-Net's own command shares them, ``nnUNetv2_export_model_to_zip``: what they are, and how they become glioflow's.

Such a zip says its channels and labels in words of its author's. Where these are known, or the study tells what they mean, the
network's outputs are put into the order of the canonical labels, which changes no mask but the values in it. Nothing in the zip
is run: its trainer is a name, its plans name only what ``model_archive`` lists, and its other files are never opened.
"""

import ast
import importlib.util
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glioflow.archives import DAMAGED
from glioflow.files import key_of
from glioflow.imaging.labels import REGIONS
from glioflow.models.model_archive import JSON_BYTES, MODEL, PLANS, parse_json, read_description, refusal
from glioflow.models.nnunet.commands import TRAINER
from glioflow.study.configuration import ImportedModel, expand_path
from glioflow.study.registry import label_schemes

if TYPE_CHECKING:
    import torch

FORMAT = "nnU-Net model"
TOLD = (
    "channels",
    "regions",
    "label_scheme",
    "trainer",
    "configuration",
)  # keys of a model that a glioflow archive needs none of
TRAINED = re.compile(
    r"(?:[^/]+/)*(?P<folder>Dataset\d{3,}_[^/]+/(?P<trainer>\w+)__\w+__(?P<configuration>2d|3d_fullres))/plans\.json"
)
HEADS = re.compile(r"(^|\.)seg_layers\.\d+\.(weight|bias)$")  # the last convolutions, one output a label or region
# What data sets call the sequences and the labels, without signs and in small letters.
CHANNEL_WORDS = {
    **dict.fromkeys(("t1", "t1n", "t1w", "t1native", "t1pre"), "t1"),
    **dict.fromkeys(("t1ce", "t1c", "t1gd", "t1post", "t1wce", "t1contrast", "t1km"), "t1ce"),
    **dict.fromkeys(("t2", "t2w"), "t2"),
    **dict.fromkeys(("flair", "t2f", "t2flair", "fla"), "flair"),
}
REGION_WORDS = {
    **dict.fromkeys(("wt", "whole", "wholetumor", "wholetumour"), "WT"),
    **dict.fromkeys(("tc", "core", "tumorcore", "tumourcore"), "TC"),
    **dict.fromkeys(("et", "enhancing", "enhancingtumor", "enhancingtumour"), "ET"),
    **dict.fromkeys(("ed", "edema", "oedema", "snfh", "peritumoraledema"), "ED"),
    **dict.fromkeys(("ncr", "netc", "ncrnet", "necrosis", "necroticcore", "nonenhancing", "nonenhancingtumor"), "NCR"),
    **dict.fromkeys(("rc", "cavity", "resectioncavity"), "RC"),
}


def describe_model(model: ImportedModel) -> dict[str, Any]:
    """Return what an imported model is: of a glioflow archive its model.json, of nnU-Net's zip what it and the study tell.

    Raises UserError where the archive cannot be taken, or the study has to tell what a word in it means.
    """
    return describe_archive(Path(expand_path(model.archive)), told_of(model))


def told_of(model: ImportedModel) -> dict[str, Any]:
    """Return what a study tells of nnU-Net's zip."""
    return {key: value for key in TOLD if (value := getattr(model, key)) is not None}


def describe_archive(archive: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``describe_model`` does, given the keys of ``TOLD`` that the study has."""
    trained = _trained_folders(archive)
    if not trained:
        if told:
            raise refusal(archive, f"a glioflow archive says its {next(iter(told))} itself; leave it out of the study")
        return read_description(archive)
    return _describe(archive, trained, told)


def _trained_folders(archive: Path) -> dict[str, re.Match[str]]:
    """Return the trained configurations in nnU-Net's zip; none where it is something else."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
    except (*DAMAGED, OSError, ValueError):
        return {}  # read_description says what is wrong
    if any(Path(name).name == MODEL for name in names):
        return {}
    return {match["configuration"]: match for name in names if (match := TRAINED.fullmatch(name))}


def _describe(archive: Path, trained: Mapping[str, re.Match[str]], told: Mapping[str, Any]) -> dict[str, Any]:
    configuration = told.get("configuration") or next(iter(trained))
    if configuration not in trained or (len(trained) > 1 and "configuration" not in told):
        raise refusal(archive, f"it holds the configurations {', '.join(trained)}; say by `configuration` which one predicts")
    match = trained[configuration]
    place = match[0].removesuffix(f"/{PLANS}")
    dataset, plans = _read(archive, f"{place}/dataset.json"), _read(archive, f"{place}/{PLANS}")
    with zipfile.ZipFile(archive) as opened:
        found = [
            re.fullmatch(rf"{re.escape(place)}/(fold_(\d+|all))/checkpoint_final\.pth", name) for name in opened.namelist()
        ]
    folders = {int(fold[2]): fold[1] for fold in found if fold and fold[2] != "all"}
    folders = dict(sorted(folders.items())) or dict.fromkeys([0] if any(found) else [], "fold_all")
    if not folders:
        raise refusal(archive, "it holds no fold with a checkpoint_final.pth")
    trainer = match["trainer"]
    _check_trainer(archive, trainer, told.get("trainer"))
    outputs, regions, order = _outputs(archive, dataset, told)
    try:
        network = plans["configurations"][configuration]["architecture"]["network_class_name"]
    except (KeyError, TypeError):
        raise refusal(archive, f"{PLANS} names no network for {configuration}; nnU-Net 2.4 and later do") from None
    return {
        "format": FORMAT,
        "name": match["folder"].partition("/")[0],
        "channels": _channels(archive, dataset, told),
        "regions": regions,
        "outputs": outputs,
        "configuration": configuration,
        "trainer": TRAINER,  # it adds nothing to a prediction, and every trainer that is taken leaves the network as planned
        "trained_by": trainer,
        "network": str(network),
        "folds": list(folders),
        "tta": True,
        "place": place,
        "folders": {str(fold): folder for fold, folder in folders.items()},
        "order": order,
        "trained": {str(fold): {"key": key_of({"archive": archive.name, "fold": fold}), "versions": {}} for fold in folders},
        "files": {},
    }


def _read(archive: Path, name: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(name) as stream:
            return parse_json(archive, name, stream.read(JSON_BYTES + 1))
    except KeyError:
        raise refusal(archive, f"it has no {name}") from None
    except (*DAMAGED, OSError, ValueError) as error:
        raise refusal(archive, f"{name} cannot be read ({error})") from None


def _plain(word: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(word).lower())


def _channels(archive: Path, dataset: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    names = dataset.get("channel_names") or dataset.get("modality") or {}
    try:
        words = [names[str(index)] for index in range(len(names))]
    except (KeyError, TypeError):
        raise refusal(archive, "dataset.json: channel_names are not numbered from 0") from None
    known = [CHANNEL_WORDS.get(_plain(word)) for word in words]
    if "channels" in told:
        if len(told["channels"]) != len(words):
            raise refusal(archive, f"the study tells {len(told['channels'])} channels, dataset.json {len(words)}: {words}")
        return list(told["channels"])
    if not words or None in known or len(set(known)) < len(known):
        raise refusal(
            archive, f"dataset.json calls its channels {words}; say by `channels` which sequences these are, in this order"
        )
    return [str(channel) for channel in known]


def _outputs(archive: Path, dataset: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[str, list[str], list[int]]:
    """Return whether the outputs are regions or labels, their canonical names in order, and which output each of them was."""
    labels = {name: value for name, value in dict(dataset.get("labels") or {}).items() if name not in ("background", "ignore")}
    parts = {name: sorted(set(value if isinstance(value, list) else [value])) for name, value in labels.items()}
    if not parts or not all(isinstance(raw, int) for values in parts.values() for raw in values):
        raise refusal(archive, "dataset.json: labels are not numbers by name")
    names = _regions(archive, parts, told)
    if "regions_class_order" in dataset:
        return "regions", names, list(range(len(names)))
    values = [REGIONS[name] for name in names]
    if sorted(values) != [(label,) for label in range(1, len(values) + 1)]:
        raise refusal(
            archive, f"its labels are {names}; those of a network without regions must be NCR, ED, ET and RC, from the first"
        )
    outputs = {REGIONS[name][0]: parts[word][0] for word, name in zip(parts, names, strict=True)}
    return "labels", sorted(names, key=REGIONS.__getitem__), [0, *(outputs[label] for label in sorted(outputs))]


def _regions(archive: Path, parts: Mapping[str, Sequence[int]], told: Mapping[str, Any]) -> list[str]:
    if "regions" in told:
        if len(told["regions"]) != len(parts):
            raise refusal(archive, f"the study tells {len(told['regions'])} regions, dataset.json {len(parts)}: {list(parts)}")
        return list(told["regions"])
    if "label_scheme" in told:
        scheme = label_schemes()[told["label_scheme"]]
        sets = {frozenset(labels): name for name, labels in REGIONS.items()}
        found = [sets.get(frozenset(scheme.get(raw, -1) for raw in values) - {0}) for values in parts.values()]
    else:
        found = [REGION_WORDS.get(_plain(word)) for word in parts]
    if None in found or len(set(found)) < len(found):
        hint = "by `label_scheme` what their values mean, or by `regions` what they are, in this order"
        raise refusal(archive, f"dataset.json has the labels {json.dumps(parts)}; say {hint}")
    return [str(name) for name in found]


# ---- the trainer, by its name


def _check_trainer(archive: Path, trainer: str, told: str | None) -> None:
    """Raise UserError where it is unknown whether a trainer leaves the network as the plans have it."""
    name = told or trainer
    known = _network_makers()
    if name not in known:
        raise refusal(
            archive,
            f"it was trained by {trainer!r}, which is none of nnU-Net's trainers; its code is not run. Where it left the "
            "network as planned, say so by `trainer: nnUNetTrainer`",
        )
    if known[name]:
        raise refusal(archive, f"it was trained by {name!r}, whose network is another than that of its plans")


@cache
def _network_makers() -> dict[str, bool]:
    """Return nnU-Net's trainers by name, and whether each builds a network of its own; read as text, nothing is imported."""
    spec = importlib.util.find_spec("nnunetv2")
    assert spec is not None and spec.submodule_search_locations
    bases: dict[str, list[str]] = {}
    makes: dict[str, bool] = {}
    for path in sorted((Path(spec.submodule_search_locations[0]) / "training/nnUNetTrainer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
                made = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
                makes[node.name] = "build_network_architecture" in made

    def own(name: str) -> bool:
        return name != "nnUNetTrainer" and (makes.get(name, False) or any(own(base) for base in bases.get(name, [])))

    return {name: own(name) for name in bases}


# ---- the content


def convert_plans(plans: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    """Return nnU-Net's plans with the one configuration, and what glioflow notes in plans."""
    configuration = description["configuration"]
    noted = {"regions": description["regions"], "tta": True}
    return {**plans, "configurations": {configuration: plans["configurations"][configuration]}, "glioflow": noted}


def convert_weights(weights: Mapping[str, "torch.Tensor"], description: Mapping[str, Any]) -> dict[str, "torch.Tensor"]:
    """Return the weights with the network's outputs in the order of the canonical labels."""
    order = description["order"]
    if order == list(range(len(order))):
        return dict(weights)
    return {name: tensor[order].contiguous() if HEADS.search(name) else tensor for name, tensor in weights.items()}


def read_checkpoint(archive: Path, path: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fold's weights, numbers and names out of nnU-Net's checkpoint, as ``export_model`` would keep them.

    nnU-Net writes its curves beside the weights, numbers of numpy's, which are let in as well. Raises UserError where reading
    it would call anything else.
    """
    import codecs
    import pickle

    import numpy as np
    import torch

    name = path.relative_to(path.parents[1]).as_posix()
    # What makes numpy's numbers and arrays, under the names of numpy 2 and of numpy 1; none of it calls anything else.
    makers: dict[str, Any] = {"scalar": np.float64(0).__reduce__()[0], "_reconstruct": np.zeros(1).__reduce__()[0]}
    former: list[Any] = [(maker, f"numpy.core.multiarray.{name}") for name, maker in makers.items()]
    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    allowed = [*makers.values(), *former, np.ndarray, np.dtype, codecs.encode, *kinds]
    try:
        with torch.serialization.safe_globals(allowed):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise refusal(
            archive, f"{name} holds something else than weights and numbers: reading it could run code, so it was not read"
        ) from None
    except Exception as error:  # a pickle made to do harm, or damaged, may fail in any way
        raise refusal(archive, f"{name} is no checkpoint that torch.save wrote ({error})") from None
    weights = checkpoint.get("network_weights") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise refusal(archive, f"{name}: network_weights are not tensors by name")
    axes, count = checkpoint.get("inference_allowed_mirroring_axes"), 2 if description["configuration"] == "2d" else 3
    if axes is not None and not (isinstance(axes, list | tuple) and set(axes) <= set(range(count))):
        raise refusal(archive, f"{name}: the image cannot be mirrored along the axes {axes!r}")
    return {
        "network_weights": convert_weights(weights, description),
        "trainer_name": TRAINER,
        "init_args": {"configuration": description["configuration"]},
        "inference_allowed_mirroring_axes": None if axes is None else tuple(int(axis) for axis in axes),
    }
