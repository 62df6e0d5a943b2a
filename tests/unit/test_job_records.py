"""The records beside outputs, and what Snakemake knows from them."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import Params
from snakemake.persistence.file import FilePersistence

from glioflow.job_records import UNKNOWN, record_path, remove_records, restore_notes, write_records

PATTERNS = ["results/scores/{model,a|b}/{set}.csv", "elsewhere/{x}.csv"]
OUTPUT = "results/scores/a/cv.csv"


START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def finished(**given: object) -> SimpleNamespace:
    return SimpleNamespace(**{"rule": "score", "wildcards": [], "log": [], "threads": 1, "resources": {}, **given})


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A finished job: an output, its input below the results folder and one outside, params of which one is a path there."""
    monkeypatch.chdir(tmp_path)
    for name in (OUTPUT, "results/cohorts/c/manifest.csv", "mine.csv", "elsewhere/x.csv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    inputs = ["results/cohorts/c/manifest.csv", "mine.csv"]
    job = finished(input=inputs, output=[OUTPUT], params=["results/models/a", {"results": ["results", 1.5, None]}])
    write_records(job, START)
    return job


def notes(output: str = OUTPUT) -> object:
    return FilePersistence(path=Path(".snakemake"))._read_record(output)


def test_notes_say_what_the_record_says(made):
    restore_notes("results", PATTERNS)
    found = notes()
    assert found.params == sorted(map(repr, made.params))
    assert found.input == ["mine.csv", "results/cohorts/c/manifest.csv"]
    assert found.input_checksums["mine.csv"] == "sha256:" + hashlib.sha256(b"mine.csv").hexdigest()
    assert notes("elsewhere/x.csv") is None


def test_a_moved_folder_is_known_under_its_new_name(made):
    Path("results").rename("moved")
    restore_notes("moved", [pattern.replace("results", "moved") for pattern in PATTERNS])
    found = notes("moved/scores/a/cv.csv")
    assert sorted(found.params) == sorted([repr("moved/models/a"), repr({"results": ["moved", 1.5, None]})])
    assert found.input == ["mine.csv", "moved/cohorts/c/manifest.csv"]
    assert set(found.input_checksums) == set(found.input)


@pytest.mark.parametrize("folder", ["results", "moved"])
def test_a_file_that_is_two_inputs_of_a_job_counts_twice_as_snakemake_counts_it(made, folder):
    manifest = "results/cohorts/c/manifest.csv"
    write_records(finished(input=[manifest, "mine.csv", manifest], output=[OUTPUT], params=[]), START)
    Path("results").rename(folder)
    restore_notes(folder, [pattern.replace("results", folder) for pattern in PATTERNS])
    moved = manifest.replace("results", folder)
    assert notes(OUTPUT.replace("results", folder)).input == ["mine.csv", moved, moved]


@pytest.mark.parametrize("damage", ["missing", "torn", "of another output"])
def test_an_output_without_its_own_record_counts_as_made_from_something_else(made, damage):
    path = record_path(OUTPUT)
    if damage == "missing":
        remove_records(made.output)
        assert not path.exists()
    elif damage == "torn":
        path.write_text(path.read_text()[:40])
    else:
        path.write_text(path.read_text().replace("scores/a/cv.csv", "scores/a/test.csv"))
    restore_notes("results", PATTERNS)
    assert notes().params == UNKNOWN["params"]


@pytest.mark.parametrize("moved", [False, True])
def test_what_was_made_from_a_file_that_was_deleted_by_hand_is_due(made, moved):
    source = Path("results/cohorts/c/manifest.csv")
    write_records(finished(input=[], output=[str(source)], params=[]), START)
    source.unlink()
    results = "moved" if moved else "results"
    Path("results").rename(results)
    restore_notes(results, [pattern.replace("results", results) for pattern in PATTERNS])
    assert notes(OUTPUT.replace("results", results)).params == UNKNOWN["params"]


def test_a_deleted_file_without_its_record_makes_nothing_due(made):
    Path("results/cohorts/c/manifest.csv").unlink()  # as with its folder, to save room
    restore_notes("results", PATTERNS)
    assert notes().params == sorted(map(repr, made.params))


def test_former_notes_are_replaced_where_they_differ_and_kept_where_they_do_not(made):
    restore_notes("results", PATTERNS)
    (note,) = [path for path in Path(".snakemake/metadata").rglob("*") if path.is_file()]
    before = note.stat()
    restore_notes("results", PATTERNS)
    assert note.stat().st_mtime_ns == before.st_mtime_ns
    write_records(finished(input=[], output=[OUTPUT], params=["other"]), START)
    restore_notes("results", PATTERNS)
    assert notes().params == ["'other'"]


def test_without_results_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    restore_notes("results", PATTERNS)
    assert list(tmp_path.iterdir()) == []


def test_reading_everything_again_is_no_setting(made):
    class Params(list):
        reread = 1234567

    write_records(finished(input=[], output=[OUTPUT], params=Params(["a", 1234567])), START)
    restore_notes("results", PATTERNS)
    assert notes().params == sorted(["'a'", "False"])


@pytest.fixture
def phantoms(tmp_path, monkeypatch):
    """A finished job whose output is a table of images in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in (OUTPUT, "results/images/p1/t1.nii.gz", "results/images/p2/t1.nii.gz"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    write_records(finished(input=[], output=[OUTPUT], params=Params(fromdict={"made_in": "results/images"})), START)


def test_files_that_no_rule_names_are_looked_after(phantoms):
    image = Path("results/images/p1/t1.nii.gz")
    restore_notes("results", PATTERNS)
    assert notes().params == ["'results/images'"]
    image.touch()
    restore_notes("results", PATTERNS)
    assert notes().params == ["'results/images'"], "a copy with the same content"
    Path("results").rename("moved")
    restore_notes("moved", [pattern.replace("results", "moved") for pattern in PATTERNS])
    assert notes("moved/scores/a/cv.csv").params == ["'moved/images'"]


@pytest.mark.parametrize("damage", ["deleted", "altered"])
def test_one_of_them_that_is_missing_or_another_makes_its_job_due(phantoms, damage):
    image = Path("results/images/p1/t1.nii.gz")
    if damage == "deleted":
        image.unlink()
    else:
        image.write_text("other")
    restore_notes("results", PATTERNS)
    assert notes().params == UNKNOWN["params"]


def test_a_record_has_the_job_with_names_and_times(made):
    params = Params(fromdict={"region": "WT", "sets": ["cv", "test"]})
    write_records(finished(input=[], output=[OUTPUT], params=params, rule="select", log=["l.log"]), START)
    job = json.loads(record_path(OUTPUT).read_text())["job"]
    assert job["rule"] == "select" and job["log"] == [[None, "l.log"]]
    assert job["params"] == [["region", "WT"], ["sets", ["cv", "test"]]]
    assert job["started"] == "2026-01-02T03:04:05+00:00" < job["ended"]


def test_a_record_has_what_the_job_asked_for(made):
    asked = {"mem_mb": 4000, "runtime": 30, "gpu": 1, "tmpdir": "/tmp"}
    write_records(finished(input=[], output=[OUTPUT], params=[], threads=8, resources=asked), START)
    assert json.loads(record_path(OUTPUT).read_text())["asked"] == {"threads": 8, "mem_mb": 4000, "runtime": 30, "gpu": 1}
