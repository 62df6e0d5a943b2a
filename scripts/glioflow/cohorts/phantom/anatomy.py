"""The head of a phantom and the lesions in it: where tissue, tumour and labels are.

Axes are LPS, as in BraTS: x to the left, y to the back, z up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from glioflow.cohorts.phantom.fields import (
    Array,
    Points,
    outside_ellipsoid,
    outside_tube,
    smooth_noise,
    smooth_union,
    soft_step,
)
from glioflow.cohorts.phantom.plan import PhantomCase
from glioflow.imaging.labels import ED, ET, NCR

# A lesion's core has this many voxels at least, however coarse the grid: the deepest is necrotic, the others may enhance.
_SMALLEST_CORE = 8


class Tissue(NamedTuple):
    """What each brain point is made of, as fractions 0 to 1; white matter is the rest."""

    grey: Array
    sulcus: Array  # fluid that a tumour presses out
    ventricle: Array  # fluid that it does not
    vessel: Array
    cap: Array  # the bright FLAIR lining of the ventricles

    def swollen(self, tumour: Array, core: Array) -> "Tissue":
        """Return the tissue with the sulci closed where there is tumour and the cortex gone where there is core."""
        return self._replace(sulcus=self.sulcus * (1 - tumour), vessel=self.vessel * (1 - tumour), grey=self.grey * (1 - core))


@dataclass(frozen=True)
class Head:
    """A head's size and pose. Anatomy is defined in head coordinates: mm, LPS, mid-sagittal plane at x = 0."""

    scale: Array
    rotation: Array
    offset: Array
    ventricle_scale: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Head":
        """Return a head drawn at random."""
        scale = rng.uniform(0.95, 1.03, 3)
        yaw, roll = np.radians(rng.uniform(-4, 4, 2))
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        tilt = np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]])
        offset = np.array([0.0, 0.0, 4.0]) + rng.uniform(-1, 1, 3)
        return cls(scale, turn @ tilt, offset, float(rng.uniform(0.75, 1.35)))

    def to_head(self, p: Sequence[Array]) -> Points:
        """Return the head coordinates of points given in grid coordinates (mm from the grid's centre)."""
        moved = [q - o for q, o in zip(p, self.offset, strict=True)]
        x, y, z = (sum(self.rotation[i, j] * moved[i] for i in range(3)) / self.scale[j] for j in range(3))
        return x, y, z

    def to_grid(self, p: Array) -> Array:
        """Return the grid coordinates of one point given in head coordinates."""
        return np.asarray(self.rotation @ (p * self.scale) + self.offset, np.float64)

    @staticmethod
    def cerebrum(p: Points) -> Array:
        """Return roughly how many mm each point is outside the cerebrum: an egg, flat below, with temporal lobes."""
        x, y, z = p
        width = 66 * (1 + 0.09 * y / 84 - 0.06 * (y / 84) ** 2)
        height = np.where(z > 0, 62.0, 30.0 - 6 * np.tanh(y / 40))
        r = (np.abs(x / width) ** 2.4 + np.abs(y / 84) ** 2.4 + np.abs(z / height) ** 2.4) ** (1 / 2.4)
        lobes = outside_ellipsoid((np.abs(x), y, z), (40, -6, -28), (23, 40, 20))
        return smooth_union((r - 1) * 60, lobes, 8)

    @staticmethod
    def cerebellum(p: Points) -> Array:
        """Return roughly how many mm each point is outside the cerebellum: an ellipsoid a side."""
        return outside_ellipsoid((np.abs(p[0]), p[1], p[2]), (19, 43, -36), (33, 32, 24))

    @staticmethod
    def brainstem(p: Points) -> Array:
        """Return how many mm each point is outside the brainstem: a tube that narrows downward."""
        return outside_tube(p, (0, 4, -12), (0, 24, -72), (15, 10))

    def level(self, p: Points, bumps: Array) -> Array:
        """Return roughly how many mm each point is outside the brain, its surface roughened by ``bumps``."""
        below = smooth_union(self.cerebellum(p), self.brainstem(p), 8)
        return np.maximum(smooth_union(self.cerebrum(p), below, 4) + 1.5 * np.clip(bumps, -2, 2), -74 - p[2])

    def ventricles(self, p: Points) -> Array:
        """Return how many mm each point is outside the ventricles."""
        x, y, z = np.abs(p[0]), p[1], p[2]
        k = self.ventricle_scale
        lateral = outside_tube((x, y, z), (13, -34, 7), (6, -10, 14), (3.8 * k, 4.2 * k))
        for start, end, radius in (
            ((6, -10, 14), (10, 16, 18), (4.2, 4.6)),
            ((10, 16, 18), (21, 36, 8), (4.6, 6.0)),
            ((21, 36, 8), (24, 56, 4), (5.5, 1.5)),
            ((21, 36, 6), (33, 2, -26), (4.0, 1.4)),
        ):
            lateral = np.minimum(lateral, outside_tube((x, y, z), start, end, (radius[0] * k, radius[1] * k)))
        third = outside_ellipsoid((x, y, z), (0, 2, -1), (2.0 * k, 14, 9))
        fourth = outside_ellipsoid((x, y, z), (0, 33, -42), (6, 4.5, 8))
        return np.minimum(np.minimum(lateral, third), fourth)

    def tissue(
        self, p: Points, brain: NDArray[np.bool_], axes: Sequence[Array], softness: float, rng: np.random.Generator
    ) -> Tissue:
        """Return what the points ``p`` (grid coordinates, mass effect undone) of the mask ``brain`` are made of."""
        x, y, z = h = self.to_head(p)
        wobble = [smooth_noise(rng, axes, 22.0)[brain] for _ in range(3)]
        cerebrum, cerebellum, brainstem = self.cerebrum(h), self.cerebellum(h), self.brainstem(h)
        depth = -cerebrum
        in_cerebrum = soft_step(np.minimum(cerebellum, brainstem) - np.maximum(cerebrum, -12), softness)

        fold = self._folds(h, wobble, rng)
        reach = 16 + 5 * wobble[0]  # how deep the sulci go
        open_to = soft_step(reach - depth, 2.5)
        sulcus = soft_step(0.85 + 0.25 * wobble[1] - fold, 0.7 * softness) * open_to
        along_folds = soft_step(3.8 - fold, softness) * soft_step(reach + 4 - depth, 2.5)
        ribbon = np.maximum(along_folds, soft_step(3.8 - depth, softness))

        around_callosum = np.sqrt((y / 44) ** 2 + ((z - 2) / 27) ** 2)
        beside_midline = np.abs(x + 0.8 * wobble[2])
        fissure = soft_step(1.1 - beside_midline, softness) * soft_step(around_callosum - 1, 0.08)
        medial = soft_step(5.0 - beside_midline, 1.2 * softness) * soft_step(around_callosum - 1, 0.08)
        sylvian_height = -13 - 0.12 * y + 1.5 * wobble[0]
        along_sylvian = soft_step(np.abs(x) - 30, 3) * soft_step(32 - np.abs(y + 8), 5)
        sylvian = soft_step(1.3 - np.abs(z - sylvian_height), softness) * along_sylvian
        insula = soft_step(5.0 - np.abs(z - sylvian_height), 1.2 * softness) * along_sylvian

        deep = np.zeros_like(x)
        mirrored = (np.abs(x), y, z)
        for centre, radii, greyness in (
            ((11, 8, 3), (8, 14, 9), 0.7),  # thalamus
            ((15, -20, 9), (5, 13, 9), 1.0),  # caudate
            ((26, -4, 1), (5.5, 15, 10), 0.9),  # putamen
        ):
            deep = np.maximum(deep, greyness * soft_step(-outside_ellipsoid(mirrored, centre, radii), 1.5 * softness))

        leaves = 0.5 + 0.5 * np.cos(2 * np.pi * (0.7 * cerebellum + 0.6 * z + 4 * wobble[1]) / 8)  # folia of the cerebellum
        grey = np.maximum.reduce([ribbon, medial, insula, deep]) * in_cerebrum
        grey += (1 - in_cerebrum) * (0.25 + 0.65 * leaves * soft_step(-cerebellum, softness) * soft_step(15 + cerebellum, 3))
        tentorium = soft_step(0.7 - 0.5 * np.abs(cerebellum - cerebrum), 0.8 * softness) * soft_step(y - 22, 4)
        fluid = np.maximum(np.maximum.reduce([sulcus, fissure, sylvian]) * in_cerebrum, tentorium)

        outside_ventricles = self.ventricles(h) + 0.5 * wobble[1]
        sinus = soft_step(2.5 - np.abs(x), softness) * soft_step(3.5 - depth, softness) * soft_step(z + 5, 5) * in_cerebrum
        plexus = soft_step(-outside_ellipsoid(mirrored, (20, 34, 9), (2.2, 4.5, 2.2)), softness)
        cap = np.exp(-np.maximum(outside_ventricles, 0) / 2.5) * in_cerebrum
        return Tissue(grey, fluid, soft_step(-outside_ventricles, softness), np.maximum(sinus, plexus), cap)

    @staticmethod
    def _folds(h: Points, wobble: Sequence[Array], rng: np.random.Generator) -> Array:
        """Return roughly how many mm each point is from the nearest sulcus.

        Sulci are where a noise field crosses zero: winding sheets. It is looked up by direction from the middle of the head, so
        that the sheets are perpendicular to the surface.
        """
        lattice = np.arange(-96.0, 97.0, 3.0)
        field = smooth_noise(rng, (lattice, lattice, lattice), 9.5)
        slope = np.sqrt(sum(g**2 for g in np.gradient(field, 3.0)))
        distance = np.abs(field) / np.maximum(slope, 0.07)
        x, y, z = h[0] / 66, h[1] / 84, h[2] / 62
        outward = 74 / np.sqrt(x**2 + y**2 + z**2 + 0.05)
        place = [np.clip((q * outward + 3.5 * w + 96) / 3, 0, lattice.size - 1) for q, w in zip((x, y, z), wobble, strict=True)]
        return np.asarray(map_coordinates(np.minimum(distance, 9), place, order=1), np.float64)


