"""The table of cubes is pyradiomics' to the last bit, and the surface is closed."""

import numpy as np
import pytest
from radiomics import cShape

from glioflow.imaging.marching_cubes import CORNERS, cube_areas, cube_volumes

KINDS = [np.array([code >> bit & 1 for bit in range(8)], bool).reshape(2, 2, 2) for code in range(256)]
SPACINGS = [(1.0, 1.0, 1.0), (0.5, 1.25, 3.0), (0.9375, 0.9375, 5.1)]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_kind_of_cube_is_pyradiomics(spacing: tuple[float, float, float]) -> None:
    theirs = [cShape.calculate_coefficients(cube, np.array(spacing)) for cube in KINDS]
    assert cube_areas(spacing).tolist() == [area for area, _, _ in theirs]
    assert cube_volumes(spacing)[0].tolist() == [volume for _, volume, _ in theirs]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cube_that_moves_is_pyradiomics(spacing: tuple[float, float, float], axis: int) -> None:
    volumes, slopes = cube_volumes(spacing)
    for code, cube in enumerate(KINDS):
        moved = np.concatenate([np.zeros_like(cube).take([0], axis), cube], axis)
        behind = sum(int(moved.take([0, 1], axis)[corner]) << bit for bit, corner in enumerate(CORNERS))
        theirs = cShape.calculate_coefficients(moved, np.array(spacing))[1]
        assert volumes[behind] + volumes[code] + slopes[code, axis] == pytest.approx(theirs, rel=1e-14, abs=1e-15), code


def test_areas_worked_out_by_hand() -> None:
    areas = cube_areas((1.0, 2.0, 3.0))
    assert (areas[0], areas[255]) == (0, 0)
    # Half of a cube across each axis is parted by a rectangle.
    for axis, area in enumerate((6.0, 3.0, 2.0)):
        half = sum(1 << bit for bit, corner in enumerate(CORNERS) if corner[axis])
        assert areas[half] == pytest.approx(area)
        assert areas[255 - half] == pytest.approx(area)
    # One corner: a triangle with its vertices midway on the three edges, of sides 1/2, 1 and 3/2 mm.
    assert areas[1] == pytest.approx(np.linalg.norm(np.cross([-0.5, 1, 0], [-0.5, 0, 1.5])) / 2)
