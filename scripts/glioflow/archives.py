"""Unpacking archives that others made: nothing outside the folder, nothing but files and folders, nothing without end.

The archives of a data set are unpacked into a folder beside the target, which takes the target's name when all of it is
there: a killed unpacking leaves no target and starts over.
"""

import errno
import os
import re
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from glioflow.console import Console, UserError
from glioflow.disk import disk_full_told, require_space

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
BLOCK_BYTES = 1 << 20
# Deflate cannot shrink by more than 1032:1 (zlib's technical notes, https://zlib.net/zlib_tech.html), and images of patients
# with their masks shrink by less than 20:1; small archives are let off.
LARGEST_RATIO = 500
FREE_BYTES = 100_000_000
SAY_EVERY_S = 10.0
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive that can be unpacked."""
    return name.lower().endswith(SUFFIXES)


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` that becomes ``target`` when the block ends without an error.

    ``target`` may exist as long as it is empty. What a killed process left of an earlier attempt is deleted, so only one
    process at a time may build the same target.
    """
    folder = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        os.replace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(archive: Path, folder: Path, limit: int, console: Console) -> int:
    """Unpack a .zip, .tar, .tar.gz or .tgz into ``folder`` and return how many files it held.

    Left out is what macOS adds to archives (``__MACOSX``, ``._*``, ``.DS_Store``). Raises UserError, naming archive and
    member: a path that leaves the folder, a link, a device, a name that comes twice or is below a file, an encrypted or a
    damaged member; and more than ``limit`` bytes in all, or ``LARGEST_RATIO`` times the archive's own size, as counted while
    they are written, whatever sizes the archive announces.
    """
    members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    budget = _Budget(archive, limit)
    files, last = 0, time.monotonic()
    member = "its list of members"
    with disk_full_told(folder, str(archive)):
        try:
            for member, read in members(archive, folder):
                path = folder / _inside(archive, member)
                if _is_macos_junk(path):
                    continue
                if read is None:
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with read() as source, open(path, "xb") as stream:
                    budget.copy(source, stream, member)
                files += 1
                if time.monotonic() - last >= SAY_EVERY_S:
                    last = time.monotonic()
                    console.say(f"{archive.name}: {files} files, {budget.written / 1e9:.1f} GB unpacked")
        except DAMAGED as error:
            raise _refusal(archive, member, f"it cannot be read ({error})") from None
        except (FileExistsError, NotADirectoryError):
            raise _refusal(archive, member, "another member has this name already") from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _refusal(archive, member, f"it cannot be unpacked ({error})") from None
    return files


@dataclass
class _Budget:
    """How many bytes an archive may still unpack to."""

    archive: Path
    limit: int
    written: int = 0

    def copy(self, source: IO[bytes], stream: IO[bytes], member: str) -> None:
        """Write the content of ``source`` into ``stream``, block by block, as long as the archive may."""
        largest = LARGEST_RATIO * self.archive.stat().st_size + FREE_BYTES
        while block := source.read(BLOCK_BYTES):
            self.written += len(block)
            if self.written > self.limit:
                raise _refusal(self.archive, member, f"the archive unpacks to more than the {self.limit} bytes that it may")
            if self.written > largest:
                raise _refusal(self.archive, member, f"the archive unpacks to more than {LARGEST_RATIO} times its own size")
            stream.write(block)


# A member's name, and how to open it; None in its place for a folder.
Member = tuple[str, Callable[[], IO[bytes]] | None]


def _zip_members(archive: Path, folder: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        require_space(folder, sum(info.file_size for info in opened.infolist()), str(archive))
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refusal(archive, info.filename, "it is a link or a device; only files and folders are unpacked")
            if info.flag_bits & 1:
                raise _refusal(archive, info.filename, "it is encrypted")
            yield info.filename, None if info.is_dir() else lambda info=info: opened.open(info)  # type: ignore[misc]


def _tar_members(archive: Path, folder: Path) -> Iterator[Member]:
    with tarfile.open(archive) as opened:
        if archive.name.lower().endswith(".tar"):
            require_space(folder, archive.stat().st_size, str(archive))
        for info in opened:
            if info.isdir():
                yield info.name, None
            elif info.isreg():
                yield info.name, lambda info=info: opened.extractfile(info)  # type: ignore[misc]
            else:
                raise _refusal(archive, info.name, "it is a link or a device; only files and folders are unpacked")


def _inside(archive: Path, member: str) -> PurePosixPath:
    """Return a member's path below the folder that it is unpacked into. Raises UserError where it leads elsewhere."""
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", member) or "\0" in member:
        raise _refusal(archive, member, "it would land outside the folder that it is unpacked into")
    return path


def _is_macos_junk(path: Path) -> bool:
    return "__MACOSX" in path.parts or path.name.startswith("._") or path.name == ".DS_Store"


def _refusal(archive: Path, member: str, why: str) -> UserError:
    return UserError(f"{archive}: {member}: {why}. Nothing was unpacked")
