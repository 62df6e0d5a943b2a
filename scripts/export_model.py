"""Pack a trained model into one file that others can predict with, with glioflow or with bare nnU-Net.

Inputs: ``folds`` (each fold's ``manifest.json``), ``plans`` (``glioflowPlans.json``), ``dataset`` (``dataset.json``) and, where
the model has one, ``postprocessing`` (JSON). Output: ``<model>.zip``, laid out as ``glioflow.models.model_archive`` defines it.

No case is named in it, and no path: of a checkpoint the weights are kept and what nnU-Net reads beside them at prediction.
The same model gives the same bytes: the zip has no times in it and compresses nothing, which weights would gain little by.
"""

import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import read_json, replacing, sha256_file, write_json
from glioflow.imaging.labels import REGION_FILL, REGION_NAMES
from glioflow.models.fold_state import check_checkpoint, read_fold
from glioflow.models.model_archive import (
    DATASET,
    FORMAT,
    FORMAT_VERSION,
    MODEL,
    PLANS,
    POSTPROCESSING,
    README,
    check_dataset,
    check_description,
    check_plans,
    checkpoint_name,
    scratch,
)
from glioflow.models.nnunet.commands import TRAINER

TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
FILE_MODE = 0o100644 << 16  # a regular file, as a zip's external attributes have it


