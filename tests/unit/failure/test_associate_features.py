"""The table of associations: what its columns hold, by patient; and what it says of cohorts that allow little or nothing."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import associate_features
from associate_features import analysed_cases, gather
from glioflow.console import Console, UserError
from glioflow.evaluation.metrics import NOTE_PREDICTION_EMPTY
from glioflow.failure.associations import COLUMNS, IS_VOLUME_NOTE, associate
from glioflow.failure.effects import cohens_d, largest_by_chance
from glioflow.files import read_table, write_table

SIZE, LEVEL, SPREAD, TEXTURE = (
    *("original_shape_VoxelVolume", "original_firstorder_Mean", "original_firstorder_Variance", "original_glcm_Idm"),
)


class Cohort:
    """A set of cases with features and a metric, and the job that associates them."""

    def __init__(self, folder: Path, n: int = 24, extremes: int = 5) -> None:
        rng = np.random.default_rng(n)
        self.folder, self.extremes = folder, extremes
        ids = [f"case_{number:02d}" for number in range(n)]
        volume, level = rng.lognormal(3, 0.5, n), rng.normal(size=n)
        features = {SIZE: volume, LEVEL: level, SPREAD: level + 0.1 * rng.normal(size=n), TEXTURE: rng.normal(size=n)}
        self.radiomics = pd.DataFrame({"case_id": ids, "patient_id": ids, "image": "flair", "mask": "truth", "region": "WT"})
        self.radiomics = self.radiomics.assign(**features, note=pd.NA)
        values = 30 - 8 * level + 2 * rng.normal(size=n)
        self.scores = pd.DataFrame({"patient_id": ids, "label": "WT", "hausdorff": values, "dice": 0.8, "case_id": ids})
        self.scores = self.scores.assign(volume_truth_ml=volume, note=pd.NA)

    def set(self, column: str, value: Any, rows: slice = slice(None)) -> None:
        """Give cases another value of a feature or a score."""
        table = self.scores if column in self.scores else self.radiomics
        table.loc[table.index[rows], column] = value

    def ranked(self) -> pd.DataFrame:
        return analysed_cases(self.scores, "hausdorff", "apart")

    def run(self, cases: str = "all", shards: int = 2) -> tuple[str, pd.DataFrame]:
        """Return what the job said, and associations.csv by feature."""
        ranked = self.scores.sort_values("hausdorff", ascending=False, kind="stable")["case_id"]
        ranked = ranked[self.scores.loc[ranked.index, "hausdorff"].notna()]
        size = min(self.extremes, len(ranked) // 2)
        chosen = [*ranked.head(size), *(ranked.tail(size) if size else [])]
        extremes = pd.DataFrame({"group": ["worst"] * size + ["best"] * size, "case_id": chosen}, dtype="string")
        radiomics = self.radiomics if cases == "all" else self.radiomics[self.radiomics["case_id"].isin(chosen)]
        paths = [self.folder / f"{shard}.csv" for shard in range(shards)]
        for shard, path in enumerate(paths):
            write_table(path, radiomics.iloc[shard::shards])
        write_table(self.folder / "scores.csv", self.scores)
        write_table(self.folder / "extremes.csv", extremes)
        job = SimpleNamespace(
            input=SimpleNamespace(
                scores=str(self.folder / "scores.csv"), extremes=str(self.folder / "extremes.csv"), shards=[*map(str, paths)]
            ),
            output=SimpleNamespace(**{name: str(self.folder / f"{name}.csv") for name in ("radiomics", "associations")}),
            params=SimpleNamespace(rank_by="hausdorff", region="WT", penalised="apart", cases=cases),
        )
        said = associate_features.main(job, Console())
        table = read_table(self.folder / "associations.csv")
        assert list(table.columns) == list(COLUMNS)
        return said, table.set_index("feature")


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort(tmp_path)


# ---- the columns


def test_the_values_are_those_of_the_statistics_over_all_cases_and_over_the_extremes(cohort: Cohort) -> None:
    said, table = cohort.run()
    joined = cohort.radiomics.merge(cohort.scores, on="case_id")
    for feature in (SIZE, LEVEL, SPREAD, TEXTURE):
        expected = spearmanr(joined[feature], joined["hausdorff"])
        assert table["spearman_rho"][feature] == pytest.approx(expected.statistic)
        assert table["p"][feature] == pytest.approx(expected.pvalue)
    ordered = joined.sort_values("hausdorff", ascending=False)
    effect = cohens_d(ordered[LEVEL].head(5), ordered[LEVEL].tail(5))
    for column in (
        "cohens_d",
        "hedges_g",
        "d_ci_low",
        "d_ci_high",
        "mean_worst",
        "mean_best",
        "sd_pooled",
        "n_worst",
        "n_best",
    ):
        assert table[column][LEVEL] == pytest.approx(getattr(effect, column))
    features = ordered[[SIZE, LEVEL, SPREAD, TEXTURE]].to_numpy()
    assert table["d_null_95"].iloc[0] == pytest.approx(largest_by_chance(features, ordered["case_id"], 5))
    assert table["d_null_95"].nunique() == 1
    assert (table["n"] == 24).all()
    assert said == "24 cases: 4 of 4 features tested in 24 patients, 2 with q < 0.05"


def test_q_is_corrected_for_all_features_as_benjamini_and_hochberg_have_it(cohort: Cohort) -> None:
    _, table = cohort.run()
    p = table["p"].sort_values()
    expected = [min(p.iloc[later] * 4 / (later + 1) for later in range(place, 4)) for place in range(4)]
    assert table["q"][p.index].tolist() == pytest.approx(expected)


def test_the_strongest_comes_first_and_features_that_tell_the_same_are_one_cluster(cohort: Cohort) -> None:
    _, table = cohort.run()
    assert table["spearman_rho"].abs().is_monotonic_decreasing
    assert table["cluster"][LEVEL] == table["cluster"][SPREAD]
    assert table["cluster"].nunique() == 3
    assert table["representative"].sum() == 3
    assert table["meaning_group"].to_dict() == {SIZE: "size", LEVEL: "level", SPREAD: "spread", TEXTURE: "homogeneity"}
    assert table["feature_group"][TEXTURE] == "glcm"


def test_clusters_and_who_stands_for_them_do_not_depend_on_the_metric(cohort: Cohort) -> None:
    _, before = cohort.run()
    cohort.set("hausdorff", np.random.default_rng(3).uniform(0, 60, 24))
    _, after = cohort.run()
    pd.testing.assert_frame_equal(
        before[["cluster", "representative"]].sort_index(), after[["cluster", "representative"]].sort_index()
    )


def test_tumour_volume_itself_is_not_tested_at_equal_volume(cohort: Cohort) -> None:
    _, table = cohort.run()
    assert math.isnan(table["rho_given_volume"][SIZE]) and math.isnan(table["q_given_volume"][SIZE])
    assert table["note"][SIZE] == IS_VOLUME_NOTE
    assert table["q_given_volume"].drop(SIZE).notna().all()


def test_each_image_and_region_has_its_rows_its_clusters_and_one_q_over_all(cohort: Cohort) -> None:
    other = cohort.radiomics.assign(image="t1ce")
    other[TEXTURE] = -other[TEXTURE]
    alone = cohort.run()[1]
    cohort.radiomics = pd.concat([cohort.radiomics, other]).sort_values("case_id", kind="stable")
    cohort.run()
    table = read_table(cohort.folder / "associations.csv")
    assert table.groupby(["image", "region"]).size().to_dict() == {("flair", "WT"): 4, ("t1ce", "WT"): 4}
    texture = table[table["feature"] == TEXTURE].set_index("image")["spearman_rho"]
    assert texture["flair"] == -texture["t1ce"] == pytest.approx(alone["spearman_rho"][TEXTURE])
    # Twice the same p values: each has twice the rank among twice as many.
    flair = table[table["image"] == "flair"].set_index("feature")
    assert flair["q"].to_dict() == pytest.approx(alone["q"].to_dict())
    assert len(read_table(cohort.folder / "radiomics.csv")) == 48


def test_a_patient_with_several_cases_counts_once_by_the_means_of_its_cases(cohort: Cohort) -> None:
    _, single = cohort.run()
    twice = [table.assign(case_id=table["case_id"] + "_b") for table in (cohort.radiomics, cohort.scores)]
    twice[0][TEXTURE] += 2
    twice[1]["hausdorff"] += 4
    cohort.radiomics, cohort.scores = (pd.concat(pair) for pair in zip((cohort.radiomics, cohort.scores), twice, strict=True))
    _, double = cohort.run()
    columns = ["n", "spearman_rho", "p", "q", "rho_given_volume", "p_given_volume"]
    pd.testing.assert_frame_equal(single[columns].sort_index(), double[columns].sort_index())


def test_penalised_cases_and_cases_without_a_value_are_left_out(cohort: Cohort) -> None:
    cohort.set("hausdorff", 374.0, slice(0, 2))
    cohort.set("note", NOTE_PREDICTION_EMPTY, slice(0, 2))
    cohort.set("hausdorff", np.nan, slice(2, 3))
    assert len(cohort.ranked()) == 21
    _, table = cohort.run()
    assert (table["n"] == 21).all()


def test_an_infinite_distance_is_a_value_and_the_worst(cohort: Cohort) -> None:
    worst = int(cohort.scores["hausdorff"].argmax())
    _, before = cohort.run()
    cohort.set("hausdorff", np.inf, slice(worst, worst + 1))
    _, after = cohort.run()
    pd.testing.assert_frame_equal(before, after)


# ---- the extremes alone


def test_of_the_extremes_alone_nothing_is_correlated_and_the_effects_stay(cohort: Cohort) -> None:
    _, whole = cohort.run()
    said, table = cohort.run(cases="extremes")
    assert said == "10 cases: 0 of 4 features tested in 0 patients, 0 with q < 0.05"
    assert table[["spearman_rho", "p", "q", "q_given_volume", "d_null_95"]].isna().all(axis=None)
    assert table["note"].str.contains("features of the extremes alone: nothing is correlated").all()
    assert table["cohens_d"].to_dict() == pytest.approx(whole["cohens_d"].to_dict())
    assert table["cohens_d"].abs().is_monotonic_decreasing
    assert (table["n"] == 10).all()


# ---- shards


def written(cohort: Cohort, *shards: pd.DataFrame) -> list[str]:
    """Return the files of shards' tables."""
    paths = [cohort.folder / f"{place}-of-{len(shards)}.csv" for place in range(1, len(shards) + 1)]
    for path, shard in zip(paths, shards, strict=True):
        write_table(path, shard)
    return [str(path) for path in paths]


