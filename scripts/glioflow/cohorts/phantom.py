"""Made-up brain MRI with a glioma, and with difficulty planted in chosen cases.

``plan_phantoms`` draws a cohort from a seed: what every case is like and which cases are made hard, in which way and how
strongly. ``render_phantom`` turns one planned case into the four channels and the label map. The plan is the truth that a
failure analysis of the cohort should find again.

What is drawn for a case depends on the cohort's seed and the case's number only, not on how many cases there are: a longer
cohort begins with the same heads and tumours. Planting replaces one property of a case and leaves the rest as it was drawn;
which cases are planted, and who has two sessions, does depend on the number of cases.

Anatomy is drawn in millimetres on lattices of its own, so another grid shows the same head, coarser or finer. Only the
acquisition noise belongs to the voxels. Axes are LPS, as in BraTS: x to the left, y to the back, z up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, map_coordinates

from glioflow.console import UserError
from glioflow.imaging.labels import ED, ET, NCR

Array = NDArray[np.float64]
Points = Sequence[Array]  # x, y and z in mm, of one shape or broadcasting to one

CHANNELS = ("t1", "t1ce", "t2", "flair")
PLANTED_KINDS = ("low_contrast", "small_volume", "heavy_noise")
DEFAULT_SHAPE = (80, 96, 80)
DEFAULT_SPACING_MM = (2.0, 2.0, 2.0)

# The largest head that is drawn, with its tilt and offset, along x, y and z.
HEAD_EXTENT_MM = (154.0, 186.0, 154.0)
# Above this the smallest planted tumour falls between the voxels.
LARGEST_SPACING_MM = 5.0
# A cohort of at least this many cases has one patient with two sessions, so that grouping by patient is exercised.
CASES_WITH_A_SECOND_SESSION = 10

# Signal relative to normal white matter of the same channel, and the scanner units white matter is brought to. Chosen to lie
# in the range of BraTS 2021 cases whose tumour is plain to see; not a model of relaxation times.
SIGNAL: dict[str, dict[str, float]] = {
    "t1": {"csf": 0.28, "grey": 0.78, "oedema": 0.86, "necrosis": 0.62, "bulk": 0.72, "rim": 0.90, "vessel": 1.00},
    "t1ce": {"csf": 0.30, "grey": 0.82, "oedema": 0.88, "necrosis": 0.55, "bulk": 0.74, "rim": 2.10, "vessel": 1.20},
    "t2": {"csf": 3.00, "grey": 1.32, "oedema": 2.05, "necrosis": 2.60, "bulk": 2.40, "rim": 1.85, "vessel": 1.00},
    "flair": {"csf": 0.26, "grey": 1.10, "oedema": 2.10, "necrosis": 1.70, "bulk": 2.00, "rim": 1.95, "vessel": 1.00},
}
WHITE_MATTER_UNITS = {"t1": 950.0, "t1ce": 1050.0, "t2": 480.0, "flair": 900.0}


@dataclass(frozen=True)
class PhantomCase:
    """One planned case.

    ``strength`` (0, 1] says how strongly the difficulty is planted, None where nothing is. ``flair_contrast`` multiplies the
    contrast of tumour to brain (1 = plain to see, 0 = invisible) in FLAIR, T2 and T1, ``rim_contrast`` that of the enhancing
    rim in T1ce; ``noise_sd`` is the standard deviation of the acquisition noise as a fraction of the white-matter signal of
    each channel; ``tumour_radius_mm`` is the radius of the whole tumour (of the main one in a multifocal case) before its
    outline is roughened and clipped to the brain.
    """

    case_id: str
    patient_id: str
    seed: int
    planted: str
    strength: float | None
    multifocal: bool
    has_et: bool
    flair_contrast: float
    rim_contrast: float
    noise_sd: float
    tumour_radius_mm: float


class Phantom(NamedTuple):
    """A rendered case: channel name to int16 (x, y, z), canonical labels uint8 (x, y, z), voxel-to-mm affine (RAS+)."""

    images: dict[str, NDArray[np.int16]]
    labels: NDArray[np.uint8]
    affine: Array


def plan_phantoms(cases: int, seed: int, planted: Mapping[str, int]) -> list[PhantomCase]:
    """Return the plan of a cohort: ``cases`` cases, of which ``planted`` says how many get each of ``PLANTED_KINDS``.

    A case gets one kind at most. Patients have one session each and their id is that of the case, save that in a cohort of
    ten or more one patient, drawn from the first ten cases, has two.

    Raises UserError where the numbers cannot be had or a kind is unknown.
    """
    _check_counts(cases, planted)
    drawn, lots = zip(*(_draw_case(number, seed) for number in range(cases)), strict=True)
    plan: list[PhantomCase] = list(drawn)
    strengths = [draw["strength"] for draw in lots]
    for kind in PLANTED_KINDS:
        free = [number for number in range(cases) if not plan[number].planted]
        for number in sorted(free, key=lambda n: lots[n][kind])[: planted.get(kind, 0)]:
            plan[number] = _plant(plan[number], kind, strengths[number])
    if cases >= CASES_WITH_A_SECOND_SESSION:
        pair = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))).permutation(CASES_WITH_A_SECOND_SESSION)
        first, second = sorted(int(number) for number in pair[:2])
        plan[second] = replace(plan[second], patient_id=plan[first].patient_id)
    return plan


def _check_counts(cases: int, planted: Mapping[str, int]) -> None:
    if cases < 1:
        raise UserError(f"phantom: cases is {cases}; at least 1 is needed")
    for kind, number in planted.items():
        if kind not in PLANTED_KINDS:
            raise UserError(f"phantom: planted has the unknown kind {kind!r}; known are {', '.join(PLANTED_KINDS)}")
        if number < 0:
            raise UserError(f"phantom: planted.{kind} is {number}; it must be 0 or more")
    if (total := sum(planted.values())) > cases:
        parts = " + ".join(f"{number} {kind}" for kind, number in planted.items() if number)
        raise UserError(f"phantom: {total} cases are to be planted ({parts}) but the cohort has {cases}; plant {cases} at most")


def _draw_case(number: int, seed: int) -> tuple[PhantomCase, dict[str, float]]:
    """Return case ``number`` with nothing planted, and its lots: a rank per kind (the lowest are planted) and a strength."""
    sequence = np.random.SeedSequence(seed, spawn_key=(0, number))
    rng = np.random.default_rng(sequence)
    case = PhantomCase(
        case_id=f"phantom_{number:03d}",
        patient_id=f"phantom_{number:03d}",
        seed=int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)),  # fits a signed 64-bit table column
        planted="",
        strength=None,
        multifocal=bool(rng.random() < 0.2),
        has_et=bool(rng.random() < 0.8),
        flair_contrast=round(rng.uniform(0.9, 1.1), 4),
        rim_contrast=round(rng.uniform(0.85, 1.15), 4),
        noise_sd=round(rng.uniform(0.025, 0.04), 4),
        tumour_radius_mm=round(rng.uniform(20.0, 31.0), 2),
    )
    lots = {kind: float(rng.random()) for kind in PLANTED_KINDS}
    return case, {**lots, "strength": round(rng.uniform(0.4, 1.0), 3)}


def _plant(case: PhantomCase, kind: str, strength: float) -> PhantomCase:
    """Return ``case`` made hard: the one property of ``kind`` changed by ``strength``, the rest as it was drawn."""
    case = replace(case, planted=kind, strength=strength)
    if kind == "low_contrast":
        contrast = round(0.24 - 0.19 * strength, 4)
        return replace(case, flair_contrast=contrast, rim_contrast=round(0.15 + contrast, 4))
    if kind == "small_volume":
        return replace(case, tumour_radius_mm=round(11.0 - 4.5 * strength, 2), multifocal=False)
    return replace(case, noise_sd=round(case.noise_sd * (4.0 + 14.0 * strength), 4))


def render_phantom(
    case: PhantomCase,
    shape: Sequence[int] = DEFAULT_SHAPE,
    spacing_mm: Sequence[float] = DEFAULT_SPACING_MM,
) -> Phantom:
    """Return the images and labels of ``case`` on a grid of ``shape`` (x, y, z) voxels of ``spacing_mm`` (x, y, z).

    Images are exactly 0 outside the brain and at least 1 in it. The same arguments give the same arrays.

    Raises UserError where the grid is too small for a head or too coarse for a tumour.
    """
    shape, spacing = _checked_grid(shape, spacing_mm)
    axes = [np.asarray((np.arange(n) - (n - 1) / 2) * s, np.float64) for n, s in zip(shape, spacing, strict=True)]
    anatomy_rng, lesion_rng, scan_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(case.seed).spawn(3))

    head = _Head.draw(anatomy_rng)
    brain = head.level(head.to_head(np.meshgrid(*axes, indexing="ij", sparse=True)), _noise(anatomy_rng, axes, 30.0)) < 0
    points: Points = [np.broadcast_to(axis.reshape(view), shape)[brain] for axis, view in zip(axes, _VIEWS, strict=True)]

    softness = max(1.0, 0.4 * max(spacing))
    lesions = _draw_lesions(case, head, lesion_rng)
    outlines = [lesion.outline(points, brain, axes, lesion_rng) for lesion in lesions]
    displaced = points
    for lesion in lesions:
        displaced = lesion.undo_mass_effect(displaced)
    tissue = head.tissue(displaced, brain, axes, softness, anatomy_rng)
    tumour = _tumour(outlines, tissue.ventricle, case.has_et, softness)
    tissue = tissue.swollen(tumour.whole, tumour.core)
    labels = _labels(outlines, tissue.ventricle, case.has_et)

    images = {}
    texture = _noise(anatomy_rng, axes, 9.0)[brain]
    patches = _noise(lesion_rng, axes, 7.0)[brain]
    for channel in CHANNELS:
        signal = _healthy_signal(channel, tissue, texture)
        signal = _add_tumour(signal, channel, case, tumour, patches)
        images[channel] = _acquire(signal, channel, case.noise_sd, brain, axes, scan_rng)
    volume = np.zeros(shape, np.uint8)
    volume[brain] = labels
    return Phantom(images, volume, _affine(shape, spacing))


_VIEWS = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))


def _checked_grid(shape: Sequence[int], spacing_mm: Sequence[float]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    grid, spacing = tuple(int(n) for n in shape), tuple(float(s) for s in spacing_mm)
    if len(grid) != 3 or len(spacing) != 3 or min(grid) < 1 or min(spacing) <= 0:
        raise UserError(f"phantom: shape {list(shape)} and spacing_mm {list(spacing_mm)} must be three positive numbers each")
    if max(spacing) > LARGEST_SPACING_MM:
        raise UserError(f"phantom: spacing_mm {list(spacing)} is too coarse for a tumour; {LARGEST_SPACING_MM:g} at most")
    extent = tuple(n * s for n, s in zip(grid, spacing, strict=True))
    if any(have < need for have, need in zip(extent, HEAD_EXTENT_MM, strict=True)):
        have, need = ("x".join(f"{mm:g}" for mm in size) for size in (extent, HEAD_EXTENT_MM))
        raise UserError(
            f"phantom: shape {list(grid)} at spacing_mm {list(spacing)} spans {have} mm; a head needs {need} mm: "
            "give more voxels or a wider spacing"
        )
    return grid, spacing


def _affine(shape: Sequence[int], spacing: Sequence[float]) -> Array:
    """Return the LPS affine of a scanner: the volume's centre 12 mm behind and 18 mm above the world's origin."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = np.array([0.0, -12.0, 18.0]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


