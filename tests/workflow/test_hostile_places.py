"""Paths with spaces and umlauts, a private umask, a clock that was set back, and disks that are full or may only be read."""

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import write_case
from scored_study import CASES
from workflows import copy_checkout, planned_jobs, snakemake

pytestmark = pytest.mark.long

SCORES = "scores/m/given.csv"
RESULTS = "Ergebnisse für später"
STUDY_FILE = "meine Studie (ä).yaml"


def score(checkout: Path, data: Path, masks: Path, results: str, study_file: str, **options: int) -> None:
    """Score masks of four cases in a new checkout; ``data`` and ``masks`` are folders beside it."""
    copy_checkout(checkout)
    masks.mkdir()
    for number in range(CASES):
        folder = write_case(data, f"case{number}", tumour=2 + number)
        shutil.copyfile(folder / f"case{number}_seg.nii.gz", masks / f"case{number} é.nii.gz")
    given = {"cohort": "c", "label_scheme": "brats2021", "predictions": f"../{masks.name}/{{case}} é.nii.gz"}
    study = {
        "results": results,
        "cohorts": {"c": {"dataset": "brats2021", "path": f"../{data.name}"}},
        "models": {"m": given},
        "failure": False,
    }
    (checkout / study_file).write_text(yaml.safe_dump(study, allow_unicode=True))
    target = ["--configfile", study_file, "--", f"{results}/scores/m/given_summary.csv"]
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "2", *target]
    run = subprocess.run(command, cwd=checkout, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert run.returncode == 0, run.stdout


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout under strange names, in which masks were scored by a user whose files are private."""
    root = tmp_path_factory.mktemp("strange") / "Größe & 'Form' [2]"
    score(root / "mein glioflow", root / "Bilder, roh", root / "Masken ü", RESULTS, STUDY_FILE, umask=0o077)
    return root / "mein glioflow"


def target() -> tuple[str, ...]:
    return ("--configfile", STUDY_FILE, "--", f"{RESULTS}/scores/m/given_summary.csv")


def test_strange_paths_and_a_private_umask_change_no_score(strange: Path, tmp_path: Path):
    score(tmp_path / "glioflow", tmp_path / "data", tmp_path / "masks", "results", "study.yaml")
    assert (strange / RESULTS / SCORES).read_bytes() == (tmp_path / "glioflow/results" / SCORES).read_bytes()
    assert planned_jobs(snakemake(strange, "-n", *target())) == {}


def test_what_a_private_user_makes_stays_private(strange: Path):
    paths = [path for path in (strange / RESULTS).rglob("*") if not path.is_symlink()]
    assert len(paths) > 20
    assert [str(path) for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_clock_that_was_set_back_neither_reruns_nor_hides_a_change(strange: Path):
    """All files are of tomorrow then, but for a mask that is put in now."""
    put_off(strange / RESULTS)
    assert planned_jobs(snakemake(strange, "-n", *target())) == {}
    masks = strange.parent / "Masken ü"
    put_off(strange.parent / "Bilder, roh", masks)
    before = (strange / RESULTS / SCORES).read_text()
    shutil.copyfile(masks / "case0 é.nii.gz", masks / "case1 é.nii.gz")
    run = snakemake(strange, *target())
    assert run.returncode == 0, run.stdout
    assert "4 cases, 12 rows, 3 already scored" in run.stdout
    changed = zip(before.splitlines(), (strange / RESULTS / SCORES).read_text().splitlines(), strict=True)
    assert {new.split(",")[0] for old, new in changed if old != new} == {"case1"}
    assert planned_jobs(snakemake(strange, "-n", *target())) == {}


def put_off(*folders: Path) -> None:
    """Let all files of the folders be of tomorrow."""
    tomorrow = time.time() + 86400
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        os.utime(path, (tomorrow, tomorrow))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a study of phantoms, of which nothing is made."""
    checkout = copy_checkout(tmp_path / "glioflow")
    phantom = {"dataset": "phantom", "cases": 4, "planted": {}, "shape": [96, 96, 96], "spacing_mm": [2, 2, 2]}
    study = {
        "cohorts": {"a": phantom},
        "models": {"m": {"cohort": "a", "folds": 2}},
        "results": str(tmp_path / "small/results"),
    }
    (checkout / "study.yaml").write_text(yaml.safe_dump(study))
    return checkout


def test_results_that_may_only_be_read_are_told_before_anything_starts(checkout: Path, small: Path):
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    run = snakemake(checkout, "--configfile", "study.yaml", "--", f"{small}/results/cohorts/a/phantom.csv")
    assert run.returncode != 0
    assert "Read-only file system" in run.stdout and str(small) in run.stdout
    assert "[make_phantom" not in run.stdout and "Traceback" not in run.stdout


def test_a_full_folder_of_temporary_files_is_told_before_anything_starts(checkout: Path, small: Path):
    with pytest.raises(OSError, match="No space left"), open(small / "fill", "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    target = f"{checkout}/results/cohorts/a/phantom.csv"
    told = {"TMPDIR": str(small), "config": f"results={checkout}/results"}
    run = snakemake(checkout, "--configfile", "study.yaml", "--config", told.pop("config"), "--", target, **told)
    assert run.returncode != 0
    assert "temporary files go there: make room, or set $TMPDIR" in run.stdout
    assert "[make_phantom" not in run.stdout and "Traceback" not in run.stdout


def test_results_on_a_full_disk_end_in_one_line_and_go_on_once_there_is_room(checkout: Path, small: Path):
    phantoms = f"{small}/results/cohorts/a/phantom.csv"
    run = snakemake(checkout, "--configfile", "study.yaml", "--", phantoms)
    assert run.returncode != 0
    assert f"no space is left on the file system at {small}" in run.stdout
    assert "Traceback" not in run.stdout
    subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
    run = snakemake(checkout, "--configfile", "study.yaml", "--", phantoms)
    assert run.returncode == 0, run.stdout
    assert Path(phantoms).read_text().count("\n") == 1 + 4