def test_shards_are_put_in_the_order_of_the_set(cohort: Cohort) -> None:
    rows, ids = cohort.radiomics, list(cohort.radiomics["case_id"])
    paths = written(cohort, rows.iloc[9:], rows.iloc[:0], rows.iloc[:9])
    assert list(gather(ids[::-1], ids, paths)["case_id"]) == ids[::-1]


@pytest.mark.parametrize(
    ("rows", "known", "named"),
    [
        ([0, 1], 3, "missing: case_02"),
        ([0, 1, 2, 2], 3, "there twice: case_02"),
        ([0, 1, 2], 2, "of no case of the set: case_02"),
    ],
)
def test_a_missing_a_double_and_a_strange_case_are_refused_by_name(
    cohort: Cohort, rows: list[int], known: int, named: str
) -> None:
    ids = list(cohort.radiomics["case_id"])[:known]
    with pytest.raises(UserError, match=rf"exactly once \({named}\); delete this folder and run again"):
        gather(ids, ids, written(cohort, cohort.radiomics.iloc[rows]))


# ---- bad input: a row with its reason, n, and nothing filled with zeros


VALUES = ["spearman_rho", "p", "q", "rho_given_volume", "p_given_volume", "q_given_volume"]


def untested(table: pd.DataFrame, feature: str, reason: str, n: int) -> None:
    """Assert that a feature has its row, with the number of patients and the reason, and no value."""
    row = table.loc[feature]
    assert row[VALUES].isna().all()
    assert reason in row["note"]
    assert row["n"] == n


