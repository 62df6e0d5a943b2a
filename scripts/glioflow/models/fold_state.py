"""Which key the checkpoints in a fold's folder have and how they were made; what happens to those of another key.

Beside the checkpoints is ``STATE``: the fold's key, and what was true when it was trained, which no later run rewrites.
"""

import fcntl
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glioflow.console import Console, UserError
from glioflow.files import PathLike, read_json, sha256_file, write_json
from glioflow.stored_paths import find_path, store_path

STATE = "glioflow.json"  # beside the checkpoints: whose they are
FINAL = "checkpoint_final.pth"
ARCHIVE = "superseded"  # beside the folds: archived trainings

# Keys of a fold's manifest that hold paths.
PATHS = (("checkpoint", "path"), ("validation", "folder"), ("validation", "folder_without_tta"))


def read_fold(path: PathLike) -> dict[str, Any]:
    """Return a fold's manifest, with its paths as they are now."""
    return present_fold(read_json(path), path)


def write_fold(path: PathLike, manifest: Mapping[str, Any]) -> None:
    """Write a fold's manifest, its paths relative to it."""
    write_json(path, store_fold(manifest, path))


def present_fold(manifest: Mapping[str, Any], file: PathLike) -> dict[str, Any]:
    """Return a fold's manifest out of ``file``, with its paths as they are now."""
    return _with_paths(manifest, lambda text: find_path(text, file))


def store_fold(manifest: Mapping[str, Any], file: PathLike) -> dict[str, Any]:
    """Return the fold's manifest in ``file``."""
    return _with_paths(manifest, lambda text: store_path(text, file))


def _with_paths(manifest: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    changed = dict(manifest)
    for part, key in PATHS:
        if key in changed.get(part, {}):
            changed[part] = {**changed[part], key: change(changed[part][key])}
    return changed


@contextmanager
def locked(fold: Path) -> Iterator[None]:
    """Hold the fold's lock, so that no two processes train it at once. Raises UserError where another one does."""
    path = fold.with_name(f"{fold.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is training this fold (it has locked {path}); wait for it, or end it") from None
        yield


def archived_name(fold: Path, key: str) -> str:
    """Return what a fold's training of ``key`` is called in the archive, from which it comes back when the key does."""
    return f"{fold.name}_{key[:12]}"


def archive_fold(fold: Path, name: str, why: str, console: Console) -> None:
    """Move the content of a fold's folder to the archive, under ``name``, and report ``why``."""
    archive = fold.parent / ARCHIVE
    archive.mkdir(exist_ok=True)
    kept = archive / name
    if kept.exists():
        kept = archive / f"{kept.name}_{datetime.now(UTC):%Y%m%dT%H%M%S}"
    os.replace(fold, kept)
    console.say(f"{why}; the former training is kept in {kept}")


def prepare_fold(fold: Path, key: str, console: Console) -> None:
    """Make ``fold`` the folder of ``key``: leave it, archive a stale one under its own key, bring back an archived one."""
    if fold.exists():
        state = fold / STATE
        held = read_json(state)["key"] if state.exists() else "unknown"
        if held == key:
            return
        archive_fold(fold, archived_name(fold, held), "what this fold is trained from has changed", console)
    if (returned := fold.parent / ARCHIVE / archived_name(fold, key)).exists():
        os.replace(returned, fold)
        console.say("a training of exactly this was kept, and is used again")
    fold.mkdir(parents=True, exist_ok=True)


def is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint is whole: torch's files are zip archives with a checksum for each part."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError):
        return False


def check_checkpoint(checkpoint: Path, manifest: Mapping[str, Any], record: PathLike) -> None:
    """Read the checkpoint of a fold from end to end, before it is used.

    Parameters
    ----------
    checkpoint
        The file that is about to be used.
    manifest
        The fold's record: ``checkpoint`` with its SHA-256, ``fold``, and ``imported`` of an imported model.
    record
        The file of the manifest.

    Raises
    ------
    UserError
        Where the checkpoint is gone, damaged, or not the one whose SHA-256 the manifest has.
    """
    expected = manifest["checkpoint"]["sha256"]
    if not checkpoint.is_file():
        found = "is gone"
    elif (sha256 := sha256_file(checkpoint)) != expected:
        found = f"is not the checkpoint that was trained (SHA-256 {sha256[:12]}… instead of {expected[:12]}…)"
    elif not is_whole(checkpoint):
        found = "is damaged"
    else:
        return
    if manifest.get("imported"):
        remedy = f"import the model again: delete {Path(record).parents[1] / 'imported.json'}"
    else:
        remedy = f"train the fold again: delete {checkpoint.parent} and {record}"
    raise UserError(f"fold {manifest['fold']}: {checkpoint} {found}; bring it back from a copy, or {remedy}, and run again")
