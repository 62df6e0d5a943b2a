"""Images and labels of a planned phantom, as a scanner shows them on a grid.

Only the acquisition noise belongs to the voxels; the anatomy is the same on every grid.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from glioflow.cohorts.phantom.anatomy import Head, Tissue, Tumour, draw_labels, draw_lesions, draw_tumour
from glioflow.cohorts.phantom.fields import VIEWS, Array, Points, smooth_noise
from glioflow.cohorts.phantom.plan import PhantomCase
from glioflow.console import UserError

CHANNELS = ("t1", "t1ce", "t2", "flair")

# The largest head that is drawn, with its tilt and offset, along x, y and z.
HEAD_EXTENT_MM = (154.0, 186.0, 154.0)
# Above this the smallest planted tumour falls between the voxels.
LARGEST_SPACING_MM = 5.0

# Signal relative to normal white matter of the same channel, and the scanner units white matter is brought to. Chosen to lie
# in the range of BraTS 2021 cases whose tumour is plain to see; not a model of relaxation times.
SIGNAL: dict[str, dict[str, float]] = {
    "t1": {"csf": 0.28, "grey": 0.78, "oedema": 0.86, "necrosis": 0.62, "bulk": 0.72, "rim": 0.90, "vessel": 1.00},
    "t1ce": {"csf": 0.30, "grey": 0.82, "oedema": 0.88, "necrosis": 0.55, "bulk": 0.74, "rim": 2.10, "vessel": 1.20},
    "t2": {"csf": 3.00, "grey": 1.32, "oedema": 2.05, "necrosis": 2.60, "bulk": 2.40, "rim": 1.85, "vessel": 1.00},
    "flair": {"csf": 0.26, "grey": 1.10, "oedema": 2.10, "necrosis": 1.70, "bulk": 2.00, "rim": 1.95, "vessel": 1.00},
}
WHITE_MATTER_UNITS = {"t1": 950.0, "t1ce": 1050.0, "t2": 480.0, "flair": 900.0}

# Weights of a voxel and its two neighbours along an axis in the grain of a scan, and the sd that is left of unit noise in 3D.
_GRAIN = np.array([0.25, 0.5, 0.25])
_GRAIN_SD = float((_GRAIN**2).sum()) ** 1.5


class Phantom(NamedTuple):
    """A rendered case: channel name to int16 (x, y, z), canonical labels uint8 (x, y, z), voxel-to-mm affine (RAS+)."""

    images: dict[str, NDArray[np.int16]]
    labels: NDArray[np.uint8]
    affine: Array


def render_phantom(case: PhantomCase, shape: Sequence[int], spacing_mm: Sequence[float]) -> Phantom:
    """Return the images and labels of ``case`` on a grid of ``shape`` (x, y, z) voxels of ``spacing_mm`` (x, y, z).

    Images are exactly 0 outside the brain and at least 1 in it. The same arguments give the same arrays.

    Raises UserError where the grid is too small for a head or too coarse for a tumour.
    """
    shape, spacing = _checked_grid(shape, spacing_mm)
    axes = [np.asarray((np.arange(n) - (n - 1) / 2) * s, np.float64) for n, s in zip(shape, spacing, strict=True)]
    anatomy_rng, lesion_rng, scan_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(case.seed).spawn(3))

    head = Head.draw(anatomy_rng)
    brain = head.level(head.to_head(np.meshgrid(*axes, indexing="ij", sparse=True)), smooth_noise(anatomy_rng, axes, 30.0)) < 0
    points: Points = [np.broadcast_to(axis.reshape(view), shape)[brain] for axis, view in zip(axes, VIEWS, strict=True)]

    softness = max(1.0, 0.4 * max(spacing))
    lesions = draw_lesions(case, head, lesion_rng)
    outlines = [lesion.outline(points, brain, axes, lesion_rng) for lesion in lesions]
    displaced = points
    for lesion in lesions:
        displaced = lesion.undo_mass_effect(displaced)
    tissue = head.tissue(displaced, brain, axes, softness, anatomy_rng)
    tumour = draw_tumour(outlines, tissue.ventricle, case.has_et, softness)
    tissue = tissue.swollen(tumour.whole, tumour.core)
    labels = draw_labels(outlines, tissue.ventricle, case.has_et)

    images = {}
    texture = smooth_noise(anatomy_rng, axes, 9.0)[brain]
    patches = smooth_noise(lesion_rng, axes, 7.0)[brain]
    for channel in CHANNELS:
        signal = _healthy_signal(channel, tissue, texture)
        signal = _add_tumour(signal, channel, case, tumour, patches)
        images[channel] = _acquire(signal, channel, case.noise_sd, brain, axes, scan_rng)
    volume = np.zeros(shape, np.uint8)
    volume[brain] = labels
    return Phantom(images, volume, _affine(shape, spacing))


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


def _grain(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Return normal noise of sd 1 on a grid, correlated between neighbours as in scans resampled to a common space."""
    noise = rng.standard_normal(tuple(shape))
    for axis in range(3):
        noise = convolve1d(noise, _GRAIN, axis, mode="wrap")
    return np.asarray(noise / _GRAIN_SD, np.float64)


def _healthy_signal(channel: str, tissue: Tissue, texture: Array) -> Array:
    """Return the signal of the brain without its tumour, white matter = 1."""
    level = SIGNAL[channel]
    signal = 1 + tissue.grey * (level["grey"] - 1) + (0.10 * tissue.cap if channel == "flair" else 0)
    signal = signal * (1 + 0.025 * np.clip(texture, -3, 3))
    fluid = np.maximum(tissue.sulcus, tissue.ventricle)
    signal = signal + fluid * (level["csf"] - signal)
    if channel == "t1ce":
        signal = signal + tissue.vessel * (level["vessel"] - signal)
    return np.asarray(signal)


def _add_tumour(signal: Array, channel: str, case: PhantomCase, tumour: Tumour, patches: Array) -> Array:
    """Return ``signal`` with the tumour in it, its contrast to the brain multiplied as the case asks."""
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
    bias = np.exp(0.03 * np.clip(smooth_noise(rng, axes, 90.0)[brain], -2.5, 2.5))
    real, imaginary = (noise_sd * _grain(rng, brain.shape)[brain] for _ in range(2))
    magnitude = np.hypot(signal * bias + real, imaginary) * units
    image = np.zeros(brain.shape, np.int16)
    image[brain] = np.clip(np.rint(magnitude), 1, np.iinfo(np.int16).max).astype(np.int16)
    return image
