"""What sets the extremes apart among the clinical covariates, by hand; and which covariates say nothing."""

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kruskal, mannwhitneyu, spearmanr

import compare_covariates
from compare_covariates import COLUMNS
from glioflow.cohorts.covariate_values import typed_covariate
from glioflow.cohorts.covariates import is_reserved
from glioflow.console import Console
from glioflow.evaluation import group_tests
from glioflow.evaluation.group_tests import kruskal_wallis
from glioflow.failure import correlations
from glioflow.files import read_table, write_table

ADVICE = "numbers (with a decimal point) or a few categories could be compared"
DATES = "dates; days since a date of each case, or years of age, could be compared"
CASES = list("abcdef")
HAUSDORFF = [60.0, 50.0, 40.0, 30.0, 20.0, 10.0]  # a is the worst, f the best
EXTREMES = pd.DataFrame({"group": ["worst", "worst", "best", "best"], "case_id": ["a", "b", "e", "f"]})


def correlate(values: Any, metric: Any) -> tuple[float, float]:
    """Return rho and p of one number with the metric."""
    rho, p = correlations.correlate(values[:, None], metric)
    return float(rho[0]), float(p[0])


def text(values: Sequence[object]) -> pd.Series:
    return pd.Series([None if value is None else str(value) for value in values], dtype="string")


def compare(
    metric: Sequence[float] = HAUSDORFF,
    extremes: pd.DataFrame = EXTREMES,
    patients: Sequence[str] | None = None,
    **covariates: Sequence[object],
) -> pd.DataFrame:
    cases = [*CASES, *(f"case_{number}" for number in range(len(metric) - len(CASES)))]
    table = pd.DataFrame({name: text(values).to_numpy() for name, values in covariates.items()}, index=cases, dtype="string")
    of = pd.Series(patients or cases, cases, dtype="string")
    return compare_covariates.compare_covariates(table, pd.Series(metric, cases), of, extremes)


def only(table: pd.DataFrame) -> dict[str, Any]:
    (row,) = table.to_dict("records")
    return {str(key): value for key, value in row.items()}


def test_a_number_has_its_means_its_effect_size_and_its_correlation() -> None:
    row = only(compare(age_years=[70, 66, 60, 50, 42, 38]))
    assert (row["kind"], row["n"], row["n_worst"], row["n_best"], row["worst"], row["best"]) == ("number", 6, 2, 2, 68, 40)
    # Squares about the means: 2 · 2² and 2 · 2², over 2 + 2 - 2 degrees of freedom.
    assert row["effect"] == pytest.approx(28 / math.sqrt(16 / 2))
    assert row["effect_name"] == "Cohen's d"
    assert row["spearman_rho"] == pytest.approx(1)
    # Of the 6! orders, two have a rho of 1 or -1.
    assert row["p"] == pytest.approx(2 / math.factorial(6))
    assert row["q"] == row["p"]
    assert pd.isna(row["level"])
    assert pd.isna(row["kruskal_h"])


def test_rho_is_that_of_the_metric_itself() -> None:
    assert only(compare(age=[1, 2, 3, 4, 5, 6]))["spearman_rho"] == pytest.approx(-1)
    # Ranks 1 to 6 with two neighbours swapped: 1 - 6 · 2 / (6 · 35).
    assert only(compare(age=[6, 5, 4, 3, 1, 2]))["spearman_rho"] == pytest.approx(1 - 12 / 210)


def test_a_category_has_the_share_of_each_level_and_one_test() -> None:
    table = compare(grade=["HGG", "HGG", "HGG", "LGG", "LGG", "HGG"])
    assert table["level"].tolist() == ["HGG", "LGG"]
    assert table["n_level"].tolist() == [4, 2]
    assert table["worst"].tolist() == [1, 0]
    assert table["best"].tolist() == [0.5, 0.5]
    assert table["effect"].tolist() == [0.5, -0.5]
    assert set(table["effect_name"]) == {"risk difference"}
    # Ranks of LGG: 2 and 3; of HGG: 1, 4, 5, 6. H = 12 / (6 · 7) · (5² / 2 + 16² / 4) - 3 · 7.
    assert table["kruskal_h"][0] == pytest.approx(12 / 42 * (12.5 + 64) - 21)
    # Of the 15 pairs of ranks that LGG could have, those with a sum of at most 5 or at least 9 are as far from the mean, 7.
    assert table["p"][0] == pytest.approx(8 / 15)
    assert table.loc[1, ["kruskal_h", "p", "q"]].isna().all()


def test_an_undefined_value_is_left_out_and_not_counted() -> None:
    row = only(compare(age=[70, None, 60, 50, 42, 38]))
    assert (row["n"], row["n_worst"], row["n_best"], row["worst"]) == (5, 1, 2, 70)
    assert math.isnan(row["effect"])
    assert row["note"] == "fewer than two values among the worst cases"
    assert row["spearman_rho"] == pytest.approx(1)


