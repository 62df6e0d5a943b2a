"""The marching-cubes surface between voxels: area and signed volume of every kind of cube.

The table of triangles is that of Lorensen and Cline 1987 (doi:10.1145/37402.37422) in Paul Bourke's form ("Polygonising a
scalar field", 1994, tables by Cory Gene Bloyd), as pyradiomics 3.0.1 has it (radiomics/src/cshape.c, ``triTable``): of the 256
kinds of cubes the first half, since the others have the same triangles the other way round. Sums are made in the order of that
file, so that areas and volumes are pyradiomics' to the last bit.
"""

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

# A kind of cube has a bit for each corner that is in the mask, in this order.
CORNERS = tuple(product((0, 1), repeat=3))
# Bourke's order of the corners, and the two corners of each edge that a triangle's vertex is midway on.
_CORNERS = ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0))
_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
# Of each kind of cube, by Bourke's order, three edges (0 to b) a triangle; "-" for none.
_TRIANGLES = """
    - 083 190 183198 12a 08312a 92a029 2832a8a98 b23 b2008b 190b23 b2119b98b 3a1ba3 a1008a8ba 9033b9ba9 98aba8 478
    043473 190478 194147173 12a478 34730412a 92a902478 2a9297273479 478b23 b47b24204 190478b23 47b94bb29192 3a1ba3478
    ba114b10447b 4789033b9ba9 47b4b99ba 954 954083 054015 854835315 12a954 08312a954 2a5542240 2a5325354834 954b23
    b2008b954 054015b23 215258b28548 3a1ba3954 549a1008a8ba 54050ba5bb03 548a58ba8 789579 309539357 780017715 157173
    78957912a 12a309395357 0288258572a5 2a5253357 579789b23 579972209b27 b23018178157 21b17b157 7895793a1ba3
    5705097b0a10ba0 ba003ba50078570 ba557b 65a 08365a 19065a 18319865a 165126 165126083 965906026 598582526832 b2365a
    b2008b65a 190b2365a b2119b98b65a 63b653513 08b0b50515b6 63b036065059 65969bb98 47865a 04347365a 19047865a
    19414717365a 478165126 043473165126 478965906026 739479329596269 b2347865a b47b2420465a 190b2347865a 47b94bb2919265a
    47863b653513 51b5b610b47b04b 47863b036065059 65969b4797b9 a4964a a4964a083 01aa60640 18316886461a 149124264
    149124264083 024426 832824426 b23a4964a b2008ba4964a b2301aa60640 64161a148b2118b 964369139b63 18b081b61149641
    63b036640 86468b 67a78a89a 67a0a709a073 67a1a7178018 67a1a7173 126168189678 269129679309739 078706602 273267
    b2367a78a89a 207b2709767a9a7 67a1a7178018b23 b2117ba61167 896678169b63136 09167b 07870603bb60 67b
"""
_MOST = 5  # triangles of a cube

Floats = NDArray[np.float64]
Spacing = tuple[float, float, float]


@cache
def _triangles() -> tuple[Floats, Floats]:
    """Return the vertices of each kind's triangles in voxels (256, 5, 3, 3), and the sign of its volume (256,).

    Triangles that a kind does not have are points.
    """
    middles = np.array([np.mean([_CORNERS[corner] for corner in edge], axis=0) for edge in _EDGES])
    table = [[int(edge, 16) for edge in text.strip("-")] for text in _TRIANGLES.split()]
    vertices, signs = np.zeros((256, _MOST, 3, 3)), np.ones(256)
    for code in range(256):
        kind = sum((code >> CORNERS.index(corner) & 1) << bit for bit, corner in enumerate(_CORNERS))
        if kind >= 128:
            kind, signs[code] = 255 - kind, -1.0
        found = middles[table[kind]].reshape(-1, 3, 3)
        vertices[code, : len(found)] = found
    return vertices, signs


def _cross(a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the components of the cross product of vectors (…, 3)."""
    (ax, ay, az), (bx, by, bz) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return ay * bz - by * az, az * bx - bz * ax, ax * by - bx * ay


def _add(terms: Floats) -> Floats:
    """Return the sums of ``terms`` (256, n), added from the first to the last."""
    total: Floats = np.add.accumulate(terms, axis=1)[:, -1]
    return total


@cache
def cube_areas(spacing: Spacing) -> Floats:
    """Return the surface area (mm²) in each kind of cube (256,). ``spacing``: mm along each axis."""
    vertices = _triangles()[0] * np.array(spacing)
    x, y, z = _cross(vertices[..., 0, :] - vertices[..., 2, :], vertices[..., 1, :] - vertices[..., 2, :])
    return _add(0.5 * np.sqrt(x * x + y * y + z * z))


@cache
def cube_volumes(spacing: Spacing) -> tuple[Floats, Floats]:
    """Return each kind of cube's signed volume (mm³) at the array's origin (256,), and what a step along an axis adds (256, 3).

    The signed volume between a cube's triangles and the origin changes linearly as the cube moves.
    """
    at_origin = _sixfold_volumes(spacing, (0, 0, 0))
    volumes, slopes = _add(at_origin) / 6, np.zeros((256, 3))
    for axis in range(3):
        moved = _sixfold_volumes(spacing, tuple(int(other == axis) for other in range(3)))
        # Behind a cube moved by one step comes one whose far side is the cube's near side.
        near = sum(1 << bit for bit, corner in enumerate(CORNERS) if not corner[axis])
        behind = (np.arange(256) & near) << (4 >> axis)
        slopes[:, axis] = _add(np.concatenate([at_origin[behind], moved], axis=1)) / 6 - volumes[behind] - volumes
    return volumes, slopes


def _sixfold_volumes(spacing: Spacing, place: tuple[int, ...]) -> Floats:
    """Return six times the signed volume of each triangle (256, 5) of a cube at ``place``, in steps from the origin."""
    vertices, signs = _triangles()
    a, b, c = np.moveaxis((vertices + place) * np.array(spacing), 2, 0)
    x, y, z = _cross(a, b)
    return np.asarray(signs[:, None] * (x * c[..., 0] + y * c[..., 1] + z * c[..., 2]))
