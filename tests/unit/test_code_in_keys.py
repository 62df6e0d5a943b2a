"""Every per-case key holds the code that makes its value: where the code is other, what was made before stands no more."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import REPO

from glioflow import code_fingerprint as module

# What is kept case by case, the module that its keys name, and a file that decides a value of it.
KEPT = {
    "scores": ("glioflow.evaluation.cases", "glioflow/evaluation/metrics.py"),
    "lesion-wise scores": ("glioflow.evaluation.cases", "glioflow/evaluation/lesions.py"),
    "scores under every convention": ("compare_conventions", "glioflow/evaluation/surfaces.py"),
    "exports": ("export_scores", "export_scores.py"),
    "given masks": ("convert_predictions", "glioflow/imaging/labels.py"),
    "ensembles": ("ensemble_models", "glioflow/models/ensembles.py"),
    "pieces": ("choose_postprocessing", "glioflow/models/postprocessing.py"),
    "post-processed masks": ("postprocess_cases", "glioflow/imaging/components.py"),
    "checked cases": ("glioflow.cohorts.case_checks", "glioflow/imaging/volumes.py"),
    "converted cases": ("glioflow.cohorts.conversion", "glioflow/cohorts/grids.py"),
    "phantoms": ("make_phantom", "glioflow/cohorts/phantom/anatomy.py"),
    "kinds of errors": ("classify_failures", "glioflow/failure/failure_types.py"),
    "volumes": ("measure_volumes", "glioflow/quality/measures.py"),
    "shapes": ("measure_shapes", "glioflow/quality/outlines.py"),
    "quality of masks": ("measure_quality", "glioflow/quality/mask_features.py"),
    "features": ("extract_radiomics", "glioflow/failure/fast_shape.py"),
    "textures": ("extract_radiomics", "glioflow/failure/fast_extractor.py"),
    "features under variants": ("vary_features", "glioflow/failure/feature_variants.py"),
}


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A copy of the scripts, elsewhere, which fingerprints are taken of."""
    copy = Path(shutil.copytree(REPO / "scripts", tmp_path / "scripts"))
    monkeypatch.setattr(module, "SCRIPTS", copy)
    monkeypatch.chdir(tmp_path)
    return copy


def fingerprint(name: str) -> str:
    for kept in (module._parsed, module._kept, module.module_fingerprint):
        kept.cache_clear()
    return module.module_fingerprint(name)


@pytest.mark.parametrize("what", KEPT)
def test_changed_code_is_another_key_and_talk_is_none(scripts, monkeypatch, what):
    name, file = KEPT[what]
    before = fingerprint(name)
    with (scripts / "glioflow/console.py").open("a") as stream:
        stream.write("\nOTHER_WORDS = 1\n")
    with (scripts / file).open("a") as stream:
        stream.write("# a remark\n")
    assert fingerprint(name) == before
    with (scripts / file).open("a") as stream:
        stream.write("\n\ndef half(value: float) -> float:\n    return value / 2\n")
    assert fingerprint(name) != before
    monkeypatch.undo()
    assert fingerprint(name) == before  # of the same code in another place


def test_every_cache_of_cases_has_a_key_that_names_code():
    """No number that somebody must remember to raise guards a key; the form of an archive is no key."""
    text = {path: path.read_text() for path in (REPO / "scripts").rglob("*.py")}
    raised = {name for code in text.values() for name in re.findall(r"^(\w+_VERSION)\b.*=", code, re.MULTILINE)}
    assert raised == {"FORMAT_VERSION"}
    named = {name for code in text.values() for name in re.findall(r'module_fingerprint\("([\w.]+)"\)', code)}
    named |= {"glioflow.evaluation.cases", "glioflow.cohorts.conversion"}  # by __name__
    assert {name for name, _ in KEPT.values()} <= named


def test_a_module_that_is_not_there_is_no_code():
    with pytest.raises(ModuleNotFoundError, match=r"no module of glioflow is called glioflow\.nothing"):
        fingerprint("glioflow.nothing")