class Outline(NamedTuple):
    """How many mm each brain point is outside a lesion's tumour and core, and how thick its enhancing rim is there."""

    tumour: Array
    core: Array
    rim_mm: Array


@dataclass(frozen=True)
class Lesion:
    """A lesion's place (grid coordinates, mm), size and shape."""

    centre: Array
    radius_mm: float
    axes: Array  # rotation (3, 3) times stretch, of determinant 1
    core_offset: Array
    core_fraction: float
    rim_mm: float

    @classmethod
    def draw(cls, centre: Array, radius_mm: float, has_et: bool, rng: np.random.Generator) -> "Lesion":
        """Return a lesion at ``centre`` whose shape, core and rim are drawn at random; its core is larger without ET."""
        rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        stretch = np.exp(rng.uniform(-0.22, 0.22, 3))
        stretch /= np.cbrt(stretch.prod())
        fraction = rng.uniform(0.60, 0.74) + (0.0 if has_et else 0.06)
        direction = rng.standard_normal(3)
        offset = direction / np.linalg.norm(direction) * rng.uniform(0.05, 0.22) * radius_mm
        rim = min(rng.uniform(5.0, 8.0), 0.65 * fraction * radius_mm)
        return cls(centre, radius_mm, rotation * stretch, offset, fraction, rim)

    def outline(self, p: Points, brain: NDArray[np.bool_], axes: Sequence[Array], rng: np.random.Generator) -> Outline:
        """Return the outline at the points ``p`` of the mask ``brain``: ellipsoids roughened at the lesion's own scale."""
        local = [(axis - c) * (24.0 / self.radius_mm) for axis, c in zip(axes, self.centre, strict=True)]
        coarse, fine, core_bumps, thickness = (smooth_noise(rng, local, pitch)[brain] for pitch in (15.0, 8.0, 11.0, 9.0))
        fingers = np.clip(0.26 * coarse + 0.11 * fine, -0.5, 0.6)
        away = np.stack([q - c for q, c in zip(p, self.centre, strict=True)])
        tumour = self._distance(away) - self.radius_mm * (1 + fingers)
        core_radius = self.core_fraction * self.radius_mm
        core = self._distance(away - self.core_offset[:, None]) - core_radius * (1 + np.clip(0.2 * core_bumps, -0.4, 0.4))
        rim_mm = self.rim_mm * np.clip(1 + 0.35 * thickness, 0.4, 1.8)
        return Outline(tumour, np.maximum(core, tumour + 0.1 * self.radius_mm), rim_mm)

    def undo_mass_effect(self, p: Points) -> Points:
        """Return where the tissue now at ``p`` was before the lesion pushed it outward."""
        away = [q - c for q, c in zip(p, self.centre, strict=True)]
        pull = 1 - 0.3 * np.exp(-sum(a**2 for a in away) / (2 * (0.9 * self.radius_mm) ** 2))
        x, y, z = (c + a * pull for a, c in zip(away, self.centre, strict=True))
        return x, y, z

    def _distance(self, away: Array) -> Array:
        return np.asarray(np.sqrt((np.einsum("ji,jn->in", self.axes, away) ** 2).sum(axis=0)))


