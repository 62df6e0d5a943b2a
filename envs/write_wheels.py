"""Fetch every package of the runtime as a wheel, for machines that have no network or no compiler: run by ``make wheels``.

Usage: .venv/bin/python envs/write_wheels.py FOLDER PIP …, with the command of a pip that works for this interpreter.

pip compares what it fetches with the hashes of the lock. What has no wheel there is built, and so gets a hash that the lock
cannot know. The locks in FOLDER have those of the files in the folder: ``make setup OFFLINE=FOLDER`` installs these alone.
"""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename
from write_conda import LOCK, POST_DEPLOYED, read_pins, without

UV_LOCK = LOCK.with_name("uv.lock")


def lock_of(folder: Path, pins: dict[str, str]) -> str:
    """Return a lock of the wheels in ``folder``. Ends the process unless there is one of each pin."""
    wheels: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.glob("*.whl")):
        name, version, *_ = parse_wheel_filename(path.name)
        wheels.setdefault((name, str(version)), []).append(path)
    lines = []
    for name, version in sorted(pins.items()):
        found = wheels.get((canonicalize_name(name), version), [])
        if len(found) != 1:
            sys.exit(f"{folder}: expected one wheel of {name} {version}, found {len(found)}; remove the folder and try again")
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(found[0].read_bytes()).hexdigest()}\n")
    return "".join(lines)


def main(folder: Path, pip: Sequence[str]) -> None:
    """Fill ``folder`` with wheels and write its locks, last."""
    lock = LOCK.read_text(encoding="utf-8")
    wheel = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), "--find-links", str(folder)]
    with tempfile.TemporaryDirectory() as temporary:
        fetched, built = Path(temporary) / "fetched.lock", Path(temporary) / "built.lock"
        fetched.write_text(without(lock, POST_DEPLOYED), encoding="utf-8")
        built.write_text(without(lock, [name for name in read_pins(lock) if name not in POST_DEPLOYED]), encoding="utf-8")
        for isolation, wanted in ([], fetched), ([], UV_LOCK), (["--no-build-isolation"], built):
            subprocess.run([*wheel, *isolation, "--require-hashes", "--requirement", str(wanted)], check=True)
    for path in (LOCK, UV_LOCK):
        (folder / path.name).write_text(lock_of(folder, read_pins(path.read_text(encoding="utf-8"))), encoding="utf-8")
    wheels = list(folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels) / 1e9
    print(f"{folder}: {len(wheels)} wheels, {size:.1f} GB; on the other machine: make setup OFFLINE={folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
