"""A case's volumes as the report's viewer reads them: cropped, 8 bits a voxel, slices side by side in a picture, in a script.

A page that is opened from disk may load a script beside it and nothing else, so that every volume is text in one. The images
are compressed with loss: they are to look at, and nothing is measured in them. The masks are exact.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glioflow.evaluation.conventions import Convention
from glioflow.evaluation.metrics import PREDICTION, TRUTH, Pair, foreground_box
from glioflow.evaluation.surfaces import Mask
from glioflow.evaluation.witnesses import SIDES, Witness, find_witnesses
from glioflow.failure.failure_types import CONNECTIVITY, KINDS, KINDS_OF, find_errors
from glioflow.imaging.components import number_components
from glioflow.imaging.labels import LABEL_COUNT, REGIONS, Labels
from glioflow.imaging.volumes import Volume
from glioflow.report.page_data import script_json
from glioflow.report.plotting import grey_window

# Part of the brain's intensities that become the darkest and the lightest grey.
RANGE_PERCENTILES = (0.1, 99.9)
# Of WebP: at this quality 40 cases of BraTS's size with four channels keep within 30 MB.
QUALITY, EFFORT = 25, 4
# In the map of labels: truth + 5 × prediction, and this where a channel has an intensity.
BRAIN = 64
GREYS = 254  # above the background, which is 0
LEVELS = 255  # of a map of entropy, for 1 bit; without loss it takes seven times the room

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Channel:
    """An image to pack: its name for people, and its voxels (x, y, z)."""

    name: str
    data: NDArray[Any]


@dataclass(frozen=True)
class Uncertainty:
    """Entropy of a network's probabilities: bits (x, y, z), and whether the prediction was changed by post-processing since."""

    bits: NDArray[np.float64]
    processed: bool


def pack_case(
    channels: Mapping[str, Channel],
    truth: Volume,
    prediction: Labels,
    regions: Sequence[str],
    convention: Convention,
    uncertainty: Uncertainty | None = None,
) -> dict[str, Any]:
    """Return what the viewer shows of a case, for JSON: volumes, and by region the places to go to.

    ``truth``: canonical labels with their affine; ``prediction``: canonical labels of the same shape; ``uncertainty``: that of
    the prediction, where it is known. Nothing in it names the case.
    """
    labels: Labels = truth.data
    brain = np.logical_or.reduce([channel.data != 0 for channel in channels.values()])
    box = _box(brain | (labels > 0) | (prediction > 0))
    affine = truth.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    codes = labels + np.uint8(LABEL_COUNT) * prediction + BRAIN * brain.astype(np.uint8)
    pair = Pair(labels, prediction, truth.spacing)
    witnesses = find_witnesses(labels, prediction, truth.spacing, regions, convention)
    first = tuple(part.start for part in foreground_box(labels, prediction))
    places, errors = {}, {}
    for region in regions:
        errors[region] = picture_text(mosaic(error_codes(pair, region, first, labels.shape)[box]))
        places[region] = _places(pair, region, witnesses[region], truth, first)
    shape = codes[box].shape
    return {
        "shape": list(shape),
        "columns": mosaic_columns(shape),
        "affine": affine[:3].tolist(),
        "channels": {role: _packed(channel, box) for role, channel in channels.items()},
        "labels": picture_text(mosaic(codes[box])),
        "uncertainty": _packed_uncertainty(uncertainty, box) if uncertainty else None,
        "regions": {region: list(REGIONS[region]) for region in regions},
        "kinds": list(KINDS),
        "errors": errors,
        "places": places,
    }


def script_text(packed: Mapping[str, Any]) -> str:
    """Return the script that hands a case to the viewer."""
    return f"globalThis.glioflowVolumes = {script_json(packed)};\n"


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    """Return the smallest box around a mask, the whole array where it is empty."""
    found = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        found.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, mask.shape[axis]))
    return found[0], found[1], found[2]


def _packed(channel: Channel, box: tuple[slice, ...]) -> dict[str, Any]:
    """Return a channel as a picture, and the intensities of its darkest and lightest grey and of the first window."""
    data = np.asarray(channel.data, np.float64)
    inside = data[data != 0]
    low, high = np.percentile(inside, RANGE_PERCENTILES) if inside.size else (0.0, 1.0)
    step = float(high - low) / (GREYS - 1) or 1.0
    part = data[box]
    greys = np.where(part != 0, 1 + np.clip(np.round((part - low) / step), 0, GREYS - 1), 0).astype(np.uint8)
    picture = picture_text(mosaic(greys), QUALITY)
    return {"name": channel.name, "picture": picture, "low": float(low), "step": step, "window": list(grey_window(data))}


