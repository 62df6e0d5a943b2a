import pytest

from glioflow.console import Console, UserError
from glioflow.files import read_json, write_json
from train_fold import STATE, locked, take_place


def fold_of(root, key, weights):
    """A fold folder that holds a training with this key."""
    folder = root / "fold_0"
    folder.mkdir()
    write_json(folder / STATE, {"key": key})
    (folder / "checkpoint_latest.pth").write_text(weights)
    return folder


def test_a_fold_of_the_same_key_stays_where_it_is(tmp_path):
    folder = fold_of(tmp_path, "a" * 64, "mine")
    take_place(folder, "a" * 64, Console())
    assert (folder / "checkpoint_latest.pth").read_text() == "mine"


def test_a_foreign_checkpoint_is_set_aside_not_resumed_and_not_lost(tmp_path):
    folder = fold_of(tmp_path, "a" * 64, "former")
    take_place(folder, "b" * 64, Console())
    assert list(folder.iterdir()) == []
    assert (tmp_path / "superseded" / f"fold_0_{'a' * 12}" / "checkpoint_latest.pth").read_text() == "former"


def test_a_training_set_aside_comes_back_when_its_key_does(tmp_path):
    folder = fold_of(tmp_path, "a" * 64, "first")
    take_place(folder, "b" * 64, Console())
    write_json(folder / STATE, {"key": "b" * 64})
    (folder / "checkpoint_latest.pth").write_text("second")
    take_place(folder, "a" * 64, Console())
    assert (folder / "checkpoint_latest.pth").read_text() == "first"
    assert read_json(folder / STATE)["key"] == "a" * 64
    take_place(folder, "b" * 64, Console())
    assert (folder / "checkpoint_latest.pth").read_text() == "second"


def test_a_checkpoint_that_nobody_vouches_for_is_never_resumed(tmp_path):
    folder = fold_of(tmp_path, "a" * 64, "stray")
    (folder / STATE).unlink()
    take_place(folder, "a" * 64, Console())
    assert list(folder.iterdir()) == []
    assert (tmp_path / "superseded/fold_0_unknown/checkpoint_latest.pth").exists()


def test_two_processes_cannot_train_one_fold(tmp_path):
    with (
        locked(tmp_path / "fold_0.lock"),
        pytest.raises(UserError, match="another process is training this fold"),
        locked(tmp_path / "fold_0.lock"),
    ):
        pass
    with locked(tmp_path / "fold_0.lock"):
        pass
