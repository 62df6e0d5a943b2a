"""Reading a score table for one region: ours, or any that begins patient_id,label,tta,hausdorff,dice,sens,spec.

Tables may have two rows of one kind: with and without test-time augmentation (column ``tta``).
"""

import pandas as pd

from glioflow.console import UserError
from glioflow.evaluation.metrics import ABSENT, NOT_APPLICABLE, PENALTY
from glioflow.files import PathLike, read_table
from glioflow.models.predictions import augmented_first, read_tta
from glioflow.study.metric_registry import COUNTS

# What identifies the rows of the tables that ``score_cases`` writes, and their note: the other columns are metrics.
ROW_COLUMNS = ("patient_id", "label", "tta", "case_id", "fold", "note")

# How the note of a score begins whose prediction is missing; the note of an empty mask follows, after a semicolon.
PREDICTION_MISSING = "prediction missing: counted as empty"


def with_whole_numbers(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a score table whose columns of whole numbers are written as such, also where a cell is empty."""
    return scores.astype({column: "Int64" for column in ("fold", *COUNTS) if column in scores})


def is_unseen(table: pd.DataFrame) -> pd.Series:
    """Tell of each row of a score table whether its region is not applicable, because the model cannot show it."""
    return _notes(table).str.startswith(NOT_APPLICABLE).astype(bool)


def is_missing(table: pd.DataFrame) -> pd.Series:
    """Tell of each row of a score table whether its prediction is missing and was counted as an empty one."""
    return _notes(table).str.startswith(PREDICTION_MISSING).astype(bool)


def is_penalised(table: pd.DataFrame) -> pd.Series:
    """Tell of each row of a score table whether its distances stand for a mask that is empty, or missing."""
    return _mask_notes(table).str.startswith(PENALTY).astype(bool)


def lacks_a_mask(table: pd.DataFrame) -> pd.Series:
    """Tell of each row of a score table whether truth or prediction, or both, lack its region: it says so in its note.

    The metrics of such a row are penalties or a rule's values, and measure no agreement.
    """
    return _mask_notes(table).str.removeprefix(f"{PENALTY}: ").str.startswith(ABSENT).astype(bool)


def ranked_apart(scores: pd.DataFrame, penalised: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of one region that are ranked, and those that are set apart since truth or prediction lack the region.

    ``penalised``: ``apart``, or ``include``, which sets none apart.
    """
    apart = lacks_a_mask(scores) & (penalised == "apart")
    return pd.DataFrame(scores[~apart]), pd.DataFrame(scores[apart])


def _mask_notes(table: pd.DataFrame) -> pd.Series:
    """Return the notes on the masks, without that of a missing prediction before them."""
    return _notes(table).str.removeprefix(PREDICTION_MISSING).str.removeprefix("; ")


def _notes(table: pd.DataFrame) -> pd.Series:
    notes = table["note"] if "note" in table.columns else pd.Series(pd.NA, index=table.index)
    return notes.astype("string").fillna("")


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
    if is_unseen(rows).all():
        raise UserError(f"{path}: region {region} is {rows['note'].iloc[0]}; a region that it predicts is needed here")
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
    twice = table.assign(tta=read_tta(table)).duplicated(["case_id", "tta"])
    if twice.any():
        case_id = table.loc[twice, "case_id"].iloc[0]
        raise UserError(f"{path}: {case_id} has more than one row for {region}; one row per case and tta is right")
    return pd.DataFrame(augmented_first(table).drop_duplicates("case_id").sort_index().drop(columns="tta"))
