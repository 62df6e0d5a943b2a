"""What docs/reruns.md says of trained models: the jobs planned for each change on a finished study with an ensemble.

Then the changes that train or predict again are made.
"""

import re
import shutil
from pathlib import Path

import pytest
from reruns import promised, tables
from test_demo import checkpoints
from variants import Variant, build_variant, results_of
from workflows import planned_jobs, snakemake

pytestmark = [pytest.mark.e2e, pytest.mark.long]

VARIANT = "post_treatment_cpu"
RESULTS = results_of(VARIANT)
TABLE = "Trained models"
KEYS = Path("scripts/glioflow/models/nnunet/keys.py")
VERSION = "        return version(package)"


@pytest.fixture(scope="module")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Variant:
    return build_variant(tmp_path_factory, VARIANT)


@pytest.fixture(scope="module")
def copy(variant: Variant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished study to change; the results' paths are relative, so it is a study of its own."""
    return shutil.copytree(variant.checkout, tmp_path_factory.mktemp("reruns") / "glioflow", symlinks=True)


def planned(variant: Variant, copy: Path, *changed: str) -> set[str]:
    return set(planned_jobs(snakemake(copy, "-n", *variant.study, *changed, "--", "all"))) - {"all"}


def test_every_row_of_the_page_is_tested():
    assert set(tables()[TABLE]) == {"`epochs`", "`threads`", "an upgrade of nnU-Net"}


@pytest.mark.parametrize(("key", "value"), [("epochs", 4), ("threads", 2)])
def test_a_changed_setting_of_a_model_plans_what_the_page_says(variant: Variant, copy: Path, key: str, value: int):
    found = planned(variant, copy, "--config", f"models={{attention: {{{key}: {value}}}}}")
    assert found == promised(TABLE, f"`{key}`")
    assert planned(variant, copy) == set()


def test_an_upgrade_of_nnunet_predicts_again(variant: Variant, copy: Path):
    text = (copy / KEYS).read_text()
    assert text.count(VERSION) == 1
    (copy / KEYS).write_text(text.replace(VERSION, f'{VERSION} + ".1"'))
    found = planned(variant, copy)
    (copy / KEYS).write_text(text)
    assert found == promised(TABLE, "an upgrade of nnU-Net")


def test_other_epochs_train_afresh_and_the_former_training_comes_back(variant: Variant, copy: Path):
    fold = str(RESULTS / "models/attention/fold_0/manifest.json")
    before = checkpoints(copy)
    run = snakemake(copy, *variant.study, "--config", "models={attention: {epochs: 4}}", "--", fold)
    assert run.returncode == 0, run.stdout
    assert "the former training is kept in" in run.stdout
    assert "epoch 1/4" in run.stdout
    back = snakemake(copy, *variant.study, "--", fold)
    assert back.returncode == 0, back.stdout
    assert "a training of exactly this was kept, and is used again" in back.stdout
    assert not re.search(r"epoch \d/", back.stdout)
    after = checkpoints(copy)
    assert len(before) == 4
    assert {path: after[path] for path in before} == before


def test_probabilities_that_were_deleted_are_made_again_as_the_message_says(variant: Variant, copy: Path):
    ensemble = copy / RESULTS / "predictions/mean/cv"
    records = [str(RESULTS / f"models/{model}/probabilities_released.json") for model in ("attention", "plain")]
    targets = (*variant.study, "--", str(RESULTS / "predictions/mean/cv/predictions.csv"), *records)
    first = sorted(ensemble.glob("*.nii.gz"))[0]
    before = first.read_bytes()
    first.unlink()
    (ensemble / "predictions.csv").unlink()
    said = snakemake(copy, *targets).stdout
    assert "the probabilities of the model 'attention' are gone" in said
    assert f"delete {records[0]} and {records[1]} and run again with --forcerun train_fold predict_cases" in said
    for record in records:
        (copy / record).unlink()
    run = snakemake(copy, "--forcerun", "train_fold", "predict_cases", *targets)
    assert run.returncode == 0, run.stdout
    assert not re.search(r"epoch \d/", run.stdout)
    assert first.read_bytes() == before
