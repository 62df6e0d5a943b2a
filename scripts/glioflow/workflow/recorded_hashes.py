"""What a results folder says of its own files: which SHA-256 each had when it was finished, and how to make it anew.

Hashes are in the records beside outputs (``.<output>.made.json``: of the output, of its inputs, of files that a job made
besides), in ``manifest.csv`` (images), the tables of masks and of probabilities, ``uncertainty.csv`` (entropy maps), the folds'
manifests (checkpoints), and, of label maps that are used where they are, in the caches of ``verify_cohort``.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glioflow.case_cache import CaseCache
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import UserError
from glioflow.files import read_json, read_table, sha256_file
from glioflow.models.fold_state import ARCHIVE, FINAL, STATE, read_fold
from glioflow.models.predictions import PROBABILITY_ENDINGS, WITHOUT_TTA, hash_probabilities, read_predictions, read_tta
from glioflow.models.uncertainty import map_hashes, map_path
from glioflow.study.registry import CHANNELS

OUTPUT, IMAGE, LABEL, MASK, MAP = "output of a job", "image", "label map", "mask", "entropy map"
CHECKPOINT, PROBABILITIES, MADE, INPUT = "checkpoint", "probabilities", "file that a job made besides", "file of the study"
KINDS = (OUTPUT, IMAGE, LABEL, MASK, MAP, CHECKPOINT, PROBABILITIES, MADE, INPUT)
# Folders of what is no result: what was printed, timed or kept, and nnU-Net's own, of which its checkpoints have a hash.
NO_RESULTS = ("logs", "benchmarks", "cache")
READ_AGAIN = "nothing: bring the file back, or run with --config verify=full, which reads it again and makes anew what follows"
NEXT_RUN = "nothing: bring the file back, or run again, which makes anew what follows from it"


@dataclass(frozen=True)
class Recorded:
    """A file with the hashes that it may have, and what to delete so that the next run makes it anew.

    ``size``: its bytes when it was finished, None where nobody noted them. Probabilities have the hash of both their files.
    """

    file: Path
    kind: str
    hashes: frozenset[str]
    delete: str
    size: int | None = None


@dataclass(frozen=True)
class Changed:
    """A file that is not what it was: what was found, and what to delete."""

    recorded: Recorded
    found: str


def recorded_files(results: Path) -> tuple[list[Recorded], list[str]]:
    """Return every file of which ``results`` has a hash, sorted, each once, and a line for each table that cannot be read."""
    found: dict[Path, Recorded] = {}
    problems: list[str] = []
    records = dict(read_records(results))
    sources = [
        partial(_outputs, records),
        partial(_made, records),
        *(partial(_images, path, results) for path in sorted(results.glob("cohorts/*/manifest.csv"))),
        *(partial(_masks, path, results) for path in sorted(results.glob("predictions/*/*/predictions.csv"))),
        *(partial(_masks, path, results) for path in sorted(results.glob("postprocessed/*/*/predictions.csv"))),
        *(partial(_probabilities, path) for path in sorted(results.glob("predictions/*/*/probabilities.csv"))),
        *(partial(_checkpoint, path) for path in sorted(results.glob("models/*/fold_*/manifest.json"))),
        *(partial(_archived, path) for path in sorted(results.glob(f"models/*/nnunet/**/{ARCHIVE}/*/{STATE}"))),
    ]
    for source in sources:
        try:
            for each in source():
                found.setdefault(each.file, each)
        except (UserError, LookupError, TypeError) as error:  # a table that was changed: it is told itself
            problems.append(str(error))
    inputs: dict[Path, set[str]] = {}
    for path, (record, _) in records.items():
        for name, sha256 in record.get("inputs", {}).items():
            if (file := present(name, path, record, results)) not in found and file.is_file():
                inputs.setdefault(file, set()).add(str(sha256).removeprefix("sha256:"))
    for file, hashes in inputs.items():
        inside = file.is_relative_to(results)
        found[file] = Recorded(file, OUTPUT if inside else INPUT, frozenset(hashes), str(file) if inside else NEXT_RUN)
    return sorted(found.values(), key=lambda each: str(each.file)), problems


def check_recorded(recorded: Recorded) -> Changed | None:
    """Read a file and tell whether it is what it was: None then."""
    file = recorded.file
    if recorded.kind == PROBABILITIES:
        digest = hash_probabilities(file.parent, file.name.removesuffix(PROBABILITY_ENDINGS[0]))
        return None if digest in recorded.hashes else Changed(recorded, "gone" if digest is None else "other content")
    if not file.is_file():
        return Changed(recorded, "gone")
    try:
        if sha256_file(file) in recorded.hashes:
            return None
    except OSError as error:
        return Changed(recorded, f"cannot be read ({error.strerror})")
    size = file.stat().st_size
    if recorded.size is not None and size != recorded.size:
        return Changed(recorded, f"{size} bytes instead of {recorded.size}")
    return Changed(recorded, "empty" if size == 0 else "other content")


def unrecorded_files(results: Path, recorded: list[Recorded]) -> list[Path]:
    """Return the files of a results folder of which no hash is known: pictures, and files that nobody made here."""
    known = {each.file for each in recorded}
    known |= {each.file.with_suffix(PROBABILITY_ENDINGS[1]) for each in recorded if each.kind == PROBABILITIES}
    found = []
    for folder, names, files in os.walk(results):
        inside = Path(folder).relative_to(results).parts
        if not inside:
            names[:] = [name for name in names if name not in NO_RESULTS]
        if "nnunet" in names and inside[:1] == ("models",):
            names.remove("nnunet")
        found += [path for name in files if not name.startswith(".") and (path := Path(folder, name)) not in known]
    return sorted(found)


def read_records(results: Path) -> Iterator[tuple[Path, tuple[dict[str, Any], Path]]]:
    """Yield the path of each record of a job whose output is there, the record and the output; damaged records are left out."""
    for folder, names, files in os.walk(results):
        if Path(folder) == results:
            names[:] = [name for name in names if name not in NO_RESULTS]
        for name in files:
            if name.startswith(".") and name.endswith(".made.json"):
                path = Path(folder, name)
                with suppress(OSError, UserError, ValueError, TypeError):
                    yield path, (dict(read_json(path)), path.with_name(name[1:].removesuffix(".made.json")))


def _outputs(records: Mapping[Path, tuple[dict[str, Any], Path]]) -> Iterator[Recorded]:
    for record, output in records.values():
        if "sha256" in record:
            yield Recorded(output, OUTPUT, frozenset([record["sha256"]]), str(output), record["bytes"])


def _made(records: Mapping[Path, tuple[dict[str, Any], Path]]) -> Iterator[Recorded]:
    for record, output in records.values():
        for name, (size, *_, sha256) in record.get("files", {}).items():
            yield Recorded(Path(os.path.normpath(output.parent / name)), MADE, frozenset([sha256]), str(output), size)


def _images(manifest: Path, results: Path) -> Iterator[Recorded]:
    """Yield the images of a cohort, and its label maps as far as their bytes are known."""
    table = read_manifest(manifest)
    cases = manifest.with_name("cases.csv")
    cache = CaseCache(results / "cache/verify_cohort" / f"{manifest.parent.name}.jsonl").file_hashes()
    for row in table.to_dict("records"):
        for channel in (name for name in CHANNELS if isinstance(row.get(name), str)):
            file, sha256 = Path(row[channel]), row.get(f"{channel}_sha256")
            if isinstance(sha256, str):
                yield Recorded(file, IMAGE, frozenset([sha256]), _delete(file, cases, results))
        if isinstance(row.get("label"), str) and (sha256 := cache.get((file := Path(row["label"])).absolute())):
            yield Recorded(file, LABEL, frozenset([sha256]), _delete(file, manifest, results))


def _delete(file: Path, table: Path, results: Path) -> str:
    return f"{file} {table}" if file.is_relative_to(results) else READ_AGAIN


def _masks(path: Path, results: Path) -> Iterator[Recorded]:
    """Yield the masks of a set, and their entropy maps that are there.

    Out-of-fold masks are links to the fold's own, which have to go as well. A map is made anew with its mask.
    """
    model = path.parts[-3]
    folds: dict[int, dict[str, Any]] = {}
    table, maps = read_predictions(path), map_hashes(path.with_name("uncertainty.csv"))
    for row in table.assign(tta=read_tta(table)).to_dict("records"):
        file = Path(row["prediction"])
        delete = f"{file} {path}"
        fold = results / f"models/{model}/fold_{row['fold']}/manifest.json"
        if path.parts[-2] == "cv" and fold.is_file():
            made = folds.setdefault(row["fold"], read_fold(fold))["validation"]
            aside = file.parent.name == WITHOUT_TTA and "folder_without_tta" in made
            delete += f" {made['folder_without_tta' if aside else 'folder']}/{file.name} {fold}"
        yield Recorded(file, MASK, frozenset([str(row["sha256"])]), delete)
        sha256 = maps.get((str(row["case_id"]), row["tta"]))
        if sha256 and map_path(file).exists():
            yield Recorded(map_path(file), MAP, frozenset([sha256]), f"{map_path(file)} {delete}")


def _probabilities(path: Path) -> Iterator[Recorded]:
    """Yield the probabilities of a set that have not been freed."""
    for row in read_table(path).to_dict("records"):
        folder = path.parent / (WITHOUT_TTA if row["tta"] is False else "") / "probabilities"
        file = folder / f"{row['case_id']}{PROBABILITY_ENDINGS[0]}"
        if file.exists():
            yield Recorded(file, PROBABILITIES, frozenset([str(row["sha256"])]), f"{file} {path}")


def _checkpoint(path: Path) -> Iterator[Recorded]:
    fold = read_fold(path)
    file = Path(fold["checkpoint"]["path"])
    again = path.parents[1] / "imported.json" if fold.get("imported") else f"{file.parent} {path}"
    trained = "" if fold.get("imported") else " (bring it back from a copy, or the fold is trained again)"
    yield Recorded(file, CHECKPOINT, frozenset([fold["checkpoint"]["sha256"]]), f"{again}{trained}")


def _archived(state: Path) -> Iterator[Recorded]:
    """Yield the checkpoint of a training that is kept for the day on which its settings come back."""
    sha256 = dict(json.loads(state.read_text(encoding="utf-8"))).get("training", {}).get("sha256")
    if sha256:
        yield Recorded(state.with_name(FINAL), CHECKPOINT, frozenset([sha256]), f"{state.parent} (kept of a former training)")


def present(name: str, record_file: Path, record: Mapping[str, Any], results: Path) -> Path:
    """Return where an input that a record names is now, should the results folder have been moved since."""
    output = record_file.with_name(record_file.name[1:].removesuffix(".made.json"))
    former = str(record.get("output", "")).removesuffix(str(output.relative_to(results))).rstrip("/")
    inside = former and name.startswith(f"{former}/")
    return results / name[len(former) + 1 :] if inside else Path(name)
