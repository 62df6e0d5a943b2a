"""Trainers that a study brings along: a class in a file of the user's own, or one of nnU-Net's, by name.

Nothing here runs the user's code: files are read as syntax trees, so that a wrong name is found before any job starts. The code
is copied into the model's folder, so that every fold and every prediction of a model runs the code that it was planned with.
"""

import ast
import difflib
import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from glioflow.console import UserError
from glioflow.files import key_of, replacing
from glioflow.models.nnunet.commands import TRAINER, TRAINERS
from glioflow.study.configuration import expand_path

BASE = "nnUNetTrainer"
NNUNET = f"nnunetv2.training.{BASE}"  # package of nnU-Net's own trainers
MODULE = "glioflow_own_trainer.py"  # written into the model's folder, which nnU-Net searches
COPIES = "own"  # beside it; no package, so that nnU-Net does not search it

FROM_FILE = """\
sys.path.insert(0, os.path.join(HERE, {copies!r}))
spec = importlib.util.spec_from_file_location("glioflow_own_{stem}", os.path.join(HERE, {path!r}))
module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""
FROM_NNUNET = """\
module = importlib.import_module({module!r})
"""
FROM_PACKAGE = """\
sys.path[:0] = [os.path.join(HERE, folder) for folder in {folders!r}]
module = importlib.import_module({module!r})
"""
TEXT = '''\
"""Written by glioflow, and written anew with the plans: its trainer on top of {name}, {origin}."""

import importlib
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in [*os.environ["nnUNet_extTrainer"].split(os.pathsep), HERE]:
    if os.path.exists(os.path.join(folder, "glioflow_trainer.py")):
        sys.path.append(folder)
        break

from glioflow_trainer import Glioflow

{load}

class {trainer}(Glioflow, module.{name}):
    """{name} with what glioflow adds to a trainer."""
'''


def find_trainer(spec: str) -> tuple[Path, str]:
    """Return the file and the class that ``trainer: spec`` names: ``path/to/file.py:Class``, or one of nnU-Net's by name.

    Raises UserError where there is no such file or class, or where the class is no trainer of nnU-Net's kind.
    """
    if not _names_a_file(spec):
        known = nnunet_trainers()
        if spec not in known:
            raise UserError(
                f"trainer: nnU-Net has none that is called {spec!r}; {_suggest(spec, known)} "
                "One of your own is given as path/to/file.py:Class"
            )
        return known[spec], spec
    written, _, name = spec.rpartition(":") if not spec.endswith(".py") else (spec, "", "")
    try:
        file = Path(expand_path(written)).absolute()
    except ValueError as error:
        raise UserError(f"trainer: {error}") from None
    if not file.is_file():
        raise UserError(f"trainer: there is no file {file}; a trainer is given as path/to/file.py:Class")
    classes = [node.name for node in _classes(_parse(file))]
    if name not in classes:
        found = f"has no class {name!r}; {_suggest(name, classes)}" if name else f"needs a class, as {written}:Class"
        found += f"; it has {', '.join(classes)}" if classes else "; it has no classes"
        raise UserError(f"trainer: {file} {found}")
    _, ends = _lineage(file, name, file)
    if ends <= {"object", "torch"}:
        raise UserError(f"trainer: {name} of {file} is no trainer of nnU-Net's; derive it from nnunetv2's {BASE}")
    for path in _own_files(file).values():
        _check_relative_imports(path)
    return file, name


def trainer_class(spec: str | None) -> str:
    """Return the name of the class that nnU-Net is told to train with; it becomes part of a folder's name.

    nnU-Net takes such a name apart at double underscores, so none is left in it.
    """
    if spec is None:
        return TRAINER
    name = re.sub("_+", "_", find_trainer(spec)[1]).strip("_")
    return f"{TRAINER}_{name}"


def trainer_fingerprint(spec: str) -> str:
    """Return the fingerprint of a trainer's code: its file and all files of its own folder or package that it imports.

    Comments, docstrings and the layout of the text do not count; nor does where the file lies. Of nnU-Net's own trainers it is
    the name. 64 hexadecimal digits.
    """
    file, name = find_trainer(spec)
    files = _own_files(file) if _names_a_file(spec) else {}
    code = {"" if path == file else place: hashlib.sha256(code_of(path).encode()).hexdigest() for place, path in files.items()}
    return key_of({"class": name, "code": code})


def write_trainer(folder: Path, spec: str) -> str:
    """Write into ``folder`` the module in which nnU-Net finds glioflow's trainer on top of the one that ``spec`` names.

    The user's files are copied into the folder. What is there from another trainer is removed; what is there already is left
    untouched, so that several jobs may call this at once. Returns the name of the class.
    """
    file, name = find_trainer(spec)
    trainer, wanted = trainer_class(spec), dict[Path, bytes]()
    if _names_a_file(spec):
        wanted = {folder / COPIES / place: path.read_bytes() for place, path in _own_files(file).items()}
        origin, place = f"whose code lies in the folder {COPIES}", file.relative_to(_root(file))
        if place.parent == Path():
            load = FROM_FILE.format(copies=COPIES, stem=file.stem, path=f"{COPIES}/{place}")
        else:
            module = ".".join(place.with_suffix("").parts)
            load = FROM_PACKAGE.format(folders=[f"{COPIES}/{place.parent}", COPIES], module=module)
    else:
        inside = file.relative_to(_nnunet_folder()).with_suffix("")
        origin, load = "one of nnU-Net's", FROM_NNUNET.format(module=".".join([NNUNET, *inside.parts]))
    wanted[folder / MODULE] = TEXT.format(name=name, trainer=trainer, origin=origin, load=load).encode()
    for path in [path for path in folder.rglob("*.py") if path not in wanted]:
        path.unlink(missing_ok=True)
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    return trainer


def try_trainer(trainers: str, trainer: str) -> None:
    """Let nnU-Net look a trainer up in the folders ``trainers``, as its commands do, in a process of its own.

    Raises UserError with the last that Python said where the user's code cannot be imported.
    """
    look_up = "import sys; from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find; "
    command = [sys.executable, "-c", f"{look_up}find(sys.argv[1])", trainer]
    tried = subprocess.run(command, env={**os.environ, "nnUNet_extTrainer": trainers}, capture_output=True, text=True)
    if tried.returncode:
        said = "\n".join(tried.stderr.strip().splitlines()[-5:])
        raise UserError(f"trainer: {trainer} cannot be imported; Python says:\n{said}")


def overruled_methods(spec: str) -> list[str]:
    """Return the methods of a trainer that have no effect in glioflow, because it has one of that name in their place."""
    file, name = find_trainer(spec)
    if spec == BASE:
        return []
    own = {method.name for node in _lineage(file, name, file)[0] for method in _methods(node)}
    tree = _parse(TRAINERS / "glioflow_trainer.py")
    ours = next(node for node in _classes(tree) if node.name == "Glioflow")
    return sorted(method.name for method in _methods(ours) if method.name in own and not _calls_super(method))


@cache
def nnunet_trainers() -> dict[str, Path]:
    """Return nnU-Net's own trainers: the name of each class and its file. Names that begin with an underscore are left out.

    Raises UserError where nnU-Net is not installed.
    """
    found = {node.name: (node, path) for path in sorted(_nnunet_folder().rglob("*.py")) for node in _classes(_parse(path))}

    def is_trainer(name: str) -> bool:
        return name == BASE or (name in found and any(is_trainer(_last_name(base)) for base in found[name][0].bases))

    return {name: path for name, (_, path) in sorted(found.items()) if is_trainer(name) and not name.startswith("_")}


def code_of(path: Path) -> str:
    """Return the code of a Python file without comments, docstrings and layout: one line a statement, its tokens in order."""
    lines: list[list[str]] = [[]]
    with tokenize.open(path) as stream:
        source = stream.read()
    rows = source.splitlines(keepends=True)
    literal: list[tuple[int, int]] = []  # where the f-strings begin that are open: newer Pythons take them apart
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "FSTRING_START":
            literal.append(token.start)
        elif kind == "FSTRING_END":
            start = literal.pop()
            if not literal:
                lines[-1].append(_between(rows, start, token.end))
        elif literal or kind in ("COMMENT", "NL", "ENDMARKER"):
            continue
        elif kind == "NEWLINE":
            lines.append([])
        elif kind in ("INDENT", "DEDENT"):
            lines += [[kind], []]
        else:
            lines[-1].append(token.string)
    return "\n".join(" ".join(line) for line in lines if line and not all(map(_says_nothing, line)))


def _says_nothing(token: str) -> bool:
    """Tell whether a token is a string, which by itself is a docstring; f-strings are computed, and stay."""
    return bool(re.match(r"[rRuUbB]{0,2}['\"]", token))


def _between(rows: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text of ``rows`` from ``start`` to ``end``: row from 1, column from 0."""
    cut = rows[start[0] - 1 : end[0]]
    cut[-1] = cut[-1][: end[1]]
    cut[0] = cut[0][start[1] :]
    return "".join(cut)


