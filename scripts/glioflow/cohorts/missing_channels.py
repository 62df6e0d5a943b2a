"""Channels that a case lacks: which they are, and what takes their place where the cohort says so.

A channel is missing where it has no file. A file in another format, or one that cannot be read, is an error of its own.
"""

import glob
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from glioflow.cohorts.layouts.patterns import OTHER_FORMATS
from glioflow.study.configuration import ZEROS
from glioflow.study.registry import CHANNELS

EXCLUDE, SUBSTITUTE = "exclude", "substitute"  # on_missing_channel


class Gap(NamedTuple):
    """A channel that is missing and stays so: where its file should be, what was found, what would be right."""

    file: str
    found: str
    expected: str


def has_file(case: Mapping[str, Any], channel: str) -> bool:
    """Tell whether a case, a row of cases.csv, has a file for a channel."""
    return bool(case.get(channel)) and Path(case[channel]).exists()


def missing_channels(case: Mapping[str, Any], channels: Iterable[str]) -> list[str]:
    """Return which of the channels a case, a row of cases.csv, has no file for, in any format."""
    return [channel for channel in channels if not has_file(case, channel) and other_format(case.get(channel)) is None]


def other_format(path: str | None) -> Path | None:
    """Return the file that stands where ``path`` should be, under the same name but not as NIfTI; None without one."""
    stem = Path(path or "").name.removesuffix(".gz").removesuffix(".nii")
    around = sorted(Path(path).parent.glob(f"{glob.escape(stem)}.*")) if path and stem else []
    return next((file for file in around if file.suffix.lstrip(".") in OTHER_FORMATS), None)


def fill_channels(
    case: Mapping[str, Any], missing: Sequence[str], on_missing_channel: str, substitute: Mapping[str, str]
) -> tuple[dict[str, str], list[Gap]]:
    """Return what takes the place of each missing channel of a case, and which stay missing.

    ``substitute``: channel to the one in its place, or ``ZEROS``; it counts where ``on_missing_channel`` is ``SUBSTITUTE``.
    """
    file = {channel: str(case.get(channel) or "") for channel in missing}
    if not any(has_file(case, channel) for channel in CHANNELS):
        found = f"no image: no file for {listed(missing)}"
        return {}, [
            Gap(
                file[missing[0]],
                found,
                "an image of each channel that the study reads; masks alone can be scored with failure: off",
            )
        ]
    known = substitute if on_missing_channel == SUBSTITUTE else {}
    filled = {name: known[name] for name in missing if name in known and (known[name] == ZEROS or has_file(case, known[name]))}
    gaps = []
    together: dict[str, list[str]] = defaultdict(list)
    for channel in missing:
        if channel in filled:
            continue
        if channel in known:
            together[known[channel]].append(channel)
            continue
        expected = "an image, or a model without this channel; the cohort's key on_missing_channel may say what else to do"
        gaps.append(Gap(file[channel], f"no file for channel {channel}", expected))
    for other, channels in together.items():
        found = f"no file for {listed(channels)}, nor for {other}, which would take the place"
        expected = "one of these images; or another channel, or zeros, in the cohort's key substitute"
        gaps.append(Gap(file[channels[0]], found, expected))
    return filled, gaps


def listed(channels: Sequence[str]) -> str:
    """Return channels as text: ``channel t1``, ``the channels t1, t2 and flair``."""
    if len(channels) == 1:
        return f"channel {channels[0]}"
    return f"the channels {', '.join(channels[:-1])} and {channels[-1]}"
