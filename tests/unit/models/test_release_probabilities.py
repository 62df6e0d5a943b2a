"""Probabilities are deleted where nnU-Net puts them, and nothing else is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import release_probabilities as script
from glioflow.console import Console
from glioflow.files import read_json, write_json


def fill(path: Path, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def release(folder: Path, folds: list[dict[str, Any]], *sets: str) -> tuple[str, dict[str, Any]]:
    manifests = []
    for number, fold in enumerate(folds):
        manifests.append(folder / f"manifest_{number}.json")
        write_json(manifests[-1], {"model": "m", "fold": number, "validation": fold})
    job = SimpleNamespace(
        input=SimpleNamespace(folds=manifests, ensembles=[]),
        output=[folder / "probabilities_released.json"],
        params=SimpleNamespace(predictions=[str(folder / name) for name in sets]),
    )
    return script.main(job, Console()), read_json(folder / "probabilities_released.json")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("fold_0/validation/a", "fold_1/validation/b", "fold_1/without_tta/validation/b"):
        fill(tmp_path / f"{name}.npz", 100)
        fill(tmp_path / f"{name}.pkl", 1)
        fill(tmp_path / f"{name}.nii.gz")
    for name in ("test/probabilities/c", "test/without_tta/probabilities/c", "other/probabilities/c"):
        fill(tmp_path / f"{name}.npz", 100)
        fill(tmp_path / f"{name}.pkl", 1)
    return tmp_path


def folds(results: Path) -> list[dict[str, Any]]:
    one, two = results / "fold_0", results / "fold_1"
    both = {"folder": str(two / "validation"), "folder_without_tta": str(two / "without_tta/validation"), "cases": ["b"]}
    return [{"folder": str(one / "validation"), "cases": ["a"]}, both]


def left(results: Path) -> list[str]:
    return sorted(
        path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file() and path.suffix != ".json"
    )


def test_probabilities_of_folds_and_sets_are_deleted_and_counted(results):
    said, record = release(results, folds(results), "test")
    assert (record["files"], record["bytes"]) == (10, 5 * 101)
    assert said == "10 files of probabilities deleted, 0.00 GB"
    assert record["folders"] == [
        *(str(results / name) for name in ("fold_0/validation", "fold_1/validation", "fold_1/without_tta/validation")),
        *(str(results / name) for name in ("test/probabilities", "test/without_tta/probabilities")),
    ]
    assert left(results) == [
        *("fold_0/validation/a.nii.gz", "fold_1/validation/b.nii.gz", "fold_1/without_tta/validation/b.nii.gz"),
        *("other/probabilities/c.npz", "other/probabilities/c.pkl"),
    ]


def test_nothing_else_is_deleted(results):
    others = [
        fill(results / name)
        for name in (
            *("fold_0/validation/of_no_case.npz", "fold_0/validation/summary.json", "fold_0/checkpoint_final.pth"),
            *("fold_0/a.npz", "test/c.npz", "test/c.nii.gz", "test/probabilities/notes.txt"),
            *("test/probabilities/deeper/c.npz", "probabilities/c.npz"),
        )
    ]
    release(results, folds(results), "test")
    assert [path for path in others if not path.exists()] == []


def test_a_link_is_deleted_and_what_it_leads_to_is_kept(results):
    kept = fill(results / "elsewhere/d.npz", 1000)
    (results / "test/probabilities/d.npz").symlink_to(kept)
    _, record = release(results, [], "test")
    assert kept.exists()
    assert not (results / "test/probabilities/d.npz").is_symlink()
    assert record["files"] == 5
    assert record["bytes"] < 1000


def test_what_is_gone_already_or_never_was_is_no_error(results):
    release(results, folds(results), "test")
    _, record = release(results, folds(results), "test", "never")
    assert record == {"files": 0, "bytes": 0, "folders": []}
