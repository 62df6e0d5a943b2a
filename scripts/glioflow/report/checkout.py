"""Which commit the workflow is at: git's of its checkout, or what a bundle recorded for the copy that it holds.

It is asked when a report is written, and is no param of any rule: a commit alone makes nothing again.
"""

import json
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glioflow.code_fingerprint import SCRIPTS
from glioflow.files import key_of, sha256_file

CHECKOUT = SCRIPTS.parent
RECORD = "commit.json"  # in a bundle's copy of the workflow
SHOWN_COMMIT = 12
TIMEOUT_S = 60
STUDY = "config/config.yaml"  # the demo's, which a user may make a study of; the report shows all of it


@dataclass(frozen=True)
class Commit:
    """A commit of the workflow: its hash, and whether files that git knows differ from it."""

    commit: str
    changed: bool

    @property
    def words(self) -> str:
        """The commit for people."""
        return f"commit {self.commit[:SHOWN_COMMIT]}{', changed' if self.changed else ''}"


def read_commit(root: Path = CHECKOUT) -> Commit | None:
    """Return the commit of the workflow in ``root``; None where that is neither a git checkout nor of a bundle that has one."""
    return _asked(root) or _recorded(root)


def describe_commit(root: Path = CHECKOUT) -> dict[str, Any] | None:
    """Return what a bundle records for its copy of the workflow in ``root``: the commit, and the files that it is true of."""
    commit = read_commit(root)
    return {**asdict(commit), "files": _files_key(root)} if commit else None


def _asked(root: Path) -> Commit | None:
    """Return what git says of ``root``. A folder within another checkout, as of a user's own study, is none of git's."""
    told = _git(root, "rev-parse", "--show-prefix", "HEAD")
    prefix, _, commit = (told or "-\n").partition("\n")
    if prefix or not commit:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){STUDY}")
    return None if changes is None else Commit(commit.strip(), bool(changes))


def _git(root: Path, *command: str) -> str | None:
    """Return what git prints, None where there is no git or it fails."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}  # a hook's are of its own checkout
    whole = ["git", "--no-optional-locks", "-C", str(root), *command]
    try:
        done = subprocess.run(whole, capture_output=True, text=True, check=True, timeout=TIMEOUT_S, env=env)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout


def _recorded(root: Path) -> Commit | None:
    """Return the commit that a bundle recorded, changed where the code beside it is no longer that of then."""
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
        commit, changed = record["commit"], bool(record["changed"]) or record["files"] != _files_key(root)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Commit(commit, changed) if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", str(commit)) else None


def _files_key(root: Path) -> str:
    """Return a hash of the workflow's code in ``root``."""
    files = [root / "Snakefile", *root.glob("rules/*.smk"), *root.glob("scripts/**/*.py")]
    return key_of({path.relative_to(root).as_posix(): sha256_file(path) for path in sorted(files) if path.is_file()})
