"""Content keys of nnU-Net's expensive steps: what a result depends on, and nothing else.

Paths, times and hosts are no part of a key, so that a new clone, a touched file or a moved folder finds its work done.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from glioflow.code_fingerprint import module_fingerprint
from glioflow.models.nnunet.commands import TRAINERS

# Of our trainers' folder, what a prediction and its record depend on.
PREDICTING = ("glioflow_trainer", "glioflow_networks", "glioflow_uncertainty")


def case_hashes(
    manifest: pd.DataFrame, channels: Sequence[str], cases: Sequence[str], label: bool = True
) -> dict[str, list[str]]:
    """Return case -> SHA-256 of each channel's file and, where ``label``, of its canonical label map."""
    columns = [f"{channel}_sha256" for channel in channels] + (["label_sha256"] if label else [])
    rows = manifest.set_index("case_id")
    return {case: [str(value) for value in rows.loc[case, columns]] for case in sorted(cases)}


def describe(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what dataset.json has of channels and labels, without the paths of its files."""
    return {key: dataset[key] for key in ("channel_names", "labels", "regions_class_order") if key in dataset}


def installed(package: str) -> str:
    """Return the version of a package in this environment, or an empty text where it has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def training_code() -> dict[str, str]:
    """Return the code that trains a fold today: the fingerprint of our trainers' folder, the versions of nnU-Net and torch.

    It is no part of a fold's key, since nothing is trained again for an upgrade.
    """
    ours = sorted(_trainer_module(path.stem) for path in TRAINERS.glob("*.py"))
    return {"code": module_fingerprint(*ours), "nnunetv2": installed("nnunetv2"), "torch": installed("torch")}


def prediction_code(*scripts: str) -> dict[str, str]:
    """Return the code that predicts today: nnU-Net's version, the fingerprint of our trainer, networks and ``scripts``."""
    modules = [*scripts, *map(_trainer_module, PREDICTING)]
    return {"code": module_fingerprint(*modules, imports=False), "nnunetv2": installed("nnunetv2")}


def preprocessing_code() -> dict[str, str]:
    """Return the code that preprocesses cases today: nnU-Net's version, and the fingerprint of the script that calls it."""
    return {"code": module_fingerprint("preprocess_model", imports=False), "nnunetv2": installed("nnunetv2")}


def _trainer_module(name: str) -> str:
    return f"glioflow.models.nnunet.trainers.{name}"
