"""Custom trainers: a class in a file of the user's, or one of nnU-Net's by name.

Before any job starts, the user's file is read as a syntax tree and not run: that finds a wrong name at once. The code is copied
into the model's folder, so that every fold and every prediction of a model runs the code that it was planned with.
"""

import ast
import difflib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from glioflow.console import UserError
from glioflow.files import key_of, sha256_file
from glioflow.models.nnunet.commands import TRAINER
from glioflow.study.configuration import expand_path

MODULE = "glioflow_custom_trainer.py"  # written into the model's folder, which nnU-Net searches
COPIES = "custom"  # beside it; no package, so that nnU-Net does not search it

TEXT = '''\
"""Written by glioflow, and written anew with the plans: its trainer on top of {name}."""

import importlib
import os
import sys

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, folder) for folder in {folders!r}]
sys.path += os.environ["nnUNet_extTrainer"].split(os.pathsep)

from glioflow_trainer import Glioflow

base = importlib.import_module({module!r}).{name}
if not issubclass(base, nnUNetTrainer):
    raise TypeError("{name} is no trainer of nnU-Net's; derive it from nnunetv2's nnUNetTrainer")


class {trainer}(Glioflow, base):
    """{name} with what glioflow adds to a trainer."""
'''
# Run by a Python of its own: finds the trainer as nnU-Net's commands do, and names the methods of the user's that Glioflow has
# too, without calling the user's by super(), which a function needs the cell __class__ for.
LOOK_UP = """\
import json, sys, types
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
ours, *others = recursive_find_trainer_class_by_name(sys.argv[1]).__mro__[1:]
names = [base.__name__ for base in others]
custom = {name for base in others[: names.index("nnUNetTrainer")] for name in vars(base)}
methods = {name: one for name, one in vars(ours).items() if isinstance(one, types.FunctionType) and name != "__init__"}
print()
print(json.dumps(sorted(m for m, one in methods.items() if m in custom and "__class__" not in one.__code__.co_freevars)))
"""


def find_trainer(spec: str) -> tuple[Path, str]:
    """Return the file and the class that ``trainer: spec`` names: ``path/to/file.py:Class``, or one of nnU-Net's by name.

    Raises UserError where there is no such file or class. Whether the class is a trainer is left to ``try_trainer``.
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
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"trainer: {file}{where} is no Python: {error}") from None
    classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    if name not in classes:
        found = f"has no class {name!r}; {_suggest(name, classes)}" if name else f"needs a class, as {written}:Class"
        found += f"; it has {', '.join(classes)}" if classes else "; it has no classes"
        raise UserError(f"trainer: {file} {found}")
    return file, name


def trainer_class(spec: str | None) -> str:
    """Return the name of the class that nnU-Net is told to train with; it becomes part of a folder's name.

    nnU-Net takes such a name apart at double underscores, so none is left in it.
    """
    if spec is None:
        return TRAINER
    name = re.sub("_+", "_", spec.rpartition(":")[2]).strip("_")
    return f"{TRAINER}_{name}"


def trainer_fingerprint(spec: str) -> str:
    """Return the fingerprint of a trainer's code: the class, and the content of all files that are copied with it.

    Their folder does not count. Of nnU-Net's own trainers it is the name. 64 hexadecimal digits.
    """
    file, name = find_trainer(spec)
    root = _root(file)
    files = _code_files(file) if _names_a_file(spec) else []
    code = {"" if path == file else path.relative_to(root).as_posix(): sha256_file(path) for path in files}
    return key_of({"class": name, "code": code})


def write_trainer(folder: Path, spec: str) -> str:
    """Write again into ``folder`` the module in which nnU-Net finds glioflow's trainer on top of the one that ``spec`` names.

    The user's files are copied into the folder. Returns the name of the class.
    """
    file, name = find_trainer(spec)
    trainer, root, folders = trainer_class(spec), _root(file), list[str]()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    if _names_a_file(spec):
        for path in _code_files(file):
            copy = folder / COPIES / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        folders = [Path(COPIES, place.relative_to(root)).as_posix() for place in (file.parent, root)]
    module = ".".join(file.relative_to(root).with_suffix("").parts)
    text = TEXT.format(name=name, trainer=trainer, folders=folders, module=module)
    (folder / MODULE).write_text(text, encoding="utf-8")
    return trainer


def try_trainer(trainers: str, trainer: str) -> list[str]:
    """Let nnU-Net look a trainer up in the folders ``trainers``, as its commands do, in a process of its own.

    Returns the methods of the user's that have no effect, because glioflow has one of that name in their place. Raises
    UserError with Python's last lines where the code cannot be imported, or where the class is no trainer of nnU-Net's.
    """
    command = [sys.executable, "-c", LOOK_UP, trainer]
    tried = subprocess.run(command, env={**os.environ, "nnUNet_extTrainer": trainers}, capture_output=True, text=True)
    if tried.returncode:
        said = "\n".join(tried.stderr.strip().splitlines()[-5:])
        raise UserError(f"trainer: {trainer} cannot be imported; Python reports:\n{said}")
    return list(json.loads(tried.stdout.splitlines()[-1]))


@cache
def nnunet_trainers() -> dict[str, Path]:
    """Return nnU-Net's own trainers, the name of each class and its file, without importing nnU-Net, which takes seconds.

    Raises UserError where nnU-Net is not installed.
    """
    spec = importlib.util.find_spec("nnunetv2")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("trainer: nnU-Net is not installed in this environment, so its trainers cannot be looked up")
    files = sorted(Path(spec.submodule_search_locations[0], "training", "nnUNetTrainer").rglob("*.py"))
    return {name: file for file in files for name in re.findall(r"^class (nnUNet\w+)", file.read_text("utf-8"), re.MULTILINE)}


def _names_a_file(spec: str) -> bool:
    return ".py" in spec or "/" in spec or ":" in spec


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else "no name there is like it"


def _root(file: Path) -> Path:
    """Return the folder that must be on sys.path for ``file`` to be imported: its own, or that above its outermost package."""
    folder = file.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def _code_files(file: Path) -> list[Path]:
    """Return the Python files that are copied for a trainer, itself among them.

    They are those of its whole outermost package; outside a package, those of its folder and of the packages in it. Hidden
    folders are left out.
    """
    root = _root(file)
    if root != file.parent:
        files = list((root / file.relative_to(root).parts[0]).rglob("*.py"))
    else:
        packages = [path.parent for path in root.glob("*/__init__.py")]
        files = [*root.glob("*.py"), *(path for package in packages for path in package.rglob("*.py"))]
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts))
