"""Fixtures shared by all tests: real data where it is to be had, and tiny cohorts on disk."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from glioflow.evaluation import conventions as conventions_module
from glioflow.evaluation.conventions import Convention

REPO = Path(__file__).resolve().parents[1]
LONGEST_FIRST = (
    "e2e/test_study_variants",
    "e2e/",
    "workflow/test_bundle",
    "workflow/",
    "unit/report/test_write_report",
    "unit/report/",
    "unit/models/",
)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
AFFINE[:3, 3] = (0, 11, 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first and the quick ones last, so that no worker ends with minutes of its own."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(REPO / "tests").as_posix()
        return next((number for number, room in enumerate(LONGEST_FIRST) if folder.startswith(room)), len(LONGEST_FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real MRI, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("GLIOFLOW_REAL_DATA") or REPO.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real data: set GLIOFLOW_REAL_DATA to a folder of real MRI")
    return folder


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write an array as NIfTI, independently of the code under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def write_case(folder: Path, case: str, seed: int = 0, raw_et: int = 4, tumour: int = 4) -> Path:
    """Write a BraTS-2021-like case of 10×12×8 voxels: four channels, and a tumour of ``tumour``³ voxels with an ET voxel."""
    rng = np.random.default_rng([seed, *case.encode()])
    for channel in ("t1", "t1ce", "t2", "flair"):
        save(folder / case / f"{case}_{channel}.nii.gz", rng.integers(1, 900, (10, 12, 8)).astype(np.int16))
    label = np.zeros((10, 12, 8), np.uint8)
    label[2 : 2 + tumour, 2 : 2 + tumour, 2 : 2 + tumour] = 2
    label[3, 3, 3] = raw_et
    save(folder / case / f"{case}_seg.nii.gz", label)
    return folder / case


@pytest.fixture
def brats_folder(tmp_path: Path) -> Path:
    """A folder of six BraTS-2021-like cases with tumours of different size."""
    folder = tmp_path / "brats"
    for number in range(6):
        write_case(folder, f"BraTS2021_{number:05d}", tumour=4 + number % 4)
    return folder


@pytest.fixture
def put_conventions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that lets the folder of conventions hold those given and no others; ``glioflow`` must be one."""
    folder = tmp_path / "conventions"

    def put(*conventions: Convention) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for convention in conventions:
            text = yaml.safe_dump(convention.model_dump(mode="json", exclude={"name"}), sort_keys=False)
            (folder / f"{convention.name}.yaml").write_text(text, encoding="utf-8")
        monkeypatch.setattr(conventions_module, "CONVENTIONS_DIR", folder)
        conventions_module.conventions.cache_clear()

    yield put
    monkeypatch.undo()
    conventions_module.conventions.cache_clear()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
