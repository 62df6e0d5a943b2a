"""What may be said of features: only what all cases bear out, and as plainly that nothing was found."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glioflow.failure.associations import COLUMNS, EXTREMES_ALONE, IS_VOLUME_NOTE
from glioflow.failure.correlations import largest_missed
from glioflow.report.claims import feature_claims, finding_words, findings, representatives, size_words

SIZE, TEXTURE, LEVEL, SHAPE = (
    *("original_shape_MeshVolume", "original_glcm_Idm", "original_firstorder_Mean", "original_shape_Sphericity"),
)
GROUPS = {SIZE: "size", TEXTURE: "homogeneity", LEVEL: "level", SHAPE: "shape"}
# A feature goes along with the metric. It does nothing to it, and tells nothing of the next patient.
FORBIDDEN = r"caus|expla|predict|because|due to|lead|driv|determin|influenc|effect|\bd\b ="


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return associations in which each row is its own cluster, goes along with the metric by chance, and has 40 patients."""
    filled = []
    for number, row in enumerate(rows):
        feature = row.get("feature", SIZE)
        usual = {"image": "flair", "region": "WT", "feature": feature, "meaning_group": GROUPS.get(feature, "other")}
        usual |= {"cluster": number + 1, "representative": True, "n": 40, "spearman_rho": 0.1, "p": 0.5, "q": 0.6}
        usual |= {"rho_ci_low": -0.2, "rho_ci_high": 0.4, "rho_given_volume": 0.05, "q_given_volume": 0.9, "cohens_d": 3.1}
        filled.append({**usual, **row})
    return pd.DataFrame(filled).reindex(columns=list(COLUMNS))


def found(feature: str, **changed: Any) -> dict[str, Any]:
    row = {"feature": feature, "spearman_rho": -0.6, "rho_ci_low": -0.8, "rho_ci_high": -0.3, "p": 1e-4, "q": 0.003}
    return {**row, **changed}


def say(associations: pd.DataFrame) -> str:
    return feature_claims(associations, "hausdorff", "WT").replace("\u00a0", " ")


def test_a_feature_found_over_all_cases_is_named_with_its_numbers() -> None:
    assert say(table(found(SIZE), {"feature": SHAPE})) == (
        "Over 40 patients, the Hausdorff distance of WT falls with Mesh volume (shape, ρ = −0.60 [−0.80, −0.30], q = 0.003)."
    )


def test_a_feature_that_chance_may_have_made_is_not_named_however_large_its_d() -> None:
    said = say(table(found(SIZE, q=0.051, cohens_d=-24.0), {"feature": TEXTURE, "cohens_d": 9.0}))
    assert not re.search("Mesh|Inverse|24|9", said)
    assert said == (
        "Over 40 patients, none of 2 features goes along with the Hausdorff distance of WT more than chance may do (q ≥ 0.05). "
        f"That is no proof of absence: a correlation up to |ρ| = {largest_missed(40, 2):.2f} could have been missed (80 % "
        "power, one feature among 2)."
    )


@pytest.mark.parametrize("feature", [TEXTURE, LEVEL, "original_glcm_Unheard"])
@pytest.mark.parametrize("q_given_volume", [0.05, 0.7])
def test_a_texture_or_an_intensity_that_vanishes_at_equal_volume_is_as_expected_from_size(
    feature: str, q_given_volume: float
) -> None:
    assert say(table(found(feature, q_given_volume=q_given_volume))).endswith("q = 0.003), as expected from size.")


def test_a_texture_that_is_volume_is_as_expected_and_one_without_volumes_was_not_tested() -> None:
    said = say(table(found(TEXTURE, q_given_volume=np.nan, note=IS_VOLUME_NOTE)))
    assert said.endswith("q = 0.003), as expected from size.")
    assert say(table(found(TEXTURE, q_given_volume=np.nan))).endswith("q = 0.003), not tested at equal tumour volume.")


def test_a_texture_that_stays_at_equal_volume_says_so() -> None:
    said = say(table(found(TEXTURE, q_given_volume=0.02, rho_given_volume=-0.5)))
    assert said.endswith("q = 0.003), at equal tumour volume too (ρ = −0.50, q = 0.020).")
    assert "as expected" not in said


