"""What the report shows of one case: scores under every convention, kinds of errors, features in the cohort, sessions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glioflow.evaluation.conventions import conventions
from glioflow.failure.failure_types import KINDS
from glioflow.formatting import number
from glioflow.models.predictions import augmented_first
from glioflow.report.associations import SHOWN_FEATURES
from glioflow.report.claims import feature_name, representatives, where_words
from glioflow.report.failure_types import KIND_COLOURS, KIND_NAMES, applicable
from glioflow.report.mask_quality import predicted_pairs, read_quality
from glioflow.report.quality import measured_pairs
from glioflow.report.source import Pair, Source, records
from glioflow.report.tables import Cell, Table, join_words, number_cell, significant_cell, text_cell, without_empty
from glioflow.study.metric_registry import find_metric

CONVENTION_METRICS = (
    "dice",
    "hausdorff",
    "hd95_mm",
    "assd_mm",
    "masd_mm",
    "nsd_1mm",
    "nsd_2mm",
    "lesion_dice",
    "lesion_hd95_mm",
)
# A share of the Dice below this is too thin to be seen in a bar.
THIN = 0.0005


@dataclass
class CaseDetails:
    """The details of a set's cases, from tables that are grouped by case once."""

    source: Source
    pair: Pair
    _conventions: Mapping[str, list[dict[str, Any]]] = field(init=False)
    _types: Mapping[str, list[dict[str, Any]]] = field(init=False)
    _features: list[tuple[str, str, Mapping[str, float]]] = field(init=False)
    _patients: Mapping[str, list[str]] = field(init=False)
    _patient_of: Mapping[str, str] = field(init=False)
    _quality: Mapping[str, list[dict[str, Any]]] = field(init=False)
    _sessions: Mapping[str, list[dict[str, Any]]] = field(init=False)
    _dice: Mapping[tuple[str, str], float] = field(init=False)

    def __post_init__(self) -> None:
        """Read the tables."""
        table = augmented_first(self.source.conventions(self.pair)).drop_duplicates(["case_id", "label", "convention"])
        self._conventions = by_case(table.sort_index())
        self._types = by_case(applicable(self.source.failure(self.pair, "failure_types")))
        self._features = self._featured()
        cases = self.source.scores(self.pair)[["case_id", "patient_id"]].drop_duplicates().astype(str)
        self._patients = {str(patient): list(group["case_id"]) for patient, group in cases.groupby("patient_id", sort=False)}
        self._patient_of = dict(zip(cases["case_id"], cases["patient_id"], strict=True))
        shown = self.source.shown_scores(self.pair)
        self._dice = dict(zip(zip(shown["case_id"].astype(str), shown["label"], strict=True), shown["dice"], strict=True))
        self._quality, self._sessions = {}, {}
        if self.pair in predicted_pairs(self.source):
            quality = read_quality(self.source, self.pair, "quality")
            self._quality = by_case(quality[quality["predicted_dice"].notna()])
        if self.pair in measured_pairs(self.source) and self.source.study["quality"]["follow"]:
            for row in records(self.source.quality(self.pair, "sessions")):
                self._sessions.setdefault(str(row["patient_id"]), []).append(row)

    def _featured(self) -> list[tuple[str, str, Mapping[str, float]]]:
        """Return of each feature that stands for others its name, its column and the value of every case."""
        associations = representatives(self.source.failure(self.pair, "associations"))
        associations = associations[associations["spearman_rho"].notna() | associations["cohens_d"].notna()]
        several = len(associations[["image", "region"]].drop_duplicates()) > 1
        radiomics, found = self.source.failure(self.pair, "radiomics"), []
        for row in records(associations.head(SHOWN_FEATURES)):
            rows = radiomics[(radiomics["image"] == row["image"]) & (radiomics["region"] == row["region"])]
            values = rows.set_index(rows["case_id"].astype(str))[row["feature"]].dropna().astype(float)
            found.append((f"{feature_name(row['feature'])} ({where_words(row, several)})", row["feature"], values.to_dict()))
        return found

    def of(self, case_id: str) -> dict[str, Any]:
        """Return what the page shows of a case."""
        return {
            "conventions": self.convention_table(case_id),
            "bars": [error_bar(row) for row in self._types.get(case_id, [])],
            "features": self.feature_table(case_id),
            "quality": self.quality_words(case_id),
            "sessions": self.sessions_words(case_id),
            "over_time": self.session_table(case_id),
        }

    def convention_table(self, case_id: str) -> Table:
        """Return the scores of every region under every convention."""
        rows = self._conventions.get(case_id, [])
        metrics = [metric for metric in CONVENTION_METRICS if any(not pd.isna(row.get(metric)) for row in rows)]
        cells = [
            [
                Cell(row["label"]),
                Cell(row["convention"], code=True),
                *(number_cell(row[metric], find_metric(metric).decimals) for metric in metrics),
                Cell("" if conventions()[row["convention"]].units == "mm" else "in voxels"),
                text_cell(row["note"]),
            ]
            for row in sorted(rows, key=lambda row: self.source.regions.index(row["label"]))
        ]
        columns = ["Region", "Convention", *(find_metric(metric).heading for metric in metrics), "Distances", "Note"]
        caption = f"{case_id} under every convention."
        return without_empty(Table(caption, columns, cells, frozenset(range(2, 2 + len(metrics))), headers=2))

    def feature_table(self, case_id: str) -> Table | None:
        """Return where the case stands in the cohort by each feature that stands for others; None where it has none."""
        rows = []
        for name, feature, values in self._features:
            if case_id in values:
                place = percentile_of(values[case_id], np.array(list(values.values())))
                rows.append(
                    [
                        Cell(name, title=feature),
                        significant_cell(values[case_id]),
                        number_cell(place, 0),
                        Cell(str(len(values))),
                    ]
                )
        caption = f"Features of {case_id} among the cases of {self.pair.name}: percentile 0 is the smallest, 100 the largest."
        return Table(caption, ["Feature", "Value", "Percentile", "Cases"], rows, frozenset({1, 2, 3})) if rows else None

    def quality_words(self, case_id: str) -> list[str]:
        """Return of each region what was predicted of its mask without the truth, beside the true Dice."""
        return [quality_words(row, self._dice.get((case_id, row["region"]))) for row in self._quality.get(case_id, [])]

    def session_table(self, case_id: str) -> Table | None:
        """Return the volumes of the patient's sessions, this case's among them; None where the patient has one session."""
        rows = [
            [
                Cell(row["region"]),
                Cell(str(row["session"])),
                Cell(row["case_id"]),
                *(number_cell(row[f"volume_{mask}_ml"], 1) for mask in ("truth", "prediction")),
                *(text_cell(row[f"response_{mask}"]) for mask in ("truth", "prediction")),
            ]
            for row in self._sessions.get(self._patient_of[case_id], [])
        ]
        columns = ["Region", "Session", "Case", "Truth (ml)", "Prediction (ml)", "Response, truth", "Response, prediction"]
        caption = f"Volumes of {self._patient_of[case_id]} over the sessions."
        return without_empty(Table(caption, columns, rows, frozenset({3, 4}), headers=2)) if rows else None

    def sessions_words(self, case_id: str) -> str:
        """Return which other cases are of the same patient; nothing where there is none."""
        others = [case for case in self._patients[self._patient_of[case_id]] if case != case_id]
        return f"Of the same patient: {join_words(others)}." if others else ""


