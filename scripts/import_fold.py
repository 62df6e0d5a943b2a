"""Vouch for one fold of an imported model, in the form that ``train_fold`` vouches for one that it trained.

Input: ``imported.json``. Output: the fold's ``manifest.json``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glioflow.console import Console, UserError, run_script
from glioflow.files import read_json, sha256_file, write_json


def find_fold(imported: Mapping[str, Any], fold: int) -> dict[str, Any]:
    """Return the record of a fold. Raises UserError where the model has none, or its weights are not there as imported."""
    records = {record["fold"]: dict(record) for record in imported["folds"]}
    if fold not in records:
        raise UserError(f"{imported['archive']['name']} has no fold {fold}, but {', '.join(map(str, records))}")
    checkpoint = records[fold]["checkpoint"]
    path = Path(checkpoint["path"])
    if not path.is_file() or sha256_file(path) != checkpoint["sha256"]:
        raise UserError(f"{path} is not what was imported any more; import the model again (--forcerun import_model)")
    return {**records[fold], "archive": imported["archive"]}


def main(snakemake: Any, console: Console) -> str:
    """Write the fold's manifest."""
    write_json(snakemake.output[0], find_fold(read_json(snakemake.input[0]), int(snakemake.wildcards.fold)))
    return "weights as imported"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