def test_empty_masks_leave_out_their_cases_and_no_others(cohort: Cohort) -> None:
    cohort.set(SIZE, np.nan, slice(0, 3))
    for feature in (LEVEL, SPREAD, TEXTURE):
        cohort.set(feature, np.nan, slice(0, 3))
    _, table = cohort.run()
    assert (table["n"] == 21).all()
    joined = cohort.radiomics.iloc[3:].merge(cohort.scores, on="case_id")
    assert table["spearman_rho"][LEVEL] == pytest.approx(spearmanr(joined[LEVEL], joined["hausdorff"]).statistic)


def test_features_of_no_case_have_a_row_with_the_reason(cohort: Cohort) -> None:
    for feature in (SIZE, LEVEL, SPREAD, TEXTURE):
        cohort.set(feature, np.nan)
    _, table = cohort.run()
    for feature in table.index:
        untested(table, feature, "0 patients with a value: fewer than 3 to test", 0)
        assert "fewer than two values among the worst and best cases" in table["note"][feature]
    assert (table[["n_worst", "n_best"]] == 0).all(axis=None)
    assert table[["cohens_d", "mean_worst", "sd_pooled", "d_null_95"]].isna().all(axis=None)


def test_a_feature_that_flat_masks_lack_is_correlated_over_the_others(cohort: Cohort) -> None:
    cohort.set(SPREAD, np.nan, slice(0, 4))
    _, table = cohort.run()
    assert table["n"].to_dict() == {SIZE: 24, LEVEL: 24, SPREAD: 20, TEXTURE: 24}
    joined = cohort.radiomics.iloc[4:].merge(cohort.scores, on="case_id")
    assert table["spearman_rho"][SPREAD] == pytest.approx(spearmanr(joined[SPREAD], joined["hausdorff"]).statistic)


