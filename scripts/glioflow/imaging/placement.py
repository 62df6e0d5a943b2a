"""The option ``on_geometry_mismatch``: whose header gives where a mask's voxels are, if it disagrees with its image's."""

from glioflow.imaging.volumes import Volume

USE_IMAGE_HEADER = "use_image_header"
BY_INDEX = f"; if the voxels correspond by index, set on_geometry_mismatch: {USE_IMAGE_HEADER}"


def place_mask(mask: Volume, image: Volume, on_mismatch: str) -> Volume:
    """Return ``mask`` where its own header puts it, or with ``use_image_header`` by index where that of ``image`` does."""
    return Volume(mask.data, image.affine) if on_mismatch == USE_IMAGE_HEADER else mask
