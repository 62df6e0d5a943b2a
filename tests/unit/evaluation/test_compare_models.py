"""The tables of compared models, worked out by hand on a few cases."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import compare_models
from glioflow.console import Console
from glioflow.evaluation.comparison_groups import Group
from glioflow.evaluation.metrics import NOT_APPLICABLE
from glioflow.files import read_table, write_table

CASES = ["001", "002", "003", "004", "005"]
GOOD = [0.9, 0.8, 0.95, 0.7, 0.6]
# Better in 002 alone; the differences have the ranks 2, -1, 3, 4, 5.
FAIR = [0.7, 0.9, 0.65, 0.3, 0.1]


def score_table(dice: Sequence[float | None], cases: Sequence[str] = CASES, label: str = "WT", **columns: Any) -> pd.DataFrame:
    """Return a score table of one region, every case of a patient of its own unless ``patient_id`` says otherwise."""
    named = {"patient_id": list(cases), "label": label, "tta": None, "case_id": list(cases), "fold": None, "dice": dice}
    table = pd.DataFrame({**named, "note": "", **columns})
    return table[[*(column for column in table if column != "note"), "note"]]


def group_of(tables: Mapping[str, pd.DataFrame], **changed: Any) -> Group:
    own = dict(name.split("/") for name in tables)
    return Group(**{"cohort": "demo", "set": "test", "folds": None, "own": own, "joining": {}, **changed})


def run(folder: Path, tables: Mapping[str, pd.DataFrame], *groups: Group) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)
    output = SimpleNamespace(comparison=str(folder / "comparison.csv"), ranks=str(folder / "ranks.csv"))
    compared = groups or ([group_of(tables)] if tables else [])
    params = SimpleNamespace(groups=[asdict(group) for group in compared], sets=list(tables))
    given = SimpleNamespace(scores=[str(folder / f"{name}.csv") for name in tables])
    said = compare_models.main(SimpleNamespace(input=given, output=output, params=params), Console())
    return said, read_table(output.comparison), read_table(output.ranks)


def only(table: pd.DataFrame, **where: str) -> dict[str, Any]:
    """Return the one row that has these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    (row,) = table.to_dict("records")
    return {str(key): value for key, value in row.items()}


def test_two_models_compared_by_hand(tmp_path: Path) -> None:
    said, table, _ = run(tmp_path, {"good/test": score_table(GOOD), "fair/test": score_table(FAIR)})
    assert said == "1 group of models, 1 test, 0 below 0.05 after correction"
    row = only(table)
    assert {key: row[key] for key in ("cohort", "set", "label", "metric", "model_a", "model_b")} == {
        "cohort": "demo", "set": "test", "label": "WT", "metric": "dice", "model_a": "good", "model_b": "fair",
    }  # fmt: skip
    assert (row["n"], row["patients"], row["undefined"]) == (5, 5, 0)
    assert (row["mean_a"], row["mean_b"]) == pytest.approx((0.79, 0.53))
    # 0.2, -0.1, 0.3, 0.4, 0.5
    assert row["median_difference"] == pytest.approx(0.3)
    assert (row["better_a"], row["better_b"], row["tied"], row["favours"]) == (4, 1, 0, "good")
    # Ranks 2, -1, 3, 4, 5: two of the 32 ways to give signs have negative ranks that sum to 1 or less.
    assert row["rank_biserial"] == pytest.approx((14 - 1) / 15)
    assert row["p"] == pytest.approx(4 / 32)
    assert row["p_holm"] == row["p"]
    # Of five patients the interval is of the resamples' extremes, all but 9 of 10000.
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((-0.1, 0.5))


def test_columns_are_those_that_are_documented(tmp_path: Path) -> None:
    _, table, ranks = run(tmp_path, {"good/test": score_table(GOOD), "fair/test": score_table(FAIR)})
    assert tuple(table.columns) == compare_models.COLUMNS
    assert tuple(ranks.columns) == (*compare_models.RANK_COLUMNS, "share_rank_1", "share_rank_2")


def test_models_are_ranked_with_what_makes_the_rank_firm(tmp_path: Path) -> None:
    tables = {
        "fair/test": score_table(FAIR),
        "good/test": score_table(GOOD),
        "best/test": score_table([dice + 0.02 for dice in GOOD]),
    }
    _, _, ranks = run(tmp_path, tables)
    assert ranks["ranking"].tolist() == ["mean"] * 3 + ["rank_then_mean"] * 3
    assert ranks["model"].tolist() == ["best", "good", "fair"] * 2
    assert ranks["rank"].tolist() == [1, 2, 3] * 2
    assert ranks["value"].tolist()[:3] == pytest.approx([0.81, 0.79, 0.53])
    assert ranks["value"].tolist()[3:] == pytest.approx([6 / 5, 11 / 5, 13 / 5])
    # `best` is above `good` in every case; `fair` is above both where 002 is drawn often enough.
    first, second = (only(ranks, ranking="mean", model=model) for model in ("best", "good"))
    assert first["share_rank_1"] > 0.95
    assert second["share_rank_1"] == 0
    assert (first["rank_median"], second["rank_median"]) == (1, 2)
    shares = ranks[[f"share_rank_{rank}" for rank in (1, 2, 3)]]
    assert shares.sum(axis=1).tolist() == pytest.approx([1] * 6)
    assert ranks["tau"].nunique() == 2
    assert ranks["tau"].gt(0.8).all()


