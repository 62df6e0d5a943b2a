from pathlib import Path

import numpy as np
import pytest

from ensemble_models import merge_label, probability_files
from glioflow.console import UserError


def test_a_label_is_taken_from_the_member_and_never_overwrites_another():
    mean = np.array([0, 2, 2, 1, 3, 0], np.uint8)
    member = np.array([2, 2, 0, 2, 2, 1], np.uint8)
    assert merge_label(mean, member, 2).tolist() == [2, 2, 0, 1, 3, 0]


def test_merging_changes_neither_input():
    mean, member = np.array([2, 0], np.uint8), np.array([0, 2], np.uint8)
    merge_label(mean, member, 2)
    assert (mean.tolist(), member.tolist()) == ([2, 0], [0, 2])


def test_probabilities_come_from_the_fold_that_validated_the_case_or_from_the_predictions(tmp_path):
    for folder in ("fold_1", "test/probabilities"):
        (tmp_path / folder).mkdir(parents=True)
        for ending in (".npz", ".pkl"):
            (tmp_path / folder / f"a{ending}").touch()
    table = tmp_path / "test/predictions.csv"
    assert probability_files("a", "m", table, {"a": tmp_path / "fold_1"})[".npz"] == tmp_path / "fold_1/a.npz"
    assert probability_files("a", "m", table, {})[".pkl"] == tmp_path / "test/probabilities/a.pkl"


def test_missing_probabilities_name_the_case_the_model_and_the_files():
    with pytest.raises(UserError, match=r"a: the model 'm' left no probabilities \(nowhere/probabilities/a.npz, "):
        probability_files("a", "m", Path("nowhere/predictions.csv"), {})
