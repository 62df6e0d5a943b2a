"""Content keys of nnU-Net's expensive steps: what a result depends on, and nothing else.

Paths, times and hosts are no part of a key, so that a new clone, a touched file or a moved folder finds its work done.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def case_hashes(
    manifest: pd.DataFrame, channels: Sequence[str], cases: Sequence[str], label: bool = True
) -> dict[str, list[str]]:
    """Return case -> SHA-256 of each channel's file and, where ``label``, of its canonical label map."""
    columns = [f"{channel}_sha256" for channel in channels] + (["label_sha256"] if label else [])
    rows = manifest.set_index("case_id")
    return {case: [str(value) for value in rows.loc[case, columns]] for case in sorted(cases)}


def describe(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what dataset.json says of channels and labels, without the paths of its files."""
    return {key: dataset[key] for key in ("channel_names", "labels", "regions_class_order") if key in dataset}
