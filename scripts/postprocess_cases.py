"""Apply a model's post-processing to every mask of a set.

The steps are those that ``choose_postprocessing`` kept. A mask that they leave as it is is not copied but linked. A mask that
is unchanged, with the same steps, is not made again.

Inputs
------
predictions : predictions.csv of the set
postprocessing : postprocessing.json of the model

Outputs
-------
predictions.csv, row by row that of the set; the masks lie beside it, those of a second value of tta in ``without_tta``

Params
------
cache : path of the cache
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache
from glioflow.code_fingerprint import module_fingerprint
from glioflow.console import Console, count, run_script
from glioflow.files import key_of, read_json, sha256_file, write_table
from glioflow.imaging.volumes import Volume, read_labels, write_volume
from glioflow.models.postprocessing import Step, process_labels
from glioflow.models.predictions import WITHOUT_TTA, place, read_predictions
from glioflow.parallel import map_unordered


@dataclass(frozen=True)
class Task:
    """A mask to post-process: its name in the cache, its file, where it goes, and its content key."""

    item: str
    source: Path
    target: Path
    key: str


def list_tasks(predictions: pd.DataFrame, steps: Sequence[Mapping[str, Any]], folder: Path) -> list[Task]:
    """Return the masks to make in ``folder``, in the order of the rows of ``predictions``."""
    twice = predictions["case_id"].duplicated(keep=False)
    tasks = []
    for row, both in zip(predictions.to_dict("records"), twice, strict=True):
        second = both and not row["tta"]
        target = (folder / WITHOUT_TTA if second else folder) / f"{row['case_id']}.nii.gz"
        key = key_of({"code": module_fingerprint("postprocess_cases"), "steps": list(steps), "mask": row["sha256"]})
        tasks.append(Task(target.relative_to(folder).as_posix(), Path(row["prediction"]), target, key))
    return tasks


def process_mask(task: Task, steps: Sequence[Step]) -> dict[str, Any]:
    """Make a task's mask; return its SHA-256 and how many voxels are not what they were."""
    mask = read_labels(task.source)
    labels = process_labels(mask.data, mask.voxel_ml, steps)
    changed = int(np.count_nonzero(labels != mask.data))
    if changed:
        write_volume(task.target, Volume(labels, mask.affine))
    else:
        place(task.source, task.target)
    return {"sha256": sha256_file(task.target), "changed": changed}


def main(snakemake: Any, console: Console) -> str:
    """Make the masks that are not made yet, and list all."""
    folder = Path(snakemake.output[0]).parent
    predictions = read_predictions(snakemake.input.predictions)
    described = read_json(snakemake.input.postprocessing)["steps"]
    tasks = list_tasks(predictions, described, folder)
    cache = CaseCache(snakemake.params.cache)
    done: dict[str, dict[str, Any]] = {}
    for task in tasks:
        entry = cache.get(task.item, task.key)
        if entry and task.target.exists() and sha256_file(task.target) == entry["sha256"]:
            done[task.item] = entry
    waiting = [task for task in tasks if task.item not in done]
    results = map_unordered(process_mask, waiting, snakemake.threads, [Step(**step) for step in described])
    for task, entry in console.track(results, len(waiting), "masks post-processed"):
        cache.put(task.item, task.key, entry)
        done[task.item] = entry
    table = predictions.assign(
        prediction=[task.target.as_posix() for task in tasks], sha256=[done[task.item]["sha256"] for task in tasks]
    )
    write_table(snakemake.output[0], table.astype({"fold": "Int64"}))
    changed = sum(entry["changed"] > 0 for entry in done.values())
    return f"{count(len(described), 'step')} changed {changed} of {count(len(tasks), 'mask')}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
