"""What a network's probabilities told of its masks: records and maps beside masks, and the table of a set's records.

Both are made by ``nnunet/trainers/glioflow_uncertainty.py``, before nnU-Net writes the mask. A map may be deleted: it is to
look at, and nothing is computed from it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.files import PathLike, read_json, read_table, sha256_file, write_table
from glioflow.models.predictions import Tta, place, read_tta

RECORD = ".uncertainty.json"  # what the record of a mask is called, after the case
MAPS = "entropy"  # the folder of the maps, beside the masks, which they are called after
MAP_HASH = "entropy_sha256"
MEASURES = ("expected_dice", "entropy_mean", "mutual_information_mean", "mirror_dice", "fold_dice")
COLUMNS = ("case_id", "tta", "region", "networks", *MEASURES, MAP_HASH, "note")
NO_RECORD = "no record of the probabilities: the trainer predicts in a way of its own"

Record = Mapping[str, Any]


def read_record(folder: Path, case: str) -> dict[str, Any] | None:
    """Return the record of the mask of a case in ``folder``, None where there is none."""
    path = folder / f"{case}{RECORD}"
    return dict(read_json(path)) if path.exists() else None


def map_path(mask: Path) -> Path:
    """Return where the entropy map of a mask is, if it has one."""
    return mask.parent / MAPS / mask.name


def place_map(source: Path, target: Path) -> str | None:
    """Put the map of the mask ``source`` where that of the mask ``target`` belongs; return its SHA-256, None without one.

    A map that another mask left there is removed.
    """
    made, placed = map_path(source), map_path(target)
    if not made.exists():
        placed.unlink(missing_ok=True)
        return None
    place(made, placed)
    return sha256_file(placed)


def map_hashes(path: Path) -> dict[tuple[str, Tta], str]:
    """Return the SHA-256 of each map that uncertainty.csv tells of, by case and ``tta``; nothing without such a table."""
    table = read_table(path) if path.exists() else pd.DataFrame()
    if MAP_HASH not in table.columns:
        return {}
    known = table.assign(tta=read_tta(table)).dropna(subset=[MAP_HASH])
    return {(str(row["case_id"]), row["tta"]): str(row[MAP_HASH]) for row in known.to_dict("records")}


def record_rows(case: str, tta: Tta, record: Record | None, entropy_sha256: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of a case, one a region of its network; without a record one row that says so."""
    known = {"case_id": case, "tta": tta, MAP_HASH: entropy_sha256}
    if record is None:
        return [{**known, "note": NO_RECORD}]
    return [{**known, "region": name, "networks": record["networks"], **own} for name, own in record["regions"].items()]


def write_records(path: PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write uncertainty.csv, ``COLUMNS``, its rows by case."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype({"tta": "boolean", "networks": "Int64"})
    write_table(path, table.sort_values("case_id", kind="stable", ignore_index=True))
