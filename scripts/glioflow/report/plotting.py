"""The one figure style: theme, palettes, names on axes, axial slices the right way up, and how a figure is saved.

Figures are built on ``matplotlib.figure.Figure`` (no pyplot, no global state beyond the theme set here) and drawn by Agg. The
theme is seaborn's whitegrid in the copy that matplotlib ships: importing seaborn itself would cost each job three seconds.
The same figure gives the same bytes: no date, no version and no random ids are written.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.colors
import matplotlib.style
import nibabel as nib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from glioflow.failure.feature_groups import OTHER, feature_groups
from glioflow.files import PathLike, replacing
from glioflow.formatting import number
from glioflow.imaging.volumes import Volume
from glioflow.study.feature_names import feature_group, feature_image
from glioflow.study.metric_registry import find_metric

matplotlib.style.use(
    [
        "seaborn-v0_8-whitegrid",
        {
            "font.family": "DejaVu Sans",  # ships with matplotlib, so that every machine draws the same
            "font.size": 9,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "axes.edgecolor": "#4d4d4d",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.color": "#e3e3e3",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.fontsize": 8.5,
            "svg.hashsalt": "glioflow",
        },
    ]
)

# Okabe & Ito, "Color Universal Design" (2008): told apart by readers with any colour vision.
REGION_COLOURS = {
    "WT": "#0072B2",
    "TC": "#D55E00",
    "ET": "#E69F00",
    "ED": "#009E73",
    "NCR": "#CC79A7",
    "RC": "#56B4E9",
}
# Paul Tol's "muted" scheme (SRON/EPS/TN/09-002, 2021), for the meaning groups of features in their order; grey for the last.
MEANING_COLOURS = ("#332288", "#88CCEE", "#CC6677", "#DDCC77", "#117733", "#44AA99", "#882255", "#AA4499", "#999933")
OTHER_COLOUR = "#9A9A9A"
# The grey of the band that random rankings stay within.
NULL_COLOUR = "#DCDCDC"
FEATURE_GROUP_NAMES = {
    "mask": "Mask",
    "shape": "Shape",
    "shape2D": "Shape in 2D",
    "firstorder": "First order",
    "glcm": "GLCM",
    "glrlm": "GLRLM",
    "glszm": "GLSZM",
    "gldm": "GLDM",
    "ngtdm": "NGTDM",
}
# Abbreviations among pyradiomics' names, from its documentation.
SPELT_OUT = {
    "VoxelNum": "Number of voxels",
    "VolumeNum": "Number of components",
    "Id": "Inverse difference",
    "Idn": "Inverse difference, normalised",
    "Idm": "Inverse difference moment",
    "Idmn": "Inverse difference moment, normalised",
    "Imc1": "Information measure of correlation 1",
    "Imc2": "Information measure of correlation 2",
    "MCC": "Maximal correlation coefficient",
    "10Percentile": "10th percentile",
    "90Percentile": "90th percentile",
}
# Light enough to be seen on a greyscale image.
TRUTH_COLOUR = "#35D0FF"
PREDICTION_COLOUR = "#FF9A1F"

CHANNEL_NAMES = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR"}

# Part of the brain's intensities left out at either end when a slice is drawn in grey.
WINDOW_PERCENTILES = (1.0, 99.0)


def new_figure(width_in: float, height_in: float, layout: str | None = "constrained") -> Figure:
    """Return an empty figure in the house style, ready for ``subplots`` or ``add_axes``."""
    figure = Figure(figsize=(width_in, height_in), layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: PathLike, dpi: int = 150, accents: Sequence[str] = ()) -> None:
    """Write a figure as PNG or SVG (by the name's suffix), all or nothing and the same bytes every time.

    ``accents``: for a PNG that is grey but for these colours. It is written with a palette of them, at a third of the size.
    """
    metadata = {"Date": None, "Creator": None} if Path(path).suffix == ".svg" else {"Software": None}
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata=metadata)
        if accents:
            with Image.open(temporary) as picture:
                reduced = _with_palette(np.asarray(picture.convert("RGB")), accents)
            reduced.save(temporary, optimize=True)


def _with_palette(pixels: NDArray[np.uint8], accents: Sequence[str]) -> Image.Image:
    """Return ``pixels`` (rows, columns, RGB) in the nearest of 96 greys and of the accents blended with grey."""
    greys = np.repeat(np.linspace(0, 255, 96)[:, None], 3, axis=1)
    blends = [
        share * 255 * np.array(matplotlib.colors.to_rgb(accent)) + (1 - share) * grey
        for accent in accents
        for share in (0.25, 0.5, 0.75, 1.0)
        for grey in ((0.0, 85.0, 170.0, 255.0) if share < 1 else (0.0,))
    ]
    palette = np.concatenate([greys, blends]).round().astype(np.uint8)
    codes = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, places = np.unique(codes, return_inverse=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    squares = ((colours[:, None].astype(np.int32) - palette.astype(np.int32)) ** 2).sum(axis=2)
    picture = Image.fromarray(squares.argmin(axis=1).astype(np.uint8)[places.reshape(codes.shape)], "P")
    picture.putpalette(palette.tobytes())
    return picture


def feature_title(feature: str) -> str:
    """Return a feature's name for people: ``GLCM · Joint energy`` of ``original_glcm_JointEnergy``.

    The image is named behind it where it is a filtered one: ``GLCM · Joint energy (wavelet LLH)``.
    """
    group, name = feature_group(feature), feature.split("_", 2)[2]
    text = SPELT_OUT.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9]D)(?=[A-Z])", " ", name).capitalize()
    text = text.replace("non uniformity", "non-uniformity").replace("2d", "2D").replace("3d", "3D")
    return f"{FEATURE_GROUP_NAMES.get(group, group)} · {text}{filter_words(feature_image(feature))}"


def filter_words(image: str) -> str:
    """Return the filter of a feature's image in brackets: `` (LoG 2.5 mm)`` of ``log-sigma-2-5-mm-3D``; empty without one."""
    if image in ("original", "diagnostics"):
        return ""
    if sigma := re.fullmatch(r"log-sigma-([\d-]+)-mm-3D", image):
        return f" (LoG {float(sigma[1].replace('-', '.')):g} mm)"
    return f" ({image.replace('-', ' ').replace('lbp', 'LBP')})"


def meaning_colours() -> dict[str, str]:
    """Return the colour of each meaning group of features."""
    names = [name for name in feature_groups() if name != OTHER]
    return {**dict(zip(names, MEANING_COLOURS, strict=False)), OTHER: OTHER_COLOUR}


def metric_text(metric: str, value: float) -> str:
    """Return a metric's short name and value with its unit, such as ``HD 12.4 mm``, ``HD ∞ mm`` or ``Dice undefined``."""
    known = find_metric(metric)
    if np.isnan(value):
        return f"{known.symbol} undefined"
    return f"{known.symbol} {number(value, 1)} mm" if known.unit == "mm" else f"{known.symbol} {number(value, 3)}"


@dataclass(frozen=True)
class AxialLayout:
    """How a stored array becomes axial pictures: anterior at the top, the patient's left on the picture's right.

    ``axis``: the array axis that runs between feet and head; ``rises``: whether its indices rise towards the head; ``aspect``:
    height of a picture element over its width.
    """

    axis: int
    aspect: float
    rises: bool
    _transpose: bool
    _flip_x: bool
    _flip_y: bool

    def areas(self, mask: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return how many voxels of ``mask`` are in each axial slice."""
        others = tuple(axis for axis in range(3) if axis != self.axis)
        return np.asarray(np.count_nonzero(mask, axis=others), np.int64)

    def slice(self, data: NDArray[np.generic], index: int) -> NDArray[np.generic]:
        """Return slice ``index`` (counted from 0 along the stored axis) as rows front to back, columns right to left."""
        plane = np.take(data, index, axis=self.axis)
        plane = plane.T if self._transpose else plane
        plane = plane[::-1] if self._flip_x else plane
        plane = plane[:, ::-1] if self._flip_y else plane
        return np.asarray(plane.T)

    def place(self, point: Sequence[float], shape: Sequence[int]) -> tuple[float, float]:
        """Return the row and the column at which a point of an array of ``shape``, given by its indices, is in ``slice``."""
        x, y = (axis for axis in range(3) if axis != self.axis)
        x, y = (y, x) if self._transpose else (x, y)
        column = shape[x] - 1 - point[x] if self._flip_x else point[x]
        return float(shape[y] - 1 - point[y] if self._flip_y else point[y]), float(column)


def axial_layout(volume: Volume) -> AxialLayout:
    """Return the layout of a volume stored in any orientation, from its affine (oblique ones by their nearest axes)."""
    directions = nib.orientations.io_orientation(volume.affine)  # type: ignore[no-untyped-call]
    place = {int(world): axis for axis, world in enumerate(directions[:, 0])}
    x, y, z = place[0], place[1], place[2]
    return AxialLayout(
        axis=z,
        aspect=volume.spacing[y] / volume.spacing[x],
        rises=bool(directions[z, 1] > 0),
        _transpose=x > y,
        _flip_x=bool(directions[x, 1] > 0),
        _flip_y=bool(directions[y, 1] > 0),
    )


def grey_window(data: NDArray[np.generic]) -> tuple[float, float]:
    """Return the intensities drawn black and white: the outer percentiles of the voxels that are not 0 (the brain)."""
    brain = data[data != 0]
    low, high = np.percentile(brain if brain.size else data, WINDOW_PERCENTILES)
    return float(low), float(high) if high > low else float(low) + 1.0
