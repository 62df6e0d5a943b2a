"""Laying out a bundle to be run again: its workflow, its configuration, links to the user's data, and its trained folds.

A trained fold is known by its key (``train_fold``). It is laid out with the state and the weights that the bundle has, so that
a run on the same data finds the key it computes, and trains nothing.
"""

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glioflow.archives import unpack
from glioflow.bundle.shared_tables import INPUTS
from glioflow.bundle.steps import RESULTS
from glioflow.bundle.verify import find_inputs
from glioflow.console import Console, UserError
from glioflow.files import read_json, read_text_table, sha256_file, write_json
from glioflow.models.fold_state import FINAL, STATE
from glioflow.models.model_archive import checkpoint_name, scratch
from glioflow.models.nnunet.commands import ModelFolders

CURVES = "curves.json"  # what the trainer leaves beside a checkpoint


def lay_out_workflow(folder: Path, target: Path) -> None:
    """Copy workflow and configuration of the unpacked bundle ``folder`` into ``target``, where ``snakemake`` is to run."""
    shutil.copytree(folder / "workflow", target, dirs_exist_ok=True)
    for name in ("study.yaml", "inputs.csv"):
        shutil.copyfile(folder / name, target / name)


def link_inputs(folder: Path, target: Path, data: Path, console: Console) -> list[str]:
    """Link the user's files, found by their SHA-256, under the names that the configuration has; return what is missing."""
    found, missing = find_inputs(folder, data, console, masks=True)
    for name, path in found.items():
        if name.startswith(f"{INPUTS}/") and path.is_relative_to(data):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(path.absolute())
    made = tuple(f"{RESULTS}/cohorts/{part}" for part in cohorts_made(folder))
    return [line for line in missing if not line.startswith(made)] if made else missing


def cohorts_made(folder: Path) -> list[str]:
    """Return the cohorts whose images the workflow makes: those of phantoms."""
    return [path.parent.name + "/" for path in sorted((folder / RESULTS / "cohorts").glob("*/phantom.csv"))]


def lay_out_folds(folder: Path, target: Path, console: Console) -> int:
    """Write the trained folds of the unpacked bundle to where a run in ``target`` looks for them; return how many."""
    number = 0
    for archive in sorted((folder / RESULTS / "models").glob("*/*.zip")):
        model = archive.parent.name
        with scratch(target / ".models") as work:
            with zipfile.ZipFile(archive) as opened:
                size = sum(info.file_size for info in opened.infolist())
            unpack(archive, work, size, console)
            for manifest in sorted(archive.parent.glob("fold_*/manifest.json")):
                folders = ModelFolders(model, target / RESULTS / "models" / model / "nnunet")
                _lay_out_fold(read_json(manifest), manifest, work / archive.stem, folders)
                number += 1
    return number


def _lay_out_fold(manifest: Mapping[str, Any], record: Path, model: Path, folders: ModelFolders) -> None:
    import torch

    fold = int(manifest["fold"])
    configuration = Path(manifest["checkpoint"]["path"]).parts[-3].rpartition("__")[2]
    place = folders.fold(configuration, fold)
    place.mkdir(parents=True)
    try:  # as numbers alone, and written anew: nnU-Net unpickles what it reads
        weights = torch.load(model / checkpoint_name(fold), map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle made to do harm, or damaged, may fail in any way
        raise UserError(f"{model.name}: fold {fold}: its checkpoint holds something else than weights ({error})") from None
    torch.save(weights, place / FINAL)
    curves = read_text_table(record.with_name("curves.csv")).astype(float, errors="ignore")
    write_json(place / CURVES, curves.to_dict("records"))
    training = {
        "with": manifest["trained_with"],
        "gpu": manifest["gpu"],
        "finished_at": manifest["finished_at"],
        "sha256": sha256_file(place / FINAL),
    }
    write_json(place / STATE, {"key": manifest["key"], "parts": manifest["parts"], "training": training})
