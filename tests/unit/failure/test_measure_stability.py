"""ICC by the published example and by another formula; perturbations by hand; the table of stable features."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from test_radiomics import box_mask, brain_like, volume

import measure_stability
from glioflow.console import Console, UserError
from glioflow.failure.feature_variants import PERTURBATIONS, noise_sd, perturb
from glioflow.failure.icc import agreement
from glioflow.failure.radiomics_table import gather_variants, mark_unstable
from glioflow.files import read_table, write_table

# Shrout and Fleiss 1979, table 2: six targets by four judges; their table 4 has ICC(2,1) = .29.
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def by_covariances(table: NDArray[np.float64]) -> float:
    """Return ICC(2,1) from the covariances of the measurements instead of mean squares."""
    n, k = table.shape
    covariances = np.cov(table.T)
    together = covariances[~np.eye(k, dtype=bool)].mean()
    alone = np.diag(covariances).mean()
    shift = table.mean(axis=0).var(ddof=1) - (alone - together) / n
    return float(together / (alone + shift))


def test_the_published_example_comes_out() -> None:
    found = agreement(RATINGS)
    assert (found.n, round(found.icc, 2)) == (6, 0.29)
    assert (round(found.ci_low, 2), round(found.ci_high, 2)) == (0.02, 0.76)  # as R's psych and pingouin give it


@settings(deadline=None, max_examples=100)
@given(arrays(float, st.tuples(st.integers(3, 12), st.integers(2, 5)), elements=st.integers(-50, 50).map(float)))
def test_icc_is_that_of_the_covariances_and_inside_its_interval(table: NDArray[np.float64]) -> None:
    found = agreement(table)
    if not found.note:
        assert found.icc == pytest.approx(by_covariances(table), abs=1e-9)
        assert found.ci_low - 1e-9 <= found.icc <= found.ci_high + 1e-9
        assert found.icc <= 1


def test_measurements_that_turn_the_cases_round_have_a_value_and_no_interval() -> None:
    found = agreement([[0, 0], [0, 0], [1, -1]])
    assert (round(found.icc, 9), found.note) == (-1, "the interval is undefined")
    assert np.isnan([found.ci_low, found.ci_high]).all()


def test_the_interval_holds_the_true_value_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        cases, shifts = rng.normal(0, 1, (20, 1)), rng.normal(0, 0.3, (1, 4))
        found = agreement(cases + shifts + rng.normal(0, 0.5, (20, 4)))
        held += found.ci_low <= 1 / (1 + 0.3**2 + 0.5**2) <= found.ci_high
    assert 0.92 <= held / 400 <= 0.98


def test_a_shift_of_all_cases_counts_as_disagreement() -> None:
    values = np.arange(10.0)
    assert agreement(np.column_stack([values, values])).icc == 1
    assert agreement(np.column_stack([values, values + 10])).icc < 0.5


@pytest.mark.parametrize(
    ("table", "note"),
    [
        ([[1, 2], [3, 4]], "fewer than 3 cases have every measurement"),
        ([[1, 2], [3, 4], [5, np.nan], [np.inf, 1]], "fewer than 3 cases have every measurement"),
        ([[2, 2], [2, 2], [2, 2]], "all values are equal"),
    ],
)
def test_where_there_is_no_icc_a_note_says_why(table: list[list[float]], note: str) -> None:
    found = agreement(table)
    assert found.note == note
    assert np.isnan([found.icc, found.ci_low, found.ci_high]).all()


def test_masks_lose_and_gain_the_voxels_at_their_faces() -> None:
    mask = box_mask((9, 9, 9), (3, 3, 3), (3, 3, 3))
    image = volume(np.ones(mask.shape))
    assert [perturb(image, mask, kind, 0)[1].sum() for kind in PERTURBATIONS] == [27, 1, 27 + 6 * 9, 27]


def test_noise_is_as_strong_as_what_is_there_repeatable_and_spares_the_background() -> None:
    rng = np.random.default_rng(1)
    data = np.zeros((40, 40, 40))
    data[5:-5, 5:-5, 5:-5] = 500 + np.arange(30) + rng.normal(0, 12, (30, 30, 30))
    assert noise_sd(data) == pytest.approx(12, rel=0.05)
    one, other, again = (perturb(volume(data), data > 0, "noise", seed)[0].data for seed in (1, 2, 1))
    assert (one == again).all()
    assert (one != other).any()
    assert (one[data == 0] == 0).all()
    assert np.std((one - data)[data != 0]) == pytest.approx(noise_sd(data), rel=0.05)


def test_an_image_without_2_x_2_x_2_voxels_has_no_noise() -> None:
    assert noise_sd(np.zeros((5, 5, 5))) == 0


def varied() -> pd.DataFrame:
    """Return five cases under every perturbation, with a steady, an unsteady, a constant and a mostly missing feature."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "case_id": f"c{case}",
            "patient_id": f"p{case}",
            "image": "flair",
            "mask": "truth",
            "region": region,
            "grey_levels": 20,
            "variant": kind,
            "original_glcm_Steady": case + 0.01 * place,
            "original_glcm_Unsteady": rng.normal(),
            "original_shape_Constant": 1.0,
            "original_ngtdm_Missing": 1.0 * case if case < 2 else np.nan,
            "note": pd.NA,
        }
        for case in range(5)
        for region in ("WT", "ET")
        for place, kind in enumerate(PERTURBATIONS)
    ]
    return pd.DataFrame(rows)