def test_a_case_without_a_metric_is_not_counted() -> None:
    row = only(compare([60, 50, 40, np.nan, 20, 10], age=[70, 66, 60, 5000, 42, 38]))
    assert (row["n"], row["spearman_rho"]) == (5, pytest.approx(1))


def test_a_group_without_any_value_has_no_difference_of_shares_and_a_note() -> None:
    table = compare(sex=["F", "M", "F", "M", None, None])
    assert table["effect"].isna().all()
    assert table["note"].tolist() == ["none of the best cases has a value"] * 2
    assert table["p"].notna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "kind", "note"),
    [
        ([3, 3, 3, 3, 3, 3], "category", "one value in every case: 3"),
        ([None, "x", None, None, None, None], "category", "one value in every case: x"),
        ([None] * 6, "category", "no case of the set has a value"),
        (["p", "q", "r", "s", "t", None], "category", "a text that differs in every case; " + ADVICE),
        (["2021-03-05", "05.03.2021", "5/3/21", "2021-03-05T10:00", None, None], "category", DATES),
    ],
)
def test_what_cannot_be_compared_is_listed_with_its_reason(values: list[object], kind: str, note: str) -> None:
    row = only(compare(covariate=values))
    assert (row["kind"], row["note"]) == (kind, note)
    assert all(pd.isna(row[name]) for name in ("effect", "worst", "best", "p", "q"))


def test_an_identifier_is_not_compared_although_it_is_a_number() -> None:
    assert only(compare(tcga_id=[6, 5, 4, 3, 2, 1]))["note"] == "an identifier"


def test_the_same_metric_everywhere_cannot_be_tested() -> None:
    table = compare([5.0] * 6, age=[1, 2, 3, 4, 5, 6], sex=list("FFMMMM"))
    assert table["p"].isna().all()
    assert table["q"].isna().all()
    assert table.groupby("covariate")["note"].first().to_dict() == dict.fromkeys(
        ("age", "sex"), "the metric is the same in every patient"
    )


def test_two_cases_are_too_few_to_test() -> None:
    assert "fewer than 3 patients to test" in only(compare(age=[1, 2, 3, 4, 5, 6], metric=[9, 8, *[np.nan] * 4]))["note"]


def test_the_covariate_with_the_largest_effect_of_either_sign_comes_first_with_all_its_levels() -> None:
    table = compare(
        patient_id_of_site=["x"] * 6,
        sex=["F", "F", "M", "F", "M", "M"],
        age=[1, 2, 3, 4, 30, 31],
        dose=[4, 2, 9, 9, 3, 4],
    )
    assert table["covariate"].tolist() == ["age", "sex", "sex", "dose", "patient_id_of_site"]
    assert table["effect"][0] < -10


def test_q_is_corrected_for_every_covariate_tested() -> None:
    table = compare(age=[6, 5, 4, 3, 2, 1], dose=[2, 9, 5, 9, 3, 2], sex=list("FMFMFM"), site=["x"] * 6)
    tested = table.dropna(subset=["p"]).sort_values("p")
    assert len(tested) == 3
    p = tested["p"].tolist()
    # Benjamini and Hochberg: p · m / rank, made monotonic from the largest.
    assert tested["q"].tolist() == pytest.approx([min(p[0] * 3, p[1] * 1.5, p[2]), min(p[1] * 1.5, p[2]), p[2]])


def test_a_perfect_order_of_three_cases_is_no_finding() -> None:
    # Student's t would say p = 0; two of the 3! orders are as extreme.
    _, p = correlate(np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0, 9.0]))
    assert p == pytest.approx(1 / 3)


def test_small_groups_have_the_exact_p_of_the_rank_sum() -> None:
    metric = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    levels = pd.Series(list("xxyxyy"))
    _, p = kruskal_wallis(metric, levels)
    assert p == pytest.approx(mannwhitneyu([1, 2, 4], [3, 5, 6], method="exact").pvalue)


def test_from_twenty_cases_on_the_approximations_are_used() -> None:
    rng = np.random.default_rng(5)
    values, metric, levels = rng.normal(size=20), rng.normal(size=20), np.repeat(list("xyz"), [8, 6, 6])
    assert correlate(values, metric) == pytest.approx(tuple(spearmanr(values, metric)))
    groups = [metric[levels == level] for level in "xyz"]
    assert kruskal_wallis(pd.Series(metric), pd.Series(levels)) == pytest.approx(tuple(kruskal(*groups)))


