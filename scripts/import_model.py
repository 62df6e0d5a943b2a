"""Take over a model that somebody else exported: check all of it, then lay it out as ``predict_cases`` expects a model.

Input: ``archive`` (a zip that ``export_model`` or nnU-Net's own command wrote). Params: ``root`` (the model's nnU-Net folders),
``told`` (what the study tells of nnU-Net's zip). Outputs: ``dataset``,
``plans``, ``imported`` (``imported.json``, written last: the archive's SHA-256 and the record of every fold) and, where the
rule names it, ``postprocessing`` (JSON; ``null`` where the model has none).

nnU-Net reads a checkpoint by unpickling it, and takes from the plans the names of classes to call: both would run whatever the
author of an archive chose. So the weights are read as plain tensors, which a pickle with code in it does not survive, and
written anew; the plans may name only what ``glioflow.models.model_archive`` lists; and the network is built and compared with
the weights, on torch's ``meta`` device, where it takes no memory however large it claims to be.
"""

import os
import pickle
import pydoc
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glioflow.archives import unpack
from glioflow.console import Console, count, run_script
from glioflow.files import key_of, sha256_file, write_json
from glioflow.imaging.labels import ED, ET, NCR, RC
from glioflow.models.fold_state import STATE, prepare_fold, store_fold
from glioflow.models.model_archive import (
    CHECKPOINT,
    DATASET,
    JSON_BYTES,
    MODEL,
    PLANS,
    POSTPROCESSING,
    check_dataset,
    check_plans,
    checkpoint_name,
    parse_json,
    refusal,
    scratch,
    shared_dataset,
)
from glioflow.models.nnunet.commands import TRAINER, TRAINERS, ModelFolders
from glioflow.models.nnunet_archive import FORMAT as NNUNET
from glioflow.models.nnunet_archive import convert_plans, describe_archive, read_checkpoint
from glioflow.models.postprocessing import ET_THRESHOLD, LARGEST, MIN_VOLUME, NESTED, Step

if TYPE_CHECKING:
    import torch

LABELS = (NCR, ED, ET, RC)
KEPT = ("network_weights", "trainer_name", "init_args", "inference_allowed_mirroring_axes")
PACKED_GROWTH = 40  # nnU-Net packs the optimiser's state too, of which a short training leaves much at zero
GROWTH = 4  # weights hardly compress: what unpacks to many times its size is no model


def unpack_model(archive: Path, work: Path, description: Mapping[str, Any], console: Console) -> Path:
    """Unpack the archive below ``work`` and return the model's folder, which has exactly the files that model.json lists.

    Raises UserError, naming the file, where one is missing, is not listed, or does not have the SHA-256 that is listed, and
    where ``glioflow.archives.unpack`` does.
    """
    unpack(archive, work, GROWTH * archive.stat().st_size + JSON_BYTES, console)
    (folder,) = (path.parent for path in work.glob(f"*/{MODEL}"))
    listed = {folder / name: sha256 for name, sha256 in description["files"].items()}
    found = {path for path in work.rglob("*") if not path.is_dir()}
    if surplus := sorted(found - {*listed, folder / MODEL}):
        raise refusal(archive, f"{surplus[0].relative_to(work)} is in it, but not in the list of {MODEL}")
    for path, sha256 in listed.items():
        name = path.relative_to(folder).as_posix()
        if path not in found:
            raise refusal(archive, f"{name} is in the list of {MODEL}, but not in it")
        if sha256_file(path) != sha256:
            raise refusal(archive, f"{name} does not have the SHA-256 that {MODEL} lists; it was damaged or altered")
    return folder


def unpack_nnunet(archive: Path, work: Path, description: Mapping[str, Any], console: Console) -> Path:
    """Unpack nnU-Net's zip below ``work``; return the folder of the trained configuration. What else it holds is not read."""
    unpack(archive, work, PACKED_GROWTH * archive.stat().st_size + JSON_BYTES, console)
    return work / str(description["place"])