def draw_lesions(case: PhantomCase, head: Head, rng: np.random.Generator) -> list[Lesion]:
    """Return the main lesion, and one or two smaller ones in a multifocal case."""
    main_rng, others_rng = rng.spawn(2)
    radius = case.tumour_radius_mm
    lesions = [Lesion.draw(_draw_centre(head, [], radius, main_rng), radius, case.has_et, main_rng)]
    if case.multifocal:
        for _ in range(int(others_rng.integers(1, 3))):
            radius = max(9.0, case.tumour_radius_mm * float(others_rng.uniform(0.33, 0.45)))
            centre = _draw_centre(head, lesions, radius, others_rng)
            lesions.append(Lesion.draw(centre, radius, case.has_et, others_rng))
    return lesions


def _draw_centre(head: Head, others: Sequence[Lesion], radius_mm: float, rng: np.random.Generator) -> Array:
    """Return a place in the cerebrum, in grid coordinates, clear of the other lesions where one is found."""
    for _ in range(1000):
        place = np.array([rng.choice((-1, 1)) * rng.uniform(18, 46), rng.uniform(-56, 56), rng.uniform(-6, 42)])
        point = list(place[:, None])
        depth, off_ventricles = float(-head.cerebrum(point)[0]), float(head.ventricles(point)[0])
        centre = head.to_grid(place)
        clear = all(np.linalg.norm(centre - o.centre) > 1.25 * (radius_mm + o.radius_mm) for o in others)
        if clear and depth > 10 + 0.25 * radius_mm and off_ventricles > 3 + 0.3 * radius_mm:
            break
    return centre


