"""The canonical labels, the regions made of them, and how a data set's raw values become canonical.

Canonical integers: 1 = NCR/NETC (necrotic or non-enhancing core), 2 = ED/SNFH (oedema), 3 = ET (enhancing tumour),
4 = RC (resection cavity). Regions follow BraTS (Bakas et al. 2018, arXiv:1811.02629; BraTS 2024 post-treatment for RC,
de Verdier et al. 2024, arXiv:2405.18368): RC belongs to neither WT nor TC.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

NCR, ED, ET, RC = 1, 2, 3, 4

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


def unknown_values(raw: NDArray[np.generic], scheme: Mapping[int, int]) -> list[float]:
    """Return the sorted values of a raw label map that ``scheme`` does not name (0 is always background), NaN last."""
    return [float(v) for v in np.unique(raw) if v != 0 and v not in scheme]


def canonical_labels(raw: NDArray[np.generic], scheme: Mapping[int, int]) -> NDArray[np.uint8]:
    """Return the canonical uint8 map of a raw label map whose values ``scheme`` (raw value to canonical) all names.

    Raises ValueError where a value is not in the scheme: ``unknown_values`` tells which, before.
    """
    if unknown := unknown_values(raw, scheme):
        raise ValueError(f"values {unknown} are not in the label scheme {sorted(scheme)}")
    canonical = np.zeros(raw.shape, np.uint8)
    for value, label in scheme.items():
        canonical[raw == value] = label
    return canonical


def fitting_schemes(values: list[float], schemes: Mapping[str, Mapping[int, int]]) -> list[str]:
    """Return the names of the schemes that know every one of ``values``."""
    return [name for name, scheme in schemes.items() if all(v == 0 or v in scheme for v in values)]
