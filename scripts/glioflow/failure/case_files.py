"""Where the files of a case are: its image channels and truth (manifest) and its prediction (predictions table)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from glioflow.cohorts.manifests import read_substituted
from glioflow.console import UserError
from glioflow.files import sha256_file
from glioflow.models.predictions import main_rows


@dataclass(frozen=True)
class CaseFiles:
    """Paths of one case's image (one channel), canonical truth and canonical prediction, with their content hashes.

    ``substitute``: what the image is in truth, where the case lacks the channel: another one, or zeros.
    """

    case_id: str
    image: str
    image_sha256: str
    truth: str
    truth_sha256: str
    prediction: str
    prediction_sha256: str
    substitute: str = ""


def find_case_files(
    case_ids: Iterable[str], manifest: pd.DataFrame, predictions: pd.DataFrame, channel: str
) -> list[CaseFiles]:
    """Return the files of each case, in the order asked.

    Raises ``UserError`` where the cohort has no such channel, or a case has no image, truth or prediction.
    """
    if channel not in manifest.columns:
        channels = [c for c in manifest.columns if f"{c}_sha256" in manifest.columns and c != "label"]
        raise UserError(f"image: {channel} is not a channel of this cohort, which has {', '.join(channels)}")
    known = {str(row["case_id"]): row for row in manifest.to_dict("records")}
    predicted = {str(row["case_id"]): row for row in main_rows(predictions).to_dict("records")}
    found = []
    for case_id in case_ids:
        image, image_sha256 = _file_of(known, case_id, channel, f"{channel}_sha256", "the manifest")
        truth, truth_sha256 = _file_of(known, case_id, "label", "label_sha256", "the manifest")
        prediction, prediction_sha256 = _file_of(predicted, case_id, "prediction", "sha256", "the predictions table")
        substitute = read_substituted(known[case_id]).get(channel, "")
        found.append(CaseFiles(case_id, image, image_sha256, truth, truth_sha256, prediction, prediction_sha256, substitute))
    return found


def _file_of(rows: Mapping[str, Mapping[Any, Any]], case_id: str, column: str, hash_column: str, table: str) -> tuple[str, str]:
    row = rows.get(case_id, {})
    if pd.isna(row.get(column)):
        raise UserError(f"{case_id}: {table} names no {column} file for this case")
    path, recorded = str(row[column]), row.get(hash_column)
    return path, sha256_file(path) if pd.isna(recorded) else str(recorded)
