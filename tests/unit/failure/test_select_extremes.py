"""The worst and the best cases, by any metric, each case once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import select_extremes
from glioflow.console import Console, UserError
from glioflow.evaluation.rankings import rank_cases
from glioflow.evaluation.score_tables import ranked_apart, read_scores
from glioflow.files import read_table, write_table
from select_extremes import largest_extremes

WORST_20 = [
    *("079", "361", "086", "268", "325", "315", "207", "005", "298", "134"),
    *("359", "266", "036", "336", "122", "337", "295", "275", "010", "184"),
]
BEST_5 = ["130", "124", "363", "306", "198"]


def scores(values: list[float | None], metric: str = "hausdorff", **columns: Any) -> pd.DataFrame:
    """Return a score table of cases a, b, c… with one WT row each."""
    cases = [f"case_{chr(97 + i)}" for i in range(len(values))]
    table = pd.DataFrame({"patient_id": cases, "label": "WT", "tta": True, "hausdorff": 1.0, "dice": 0.5, "case_id": cases})
    return table.assign(**{metric: values}, **columns)


def select(folder: Path, table: pd.DataFrame | Path, **params: Any) -> tuple[str, pd.DataFrame]:
    """Run the job on a score table and return its closing line and extremes.csv."""
    if isinstance(table, pd.DataFrame):
        write_table(folder / "scores.csv", table)
        table = folder / "scores.csv"
    job = SimpleNamespace(
        input=SimpleNamespace(scores=str(table)),
        output=SimpleNamespace(extremes=str(folder / "extremes.csv"), apart=str(folder / "apart.csv")),
        params=SimpleNamespace(
            **{"rank_by": "hausdorff", "region": "WT", "extremes": 2, "penalised": "apart", "model": "mine", "set": "cv"}
            | params
        ),
    )
    return select_extremes.main(job, Console()), read_table(folder / "extremes.csv")


def test_worst_come_first_and_the_very_best_is_the_last_row(tmp_path: Path) -> None:
    said, chosen = select(tmp_path, scores([3.0, 9.0, 1.0, 5.0, 7.0, 2.0]))
    assert list(chosen["case_id"]) == ["case_b", "case_e", "case_f", "case_c"]
    assert list(chosen["group"]) == ["worst", "worst", "best", "best"]
    assert list(chosen["rank"]) == [1, 2, 2, 1]
    assert list(chosen["value"]) == [9.0, 7.0, 2.0, 1.0]
    assert list(chosen.columns) == ["group", "rank", "case_id", "patient_id", "label", "metric", "value", "note"]
    assert said == "2 worst and 2 best of 6 cases by WT hausdorff (mine, cv)"


def test_a_metric_without_a_direction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rank_by: volume_truth_ml is not one of hausdorff, hd95_mm"):
        select(tmp_path, scores([1.0, 2.0], volume_truth_ml=3.0), rank_by="volume_truth_ml", extremes=1)


def test_an_infinite_distance_is_the_worst(tmp_path: Path) -> None:
    said, chosen = select(tmp_path, scores([3.0, float("inf"), 1.0]), extremes=1)
    assert list(chosen["case_id"]) == ["case_b", "case_c"]
    assert "not ranked" not in said


def test_a_case_without_the_metric_is_not_ranked_but_counted(tmp_path: Path) -> None:
    said, chosen = select(tmp_path, scores([3.0, None, 1.0]), extremes=1)
    assert list(chosen["case_id"]) == ["case_a", "case_c"]
    assert said.endswith("1 not ranked (hausdorff undefined)")


def test_the_note_of_a_score_goes_with_its_case(tmp_path: Path) -> None:
    _, chosen = select(tmp_path, scores([374.0, 1.0], note=["prediction empty", None]), extremes=1)
    assert chosen["note"][0] == "prediction empty"
    assert pd.isna(chosen["note"][1])


@pytest.mark.parametrize(("cases", "each"), [(18, 9), (19, 9), (2, 1), (1, 0), (0, 0)])
def test_of_too_few_cases_as_many_as_possible_are_taken_and_it_is_said(tmp_path: Path, capsys, cases: int, each: int) -> None:
    said, chosen = select(tmp_path, scores([*map(float, range(cases)), None]), extremes=20)
    assert chosen["group"].tolist() == ["worst"] * each + ["best"] * each
    assert chosen["case_id"].is_unique
    assert said.startswith(f"{each} worst and {each} best of {cases} case")
    assert f"can be ranked, so {each} worst and as many best are compared" in capsys.readouterr().err


NOTES = ["penalty: absent in truth", None, "prediction missing: counted as empty; penalty: absent in prediction", None, None]


def test_cases_that_lack_a_mask_are_listed_apart_from_those_that_are_ranked(tmp_path: Path) -> None:
    said, chosen = select(tmp_path, scores([374.0, 9.0, 300.0, None, 1.0], note=NOTES), extremes=1)
    assert list(chosen["case_id"]) == ["case_b", "case_e"]
    apart = read_table(tmp_path / "apart.csv")
    assert list(apart.columns) == ["case_id", "patient_id", "label", "metric", "value", "note"]
    assert list(apart["case_id"]) == ["case_a", "case_c", "case_d"]  # the worst first, without a value last
    assert apart["value"][:2].tolist() == [374.0, 300.0]
    assert said.startswith("1 worst and 1 best of 2 cases by WT hausdorff")
    assert said.endswith("2 set apart (no WT in truth or prediction), 1 not ranked (hausdorff undefined)")


def test_they_are_ranked_with_the_others_where_the_study_asks_for_it(tmp_path: Path) -> None:
    _, chosen = select(tmp_path, scores([374.0, 9.0, 300.0, None, 1.0], note=NOTES), extremes=2, penalised="include")
    assert list(chosen["case_id"]) == ["case_a", "case_c", "case_b", "case_e"]
    assert list(read_table(tmp_path / "apart.csv")["case_id"]) == ["case_d"]


def test_a_rules_value_of_two_empty_masks_is_no_score_to_rank(tmp_path: Path) -> None:
    # A Dice of 1 where both masks are empty, as some challenges have it.
    _, chosen = select(
        tmp_path,
        scores([1.0, 0.9, 0.2], "dice", note=["absent in truth and prediction", None, None]),
        rank_by="dice",
        extremes=1,
    )
    assert list(chosen["case_id"]) == ["case_c", "case_b"]


@pytest.mark.parametrize("penalised", ["apart", "include"])
@given(st.lists(st.sampled_from([*NOTES, "absent in truth and prediction"]), min_size=1, max_size=12))
def test_every_case_is_ranked_or_set_apart(penalised: str, notes: list[str | None]) -> None:
    table = scores([float(number) for number in range(len(notes))], note=notes)
    ranked, apart = ranked_apart(table, penalised)
    assert sorted([*ranked["case_id"], *apart["case_id"]]) == list(table["case_id"])
    assert len(apart) == (sum(note is not None for note in notes) if penalised == "apart" else 0)


def test_the_largest_possible_is_possible(tmp_path: Path) -> None:
    for cases in (2, 5, 8):
        _, chosen = select(tmp_path, scores([float(i) for i in range(cases)]), extremes=largest_extremes(cases))
        assert chosen["case_id"].is_unique


def test_a_case_with_and_without_augmentation_counts_once_by_its_augmented_row(tmp_path: Path) -> None:
    plain, augmented = scores([9.0, 2.0, 3.0], tta=False), scores([1.0, 8.0], tta=True)
    _, chosen = select(tmp_path, pd.concat([plain, augmented]), extremes=1)
    assert list(chosen["case_id"]) == ["case_b", "case_a"]
    assert list(chosen["value"]) == [8.0, 1.0]


def test_a_region_that_the_model_cannot_show_ranks_nothing_and_says_why(tmp_path: Path) -> None:
    table = scores([None, None], note="not applicable: the model predicts ET only")
    with pytest.raises(UserError, match="region WT is not applicable: the model predicts ET only; a region that it"):
        select(tmp_path, table, extremes=1)


def test_two_rows_of_one_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"case_a has more than one row for WT"):
        select(tmp_path, pd.concat([scores([1.0, 2.0]), scores([3.0])]), extremes=1)


def test_cases_of_one_patient_are_told_apart_by_case_id(tmp_path: Path) -> None:
    _, chosen = select(tmp_path, scores([1.0, 2.0], patient_id="patient_1"), extremes=1)
    assert list(chosen["case_id"]) == ["case_b", "case_a"]


def test_another_region_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no rows for region TC; its regions are: WT"):
        select(tmp_path, scores([1.0, 2.0]), region="TC", extremes=1)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no column hd95_mm; its columns are patient_id, label"):
        select(tmp_path, scores([1.0, 2.0]), rank_by="hd95_mm", extremes=1)


def test_a_value_that_is_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"column hausdorff holds something that is not a number .*big"):
        select(tmp_path, scores([1.0, "big"]), extremes=1)  # type: ignore[list-item]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 400), min_size=2, max_size=30), st.data())
def test_no_best_case_is_worse_than_a_worst_one_whatever_the_order_of_rows(values: list[float], data: st.DataObject) -> None:
    table = scores(list(values))
    shuffled = table.loc[data.draw(st.permutations(list(table.index)))]
    extremes = data.draw(st.integers(1, largest_extremes(len(values))))
    chosen, again = (
        select_extremes.select_extremes(rank_cases(rows, "hausdorff"), "hausdorff", "WT", extremes)
        for rows in (table.assign(note=""), shuffled.assign(note=""))
    )
    assert list(chosen["case_id"]) == list(again["case_id"])
    assert chosen["case_id"].is_unique
    assert list(chosen["value"]) == sorted(chosen["value"], reverse=True)
    assert max(values) == chosen["value"].iloc[0]
    assert min(values) == chosen["value"].iloc[-1]


@pytest.mark.real_data
def test_real_performances_give_the_published_worst_and_best(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "capstone" / "patients_indiv_perf.csv"
    said, chosen = select(tmp_path, source, extremes=20)
    short = chosen["case_id"].str.removeprefix("BraTS20_Training_")
    assert list(short[:20]) == WORST_20
    assert list(short[-5:]) == BEST_5
    assert said.startswith("20 worst and 20 best of 74 cases by WT hausdorff")
    assert chosen["value"][0] == pytest.approx(114.319727, abs=1e-6)


@pytest.mark.real_data
def test_real_cases_without_enhancing_tumour_are_not_among_the_ranked(real_data: Path) -> None:
    table = read_scores(real_data / "capstone" / "patients_indiv_perf.csv", "ET", ("hausdorff", "dice"))
    assert len(table) == 63
    assert table["case_id"].is_unique
