"""What a network's probabilities told of its masks: the records beside masks, and the table of a set's records.

The measures are those of ``nnunet/trainers/glioflow_uncertainty.py``, which writes a record before nnU-Net writes the mask.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.files import PathLike, read_json, write_table

RECORD = ".uncertainty.json"  # what the record of a mask is called, after the case
MEASURES = ("expected_dice", "entropy_mean", "mutual_information_mean", "mirror_dice", "fold_dice")
COLUMNS = ("case_id", "tta", "region", "networks", *MEASURES, "note")
NO_RECORD = "no record of the probabilities: the trainer predicts in a way of its own"

Record = Mapping[str, Any]


def read_record(folder: Path, case: str) -> dict[str, Any] | None:
    """Return the record of the mask of a case in ``folder``, None where there is none."""
    path = folder / f"{case}{RECORD}"
    return dict(read_json(path)) if path.exists() else None


def record_rows(case: str, tta: bool | None, record: Record | None) -> list[dict[str, Any]]:
    """Return the rows of a case, one a region of its network; without a record one row that says so."""
    known = {"case_id": case, "tta": tta}
    if record is None:
        return [{**known, "note": NO_RECORD}]
    return [{**known, "region": name, "networks": record["networks"], **own} for name, own in record["regions"].items()]


def write_records(path: PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write uncertainty.csv, ``COLUMNS``, its rows by case."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype({"tta": "boolean", "networks": "Int64"})
    write_table(path, table.sort_values("case_id", kind="stable", ignore_index=True))
