"""Combine trained models: mean of probabilities, vote or STAPLE of masks; then regions taken from single members.

The mean is nnU-Net's own (``nnunetv2.ensembling``). A vote takes, voxel by voxel, the label that most members' masks have; of
labels with equally many votes the background loses, then the label of the member named first wins. STAPLE is ITK's for
several labels. Then the labels of every region of ``merge`` are removed, and each region is painted, in the order given, with
its member's labels where nothing is yet. Where the merged regions have all labels, nothing is combined.

A case is not made again while the members' masks, the probabilities that are read and the settings are unchanged.

Inputs
------
split : the cohort's split.csv
predictions : the members' predictions.csv, in the members' order
folds : for ``cv``, the manifest.json of the members' folds, where probabilities are needed
probabilities : for other sets, the members' probabilities.csv in the members' order, where probabilities are needed
dataset, plans : dataset.json and glioflowPlans.json of the first member, where probabilities are needed

Outputs
-------
predictions.csv, a row for each case and value of ``tta``; the masks are beside it, those of a second value in ``without_tta``

Params
------
members : names of the models
method : ``mean``, ``vote`` or ``staple``
merge : region -> member, in order
regions : names of the regions that the members predict
tta : the values to make: True and False take the members' masks with and without mirroring, None whichever they have
released : member -> the record that its probabilities were deleted
cache : path of the cache
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, read_json, read_table, sha256_file
from glioflow.imaging.volumes import Volume, read_labels, same_geometry, write_volume
from glioflow.models.ensembles import covers_all, merge_regions, staple, vote
from glioflow.models.fold_state import read_fold
from glioflow.models.predictions import (
    COLUMNS,
    PROBABILITY_ENDINGS,
    WITHOUT_TTA,
    read_predictions,
    set_members,
    write_predictions,
)

COMBINATIONS = {"vote": vote, "staple": staple}
TOOLS = {"mean": "nnunetv2", "staple": "simpleitk"}  # what others combine


@dataclass(frozen=True)
class Source:
    """One member's prediction of a case: mask, hash, fold; where its probabilities are, if any, and their hash if known."""

    mask: str
    sha256: str
    fold: int | None
    probabilities: Path
    probabilities_sha256: str | None


@dataclass(frozen=True)
class Task:
    """A mask to make: of which case, from what, and where it goes."""

    case: str
    tta: bool | None
    sources: Mapping[str, Source]
    target: Path

    @property
    def item(self) -> str:
        """The mask's name in the cache."""
        return f"{self.case}:{self.tta}"


def member_source(
    rows: pd.DataFrame, case: str, tta: bool | None, fold: Mapping[str, Any] | None, hashes: Mapping[tuple[str, bool], str]
) -> Source | None:
    """Return what a member has of a case for a value of ``tta``; None where it has nothing.

    ``rows``: those of the case in the member's table. ``fold``: the manifest of the fold that validated the case, if one did.
    ``hashes``: of the member's probabilities by case and ``tta``, where no fold has them.
    Where ``tta`` is None, the member's only row counts, or of two that with mirroring. Probabilities are beside the masks they
    gave; of two kinds of a fold's, those without mirroring have a folder of their own.
    """
    both = len(rows) > 1
    wanted = True if tta is None and both else tta
    found = rows if wanted is None else rows[rows["tta"].eq(wanted).fillna(False)]
    if len(found) != 1:
        return None
    row = found.iloc[0]
    if fold is not None:
        validation, aside = fold["validation"], "_without_tta" if both and not row["tta"] else ""
        folder, known = Path(validation[f"folder{aside}"]), validation.get(f"probabilities{aside}", {}).get(case)
    else:
        folder, known = Path(row["prediction"]).parent / "probabilities", hashes.get((case, row["tta"]))
    return Source(row["prediction"], row["sha256"], None if pd.isna(row["fold"]) else int(row["fold"]), folder / case, known)


