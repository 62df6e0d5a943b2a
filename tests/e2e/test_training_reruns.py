"""What docs/reruns.md says of trained models: the jobs planned for each change on a finished study with ensembles."""

import shutil
from pathlib import Path

import pytest
import yaml
from reruns import promised, tables
from workflows import planned_jobs, snakemake

pytestmark = pytest.mark.e2e

TABLE = "Trained models"
KEYS = Path("scripts/glioflow/models/nnunet/keys.py")
VERSION = "        return version(package)"


@pytest.fixture(scope="module")
def copy(composite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished study to change."""
    return shutil.copytree(composite.checkout, tmp_path_factory.mktemp("reruns") / "glioflow", symlinks=True)


def planned(copy: Path) -> set[str]:
    return set(planned_jobs(snakemake(copy, "-n", "--configfile", "study.yaml", "--", "all"))) - {"all"}


def test_every_row_of_the_page_is_tested():
    assert set(tables()[TABLE]) == {"`epochs`", "`threads`", "an upgrade of nnU-Net"}


@pytest.mark.parametrize(("key", "value"), [("epochs", 4), ("threads", 2)])
def test_a_changed_setting_of_a_model_plans_what_the_page_says(copy: Path, key: str, value: int):
    text = (copy / "study.yaml").read_text()
    study = yaml.safe_load(text)
    assert study["models"]["full"][key] != value
    study["models"]["full"][key] = value
    (copy / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    found = planned(copy)
    (copy / "study.yaml").write_text(text)
    assert found == promised(TABLE, f"`{key}`")
    assert planned(copy) == set()


def test_an_upgrade_of_nnunet_predicts_again(copy: Path):
    text = (copy / KEYS).read_text()
    assert text.count(VERSION) == 1
    (copy / KEYS).write_text(text.replace(VERSION, f'{VERSION} + ".1"'))
    found = planned(copy)
    (copy / KEYS).write_text(text)
    assert found == promised(TABLE, "an upgrade of nnU-Net")
