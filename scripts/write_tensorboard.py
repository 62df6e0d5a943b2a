"""Write a fold's training curves as an event file for TensorBoard.

Inputs: ``manifest`` (the fold's ``manifest.json``), ``curves`` (its ``curves.csv``). Output: one event file with
``loss/train``, ``loss/validation``, ``pseudo_dice/<region>``, ``learning_rate`` and ``seconds_per_epoch``, a value an epoch.

The same curves give the same bytes: tensorboardX's own writers put the present time and the machine's name into a file and its
name, so its records are written without them. An epoch's time is reckoned back from the end of the training.
"""

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.console import Console, count, run_script
from glioflow.files import read_table, replacing
from glioflow.models.fold_state import read_fold

VERSION = "brain.Event:2"  # how the first record of every event file names its format
DICE = "pseudo_dice_"
TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "learning_rate": "learning_rate",
    "seconds": "seconds_per_epoch",
}


def curve_tags(curves: pd.DataFrame) -> dict[str, str]:
    """Return what TensorBoard calls each column of a fold's curves."""
    regions = [column for column in curves if column.startswith(DICE)]
    return {**TAGS, **{column: f"pseudo_dice/{column.removeprefix(DICE)}" for column in regions}}


def list_points(curves: pd.DataFrame, finished: datetime) -> Iterator[tuple[float, int, dict[str, float]]]:
    """Yield of each epoch when it ended (seconds since 1970), its number, and its values by tag, without undefined ones.

    ``finished``: when the last epoch ended. As if the training had not been interrupted.
    """
    tags = curve_tags(curves)
    later = curves["seconds"][::-1].cumsum()[::-1] - curves["seconds"]
    for row, seconds in zip(curves.to_dict("records"), later, strict=True):
        values = {tag: float(row[column]) for column, tag in tags.items()}
        defined = {tag: value for tag, value in values.items() if not math.isnan(value)}
        yield finished.timestamp() - float(seconds), int(row["epoch"]), defined


def write_events(path: Path, curves: pd.DataFrame, finished: datetime) -> None:
    """Write the curves of a fold that was ``finished`` at that time as an event file."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter

    points = list(list_points(curves, finished))
    began = finished.timestamp() - float(curves["seconds"].sum())
    writer = RecordWriter(str(path.absolute()))
    try:
        writer.write(Event(wall_time=began, file_version=VERSION).SerializeToString())
        for ended, epoch, values in points:
            event = Event(wall_time=ended, step=epoch)
            for tag, value in values.items():
                event.summary.value.add(tag=tag, simple_value=value)
            writer.write(event.SerializeToString())
    finally:
        writer.close()


def main(snakemake: Any, console: Console) -> str:
    """Write the fold's event file."""
    curves = read_table(snakemake.input.curves)
    finished = datetime.fromisoformat(read_fold(snakemake.input.manifest)["finished_at"])
    with replacing(snakemake.output[0]) as temporary:
        write_events(temporary, curves, finished)
    return count(len(curves), "epoch")


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
