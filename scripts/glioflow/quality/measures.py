"""What is measured of a label map: the volumes of its regions, and how much of the tumour each part is.

The proportions are those that radiologists estimate after VASARI (Visually AcceSAble Rembrandt Images, NCI's Cancer Imaging
Archive, "VASARI Research Project": features f5, f6, f7 and f14), here from voxels: part of the whole tumour, in VASARI's
classes. BraTS's label 1 holds necrosis and non-enhancing tumour, so that f6 and f7 are one proportion.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np

from glioflow.evaluation.metrics import NOT_APPLICABLE, in_words
from glioflow.imaging.labels import LABEL_COUNT, REGIONS, Labels, visible_regions

VOLUMES = ("ET", "NCR", "ED", "TC", "WT", "RC")
ML, SHARE = "ml", "share of WT"


@dataclass(frozen=True)
class Measure:
    """A volume (``whole`` is empty) or the share of ``part`` in ``whole``. ``name`` is what tables call it."""

    part: str
    whole: str = ""

    @property
    def name(self) -> str:
        """The measure's name: ``WT``, ``ET/WT``."""
        return f"{self.part}/{self.whole}" if self.whole else self.part

    @property
    def unit(self) -> str:
        """``ml`` or ``share of WT``."""
        return SHARE if self.whole else ML

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that a mask must show for it."""
        return (self.part, self.whole) if self.whole else (self.part,)

    def value(self, volumes: Mapping[str, float]) -> float:
        """Return the measure of region volumes in ml; NaN for a share of nothing."""
        if not self.whole:
            return volumes[self.part]
        return volumes[self.part] / volumes[self.whole] if volumes[self.whole] else nan


MEASURES = (*map(Measure, VOLUMES), *(Measure(part, "WT") for part in ("ET", "NCR", "ED")))
# VASARI's classes, each with its upper end: 33 and 67 % are taken for thirds.
CLASSES = (("<5 %", 0.05), ("5–33 %", 1 / 3), ("34–67 %", 2 / 3), ("68–95 %", 0.95), (">95 %", 1.0))
NONE, ALL = "none", "all"


def region_volumes(labels: Labels, voxel_ml: float) -> dict[str, float]:
    """Return the volume of every region of a canonical label map in ml; ``voxel_ml``: that of a voxel."""
    counts = np.bincount(labels.ravel(order="K"), minlength=LABEL_COUNT)
    return {name: int(counts[list(REGIONS[name])].sum()) * voxel_ml for name in VOLUMES}


def vasari_class(share: float) -> str:
    """Return VASARI's class of a proportion from 0 to 1; empty where it is undefined."""
    if isnan(share):
        return ""
    if share in (0, 1):
        return ALL if share else NONE
    return next(name for name, end in CLASSES if share < end)


def unseen_notes(truth_regions: Sequence[str] | None, trained_regions: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Return for every measure why the truth, and why the prediction, cannot have it; empty texts where they can.

    ``truth_regions``: what the cohort's labels show; ``trained_regions``: what the model predicts; None where nobody knows.
    """
    shown = {"truth": truth_regions, "model": None if trained_regions is None else visible_regions(trained_regions, REGIONS)}
    told = {"truth": ("the truth shows", truth_regions), "model": ("the model predicts", trained_regions)}
    both = ("truth", "model")
    return {measure.name: tuple(_unseen(measure, shown, told, who) for who in both) for measure in MEASURES}


def _unseen(
    measure: Measure,
    shown: Mapping[str, Collection[str] | None],
    told: Mapping[str, tuple[str, Sequence[str] | None]],
    who: str,
) -> str:
    regions = shown[who]
    if regions is None or set(measure.regions) <= set(regions):
        return ""
    words, names = told[who]
    return f"{NOT_APPLICABLE}: {words} {in_words(list(names or ()))} only"