def _packed_uncertainty(uncertainty: Uncertainty, box: tuple[slice, ...]) -> dict[str, Any]:
    """Return a map of entropy as a picture, ``LEVELS`` for 1 bit."""
    codes = np.round(uncertainty.bits[box] * LEVELS).astype(np.uint8)
    return {"picture": picture_text(mosaic(codes), QUALITY), "levels": LEVELS, "processed": uncertainty.processed}


def mosaic_columns(shape: Sequence[int]) -> int:
    """Return how many slices (along the last axis) stand side by side, so that the picture is about square."""
    return max(1, min(shape[2], ceil(sqrt(shape[2] * shape[1] / shape[0]))))


def mosaic(data: Bytes) -> Bytes:
    """Return the slices (x, y, z) of a volume as one picture, row by row; in each the rows are y, the columns x."""
    width, height, depth = data.shape
    columns = mosaic_columns(data.shape)
    rows = -(-depth // columns)
    tiles = np.zeros((rows * columns, height, width), np.uint8)
    tiles[:depth] = data.transpose(2, 1, 0)
    return tiles.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)


def picture_text(picture: Bytes, quality: int | None = None) -> str:
    """Return a grey picture as a data address of WebP; exact without a ``quality`` (1 to 100)."""
    stream = BytesIO()
    options: dict[str, Any] = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    # In colour, so that a grey without loss stays what it is.
    Image.fromarray(picture).convert("RGB").save(stream, "WEBP", method=EFFORT, **options)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def error_codes(pair: Pair, region: str, first: Sequence[int], shape: Sequence[int]) -> Bytes:
    """Return a volume of ``shape`` with the kind of error of each voxel: 0 none, else 1 + its place in ``KINDS``."""
    box = np.zeros(pair.maps[TRUTH].shape, np.uint8)
    for side in (TRUTH, PREDICTION):
        errors = find_errors(pair, region, side)
        codes = np.array([1 + KINDS.index(kind) for kind in KINDS_OF[side]], np.uint8)
        box.ravel()[errors.places] = codes[errors.kinds]
    whole: Bytes = np.zeros(shape, np.uint8)
    sizes: list[int] = list(box.shape)
    place = tuple(slice(start, start + size) for start, size in zip(first, sizes, strict=True))
    whole[place] = box
    return whole


def _places(pair: Pair, region: str, found: tuple[Witness | None, str], truth: Volume, first: Sequence[int]) -> dict[str, Any]:
    """Return the places of a region that the viewer goes to, in mm (RAS+), None where there is none."""
    witness, note = found
    row = witness.row(truth.affine) if witness else {}
    ends = {side: [row[f"{side}_{axis}_mm"] for axis in "xyz"] for side in SIDES.values()} if witness else {}
    masks = pair.mask(region, TRUTH), pair.mask(region, PREDICTION)
    voxel_ml = prod(pair.spacing) / 1000.0
    return {
        "witness": {"from": row["measured_from"], "length_mm": row["length_mm"], **ends} if witness else None,
        "note": note,
        "missed": largest_part(masks[0] & ~masks[1], first, truth.affine, voxel_ml),
        "false": largest_part(masks[1] & ~masks[0], first, truth.affine, voxel_ml),
    }


def largest_part(mask: Mask, first: Sequence[int], affine: NDArray[np.float64], voxel_ml: float) -> dict[str, Any] | None:
    """Return the voxel of the largest 26-connected part that is nearest to the part's centre, in mm, and the part's ml.

    ``first``: index of the mask's first voxel along each axis. None where the mask is empty.
    """
    if not mask.any():
        return None
    numbers = number_components(mask, CONNECTIVITY)
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    voxels = np.argwhere(numbers == sizes.argmax())
    nearest = voxels[((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1).argmin()] + first
    return {"mm": (affine[:3, :3] @ nearest + affine[:3, 3]).tolist(), "ml": float(sizes.max() * voxel_ml)}
