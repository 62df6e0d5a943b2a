"""The prediction sets: which cases are in a set, and the table that lists its masks, one row per case and way of predicting."""

import glob
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from glioflow.console import Console
from glioflow.files import PathLike, key_of, replacing, sha256_file
from glioflow.imaging.volumes import UnreadableVolumeError, read_volume
from glioflow.stored_paths import read_path_table, write_path_table

COLUMNS = ["case_id", "patient_id", "fold", "tta", "prediction", "sha256"]
WITHOUT_TTA = "without_tta"
# Whether a mask was made with test-time augmentation; None where nobody knows.
Tta = bool | None
TTA_ORDER: tuple[Tta, ...] = (True, False, None)
PROBABILITY_ENDINGS = (".npz", ".pkl")  # nnU-Net's: the probabilities of a case, and where its image is


def set_members(split: pd.DataFrame, set_name: str) -> list[str]:
    """Return the sorted case ids of a set: the training cases for ``cv``, the held-out for ``test``, else all of the cohort."""
    role = {"cv": "train", "test": "test"}.get(set_name)
    cases = split["case_id"] if role is None else split.loc[split["set"] == role, "case_id"]
    return sorted(cases.astype(str))


def place(source: Path, target: Path) -> None:
    """Put a finished mask at ``target``, all or nothing: as a hard link where the file system can, else as a copy."""
    with replacing(target) as temporary:
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)


def has_probabilities(folder: Path, case: str) -> bool:
    """Tell whether the probabilities of a case are in ``folder``."""
    return all((folder / f"{case}{ending}").exists() for ending in PROBABILITY_ENDINGS)


def hash_probabilities(folder: Path, case: str) -> str | None:
    """Return the hash of the probabilities of a case that are in ``folder``, or None where they are not."""
    if not has_probabilities(folder, case):
        return None
    return key_of({ending: sha256_file(folder / f"{case}{ending}") for ending in PROBABILITY_ENDINGS})


def remove_probabilities(folder: Path, cases: Iterable[str] | None = None) -> tuple[int, int]:
    """Delete the probabilities of ``cases``, or of all, that are in ``folder``; return how many files, of how many bytes.

    Only files of the names that nnU-Net gives them are deleted. Links are deleted, not what they lead to.
    """
    names = ["*"] if cases is None else [glob.escape(case) for case in cases]
    found = [path for name in names for ending in PROBABILITY_ENDINGS for path in folder.glob(name + ending) if path.is_file()]
    room = sum(path.lstat().st_size for path in found)
    for path in found:
        path.unlink()
    return len(found), room


def tta_folders(folder: Path, tta: bool | str | None) -> dict[bool | None, Path]:
    """Return where a set's masks are, with mirroring (True) and without (False), given the model's ``tta``; None is unknown."""
    if tta == "both":
        return {True: folder, False: folder / WITHOUT_TTA}
    return {None if tta is None else bool(tta): folder}


def prediction_table(
    folders: Mapping[bool | None, Path], patients: Mapping[str, str], folds: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Return predictions.csv, a row per case and way of predicting, for the masks ``<case>.nii.gz`` of ``folders``.

    ``folders`` are those of ``tta_folders``, ``patients`` maps each case to its patient; ``folds`` is given for ``cv`` only.
    """
    rows = [
        {
            "case_id": case,
            "patient_id": patient,
            "fold": folds[case] if folds else None,
            "tta": tta,
            "prediction": (folder / f"{case}.nii.gz").as_posix(),
            "sha256": sha256_file(folder / f"{case}.nii.gz"),
        }
        for case, patient in sorted(patients.items())
        for tta, folder in folders.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"fold": "Int64", "tta": "boolean"})


def read_predictions(path: PathLike) -> pd.DataFrame:
    """Return a table of masks, its ``tta`` as True, False or NA, which it is throughout where the table has no such column."""
    table = read_path_table(path, ["prediction"])
    return table.assign(tta=read_tta(table).astype("boolean"))


def write_predictions(path: PathLike, table: pd.DataFrame) -> None:
    """Write a table of masks, their paths relative to it."""
    write_path_table(path, table, ["prediction"])


def main_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one row a case of a table of masks: the one with mirroring where there are both."""
    return pd.DataFrame(augmented_first(predictions).drop_duplicates("case_id").sort_index())


def drop_truncated(folder: Path, console: Console) -> None:
    """Remove from a folder every mask that a killed job left half-written."""
    for path in sorted(folder.glob("*.nii.gz")):
        try:
            read_volume(path)
        except UnreadableVolumeError as error:
            console.say(f"predicting again what was left unfinished: {path}: {error.found}")
            path.unlink()


def read_tta(table: pd.DataFrame) -> pd.Series:
    """Return the column ``tta`` of a table as True, False or None, of type object; None throughout where there is none."""
    words = table["tta"] if "tta" in table.columns else pd.Series(pd.NA, index=table.index)
    known = words.astype("string").str.strip().str.lower().map({"true": True, "false": False})
    return known.astype(object).where(known.notna(), None)


def augmented_first(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the rows with test-time augmentation first, then those without, then the others."""
    order = read_tta(table).map(TTA_ORDER.index).sort_values(kind="stable").index
    return pd.DataFrame(table.loc[order])


def tta_kinds(table: pd.DataFrame) -> list[Tta]:
    """Return which values of ``tta`` a table has, augmented first."""
    present = set(read_tta(table))
    return [kind for kind in TTA_ORDER if kind in present]
