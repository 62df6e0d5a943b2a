"""Reading a score table for one region: ours, or any that begins patient_id,label,tta,hausdorff,dice,sens,spec."""

import pandas as pd

from glioflow.console import UserError
from glioflow.files import PathLike, read_table


def read_scores(path: PathLike, region: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return one row per case of ``region``, with case_id, patient_id, note and ``columns`` as numbers.

    Raises ``UserError`` where the table lacks a column or the region, a value is no number, or a case has two rows of one kind.
    """
    scores = read_table(path)
    if missing := [c for c in ("patient_id", "label", *columns) if c not in scores.columns]:
        raise UserError(f"{path}: has no column {', '.join(missing)}; its columns are {', '.join(scores.columns)}")
    rows = scores[scores["label"] == region]
    if rows.empty:
        regions = ", ".join(sorted(scores["label"].dropna().unique())) or "none"
        raise UserError(f"{path}: has no rows for region {region}; its regions are: {regions}")
    case_ids = rows["case_id"].fillna(rows["patient_id"]) if "case_id" in rows.columns else rows["patient_id"]
    table = pd.DataFrame({"case_id": case_ids, "patient_id": rows["patient_id"], "tta": rows.get("tta", pd.NA)})
    for column in columns:
        try:
            table[column] = pd.to_numeric(rows[column]).astype(float)
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: column {column} holds something that is not a number ({error})") from None
    table["note"] = rows["note"] if "note" in rows.columns else pd.Series(pd.NA, index=rows.index, dtype="string")
    return _one_row_per_case(table, path, region)


def _one_row_per_case(table: pd.DataFrame, path: PathLike, region: str) -> pd.DataFrame:
    preference = table["tta"].astype("string").str.strip().str.lower().map({"true": 0, "false": 1}).fillna(2)
    twice = table.assign(preference=preference).duplicated(["case_id", "preference"])
    if twice.any():
        case_id = table.loc[twice, "case_id"].iloc[0]
        raise UserError(f"{path}: {case_id} has more than one row for {region}; one row per case and tta is right")
    order = preference.sort_values(kind="stable").index
    return pd.DataFrame(table.loc[order].drop_duplicates("case_id").sort_index().drop(columns="tta"))