# Half the edge, in mm, of the cube in which noise is drawn: wider than any head, the same for every grid.
_NOISE_REACH_MM = 130.0
# Standard deviation of a sum of unit normals under cubic B-spline weights in 3D: (151/315) ** 1.5, the mean over a cell.
_SPLINE_SD = (151 / 315) ** 1.5


def _noise(rng: np.random.Generator, axes: Sequence[Array], pitch_mm: float) -> Array:
    """Return smooth noise of mean 0 and sd 1 on the grid of ``axes`` (mm), with blobs about ``pitch_mm`` across.

    A cubic B-spline over a lattice of normal draws, evaluated axis by axis: what it is at a place does not depend on the grid.
    """
    nodes = int(np.ceil(2 * _NOISE_REACH_MM / pitch_mm)) + 4
    field = rng.standard_normal((nodes, nodes, nodes))
    for dimension, axis in enumerate(axes):
        place = np.clip((axis + _NOISE_REACH_MM) / pitch_mm, 0, nodes - 4 - 1e-9)
        first = np.floor(place).astype(int)
        t = place - first
        weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        terms = (np.take(field, first + k, dimension) * (w / 6).reshape(_VIEWS[dimension]) for k, w in enumerate(weights))
        field = reduce(np.add, terms)
    return field / _SPLINE_SD


