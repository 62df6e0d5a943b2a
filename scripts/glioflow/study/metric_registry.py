"""The columns of a score table that hold numbers: what each is called, its unit, and which way is better.

docs/metrics.md has their formulas.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

# A convention defines each distance, or leaves it out; `nsd` is the family of columns, one a tolerance, that it names.
Kind = Literal["distance", "overlap", "nsd", "volume", "component", "lesion", "lesion_count", "defect", "other"]

COUNT_DECIMALS = 2  # of statistics of counts: of a hundred cases, one more or less is seen


@dataclass(frozen=True)
class Metric:
    """A column of numbers.

    Attributes
    ----------
    name, short
        What it is called in a sentence, and in a narrow column.
    better
        1 where a larger value is better, -1 where a smaller one is, 0 where neither is.
    decimals
        As many as the voxels (mm), the overlap of some ten thousand voxels and the volumes (ml) can bear.
    abbreviation
        What is written beside a value, where that is not the name.
    signed
        Whether its size, whatever the sign, is what can be better.
    """

    column: str
    name: str
    short: str
    kind: Kind
    unit: Literal["mm", "ml", "ratio", "count"]
    better: Literal[-1, 0, 1]
    decimals: int
    abbreviation: str = ""
    signed: bool = False

    @property
    def symbol(self) -> str:
        """What is written beside a value."""
        return self.abbreviation or self.name

    @property
    def heading(self) -> str:
        """The heading of a narrow column, with the unit."""
        return f"{self.short} ({self.unit})" if self.unit in ("mm", "ml") else self.short

    @property
    def statistic_decimals(self) -> int:
        """As many decimals as a mean, a median or a quantile has: of whole numbers it is none."""
        return COUNT_DECIMALS if self.unit == "count" else self.decimals

    @property
    def may_rank(self) -> bool:
        """Whether the failure analysis can rank cases by it."""
        return self.kind in ("distance", "overlap")


METRICS = (
    Metric("hausdorff", "Hausdorff distance", "Hausdorff", "distance", "mm", -1, 2, "HD"),
    Metric("hd95_mm", "95th percentile Hausdorff distance", "HD95", "distance", "mm", -1, 2, "HD95"),
    Metric("assd_mm", "average symmetric surface distance", "ASSD", "distance", "mm", -1, 2, "ASSD"),
    Metric("masd_mm", "mean average surface distance", "MASD", "distance", "mm", -1, 2, "MASD"),
    Metric("dice", "Dice", "Dice", "overlap", "ratio", 1, 3),
    Metric("iou", "IoU", "IoU", "overlap", "ratio", 1, 3),
    Metric("sens", "sensitivity", "Sensitivity", "overlap", "ratio", 1, 3),
    # Nearly 1 in every case, because most of an image is background.
    Metric("spec", "specificity", "Specificity", "overlap", "ratio", 1, 4),
    Metric("precision", "precision", "Precision", "overlap", "ratio", 1, 3),
    Metric("volume_truth_ml", "true volume", "Truth", "volume", "ml", 0, 2),
    Metric("volume_prediction_ml", "predicted volume", "Prediction", "volume", "ml", 0, 2),
    Metric("volume_error_ml", "volume error", "Volume error", "volume", "ml", -1, 2, signed=True),
    Metric("volume_error_relative", "relative volume error", "Relative volume error", "volume", "ratio", -1, 3, signed=True),
    Metric("components_prediction", "predicted components", "Components", "component", "count", 0, 0),
    Metric("lesion_dice", "lesion-wise Dice", "Lesion Dice", "lesion", "ratio", 1, 3),
    Metric("lesion_hd95_mm", "lesion-wise HD95", "Lesion HD95", "lesion", "mm", -1, 2),
    Metric("lesion_sens", "sensitivity to lesions", "Lesion sensitivity", "lesion", "ratio", 1, 3),
    Metric("lesion_precision", "precision of lesions", "Lesion precision", "lesion", "ratio", 1, 3),
    Metric("lesion_f1", "F1 of lesions", "Lesion F1", "lesion", "ratio", 1, 3),
    Metric("lesions_truth", "true lesions", "Lesions", "lesion_count", "count", 0, 0),
    Metric("lesions_found", "lesions found", "Found", "lesion_count", "count", 1, 0),
    Metric("lesions_false", "false lesions", "False", "lesion_count", "count", -1, 0),
    Metric("sens_of_instance_maps", "sensitivity of instance maps", "sens_of_instance_maps", "defect", "ratio", 0, 3),
    Metric("spec_of_instance_maps", "specificity of instance maps", "spec_of_instance_maps", "defect", "ratio", 0, 3),
)


def columns_of(kind: Kind) -> tuple[str, ...]:
    """Return the columns of a kind, in the order of the registry."""
    return tuple(metric.column for metric in METRICS if metric.kind == kind)


DISTANCES, OVERLAPS, VOLUMES = columns_of("distance"), columns_of("overlap"), columns_of("volume")
COMPONENTS, LESION_COUNTS = columns_of("component"), columns_of("lesion_count")
COUNTS = (*COMPONENTS, *LESION_COUNTS)
RANKING_METRICS = tuple(metric.column for metric in METRICS if metric.may_rank)
# A type checker takes no Literal that is computed; pydantic does.
if TYPE_CHECKING:
    RankingMetric = str
else:
    RankingMetric = Literal[RANKING_METRICS]

_BY_COLUMN = {metric.column: metric for metric in METRICS}


@cache
def find_metric(column: str) -> Metric:
    """Return what is known of a column; one of another kind has its own name and no better direction."""
    if found := re.fullmatch(r"(lesion_)?nsd_([\d.e+-]+)mm", column):
        name, short = ("lesion-wise normalised", "Lesion NSD") if found[1] else ("normalised", "NSD")
        return Metric(column, f"{name} surface Dice at {found[2]} mm", f"{short} {found[2]}\u00a0mm", "nsd", "ratio", 1, 3)
    return _BY_COLUMN.get(column) or Metric(column, column, column, "other", "ratio", 0, 3)
