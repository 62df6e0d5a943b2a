"""What ``snakemake verify_results`` says of a finished study, and that deleting what it names makes the study whole again."""

import csv
import re
from pathlib import Path

import pytest
import yaml
from scored_study import build_scored, elsewhere, run_study
from workflows import snakemake

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a copy of the finished study."""
    checkout, study = build_scored(tmp_path_factory)
    clone = elsewhere(checkout, tmp_path_factory.mktemp("verified") / "glioflow")
    (clone / "study.yaml").write_text(yaml.safe_dump(study))
    return clone


def verify(clone: Path):
    return snakemake(clone, "--configfile", "study.yaml", "--", "verify_results")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file, with its time and size as they were."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tables(clone: Path) -> dict[str, bytes]:
    """Return the tables of the results, without those of times and of what was verified."""
    found = [path for path in (clone / "results").rglob("*.csv") if path.name not in ("verified.csv", "jobs.csv")]
    return {str(path.relative_to(clone)): path.read_bytes() for path in found}


def test_deleting_what_is_named_and_running_again_makes_the_study_whole(clone: Path):
    before = tables(clone)
    run = verify(clone)
    assert run.returncode == 0, run.stdout
    assert re.search(r"\[verify_results\] \d\d+ files as they were finished", run.stdout)
    flip(clone / "results/predictions/m/given/case1.nii.gz")
    scores = clone / "results/scores/n/given.csv"
    scores.write_text(scores.read_text()[:-50])
    report = clone / "results/report/index.html"
    report.write_text(report.read_text().replace("Dice", "dice", 1))
    changed = ["results/predictions/m/given/case1.nii.gz", "results/report/index.html", "results/scores/n/given.csv"]

    again = verify(clone)
    assert again.returncode != 0
    with open(clone / "results/verified.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == changed
    assert all(f"{row['file']}: {row['found']}" in again.stdout for row in rows)
    for row in rows:
        for path in row["delete"].split():
            (clone / path).unlink()
    study = yaml.safe_load((clone / "study.yaml").read_text())
    assert run_study(clone, study, dry=False).returncode == 0
    assert verify(clone).returncode == 0
    assert tables(clone) == before
