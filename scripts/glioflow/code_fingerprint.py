"""Fingerprints of code, so that a cheap step reruns when its code changed, and only then.

A script's fingerprint covers the script and every module of this folder that it imports, directly or not. That of modules,
which is part of the content keys of what they compute, leaves out those that no value depends on (``VALUELESS``). Comments,
blank lines, docstrings and the folder's place do not count. What was parsed once is kept in the folder that Snakemake works
in (``.snakemake``), since planning asks for the fingerprint of every rule.
"""

import ast
import atexit
import hashlib
import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from glioflow.files import file_stamp

SCRIPTS = Path(__file__).resolve().parents[1]
KEPT = Path(".snakemake/glioflow/parsed_code.json")  # below the folder that Snakemake works in
# What talks to people, disks and processes decides no value. What a study can set does, and its settings are in the keys.
VALUELESS = frozenset(
    {
        *("glioflow/case_cache.py", "glioflow/code_fingerprint.py", "glioflow/console.py", "glioflow/disk.py"),
        *("glioflow/formatting.py", "glioflow/job_records.py", "glioflow/parallel.py", "glioflow/shards.py"),
        "glioflow/stored_paths.py",
        "glioflow/study/configuration.py",
    }
)


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
    """Return ``_parse(path)``, kept as long as the file's stamp is what it was."""
    stamp = file_stamp(path)
    known = _kept().get(str(path))
    if known and known[0] == stamp:
        return known[1], tuple(Path(name) for name in known[2])
    digest, imported = _parse(path)
    _kept()[str(path)] = [stamp, digest, [str(name) for name in imported]]
    return digest, imported


def _digest_code(files: Iterable[Path], left_out: Collection[str] = (), imports: bool = True) -> "hashlib._Hash":
    """Return the SHA-256 of the code in ``files`` and, with ``imports``, in all they import here but the files ``left_out``."""
    waiting, seen = list(files), dict[Path, str]()
    while waiting:
        path = waiting.pop()
        if path not in seen and path.relative_to(SCRIPTS).as_posix() not in left_out:
            seen[path], imported = _parsed(path)
            waiting.extend(imported if imports else ())
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update(f"{path.relative_to(SCRIPTS)}\0{seen[path]}\0".encode())
    return digest


@cache
def module_fingerprint(*modules: str, imports: bool = True) -> str:
    """Return the fingerprint of modules, named as they are imported, and of all they import that a value can depend on.

    Without ``imports``, of the modules alone. 16 hexadecimal digits. Raises ModuleNotFoundError where there is no such module.
    """
    files = {name: _module_path(name) for name in modules}
    if missing := [name for name, file in files.items() if file is None]:
        raise ModuleNotFoundError(f"no module of glioflow is called {missing[0]}", name=missing[0])
    return _digest_code((file for file in files.values() if file), VALUELESS, imports).hexdigest()[:16]


@cache
def code_fingerprint(script: str, templates: str | None = None) -> str:
    """Return the fingerprint of ``scripts/<script>.py``, all it imports of this folder, and the files in ``templates`` there.

    16 hexadecimal digits.
    """
    digest = _digest_code([SCRIPTS / f"{script}.py"])
    for path in sorted((SCRIPTS / templates).iterdir()) if templates else []:
        digest.update(f"{path.relative_to(SCRIPTS)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
