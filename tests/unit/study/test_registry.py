"""The registry of data sets, and the page that tells a newcomer how to add to it."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import REPO

from glioflow.cohorts.layouts import LAYOUTS, FoundCase
from glioflow.cohorts.layouts.listing import Listing, walk_files
from glioflow.cohorts.layouts.patterns import pattern_expression
from glioflow.console import UserError
from glioflow.imaging.labels import REGIONS
from glioflow.study import registry
from glioflow.study.registry import Dataset, datasets, label_schemes, patient_of

PAGE = (REPO / "docs/add-a-cohort.md").read_text(encoding="utf-8")


UNDECIDED = ("lumiere",)  # its own files contradict each other on what its labels mean: docs/data-sets.md


def block(language: str, words: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return next(text for text in blocks if words in text)


@pytest.mark.parametrize("key", datasets())
def test_an_entry_names_a_layout_a_scheme_and_patterns_that_exist(key):
    entry = datasets()[key]
    assert entry.layout in LAYOUTS
    assert entry.label_scheme in label_schemes() or key in UNDECIDED
    assert re.compile(entry.patient_id).groups >= 1
    assert entry.source and entry.licence and entry.citation
    if entry.layout == "patterns":
        assert entry.files and set(entry.files) == {*entry.channels, "label"}


def test_what_is_irregular_in_a_data_set_is_on_the_page():
    page = (REPO / "docs/data-sets.md").read_text(encoding="utf-8")
    assert [key for key, entry in datasets().items() if entry.access != "made" and f"`{key}`" not in page] == []


def test_every_scheme_ends_in_canonical_labels():
    canonical = {label for labels in REGIONS.values() for label in labels}
    for name, scheme in label_schemes().items():
        assert set(scheme.values()) <= canonical, name
        assert 0 not in scheme, name


@pytest.mark.parametrize(
    ("key", "case", "patient"),
    [
        ("brats2018", "Brats18_CBICA_AAB_1", "Brats18_CBICA_AAB"),
        ("brats2020", "BraTS20_Training_001", "BraTS20_Training_001"),
        ("brats2023_gli", "BraTS-GLI-00005-001", "BraTS-GLI-00005"),
        ("upenn_gbm", "UPENN-GBM-00012_21", "UPENN-GBM-00012"),
        ("lgg_kaggle", "TCGA_CS_4941_19960909", "TCGA_CS_4941"),
        ("brats2021", "BraTS2021_00758", "BraTS2021_00626"),
        ("ucsf_pdgm", "UCSF-PDGM-0391_FU016d", "UCSF-PDGM-0391"),
        ("ucsf_alptdg", "100001_time2", "100001"),
        ("ucsd_ptgbm", "UCSD-PTGBM-0002_01", "UCSD-PTGBM-0002"),
        ("lumiere", "Patient-001_week-000-1", "Patient-001"),
    ],
)
def test_the_sessions_of_a_patient_share_the_patient(key, case, patient):
    assert patient_of(case, datasets()[key]) == patient


def test_the_entry_on_the_page_is_a_valid_one():
    entry = yaml.safe_load(block("yaml", "my_hospital:").replace('"sha256:…"', f'"sha256:{"0" * 64}"'))
    assert Dataset.model_validate(entry["my_hospital"]).cases == 120


def test_the_function_on_the_page_finds_cases(tmp_path):
    for case in ("a", "b"):
        (tmp_path / case).mkdir()
        (tmp_path / case / "f.nii.gz").touch()
    names = {"Path": Path, "Dataset": Dataset, "Listing": Listing, "FoundCase": FoundCase}
    names |= {"walk_files": walk_files, "patient_of": patient_of}
    exec(block("python", "def find"), names)
    listing = names["find"](tmp_path, datasets()["phantom"])
    assert [case.case_id for case in listing.cases] == ["a", "b"]
    assert Path(listing.cases[0].files["flair"]).exists()


def test_the_page_explains_every_problem_that_can_be_found():
    sources = [*(REPO / "scripts/glioflow/cohorts").rglob("*.py"), REPO / "scripts/compare_cohorts.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    found = set(re.findall(r'(?:problem_row|report)\(\s*[^()]*?, "([a-z_]+)",', text))
    explained = set(re.findall(r"`([a-z_]+)`", PAGE[PAGE.index("## What is checked") : PAGE.index("## The split")]))
    assert len(found) > 15
    assert found - explained == set()


@pytest.mark.parametrize(
    ("pattern", "path", "case"),
    [
        ("{case}.nii.gz", "a.1.nii.gz", "a.1"),
        ("{case}.nii.gz", "a.nii", "a"),
        ("**/{case}/FLAIR*", "x/y/a/FLAIR_brain.nii.gz", "a"),
        ("**/{case}/{case}_t1", "a/a_t1.nii", "a"),
        ("**/{case}/{case}_t1", "a/b_t1.nii", None),
        ("{case}/t1", "x/a/t1.nii", None),
        ("{case}/t1", "a/t1.txt", None),
    ],
)
def test_a_pattern_takes_the_case_from_the_path(pattern, path, case):
    match = pattern_expression(pattern).fullmatch(path)
    assert (match and match["case"]) == case


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("datasets.yaml", "a: {title: b\nc: d\n", "line 2, column 2: expected ',' or '}'"),
        ("datasets.yaml", "a: b: c\n", "line 1, column 5: mapping values are not allowed here"),
        ("datasets.yaml", "- a\n", "found list; expected a mapping of keys to values"),
        ("datasets.yaml", "a: {title: 3}\n", "a.title: Input should be a valid string"),
        ("label_schemes.yaml", "mine: {0: 0, 7: 9}\n", "mine.7: Input should be less than or equal to 4"),
        ("label_schemes.yaml", "mine: {0: 0, ED: 2}\n", "mine.ED.*valid integer"),
        ("label_schemes.yaml", "mine: [1, 2]\n", "mine: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_in_a_registry_is_told_with_its_place(tmp_path, monkeypatch, name, text, words):
    monkeypatch.setattr(registry, "CONFIG_DIR", tmp_path)
    (tmp_path / name).write_text(text)
    read = {"datasets.yaml": datasets, "label_schemes.yaml": label_schemes}[name]
    with pytest.raises(UserError, match=f"(?s){tmp_path / name}:.*{words}"):
        read.__wrapped__()