def draw_labels(outlines: Sequence[Outline], ventricle: Array, has_et: bool) -> NDArray[np.uint8]:
    """Return the canonical label of every brain point. Fluid of the ventricles is never tumour."""
    labels = np.zeros(ventricle.shape, np.uint8)
    for outline in outlines:
        tumour = np.flatnonzero((outline.tumour < 0) & (ventricle < 0.5))
        if tumour.size == 0:
            continue
        core = outline.core[tumour]
        edge = max(0.0, float(np.partition(core, min(_SMALLEST_CORE, core.size) - 1)[min(_SMALLEST_CORE, core.size) - 1]))
        rim = (core > edge - outline.rim_mm[tumour]) & (core > core.min())
        labels[tumour] = np.where(core > edge, ED, np.where(rim & has_et, ET, NCR))
    return labels


class Tumour(NamedTuple):
    """How much of each brain point is tumour, core and enhancing rim (fractions 0 to 1, each part of the one before)."""

    whole: Array
    core: Array
    rim: Array


def draw_tumour(outlines: Sequence[Outline], ventricle: Array, has_et: bool, softness: float) -> Tumour:
    """Return what of every brain point is tumour, with edges about ``softness`` mm wide. Fluid of the ventricles never is."""
    whole, core, rim = np.zeros((3, ventricle.size))
    for outline in outlines:
        inner = soft_step(-outline.core, softness)
        whole = np.maximum(whole, soft_step(-outline.tumour, 1.2 * softness))
        core = np.maximum(core, inner)
        rim = np.maximum(rim, inner * soft_step(outline.core + outline.rim_mm, softness) * has_et)
    return Tumour(*(part * (1 - ventricle) for part in (whole, core, rim)))
