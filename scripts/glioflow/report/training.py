"""The report on a trained model: its settings, its curves and its folds."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.figures import CHANNEL_NAMES
from glioflow.labels import REGION_NAMES
from glioflow.report.figures import draw_curves
from glioflow.report.source import Source, embed_figure
from glioflow.report.tables import UNDEFINED, Cell, Table, count_cell, day, join_words, number, number_cell, slug

PLAN_WORDS = {"patch_size": "patch", "batch_size": "batch size", "n_stages": "stages", "base_features": "base features"}


def training_section(source: Source, name: str) -> dict[str, Any]:
    """Return what the page says of a trained model."""
    model = source.study["models"][name]
    curves = {fold: table for fold in range(source.trained[name]) if len(table := source.curves(name, fold))}
    last = {fold: table.iloc[-1] for fold, table in curves.items()}
    ends = ", ".join(f"fold {fold} {number(line['val_loss'], 2)}" for fold, line in last.items())
    alt = f"Losses and pseudo-Dice of {name} over the epochs, one line a fold. Last validation loss: {ends}."
    return {
        "name": name,
        "anchor": slug("model", name),
        "facts": model_facts(model),
        "figure": embed_figure(draw_curves(curves), alt) if curves else None,
        "table": fold_table(name, source.folds[name], model["regions"], last),
    }


def model_facts(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a model's settings, as pairs of a term and its description."""
    overrides = [f"{PLAN_WORDS[key]} {plan_value(value)}" for key, value in model["plans"].items() if value is not None]
    epochs, iterations = count(model["epochs"], "epoch"), count(model["iterations_per_epoch"], "iteration")
    return [
        ("Cohort", model["cohort"]),
        ("Channels", join_words(CHANNEL_NAMES[channel] for channel in model["channels"])),
        ("Regions", join_words(f"{region} ({REGION_NAMES[region]})" for region in model["regions"])),
        (
            "Network",
            f"nnU-Net {model['configuration']}, " + (f"with {join_words(overrides)}" if overrides else "as nnU-Net plans it"),
        ),
        ("Training", f"{epochs} of {iterations}, learning rate {model['initial_lr']:g} at the start, seed {model['seed']}"),
        ("Prediction", f"{'with' if model['tta'] else 'without'} test-time augmentation (mirroring)"),
    ]


def plan_value(value: int | Sequence[int]) -> str:
    """Return a plan's value for people: ``48 × 48 × 48``."""
    return str(value) if isinstance(value, int) else " × ".join(map(str, value))


def fold_table(name: str, folds: Sequence[Mapping[str, Any]], regions: Sequence[str], last: Mapping[int, pd.Series]) -> Table:
    """Return one row a fold: on how many cases, how long and on what it was trained, and where its curves (``last``) ended."""
    rows = []
    for manifest in folds:
        end = last.get(int(manifest["fold"]), pd.Series(dtype=float))
        sizes = [manifest.get("parts", {}).get("cases"), manifest.get("validation", {}).get("cases")]
        finished = manifest.get("finished_at")
        rows.append(
            [
                Cell(str(manifest["fold"])),
                *(count_cell(None if cases is None else len(cases)) for cases in sizes),
                count_cell(manifest.get("epochs")),
                number_cell(manifest.get("seconds_per_epoch"), 1),
                Cell(str(manifest.get("device", UNDEFINED))),
                number_cell(end.get("val_loss"), 3),
                *(number_cell(end.get(f"pseudo_dice_{region}"), 3) for region in regions),
                Cell(day(datetime.fromisoformat(finished)) if finished else UNDEFINED),
            ]
        )
    columns = [
        *("Fold", "Training cases", "Validation cases", "Epochs", "Epoch (s)", "Device", "Loss"),
        *(f"Pseudo-Dice {region}" for region in regions),
        "Finished",
    ]
    numeric = frozenset(range(1, len(columns))) - {columns.index("Device")}
    return Table(f"The folds of {name}. Validation loss and pseudo-Dice are those of the last epoch.", columns, rows, numeric)
