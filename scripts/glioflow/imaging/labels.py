"""The canonical labels, the regions made of them, and how a data set's raw values become canonical.

Canonical integers: 1 = NCR/NETC (necrotic or non-enhancing core), 2 = ED/SNFH (oedema), 3 = ET (enhancing tumour),
4 = RC (resection cavity). Regions follow BraTS (Bakas et al. 2018, arXiv:1811.02629; BraTS 2024 post-treatment for RC,
de Verdier et al. 2024, arXiv:2405.18368): RC belongs to neither WT nor TC.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

NCR, ED, ET, RC = 1, 2, 3, 4
LABEL_COUNT = RC + 1  # the background and the canonical labels

Labels = NDArray[np.uint8]

REGIONS: dict[str, tuple[int, ...]] = {
    "WT": (NCR, ED, ET),
    "TC": (NCR, ET),
    "ET": (ET,),
    "ED": (ED,),
    "NCR": (NCR,),
    "RC": (RC,),
}
REGION_NAMES = {
    "WT": "whole tumour",
    "TC": "tumour core",
    "ET": "enhancing tumour",
    "ED": "oedema",
    "NCR": "necrotic / non-enhancing core",
    "RC": "resection cavity",
}
# The canonical label that nnU-Net writes where a region, taken from the largest to the smallest, has the last word.
REGION_FILL = {"WT": ED, "TC": NCR, "ET": ET, "ED": ED, "NCR": NCR, "RC": RC}


def region_mask(labels: NDArray[np.uint8], region: str) -> NDArray[np.bool_]:
    """Return the bool mask of ``region`` in a canonical label map of any shape."""
    mask = np.zeros(labels.shape, bool)
    for value in REGIONS[region]:
        mask |= labels == value
    return mask


def visible_regions(trained: Collection[str], regions: Iterable[str]) -> list[str]:
    """Return those of ``regions``, in their order, that masks painted from the ``trained`` regions can show.

    The trained regions divide the labels into parts, by which of them a label is in; one in none is background to it.
    A region can be told from the rest where it is made of whole parts. So [WT] shows WT alone; [WT, TC, ET] shows ED as well.
    """
    seen = {label: frozenset(name for name in trained if label in REGIONS[name]) for label in (NCR, ED, ET, RC)}
    shown = []
    for region in regions:
        inside = {seen[label] for label in REGIONS[region]}
        outside = {part for label, part in seen.items() if label not in REGIONS[region]}
        if frozenset() not in inside and not inside & outside:
            shown.append(region)
    return shown


def scheme_regions(labels: Iterable[int]) -> list[str]:
    """Return the regions that maps of these canonical labels can show: those that have one of them.

    Where the oedema's is the only label of the tumour, it stands for the whole tumour, and shows that alone.
    """
    known = set(labels)
    whole = known & set(REGIONS["WT"]) == {ED}
    return [name for name, parts in REGIONS.items() if known & set(parts) and (not whole or name in ("WT", "RC"))]


class UnknownLabelsError(ValueError):
    """A raw label map has values that its scheme does not name: ``unknown`` are those, ``values`` all but 0; NaN last."""

    def __init__(self, unknown: Sequence[float], values: Sequence[float], scheme: Mapping[int, int]) -> None:
        super().__init__(f"values {list(unknown)} are not in the label scheme {sorted(scheme)}")
        self.unknown = list(unknown)
        self.values = list(values)


def canonical_labels(raw: NDArray[np.generic], scheme: Mapping[int, int]) -> tuple[NDArray[np.uint8], dict[int, int]]:
    """Return the canonical uint8 map of a raw label map, and how many voxels each canonical label of ``scheme`` has.

    ``scheme`` takes raw values to canonical labels; 0 is always background. The memory order is that of ``raw``. Raises
    ``UnknownLabelsError`` where a value is not in the scheme: none is rounded, and none becomes background.
    """
    with np.errstate(invalid="ignore"):
        labels = raw.astype(np.uint8, order="K")
    if raw.dtype != np.uint8 and not np.array_equal(labels, raw):
        values = [float(value) for value in np.unique(raw) if value != 0]
        raise UnknownLabelsError([value for value in values if value not in scheme], values, scheme)
    flat = labels.ravel(order="K")
    labelled = np.flatnonzero(flat != 0)  # a small part of the volume, and all that is looked at from here
    found = flat[labelled]
    counts = np.bincount(found, minlength=256)
    values = [float(value) for value in np.flatnonzero(counts)]
    if unknown := [value for value in values if value not in scheme]:
        raise UnknownLabelsError(unknown, values, scheme)
    table = np.zeros(256, np.uint8)
    table[list(scheme)] = list(scheme.values())
    flat[labelled] = table[found]
    voxels = dict.fromkeys(scheme.values(), 0)
    for value, label in scheme.items():
        voxels[label] += int(counts[value])
    return labels, voxels


def fitting_schemes(values: list[float], schemes: Mapping[str, Mapping[int, int]]) -> list[str]:
    """Return the names of the schemes that know every one of ``values``."""
    return [name for name, scheme in schemes.items() if all(v == 0 or v in scheme for v in values)]