# Weights of a voxel and its two neighbours along an axis in the grain of a scan, and the sd that is left of unit noise in 3D.
_GRAIN = np.array([0.25, 0.5, 0.25])
_GRAIN_SD = float((_GRAIN**2).sum()) ** 1.5


def _grain(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Return normal noise of sd 1 on a grid, correlated between neighbours as in scans resampled to a common space."""
    noise = rng.standard_normal(tuple(shape))
    for axis in range(3):
        noise = convolve1d(noise, _GRAIN, axis, mode="wrap")
    return np.asarray(noise / _GRAIN_SD, np.float64)


def _step(value: Array, softness: float) -> Array:
    """Return a soft step: 0 well below zero, 1 well above, within about ``softness`` of it."""
    return np.asarray(1 / (1 + np.exp(-np.clip(value * (2 / softness), -40, 40))), np.float64)


def _ellipsoid(p: Points, centre: Sequence[float], radii: Sequence[float]) -> Array:
    """Return roughly how many mm each point lies outside (negative: inside) an ellipsoid."""
    r = np.sqrt(sum(((q - c) / a) ** 2 for q, c, a in zip(p, centre, radii, strict=True)))
    return (r - 1) * float(np.cbrt(np.prod(radii)))


def _tube(p: Points, start: Sequence[float], end: Sequence[float], radius: tuple[float, float]) -> Array:
    """Return how many mm each point lies outside a tube from ``start`` to ``end`` whose radius changes along it."""
    s, e = np.asarray(start), np.asarray(end)
    along = e - s
    t = np.clip(sum((q - a) * d for q, a, d in zip(p, s, along, strict=True)) / float(along @ along), 0, 1)
    distance = np.sqrt(sum((q - a - t * d) ** 2 for q, a, d in zip(p, s, along, strict=True)))
    return np.asarray(distance - (radius[0] + t * (radius[1] - radius[0])), np.float64)


def _smooth_union(a: Array, b: Array, width: float) -> Array:
    h = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - h * h * width / 4


class _Tissue(NamedTuple):
    """What each brain point is made of, as fractions 0 to 1; white matter is the rest."""

    grey: Array
    sulcus: Array  # fluid that a tumour presses out
    ventricle: Array  # fluid that it does not
    vessel: Array
    cap: Array  # the bright FLAIR lining of the ventricles

    def swollen(self, tumour: Array, core: Array) -> "_Tissue":
        """Return the tissue with the sulci closed where there is tumour and the cortex gone where there is core."""
        return self._replace(sulcus=self.sulcus * (1 - tumour), vessel=self.vessel * (1 - tumour), grey=self.grey * (1 - core))


@dataclass(frozen=True)
class _Head:
    """A head's size and pose. Anatomy is defined in head coordinates: mm, LPS, mid-sagittal plane at x = 0."""

    scale: Array
    rotation: Array
    offset: Array
    ventricle_scale: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Head":
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
        """Return roughly how many mm each point lies outside the cerebrum: an egg, flat below, with temporal lobes."""
        x, y, z = p
        width = 66 * (1 + 0.09 * y / 84 - 0.06 * (y / 84) ** 2)
        height = np.where(z > 0, 62.0, 30.0 - 6 * np.tanh(y / 40))
        r = (np.abs(x / width) ** 2.4 + np.abs(y / 84) ** 2.4 + np.abs(z / height) ** 2.4) ** (1 / 2.4)
        lobes = _ellipsoid((np.abs(x), y, z), (40, -6, -28), (23, 40, 20))
        return _smooth_union((r - 1) * 60, lobes, 8)

    @staticmethod
    def cerebellum(p: Points) -> Array:
        return _ellipsoid((np.abs(p[0]), p[1], p[2]), (19, 43, -36), (33, 32, 24))

    @staticmethod
    def brainstem(p: Points) -> Array:
        return _tube(p, (0, 4, -12), (0, 24, -72), (15, 10))

    def level(self, p: Points, bumps: Array) -> Array:
        """Return roughly how many mm each point lies outside the brain, its surface roughened by ``bumps``."""
        below = _smooth_union(self.cerebellum(p), self.brainstem(p), 8)
        return np.maximum(_smooth_union(self.cerebrum(p), below, 4) + 1.5 * np.clip(bumps, -2, 2), -74 - p[2])

    def ventricles(self, p: Points) -> Array:
        """Return how many mm each point lies outside the ventricles."""
        x, y, z = np.abs(p[0]), p[1], p[2]
        k = self.ventricle_scale
        lateral = _tube((x, y, z), (13, -34, 7), (6, -10, 14), (3.8 * k, 4.2 * k))
        for start, end, radius in (
            ((6, -10, 14), (10, 16, 18), (4.2, 4.6)),
            ((10, 16, 18), (21, 36, 8), (4.6, 6.0)),
            ((21, 36, 8), (24, 56, 4), (5.5, 1.5)),
            ((21, 36, 6), (33, 2, -26), (4.0, 1.4)),
        ):
            lateral = np.minimum(lateral, _tube((x, y, z), start, end, (radius[0] * k, radius[1] * k)))
        third = _ellipsoid((x, y, z), (0, 2, -1), (2.0 * k, 14, 9))
        fourth = _ellipsoid((x, y, z), (0, 33, -42), (6, 4.5, 8))
        return np.minimum(np.minimum(lateral, third), fourth)

    def tissue(
        self, p: Points, brain: NDArray[np.bool_], axes: Sequence[Array], softness: float, rng: np.random.Generator
    ) -> _Tissue:
        """Return what the points ``p`` (grid coordinates, mass effect undone) of the mask ``brain`` are made of."""
        x, y, z = h = self.to_head(p)
        wobble = [_noise(rng, axes, 22.0)[brain] for _ in range(3)]
        cerebrum, cerebellum, brainstem = self.cerebrum(h), self.cerebellum(h), self.brainstem(h)
        depth = -cerebrum
        in_cerebrum = _step(np.minimum(cerebellum, brainstem) - np.maximum(cerebrum, -12), softness)

        fold = self._folds(h, wobble, rng)
        reach = 16 + 5 * wobble[0]  # how deep the sulci go
        open_to = _step(reach - depth, 2.5)
        sulcus = _step(0.85 + 0.25 * wobble[1] - fold, 0.7 * softness) * open_to
        ribbon = np.maximum(_step(3.8 - fold, softness) * _step(reach + 4 - depth, 2.5), _step(3.8 - depth, softness))

        around_callosum = np.sqrt((y / 44) ** 2 + ((z - 2) / 27) ** 2)
        beside_midline = np.abs(x + 0.8 * wobble[2])
        fissure = _step(1.1 - beside_midline, softness) * _step(around_callosum - 1, 0.08)
        medial = _step(5.0 - beside_midline, 1.2 * softness) * _step(around_callosum - 1, 0.08)
        sylvian_height = -13 - 0.12 * y + 1.5 * wobble[0]
        along_sylvian = _step(np.abs(x) - 30, 3) * _step(32 - np.abs(y + 8), 5)
        sylvian = _step(1.3 - np.abs(z - sylvian_height), softness) * along_sylvian
        insula = _step(5.0 - np.abs(z - sylvian_height), 1.2 * softness) * along_sylvian

        deep = np.zeros_like(x)
        mirrored = (np.abs(x), y, z)
        for centre, radii, greyness in (
            ((11, 8, 3), (8, 14, 9), 0.7),  # thalamus
            ((15, -20, 9), (5, 13, 9), 1.0),  # caudate
            ((26, -4, 1), (5.5, 15, 10), 0.9),  # putamen
        ):
            deep = np.maximum(deep, greyness * _step(-_ellipsoid(mirrored, centre, radii), 1.5 * softness))

        leaves = 0.5 + 0.5 * np.cos(2 * np.pi * (0.7 * cerebellum + 0.6 * z + 4 * wobble[1]) / 8)  # folia of the cerebellum
        grey = np.maximum.reduce([ribbon, medial, insula, deep]) * in_cerebrum
        grey += (1 - in_cerebrum) * (0.25 + 0.65 * leaves * _step(-cerebellum, softness) * _step(15 + cerebellum, 3))
        tentorium = _step(0.7 - 0.5 * np.abs(cerebellum - cerebrum), 0.8 * softness) * _step(y - 22, 4)
        fluid = np.maximum(np.maximum.reduce([sulcus, fissure, sylvian]) * in_cerebrum, tentorium)

        outside_ventricles = self.ventricles(h) + 0.5 * wobble[1]
        sinus = _step(2.5 - np.abs(x), softness) * _step(3.5 - depth, softness) * _step(z + 5, 5) * in_cerebrum
        plexus = _step(-_ellipsoid(mirrored, (20, 34, 9), (2.2, 4.5, 2.2)), softness)
        cap = np.exp(-np.maximum(outside_ventricles, 0) / 2.5) * in_cerebrum
        return _Tissue(grey, fluid, _step(-outside_ventricles, softness), np.maximum(sinus, plexus), cap)

    @staticmethod
    def _folds(h: Points, wobble: Sequence[Array], rng: np.random.Generator) -> Array:
        """Return roughly how many mm each point lies from the nearest sulcus.

        Sulci are where a noise field crosses zero: winding sheets. It is looked up by direction from the middle of the head, so
        that the sheets stand on the surface.
        """
        lattice = np.arange(-96.0, 97.0, 3.0)
        field = _noise(rng, (lattice, lattice, lattice), 9.5)
        slope = np.sqrt(sum(g**2 for g in np.gradient(field, 3.0)))
        distance = np.abs(field) / np.maximum(slope, 0.07)
        x, y, z = h[0] / 66, h[1] / 84, h[2] / 62
        outward = 74 / np.sqrt(x**2 + y**2 + z**2 + 0.05)
        place = [np.clip((q * outward + 3.5 * w + 96) / 3, 0, lattice.size - 1) for q, w in zip((x, y, z), wobble, strict=True)]
        return np.asarray(map_coordinates(np.minimum(distance, 9), place, order=1), np.float64)


class _Outline(NamedTuple):
    """How many mm each brain point lies outside a lesion's tumour and core, and how thick its enhancing rim is there."""

    tumour: Array
    core: Array
    rim_mm: Array


@dataclass(frozen=True)
class _Lesion:
    """A lesion's place (grid coordinates, mm), size and shape."""

    centre: Array
    radius_mm: float
    axes: Array  # rotation (3, 3) times stretch, of determinant 1
    core_offset: Array
    core_fraction: float
    rim_mm: float

    @classmethod
    def draw(cls, centre: Array, radius_mm: float, has_et: bool, rng: np.random.Generator) -> "_Lesion":
        rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        stretch = np.exp(rng.uniform(-0.22, 0.22, 3))
        stretch /= np.cbrt(stretch.prod())
        fraction = rng.uniform(0.60, 0.74) + (0.0 if has_et else 0.06)
        direction = rng.standard_normal(3)
        offset = direction / np.linalg.norm(direction) * rng.uniform(0.05, 0.22) * radius_mm
        rim = min(rng.uniform(5.0, 8.0), 0.65 * fraction * radius_mm)
        return cls(centre, radius_mm, rotation * stretch, offset, fraction, rim)

    def outline(self, p: Points, brain: NDArray[np.bool_], axes: Sequence[Array], rng: np.random.Generator) -> _Outline:
        """Return the outline at the points ``p`` of the mask ``brain``: ellipsoids roughened at the lesion's own scale."""
        local = [(axis - c) * (24.0 / self.radius_mm) for axis, c in zip(axes, self.centre, strict=True)]
        coarse, fine, core_bumps, thickness = (_noise(rng, local, pitch)[brain] for pitch in (15.0, 8.0, 11.0, 9.0))
        fingers = np.clip(0.26 * coarse + 0.11 * fine, -0.5, 0.6)
        away = np.stack([q - c for q, c in zip(p, self.centre, strict=True)])
        tumour = self._distance(away) - self.radius_mm * (1 + fingers)
        core_radius = self.core_fraction * self.radius_mm
        core = self._distance(away - self.core_offset[:, None]) - core_radius * (1 + np.clip(0.2 * core_bumps, -0.4, 0.4))
        rim_mm = self.rim_mm * np.clip(1 + 0.35 * thickness, 0.4, 1.8)
        return _Outline(tumour, np.maximum(core, tumour + 0.1 * self.radius_mm), rim_mm)

    def undo_mass_effect(self, p: Points) -> Points:
        """Return where the tissue now at ``p`` was before the lesion pushed it outward."""
        away = [q - c for q, c in zip(p, self.centre, strict=True)]
        pull = 1 - 0.3 * np.exp(-sum(a**2 for a in away) / (2 * (0.9 * self.radius_mm) ** 2))
        x, y, z = (c + a * pull for a, c in zip(away, self.centre, strict=True))
        return x, y, z

    def _distance(self, away: Array) -> Array:
        return np.asarray(np.sqrt((np.einsum("ji,jn->in", self.axes, away) ** 2).sum(axis=0)))


def _draw_lesions(case: PhantomCase, head: _Head, rng: np.random.Generator) -> list[_Lesion]:
    """Return the main lesion, and one or two smaller ones in a multifocal case."""
    main_rng, others_rng = rng.spawn(2)
    radius = case.tumour_radius_mm
    lesions = [_Lesion.draw(_draw_centre(head, [], radius, main_rng), radius, case.has_et, main_rng)]
    if case.multifocal:
        for _ in range(int(others_rng.integers(1, 3))):
            radius = max(9.0, case.tumour_radius_mm * float(others_rng.uniform(0.33, 0.45)))
            centre = _draw_centre(head, lesions, radius, others_rng)
            lesions.append(_Lesion.draw(centre, radius, case.has_et, others_rng))
    return lesions


def _draw_centre(head: _Head, others: Sequence[_Lesion], radius_mm: float, rng: np.random.Generator) -> Array:
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


# A lesion's core has this many voxels at least, however coarse the grid: the deepest is necrotic, the others may enhance.
_SMALLEST_CORE = 8


def _labels(outlines: Sequence[_Outline], ventricle: Array, has_et: bool) -> NDArray[np.uint8]:
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


def _healthy_signal(channel: str, tissue: _Tissue, texture: Array) -> Array:
    """Return the signal of the brain without its tumour, white matter = 1."""
    level = SIGNAL[channel]
    signal = 1 + tissue.grey * (level["grey"] - 1) + (0.10 * tissue.cap if channel == "flair" else 0)
    signal = signal * (1 + 0.025 * np.clip(texture, -3, 3))
    fluid = np.maximum(tissue.sulcus, tissue.ventricle)
    signal = signal + fluid * (level["csf"] - signal)
    if channel == "t1ce":
        signal = signal + tissue.vessel * (level["vessel"] - signal)
    return np.asarray(signal)


class _Tumour(NamedTuple):
    """How much of each brain point is tumour, core and enhancing rim (fractions 0 to 1, each part of the one before)."""

    whole: Array
    core: Array
    rim: Array


def _tumour(outlines: Sequence[_Outline], ventricle: Array, has_et: bool, softness: float) -> _Tumour:
    whole, core, rim = np.zeros((3, ventricle.size))
    for outline in outlines:
        inner = _step(-outline.core, softness)
        whole = np.maximum(whole, _step(-outline.tumour, 1.2 * softness))
        core = np.maximum(core, inner)
        rim = np.maximum(rim, inner * _step(outline.core + outline.rim_mm, softness) * has_et)
    return _Tumour(*(part * (1 - ventricle) for part in (whole, core, rim)))


def _add_tumour(signal: Array, channel: str, case: PhantomCase, tumour: _Tumour, patches: Array) -> Array:
    """Return ``signal`` with the tumour in it, its contrast to the brain multiplied as the case says."""
    level = SIGNAL[channel]
    inner = level["necrosis"] if case.has_et else level["bulk"]
    lit = level["oedema"] + tumour.core * (inner - level["oedema"])
    lit = (lit + tumour.rim * (level["rim"] - lit)) * (1 + 0.07 * np.clip(patches, -2.5, 2.5))
    contrast = np.full_like(signal, case.flair_contrast)
    if channel == "t1ce":
        contrast += tumour.rim * (case.rim_contrast - contrast)
    return np.asarray(signal + tumour.whole * contrast * (lit - signal))


def _acquire(
    signal: Array,
    channel: str,
    noise_sd: float,
    brain: NDArray[np.bool_],
    axes: Sequence[Array],
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Return the int16 image (x, y, z) a scanner makes of ``signal`` at the brain's points: coil bias, gain and Rician noise.

    The magnitude of a complex signal with normal noise in both parts: Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618.
    """
    units = WHITE_MATTER_UNITS[channel] * rng.uniform(0.88, 1.12)
    bias = np.exp(0.03 * np.clip(_noise(rng, axes, 90.0)[brain], -2.5, 2.5))
    real, imaginary = (noise_sd * _grain(rng, brain.shape)[brain] for _ in range(2))
    magnitude = np.hypot(signal * bias + real, imaginary) * units
    image = np.zeros(brain.shape, np.int16)
    image[brain] = np.clip(np.rint(magnitude), 1, np.iinfo(np.int16).max).astype(np.int16)
    return image