def tables_of_set(folder: Path) -> dict[str, str]:
    """Write the scores and the manifest of the cases of ``varied``; of a further one another image takes flair's place."""
    ids = [f"c{case}" for case in range(6)]
    write_table(folder / "scores.csv", pd.DataFrame({"case_id": ids, "patient_id": ids, "label": "WT"}))
    substituted = [pd.NA] * 5 + ["flair=t2"]
    write_table(folder / "manifest.csv", pd.DataFrame({"case_id": ids, "patient_id": ids, "substituted": substituted}))
    return {name: str(folder / f"{name}.csv") for name in ("scores", "manifest")}


def test_the_least_stable_come_first_image_by_region_and_undefined_ones_last(tmp_path: Path) -> None:
    whole = varied()
    for shard in (0, 1):
        write_table(tmp_path / f"{shard}.csv", whole[whole["case_id"].isin(["c0", "c1"]) == bool(shard)])
    job = SimpleNamespace(
        input=SimpleNamespace(shards=[str(tmp_path / f"{shard}.csv") for shard in (0, 1)], **tables_of_set(tmp_path)),
        params=SimpleNamespace(images=["flair"], regions=["WT", "ET"], ranked="WT"),
        output=SimpleNamespace(stability=str(tmp_path / "stability.csv")),
    )
    assert measure_stability.main(job, Console()) == "2 of 8 features stable, 2 not, 4 undefined"
    table = read_table(tmp_path / "stability.csv")
    assert list(table.columns) == list(measure_stability.COLUMNS)
    assert list(table["region"]) == ["WT"] * 4 + ["ET"] * 4
    first = table.head(4).set_index("feature")
    assert list(first.index[:2]) == ["original_glcm_Unsteady", "original_glcm_Steady"]
    assert list(first["stable"][:2].astype(bool)) == [False, True]
    assert list(first["n"]) == [5, 5, 5, 2]
    assert first["stable"][2:].isna().all()
    assert list(first["note"][2:]) == ["all values are equal", "fewer than 3 cases have every measurement"]


def test_a_row_that_is_there_twice_or_not_at_all_is_refused_by_its_case(tmp_path: Path) -> None:
    write_table(tmp_path / "1-of-2.csv", varied())
    write_table(tmp_path / "2-of-2.csv", varied().head(1))
    shown = [(f"c{case}", "flair", region) for case in range(5) for region in ("WT", "ET")]
    with pytest.raises(UserError, match="exactly once \\(there twice: c0\\); delete this folder"):
        gather_variants([tmp_path / "1-of-2.csv", tmp_path / "2-of-2.csv"], shown)
    with pytest.raises(UserError, match=r"missing: c5 flair WT"):
        gather_variants([tmp_path / "1-of-2.csv"], [*shown, ("c5", "flair", "WT")])


def test_a_case_of_a_mask_that_erosion_removes_has_no_value_there() -> None:
    image, _ = brain_like()
    eroded = perturb(volume(image), box_mask(image.shape, (5, 5, 5), (4, 4, 1)), "eroded", 0)[1]
    assert not eroded.any()


def test_unstable_features_are_marked_by_image_region_and_name() -> None:
    stability = pd.DataFrame(
        {
            "image": ["flair", "flair", "t1ce"],
            "region": "WT",
            "feature": ["a", "b", "a"],
            "stable": pd.array([False, True, pd.NA], "boolean"),
        }
    )
    table = stability[["image", "region", "feature"]].iloc[::-1]
    assert list(mark_unstable(table, stability)["unstable"]) == [False, False, True]
    assert not mark_unstable(table, None)["unstable"].any()