def test_a_single_grey_level_makes_a_constant_texture_which_says_so(cohort: Cohort) -> None:
    cohort.set(TEXTURE, 1.0)
    _, table = cohort.run()
    untested(table, TEXTURE, "the feature is the same in every patient", 24)
    assert "the feature is the same in every one of the extremes" in table["note"][TEXTURE]
    assert not table["representative"][TEXTURE]
    assert table["q"].notna().sum() == 3


def test_a_metric_that_is_the_same_in_all_cases_is_correlated_with_nothing(cohort: Cohort) -> None:
    cohort.set("hausdorff", 12.0)
    _, table = cohort.run()
    for feature in table.index:
        untested(table, feature, "the metric is the same in every patient", 24)


def test_a_region_that_no_case_has_leaves_rows_and_no_values(cohort: Cohort) -> None:
    cohort.set("hausdorff", np.nan)
    _, table = cohort.run()
    for feature in table.index:
        untested(table, feature, "0 patients with a value", 0)
    assert table[["cohens_d", "d_null_95"]].isna().all(axis=None)


@pytest.mark.parametrize(("n", "tested"), [(2, False), (3, True), (4, True), (5, True)])
def test_two_cases_a_group_and_fewer_are_told_and_not_tested_beyond_what_they_allow(
    tmp_path: Path, n: int, tested: bool
) -> None:
    cohort = Cohort(tmp_path, n)
    _, table = cohort.run()
    assert (table["n"] == n).all()
    assert table["p"].notna().all() == tested
    assert table["rho_ci_low"].notna().any() == (n > 3)
    assert (table["n_worst"] == n // 2).all()
    assert table["cohens_d"].notna().all() == (n > 3)
    assert not (table[["spearman_rho", "cohens_d"]] == 0).any(axis=None)


def test_tumours_of_one_volume_leave_nothing_to_hold_equal(cohort: Cohort) -> None:
    cohort.set("volume_truth_ml", 40.0)
    _, table = cohort.run()
    assert table["p"].notna().all()
    assert table["q_given_volume"].isna().all()
    assert table["note"].str.contains("tumour volume is the same in every patient, or unknown").all()


def test_a_set_of_no_case_is_a_table_of_rows_without_values() -> None:
    radiomics = pd.DataFrame({"case_id": ["a"], "patient_id": ["a"], "image": "flair", "region": "WT", LEVEL: [np.nan]})
    ranked = pd.DataFrame({"case_id": [], "patient_id": [], "value": []})
    extremes = pd.DataFrame({"group": [], "case_id": []})
    table = associate(radiomics, ranked, {"WT": pd.Series([1.0], ["a"])}, extremes, complete=True)
    assert table["n"].tolist() == [0]
    assert table[["spearman_rho", "cohens_d"]].isna().all(axis=None)
