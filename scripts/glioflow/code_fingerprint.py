"""Fingerprints of code, so that a cheap step reruns when its code changed, and only then.

A script's fingerprint covers the script and every module of this folder that it imports, directly or not. Comments, blank
lines and docstrings do not count. What was parsed once is kept in the folder that Snakemake works in (``.snakemake``), since
planning asks for the fingerprint of every rule.
"""

import ast
import atexit
import hashlib
import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1]
KEPT = Path(".snakemake/glioflow/parsed_code.json")  # below the folder that Snakemake works in


def _module_path(name: str) -> Path | None:
    path = SCRIPTS.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def _parse(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the SHA-256 of a file's code without comments and docstrings, and the files of this folder that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported: set[Path] = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        imported |= {found for name in names if (found := _module_path(name))}
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            del body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(sorted(imported))


@cache
def _kept() -> dict[str, Any]:
    """Return what was parsed in earlier processes: path -> stamp of the file, hash, imported files. Written at the end."""
    try:
        kept = dict(json.loads(KEPT.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        kept = {}
    before = dict(kept)

    def write() -> None:
        if kept != before and KEPT.parents[1].is_dir():
            part = KEPT.with_suffix(f".{os.getpid()}")
            with suppress(OSError):  # a full or read-only disk: it is parsed again
                KEPT.parent.mkdir(exist_ok=True)
                part.write_text(json.dumps(kept), encoding="utf-8")
                os.replace(part, KEPT)

    atexit.register(write)
    return kept


@cache
def _parsed(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return ``_parse(path)``, kept as long as size, times and inode of the file are what they were."""
    stat = path.stat()
    stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    known = _kept().get(str(path))
    if known and known[0] == stamp:
        return known[1], tuple(Path(name) for name in known[2])
    digest, imported = _parse(path)
    _kept()[str(path)] = [stamp, digest, [str(name) for name in imported]]
    return digest, imported


@cache
def code_fingerprint(script: str, templates: str | None = None) -> str:
    """Return the fingerprint of ``scripts/<script>.py``, all it imports of this folder, and the files in ``templates`` there.

    16 hexadecimal digits.
    """
    waiting, seen = [SCRIPTS / f"{script}.py"], dict[Path, str]()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path], imported = _parsed(path)
            waiting.extend(imported)
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update(f"{path.relative_to(SCRIPTS)}\0{seen[path]}\0".encode())
    for path in sorted((SCRIPTS / templates).iterdir()) if templates else []:
        digest.update(f"{path.relative_to(SCRIPTS)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
