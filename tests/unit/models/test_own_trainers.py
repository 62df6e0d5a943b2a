import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glioflow.console import UserError
from glioflow.models.nnunet.commands import TRAINERS
from glioflow.models.nnunet.own_trainers import (
    COPIES,
    MODULE,
    code_of,
    find_trainer,
    nnunet_trainers,
    overruled_methods,
    trainer_class,
    trainer_fingerprint,
    try_trainer,
    write_trainer,
)

IMPORT = "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
MINE = (
    IMPORT
    + """
from helpers.rates import RATE


class Helper:
    pass


class MyTrainer(nnUNetTrainer):
    rate = RATE

    def train_step(self, batch):
        return super().train_step(batch)

    def run_training(self):
        pass
"""
)
# What nnU-Net finds, told by a process that looks as its commands do.
LOOK_UP = """
import json, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
found = recursive_find_trainer_class_by_name(sys.argv[1])
told = {"bases": [base.__name__ for base in found.__mro__], "rate": getattr(found, "rate", None)}
import glioflow_networks  # plans name networks of this module, which nnU-Net imports later
if hasattr(found, "late"):
    told["late"] = found.late()
print("FOUND " + json.dumps(told))
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def mine(tmp_path):
    """A trainer of the user's own that imports a file below its folder."""
    write(tmp_path / "home/helpers/rates.py", "RATE = 0.5\n")
    write(tmp_path / "home/unrelated.py", "1 / 0\n")
    return write(tmp_path / "home/my_trainer.py", MINE)


def look_up(folder: Path, name: str) -> dict:
    """Return what nnU-Net finds under ``name`` with the model's folder of trainers."""
    env = {**os.environ, "nnUNet_extTrainer": os.pathsep.join([str(TRAINERS), str(folder)])}
    done = subprocess.run([sys.executable, "-c", LOOK_UP, name], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("FOUND ")[2])


def test_nnunet_finds_a_trainer_on_top_of_a_users_class_that_imports_its_neighbours(mine, tmp_path):
    assert write_trainer(tmp_path / "model", f"{mine}:MyTrainer") == "GlioflowTrainer_MyTrainer"
    mine.write_text("the model keeps the code that it was planned with")
    found = look_up(tmp_path / "model", "GlioflowTrainer_MyTrainer")
    assert found["bases"][:4] == ["GlioflowTrainer_MyTrainer", "Glioflow", "MyTrainer", "nnUNetTrainer"]
    assert found["rate"] == 0.5
    assert not (tmp_path / "model" / COPIES / "unrelated.py").exists()


def test_nnunet_finds_a_trainer_inside_a_package_that_imports_relatively_and_late(tmp_path):
    home = tmp_path / "home" / "lab"
    write(home / "__init__.py", "from lab import settings\n")
    write(home / "settings.py", "RATE = 0.25\n")
    write(home / "late.py", "def answer():\n    return 42\n")
    write(home / "nets" / "__init__.py", "")
    write(home / "nets" / "base.py", IMPORT + "class Base(nnUNetTrainer):\n    from ..settings import RATE as rate\n")
    text = "from .base import Base\n\n\nclass Deep(Base):\n    @staticmethod\n    def late():\n"
    file = write(home / "nets" / "deep.py", text + "        from ..late import answer\n\n        return answer()\n")
    name = write_trainer(tmp_path / "model", f"{file}:Deep")
    found = look_up(tmp_path / "model", name)
    assert found["bases"][:5] == [name, "Glioflow", "Deep", "Base", "nnUNetTrainer"]
    assert (found["rate"], found["late"]) == (0.25, 42)


def test_nnunet_finds_a_trainer_on_top_of_one_of_its_own(tmp_path):
    name = write_trainer(tmp_path / "model", "nnUNetTrainerDA5")
    assert look_up(tmp_path / "model", name)["bases"][:4] == [name, "Glioflow", "nnUNetTrainerDA5", "nnUNetTrainer"]


def test_a_trainer_that_cannot_be_imported_is_told_before_anything_is_trained(tmp_path):
    file = write(tmp_path / "t.py", IMPORT + "import no_such_package\n\n\nclass T(nnUNetTrainer):\n    pass\n")
    name = write_trainer(tmp_path / "model", f"{file}:T")
    with pytest.raises(UserError, match="No module named 'no_such_package'"):
        try_trainer(os.pathsep.join([str(TRAINERS), str(tmp_path / "model")]), name)


def test_another_trainer_takes_the_place_of_the_former(mine, tmp_path):
    write_trainer(tmp_path / "model", f"{mine}:MyTrainer")
    write_trainer(tmp_path / "model", "nnUNetTrainerDA5")
    assert list((tmp_path / "model").rglob("*.py")) == [tmp_path / "model" / MODULE]


def test_writing_the_same_trainer_again_touches_nothing(mine, tmp_path):
    write_trainer(tmp_path / "model", f"{mine}:MyTrainer")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")}
    time.sleep(0.01)
    write_trainer(tmp_path / "model", f"{mine}:MyTrainer")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")} == before


