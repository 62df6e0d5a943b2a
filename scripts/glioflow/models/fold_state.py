"""Whose checkpoints a fold's folder holds: its key, and what happens to those of another key."""

import os
from datetime import UTC, datetime
from pathlib import Path

from glioflow.console import Console
from glioflow.files import read_json

STATE = "glioflow.json"  # beside the checkpoints: whose they are


def take_place(fold: Path, key: str, console: Console) -> None:
    """Make ``fold`` the folder of ``key``: leave it, set a foreign one aside under its own key, bring back one set aside."""
    aside = fold.parent / "superseded"
    if fold.exists():
        state = fold / STATE
        held = read_json(state)["key"] if state.exists() else "unknown"
        if held == key:
            return
        aside.mkdir(exist_ok=True)
        kept = aside / f"{fold.name}_{held[:12]}"
        if kept.exists():
            kept = aside / f"{kept.name}_{datetime.now(UTC):%Y%m%dT%H%M%S}"
        os.replace(fold, kept)
        console.say(f"what this fold is trained from has changed; the former training is kept in {kept}")
    if (returned := aside / f"{fold.name}_{key[:12]}").exists():
        os.replace(returned, fold)
        console.say("a training of exactly this was kept, and is used again")
    fold.mkdir(parents=True, exist_ok=True)
