"""Whose checkpoints a fold's folder holds: its key, and what happens to those of another key."""

import os
from datetime import UTC, datetime
from pathlib import Path

from glioflow.console import Console
from glioflow.files import read_json

STATE = "glioflow.json"  # beside the checkpoints: whose they are


def prepare_fold(fold: Path, key: str, console: Console) -> None:
    """Make ``fold`` the folder of ``key``: leave it, archive a stale one under its own key, bring back an archived one."""
    archive = fold.parent / "superseded"
    if fold.exists():
        state = fold / STATE
        held = read_json(state)["key"] if state.exists() else "unknown"
        if held == key:
            return
        archive.mkdir(exist_ok=True)
        kept = archive / f"{fold.name}_{held[:12]}"
        if kept.exists():
            kept = archive / f"{kept.name}_{datetime.now(UTC):%Y%m%dT%H%M%S}"
        os.replace(fold, kept)
        console.say(f"what this fold is trained from has changed; the former training is kept in {kept}")
    if (returned := archive / f"{fold.name}_{key[:12]}").exists():
        os.replace(returned, fold)
        console.say("a training of exactly this was kept, and is used again")
    fold.mkdir(parents=True, exist_ok=True)