def list_tasks(
    cases: Sequence[str],
    tables: Mapping[str, Path],
    folds: Sequence[Mapping[str, Any]],
    hashes: Mapping[str, Mapping[tuple[str, bool], str]],
    tta: Sequence[bool | None],
    folder: Path,
) -> list[Task]:
    """Return the masks to make, by case and then by ``tta``. Raises ``UserError`` where a member has no mask for one."""
    validated = {(fold["model"], case): fold for fold in folds for case in fold["validation"]["cases"]}
    rows = {member: dict(iter(read_predictions(table).groupby("case_id"))) for member, table in tables.items()}
    tasks = []
    for case in cases:
        for value in tta:
            sources = {}
            for member, table in tables.items():
                own = rows[member].get(case)
                fold, known = validated.get((member, case)), hashes.get(member, {})
                source = None if own is None else member_source(own, case, value, fold, known)
                if source is None:
                    kind = "" if value is None else f" with tta {value}"
                    raise UserError(f"{case}: {table} of the model {member!r} has no mask{kind}; one is needed")
                sources[member] = source
            second = value is False and len(tta) > 1
            target = (folder / WITHOUT_TTA if second else folder) / f"{case}.nii.gz"
            tasks.append(Task(case, value, sources, target))
    return tasks


def task_key(task: Task, method: str | None, merge: Mapping[str, str]) -> str:
    """Return the content key of a mask: it is the same wherever it is the same."""
    sources = task.sources.items()
    return key_of(
        {
            "code": module_fingerprint("ensemble_models"),
            "tool": version(TOOLS[method]) if method in TOOLS else None,
            "method": method,
            "merge": list(merge.items()),
            "masks": [[member, source.sha256] for member, source in sources],
            "probabilities": [source.probabilities_sha256 for _, source in sources] if method == "mean" else None,
        }
    )


def read_hashes(table: Path) -> dict[tuple[str, bool], str]:
    """Return the hashes of a member's probabilities by case and ``tta``, as its probabilities.csv has them."""
    rows = read_predictions(table).to_dict("records")
    return {(row["case_id"], row["tta"]): row["sha256"] for row in rows if not pd.isna(row["sha256"])}


def check_probabilities(tasks: Sequence[Task], released: Mapping[str, str]) -> None:
    """Raise ``UserError`` where the probabilities of any of ``tasks`` are gone; it names the first and counts the others."""
    gone = [
        (task.case, member, path)
        for task in tasks
        for member, source in task.sources.items()
        for path in [source.probabilities.with_name(source.probabilities.name + ending) for ending in PROBABILITY_ENDINGS]
        if not path.exists()
    ]
    if not gone:
        return
    case, member, path = gone[0]
    others = len({(case, member) for case, member, _ in gone}) - 1
    more = f" (and so with {count(others, 'other mask')})" if others else ""
    members = dict.fromkeys(member for _, member, _ in gone)
    records = " and ".join(released[member] for member in members)
    raise UserError(
        f"{case}: the probabilities of the model {member!r} are gone: {path} does not exist{more}; "
        f"delete {records} and run again with --forcerun train_fold predict_cases"
    )


@cache
def nnunet_tools(plans: str, dataset: str) -> tuple[Any, Any]:
    """Return nnU-Net's reader and writer of images and its label manager for a model's plans and dataset.json."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(read_json(plans))
    return manager.image_reader_writer_class(), manager.get_label_manager(read_json(dataset))


def mean_labels(task: Task, plans: str, dataset: str) -> Volume:
    """Return the label map of the mean of the members' probabilities, as ``nnUNetv2_ensemble`` writes it."""
    from nnunetv2.ensembling.ensemble import merge_files

    files = [f"{source.probabilities}.npz" for source in task.sources.values()]
    made = task.target.with_name(f".mean.{task.case}")
    try:
        merge_files(files, str(made), ".nii.gz", *nnunet_tools(plans, dataset))
        return read_labels(f"{made}.nii.gz")
    finally:
        Path(f"{made}.nii.gz").unlink(missing_ok=True)


