"""What an output was made from, kept next to it, so that the results folder alone shows whether it is up to date.

Snakemake compares params and inputs with what it noted in the folder that it works in (``.snakemake``). A clone, a copy or a
moved results folder has no such notes, and then a changed study would change nothing. So each job leaves, beside every output,
a record of its params (settings, fingerprint of its code) and of the content of its inputs: ``.<output>.made.json``. Before
anything is planned, these records take the place of Snakemake's notes: from then on Snakemake decides, and a dry-run shows what
a run does. An output without a record counts as made from something else.

Some outputs are tables of files that no rule names, such as the images of phantoms. Such a rule has the param ``made_in``,
their folder, and the record has a stamp of each file there. Where one of them is missing or altered, the output counts as
made from something else as well, and its job makes what is missing.

A file that was deleted by hand, as ``verify_results`` may have told its owner to, leaves its record behind. Where such a file
is among an output's inputs, that output counts as made from something else too, so that its job has the file made anew:
Snakemake alone would not miss what lies between results that are up to date.

A record is removed before its job starts, and written when the job has ended well. It also has the SHA-256 and the bytes of the
output, which ``verify_results`` compares, the job itself (rule, named inputs, outputs and params, start and end), which a
bundle's provenance and its recomputation are made of, and what it asked for, which ``measure_efficiency`` reads.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glioflow.files import file_stamp, read_json, sha256_file, write_json

UNKNOWN: dict[str, Any] = {"params": ["unknown"], "inputs": {}}
ASKED = ("mem_mb", "runtime", "gpu")  # resources: MB, minutes, number
WILDCARD = re.compile(r"\{[^{}]*(\{[^{}]*\}[^{}]*)*\}")  # with a constraint such as {fold,\d{1,2}}


def record_path(output: str | Path) -> Path:
    """Return where the record of an output is."""
    path = Path(output)
    return path.with_name(f".{path.name}.made.json")


def remove_records(outputs: Iterable[str]) -> None:
    """Remove the records of outputs that are about to be made again."""
    for output in outputs:
        record_path(output).unlink(missing_ok=True)


def write_records(snakemake: Any, started: datetime) -> None:
    """Record what a finished job's outputs were made from, beside each of them."""
    files = [str(path) for path in snakemake.input if Path(path).is_file()]
    inputs = {path: f"sha256:{sha256_file(path)}" for path in dict.fromkeys(files)}
    repeated = sorted((Counter(files) - Counter(inputs.keys())).elements())  # one file under two names of inputs
    # A job that had to read everything again leaves what a job that reads what changed would have left.
    again = getattr(snakemake.params, "reread", None)
    params = sorted(repr(False if again and value == again else value) for value in snakemake.params)
    folder = Path(getattr(snakemake.params, "made_in", "/dev/null"))
    stamps = {path: (*file_stamp(path), sha256_file(path)) for path in sorted(folder.rglob("*")) if path.is_file()}
    job = {
        "rule": snakemake.rule,
        **{part: _named(getattr(snakemake, part)) for part in ("wildcards", "input", "output", "params", "log")},
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    resources = {name: value for name in ASKED if (value := snakemake.resources.get(name)) is not None}
    made_by = {"job": job, "asked": {"threads": snakemake.threads, **resources}}
    for output in map(str, snakemake.output):
        kept = {os.path.relpath(path, Path(output).parent): stamp for path, stamp in stamps.items()}
        made = {"output": output, "sha256": sha256_file(output), "bytes": Path(output).stat().st_size}
        made_from = {"params": params, "inputs": inputs, "repeated": repeated, "files": kept}
        write_json(record_path(output), {**made, **made_from, **made_by})


def _named(values: Any) -> list[list[Any]]:
    """Return a job's inputs, outputs, params, wildcards or log as pairs of a name (None where it has none) and a value."""
    pairs = values._allitems() if hasattr(values, "_allitems") else [(None, value) for value in values]
    return [[name, json.loads(json.dumps(value, default=str))] for name, value in pairs]


def _keeps_files(record: dict[str, Any], folder: Path, file: Path) -> bool:
    """Tell whether the files that a job made besides its outputs are what they were.

    A file with another stamp, as a copy has, is read once; ``record`` and its ``file`` get its new stamp.
    """
    stamps = record.get("files", {})
    changed = {}
    for name, (*stamp, sha256) in stamps.items():
        path = folder / name
        if not path.is_file():
            return False
        if (now := list(file_stamp(path))) != stamp:
            if sha256_file(path) != sha256:
                return False
            changed[name] = [*now, sha256]
    if changed:
        stamps.update(changed)
        with suppress(OSError):  # a folder that may only be read: the files are read again the next time
            write_json(file, record)
    return True


def restore_notes(results: str, patterns: Iterable[str], notes: Path = Path(".snakemake")) -> None:
    """Let the records of a results folder take the place of Snakemake's notes.

    Parameters
    ----------
    results
        The results folder, as the study names it.
    patterns
        Paths of outputs with wildcards, such as ``results/scores/{model}/{set}.csv``; those elsewhere are left alone.
    notes
        Snakemake's folder.
    """
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
    from snakemake.persistence.file import FilePersistence

    below = f"{results}/"
    globs = {WILDCARD.sub("*", pattern.removeprefix(below)) for pattern in patterns if pattern.startswith(below)}
    existing = {f"{below}{path.relative_to(results)}" for name in globs for path in Path(results).glob(name) if path.is_file()}
    if not existing:
        return
    persistence = FilePersistence(path=notes)
    for output in sorted(existing):
        record = _read_record(output, results)
        inputs = sorted([*record["inputs"], *record.get("repeated", ())])  # Snakemake counts a file as often as a job has it
        wanted = {"params": record["params"], "input": inputs, "input_checksums": record["inputs"]}
        noted = persistence._read_record(output)
        if noted is None or any(getattr(noted, key) != value for key, value in wanted.items()):
            made = MetadataRecord(record_format_version=RECORD_FORMAT_VERSION, endtime=0.0, **wanted)
            persistence._write_record(output, made)


def _is_lost(path: str) -> bool:
    """Tell whether an output is gone and its record is there: it was finished, and deleted by hand."""
    return not os.path.lexists(path) and record_path(path).is_file()


def _read_record(output: str, results: str) -> dict[str, Any]:
    """Return the record of an output, with paths below the results folder as they are now; ``UNKNOWN`` where there is none."""
    try:
        record = dict(read_json(record_path(output)))
        place = output.removeprefix(results)
        if not record["output"].endswith(place):
            return UNKNOWN
        if not _keeps_files(record, Path(output).parent, record_path(output)):
            return UNKNOWN
        former = record["output"].removesuffix(place)
        if any(_is_lost(f"{results}{path.removeprefix(former)}") for path in record["inputs"] if path.startswith(f"{former}/")):
            return UNKNOWN
        if former == results:
            return record
        text = json.dumps([record["params"], record["inputs"], record.get("repeated", [])])
        # A text that is the folder, or begins with it; no key of a mapping.
        text = re.sub(rf"""(?<=["']){re.escape(former)}(?=/|["'](?!:))""", lambda _: results, text)
        params, inputs, repeated = json.loads(text)
        return {"params": sorted(params), "inputs": inputs, "repeated": repeated}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return UNKNOWN
