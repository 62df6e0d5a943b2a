"""Apply a model's post-processing to every mask of a set.

The steps are those that ``choose_postprocessing`` kept. A mask that they leave as it is is not copied but linked. A mask that
is unchanged, with the same steps, is not made again.

Inputs
------
predictions : predictions.csv of the set
postprocessing : postprocessing.json of the model

Outputs
-------
predictions.csv, row by row that of the set; the masks are beside it, those of a second value of tta in ``without_tta``

Params
------
cache : path of the cache
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.console import Console, count, run_script
from glioflow.files import key_of, read_json, sha256_file
from glioflow.imaging.volumes import Volume, read_labels, write_volume
from glioflow.models.postprocessing import Step, process_labels
from glioflow.models.predictions import WITHOUT_TTA, place, read_predictions, write_predictions


def mask_names(predictions: pd.DataFrame) -> list[str]:
    """Return where each mask of ``predictions`` goes below the folder of the post-processed ones."""
    second = predictions["case_id"].duplicated(keep=False) & ~predictions["tta"].fillna(False)
    folders = second.map({True: f"{WITHOUT_TTA}/", False: ""})
    return [f"{folder}{case}.nii.gz" for folder, case in zip(folders, predictions["case_id"], strict=True)]


def process_mask(paths: tuple[Path, Path], steps: Sequence[Step]) -> int:
    """Make the second of two masks from the first; return how many voxels are not what they were."""
    source, target = paths
    mask = read_labels(source)
    labels = process_labels(mask.data, mask.voxel_ml, steps)
    changed = int(np.count_nonzero(labels != mask.data))
    if changed:
        write_volume(target, Volume(labels, mask.affine))
    else:
        place(source, target)
    return changed


def main(snakemake: Any, console: Console) -> str:
    """Make the masks that are not made yet, and list all."""
    folder = Path(snakemake.output[0]).parent
    predictions = read_predictions(snakemake.input.predictions)
    described = read_json(snakemake.input.postprocessing)["steps"]
    names = mask_names(predictions)
    code = module_fingerprint("postprocess_cases")
    parts = [{"code": code, "steps": described, "mask": sha256} for sha256 in predictions["sha256"]]
    changed, _ = compute_cases(
        process_mask,
        {name: (Path(source), folder / name) for name, source in zip(names, predictions["prediction"], strict=True)},
        [Step(**step) for step in described],
        threads=snakemake.threads,
        console=console,
        what="masks post-processed",
        cache=CaseCache(snakemake.params.cache),
        keys=dict(zip(names, map(key_of, parts), strict=True)),
        files=lambda name, _: [folder / name],
    )
    masks = [folder / name for name in names]
    table = predictions.assign(prediction=[mask.as_posix() for mask in masks], sha256=[sha256_file(mask) for mask in masks])
    write_predictions(snakemake.output[0], table.astype({"fold": "Int64"}))
    of_all = f"{sum(voxels > 0 for voxels in changed.values())} of {count(len(names), 'mask')}"
    return f"{count(len(described), 'step')} changed {of_all}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