def test_of_distances_the_smaller_is_better(tmp_path: Path) -> None:
    distances = {"near": [1, 2, 3, 4, 5], "far": [2, 4, 6, 8, 9]}
    tables = {f"{name}/test": score_table(GOOD, hd95_mm=values) for name, values in distances.items()}
    _, table, ranks = run(tmp_path, tables)
    row = only(table, metric="hd95_mm")
    assert (row["median_difference"], row["rank_biserial"], row["favours"]) == (-3, -1, "near")
    assert (row["better_a"], row["better_b"]) == (5, 0)
    assert ranks[ranks["metric"] == "hd95_mm"]["model"].tolist() == ["near", "far"] * 2


def test_volume_errors_are_compared_by_their_size(tmp_path: Path) -> None:
    tables = {
        "over/test": score_table(GOOD, volume_error_ml=[1, -1, 1, 2, 1], volume_truth_ml=4.0, volume_prediction_ml=5.0),
        "under/test": score_table(GOOD, volume_error_ml=[-3.0] * 5, volume_truth_ml=4.0, volume_prediction_ml=1.0),
    }
    _, table, _ = run(tmp_path, tables)
    assert sorted(table["metric"]) == ["dice", "volume_error_ml"]
    row = only(table, metric="volume_error_ml")
    assert (row["mean_a"], row["mean_b"], row["median_difference"], row["favours"]) == (1.2, 3, -2, "over")


def test_pairs_with_an_undefined_value_leave_the_test_and_are_counted(tmp_path: Path) -> None:
    near, far = [1.0, 2.0, 3.0, 4.0, 5.0], [9.0] * 5
    tables = {
        "good/test": score_table([None, *GOOD[1:]], hd95_mm=near),
        "fair/test": score_table([*FAIR[:4], None], hd95_mm=far),
    }
    _, table, ranks = run(tmp_path, tables)
    row = only(table, metric="dice")
    # Left are -0.1, 0.3 and 0.4.
    assert (row["n"], row["patients"], row["undefined"]) == (3, 3, 2)
    assert (row["mean_a"], row["median_difference"]) == pytest.approx(((0.8 + 0.95 + 0.7) / 3, 0.3))
    assert row["p"] == pytest.approx(2 * 2 / 8)
    of_metric = ranks.groupby("metric", sort=False)
    assert of_metric[["n", "undefined"]].first().to_numpy().tolist() == [[3, 2], [5, 0]]
    assert [rows["model"].tolist() for _, rows in of_metric] == [["good", "fair"] * 2] * 2


def test_a_pair_without_any_pair_of_values_is_counted_and_not_tested(tmp_path: Path) -> None:
    tables = {"good/test": score_table([0.9, None], CASES[:2]), "fair/test": score_table([None, 0.5], CASES[:2])}
    said, table, ranks = run(tmp_path, tables)
    assert said == "1 group of models, 0 tests, 0 below 0.05 after correction"
    row = only(table)
    assert (row["n"], row["undefined"]) == (0, 2)
    assert pd.isna([row[key] for key in ("mean_a", "median_difference", "ci_low", "p", "p_holm", "favours")]).all()
    assert ranks.empty


def test_rows_come_metric_by_metric_in_the_order_of_the_score_table(tmp_path: Path) -> None:
    # dice and iou are undefined in the same case, so they are ranked together; that must not show.
    dice: list[float | None] = [None, *GOOD[1:]]
    others: dict[str, Any] = {"hd95_mm": 3.0, "iou": [np.nan, *GOOD[1:]], "sens": 0.5}
    tables = {f"{name}/test": score_table(dice, **others) for name in "abc"}
    _, table, ranks = run(tmp_path, tables)
    metrics = ["dice", "hd95_mm", "iou", "sens"]
    assert table["metric"].tolist() == [metric for metric in metrics for _ in range(3)]
    assert list(zip(table["model_a"], table["model_b"], strict=True))[:3] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert ranks["metric"].tolist() == [metric for metric in metrics for _ in range(6)]


