"""The settings that are tried, and how far the cases keep their order under them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import measure_binning
from glioflow.failure.feature_variants import REFERENCE, binning_variants, bins_of
from glioflow.failure.radiomics_parameters import default_parameters

CASES = 8


def settings_of(parameters: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(bins_of(used), used["setting"].get("normalize")) for used in binning_variants(parameters).values()]


def test_half_and_twice_the_width_are_tried_with_and_without_normalisation() -> None:
    widths = [((12.5, None)), ((25.0, None)), ((50.0, None))]
    assert settings_of(default_parameters()) == [*((w, True) for w in widths), *((w, False) for w in widths)]
    assert binning_variants(default_parameters())[REFERENCE] == default_parameters()


def test_a_fixed_number_of_bins_varies_itself() -> None:
    tried = settings_of({"setting": {"binCount": 32}})
    assert [bins for bins, _ in tried[:3]] == [(None, 16), (None, 32), (None, 64)]
    assert [normalised for _, normalised in tried] == [None, None, None, True, True, True]


def test_an_images_own_bin_width_varies_along() -> None:
    parameters = {"imageType": {"Original": {}, "LoG": {"sigma": [2.0], "binWidth": 10}}}
    tried = list(binning_variants(parameters).values())
    assert [used["imageType"]["LoG"]["binWidth"] for used in tried[:3]] == [5, 10, 20]
    assert [used["setting"]["binWidth"] for used in tried[:3]] == [12.5, 25, 50]
    assert parameters == {"imageType": {"Original": {}, "LoG": {"sigma": [2.0], "binWidth": 10}}}


def varied() -> pd.DataFrame:
    """Return cases under every setting: one texture keeps its order, one turns it with other widths, the shape is left out."""
    rows = []
    for place, name in enumerate(binning_variants(default_parameters())):
        for case in range(CASES):
            value = float(case) if name == REFERENCE or "true" not in name else -float(case)
            rows.append(
                {
                    "case_id": f"c{case}",
                    "image": "flair",
                    "region": "WT",
                    "variant": name,
                    "grey_levels": 10 + place,
                    "original_glcm_Keeps": case**2 + place,
                    "original_glcm_Turns": value,
                    "original_gldm_Constant": 2.0,
                    "original_shape_Same": 1.0 * case,
                    "note": pd.NA,
                }
            )
    return pd.DataFrame(rows)


def test_order_that_is_kept_is_1_and_order_that_is_turned_is_minus_1() -> None:
    table = measure_binning.binning_table(varied(), default_parameters())
    assert list(table.columns) == list(measure_binning.COLUMNS)
    assert len(table) == 6 * 2
    assert set(table["feature_group"]) == {"glcm", "gldm"}
    glcm = table[table["feature_group"] == "glcm"]
    assert list(glcm["rho_lowest"]) == [-1, 1, -1, 1, 1, 1]
    assert list(glcm["rho_median"]) == [0, 1, 0, 1, 1, 1]
    assert list(glcm["grey_levels"]) == [10, 11, 12, 13, 14, 15]
    assert list(glcm["bin_width"]) == [12.5, 25, 50] * 2
    assert list(glcm["normalise"]) == [True] * 3 + [False] * 3
    assert list(glcm["note"].notna()) == [False, True, False, False, False, False]
    assert list(glcm["n"]) == [CASES] * 6
    constant = table[table["feature_group"] == "gldm"]
    assert constant["rho_median"].isna().all()
    assert set(constant["note"].dropna()) == {"the study's own", "no feature varies in 3 cases or more"}


def test_rank_agreement_is_spearmans_correlation_of_the_cases_that_have_both() -> None:
    rng = np.random.default_rng(0)
    one, other = pd.Series(rng.normal(size=9)), pd.Series(rng.normal(size=9))
    other[3] = np.nan
    n, rho = measure_binning.rank_agreement(one, other)
    ranks = np.corrcoef(one[other.notna()].rank(), other.dropna().rank())[0, 1]
    assert (n, rho) == (8, pytest.approx(ranks))
    assert rho == pytest.approx(stats.spearmanr(one, other, nan_policy="omit").statistic)


@pytest.mark.parametrize("other", [[1.0, 1.0, 1.0], [np.nan, 1.0, 2.0]])
def test_there_is_no_agreement_of_equal_values_or_of_two_cases(other: list[float]) -> None:
    assert np.isnan(measure_binning.rank_agreement(pd.Series([1.0, 2.0, 3.0]), pd.Series(other))[1])
