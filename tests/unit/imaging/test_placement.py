"""Whose header says where a mask is."""

from typing import get_args

import numpy as np

from glioflow.imaging.placement import BY_INDEX, USE_IMAGE_HEADER, place_mask
from glioflow.imaging.volumes import Volume
from glioflow.study.configuration import OnMismatch


def test_a_mask_is_where_its_own_header_puts_it_unless_its_images_counts() -> None:
    mask = Volume(np.ones((2, 2, 2), np.uint8), np.eye(4))
    image = Volume(np.zeros((2, 2, 2)), np.diag([-2.0, 2, 2, 1]))
    assert place_mask(mask, image, "error") is mask
    placed = place_mask(mask, image, USE_IMAGE_HEADER)
    assert placed.data is mask.data
    assert placed.affine.tolist() == image.affine.tolist()


def test_a_study_says_it_by_the_same_word() -> None:
    assert get_args(OnMismatch) == ("error", USE_IMAGE_HEADER)
    assert BY_INDEX.endswith("set on_geometry_mismatch: use_image_header")
