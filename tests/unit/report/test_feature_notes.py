"""Sentences on the grey levels and the firmness of features, from tables whose answers are known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from glioflow.report.feature_notes import (
    binning_sentence,
    features_words,
    grey_level_sentences,
    stability_sentence,
)


def radiomics(levels: list[Any], image: str = "flair", region: str = "WT") -> pd.DataFrame:
    return pd.DataFrame({"case_id": range(len(levels)), "image": image, "region": region, "grey_levels": levels})


def test_usual_grey_levels_are_not_spoken_of() -> None:
    assert list(grey_level_sentences(radiomics([16, 64, 128, np.nan]))) == []


def test_unusual_grey_levels_are_told_with_how_many_cases_have_them() -> None:
    (said,) = grey_level_sentences(radiomics([15, 64, 129, np.nan]))
    assert said.startswith("2 of 3 cases have 15 to 129 grey levels in WT in flair, where 16 to 128 are usual: ")
    (said,) = grey_level_sentences(pd.concat([radiomics([20]), radiomics([2], "t1ce", "ET")]))
    assert said.startswith("1 of 1 case has 2 grey levels in ET in t1ce")


def test_stable_features_are_counted_and_the_classes_of_the_others_named() -> None:
    table = pd.DataFrame(
        {
            "image": "flair",
            "region": "WT",
            "feature_group": ["glcm", "glcm", "shape", "ngtdm", "gldm"],
            "stable": [True, False, False, False, pd.NA],
            "n": [9, 10, 10, 10, 2],
        }
    )
    other = table.assign(region="ET", stable=True)
    assert stability_sentence(pd.concat([table, other], ignore_index=True)) == (
        "1 of 5 features are stable when the mask is eroded or dilated by a voxel or noise is added (ICC(2,1) of 0.75 or more, "
        "over 10 cases); not 1 of GLCM, 1 of Shape and 1 of NGTDM. All are in stability.csv. "
        "Below 30 cases such a number is rough."
    )


def binning(rhos: list[float]) -> pd.DataFrame:
    """Return a class of features under half, the same and twice the width, then so without normalisation."""
    notes = [pd.NA, "the study's own", *[pd.NA] * 4]
    normalise = [True] * 3 + [False] * 3
    return pd.DataFrame({"image": "flair", "region": "WT", "normalise": normalise, "rho_median": rhos, "note": notes})


def test_the_least_agreement_with_other_bins_and_without_normalisation_is_told() -> None:
    assert binning_sentence(binning([0.9, 1.0, 0.8, 0.7, 0.6, 0.65])) == (
        "Over the cases, the features' values keep their order to a rank correlation of 0.80 with half or twice the bins' "
        "width and 0.60 with images as they are (the median of the class that keeps it least; 1 is the same order). All are in "
        "binning.csv."
    )


def test_where_no_agreement_is_defined_that_is_said() -> None:
    assert binning_sentence(binning([np.nan, 1.0, np.nan, np.nan, np.nan, np.nan])).endswith("varies in enough cases.")


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (
            {"radiomics": "p.yaml", "image": ["t1ce", "flair"], "feature_regions": ["WT", "ET"]},
            "in the truth mask of WT and ET on T1ce and FLAIR, images, features and settings by the parameter file p.yaml",
        ),
        (
            {"radiomics": None, "normalise": True, "bin_width": 25.0},
            "in the truth mask of TC on FLAIR, all classes of the original image, "
            "normalised over the image (mean 0, standard deviation 100), bin width 25",
        ),
        (
            {"radiomics": None, "normalise": False, "bin_width": 2.5},
            "in the truth mask of TC on FLAIR, all classes of the original image, not normalised, bin width 2.5",
        ),
    ],
)
def test_the_definitions_say_what_features_are_of(failure: dict[str, Any], words: str) -> None:
    assert features_words({"image": "flair", "region": "TC", "feature_regions": None, "mask": "truth", **failure}) == words