def _names_a_file(spec: str) -> bool:
    return ".py" in spec or "/" in spec or ":" in spec


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else "no name there is like it"


@cache
def _nnunet_folder() -> Path:
    """Return the folder of nnU-Net's trainers, without importing nnU-Net, which takes seconds."""
    spec = importlib.util.find_spec("nnunetv2")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("trainer: nnU-Net is not installed in this environment, so its trainers cannot be looked up")
    return Path(spec.submodule_search_locations[0], "training", BASE)


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"trainer: {path}{where} is no Python: {error}") from None


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    """Return the classes that a module defines for others, also below ``if`` and ``try``."""

    def walk(body: Iterable[ast.stmt]) -> Iterator[ast.ClassDef]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield node
            for part in ("body", "orelse", "finalbody") if isinstance(node, ast.If | ast.Try) else ():
                yield from walk(getattr(node, part, []))

    return list(walk(tree.body))


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef) and not part.name.startswith("__")]


def _calls_super(method: ast.FunctionDef) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr == method.name and ast.unparse(node.value) == "super()"
        for node in ast.walk(method)
    )


def _last_name(base: ast.expr) -> str:
    """Return ``Trainer`` of a base written ``Trainer`` or ``module.Trainer``."""
    return ast.unparse(base).rpartition(".")[2]


