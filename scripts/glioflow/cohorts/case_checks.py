"""Check the files of one case: read each once, hash it, hold it against the others, bring its labels to canonical values.

A label map whose values are canonical already and whose header agrees with its image is used where it is; any other is
written once, as uint8 on its image's grid.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from glioflow.cohorts.conversion import CASE_ID, LONGEST_ID
from glioflow.cohorts.manifests import SUBSTITUTED, format_substituted
from glioflow.cohorts.missing_channels import EXCLUDE, fill_channels, missing_channels, other_format
from glioflow.cohorts.problems import EXCLUDED, Problem, orientation_unknown, problem_row
from glioflow.console import count
from glioflow.files import sha256_file
from glioflow.formatting import exact
from glioflow.imaging.headers import ONE_READING
from glioflow.imaging.labels import REGIONS, UnknownLabelsError, canonical_labels, fitting_schemes, scheme_regions
from glioflow.imaging.placement import BY_INDEX, USE_IMAGE_HEADER
from glioflow.imaging.volumes import (
    UnreadableVolumeError,
    Volume,
    affine_distance_mm,
    orientation,
    parse_volume,
    read_bytes,
    same_geometry,
    write_volume,
)
from glioflow.study.configuration import ZEROS
from glioflow.study.registry import CHANNELS, label_schemes

AFFINE_DECIMALS = 3  # mm; what an affine is rounded to before it is hashed

# BraTS's lesion-wise scores leave out lesions of 50 mm³ and less (BraTS-2023-Metrics, metrics.py): no score could be had.
NEAR_EMPTY_ML = 0.05
# Adults' intracranial volume is 1469 ± 102 ml in men, 1289 ± 111 ml in women (Matsumae et al. 1996, J Neurosurg 84:982–991).
# Seven standard deviations above, what is shown is more than a brain. Heads with skull and scalp fill some 4,000 ml.
LARGEST_BRAIN_ML = 2200.0
# Of a tumour drawn on the image that it belongs to, nothing is where the image has no brain (none of nine real cases of BraTS
# 2021, 2023 and BraTS-Africa has such a voxel). Mirrored or shifted, most of these labels have 1 to 38 % there, not all.
LARGEST_SHARE_OUTSIDE = 0.01
# Intensities this many times as far from the brain's median as its 0.1th or 99.9th percentile outlie. Of 56 real images of six
# data sets the farthest is 7.3 times as far; from some hundred on, one voxel decides an image's standard deviation.
OUTLYING = 20
OUTER = (0.1, 99.9)
SAMPLED_VOXELS = 300_000  # enough for these percentiles


@dataclass(frozen=True)
class CheckRules:
    """What the cases of a cohort are held against."""

    scheme: Mapping[int, int]  # raw value -> canonical label
    scheme_name: str
    channels: tuple[str, ...]  # those that the study needs
    on_geometry_mismatch: str  # "error" or "use_image_header"
    skull_stripped: bool
    labels: str  # folder for canonical label maps, and for the images of zeros
    on_missing_channel: str = "error"  # or "exclude", "substitute"
    labelled: bool = True  # whether a case has a truth
    substitute: Mapping[str, str] = field(default_factory=dict)  # missing channel -> the channel in its place, or "zeros"


@dataclass(frozen=True)
class Reference:
    """What the other files of a case are held against: the grid of its first image, and where that shows anything."""

    path: str
    volume: Volume  # without voxels
    shown: NDArray[np.bool_]  # (x, y, z), true off the background


class CaseCheck:
    """Collects the problems of one case while its files are read, and the row of the manifest."""

    def __init__(self, case: Mapping[str, Any], rules: CheckRules) -> None:
        self.case = case
        self.rules = rules
        self.problems: list[Problem] = []
        self.row: dict[str, Any] = {}
        self.reference: Reference | None = None

    def report(self, file: str, problem: str, found: str, expected: str, severity: str = "error") -> None:
        """Record one problem; its message names case, file, what was found and what would be right."""
        self.problems.append(
            problem_row(self.case["case_id"], file, problem, found, expected, severity, self.case["patient_id"])
        )

    def check(self) -> dict[str, Any]:
        """Read the case's files; return its manifest row (empty values where a file failed) and its problems."""
        case_id, patient_id = self.case["case_id"], self.case["patient_id"]
        if not CASE_ID.fullmatch(case_id):
            expected = (
                "letters, digits, '.', '_' and '-' only, the first one a letter or a digit, "
                f"{LONGEST_ID} at most: the id becomes a file name"
            )
            self.report("", "case_id", f"the case id {case_id!r} of {count(len(case_id), 'character')}", expected)
        if any(unicodedata.category(character) == "Cc" for character in patient_id):
            self.report("", "patient_id", f"the patient id {patient_id!r}", "an id without line ends and control characters")
        if self.problems:
            return {"row": {}, "problems": self.problems}
        missing = missing_channels(self.case, self.rules.channels)
        if missing and self.rules.on_missing_channel == EXCLUDE:
            self.replace_channels(missing)
            return {"row": {}, "problems": self.problems}
        for channel in CHANNELS:
            if self.case.get(channel) and channel not in missing:
                self.check_channel(channel)
        if missing:
            self.replace_channels(missing)
        if self.rules.labelled:
            self.check_label()
        return {"row": self.row, "problems": self.problems}

    def check_channel(self, channel: str) -> None:
        """Check one image: readable, finite, not constant, on the grid of the case's other images."""
        path = self.case[channel]
        if not Path(path).exists():
            if channel in self.rules.channels:
                self.report_other_format(channel, path)
            return
        volume, content = self.read(path)
        if volume is None:
            return
        data = volume.data
        self.row |= {channel: path, f"{channel}_sha256": content, f"{channel}_voxels": voxel_fingerprint(data)}
        if bad := int(data.size - np.isfinite(data).sum()) if data.dtype.kind == "f" else 0:
            are = "that is" if bad == 1 else "that are"
            self.report(path, "non_finite_voxels", f"{count(bad, 'voxel')} {are} NaN or infinite", "finite intensities")
        elif data.size == 0 or data.min() == data.max():
            every = f"every voxel is {data.flat[0]}" if data.size else "no voxel"
            self.report(path, "constant_image", every, "an image with contrast")
        else:
            self.check_intensities(path, data)
        if volume.header and volume.header.version != 1:
            expected = "NIfTI-1, which nnU-Net's reader takes (nibabel: Nifti1Image.from_image(image))"
            self.report(path, "nifti_version", "a NIfTI-2 file", expected)
        if volume.misplaced:
            self.report(path, "affine", volume.misplaced, ONE_READING)
            return
        if self.reference is not None:
            self.check_geometry(path, volume)
            return
        grid = Volume(np.broadcast_to(np.uint8(0), data.shape), volume.affine)
        self.reference = Reference(path, grid, off_background(data))
        brain_ml = float(np.count_nonzero(self.reference.shown) * volume.voxel_ml)
        self.row |= {**grid_of(volume), "brain_ml": brain_ml}
        if volume.header and not volume.header.oriented:
            self.problems.append(orientation_unknown(self.case["case_id"], path, self.case["patient_id"]))
        if self.rules.skull_stripped and not bad and brain_ml > LARGEST_BRAIN_ML:
            found = f"{brain_ml:.1f} ml that are not background"
            expected = (
                f"a brain without skull, {LARGEST_BRAIN_ML:.0f} ml at most; say skull_stripped: false if the head is meant"
            )
            self.report(path, "not_skull_stripped", found, expected, "warning")

    def report_other_format(self, role: str, path: str | None) -> bool:
        """Report a file that is in place of that of a role, under its name but not as NIfTI; return whether there is one."""
        beside = other_format(path)
        if beside is None:
            return False
        found, expected = f"a file for {role} named {beside.name}", "a NIfTI file, named .nii or .nii.gz; convert it"
        self.report(beside.as_posix(), "wrong_extension", found, expected)
        return True

    def replace_channels(self, missing: Sequence[str]) -> None:
        """Let other images take the places of missing channels, where the cohort says so, and report those that stay missing.

        An image that was to take a place and is faulty has been reported.
        """
        filled, gaps = fill_channels(self.case, missing, self.rules.on_missing_channel, self.rules.substitute)
        for gap in gaps:
            severity = EXCLUDED if self.rules.on_missing_channel == EXCLUDE else "error"
            self.report(gap.file, "missing_channel", gap.found, gap.expected, severity)
        images: dict[str, tuple[str, str]] = {}
        for other in set(filled.values()):
            if other == ZEROS and self.reference is not None:
                path = f"{self.rules.labels}/zeros/{self.case['case_id']}.nii.gz"
                grid = self.reference.volume
                write_volume(path, Volume(np.zeros(grid.data.shape, np.uint8), grid.affine))
                images[other] = (path, sha256_file(path))
            elif other in self.row:
                images[other] = (self.row[other], self.row[f"{other}_sha256"])
        for channel, other in filled.items():
            if other in images:
                self.row |= dict(zip((channel, f"{channel}_sha256"), images[other], strict=True))
        if filled:
            self.row[SUBSTITUTED] = format_substituted(filled)

    def check_intensities(self, path: str, data: NDArray[Any]) -> None:
        """Report voxels of a finite image whose intensities are far beyond those of the brain."""
        sample = data.ravel(order="K")[:: max(1, data.size // SAMPLED_VOXELS)]
        brain = sample[off_background(data, sample)]
        low, median, high = map(float, np.percentile(brain, (OUTER[0], 50, OUTER[1]), method="nearest"))
        for percent, edge, extreme in zip(OUTER, (low, high), (data.min(), data.max()), strict=True):
            limit = median + OUTLYING * (edge - median)
            if edge == median or abs(float(extreme) - median) <= abs(limit - median):
                continue
            beyond = data > limit if edge > median else data < limit
            first = tuple(int(index) for index in np.argwhere(data == extreme)[0])
            found = (
                f"{count(int(beyond.sum()), 'voxel')} of outlying intensity, {exact(float(extreme))} at {first}, where the "
                f"brain's median is {median:.6g} and its {percent:g}th percentile {edge:.6g}"
            )
            expected = (
                f"{limit:.6g} at {'most' if edge > median else 'least'}: such voxels decide z-scores and all radiomic "
                "features; mend them, or leave the case out"
            )
            self.report(path, "outlying_intensity", found, expected, "warning")

    def read(self, path: str) -> tuple[Volume | None, str]:
        """Return the volume, or None once the problem is reported, and the SHA-256 of the file."""
        try:
            content = read_bytes(path)
            volume = parse_volume(path, content)
        except UnreadableVolumeError as error:
            self.report(path, error.problem, error.found, error.expected)
            return None, ""
        return volume, hashlib.sha256(content).hexdigest()

    def check_geometry(self, path: str, volume: Volume, severity: str = "error") -> bool:
        """Hold a volume against the reference; return whether its shape agrees."""
        assert self.reference is not None
        name, reference = Path(self.reference.path).name, self.reference.volume
        if volume.data.shape != reference.data.shape:
            self.report(path, "shape_mismatch", f"shape {volume.data.shape}", f"{reference.data.shape} as {name}")
            return False
        if not volume.is_placed:
            expected = ONE_READING
            if severity == "error":
                expected += "; if the voxels correspond by index, set on_geometry_mismatch: use_image_header"
            self.report(path, "affine", volume.misplaced, expected, severity)
            return severity != "error"
        if not same_geometry(volume, reference):
            apart = affine_distance_mm(volume, reference)
            found = f"an affine that puts a corner {apart:.3g} mm from that of {name} ({difference(volume, reference)})"
            expected = f"one affine for the whole case (orientation {orientation(reference)})"
            if severity == "error":
                expected += BY_INDEX
            self.report(path, "affine_mismatch", found, expected, severity)
        return True

    def check_label(self) -> None:
        """Check the label map, bring it to canonical values and measure it."""
        path = self.case.get("label")
        if not path or not Path(path).exists():
            if not self.report_other_format("the label", path):
                expected = "the truth: a case without one cannot be trained on or scored; an external cohort can be predicted "
                expected += "without any (labelled: false)"
                self.report(path or "", "missing_label", "no label map", expected)
            return
        volume, _ = self.read(path)
        if volume is None:
            return
        trusted = self.rules.on_geometry_mismatch == USE_IMAGE_HEADER
        if self.reference is None:
            if not volume.is_placed:
                self.report(path, "affine", volume.misplaced, ONE_READING)
                return
        elif not self.check_geometry(path, volume, "warning" if trusted else "error"):
            return
        if self.reference is None:
            self.row |= grid_of(volume)
        try:
            labels, voxels = canonical_labels(volume.data, self.rules.scheme)
        except UnknownLabelsError as error:
            self.report_unknown(path, error)
            return
        affine = volume.affine if self.reference is None else self.reference.volume.affine
        canonical = Volume(labels, affine)
        self.measure(path, canonical, voxels)
        canonical_values = all(raw == label for raw, label in self.rules.scheme.items()) and volume.data.dtype.kind in "iu"
        plain_header = volume.is_placed and volume.header is not None and volume.header.version == 1
        on_grid = self.reference is None or same_geometry(volume, self.reference.volume)
        if not (canonical_values and plain_header and on_grid):
            path = f"{self.rules.labels}/{self.case['case_id']}.nii.gz"
            write_volume(path, canonical)
        place = (np.round(affine, AFFINE_DECIMALS) + 0.0).tolist()  # + 0.0 makes -0.0 and 0.0 one
        digest = hashlib.sha256(f"{labels.shape}{place}".encode())
        digest.update(np.ascontiguousarray(labels.T).data)
        self.row |= {"label": path, "label_sha256": digest.hexdigest()}

    def measure(self, path: str, canonical: Volume, voxels: Mapping[int, int]) -> None:
        """Note the volume of each region; report a mask that is all but empty, or that is where there is no brain."""
        shown = scheme_regions(self.rules.scheme.values())  # of another region nothing is known, and not 0
        volumes = {region: sum(voxels.get(label, 0) for label in REGIONS[region]) for region in shown}
        self.row |= {f"volume_{region}_ml": number * canonical.voxel_ml for region, number in volumes.items()}
        total = sum(voxels.values())
        if total == 0:
            self.report(path, "empty_label", "no labelled voxel", "a tumour", "warning")
        elif total * canonical.voxel_ml <= NEAR_EMPTY_ML:
            found = f"{count(total, 'labelled voxel')}, {1000 * total * canonical.voxel_ml:.3g} mm³"
            self.report(path, "near_empty_label", found, f"a tumour of more than {1000 * NEAR_EMPTY_ML:g} mm³", "warning")
        if self.reference is None or not self.rules.skull_stripped or total == 0:
            return
        outside = int(np.count_nonzero((canonical.data != 0) & ~self.reference.shown))
        if outside > LARGEST_SHARE_OUTSIDE * total:
            found = f"{outside} of {total} labelled voxels where {Path(self.reference.path).name} shows no brain"
            expected = f"{LARGEST_SHARE_OUTSIDE:.0%} at most: is the label mirrored, shifted or another case's?"
            self.report(path, "label_outside_brain", found, expected, "warning")

    def report_unknown(self, path: str, error: UnknownLabelsError) -> None:
        """Report label values outside the scheme, naming a scheme that would know them all."""
        expected = f"values 0, {', '.join(map(str, self.rules.scheme))} of the scheme {self.rules.scheme_name!r}"
        if fitting := fitting_schemes(error.values, label_schemes()):
            expected += f"; {count(len(fitting), 'scheme')} would fit: {', '.join(fitting)}"
        found = f"label {'value' if len(error.unknown) == 1 else 'values'} {', '.join(map(exact, error.unknown[:10]))}"
        self.report(path, "unknown_label", found, expected)


def grid_of(volume: Volume) -> dict[str, str]:
    """Return the columns of the manifest that describe a grid."""
    spacing = "x".join(f"{edge:.6g}" for edge in volume.spacing)
    return {"shape": "x".join(map(str, volume.data.shape)), "spacing_mm": spacing, "orientation": orientation(volume)}


def voxel_fingerprint(data: NDArray[Any]) -> str:
    """Return a fingerprint of the voxels of an image (x, y, z): the same for equal values in whatever type they are stored."""
    values = data.T  # in NIfTI's order the transpose is contiguous, so that nothing is copied in the usual case
    if values.dtype != np.int16:
        with np.errstate(invalid="ignore"):
            small = values.astype(np.int16)
        values = small if np.array_equal(small, values) else values.astype(np.float32) + np.float32(0)  # no -0.0
    digest = xxhash.xxh3_128(str(data.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def off_background(data: NDArray[Any], voxels: NDArray[Any] | None = None) -> NDArray[np.bool_]:
    """Return which voxels of an image (x, y, z), all or those given, are off its background.

    That is the one value of its eight corners; an image whose corners differ has none.
    """
    asked = data if voxels is None else voxels
    corners = data[:: max(1, data.shape[0] - 1), :: max(1, data.shape[1] - 1), :: max(1, data.shape[2] - 1)]
    if corners.size and corners.min() == corners.max() and (shown := np.asarray(asked != corners.flat[0])).any():
        return shown
    return np.ones_like(asked, bool)


def difference(volume: Volume, reference: Volume) -> str:
    """Return in words how the place of a volume differs from that of another with as many voxels."""
    axes, right = orientation(volume), orientation(reference)
    if axes != right:
        turned = [name for name, a, b in zip("xyz", axes, right, strict=True) if a != b]
        return f"orientation {axes}: the axes {', '.join(turned)} run another way"
    if np.allclose(volume.affine[:3, :3], reference.affine[:3, :3], atol=1e-4):
        origin = "its origin is zero" if not volume.affine[:3, 3].any() else "another origin"
        return f"orientation {axes}; {origin}"
    return f"orientation {axes}; spacing {'x'.join(f'{edge:.6g}' for edge in volume.spacing)} mm"


def check_case(case: Mapping[str, Any], rules: CheckRules) -> dict[str, Any]:
    """Return ``{"row": manifest values, "problems": rows of verification.csv}`` of one case.

    What no check foresaw is a problem of this case too: the pass goes on with the others.
    """
    check = CaseCheck(case, rules)
    try:
        return check.check()
    except Exception as error:
        found = f"something that no check foresaw ({type(error).__name__}: {error})"
        check.report(
            case.get("label", ""), "unreadable", found, "files that other tools read; compare them with a sound case's"
        )
        return {"row": check.row, "problems": check.problems}
