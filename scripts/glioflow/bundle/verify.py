"""Verifying a bundle from the file alone: its checksums, what follows from its tables, and, with the data, from its masks."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from glioflow.bundle.build import INPUT_TABLE, replay
from glioflow.bundle.differences import differences
from glioflow.bundle.replay import IMAGES as FROM_IMAGES
from glioflow.bundle.replay import TABLES, chosen_steps, read_steps
from glioflow.bundle.shared_tables import MASK
from glioflow.bundle.steps import MASKS, RESULTS
from glioflow.bundle.zip_files import opened_bundle
from glioflow.code_fingerprint import SCRIPTS
from glioflow.cohorts.manifests import write_manifest
from glioflow.console import Console, count
from glioflow.files import read_text_table, sha256_file
from glioflow.models.predictions import read_predictions
from glioflow.stored_paths import find_path
from glioflow.study.registry import ROLES

SHOWN = 10


def other_code(bundle: Path) -> list[str]:
    """Return the files of the bundle's workflow that are other than this checkout's, or that only one of them has.

    Making a study again runs the workflow in the bundle; where it is this checkout's, nothing is run that is not here already.
    """
    root = SCRIPTS.parent
    with opened_bundle(bundle) as (_, listed):
        names = {name.removeprefix("workflow/"): digest for name, digest in listed.items()}
    theirs = {name: digest for name, digest in names.items() if name.startswith("scripts/") and name.endswith(".py")}
    mine = {path.relative_to(root).as_posix(): path for path in SCRIPTS.rglob("*.py") if "__pycache__" not in path.parts}
    files = {name: root / name for name in theirs} | mine
    return sorted(name for name, path in files.items() if not path.is_file() or theirs.get(name) != sha256_file(path))


def recompute(folder: Path, work: Path, which: str, console: Console) -> list[str]:
    """Make the chosen steps of the bundle in ``folder`` again in the empty folder ``work``; return what differs.

    Only what the steps read is there when they start; none of what they make.
    """
    steps = chosen_steps(read_steps(folder), which)
    made = {output for step in steps if not step.makes_manifest for output in step.outputs}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in made and not (work / name).exists():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            _link(path, work / name)
    replay(work, which, console)
    problems = []
    for name in sorted(made):
        if (folder / name).exists() or which == TABLES:
            problems += differences(name, work / name, folder / name)
    console.say(f"{count(len(steps), 'job')} made again, {count(len(made), 'file')} compared byte for byte")
    return problems


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def find_inputs(folder: Path, data: Path, console: Console, masks: bool = False) -> tuple[dict[str, Path], list[str]]:
    """Return the files below ``data`` that a bundle's study was made from, by name in inputs.csv, and what is missing.

    A file is known by its SHA-256, whatever it is called. Its size is asked for first. Masks that the study was given are
    looked for with ``masks`` alone: what is scored again is the masks in the bundle.
    """
    table = read_text_table(folder / INPUT_TABLE)
    wanted = {
        row["file"]: row
        for row in table.to_dict("records")
        if isinstance(row["sha256"], str) and (masks or row["role"] != MASK)
    }
    by_digest: dict[str, list[str]] = {}
    for name, row in wanted.items():
        by_digest.setdefault(row["sha256"], []).append(name)
    sizes = {int(row["bytes"]) for row in wanted.values() if isinstance(row["bytes"], str)}
    all_sized = all(isinstance(row["bytes"], str) for row in wanted.values())
    candidates = [path for path in _files(data) if not all_sized or path.stat().st_size in sizes]
    found = {name: folder / name for name in wanted if (folder / name).is_file()}  # what the bundle brings
    for path in console.track(candidates, len(candidates), "files of the data read"):
        for name in by_digest.get(sha256_file(path), []):
            found.setdefault(name, path)
    lacking = sorted(set(wanted) - set(found))
    return found, [f"{name}: no file below {data} has its SHA-256 {wanted[name]['sha256'][:16]}…" for name in lacking]


def _files(data: Path) -> list[Path]:
    if data.is_file():
        return [data]
    return sorted(Path(folder) / name for folder, _, names in os.walk(data, followlinks=True) for name in names)


def place_inputs(folder: Path, work: Path, found: Mapping[str, Path]) -> None:
    """Write into ``work`` the bundle's tables of cases with the paths of the user's own files in them."""
    for path in sorted((folder / RESULTS / "cohorts").glob("*/cases.csv")):
        place = path.relative_to(folder)
        table = read_text_table(path)
        for role in (role for role in ROLES if role in table):
            table[role] = [find_path(value, path) if isinstance(value, str) else None for value in table[role]]
        for role in (role for role in ROLES if role in table):
            names = [os.path.relpath(value, folder) if isinstance(value, str) else "" for value in table[role]]
            table[role] = [str(found[name].absolute()) if name in found else name or None for name in names]
        (work / place).parent.mkdir(parents=True, exist_ok=True)
        write_manifest(work / place, table)


def lacking_masks(folder: Path) -> list[str]:
    """Return the tables of masks whose masks did not go along."""
    steps = [step for step in chosen_steps(read_steps(folder), FROM_IMAGES) if step.reads_masks]
    tables = sorted({path for step in steps for path in step.inputs if Path(path).name == MASKS})
    return [path for path in tables if not all(Path(mask).is_file() for mask in read_predictions(folder / path)["prediction"])]
