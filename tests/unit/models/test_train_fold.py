import os
import zipfile

import numpy as np
import pytest
from conftest import save

from glioflow.console import Console, UserError
from glioflow.files import read_json, write_json
from glioflow.models.fold_state import FINAL, STATE, is_whole, locked, prepare_fold
from train_fold import LATEST, PREVIOUS, prepare_checkpoints, prepare_validation


def fold_of(root, key, weights):
    """A fold folder that holds a training with this key."""
    folder = root / "fold_0"
    folder.mkdir()
    write_json(folder / STATE, {"key": key})
    (folder / "checkpoint_latest.pth").write_text(weights)
    return folder


def test_a_fold_of_the_same_key_stays_where_it_is(tmp_path):
    folder = fold_of(tmp_path, "a" * 64, "mine")
    prepare_fold(folder, "a" * 64, Console())
    assert (folder / "checkpoint_latest.pth").read_text() == "mine"


def test_a_stale_checkpoint_is_archived_not_resumed_and_not_lost(tmp_path):
    folder = fold_of(tmp_path, "a" * 64, "former")
    prepare_fold(folder, "b" * 64, Console())
    assert list(folder.iterdir()) == []
    assert (tmp_path / "superseded" / f"fold_0_{'a' * 12}" / "checkpoint_latest.pth").read_text() == "former"


def test_an_archived_training_comes_back_when_its_key_does(tmp_path):
    folder = fold_of(tmp_path, "a" * 64, "first")
    prepare_fold(folder, "b" * 64, Console())
    write_json(folder / STATE, {"key": "b" * 64})
    (folder / "checkpoint_latest.pth").write_text("second")
    prepare_fold(folder, "a" * 64, Console())
    assert (folder / "checkpoint_latest.pth").read_text() == "first"
    assert read_json(folder / STATE)["key"] == "a" * 64
    prepare_fold(folder, "b" * 64, Console())
    assert (folder / "checkpoint_latest.pth").read_text() == "second"


def test_a_checkpoint_that_nobody_vouches_for_is_never_resumed(tmp_path):
    folder = fold_of(tmp_path, "a" * 64, "stray")
    (folder / STATE).unlink()
    prepare_fold(folder, "a" * 64, Console())
    assert list(folder.iterdir()) == []
    assert (tmp_path / "superseded/fold_0_unknown/checkpoint_latest.pth").exists()


def test_two_processes_cannot_train_one_fold(tmp_path):
    with (
        locked(tmp_path / "fold_0"),
        pytest.raises(UserError, match="another process is training this fold"),
        locked(tmp_path / "fold_0"),
    ):
        pass
    with locked(tmp_path / "fold_0"):
        pass


def checkpoint(path, epoch):
    """A file as torch writes its checkpoints, made at an hour that follows the epoch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checkpoint/data.pkl", f"epoch {epoch} " * 50)
    os.utime(path, (1_000_000 + 3600 * epoch,) * 2)
    return path


def epoch_of(path):
    with zipfile.ZipFile(path) as archive:
        return int(archive.read("checkpoint/data.pkl").split()[1])


def flip(path):
    """Change a byte of what the archive holds, its size and its time left as they were."""
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def cut(path):
    """Leave the first half of a file, as a full disk does."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_checkpoint_is_usable_where_torch_wrote_it_and_no_byte_is_lost_or_changed(tmp_path):
    import torch

    path = tmp_path / "whole.pth"
    torch.save({"network_weights": torch.arange(1000.0)}, path)
    assert is_whole(path)
    for number, damage in enumerate((flip, cut, lambda path: path.write_bytes(b""))):
        damaged = tmp_path / f"{number}.pth"
        damaged.write_bytes(path.read_bytes())
        damage(damaged)
        assert not is_whole(damaged)
    assert not is_whole(tmp_path / "none.pth")


def test_a_fold_without_checkpoints_starts_anew(tmp_path):
    assert not prepare_checkpoints(tmp_path, Console())


