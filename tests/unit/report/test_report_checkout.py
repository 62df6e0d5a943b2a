"""The commit of the workflow: git's of its own checkout, a bundle's record of a copy, and nothing where neither is there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from glioflow.files import write_json
from glioflow.report.checkout import Commit, describe_commit, read_commit

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *command: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *command], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of one commit."""
    root = tmp_path / "checkout"
    for name in ("Snakefile", "rules/a.smk", "scripts/a.py", "config/config.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("one\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    return root


def test_the_commit_is_that_of_the_checkout(checkout: Path) -> None:
    assert read_commit(checkout) == Commit(git(checkout, "rev-parse", "HEAD"), changed=False)


def test_a_file_that_differs_is_a_change_and_the_study_or_a_new_file_is_none(checkout: Path) -> None:
    (checkout / "config/config.yaml").write_text("my study\n")
    (checkout / "config/other.yaml").write_text("my other study\n")
    os.utime(checkout / "scripts/a.py", (1, 1))
    assert not read_commit(checkout).changed
    (checkout / "scripts/a.py").write_text("two\n")
    assert read_commit(checkout).changed
    git(checkout, "add", "scripts/a.py")
    assert read_commit(checkout).changed


def test_a_hook_of_another_checkout_is_no_matter(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    assert read_commit(checkout) is not None


@pytest.mark.parametrize("place", ["of the user", "no commit yet", "no git", "no checkout"])
def test_where_the_workflow_is_no_checkout_of_its_own_nothing_is_told(
    checkout: Path, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = {"of the user": checkout / "scripts", "no checkout": tmp_path}.get(place, checkout)
    if place == "no commit yet":
        shutil.rmtree(checkout / ".git")
        git(checkout, "init", "--quiet")
    if place == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    assert read_commit(root) is None and describe_commit(root) is None


def test_a_copy_has_the_commit_that_was_recorded_changed_where_its_code_is_no_longer_that(checkout: Path) -> None:
    commit, record = read_commit(checkout), describe_commit(checkout)
    copied = checkout / "results/bundle/workflow"  # a folder of the checkout, and no checkout
    for part in ("Snakefile", "rules/a.smk", "scripts/a.py"):
        (copied / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkout / part, copied / part)
    write_json(copied / "commit.json", record)
    assert read_commit(copied) == commit and describe_commit(copied) == record
    (copied / "rules/a.smk").write_text("two\n")
    assert read_commit(copied) == Commit(commit.commit, changed=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"commit": "<b>", "changed": false, "files": ""}', "\0"])
def test_a_record_that_is_none_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "commit.json").write_text(text)
    assert read_commit(tmp_path) is None
