"""A fold's curves come back from its event file, which is read by its published framing and by no library."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import write_tensorboard as script
from glioflow.console import Console
from glioflow.files import write_json, write_table

CURVES = pd.DataFrame(
    {
        "epoch": [0, 1, 2],
        "train_loss": [0.5, -0.25, -0.75],
        "val_loss": [0.25, 0.0, -0.5],
        "pseudo_dice_WT": [0.125, float("nan"), 0.75],
        "learning_rate": [1.0, 0.5, 0.25],
        "seconds": [8.0, 4.0, 2.0],
    }
)
FINISHED = "2024-05-03T10:00:00+00:00"
END = 1714730400.0  # the same in seconds since 1970


def crc32c(data: bytes) -> int:
    """Return the CRC of Castagnoli's polynomial (RFC 3720), bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    """Return the checksum as TFRecord has it: rotated right by 15 bits, and a constant added."""
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a TFRecord file: length, checksum of it, data, checksum of them."""
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert content[8:12] == masked(content[:8])
        data, content = content[12 : 12 + length], content[12 + length :]
        assert content[:4] == masked(data) and len(data) == length
        yield data
        content = content[4:]


def varint(message: bytes) -> tuple[int, bytes]:
    """Return the number that a message begins with, seven bits a byte, and what follows it."""
    value, shift = 0, 0
    for place, byte in enumerate(message):
        value |= (byte & 127) << shift
        if byte < 128:
            return value, message[place + 1 :]
        shift += 7
    raise ValueError("a number without an end")


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the fields of a protocol buffer: number, and value or bytes."""
    while message:
        key, message = varint(message)
        size, message = varint(message) if key & 7 in (0, 2) else ({1: 8, 5: 4}[key & 7], message)
        if key & 7 == 0:
            yield key >> 3, size
        else:
            yield key >> 3, message[:size]
            message = message[size:]


def read_events(path: Path) -> list[tuple[float, int, dict[str, float] | str]]:
    """Return of each event its time, its step, and its values by tag or the file's version."""
    events = []
    for record in records(path.read_bytes()):
        event = dict(fields(record))
        (time,) = struct.unpack("<d", event[1])
        values = {}
        for number, value in fields(event.get(5, b"")):
            assert number == 1
            point = dict(fields(value))
            values[point[1].decode()] = struct.unpack("<f", point[2])[0]
        events.append((time, event.get(2, 0), event[3].decode() if 3 in event else values))
    return events


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The event file of a fold of three epochs."""
    return write(tmp_path, "one")


def write(folder: Path, name: str) -> Path:
    write_table(folder / "curves.csv", CURVES)
    write_json(folder / "manifest.json", {"fold": 0, "finished_at": FINISHED})
    output = folder / name / "events.out.tfevents.glioflow"
    job = SimpleNamespace(
        input=SimpleNamespace(curves=str(folder / "curves.csv"), manifest=str(folder / "manifest.json")), output=[str(output)]
    )
    assert script.main(job, Console()) == "3 epochs"
    return output


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's check value


def test_every_value_comes_back_at_its_epoch_and_time(written: Path) -> None:
    version, first, second, third = read_events(written)
    assert version == (END - 14, 0, "brain.Event:2")
    assert first[:2] == (END - 6, 0)
    assert first[2] == {
        "loss/train": 0.5,
        "loss/validation": 0.25,
        "pseudo_dice/WT": 0.125,
        "learning_rate": 1.0,
        "seconds_per_epoch": 8.0,
    }
    assert second == (END - 2, 1, {"loss/train": -0.25, "loss/validation": 0.0, "learning_rate": 0.5, "seconds_per_epoch": 4.0})
    assert third[:2] == (END, 2) and third[2]["pseudo_dice/WT"] == 0.75
    assert datetime.fromtimestamp(END, UTC).isoformat() == FINISHED


def test_the_same_curves_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    assert write(tmp_path, "two").read_bytes() == written.read_bytes()
    assert [path.name for path in written.parent.iterdir()] == ["events.out.tfevents.glioflow"]
