"""Write the manifest of one fold of an imported model, in the form of those that ``train_fold`` writes.

Input: ``imported.json``. Output: the fold's ``manifest.json``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glioflow.console import Console, UserError, run_script
from glioflow.files import PathLike, read_json
from glioflow.models.fold_state import check_checkpoint, present_fold, write_fold


def find_fold(imported: Mapping[str, Any], fold: int, record: PathLike) -> dict[str, Any]:
    """Return what ``imported`` has of a fold, to be written into the file ``record``.

    Raises UserError where the model has no such fold, or its weights are not there as they were imported.
    """
    records = {one["fold"]: dict(one) for one in imported["folds"]}
    if fold not in records:
        raise UserError(f"{imported['archive']['name']} has no fold {fold}, but {', '.join(map(str, records))}")
    check_checkpoint(Path(records[fold]["checkpoint"]["path"]), records[fold], record)
    return {**records[fold], "archive": imported["archive"]}


def main(snakemake: Any, console: Console) -> str:
    """Write the fold's manifest."""
    source, record = snakemake.input[0], snakemake.output[0]
    imported = read_json(source)
    folds = [present_fold(fold, source) for fold in imported["folds"]]
    write_fold(record, find_fold({**imported, "folds": folds}, int(snakemake.wildcards.fold), record))
    return "weights as imported"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
