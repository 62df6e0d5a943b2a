"""What every column of numbers is called, and which way is better."""

from typing import get_args

import pytest

from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.lesions import DEFECTS, lesion_columns
from glioflow.evaluation.metrics import metric_columns
from glioflow.study.configuration import Failure
from glioflow.study.metric_registry import COUNTS, DISTANCES, METRICS, RANKING_METRICS, columns_of, find_metric


def test_the_registry_has_the_columns_of_the_conventions_and_no_others() -> None:
    columns = {
        column for each in conventions().values() for column in [*metric_columns(each), *lesion_columns(each, list(DEFECTS))]
    }
    assert {column for column in columns if find_metric(column).kind == "other"} == set()
    assert {metric.column for metric in METRICS} == {column for column in columns if find_metric(column).kind != "nsd"}
    assert set(columns_of("defect")) == {column for found in DEFECTS.values() for column in found}


def test_every_metric_has_a_direction_but_those_that_are_neither_better_nor_worse() -> None:
    undirected = [metric.column for metric in METRICS if not metric.better and metric.kind != "defect"]
    assert undirected == ["volume_truth_ml", "volume_prediction_ml", "components_prediction", "lesions_truth"]
    smaller = [metric.column for metric in METRICS if metric.better < 0]
    errors = ["volume_error_ml", "volume_error_relative"]
    assert smaller == [*DISTANCES, *errors, "lesion_hd95_mm", "lesions_false"]
    assert [metric.column for metric in METRICS if metric.signed] == errors
    # A tool's known defect makes no model better.
    assert not any(find_metric(column).better for column in columns_of("defect"))
    assert find_metric("nsd_1mm").better == find_metric("lesion_nsd_1mm").better == 1
    assert find_metric("age_years").better == 0


def test_every_column_in_mm_or_ml_says_so() -> None:
    for metric in METRICS:
        named = metric.column.endswith(f"_{metric.unit}")
        assert named == (metric.unit in ("mm", "ml") and metric.column != "hausdorff"), metric.column
        assert metric.decimals == {"mm": 2, "ml": 2, "count": 0, "ratio": 4 if metric.column == "spec" else 3}[metric.unit]


def test_a_mean_of_whole_numbers_is_none() -> None:
    assert (find_metric("lesions_false").decimals, find_metric("lesions_false").statistic_decimals) == (0, 2)
    assert find_metric("dice").statistic_decimals == find_metric("dice").decimals
    assert {metric.column for metric in METRICS if metric.unit == "count"} == set(COUNTS)


@pytest.mark.parametrize(
    ("column", "heading"),
    [
        ("dice", "Dice"),
        ("hd95_mm", "HD95 (mm)"),
        ("volume_error_ml", "Volume error (ml)"),
        ("nsd_0.5mm", "NSD 0.5\u00a0mm"),
        ("lesion_nsd_1mm", "Lesion NSD 1\u00a0mm"),
        ("nsd_1e-05mm", "NSD 1e-05\u00a0mm"),
        ("other", "other"),
    ],
)
def test_narrow_columns_have_a_heading(column: str, heading: str) -> None:
    assert find_metric(column).heading == heading


def test_a_study_ranks_by_what_has_a_direction() -> None:
    assert get_args(Failure.model_fields["rank_by"].annotation) == RANKING_METRICS
    assert (*DISTANCES, "dice", "iou", "sens", "spec", "precision") == RANKING_METRICS
    assert all(find_metric(column).better for column in RANKING_METRICS)
