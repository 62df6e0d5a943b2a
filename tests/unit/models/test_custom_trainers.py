import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glioflow.console import UserError
from glioflow.models.nnunet.commands import TRAINERS
from glioflow.models.nnunet.custom_trainers import (
    COPIES,
    MODULE,
    find_trainer,
    nnunet_trainers,
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
    """A custom trainer that imports from a package beside it."""
    write(tmp_path / "home/helpers/__init__.py", "")
    write(tmp_path / "home/helpers/rates.py", "RATE = 0.5\n")
    write(tmp_path / "home/beside.py", "1 / 0\n")
    write(tmp_path / "home/data/loose.py", "1 / 0\n")
    return write(tmp_path / "home/my_trainer.py", MINE)


def look_up(folder: Path, name: str) -> dict:
    """Return what nnU-Net finds under ``name`` with the model's folder of trainers."""
    env = {**os.environ, "nnUNet_extTrainer": os.pathsep.join([str(TRAINERS), str(folder)])}
    done = subprocess.run([sys.executable, "-c", LOOK_UP, name], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("FOUND ")[2])


@pytest.mark.long
def test_nnunet_finds_a_trainer_on_top_of_a_users_class_that_imports_its_neighbours(mine, tmp_path):
    assert write_trainer(tmp_path / "model", f"{mine}:MyTrainer") == "GlioflowTrainer_MyTrainer"
    mine.write_text("the model keeps the code that it was planned with")
    found = look_up(tmp_path / "model", "GlioflowTrainer_MyTrainer")
    assert found["bases"][:4] == ["GlioflowTrainer_MyTrainer", "Glioflow", "MyTrainer", "nnUNetTrainer"]
    assert found["rate"] == 0.5
    copied = {path.name for path in (tmp_path / "model" / COPIES).rglob("*.py")}
    assert copied == {"my_trainer.py", "beside.py", "rates.py", "__init__.py"}


@pytest.mark.long
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


def attempt(folder: Path, spec: str) -> list[str]:
    """Return what ``try_trainer`` finds once the trainer is written into ``folder``."""
    return try_trainer(os.pathsep.join([str(TRAINERS), str(folder)]), write_trainer(folder, spec))


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (IMPORT + "import no_such_package\nclass T(nnUNetTrainer): pass\n", "No module named 'no_such_package'"),
        (IMPORT + "from .beside import x\nclass T(nnUNetTrainer): pass\n", "no known parent package"),
        (
            "import torch\nclass T(torch.nn.Module): pass\n",
            "T is no trainer of nnU-Net's; derive it from nnunetv2's nnUNetTrainer",
        ),
    ],
)
def test_a_trainer_that_cannot_train_is_told_before_anything_is_trained(tmp_path, text, said):
    file = write(tmp_path / "home" / "t.py", text)
    with pytest.raises(UserError, match=rf"(?s)GlioflowTrainer_T cannot be imported.*{said}"):
        attempt(tmp_path / "model", f"{file}:T")


@pytest.mark.long
def test_methods_that_glioflow_takes_the_place_of_are_named(mine, tmp_path):
    mine.write_text(MINE + "\n\nclass Heir(MyTrainer):\n    def initialize(self):\n        super().initialize()\n")
    assert attempt(tmp_path / "model", f"{mine}:Heir") == ["run_training"]
    assert attempt(tmp_path / "model", "nnUNetTrainer") == []


def test_another_trainer_takes_the_place_of_the_former(mine, tmp_path):
    write_trainer(tmp_path / "model", f"{mine}:MyTrainer")
    write_trainer(tmp_path / "model", "nnUNetTrainerDA5")
    assert list((tmp_path / "model").rglob("*.py")) == [tmp_path / "model" / MODULE]


def test_a_trainer_is_found_without_running_it(mine):
    mine.write_text(MINE + "\nraise SystemExit('this was run')\n")
    assert find_trainer(f"{mine}:MyTrainer") == (mine, "MyTrainer")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{home}/nothing.py:MyTrainer", "there is no file .*nothing.py"),
        ("{home}/my_trainer.py:MyTrianer", "no class 'MyTrianer'; did you mean 'MyTrainer'.; it has Helper, MyTrainer"),
        ("{home}/my_trainer.py", "needs a class, as .*my_trainer.py:Class; it has Helper, MyTrainer"),
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


def test_nnunets_trainers_are_known_without_helpers_and_abstract_ones():
    known = nnunet_trainers()
    assert {"nnUNetTrainer", "nnUNetTrainerDA5", "nnUNetTrainer_onlyMirror01_DA5"} <= set(known)
    assert all(name.startswith("nnUNet") for name in known)
    assert known["nnUNetTrainerCosAnneal"].name == "nnUNetTrainerCosAnneal.py"


def test_no_double_underscore_is_left_in_a_name_that_nnunet_takes_apart(tmp_path):
    file = write(tmp_path / "t.py", IMPORT + "class __My__Trainer(nnUNetTrainer): pass\n")
    assert trainer_class(f"{file}:__My__Trainer") == "GlioflowTrainer_My_Trainer"
    assert trainer_class(None) == "GlioflowTrainer"


def test_the_fingerprint_follows_every_file_that_is_copied_and_nothing_else(mine):
    spec = f"{mine}:MyTrainer"
    before = trainer_fingerprint(spec)
    (mine.parent / "data/loose.py").write_text("changed = 1\n")
    (mine.parent / "notes.txt").write_text("changed")
    os.utime(mine, (1, 1))
    assert trainer_fingerprint(spec) == before
    for path in (mine, mine.parent / "beside.py", mine.parent / "helpers/rates.py"):
        text = path.read_text()
        path.write_text(text + "changed = 1\n")
        assert trainer_fingerprint(spec) != before
        path.write_text(text)
    assert trainer_fingerprint(spec) == before


def test_a_whole_package_counts_but_not_its_hidden_folders(tmp_path):
    file = write(tmp_path / "lab/nets/t.py", "class T: pass\n")
    for folder in ("lab", "lab/nets", "lab/other", "lab/.venv/installed"):
        write(tmp_path / folder / "__init__.py", "")
    before = trainer_fingerprint(f"{file}:T")
    write(tmp_path / "lab/.venv/installed/__init__.py", "changed = 1\n")
    write(tmp_path / "outside.py", "changed = 1\n")
    assert trainer_fingerprint(f"{file}:T") == before
    write(tmp_path / "lab/other/__init__.py", "changed = 1\n")
    assert trainer_fingerprint(f"{file}:T") != before


def test_a_trainer_moved_to_another_folder_is_the_same_trainer(mine, tmp_path):
    before = trainer_fingerprint(f"{mine}:MyTrainer")
    mine.parent.rename(tmp_path / "elsewhere")
    assert trainer_fingerprint(f"{tmp_path / 'elsewhere' / 'my_trainer.py'}:MyTrainer") == before


def test_two_trainers_of_one_file_and_of_nnunet_differ(mine):
    mine.write_text(MINE + "\nclass Other(MyTrainer):\n    pass\n")
    specs = [f"{mine}:MyTrainer", f"{mine}:Other", "nnUNetTrainerDA5", "nnUNetTrainerNoDA"]
    assert len({trainer_fingerprint(spec) for spec in specs}) == 4
