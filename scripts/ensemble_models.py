"""Combine trained models: the mean of their probabilities, then single labels taken from one member.

Inputs: ``split.csv``, the members' ``predictions.csv`` (and, for ``cv``, their folds' ``manifest.json``), ``dataset.json``
and ``glioflowPlans.json`` of the first member. Params: ``members``, ``merge`` (region to member), ``regions``. Output:
``predictions.csv``; the masks lie beside it. The mean is nnU-Net's own (``nnUNetv2_ensemble``).
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import read_json, read_table, write_json, write_table
from glioflow.labels import REGIONS
from glioflow.nnunet.commands import run_nnunet
from glioflow.predictions import place, prediction_table, set_members
from glioflow.volumes import Volume, read_labels, write_volume


def merge_label(labels: NDArray[np.uint8], member: NDArray[np.uint8], label: int) -> NDArray[np.uint8]:
    """Return ``labels`` with ``label`` as ``member`` has it: removed where it was, painted only where nothing else stands."""
    merged = np.where(labels == label, np.uint8(0), labels)
    merged[(member == label) & (merged == 0)] = label
    return merged


def probability_files(case: str, member: str, predictions: Path, folds: Mapping[str, Path]) -> dict[str, Path]:
    """Return the .npz and .pkl of a case of one member: from the fold that validated it, or beside the member's predictions."""
    folder = folds.get(case, predictions.parent / "probabilities")
    files = {ending: folder / f"{case}{ending}" for ending in (".npz", ".pkl")}
    if missing := [str(path) for path in files.values() if not path.exists()]:
        raise UserError(f"{case}: the model {member!r} left no probabilities ({', '.join(missing)}); run its predictions again")
    return files


def main(snakemake: Any, console: Console) -> str:
    """Average the members' probabilities, apply the merges, list the masks."""
    params = snakemake.params
    folder = Path(snakemake.output[0]).parent
    work = folder / ".work"
    shutil.rmtree(work, ignore_errors=True)
    split = read_table(snakemake.input.split)
    cases = set_members(split, snakemake.wildcards.set)
    tables = dict(zip(params.members, map(Path, snakemake.input.predictions), strict=True))
    fold_of: dict[str, dict[str, Path]] = {member: {} for member in params.members}
    folds: dict[str, int] = {}
    for path in snakemake.input.get("folds", []):
        manifest = read_json(path)
        for case in manifest["validation"]["cases"]:
            fold_of[manifest["model"]][case] = Path(manifest["validation"]["folder"])
            folds[case] = manifest["fold"]
    for member in params.members:
        (work / member).mkdir(parents=True)
        write_json(work / member / "dataset.json", read_json(snakemake.input.dataset))
        write_json(work / member / "plans.json", read_json(snakemake.input.plans))
        for case in cases:
            for ending, path in probability_files(case, member, tables[member], fold_of[member]).items():
                (work / member / f"{case}{ending}").symlink_to(path.absolute())
    arguments = ["-i", *[work / member for member in params.members], "-o", work / "mean", "-np", snakemake.threads]
    run_nnunet("nnUNetv2_ensemble", arguments, {**os.environ, "PYTHONWARNINGS": "ignore"}, console)
    masks = {member: read_table(table).set_index("case_id")["prediction"] for member, table in tables.items()}
    for case in cases:
        mean = read_labels(work / "mean" / f"{case}.nii.gz")
        labels = mean.data
        for region, member in params.merge.items():
            labels = merge_label(labels, read_labels(masks[member][case]).data, REGIONS[region][0])
        write_volume(work / f"{case}.nii.gz", Volume(labels, mean.affine))
        place(work / f"{case}.nii.gz", folder / f"{case}.nii.gz")
    shutil.rmtree(work)
    patients = dict(zip(split["case_id"], split["patient_id"], strict=True))
    write_table(snakemake.output[0], prediction_table(folder, {case: patients[case] for case in cases}, folds or None))
    return f"{count(len(cases), 'case')} from {', '.join(params.members)}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