def test_permutations_and_approximations_agree_where_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    values, levels = rng.normal(size=19), pd.Series(np.repeat(list("xyz"), [7, 6, 6]))
    metric = values + rng.normal(size=19) * 2
    permuted = correlate(values, metric)[1], kruskal_wallis(pd.Series(metric), levels)[1]
    for module in (correlations, group_tests):
        monkeypatch.setattr(module, "FEWEST_FOR_APPROXIMATION", 0)
    assert permuted == pytest.approx((correlate(values, metric)[1], kruskal_wallis(pd.Series(metric), levels)[1]), abs=0.03)


@pytest.mark.parametrize(
    ("values", "kind", "typed"),
    [
        (["1", "2.5", None, "3"], "number", [1, 2.5, np.nan, 3]),
        (["0", "1", "1", None], "category", ["0", "1", "1", None]),
        (["1", "1.0", "0"], "category", ["1", "1", "0"]),
        (["1", "2", "inf", "4"], "category", ["1", "2", "inf", "4"]),
        (["1", "2", "3", "+4 weeks"], "category", ["1", "2", "3", "+4 weeks"]),
        (["True", "False", "True"], "category", ["True", "False", "True"]),
    ],
)
def test_numbers_are_told_from_codes_and_text(values: list[str | None], kind: str, typed: list[object]) -> None:
    found = typed_covariate(text(values))
    assert found[0] == kind
    assert [None if pd.isna(value) else value for value in found[1]] == [None if pd.isna(value) else value for value in typed]


def test_what_a_covariate_is_does_not_depend_on_the_set() -> None:
    # Three of the cohort's ages in all, two of them among the cases of the set.
    row = only(compare([60, 50, np.nan, np.nan, 20, 10], age=[2, 2, 5, 5, 1, 1]))
    assert row["kind"] == "number"


def job(folder: Path, manifest: str) -> SimpleNamespace:
    (folder / "manifest.csv").write_text(manifest)
    labels = [{"case_id": case, "patient_id": case, "hausdorff": value} for case, value in zip(CASES, HAUSDORFF, strict=True)]
    scores = pd.DataFrame([{**row, "label": label} for row in labels for label in ("WT", "TC")])
    write_table(folder / "cv.csv", scores.assign(volume_truth_ml=5.0, components_prediction=1, volume_error_ml=0.5))
    write_table(folder / "extremes.csv", EXTREMES)
    files = {name: str(folder / f"{name}.csv") for name in ("extremes", "manifest")}
    return SimpleNamespace(
        input=SimpleNamespace(**files, scores=str(folder / "cv.csv")),
        output=SimpleNamespace(covariates=str(folder / "covariates.csv")),
        params=SimpleNamespace(rank_by="hausdorff", region="WT", penalised="apart"),
    )


