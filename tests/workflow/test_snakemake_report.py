"""``snakemake --report`` has the tables and figures of a study in categories, each with a caption that names its own study."""

import json
import re
import zipfile
from pathlib import Path

import yaml
from conftest import REPO
from scored_study import build_scored, elsewhere
from workflows import snakemake

CAPTIONS = REPO / "rules/captions"


def test_every_caption_is_of_an_output_and_every_flag_has_a_caption() -> None:
    rules = "".join(path.read_text() for path in (REPO / "rules").glob("*.smk"))
    named = re.findall(r'caption="captions/(\w+)\.rst"', rules)
    assert sorted(named) == sorted(path.stem for path in CAPTIONS.iterdir())
    assert rules.count("report(\n") == len(named) == rules.count('category="')


def test_the_archive_has_every_category_with_its_captions(tmp_path_factory, tmp_path: Path) -> None:
    checkout, study = build_scored(tmp_path_factory)
    clone = elsewhere(checkout, tmp_path / "glioflow")
    (clone / "study.yaml").write_text(yaml.safe_dump(study))
    made = snakemake(clone, "--configfile", "study.yaml", "--report", "report.zip", "--", "report")
    assert made.returncode == 0, made.stdout
    with zipfile.ZipFile(clone / "report.zip") as packed:
        names = packed.namelist()
        (page,) = (packed.read(name).decode() for name in names if name.endswith("report.html"))
    categories = {
        "Report",
        "Methods",
        "Scores",
        "Models compared",
        "Definition of the metrics",
        "Failures",
        "Volumes and shape",
    }
    assert {category for category in categories if json.dumps(category) in page} == categories
    assert "Scores of m on given by region and metric" in page
    assert any(name.endswith("associations.png") for name in names)
    captions = re.findall(r'"caption": "([^"]*)"', page)
    assert len(captions) > 20
    assert not any("{{" in caption or "snakemake." in caption for caption in captions)