def read_weights(archive: Path, path: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checkpoint ``path`` of the archive: plain tensors, numbers and names, and nothing that runs when it is read.

    Raises UserError where reading it would call anything, or it is not what ``export_model`` writes.
    """
    import torch

    name = path.relative_to(path.parents[1]).as_posix()
    try:
        with zipfile.ZipFile(path) as opened:  # the form that torch.save writes; older ones are read by other means
            packed = any(info.compress_type != zipfile.ZIP_STORED for info in opened.infolist())
        checkpoint = None if packed else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise refusal(
            archive, f"{name} holds something else than weights: reading it could run code of its author's, so it was not read"
        ) from None
    except Exception as error:  # a pickle made to do harm, or damaged, may fail in any way
        raise refusal(archive, f"{name} is no checkpoint that torch.save wrote ({error})") from None
    if packed:
        raise refusal(archive, f"{name} is packed in a way that torch.save does not use")
    if not isinstance(checkpoint, dict) or set(checkpoint) != set(KEPT):
        raise refusal(archive, f"{name} does not hold just {', '.join(KEPT)}")
    if checkpoint["trainer_name"] != TRAINER or checkpoint["init_args"] != {"configuration": description["configuration"]}:
        raise refusal(archive, f"{name} belongs to another trainer or configuration than {MODEL} names")
    axes, axis_count = checkpoint["inference_allowed_mirroring_axes"], 2 if description["configuration"] == "2d" else 3
    if axes is not None and not (isinstance(axes, tuple) and set(axes) <= set(range(axis_count))):
        raise refusal(archive, f"{name}: the image cannot be mirrored along the axes {axes!r}")
    weights = checkpoint["network_weights"]
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise refusal(archive, f"{name}: network_weights are not tensors by name")
    return checkpoint


def build_network(
    archive: Path, plans: Mapping[str, Any], dataset: Mapping[str, Any], description: Mapping[str, Any]
) -> "torch.nn.Module":
    """Return the network of the plans, on the ``meta`` device: shapes without memory.

    Raises UserError where a name of the plans does not stand for a network, or for an operator of torch.nn.
    """
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    if str(TRAINERS) not in sys.path:
        sys.path.append(str(TRAINERS))  # where plans' glioflow_networks are
    architecture = plans["configurations"][description["configuration"]]["architecture"]
    name, operators = architecture["network_class_name"], architecture["_kw_requires_import"]
    named = {"network_class_name": name, **{key: architecture["arch_kwargs"][key] for key in operators}}
    for key, value in named.items():
        found = None if value is None else pydoc.locate(value)
        home = "torch.nn" if key in operators else name.split(".")[0]
        if value is not None and not (
            isinstance(found, type) and issubclass(found, torch.nn.Module) and f"{found.__module__}.".startswith(f"{home}.")
        ):
            raise refusal(archive, f"{PLANS}: {key}: {value!r} does not stand for a network module of {home}")
    try:
        with torch.device("meta"):
            return get_network_from_plans(  # type: ignore[no-any-return]
                name,
                architecture["arch_kwargs"],
                operators,
                len(description["channels"]),
                LabelManager(dataset["labels"], dataset.get("regions_class_order")).num_segmentation_heads,
                allow_init=False,
                deep_supervision=False,
            )
    except Exception as error:
        raise refusal(archive, f"the network of {PLANS} cannot be built ({type(error).__name__}: {error})") from None


def check_fit(archive: Path, name: str, weights: Mapping[str, "torch.Tensor"], network: "torch.nn.Module") -> None:
    """Raise UserError where ``weights`` are not those of ``network``: other names, shapes or types, or values not finite."""
    import torch

    wanted = network.state_dict()
    head = f"{name} is a checkpoint of another architecture than the network of {PLANS}"
    if odd := [key for key in wanted if key not in weights] or [key for key in weights if key not in wanted]:
        side = "only the network has" if odd[0] in wanted else "only the checkpoint has"
        raise refusal(archive, f"{head}: {side} {', '.join(map(str, odd[:3]))}{' …' if len(odd) > 3 else ''}")
    for key, tensor in weights.items():
        shapes = tuple(tensor.shape), tuple(wanted[key].shape)
        if shapes[0] != shapes[1]:
            raise refusal(archive, f"{head}: {key} has the shape {shapes[0]}, the network's {shapes[1]}")
        if tensor.layout != torch.strided or tensor.dtype != wanted[key].dtype or not tensor.is_contiguous():
            raise refusal(archive, f"{head}: {key} is not a plain tensor of {wanted[key].dtype}")
        if not torch.isfinite(tensor).all():
            raise refusal(archive, f"{name}: {key} has values that are not finite")
    network.load_state_dict(dict(weights), strict=True, assign=True)


def check_postprocessing(archive: Path, value: Mapping[str, Any]) -> None:
    """Raise UserError where postprocessing.json is not a list of steps that ``postprocess_cases`` can apply."""
    try:
        steps = [Step(**step) for step in value["steps"]]
        sound = all(
            step.region in NESTED
            and step.becomes in (0, *LABELS)
            and (step.operation == LARGEST or (step.operation in (MIN_VOLUME, ET_THRESHOLD) and float(step.value or 0) > 0))
            for step in steps
        )
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise refusal(archive, f"{POSTPROCESSING} has a step that this glioflow does not know")


def read_object(archive: Path, folder: Path, name: str) -> dict[str, Any]:
    """Return the content of a JSON file of the unpacked archive."""
    with (folder / name).open("rb") as stream:
        return parse_json(archive, name, stream.read(JSON_BYTES + 1))


def main(snakemake: Any, console: Console) -> str:
    """Check the archive from end to end, then write the model's files; the record of the import comes last."""
    import torch

    archive = Path(snakemake.input.archive)
    description = describe_archive(archive, snakemake.params.told)
    configuration, outputs = description["configuration"], dict(snakemake.output.items())
    folders = ModelFolders(snakemake.wildcards.model, Path(snakemake.params.root))
    with scratch(folders.root / ".importing") as work:
        if description["format"] == NNUNET:
            folder = unpack_nnunet(archive, work, description, console)
            plans, dataset = convert_plans(read_object(archive, folder, PLANS), description), shared_dataset(description)
        else:
            folder = unpack_model(archive, work, description, console)
            plans, dataset = read_object(archive, folder, PLANS), read_object(archive, folder, DATASET)
            check_dataset(archive, dataset, description)
        check_plans(archive, plans, description)
        network = build_network(archive, plans, dataset, description)
        postprocessing = None
        if POSTPROCESSING in description["files"]:
            postprocessing = read_object(archive, folder, POSTPROCESSING)
            check_postprocessing(archive, postprocessing)
        ready = work / "ready"
        for fold in description["folds"]:
            name = checkpoint_name(fold)
            if description["format"] == NNUNET:
                source = folder / description["folders"][str(fold)] / CHECKPOINT
                checkpoint = read_checkpoint(archive, source, description)
            else:
                checkpoint = read_weights(archive, folder / name, description)
            check_fit(archive, name, checkpoint["network_weights"], network)
            (ready / name).parent.mkdir(parents=True)
            torch.save(checkpoint, ready / name)
        folds = [place_fold(folders, description, fold, ready, console) for fold in description["folds"]]
    trained, stored = folders.trained(configuration), [store_fold(fold, outputs["imported"]) for fold in folds]
    for value, paths in (
        (plans, (trained / PLANS, outputs["plans"])),
        (dataset, (trained / DATASET, outputs["dataset"])),
        (postprocessing, [outputs[key] for key in ("postprocessing",) if key in outputs]),
        ({"archive": {"name": archive.name, "sha256": sha256_file(archive)}, "folds": stored}, [outputs["imported"]]),
    ):
        for path in paths:
            write_json(path, value)
    regions, channels = ", ".join(description["regions"]), ", ".join(description["channels"])
    return f"{description['name']} imported with {count(len(folds), 'fold')}: {regions} from {channels}"


def place_fold(
    folders: ModelFolders, description: Mapping[str, Any], fold: int, ready: Path, console: Console
) -> dict[str, Any]:
    """Put a fold's checked checkpoint where nnU-Net looks for it, and return the fold's record.

    A training in its place is archived as ``train_fold`` does it, and is found again when it is wanted.
    """
    source = ready / checkpoint_name(fold)
    target = folders.fold(description["configuration"], fold) / CHECKPOINT
    sha256, trained = sha256_file(source), description["trained"][str(fold)]
    place_key = key_of({"imported": sha256})  # not the key of the training: what is imported cannot be resumed or validated
    prepare_fold(target.parent, place_key, console)
    write_json(target.parent / STATE, {"key": place_key})
    os.replace(source, target)
    return {
        "model": folders.model,
        "fold": fold,
        "key": trained["key"],
        "imported": True,
        "checkpoint": {"path": str(target), "sha256": sha256},
        "versions": trained["versions"],
    }


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