def test_a_trainer_is_found_without_running_it(mine):
    mine.write_text(MINE + "\nraise SystemExit('this was run')\n")
    assert find_trainer(f"{mine}:MyTrainer") == (mine, "MyTrainer")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{home}/nothing.py:MyTrainer", "there is no file .*nothing.py"),
        ("{home}/my_trainer.py:MyTrianer", "no class 'MyTrianer'; did you mean 'MyTrainer'.; it has Helper, MyTrainer"),
        ("{home}/my_trainer.py", "needs a class, as .*my_trainer.py:Class; it has Helper, MyTrainer"),
        ("{home}/my_trainer.py:Helper", "Helper of .* is no trainer of nnU-Net's"),
        ("nnUNetTrainerDA6", "none that is called 'nnUNetTrainerDA6'; did you mean 'nnUNetTrainerDA5'"),
        ("$NO_SUCH_VARIABLE/t.py:T", "NO_SUCH_VARIABLE is not set"),
    ],
)
def test_a_wrong_trainer_is_told_with_what_would_be_right(mine, spec, said):
    with pytest.raises(UserError, match=said):
        find_trainer(spec.format(home=mine.parent))


def test_a_file_that_is_no_python_is_told_with_its_line(tmp_path):
    file = write(tmp_path / "t.py", "x = 1\nclass T(:\n")
    with pytest.raises(UserError, match=r"t\.py, line 2 is no Python"):
        find_trainer(f"{file}:T")


def test_a_relative_import_outside_a_package_is_told(tmp_path):
    write(tmp_path / "blocks.py", "")
    file = write(tmp_path / "t.py", IMPORT + "from .blocks import x\nclass T(nnUNetTrainer): pass\n")
    with pytest.raises(UserError, match=r"line 2 imports from \.blocks, but its folder is no package"):
        find_trainer(f"{file}:T")


def test_a_class_that_ends_in_torch_is_no_trainer_however_long_the_way(tmp_path):
    write(tmp_path / "blocks.py", "import torch.nn as nn\nclass Net(nn.Module): pass\n")
    file = write(tmp_path / "t.py", "import blocks\nclass Middle(blocks.Net): pass\nclass T(Middle): pass\n")
    with pytest.raises(UserError, match=r"T of .* is no trainer"):
        find_trainer(f"{file}:T")


def test_a_class_on_top_of_another_package_is_left_for_nnunet_to_judge(tmp_path):
    file = write(tmp_path / "t.py", "from somewhere.trainers import Theirs\nclass T(Theirs): pass\n")
    assert find_trainer(f"{file}:T") == (file, "T")


def test_nnunets_trainers_are_known_without_helpers_and_bases():
    known = nnunet_trainers()
    assert {"nnUNetTrainer", "nnUNetTrainerDA5", "nnUNetTrainer_onlyMirror01_DA5"} <= set(known)
    assert not any(name.startswith("_") for name in known)
    assert known["nnUNetTrainerCosAnneal"].name == "nnUNetTrainerCosAnneal.py"


def test_no_double_underscore_is_left_in_a_name_that_nnunet_takes_apart(tmp_path):
    file = write(tmp_path / "t.py", IMPORT + "class __My__Trainer(nnUNetTrainer): pass\n")
    assert trainer_class(f"{file}:__My__Trainer") == "GlioflowTrainer_My_Trainer"
    assert trainer_class(None) == "GlioflowTrainer"


def test_the_fingerprint_follows_the_code_and_what_it_imports_and_nothing_else(mine, tmp_path):
    spec = f"{mine}:MyTrainer"
    before = trainer_fingerprint(spec)
    mine.write_text('"""What it is for."""\n# why\n' + MINE.replace("0.5", "0.5  # tried").replace("\n\n\n", "\n\n"))
    (mine.parent / "unrelated.py").write_text("changed = 1\n")
    os.utime(mine, (1, 1))
    assert trainer_fingerprint(spec) == before
    (mine.parent / "helpers/rates.py").write_text("RATE = 0.6\n")
    assert trainer_fingerprint(spec) != before
    (mine.parent / "helpers/rates.py").write_text("RATE = 0.5\n")
    assert trainer_fingerprint(spec) == before
    mine.write_text(MINE.replace("return super()", "return 2 * super()"))
    assert trainer_fingerprint(spec) != before


def test_a_trainer_moved_to_another_folder_is_the_same_trainer(mine, tmp_path):
    before = trainer_fingerprint(f"{mine}:MyTrainer")
    mine.parent.rename(tmp_path / "elsewhere")
    assert trainer_fingerprint(f"{tmp_path / 'elsewhere' / 'my_trainer.py'}:MyTrainer") == before


def test_two_trainers_of_one_file_and_of_nnunet_differ(mine):
    mine.write_text(MINE + "\nclass Other(MyTrainer):\n    pass\n")
    specs = [f"{mine}:MyTrainer", f"{mine}:Other", "nnUNetTrainerDA5", "nnUNetTrainerNoDA"]
    assert len({trainer_fingerprint(spec) for spec in specs}) == 4


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x = 1  # one\n", "x = 1\n\n\n", True),
        ("x = f(1,\n      2)\n", "x = f(1, 2)\n", True),
        ("def f():\n    'says'\n    return 1\n", "def f():\n    return 1\n", True),
        ("x = '# no comment'\n", "x = '# another'\n", False),
        ("x = f'{a} # {b}'\n", "x = f'{a} # {c}'\n", False),
        ("x = f'{a}  b'\n", "x = f'{a} b'\n", False),
        ("if a:\n    b()\nc()\n", "if a:\n    b()\n    c()\n", False),
        ("f'{a()}'\n", "", False),  # is computed
    ],
)
def test_comments_docstrings_and_layout_are_no_code(tmp_path, one, other, same):
    assert (code_of(write(tmp_path / "a.py", one)) == code_of(write(tmp_path / "b.py", other))) == same


def test_methods_that_glioflow_takes_the_place_of_are_named(mine):
    assert overruled_methods(f"{mine}:MyTrainer") == ["run_training"]
    assert overruled_methods("nnUNetTrainer") == []