def by_case(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a table by case id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in records(table):
        found.setdefault(str(row["case_id"]), []).append(row)
    return found


def quality_words(row: Mapping[str, Any], dice: float | None) -> str:
    """Return what was predicted of a mask, its row of quality.csv, and its true Dice where that is known."""
    interval = f"[{number(row['dice_low'], 2)}, {number(row['dice_high'], 2)}]"
    alarm = ", an alarm" if not pd.isna(row["alarm"]) and row["alarm"] else ""
    told = f"{row['region']}: predicted Dice {number(row['predicted_dice'], 2)} {interval}{alarm}"
    return told if dice is None or pd.isna(dice) else f"{told}; true Dice {number(dice, 2)}"


def percentile_of(value: float, values: NDArray[np.float64]) -> float:
    """Return the percentile of a value among ``values`` (n,), itself one of them: 0 is the smallest, 100 the largest."""
    if len(values) < 2:
        return 50.0
    below, equal = int((values < value).sum()), int((values == value).sum())
    return 100 * (below + (equal - 1) / 2) / (len(values) - 1)


def error_bar(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what keeps a region of a case from a Dice of 1: its name, words, and a part of a bar for each kind of error."""
    shares = [(kind, float(row[f"share_{kind}"])) for kind in KINDS if not pd.isna(row[f"share_{kind}"])]
    parts = [
        {"percent": number(100 * share, 2), "colour": KIND_COLOURS[kind], "words": f"{KIND_NAMES[kind]} {number(share, 3)}"}
        for kind, share in shares
        if share >= THIN
    ]
    return {"region": row["label"], "parts": parts, "words": bar_words(row, [part["words"] for part in parts])}


def bar_words(row: Mapping[str, Any], parts: Sequence[str]) -> str:
    """Return a bar in words: its Dice and its parts, or the note of a region that a mask lacks."""
    told = "" if pd.isna(row["dice"]) else f"Dice {number(row['dice'], 3)}"
    if parts:
        told += f"; what is missing from 1: {join_words(parts)}"
    if not pd.isna(row["farthest_mm"]):
        volume = f"{number(row['farthest_ml'], 3)} ml"
        told += f"; farthest error: {KIND_NAMES[row['farthest_kind']]} of {volume}, {number(row['farthest_mm'], 1)} mm away"
    return "; ".join(filter(None, [told, "" if pd.isna(row["note"]) else str(row["note"])]))
