"""Masks that go into a bundle take their entropy maps with them."""

from pathlib import Path

import pandas as pd
import pytest

from glioflow.bundle.identifiers import Identifiers, Pseudonyms
from glioflow.bundle.shared_tables import Policy, ResultsFiles
from glioflow.models.predictions import write_predictions

FOLDER = "results/predictions/m/cv"


def shared(folder: Path, pseudonyms: Pseudonyms | None = None, predictions: bool = True) -> dict[str, Path]:
    """Return the files that go along with a table of the masks of two cases, of which the first has a map."""
    place = folder / FOLDER
    (place / "entropy").mkdir(parents=True)
    rows = [
        {"case_id": case, "patient_id": case, "tta": True, "prediction": str(place / f"{case}.nii.gz"), "sha256": "0"}
        for case in ("case1", "case2")
    ]
    for name in ("case1.nii.gz", "case2.nii.gz", "entropy/case1.nii.gz"):
        (place / name).touch()
    write_predictions(place / "predictions.csv", pd.DataFrame(rows))
    policy = Policy(Identifiers({}, [], pseudonyms), [], [], False, predictions, False, {})
    return ResultsFiles(folder / "results", policy).share(place / "predictions.csv").files


def test_a_map_goes_along_with_its_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {f"{FOLDER}/{name}.nii.gz" for name in ("case1", "case2", "entropy/case1")}
    found = shared(tmp_path)
    assert set(found) == names
    assert all(path == tmp_path / name for name, path in found.items())


def test_without_masks_there_are_no_maps(tmp_path: Path) -> None:
    assert shared(tmp_path, predictions=False) == {}


def test_a_map_is_called_by_the_pseudonym_of_its_case(tmp_path: Path) -> None:
    pseudonyms = Pseudonyms({"case1": "case1", "case2": "case2"}, b"k" * 32)
    found = shared(tmp_path, pseudonyms)
    name = pseudonyms.id("case1")
    assert {f"{FOLDER}/{name}.nii.gz", f"{FOLDER}/entropy/{name}.nii.gz"} <= set(found) and len(found) == 3
    assert not any("case" in path for path in found)
