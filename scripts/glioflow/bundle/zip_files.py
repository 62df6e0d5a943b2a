"""Zip files of bundles: written in one stream, the same content to the same bytes; read without trusting what they announce."""

import hashlib
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from glioflow.archives import DAMAGED, FREE_BYTES, LARGEST_RATIO, unpack
from glioflow.console import Console, UserError
from glioflow.disk import require_space

TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
FILE_MODE = 0o100644 << 16  # a regular file, as a zip's external attributes have it
LEVEL = 6  # zlib's default
PACKED = (".zip", ".png", ".jpg", ".gz", ".pth", ".npz")  # compressed already
CHECKSUMS = "manifest-sha256.txt"  # the form of sha256sum, and of BagIt's manifests (RFC 8493)
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
BLOCK_BYTES = 1 << 20
MOST_FILES = 1_000_000
OTHER_DISK = "put what it is written to on another disk"
ENTRY_BYTES = 400  # of a zip's own lists, a file


def checksum_text(sha256: Mapping[str, str]) -> str:
    """Return the list of checksums of files by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sha256.items()))


def write_zip(target: Path, files: Mapping[str, Path], console: Console) -> None:
    """Write ``files`` (name to where they are) into the zip ``target``, sorted by name. Space is asked for first.

    Raises UserError where the disk has too little room for all files as they are, uncompressed.
    """
    sizes = {name: path.stat().st_size for name, path in files.items()}
    require_space(target.parent, sum(sizes.values()) + ENTRY_BYTES * len(files), f"the bundle {target.name}", OTHER_DISK)
    with zipfile.ZipFile(target, "w") as opened:
        for name in console.track(sorted(files), len(files), "files packed"):
            info = zipfile.ZipInfo(name, TIME)
            info.create_system, info.external_attr = 3, FILE_MODE
            info.compress_type = zipfile.ZIP_STORED if name.endswith(PACKED) else zipfile.ZIP_DEFLATED
            info._compresslevel = LEVEL  # type: ignore[attr-defined]
            info.file_size = sizes[name]  # beyond 2 GiB the zip needs larger fields, and must know before
            with files[name].open("rb") as source, opened.open(info, "w") as stream:
                shutil.copyfileobj(source, stream, BLOCK_BYTES)


def check_entries(bundle: Path) -> list[str]:
    """Return the names of the files in a bundle. Nothing is unpacked.

    Raises
    ------
    UserError
        Where it is no zip; has a path that leads elsewhere, a link, a device, an encrypted file, two files of one name or of
        names that differ in case alone, a file below a file, too many files, or announces too many bytes.
    """
    if not bundle.is_file():
        raise UserError(f"{bundle}: there is no such file; expected a bundle that write_bundle wrote")
    try:
        with zipfile.ZipFile(bundle) as opened:
            infos = opened.infolist()
    except (*DAMAGED, OSError, ValueError) as error:
        raise UserError(f"{bundle}: it is no zip file, or a damaged one ({error})") from None
    if len(infos) > MOST_FILES:
        raise UserError(f"{bundle}: it lists {len(infos)} files; more than {MOST_FILES} are not read")
    names: dict[str, str] = {}
    for info in infos:
        why, other = _objection(info), names.setdefault(info.filename.casefold(), info.filename)
        if other != info.filename:
            why = why or f"{other!r} differs from it in case alone"
        if why:
            raise UserError(f"{bundle}: {info.filename!r}: {why}. Nothing was unpacked")
    listed = [info.filename for info in infos]
    if twice := sorted({name for name in listed if listed.count(name) > 1}) if len(set(listed)) < len(listed) else []:
        raise UserError(f"{bundle}: {twice[0]!r}: another file has this name already. Nothing was unpacked")
    files = set(listed)
    for name in listed:
        if below := next((str(part) for part in PurePosixPath(name).parents if str(part) in files), None):
            raise UserError(f"{bundle}: {name!r}: {below!r} is a file, and can hold none. Nothing was unpacked")
    announced, size = sum(info.file_size for info in infos), bundle.stat().st_size
    if announced > LARGEST_RATIO * size + FREE_BYTES:
        raise UserError(
            f"{bundle}: {size} bytes announce {announced}, more than {LARGEST_RATIO} times as many. Nothing was unpacked"
        )
    return listed


def _objection(info: zipfile.ZipInfo) -> str | None:
    path, kind = PurePosixPath(info.filename), stat.S_IFMT(info.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\\0]|^[A-Za-z]:", info.filename) or str(path) != info.filename:
        return "it would land outside the folder that it is unpacked into, or is no plain path"
    if kind not in (0, stat.S_IFREG):
        return "it is a link, a device or a folder; only files are unpacked"
    if info.flag_bits & 1:
        return "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is packed in a way that bundles do not use"
    return None


@contextmanager
def opened_bundle(bundle: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, str]]]:
    """Yield a bundle that was checked by ``check_entries``, and its list of checksums by name."""
    names = check_entries(bundle)
    if CHECKSUMS not in names:
        raise UserError(f"{bundle}: it has no {CHECKSUMS}; expected a bundle that glioflow wrote")
    with zipfile.ZipFile(bundle) as opened:
        try:
            text = opened.read(CHECKSUMS).decode("utf-8")
        except (*DAMAGED, ValueError, OSError) as error:
            raise UserError(f"{bundle}: {CHECKSUMS}: it cannot be read ({error})") from None
        lines = text.splitlines()
        matches = [LINE.fullmatch(line) for line in lines]
        if wrong := [number for number, match in enumerate(matches, start=1) if match is None]:
            raise UserError(f"{bundle}: {CHECKSUMS}: line {wrong[0]} is no checksum and name; it was damaged or altered")
        listed = {match[2]: match[1] for match in matches if match}
        if checksum_text(listed) != text:
            raise UserError(f"{bundle}: {CHECKSUMS}: is not sorted by name, or names a file twice; it was damaged or altered")
        yield opened, listed


def checksum_problems(bundle: Path, console: Console) -> list[str]:
    """Return what is wrong with a bundle's files: a line for each that is missing, not listed, damaged or altered."""
    problems = []
    with opened_bundle(bundle) as (opened, listed):
        names = set(opened.namelist()) - {CHECKSUMS}
        problems += [f"{name}: is listed, and not in the bundle" for name in sorted(set(listed) - names)]
        problems += [f"{name}: is in the bundle, and not listed" for name in sorted(names - set(listed))]
        for name in console.track(sorted(names & set(listed)), len(names), "files read"):
            try:
                with opened.open(name) as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
            except (*DAMAGED, OSError, ValueError) as error:
                problems.append(f"{name}: is damaged ({error})")
                continue
            if found != listed[name]:
                problems.append(f"{name}: SHA-256 {found}, listed {listed[name]}")
    return problems


def unpack_bundle(bundle: Path, folder: Path, console: Console) -> None:
    """Unpack a bundle that was checked into the empty folder ``folder``."""
    check_entries(bundle)
    with zipfile.ZipFile(bundle) as opened:
        announced = sum(info.file_size for info in opened.infolist())
    folder.mkdir(parents=True, exist_ok=True)
    unpack(bundle, folder, announced, console)