def test_a_metric_that_one_table_lacks_is_not_compared(tmp_path: Path) -> None:
    tables = {"good/test": score_table(GOOD, hd95_mm=3.0), "fair/test": score_table(FAIR)}
    _, table, ranks = run(tmp_path, tables)
    assert set(table["metric"]) == set(ranks["metric"]) == {"dice"}


def test_a_metric_that_neither_model_has_has_no_row(tmp_path: Path) -> None:
    tables = {f"{name}/test": score_table(GOOD, hausdorff=np.nan) for name in ("good", "fair")}
    _, table, ranks = run(tmp_path, tables)
    assert set(table["metric"]) == set(ranks["metric"]) == {"dice"}


def test_models_with_some_cases_in_common_are_compared_on_these(tmp_path: Path) -> None:
    tables = {
        "good/test": score_table(GOOD[::-1], CASES[::-1]),
        "fair/given": score_table([*FAIR, 0.0], [*CASES, "099"]),
        "few/given": score_table([0.5, 0.5], ["001", "099"]),
    }
    group = group_of({}, own={"good": "test"}, joining={"fair": "given", "few": "given"})
    _, table, ranks = run(tmp_path, tables, group)
    assert table[["model_a", "model_b", "n"]].to_numpy().tolist() == [["good", "fair", 5], ["good", "few", 1]]
    assert only(table, model_b="fair")["rank_biserial"] == pytest.approx(13 / 15)
    assert ranks["n"].unique().tolist() == [1]  # all three have 001
    assert ranks["model"].tolist()[:3] == ["good", "fair", "few"]
    # One patient: ranks, and nothing that would make them firm.
    assert ranks[["rank_median", "share_rank_1", "tau"]].isna().all(axis=None)
    assert pd.isna(only(table, model_b="few")["ci_low"])


def test_models_without_a_common_case_have_no_row(tmp_path: Path) -> None:
    tables = {"good/test": score_table(GOOD), "other/test": score_table(FAIR, [f"x{case}" for case in CASES])}
    _, table, ranks = run(tmp_path, tables)
    assert len(table) == len(ranks) == 0


def test_cases_of_one_patient_are_one_pair_of_the_test(tmp_path: Path) -> None:
    patients = ["p", "p", "q", "r", "r"]
    tables = {name: score_table(dice, patient_id=patients) for name, dice in (("good/test", GOOD), ("fair/test", FAIR))}
    row = only(run(tmp_path, tables)[1])
    assert (row["n"], row["patients"], row["better_a"]) == (5, 3, 4)
    # The patients' mean differences are 0.05, 0.3 and 0.45: all positive, so p is 2 / 8.
    assert (row["p"], row["rank_biserial"]) == pytest.approx((0.25, 1))
    assert row["median_difference"] == pytest.approx(0.3)
    # r's two cases can make up a whole resample, p's two as well.
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.05, 0.45))


def test_the_augmented_prediction_counts(tmp_path: Path) -> None:
    both = pd.concat([score_table([0.0] * 5, tta=False), score_table(GOOD, tta=True)])
    tables = {"good/test": both.sort_values("case_id", kind="stable"), "fair/test": score_table(FAIR, tta=False)}
    row = only(run(tmp_path, tables)[1])
    assert (row["n"], row["mean_a"]) == (5, pytest.approx(0.79))


def test_a_region_that_a_model_cannot_show_is_not_compared(tmp_path: Path) -> None:
    blind = score_table([None] * 5, label="ET", note=f"{NOT_APPLICABLE}: the model predicts WT only")
    tables = {
        "good/test": pd.concat([score_table(GOOD), score_table(GOOD, label="ET"), score_table(GOOD, label="RC")]),
        "fair/test": pd.concat([score_table(FAIR), score_table(FAIR, label="ET")]),
        "wide/test": pd.concat([score_table(FAIR), blind]),
    }
    _, table, ranks = run(tmp_path, tables)
    pairs = table.groupby("label", sort=False)[["model_a", "model_b"]].apply(lambda rows: rows.to_numpy().tolist())
    assert pairs["WT"] == [["good", "fair"], ["good", "wide"], ["fair", "wide"]]
    assert pairs["ET"] == [["good", "fair"]]
    assert ranks[ranks["label"] == "ET"]["model"].tolist() == ["good", "fair"] * 2
    assert set(ranks["label"]) == {"WT", "ET"}  # RC is shown by one model alone