def reduce_checkpoint(checkpoint: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """Return what prediction needs of an nnU-Net checkpoint, in types that ``torch.load(weights_only=True)`` takes.

    Weights are copied out of larger storages; a tensor that the network has under several names is kept as one tensor.
    """
    import torch

    copies: dict[tuple[object, ...], torch.Tensor] = {}
    weights = {}
    for name, tensor in checkpoint["network_weights"].items():
        place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if tensor.numel() == 0 or place not in copies:
            copies[place] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        weights[name] = copies[place]
    axes = checkpoint.get("inference_allowed_mirroring_axes")
    return {
        "network_weights": weights,
        "trainer_name": str(checkpoint["trainer_name"]),
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": None if axes is None else tuple(int(axis) for axis in axes),
    }


def write_checkpoint(manifest: Mapping[str, Any], record: str, configuration: str, target: Path) -> None:
    """Write the reduced checkpoint of a fold to ``target``; its ``manifest`` is the file ``record``.

    Raises UserError where the fold's checkpoint is gone, is not the one whose SHA-256 its manifest has, or was written by a
    trainer whose code an archive cannot bring along.
    """
    import torch

    source = Path(manifest["checkpoint"]["path"])
    check_checkpoint(source, manifest, record)
    # nnU-Net puts more than weights into a checkpoint; this one is the study's own, as its SHA-256 shows.
    checkpoint = torch.load(source, map_location="cpu", weights_only=False)
    if checkpoint["trainer_name"] != TRAINER:
        raise UserError(
            f"fold {manifest['fold']} was trained by {checkpoint['trainer_name']}; an archive holds weights and no code, so "
            f"only models of {TRAINER} can be exported"
        )
    target.parent.mkdir(parents=True)
    torch.save(reduce_checkpoint(checkpoint, configuration), target)


def describe_model(
    name: str, plans: Mapping[str, Any], dataset: Mapping[str, Any], folds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the content of model.json without its checksums."""
    (configuration,) = plans["configurations"]
    names = dataset["channel_names"]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": name,
        "channels": [names[str(index)] for index in range(len(names))],
        "regions": plans["glioflow"]["regions"],
        "outputs": "regions" if "regions_class_order" in dataset else "labels",
        "configuration": configuration,
        "trainer": TRAINER,
        "network": plans["configurations"][configuration]["architecture"]["network_class_name"],
        "folds": [fold["fold"] for fold in folds],
        "tta": plans["glioflow"]["tta"],
        "trained": {str(fold["fold"]): {"key": fold["key"], "versions": fold["versions"]} for fold in folds},
    }


def readme(description: Mapping[str, Any]) -> str:
    """Return the text of the archive's README.md."""
    name, folds = description["name"], description["folds"]
    version = description["trained"][str(folds[0])]["versions"].get("nnunetv2")  # unknown of old trainings
    images = [f"| `CASE_{index:04d}.nii.gz` | {channel} |" for index, channel in enumerate(description["channels"])]
    painted = {REGION_FILL[region]: region for region in description["regions"]}
    values = [
        f"| {value} | {REGION_NAMES[region]}{', where no smaller region covers it' if region in ('WT', 'TC') else ''} |"
        for value, region in sorted(painted.items())
    ]
    mirrored = " --disable_tta" if description["tta"] is False else ""
    return "\n".join(
        [
            f"# {name}: a glioma segmentation model",
            "",
            f"An nnU-Net ({description['configuration']}, {count(len(folds), 'fold')}), trained and exported by glioflow. "
            f"`{MODEL}` describes it and lists the SHA-256 of every file. For research; not a medical device.",
            "",
            "## Predict with glioflow",
            "",
            "Leave the zip as it is and name it in a study:",
            "",
            "```yaml",
            "models:",
            f"  {name}: {{archive: {name}.zip, cohort: YOUR_COHORT}}",
            "```",
            "",
            "## Predict with bare nnU-Net",
            "",
            "nnU-Net finds the model's trainer in a folder of glioflow's source, `scripts/glioflow/models/nnunet/trainers`; "
            "copy it, the rest of glioflow is not needed.",
            "",
            "```sh",
            f"pip install nnunetv2{f'=={version}' if version else ''}",
            f"unzip {name}.zip",
            "export nnUNet_extTrainer=/path/to/trainers",
            f"nnUNetv2_predict_from_modelfolder -i images -o masks -m {name} -f {' '.join(map(str, folds))}{mirrored}",
            "```",
            "",
            "The images of a case, on one grid, prepared as those the model was trained on:",
            "",
            "| file in `images` | sequence |",
            "|---|---|",
            *images,
            "",
            "The masks hold:",
            "",
            "| value | label |",
            "|---|---|",
            *values,
            "",
            *(
                [f"Bare nnU-Net does not apply `{POSTPROCESSING}`; glioflow does.", ""]
                if POSTPROCESSING in description["files"]
                else []
            ),
        ]
    )


def write_archive(target: Path, folder: Path, files: Iterable[str]) -> None:
    """Write ``files`` of ``folder`` into the zip ``target`` below the folder's name, all or nothing, the same bytes always."""
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as opened:
        for file in sorted(files):
            info = zipfile.ZipInfo(f"{folder.name}/{file}", TIME)
            info.create_system, info.external_attr = 3, FILE_MODE
            info.file_size = (folder / file).stat().st_size  # beyond 2 GiB the zip needs larger fields, and must know before
            with (folder / file).open("rb") as source, opened.open(info, "w") as stream:
                shutil.copyfileobj(source, stream, 1 << 20)


def main(snakemake: Any, console: Console) -> str:
    """Reduce the folds' checkpoints, describe the model, and write the archive."""
    plans, inputs, name = read_json(snakemake.input.plans), dict(snakemake.input.items()), snakemake.wildcards.model
    records = {int(fold["fold"]): (path, fold) for path in snakemake.input.folds for fold in [read_fold(path)]}
    folds = [fold for _, (_, fold) in sorted(records.items())]
    dataset = {key: value for key, value in read_json(snakemake.input.dataset).items() if key != "dataset"}
    description = describe_model(name, plans, dataset, folds)
    texts: dict[str, Any] = {PLANS: plans, DATASET: {**dataset, "numTraining": 0}}
    if inputs.get("postprocessing"):
        texts[POSTPROCESSING] = read_json(inputs["postprocessing"])
    target = Path(snakemake.output[0])
    with scratch(target.with_name(f".{target.name}.exporting")) as work:
        folder = work / name
        folder.mkdir()
        for number, (path, fold) in records.items():
            write_checkpoint(fold, path, description["configuration"], folder / checkpoint_name(number))
        for file, value in texts.items():
            write_json(folder / file, value)
        listed = [*texts, *(checkpoint_name(fold) for fold in description["folds"])]
        (folder / README).write_text(readme({**description, "files": dict.fromkeys(listed)}), encoding="utf-8")
        description["files"] = {file: sha256_file(folder / file) for file in sorted([*listed, README])}
        check_description(target, description)  # what nobody could import is not worth exporting
        check_dataset(target, texts[DATASET], description)
        check_plans(target, plans, description)
        write_json(folder / MODEL, description)
        write_archive(target, folder, [*description["files"], MODEL])
    console.note(f"SHA-256 of {target}: {sha256_file(target)}")
    return f"{count(len(folds), 'fold')} exported, {target.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
