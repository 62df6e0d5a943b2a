"""Room on disks: asked for before it is needed, and reported in words where it runs out."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glioflow.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
SHARED_MEMORY = Path("/dev/shm")
NEEDED_SHARED_BYTES = 1_000_000_000  # PyTorch's workers hand their batches on there; 3D patches take hundreds of MB
PROBE_BYTES = 1_000_000  # Snakemake alone writes more
NEARLY_FULL_BYTES = 16_000_000  # a write of less can fail, and leaves this much free
REMEDY = "give it the permissions, or name another folder in the configuration"
# What programs print last where shared memory or a disk is full: PyTorch's workers, the C library.
SHARED_MEMORY_SAID = re.compile(r"bus error|shared memory|/torch_\d+|background workers are no longer alive", re.I)
FULL_SAID = re.compile(r"No space left on device|Disk quota exceeded|\[Errno (28|122)\]")
REFUSED_SAID = re.compile(r"Read-only file system|\[Errno 30\]")

LIMIT_VARIABLE = "GLIOFLOW_LARGEST_IMAGE_GB"  # set from the study's key largest_image_gb
LARGEST_IMAGE_GB = 2.0  # 500 x 500 x 500 voxels of 64 bits are 1; a whole 4D image of the Decathlon's Task01 is 0.14


def largest_image_bytes() -> int:
    """Return how large an image may be, unpacked. Raises ``UserError`` where the environment's limit is no positive number."""
    told = os.environ.get(LIMIT_VARIABLE, "")
    try:
        if (limit := float(told or LARGEST_IMAGE_GB)) > 0:
            return int(limit * 10**9)
    except (ValueError, OverflowError):
        pass
    raise UserError(f"${LIMIT_VARIABLE}: found {told!r}; expected a number of gigabytes, such as 4")


def amount(number: int) -> str:
    """Return a number of bytes in words."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} bytes"


DATA_REMEDY = "name another folder by the configuration's key `data` or $GLIOFLOW_DATA"


def require_space(folder: Path, needed: int, what: str, remedy: str = DATA_REMEDY) -> None:
    """Raise UserError, with the ``remedy``, where the disk of ``folder`` has fewer than ``needed`` bytes left for ``what``."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what}: {amount(needed)} are still to come, but the disk of {folder} has {amount(free)} left. Make room, or "
            f"{remedy}"
        )


@contextmanager
def disk_full_told(folder: Path, what: str) -> Iterator[None]:
    """Turn the error of a disk that is full, or of a quota that is used up, into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{what}: the disk of {folder} is full, or your quota there is used up. Make room and run again (what was received "
            "is kept), or name another folder by the configuration's key `data` or $GLIOFLOW_DATA"
        ) from None


def explain_error(error: OSError, folders: Iterable[Path]) -> str | None:
    """Return in a line which file system refused to be written, and what to do; None for an error of another kind.

    ``folders`` are those that are written to: the error of a full disk seldom names which of them it was.
    """
    file = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    if error.errno in FULL:
        return _tell_full([_existing(file)] if file else folders)
    if error.errno in REFUSED and file:
        return f"{file}: cannot be written or read ({error.strerror}) on {_system(file)}; {REMEDY}"
    return None


def explain_output(lines: Iterable[str], folders: Iterable[Path]) -> str | None:
    """Return the same of what a program printed last."""
    said = "\n".join(lines)
    if SHARED_MEMORY_SAID.search(said) and (FULL_SAID.search(said) or _is_small(SHARED_MEMORY, NEEDED_SHARED_BYTES)):
        return _tell_full([SHARED_MEMORY])
    if FULL_SAID.search(said):
        return _tell_full(folders)
    if REFUSED_SAID.search(said):
        first = next(iter(folders))
        return f"{first}: cannot be written (Read-only file system) on {_system(first)}; {REMEDY}"
    return None


def require_writable(folders: Iterable[Path]) -> None:
    """Raise UserError where one of the folders (or the one it would be made in), or that of temporary files, takes no files."""
    for folder in (*folders, _temporary()):
        existing = _existing(folder)
        try:
            with tempfile.TemporaryFile(dir=existing) as probe:
                probe.write(bytes(PROBE_BYTES))
                probe.flush()
        except OSError as error:
            error.filename = str(existing)
            raise UserError(explain_error(error, [existing]) or f"{existing}: cannot be written ({error.strerror})") from None


def _temporary() -> Path:
    """Return the folder of temporary files; ``tempfile`` would name another one where it is full."""
    return Path(os.environ.get("TMPDIR") or tempfile.gettempdir())


def _tell_full(folders: Iterable[Path]) -> str:
    """Return which of the folders' disks is full, or which has least room, and what to do."""
    candidates = [*folders, _temporary(), SHARED_MEMORY]
    full = [folder for folder in candidates if _is_small(folder, NEARLY_FULL_BYTES)]
    folder = (full or candidates)[0]
    if folder == SHARED_MEMORY:
        needed = amount(NEEDED_SHARED_BYTES)
        remedy = f"workers hand data on there and need about {needed}: enlarge it (docker run --shm-size=8g, or ask your admin)"
    elif folder == _temporary():
        remedy = "temporary files go there: make room, or set $TMPDIR to a folder on another disk"
    else:
        remedy = "make room there, or put `results` on another disk, and run again: what is finished is kept"
    return f"{folder}: no space is left on {_system(folder)}, or your quota is used up; {remedy}"


def _is_small(folder: Path, bytes_: int) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(_existing(folder)).free < bytes_
    return False


def _existing(path: Path) -> Path:
    """Return the path, or the closest folder above it that there is."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _system(path: Path) -> str:
    """Return a path's file system in words: where it is mounted, and how much of it is free."""
    place = _existing(path)
    usage = shutil.disk_usage(place)
    while not place.is_mount():
        place = place.parent
    return f"the file system at {place} ({amount(usage.free)} of {amount(usage.total)} free)"