def _lineage(file: Path, name: str, main: Path) -> tuple[list[ast.ClassDef], set[str]]:
    """Return a class and its ancestors among the user's files, and what they end in; ``main`` is the trainer's own file.

    An end is ``object``, ``nnunetv2``, ``torch``, or ``?`` for a package that is not looked into.
    """
    tree = _parse(file)
    node = next((node for node in _classes(tree) if node.name == name), None)
    if node is None:
        return [], {"?"}
    found, ends = [node], set[str]()
    for base in node.bases or [ast.Name("object")]:
        written = ast.unparse(base)
        origin = "object" if written == "object" else _origin(file, tree, written, main)
        if isinstance(origin, str):
            ends.add(origin)
        elif origin == (file, name):  # a class that takes the place of the one it derives from
            ends.add("?")
        else:
            above, further = _lineage(*origin, main)
            found += above
            ends |= further
    return found, ends


def _origin(file: Path, tree: ast.Module, written: str, main: Path) -> tuple[Path, str] | str:
    """Return the file and the class of a base as ``written`` in ``file``, or the package that it comes from, or ``?``."""
    before, _, last = written.rpartition(".")
    if not before and any(node.name == last for node in _classes(tree)):
        return file, last
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            bound = alias.asname or (alias.name if isinstance(node, ast.ImportFrom) else alias.name.partition(".")[0])
            if bound != written.partition(".")[0]:
                continue
            if isinstance(node, ast.ImportFrom):
                module, level = node.module or "", node.level
                parts, name = [*module.split("."), *([alias.name] if before else [])], last if before else alias.name
            else:
                module, level, name = alias.name if alias.asname else before, 0, last
                parts = module.split(".")
            if not level and parts[0] in ("nnunetv2", "torch"):
                return parts[0]
            if files := _resolve(parts, _starts(file, level, main)):
                return files[-1], name
    return "?"


def _root(file: Path) -> Path:
    """Return the folder that must be on sys.path for ``file`` to be imported: its own, or that above its outermost package."""
    folder = file.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def _starts(file: Path, level: int, main: Path) -> list[Path]:
    """Return the folders in which an import of ``file`` looks; ``level`` counts its dots, ``main`` is the trainer's file."""
    return [file.parents[level - 1]] if level else list(dict.fromkeys((main.parent, _root(main))))


def _resolve(parts: list[str], starts: list[Path]) -> list[Path]:
    """Return the files that importing the module ``parts`` runs: the packages on the way, then the module itself.

    Empty where the module is not below one of the folders ``starts``.
    """
    parts = [part for part in parts if part]
    for start in starts:
        places = [start.joinpath(*parts[: number + 1]) for number in range(len(parts))] or [start]
        packages = [path for place in places if (path := place / "__init__.py").is_file()]
        if packages and packages[-1].parent == places[-1]:
            return packages
        if parts and (module := places[-1].with_suffix(".py")).is_file():
            return [*packages, module]
    return []


def _own_files(main: Path) -> dict[str, Path]:
    """Return the trainer's own file and all that it imports, directly or not, from beside it or from its package.

    The keys are their places below the folder that must be on sys.path.
    """
    root = _root(main)
    packages = [folder / "__init__.py" for folder in main.parents if folder.is_relative_to(root) and folder != root]
    waiting, found = [main, *packages], set[Path]()
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_relative_to(root):
            continue
        found.add(path)
        for node in ast.walk(_parse(path)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    waiting += _resolve(alias.name.split("."), _starts(path, 0, main))
            elif isinstance(node, ast.ImportFrom):
                module, starts = (node.module or "").split("."), _starts(path, node.level, main)
                for parts in (module, *([*module, alias.name] for alias in node.names)):
                    waiting += _resolve(parts, starts)
    return {path.relative_to(root).as_posix(): path for path in sorted(found)}


def _check_relative_imports(path: Path) -> None:
    """Raise UserError where a file imports relatively and is in no package: Python cannot do that."""
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.ImportFrom) and node.level and not (path.parent / "__init__.py").exists():
            raise UserError(
                f"trainer: {path}, line {node.lineno} imports from {'.' * node.level}{node.module or ''}, but its folder is no "
                "package; add an empty __init__.py there, or leave the dots out"
            )