def member_masks(task: Task, members: Sequence[str]) -> dict[str, Volume]:
    """Return the masks of ``members``. Raises ``UserError`` where two of them are not on one grid."""
    masks = {member: read_labels(task.sources[member].mask) for member in members}
    for member, mask in masks.items():
        if not same_geometry(masks[members[0]], mask):
            paths = " and ".join(task.sources[name].mask for name in (members[0], member))
            raise UserError(f"{task.case}: {paths} do not lie on one grid; one shape and one affine are needed")
    return masks


def combine(task: Task, method: str | None, merge: Mapping[str, str], plans: str | None, dataset: str | None) -> str:
    """Make a task's mask and return its SHA-256.

    ``method`` is None where the merged regions hold all labels. ``plans`` and ``dataset`` are needed for the mean only.
    """
    task.target.parent.mkdir(parents=True, exist_ok=True)
    masks = member_masks(task, list(task.sources) if method in COMBINATIONS else list(dict.fromkeys(merge.values())))
    arrays = {member: mask.data for member, mask in masks.items()}
    if method == "mean":
        assert plans and dataset
        mean = mean_labels(task, plans, dataset)
        labels, affine = mean.data, mean.affine
    else:
        first = next(iter(masks.values()))
        labels = COMBINATIONS[method](list(arrays.values())) if method else np.zeros_like(first.data)
        affine = first.affine
    labels = merge_regions(labels, {region: arrays[member] for region, member in merge.items()})
    write_volume(task.target, Volume(labels, affine))
    return sha256_file(task.target)


def ensemble_table(tasks: Sequence[Task], patients: Mapping[str, str]) -> pd.DataFrame:
    """Return predictions.csv of the finished masks. A case's fold is that of its first member."""
    rows = [
        {
            "case_id": task.case,
            "patient_id": patients[task.case],
            "fold": next(iter(task.sources.values())).fold,
            "tta": task.tta,
            "prediction": task.target.as_posix(),
            "sha256": sha256_file(task.target),
        }
        for task in tasks
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"fold": "Int64", "tta": "boolean"})


def main(snakemake: Any, console: Console) -> str:
    """Make the masks that are not made yet, and list all."""
    params, tables = snakemake.params, snakemake.input
    folder = Path(snakemake.output[0]).parent
    for left in folder.rglob(".mean.*"):  # of a killed job
        left.unlink()
    split = read_table(tables.split)
    method = None if covers_all(params.merge, params.regions) else params.method
    members = dict(zip(params.members, map(Path, tables.predictions), strict=True))
    folds = [read_fold(path) for path in tables.get("folds", [])]
    hashes = dict(zip(params.members, map(read_hashes, map(Path, tables.get("probabilities", []))), strict=False))
    listed = list_tasks(set_members(split, snakemake.wildcards.set), members, folds, hashes, params.tta, folder)
    cache, tasks = CaseCache(params.cache), {task.item: task for task in listed}
    keys = {name: task_key(task, method, params.merge) for name, task in tasks.items()}
    tools: tuple[str | None, str | None] = (None, None)
    if method == "mean" and (waiting := tasks.keys() - cache.find(keys, snakemake.threads).keys()):
        check_probabilities([task for name, task in tasks.items() if name in waiting], params.released)
        tools = (str(tables.plans), str(tables.dataset))
        nnunet_tools(str(tables.plans), str(tables.dataset))  # imports nnU-Net once, before the processes part
    _, made = compute_cases(
        combine,
        tasks,
        method,
        dict(params.merge),
        *tools,
        threads=snakemake.threads,
        console=console,
        what="masks made",
        cache=cache,
        keys=keys,
        files=lambda name, _: [tasks[name].target],
    )
    patients = dict(zip(split["case_id"], split["patient_id"], strict=True))
    write_predictions(snakemake.output[0], ensemble_table(listed, patients))
    kept = f", {len(tasks) - made} unchanged" if made < len(tasks) else ""
    return f"{count(made, 'mask')} made from {', '.join(params.members)}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
