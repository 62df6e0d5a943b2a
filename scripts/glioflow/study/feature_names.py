"""The names of radiomic features: which columns of a table are features, and what a name says.

A name is pyradiomics': the image that the feature is of (``original``, ``log-sigma-2-0-mm-3D``, ``wavelet-LLH``), its class
and its own name, joined by ``_``. Two counts of the mask go with them, which pyradiomics and SlicerRadiomics give among their
diagnostics.
"""

import re
from collections.abc import Iterable

FEATURE_GROUPS = ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
VOXEL_COUNT = "diagnostics_Mask-original_VoxelNum"
COMPONENT_COUNT = "diagnostics_Mask-original_VolumeNum"
MASK_COUNTS = (VOXEL_COUNT, COMPONENT_COUNT)
MASK_GROUP = "mask"
_FEATURE = re.compile(
    r"(original|log-sigma-[\d-]+-mm-3D|wavelet\d*-[LH]+|square|squareroot|logarithm|exponential|gradient|lbp-2D|lbp-3D-\w+)"
    rf"_({'|'.join(FEATURE_GROUPS)}|shape2D)_[A-Za-z0-9]+"
)


def is_feature(column: str) -> bool:
    """Tell whether a column of a table has the name of a radiomic feature."""
    return column in MASK_COUNTS or bool(_FEATURE.fullmatch(column))


def feature_columns(columns: Iterable[str]) -> list[str]:
    """Return those of a table's columns that are radiomic features, in their order."""
    return [column for column in map(str, columns) if is_feature(column)]


def feature_image(feature: str) -> str:
    """Return the image that a feature is of: ``wavelet-LLH`` of ``wavelet-LLH_glcm_Idm``."""
    return feature.split("_")[0]


def feature_group(feature: str) -> str:
    """Return the class of a feature: ``glcm`` of ``original_glcm_Idm``; ``mask`` of the counts of the mask."""
    return MASK_GROUP if feature in MASK_COUNTS else feature.split("_")[1]
