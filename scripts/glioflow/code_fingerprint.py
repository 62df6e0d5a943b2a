"""Fingerprints of code, so that a cheap step reruns when its code changed, and only then.

A script's fingerprint covers the script and every module of this folder that it imports, directly or not. Comments, blank
lines and docstrings do not count.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]


def _module_path(name: str) -> Path | None:
    path = SCRIPTS.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


@cache
def _parse(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the code of a file without docstrings, as text, and the files of this folder it imports."""
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
    return ast.dump(tree), tuple(sorted(imported))


@cache
def code_fingerprint(script: str, templates: str | None = None) -> str:
    """Return the fingerprint of ``scripts/<script>.py``, all it imports of this folder, and the files in ``templates`` there.

    16 hexadecimal digits.
    """
    waiting, seen = [SCRIPTS / f"{script}.py"], dict[Path, str]()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path], imported = _parse(path)
            waiting.extend(imported)
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update(f"{path.relative_to(SCRIPTS)}\0{seen[path]}\0".encode())
    for path in sorted((SCRIPTS / templates).iterdir()) if templates else []:
        digest.update(f"{path.relative_to(SCRIPTS)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
