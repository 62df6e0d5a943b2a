"""Cases rank by what is better, models as challenges rank them, and how firm a rank is comes from the patients."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from glioflow.evaluation.rankings import (
    RANKINGS,
    Stability,
    kendall_tau,
    rank_cases,
    rank_models,
    rank_stability,
    sampled_kendall_tau,
)
from glioflow.study.metric_registry import METRICS, find_metric


def only(values: ArrayLike, ranking: str = "mean", larger: bool = True, patients: list[str] | None = None) -> Stability:
    """Return the stability by one metric; ``values``: (cases, models), of a patient each unless ``patients`` says otherwise."""
    table = np.asarray(values, float)
    ids = patients or [f"p{case}" for case in range(len(table))]
    (found,) = rank_stability(table[:, None], ids, [larger], ranking)
    return found


def cases(metric: str, values: list[float], **columns: list[float]) -> pd.DataFrame:
    """Return the scores of cases a, b, c… by one metric, each with a Dice of 0.5 unless ``columns`` says otherwise."""
    ids = [chr(97 + place) for place in range(len(values))]
    return pd.DataFrame({"case_id": ids, "dice": 0.5}).assign(**{metric: values, **columns})


@pytest.mark.parametrize("metric", [metric.column for metric in METRICS if metric.better and not metric.signed] + ["nsd_1mm"])
def test_the_worst_case_is_first(metric: str) -> None:
    worst_first = ["b", "c", "a"] if find_metric(metric).better < 0 else ["a", "c", "b"]
    assert list(rank_cases(cases(metric, [1.0, 3.0, 2.0]), metric)["case_id"]) == worst_first


def test_cases_that_tie_are_ordered_by_dice_then_case_id() -> None:
    ranked = rank_cases(cases("hausdorff", [5.0, 5.0, 5.0, 9.0], dice=[0.8, 0.7, 0.8, 0.9]), "hausdorff")
    assert list(ranked["case_id"]) == ["d", "b", "a", "c"]


def test_an_infinite_distance_is_ranked_and_an_undefined_one_is_not() -> None:
    ranked = rank_cases(cases("hd95_mm", [3.0, np.nan, np.inf]), "hd95_mm")
    assert list(ranked["case_id"]) == ["c", "a"]
    assert list(ranked.columns) == ["case_id", "dice", "hd95_mm"]


def test_the_largest_is_first_and_those_that_tie_share_the_best_rank() -> None:
    assert rank_models(np.array([0.8, 0.9, 0.7])).tolist() == [2, 1, 3]
    assert rank_models(np.array([0.8, 0.9, 0.9])).tolist() == [3, 1, 1]


def test_rounding_is_a_tie_and_infinity_is_not() -> None:
    assert rank_models(np.array([0.1 + 0.2, 0.3])).tolist() == [1, 1]
    assert rank_models(np.array([0.3, 0.3001])).tolist() == [2, 1]
    assert rank_models(np.array([-np.inf, -5.0, -np.inf])).tolist() == [2, 1, 2]


# The first model is the better one in two cases of three, and far behind in the third.
CASES = [[0.9, 0.8], [0.9, 0.8], [0.1, 0.8]]


def test_the_two_ways_to_rank_can_disagree_worked_out_by_hand() -> None:
    by_mean, by_rank = only(CASES), only(CASES, "rank_then_mean")
    assert by_mean.values.tolist() == pytest.approx([1.9 / 3, 0.8])
    assert by_mean.ranks.tolist() == [2, 1]
    assert by_rank.values.tolist() == pytest.approx([4 / 3, 5 / 3])
    assert by_rank.ranks.tolist() == [1, 2]


def test_of_distances_the_smaller_is_better() -> None:
    for ranking in RANKINGS:
        found = only([[3.0, 5.0], [4.0, 9.0]], ranking, larger=False)
        assert found.ranks.tolist() == [1, 2]
    assert only([[3.0, 5.0], [4.0, 9.0]], larger=False).values.tolist() == [3.5, 7]


def test_tau_b_makes_up_for_ties() -> None:
    # Of six pairs four are concordant, one is a tie of the first and one of the second: 4 / sqrt((6 - 1) (6 - 1)).
    assert kendall_tau([1, 1, 2, 3], [1, 2, 2, 4]) == pytest.approx(4 / 5)
    assert kendall_tau([1.0, 2, 3], [1, 2, np.inf]) == 1
    assert np.isnan(kendall_tau([1.0, 2], [3.0, 3]))
    assert np.isnan(kendall_tau([3.0, 3], [1.0, 2]))


def test_kendalls_tau_worked_out_by_hand() -> None:
    reference = np.array([1, 2, 3])
    ranks = np.array([[1, 2, 3], [3, 2, 1], [2, 1, 3], [1, 1, 3], [1, 1, 1]])
    # Of three pairs: all alike; none; two of three; two alike and one tied, over sqrt(2 * 3); all tied.
    expected = [1, -1, 1 / 3, 2 / 6**0.5, np.nan]
    assert sampled_kendall_tau(ranks, reference).tolist() == pytest.approx(expected, nan_ok=True)
    assert np.isnan(sampled_kendall_tau(ranks, np.array([1, 1, 1]))).all()


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=7))
def test_kendalls_tau_of_a_sample_is_that_of_two_values(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs).T
    assert sampled_kendall_tau(first[None], second)[0] == pytest.approx(kendall_tau(first, second), nan_ok=True)


def test_a_model_that_is_better_everywhere_is_first_in_every_sample() -> None:
    values = np.random.default_rng(0).random((12, 3)) * 0.2 + [0.7, 0.0, 0.35]
    for ranking in RANKINGS:
        found = only(values, ranking)
        assert found.ranks.tolist() == [1, 3, 2]
        assert found.shares.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
        assert (found.median.tolist(), found.low.tolist(), found.high.tolist()) == ([1, 3, 2],) * 3
        assert (found.tau, found.tau_low, found.tau_high) == (1, 1, 1)


def test_the_shares_of_two_patients_worked_out_by_hand() -> None:
    # The first model's mean is larger in the first patient alone (1/4 of the samples) and in both (1/2), not in the second.
    found = only([[1.0, 0.0], [0.0, 0.5]])
    assert found.shares[:, 0].tolist() == pytest.approx([0.75, 0.25], abs=0.02)
    assert found.shares.sum(axis=1).tolist() == [1, 1]
    assert (found.low.tolist(), found.high.tolist(), found.median.tolist()) == ([1, 1], [2, 2], [1, 2])
    # tau is 1 in three of four samples and -1 in the others.
    assert found.tau == pytest.approx(0.5, abs=0.04)
    assert (found.tau_low, found.tau_high) == (-1, 1)


def test_models_that_are_alike_are_all_first_and_no_order_can_be_correlated() -> None:
    found = only(np.repeat([[0.3], [0.8], [0.5]], 3, axis=1))
    assert found.ranks.tolist() == [1, 1, 1]
    assert found.shares[:, 0].tolist() == [1, 1, 1]
    assert np.isnan([found.tau, found.tau_low, found.tau_high]).all()


def test_samples_in_which_all_models_tie_have_no_order_to_correlate() -> None:
    # The models differ in the first patient alone, whom a quarter of the samples lacks; in the others they are in order.
    found = only([[1.0, 0.0], [0.5, 0.5]])
    assert found.shares[0].tolist() == [1, 0]
    assert found.shares[1].tolist() == pytest.approx([0.25, 0.75], abs=0.02)
    assert (found.tau, found.tau_low, found.tau_high) == (1, 1, 1)


def test_the_cases_of_a_patient_are_drawn_together() -> None:
    values = np.array([[1.0, 0.0], [0.0, 0.5]])
    alone = only(values)
    together = only(np.repeat(values, 20, axis=0), patients=["a"] * 20 + ["b"] * 20)
    assert together.shares.tolist() == alone.shares.tolist()
    apart = only(np.repeat(values, 20, axis=0))
    assert apart.shares[0, 0] > alone.shares[0, 0] + 0.1


def test_one_patient_has_ranks_and_no_stability() -> None:
    found = only([[0.5, 0.9], [0.5, 0.8]], patients=["a", "a"])
    assert found.ranks.tolist() == [2, 1]
    assert np.isnan(found.shares).all()
    assert np.isnan([*found.median, *found.low, *found.high, found.tau]).all()


def test_metrics_rank_each_for_itself() -> None:
    rng = np.random.default_rng(1)
    dice, distance = rng.random((9, 3)), rng.random((9, 3)) * 50
    ids = [str(case) for case in range(9)]
    for ranking in RANKINGS:
        both = rank_stability(np.stack([dice, distance], axis=1), ids, [True, False], ranking)
        for found, (values, larger) in zip(both, ((dice, True), (distance, False)), strict=True):
            alone = only(values, ranking, larger)
            assert found.values.tolist() == pytest.approx(alone.values.tolist())
            assert found.shares.tolist() == alone.shares.tolist()


def test_an_infinite_distance_costs_the_mean_and_one_rank() -> None:
    values = [[np.inf, 9.0], [1.0, 9.0], [1.0, 9.0]]
    assert only(values, larger=False).ranks.tolist() == [2, 1]
    assert only(values, "rank_then_mean", larger=False).ranks.tolist() == [1, 2]
