"""Fetch a data set of the registry into the folder that all studies share.

Inputs: none. Outputs: ``fetched`` (fetched.json: key, version, folder, archives with SHA-256, MD5 and bytes, number of files,
time). Params: ``key`` (of config/datasets.yaml), ``entry`` (that entry), ``folder`` (where the data set goes,
``glioflow.study.configuration.data_folder``).

The archives and the unpacked files are gathered beside the folder, in ``.<folder>.fetching`` and ``.<folder>.unpacking``. The
folder appears, with its own fetched.json, when everything is there; only then are the archives deleted, so a killed run goes on
with what it has. A folder with files and no fetched.json was filled by hand, and is taken as it is. Of two studies that
need the same data set, one fetches and the other waits.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from glioflow.archives import building, is_archive, unpack
from glioflow.cohorts.access import SYNAPSE, can_fetch, fetch_synapse, how_to_get
from glioflow.cohorts.downloads import checksums, download
from glioflow.console import Console, UserError, count, run_script
from glioflow.disk import disk_full_told
from glioflow.files import read_json, write_json
from glioflow.study.registry import Archive, Dataset

RECORD = "fetched.json"

Record = dict[str, Any]


def fetch_dataset(key: str, entry: Dataset, folder: Path, console: Console) -> Record:
    """Return the record of a data set in ``folder``, after fetching it where nothing is there yet. Raises UserError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(folder, console):
        if present := present_record(key, entry, folder):
            return present
        if not can_fetch(entry):
            raise UserError(how_to_get(key, entry, folder))
        work = folder.with_name(f".{folder.name}.fetching")
        advice = f" {how_to_get(key, entry, folder)}"
        fetched = [fetch_archive(archive, work, console, advice) for archive in entry.archives]
        with building(folder) as new:
            for archive in entry.archives:
                place(archive, work / archive.name, new, console)
            record = make_record(key, entry, folder, fetched, count_files(new), datetime.now(UTC))
            write_json(new / RECORD, record)
        shutil.rmtree(work)
    return record


@contextmanager
def only_one(folder: Path, console: Console) -> Iterator[None]:
    """Let one process at a time work at a data set's folder.

    The lock is the kernel's (flock), so it ends with its process. Over NFS it holds between machines as far as the server's
    lock service does; where a file system has no such locks, filelock warns and falls back on the file's existence.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.say(f"another run is fetching {folder.name}; waiting for it")
        lock.acquire(poll_interval=1)
    try:
        yield
    finally:
        lock.release()


def present_record(key: str, entry: Dataset, folder: Path) -> Record | None:
    """Return the record of the data set that is in ``folder`` already; None where it is empty.

    Raises UserError where files are missing that were fetched, or where they came from other archives than the registry's.
    """
    files = count_files(folder)
    if not (folder / RECORD).is_file():
        return make_record(key, entry, folder, [], files, None) if files else None
    record: Record = read_json(folder / RECORD)
    again = f"Delete {folder} to have the data set fetched again, or name it by the cohort's key `path` to use it as it is"
    if files < record["files"]:
        raise UserError(f"{folder}: found {files} of the {record['files']} files that were fetched. {again}")
    known = {archive["name"]: archive for archive in record["archives"]}
    for archive in entry.archives:
        old = known.get(archive.name)
        if old is None or (archive.checksum and archive.checksum not in spelt(old)):
            found = "nothing of that name" if old is None else " and ".join(spelt(old))
            wanted = archive.checksum or "one"
            raise UserError(f"{folder}: the registry names the archive {archive.name} ({wanted}), fetched was {found}. {again}")
    return record


def fetch_archive(archive: Archive, work: Path, console: Console, advice: str) -> Record:
    """Fetch one archive into the folder ``work`` and return what is known of it: name, url, SHA-256, MD5, bytes."""
    target = work / archive.name
    work.mkdir(parents=True, exist_ok=True)
    if not archive.url.startswith(SYNAPSE):
        download(archive.url, target, console, archive.checksum, archive.bytes, advice)
    elif not target.exists():
        with disk_full_told(work, archive.url):
            fetch_synapse(archive.url, target, advice)
    record = {"name": archive.name, "url": archive.url, **checksums(target), "bytes": target.stat().st_size}
    if archive.checksum and archive.checksum not in spelt(record):
        target.unlink()
        raise UserError(
            f"{archive.url}: expected the checksum {archive.checksum}, found {' and '.join(spelt(record))}. "
            "The file was deleted, and the next run fetches it again"
        )
    if not archive.checksum:
        console.say(f"{archive.name} has SHA-256 {record['sha256']}; the registry has no checksum to compare with")
    return record


def place(archive: Archive, fetched: Path, folder: Path, console: Console) -> None:
    """Put what was fetched into ``folder``: an archive unpacked, any other file as it is."""
    if is_archive(archive.name):
        unpack(fetched, folder, archive.unpacked_bytes, console)
    else:
        with disk_full_told(folder, archive.name):
            shutil.copyfile(fetched, folder / archive.name)


def make_record(key: str, entry: Dataset, folder: Path, archives: list[Record], files: int, when: datetime | None) -> Record:
    """Return the content of fetched.json. Without ``when`` the files were put there by hand."""
    return {
        "key": key,
        "version": entry.version,
        "folder": str(folder),
        "source": entry.source,
        "licence": entry.licence,
        "archives": archives,
        "files": files,
        "fetched": when.isoformat(timespec="seconds") if when else None,
        "by_hand": when is None,
    }


def spelt(archive: Record) -> list[str]:
    """Return an archive's checksums as the registry writes them."""
    return [f"{name}:{archive[name]}" for name in ("sha256", "md5")]


def count_files(folder: Path) -> int:
    """Return how many files are below ``folder``, besides the record; 0 where there is no folder."""
    return sum(len(files) for _, _, files in os.walk(folder)) - (folder / RECORD).is_file()


def main(snakemake: Any, console: Console) -> str:
    """Write fetched.json."""
    params = snakemake.params
    entry = Dataset.model_validate(params.entry)
    record = fetch_dataset(params.key, entry, Path(params.folder), console)
    write_json(snakemake.output.fetched, record)
    how = "put by hand into" if record["by_hand"] else "in"
    return f"{entry.title}: {count(record['files'], 'file')} {how} {record['folder']}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