@pytest.mark.parametrize("feature", [SIZE, SHAPE])
def test_a_size_or_a_shape_is_not_held_against_size(feature: str) -> None:
    assert "volume too" not in say(table(found(feature, q_given_volume=0.001)))
    assert "expected" not in say(table(found(feature)))
    assert size_words({"meaning_group": GROUPS[feature], "q_given_volume": 0.001}) == ""


@pytest.mark.parametrize("n", [0, 3, 9])
def test_below_ten_patients_nothing_is_claimed(n: int) -> None:
    said = say(table(found(SIZE, n=n)))
    assert "Mesh" not in said
    assert said.startswith("Nothing is claimed of features:")
    assert "(10 are the least)" in said
    assert "Mesh volume" in say(table(found(SIZE, n=10)))


def test_of_the_extremes_alone_nothing_is_claimed_and_the_remedy_is_named() -> None:
    nothing = {"p": np.nan, "q": np.nan, "spearman_rho": np.nan, "note": f"{EXTREMES_ALONE}; something"}
    assert say(table(found(SIZE, **nothing))) == (
        "No feature could be tested against the Hausdorff distance of WT: features of the extremes alone: nothing is "
        "correlated (failure.cases: all tests them)."
    )


def test_why_nothing_could_be_tested_is_said_once() -> None:
    nothing = {"p": np.nan, "q": np.nan, "spearman_rho": np.nan, "note": "the metric is the same in every patient"}
    assert say(table({**nothing}, {"feature": SHAPE, **nothing})).endswith(": the metric is the same in every patient.")


def test_of_features_that_tell_the_same_one_is_named_and_the_others_are_counted() -> None:
    same = {"cluster": 7, "representative": False}
    said = say(table(found(LEVEL, cluster=7, p=1e-3), found(TEXTURE, **same, p=1e-5), found(SIZE, **same, q=0.2, p=0.1)))
    assert said.count("falls with") == 1
    assert "Inverse difference moment (GLCM, ρ = −0.60 [−0.80, −0.30], q = 0.003, one of 3 features that tell the same)" in said


def test_no_more_than_three_are_named_the_smallest_p_first_and_the_rest_is_counted() -> None:
    features = [f"original_glcm_Made{letter}" for letter in "ABCDE"]
    said = say(table(*(found(name, p=0.001 / (place + 1)) for place, name in enumerate(features))))
    assert re.findall(r"with (Made \w)", said) == ["Made e", "Made d", "Made c"]
    assert said.endswith("2 further findings are in the table.")
    assert say(table(*(found(name) for name in features[:4]))).endswith("1 further finding is in the table.")


def test_where_there_are_several_images_the_place_is_named() -> None:
    rows = [found(SIZE), {"image": "t1ce", "feature": SHAPE}]
    assert "Mesh volume (shape, WT in FLAIR, ρ" in say(table(*rows))


def test_a_rising_correlation_rises() -> None:
    words = finding_words(table(found(SIZE, spearman_rho=0.4)).assign(stands_for=1).iloc[0].to_dict())
    assert words.startswith("rises with")


def test_representatives_say_how_many_they_stand_for() -> None:
    shown = representatives(table({"cluster": 1}, {"cluster": 1, "representative": False, "feature": SHAPE}, {"cluster": 2}))
    assert shown["stands_for"].tolist() == [2, 1]


ROWS = st.fixed_dictionaries(
    {
        "feature": st.sampled_from([SIZE, TEXTURE, LEVEL, SHAPE]),
        "cluster": st.integers(1, 3),
        "n": st.integers(0, 60),
        "q": st.floats(0, 1) | st.just(np.nan),
        "q_given_volume": st.floats(0, 1) | st.just(np.nan),
        "spearman_rho": st.floats(-1, 1),
    }
)


@given(st.lists(ROWS, min_size=1, max_size=6))
def test_whatever_the_table_no_forbidden_word_is_said_and_nothing_named_without_a_finding(
    rows: list[dict[str, Any]],
) -> None:
    associations = table(*({**row, "p": row["q"]} for row in rows))
    said = say(associations)
    assert not re.search(FORBIDDEN, said)
    claimed = (associations["q"] < 0.05) & (associations["n"] >= 10)
    assert len(findings(associations)) == associations[claimed]["cluster"].nunique()
    if not claimed.any():
        assert "rises" not in said and "falls" not in said
