"""Scoring a pair of label maps, for every script that does: what is scored, by which key scores are known, in which columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from glioflow.evaluation.conventions import Convention, Lesions, conventions
from glioflow.evaluation.lesions import lesion_columns, score_lesions
from glioflow.evaluation.metrics import (
    FIRST_METRICS,
    NOT_APPLICABLE,
    Pair,
    metric_columns,
    unlabelled_score,
    unseen_score,
)
from glioflow.evaluation.score_tables import PREDICTION_MISSING, with_whole_numbers
from glioflow.imaging.headers import ONE_READING
from glioflow.imaging.labels import LABEL_COUNT, REGIONS, Labels, visible_regions
from glioflow.imaging.volumes import Volume, affine_distance_mm, orientation, same_geometry

# With the first metrics after them, the first columns of open_brats2020's tables.
FIRST_COLUMNS = ("patient_id", "label", "tta")
# Parameters of a convention that no value of a case depends on, or that ``Plan`` holds apart.
HELD_APART = ("headline", "lesions", "defects")


@dataclass(frozen=True)
class Plan:
    """What is scored and how: regions, those that the model predicts (None: unknown), convention, rules for lesions (or none).

    ``truth_regions``: those that the truth's labels can show (None: all). ``defects``: names of what the lesions' tool is known
    to get wrong, to be computed as well.
    """

    regions: Sequence[str]
    convention: Convention
    trained_regions: Sequence[str] | None = None
    lesions: Lesions | None = None
    defects: Sequence[str] = ()
    truth_regions: Sequence[str] | None = None

    def seen(self, regions: Iterable[str]) -> list[str]:
        """Return those of ``regions`` that the truth and the model's masks can show."""
        labelled = [region for region in regions if self.truth_regions is None or region in self.truth_regions]
        return labelled if self.trained_regions is None else visible_regions(self.trained_regions, labelled)

    @property
    def visible(self) -> list[str]:
        """The regions to score that the truth and the model's masks can show."""
        return self.seen(self.regions)

    @property
    def columns(self) -> list[str]:
        """The columns of the score table, the note last."""
        metrics = metric_columns(self.convention)
        first = [*FIRST_COLUMNS, *FIRST_METRICS, "case_id", "fold", *metrics[len(FIRST_METRICS) :]]
        return [*first, *(lesion_columns(self.convention, self.defects) if self.lesions else ()), "note"]

    def key_parts(self) -> dict[str, Any]:
        """Return all that decides a score besides the code, the two maps and their spacing, for a content key."""
        parts: dict[str, Any] = {
            "regions": list(self.regions),
            "convention": {k: v for k, v in self.convention.parameters().items() if k not in HELD_APART},
        }
        if self.visible != list(self.regions):
            parts["trained_regions"] = list(self.trained_regions or ())
            parts["truth_regions"] = list(self.truth_regions or ())
        if self.lesions:
            united = self.seen(REGIONS) if self.lesions.united_by else []
            parts["lesions"] = [self.lesions.model_dump(mode="json"), list(self.defects), united]
        return parts


def plan_of(params: Any, convention: str, lesionwise: str | None = None, reproduce_defects: bool = False) -> Plan:
    """Return what a rule scores: its params' regions, trained_regions and truth_regions, under conventions given by name.

    ``lesionwise``: the convention whose rules for lesions, and if ``reproduce_defects`` whose tool's known defects, count.
    """
    rules = conventions()[lesionwise] if lesionwise else None
    return Plan(
        regions=list(params.regions),
        convention=conventions()[convention],
        trained_regions=params.trained_regions and list(params.trained_regions),
        lesions=rules.lesions if rules else None,
        defects=[defect.name for defect in rules.defects] if rules and reproduce_defects else [],
        truth_regions=params.truth_regions and list(params.truth_regions),
    )


def score_pair(truth: Labels, prediction: Labels, spacing: Sequence[float], plan: Plan) -> list[dict[str, Any]]:
    """Return the scores of a prediction, one for each region of the plan.

    ``truth`` and ``prediction``: canonical label maps (x, y, z) of one shape; ``spacing``: mm per axis.
    """
    (scores,) = score_plans(truth, prediction, spacing, [plan])
    return scores


def score_plans(
    truth: Labels, prediction: Labels, spacing: Sequence[float], plans: Sequence[Plan]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the scores of ``score_pair`` for each plan; what the plans have in common is computed once."""
    pair = Pair(truth, prediction, spacing)
    for plan in plans:
        found: dict[str, dict[str, Any]] = {region: dict(pair.score(region, plan.convention)) for region in plan.visible}
        if plan.lesions:
            seen = plan.seen(REGIONS)
            for region, score in score_lesions(pair, plan.visible, plan.lesions, plan.convention, plan.defects, seen).items():
                found[region] |= score
        for region in (region for region in plan.regions if region not in found):
            if plan.truth_regions is not None and region not in plan.truth_regions:
                found[region] = dict(unlabelled_score(region, plan.truth_regions, plan.convention))
            else:
                found[region] = dict(unseen_score(truth, spacing, region, plan.trained_regions or (), plan.convention))
        yield [found[region] for region in plan.regions]


def label_problems(volume: Volume) -> Iterator[str]:
    """Yield what is wrong with the values of a canonical label map."""
    labels = np.asarray(volume.data, np.uint8)
    if strange := sorted(set(labels[labels >= LABEL_COUNT].tolist())):
        yield f"found the values {', '.join(map(str, strange))}; expected canonical labels, 0 to {LABEL_COUNT - 1}"


def geometry_problems(truth: Volume, prediction: Volume, remedy: str = "") -> Iterator[str]:
    """Yield what is wrong with the shape or the place of ``prediction``, given those of ``truth``.

    ``remedy``: what to do where the voxels correspond by index and only the headers differ.
    """
    if truth.data.shape != prediction.data.shape:
        yield f"found shape {prediction.data.shape}; expected {truth.data.shape} as the truth"
    elif prediction.misplaced:
        yield f"found {prediction.misplaced}; expected {ONE_READING}{remedy}"
    elif not same_geometry(prediction, truth):
        apart = affine_distance_mm(prediction, truth)
        axes = (orientation(prediction), orientation(truth)) if truth.is_placed else ("", "")
        turned = f" (its axes point {axes[0]}, the truth's {axes[1]})" if axes[0] != axes[1] else ""
        yield f"found an affine that puts a corner {apart:.3g} mm from the truth's{turned}; expected the same{remedy}"


def with_missing_note(score: Mapping[str, Any]) -> dict[str, Any]:
    """Return a score of a prediction that is missing, its note naming that before the note of an empty mask."""
    note = str(score["note"] or "")
    # A region that the model cannot show is not scored, whether there is a prediction or not.
    return dict(score) if note.startswith(NOT_APPLICABLE) else {**score, "note": f"{PREDICTION_MISSING}; {note}"}


def score_table(rows: Iterable[Mapping[str, Any]], plan: Plan) -> pd.DataFrame:
    """Return scores as a table of the plan's columns, in the order given."""
    return with_whole_numbers(pd.DataFrame([dict(row) for row in rows], columns=plan.columns))