def test_training_goes_on_from_the_latest_checkpoint_and_the_one_before_stays(tmp_path):
    checkpoint(tmp_path / PREVIOUS, 4)
    checkpoint(tmp_path / LATEST, 8)
    assert prepare_checkpoints(tmp_path, Console())
    assert (epoch_of(tmp_path / LATEST), epoch_of(tmp_path / PREVIOUS)) == (8, 4)


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_latest_gives_way_to_the_one_before_and_is_kept(tmp_path, damage, capsys):
    checkpoint(tmp_path / PREVIOUS, 4)
    damage(checkpoint(tmp_path / LATEST, 8))
    damaged = (tmp_path / LATEST).read_bytes()
    assert prepare_checkpoints(tmp_path, Console())
    assert epoch_of(tmp_path / LATEST) == 4
    assert (tmp_path / f"{LATEST}.damaged").read_bytes() == damaged
    assert f"{LATEST} is damaged" in capsys.readouterr().err


def test_a_kill_between_the_two_renames_costs_no_more_than_the_last_checkpoint(tmp_path):
    checkpoint(tmp_path / PREVIOUS, 8)
    checkpoint(tmp_path / "checkpoint_best.pth", 2)
    assert prepare_checkpoints(tmp_path, Console())
    assert epoch_of(tmp_path / LATEST) == 8


def test_a_damaged_final_checkpoint_is_trained_again_from_the_latest(tmp_path):
    checkpoint(tmp_path / LATEST, 8)
    cut(checkpoint(tmp_path / FINAL, 9))
    assert prepare_checkpoints(tmp_path, Console())
    assert not (tmp_path / FINAL).exists()
    assert (tmp_path / f"{FINAL}.damaged").exists()
    assert epoch_of(tmp_path / LATEST) == 8


def test_where_every_checkpoint_is_damaged_the_fold_starts_anew_and_loses_none(tmp_path):
    for name in (PREVIOUS, LATEST):
        cut(checkpoint(tmp_path / name, 1))
    assert not prepare_checkpoints(tmp_path, Console())
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{LATEST}.damaged", f"{PREVIOUS}.damaged"]


def test_a_finished_training_is_left_alone(tmp_path):
    checkpoint(tmp_path / FINAL, 9)
    checkpoint(tmp_path / PREVIOUS, 8)
    assert prepare_checkpoints(tmp_path, Console())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([FINAL, PREVIOUS])


def validated(fold):
    """A fold with validation masks of the cases a and b, with mirroring and without."""
    masks = np.random.default_rng(0).integers(0, 4, (9, 9, 9)).astype(np.uint8)
    for folder in ("validation", "without_tta/validation"):
        for case in "ab":
            save(fold / folder / f"{case}.nii.gz", masks)
    return fold


def masks_in(fold):
    return sorted(path.relative_to(fold).as_posix() for path in fold.rglob("*.nii.gz"))


def test_validation_goes_on_with_the_masks_that_are_whole(tmp_path):
    prepare_validation(tmp_path, "one", False, Console())
    validated(tmp_path)
    cut(tmp_path / "validation/a.nii.gz")
    cut(tmp_path / "without_tta/validation/b.nii.gz")
    prepare_validation(tmp_path, "one", False, Console())
    assert masks_in(tmp_path) == ["validation/b.nii.gz", "without_tta/validation/a.nii.gz"]


@pytest.mark.parametrize("before", ["other", None])
def test_validation_masks_of_another_key_or_of_none_are_removed(tmp_path, before):
    if before:
        prepare_validation(tmp_path, before, False, Console())
    validated(tmp_path)
    prepare_validation(tmp_path, "one", False, Console())
    assert masks_in(tmp_path) == []
    validated(tmp_path)
    prepare_validation(tmp_path, "one", False, Console())
    assert len(masks_in(tmp_path)) == 4


def test_a_validation_mask_whose_probabilities_are_expected_and_gone_is_none(tmp_path):
    prepare_validation(tmp_path, "one", True, Console())
    validated(tmp_path)
    for folder in ("validation", "without_tta/validation"):
        for ending in (".npz", ".pkl"):
            (tmp_path / folder / f"a{ending}").touch()
    (tmp_path / "validation/a.pkl").unlink()
    prepare_validation(tmp_path, "one", False, Console())
    assert len(masks_in(tmp_path)) == 4
    prepare_validation(tmp_path, "one", True, Console())
    assert masks_in(tmp_path) == ["without_tta/validation/a.nii.gz"]