def test_the_correction_is_over_the_regions_and_pairs_of_one_metric_and_group(tmp_path: Path) -> None:
    tables = {
        f"{name}/{part}": pd.concat([score_table(dice, cases), score_table(dice, cases, label="TC")])
        for name, values in (("good", GOOD), ("fair", [0.5, 0.4, 0.3, 0.2, 0.1]), ("poor", [0.0] * 5))
        for part, dice, cases in (("cv", values, CASES), ("test", values[::-1], CASES))
    }
    groups = [group_of({}, set=part, own=dict.fromkeys(("good", "fair", "poor"), part)) for part in ("cv", "test")]
    _, table, _ = run(tmp_path, tables, *groups)
    # Two sets, two regions, three pairs; in all of them one model is better in all five cases.
    assert len(table) == 12
    assert table["p"].tolist() == pytest.approx([2 / 32] * 12)
    assert table["p_holm"].tolist() == pytest.approx([6 * 2 / 32] * 12)
    assert table["tests"].tolist() == [6] * 12


def test_another_metric_changes_no_p_of_this_one(tmp_path: Path) -> None:
    tables = {f"{name}/test": score_table(values) for name, values in (("good", GOOD), ("fair", [0.5, 0.4, 0.3, 0.2, 0.1]))}
    _, alone, _ = run(tmp_path, tables)
    place = next(iter(tables.values())).columns.get_loc("note")
    for table in tables.values():
        for name in ("nsd_1mm", "nsd_2mm"):
            table.insert(place, name, table["dice"].to_numpy())
    _, among, _ = run(tmp_path, tables)
    assert set(among["metric"]) > set(alone["metric"])
    pd.testing.assert_frame_equal(among[among["metric"] == "dice"].reset_index(drop=True), alone[alone["metric"] == "dice"])


def test_models_that_are_alike_tie(tmp_path: Path) -> None:
    _, table, ranks = run(tmp_path, {"one/test": score_table(GOOD), "two/test": score_table(GOOD)})
    row = only(table)
    assert (row["tied"], row["p"], row["rank_biserial"], row["median_difference"]) == (5, 1, 0, 0)
    assert (row["ci_low"], row["ci_high"]) == (0, 0)
    assert pd.isna(row["favours"])
    assert ranks["rank"].tolist() == [1] * 4
    assert ranks["share_rank_1"].tolist() == [1] * 4


def test_infinite_distances_are_compared_as_the_worst(tmp_path: Path) -> None:
    tables = {
        "good/test": score_table(GOOD, hd95_mm=[1.0, np.inf, 3.0, 4.0, 5.0]),
        "fair/test": score_table(FAIR, hd95_mm=[2.0, np.inf, np.inf, np.inf, 7.0]),
    }
    row = only(run(tmp_path, tables)[1], metric="hd95_mm")
    # -1, none, -inf, -inf, -2
    assert (row["n"], row["better_a"], row["tied"], row["median_difference"]) == (5, 4, 1, -2)
    assert (row["ci_low"], row["favours"]) == (-np.inf, "good")
    assert row["p"] == pytest.approx(2 / 16)


def test_a_patient_who_is_infinitely_better_and_worse_balances(tmp_path: Path) -> None:
    patients = ["p", "p", "q", "r", "s"]
    tables = {
        "one/test": score_table(GOOD, hd95_mm=[np.inf, 1.0, 1.0, 1.0, 1.0], patient_id=patients),
        "two/test": score_table(GOOD, hd95_mm=[1.0, np.inf, 2.0, 3.0, 4.0], patient_id=patients),
    }
    row = only(run(tmp_path, tables)[1], metric="hd95_mm")
    # The patients' differences are 0, -1, -2 and -3, of the ranks 1 to 4: 9 of 10, and one of 8 ways to give signs is so far.
    assert (row["n"], row["patients"], row["rank_biserial"], row["p"]) == (5, 4, pytest.approx(-0.9), pytest.approx(2 / 8))
    assert (row["median_difference"], row["ci_high"]) == (-2, 0)


@pytest.mark.parametrize("models", ["", "ab"])
def test_a_study_with_nothing_to_compare_gets_headers(tmp_path: Path, models: str) -> None:
    tables = {f"{name}/cv": score_table([], []) for name in models}
    said, _, _ = run(tmp_path, tables)
    assert said == ("1 group of models, 0 tests, 0 below 0.05 after correction" if models else "no two models to compare")
    assert (tmp_path / "comparison.csv").read_text() == ",".join(compare_models.COLUMNS) + "\n"
    assert (tmp_path / "ranks.csv").read_text().startswith(",".join(compare_models.RANK_COLUMNS) + ",share_rank_1")


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    tables = {"good/test": score_table(GOOD), "fair/test": score_table(FAIR)}
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(tmp_path / name, tables)
        texts.append([(tmp_path / name / file).read_text() for file in ("comparison.csv", "ranks.csv")])
    assert texts[0] == texts[1]


def test_a_covariate_with_the_name_of_a_metric_is_not_compared(tmp_path: Path) -> None:
    tables = {f"{name}/test": score_table(GOOD).assign(iou=[1, 2, 3, 4, 5]) for name in ("good", "fair")}
    assert set(run(tmp_path, tables)[1]["metric"]) == {"dice"}
