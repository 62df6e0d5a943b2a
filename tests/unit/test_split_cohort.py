import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glioflow.console import UserError
from glioflow.splits import draw_test_patients, split_cases
from split_cohort import refuse_errors
from verify_cohort import PROBLEM_COLUMNS, problem_row


def cohort(patients: list[int]) -> pd.DataFrame:
    """A manifest in which patient ``n`` has ``patients[n]`` cases, with volumes that grow with n."""
    rows = [
        (f"p{n}_{session}", f"p{n}", 10.0 * n + session) for n, sessions in enumerate(patients) for session in range(sessions)
    ]
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "volume_WT_ml"])


sizes = st.lists(st.integers(1, 3), min_size=4, max_size=40)


@given(sizes, st.floats(0.05, 0.5), st.integers(0, 9), st.integers(2, 3))
@settings(max_examples=60, deadline=None)
def test_no_patient_is_in_two_sets_or_two_folds(patients, fraction, seed, folds):
    manifest = cohort(patients)
    if len(patients) - max(1, round(fraction * len(patients))) < folds:
        return
    split = split_cases(manifest, fraction, seed, [folds])
    assert set(split["case_id"]) == set(manifest["case_id"])
    assert split.groupby("patient_id")["set"].nunique().max() == 1
    training = split[split["set"] == "train"]
    assert training.groupby("patient_id")[f"fold_of_{folds}"].nunique().max() == 1
    assert set(training[f"fold_of_{folds}"]) == set(range(folds))
    assert split.loc[split["set"] == "test", f"fold_of_{folds}"].isna().all()


@given(sizes, st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows(patients, seed):
    manifest = cohort(patients)
    shuffled = manifest.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(split_cases(manifest, 0.25, seed, [2]), split_cases(shuffled, 0.25, seed, [2]))


def test_another_seed_draws_another_split():
    splits = [split_cases(cohort([1] * 20), 0.25, seed, []) for seed in range(5)]
    assert len({tuple(split["set"]) for split in splits}) == 5
    folds = [split_cases(cohort([1] * 20), 0, seed, [4])["fold_of_4"] for seed in range(5)]
    assert len({tuple(column) for column in folds}) == 5


def test_folds_have_equal_size_and_like_volumes():
    manifest = cohort([1] * 40)
    split = split_cases(manifest, 0, 3, [5]).merge(manifest)
    by_fold = split.groupby("fold_of_5")["volume_WT_ml"]
    assert by_fold.size().tolist() == [8] * 5
    assert np.ptp(by_fold.mean()) <= 40  # each fold has one of every five neighbours, 10 ml apart


def test_the_held_out_come_one_from_each_stratum_of_volume():
    patients = [f"p{n:02d}" for n in range(20)]
    drawn = draw_test_patients(patients, 0.25, 1)
    assert sorted(drawn.values()) == [0, 1, 2, 3, 4]
    assert all(patients.index(patient) // 4 == stratum for patient, stratum in drawn.items())


def test_models_with_different_numbers_of_folds_share_the_test_set():
    split = split_cases(cohort([1] * 12), 0.25, 0, [3, 9, 3])
    assert [column for column in split if column.startswith("fold_of_")] == ["fold_of_3", "fold_of_9"]


def test_without_a_test_fraction_every_case_trains():
    assert set(split_cases(cohort([1, 2]), 0, 0, [])["set"]) == {"train"}


def test_more_folds_than_patients_is_refused():
    with pytest.raises(ValueError, match="5 folds need 5 training patients; there are 3"):
        split_cases(cohort([1, 1, 2]), 0, 0, [5])


def test_a_cohort_with_errors_stops_with_all_of_them_listed():
    rows = [problem_row("a", "a.nii", "x", "this", "that"), problem_row("b", "b.nii", "y", "these", "those")]
    rows.append(problem_row("c", "c.nii", "z", "hm", "ah", "warning"))
    with pytest.raises(UserError) as caught:
        refuse_errors(pd.DataFrame(rows, columns=PROBLEM_COLUMNS), "demo", "verification.csv")
    message = str(caught.value)
    assert "2 problems in 2 cases; nothing was trained" in message
    assert "a, a.nii: found this; expected that" in message
    assert "b, b.nii: found these; expected those" in message
    assert "hm" not in message


def test_warnings_alone_pass():
    refuse_errors(pd.DataFrame([problem_row("c", "", "z", "hm", "ah", "warning")]), "demo", "verification.csv")
