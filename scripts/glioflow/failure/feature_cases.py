"""What features are computed of: a case's region, in truth or prediction, in one of its images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glioflow.cohorts.manifests import read_manifest, read_substituted
from glioflow.console import UserError
from glioflow.evaluation.score_tables import read_scores
from glioflow.failure.case_files import CaseFiles, find_case_files
from glioflow.failure.radiomics import extraction_key
from glioflow.failure.radiomics_parameters import Parameters
from glioflow.files import key_of, read_table
from glioflow.imaging.labels import region_mask
from glioflow.imaging.volumes import Volume, read_labels, read_volume
from glioflow.shards import in_shard

MASKS = ("truth", "prediction")


@dataclass(frozen=True)
class FeatureCase:
    """A case's files, of which ``files.image`` is the channel ``image``; whose mask (truth or prediction) and which region."""

    files: CaseFiles
    image: str
    mask: str
    region: str

    @property
    def name(self) -> str:
        """What the case is called in caches."""
        return f"{self.files.case_id} {self.image} {self.region}"

    @property
    def head(self) -> dict[str, str]:
        """The columns of tables that say what a row is of."""
        return {"case_id": self.files.case_id, "image": self.image, "mask": self.mask, "region": self.region}

    @property
    def mask_sha256(self) -> str:
        """Content hash of the label map."""
        return self.files.truth_sha256 if self.mask == "truth" else self.files.prediction_sha256

    @property
    def substitute_note(self) -> str:
        """Why a case that lacks the channel has no features of it; empty where it has the channel."""
        if not self.files.substitute:
            return ""
        instead = f"{self.files.substitute} takes its place, and no features are computed"
        return f"{self.files.case_id} has no {self.image}; {instead}"

    def told(self, note: str) -> str:
        """Return a note with the mask that it is about; empty where it is."""
        return f"{self.region} of the {self.mask}: {note}" if note else ""


def chosen_cases(tables: Any, params: Any) -> pd.DataFrame:
    """Return case_id and patient_id of the cases that features are computed of, in the order of the score table.

    ``tables``: a job's inputs, ``scores`` and, where only they are wanted, ``extremes``; ``params``: its param ``ranked`` (the
    region whose scores name the cases).
    """
    chosen = read_scores(tables.scores, params.ranked, ())
    if extremes := getattr(tables, "extremes", ""):
        chosen = chosen[chosen["case_id"].isin(read_table(extremes)["case_id"])]
    return chosen


def shard_cases(tables: Any, params: Any) -> pd.DataFrame:
    """Return those of ``chosen_cases`` that are in the shard that the param ``shard`` names."""
    chosen = chosen_cases(tables, params)
    return chosen[in_shard(chosen["case_id"], params.shard)]


def shown_rows(tables: Any, params: Any) -> list[tuple[str, str, str]]:
    """Return case, image and region of all that features are computed of in a set: not where a case lacks the image.

    ``tables`` and ``params``: those of ``chosen_cases``, ``manifest``, and ``images`` and ``regions``.
    """
    lacking = {str(row["case_id"]): read_substituted(row) for row in read_manifest(tables.manifest).to_dict("records")}
    return [
        (str(case_id), image, region)
        for case_id in chosen_cases(tables, params)["case_id"]
        for image in params.images
        if image not in lacking.get(str(case_id), {})
        for region in params.regions
    ]


def feature_cases(
    case_ids: Sequence[str],
    manifest: pd.DataFrame,
    predictions: pd.DataFrame,
    images: Iterable[str],
    mask: str,
    regions: Sequence[str],
) -> list[FeatureCase]:
    """Return every case's images and regions, case by case.

    Raises ``UserError`` where ``mask`` is none of ``MASKS``, and as ``find_case_files`` does.
    """
    if mask not in MASKS:
        raise UserError(f"mask: {mask} is not one of {', '.join(MASKS)}")
    found = {image: find_case_files(case_ids, manifest, predictions, image) for image in images}
    return [
        FeatureCase(files[place], image, mask, region)
        for place in range(len(case_ids))
        for image, files in found.items()
        for region in regions
    ]


def feature_key(case: FeatureCase, parameters: Parameters, **further: Any) -> str:
    """Return the content key of what is computed of a case: it changes with anything that could change a value."""
    parts = {"image": case.files.image_sha256, "mask": case.mask_sha256, "region": case.region, **extraction_key(parameters)}
    return key_of({**parts, **further})


def read_case(case: FeatureCase) -> tuple[Volume, NDArray[np.bool_]]:
    """Return a case's image and the mask of its region (bool, the axes of the label map)."""
    labels = read_labels(case.files.truth if case.mask == "truth" else case.files.prediction).data
    return read_volume(case.files.image), region_mask(labels.astype(np.uint8, copy=False), case.region)
