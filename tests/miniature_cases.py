"""Cases of miniature data sets: small volumes, written as the published data sets write theirs."""

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

SHAPE = (12, 14, 10)
CHANNELS = ("t1", "t1ce", "t2", "flair")
LPS = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 13.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])  # as BraTS's, at this size
NCR, ED, ET, RC = 1, 2, 3, 4
BRATS2021 = {NCR: 1, ED: 2, ET: 4}  # canonical label: raw value
BRATS2023 = {NCR: 1, ED: 2, ET: 3}
BRATS2024 = {NCR: 1, ED: 2, ET: 3, RC: 4}
MSD = {NCR: 2, ED: 1, ET: 3}
UNDERSCORES = {"t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "flair": "_flair", "label": "_seg"}
HYPHENS = {"t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "flair": "-t2f", "label": "-seg"}

Case = dict[str, NDArray[Any]]  # role: array (x, y, z)


def make_case(number: int, raw: dict[int, int], real: Path | None = None, absent: tuple[int, ...] = (), name: str = "") -> Case:
    """Return four int16 images, and a uint8 label map whose canonical labels are written as ``raw`` says.

    Labels that are ``absent`` are oedema instead; without oedema they are background. Cases of one number and another ``name``
    have other noise.
    """
    case = thin_case(number, real) if real else noise_case(number, name)
    labels = case["label"]
    x, y, z = 2 + number % 3, 3 + number % 2, 2 + number % 2
    labels[x : x + 5, y : y + 5, z : z + 4] = ED  # sizes differ by case: what the real labels add, or the row below
    labels[x + 5, y : y + 1 + number % 5, z] = ED
    labels[x + 1 : x + 4, y + 1 : y + 4, z + 1 : z + 3] = ET
    labels[x + 2, y + 2, z + 1 : z + 3] = NCR
    if RC in raw:
        labels[x + 1, y + 1 : y + 4, z + 1] = RC
    labels[np.isin(labels, absent)] = 0 if ED in absent else ED
    for channel in CHANNELS:  # tumour voxels are never background
        image = case[channel]
        image[(labels > 0) & (image == 0)] = 150 + number
    written = np.zeros(SHAPE, np.uint8)
    for label, value in raw.items():
        written[labels == label] = value
    return {**case, "label": written}


def noise_case(number: int, name: str) -> Case:
    """Return noise in an ellipsoid (the brain; 0 around it) and an empty label map."""
    rng = np.random.default_rng([number, *name.encode()])
    grid = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    brain = ((grid / (np.array(SHAPE).reshape(3, 1, 1, 1) / 2.05)) ** 2).sum(axis=0) < 1
    images = {c: np.where(brain, rng.integers(100, 900, SHAPE), 0).astype(np.int16) for c in CHANNELS}
    return {**images, "label": np.zeros(SHAPE, np.uint8)}


def thin_case(number: int, real: Path) -> Case:
    """Return every n-th voxel of a real BraTS 2021 case's brain, from another first voxel for each number."""
    folders = sorted((real / "brats2021").iterdir())
    folder = folders[number % len(folders)]
    volumes = {role: np.asarray(nib.load(folder / f"{folder.name}_{name}.nii.gz").dataobj) for role, name in SOURCES.items()}
    brain = np.argwhere(volumes["flair"] > 0)
    low, high = brain.min(axis=0), brain.max(axis=0)
    steps = [
        np.linspace(a, b, n + 2)[1:-1].astype(int) + number // len(folders) for a, b, n in zip(low, high, SHAPE, strict=True)
    ]
    case = {role: volume[np.ix_(*steps)] for role, volume in volumes.items()}
    return {
        **{c: case[c].astype(np.int16) for c in CHANNELS},
        "label": np.where(case["label"] == 4, ET, case["label"]).astype(np.uint8),
    }


def real_folder() -> Path | None:
    """Return the folder of real MRI, where there is one."""
    folder = Path(os.environ.get("GLIOFLOW_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    return folder if folder.is_dir() else None


SOURCES = {"t1": "t1", "t1ce": "t1ce", "t2": "t2", "flair": "flair", "label": "seg"}


def save(path: Path, data: NDArray[Any], affine: NDArray[Any] = LPS) -> Path:
    """Write an array as NIfTI, independently of the code under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def write_lines(path: Path, *lines: str) -> None:
    """Write a text table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_brats(folder: Path, ids: list[str], suffixes: dict[str, str], raw: dict[int, int], real: Path | None) -> None:
    """Write cases in folders of their own; an id may have folders before it. The third has no enhancing tumour.

    After treatment, the fourth is all resected: of the tumour it has the cavity alone.
    """
    for number, place in enumerate(ids):
        name = place.rsplit("/", 1)[-1]
        absent = (NCR, ED, ET) if RC in raw and number == 3 else (NCR, ET) if number == 2 else ()
        for role, data in make_case(number, raw, real, absent, name).items():
            save(folder / place / f"{name}{suffixes[role]}.nii.gz", data)


def write_validation(folder: Path, ids: list[str], suffixes: dict[str, str]) -> None:
    """Write cases of a challenge's validation set: images without a label."""
    for number, name in enumerate(ids):
        case = make_case(900 + number, BRATS2021)
        for role in CHANNELS:
            save(folder / name / f"{name}{suffixes[role]}.nii.gz", case[role])


def write_macos(folder: Path) -> None:
    """Write what macOS leaves in folders and archives: .DS_Store, and a file ._x beside or below __MACOSX for a file x."""
    double = b"\x00\x05\x16\x07 Mac OS X"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files[:3] + [path for path in files if path.suffix == ".csv"]:
        place = folder / "__MACOSX" / path.parent.relative_to(folder)
        place.mkdir(parents=True, exist_ok=True)
        for target in (place, path.parent):
            (target / f"._{path.name}").write_bytes(double)
    for place in {path.parent for path in files[:3]} | {folder}:
        (place / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
