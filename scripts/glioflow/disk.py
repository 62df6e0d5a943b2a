"""Room on disks: asked for before it is needed, and told in words where it runs out."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glioflow.console import UserError

LIMIT_VARIABLE = "GLIOFLOW_LARGEST_IMAGE_GB"  # set from the study's key largest_image_gb
LARGEST_IMAGE_GB = 2.0  # 500 x 500 x 500 voxels of 64 bits are 1; a whole 4D image of the Decathlon's Task01 is 0.14


def largest_image_bytes() -> int:
    """Return how large an image may be, unpacked. Raises ``UserError`` where the environment's limit is no positive number."""
    told = os.environ.get(LIMIT_VARIABLE, "")
    try:
        if (limit := float(told or LARGEST_IMAGE_GB)) > 0:
            return int(limit * 10**9)
    except (ValueError, OverflowError):
        pass
    raise UserError(f"${LIMIT_VARIABLE}: found {told!r}; expected a number of gigabytes, such as 4")


def amount(number: int) -> str:
    """Return a number of bytes in words."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} bytes"


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise UserError where the disk of ``folder`` has fewer than ``needed`` bytes left for ``what``."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what}: {amount(needed)} are still to come, but the disk of {folder} has {amount(free)} left. Make room, or "
            "name another folder by the configuration's key `data` or $GLIOFLOW_DATA"
        )


@contextmanager
def disk_full_told(folder: Path, what: str) -> Iterator[None]:
    """Turn the error of a disk that is full, or of a quota that is used up, into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{what}: the disk of {folder} is full, or your quota there is used up. Make room and run again (what was received "
            "is kept), or name another folder by the configuration's key `data` or $GLIOFLOW_DATA"
        ) from None