def test_the_table_is_written_with_codes_as_they_are(tmp_path: Path) -> None:
    rows = [f"{case},{case},x.nii.gz,9,{code},{age}" for case, code, age in zip(CASES, ["01", "02"] * 3, range(6), strict=True)]
    manifest = "\n".join(["case_id,patient_id,label,volume_WT_ml,centre,age", *rows]) + "\n"
    # The p of a perfect order of six cases, for two covariates tested: 2 · 2 / 6!.
    assert compare_covariates.main(job(tmp_path, manifest), Console()) == "5 covariates, 2 tested, the smallest q 0.00556 (age)"
    lines = (tmp_path / "covariates.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert lines[1].startswith("age,number,,6,6,,2,2,0.5,4.5,")
    assert [line.split(",")[:6] for line in lines[2:4]] == [
        ["centre", "category", code, "6", "6", "3"] for code in ("01", "02")
    ]


def test_a_cohort_without_covariates_has_the_standard_ones(tmp_path: Path) -> None:
    rows = [f"{case},{case},x.nii.gz,9" for case in CASES]
    said = compare_covariates.main(job(tmp_path, "\n".join(["case_id,patient_id,label,volume_WT_ml", *rows]) + "\n"), Console())
    assert said == "3 covariates, none tested"
    names = [line.split(",")[0] for line in (tmp_path / "covariates.csv").read_text().splitlines()]
    assert names == ["covariate", "predicted_components_WT", "true_volume_WT_ml", "volume_error_WT_ml"]


def test_tumour_volume_components_and_volume_error_are_compared_in_every_study(tmp_path: Path) -> None:
    manifest = ["case_id,patient_id,label,volume_WT_ml", *(f"{case},{case},x.nii.gz,{10 * n}" for n, case in enumerate(CASES))]
    task = job(tmp_path, "\n".join(manifest) + "\n")
    scores = read_table(task.input.scores)
    of_region = scores["label"] == "TC"
    scores.loc[of_region, "volume_truth_ml"] = [1.0, 2, 3, 4, 5, 6]
    scores.loc[of_region, "components_prediction"] = [9, 8, 3, 2, 1, 1]
    scores.loc[of_region, "volume_error_ml"] = [6.5, 4, 3, 2, 1, -1]
    write_table(task.input.scores, scores)
    task.params.region = "TC"
    compare_covariates.main(task, Console())
    table = read_table(tmp_path / "covariates.csv").set_index("covariate")
    rho = table["spearman_rho"]
    # The worst case is the first, so that what falls from the first case on rises with the distance.
    assert rho[["true_volume_WT_ml", "true_volume_TC_ml", "volume_error_TC_ml"]].tolist() == pytest.approx([-1, -1, 1])
    assert rho["predicted_components_TC"] == pytest.approx(spearmanr(HAUSDORFF, [9, 8, 3, 2, 1, 1]).statistic)
    assert table.loc["volume_error_TC_ml", ["worst", "best"]].tolist() == [5.25, 0]


def test_a_case_whose_mask_is_empty_is_compared_only_where_it_is_ranked(tmp_path: Path) -> None:
    rows = [f"{case},{case},x.nii.gz,9,{age}" for case, age in zip(CASES, [70, 1, 2, 3, 4, 5], strict=True)]
    task = job(tmp_path, "\n".join(["case_id,patient_id,label,volume_WT_ml,age", *rows]) + "\n")
    scores = read_table(task.input.scores)
    write_table(task.input.scores, scores.assign(note=scores["case_id"].map({"a": "penalty: absent in truth"})))
    found = {}
    for penalised in ("apart", "include"):
        task.params.penalised = penalised
        compare_covariates.main(task, Console())
        found[penalised] = read_table(tmp_path / "covariates.csv").set_index("covariate").loc["age"]
    assert (found["apart"]["n"], found["include"]["n"]) == (5, 6)
    assert found["apart"]["spearman_rho"] == pytest.approx(-1)
    assert found["include"]["spearman_rho"] > -1


def test_a_covariate_may_not_have_the_name_of_a_standard_one() -> None:
    assert is_reserved("true_volume_WT_ml") and is_reserved("predicted_components_ET") and is_reserved("volume_error_RC_ml")
    assert not is_reserved("true_volume")


def test_a_level_with_a_single_case_is_compared_as_well() -> None:
    metric = pd.Series([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], CASES)
    h, p = kruskal_wallis(metric, pd.Series(list("xyyyyy"), CASES))
    # x has rank 6 of 6: H = 12 / (6 · 7) · (6² + 15² / 5) - 3 · 7; one of six places is as far out at either end.
    assert h == pytest.approx(12 / 42 * (36 + 45) - 21)
    assert p == pytest.approx(2 / 6)


PATIENTS = ["p", "p", "q", "r", "s", "s"]  # of the cases a to f


def test_a_patient_with_several_cases_counts_once_in_the_correlation() -> None:
    row = only(compare(age=[70, 66, 60, 50, 42, 38], patients=PATIENTS))
    assert (row["n"], row["patients"]) == (6, 4)
    # Of each patient the mean age and the mean distance: 68, 60, 50, 40 and 55, 40, 30, 15. Of 4! orders two are as extreme.
    assert row["spearman_rho"] == pytest.approx(1)
    assert row["p"] == pytest.approx(2 / 24)
    assert row["p"] > only(compare(age=[70, 66, 60, 50, 42, 38]))["p"]
    assert row["worst"] == 68  # what is described are the cases


def test_repeated_cases_of_the_same_patients_make_nothing_more_certain() -> None:
    rng = np.random.default_rng(1)
    metric, age = rng.normal(size=8), rng.normal(size=8)
    once = only(compare([*metric], patients=[f"p{n}" for n in range(8)], age=[*age]))
    thrice = only(compare([*metric] * 3, patients=[f"p{n}" for n in range(8)] * 3, age=[*age] * 3))
    assert (thrice["spearman_rho"], thrice["p"]) == pytest.approx((once["spearman_rho"], once["p"]))
    assert (thrice["n"], thrice["patients"]) == (24, 8)


def test_a_patient_counts_once_for_each_level_that_its_cases_have() -> None:
    table = compare(grade=["low", "low", "low", "high", "high", "low"], patients=["p", "p", "q", "q", "r", "s"])
    row = table.dropna(subset=["kruskal_h"]).iloc[0]
    # low: p 55, q 40, s 10; high: q 30, r 20.
    assert row["kruskal_h"] == pytest.approx(kruskal([55, 40, 10], [30, 20]).statistic)
    assert row["patients"] == 4


def test_one_patient_is_not_tested() -> None:
    row = only(compare(age=[70, 66, 60, 50, 42, 38], patients=["p"] * 6))
    assert pd.isna(row["p"]) and "fewer than 3 patients" in row["note"]
