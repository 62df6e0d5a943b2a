"""What is read again, and how masks from elsewhere meet images that a grid has turned, in real runs of a small study."""

import os

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import save, write_case
from workflows import copy_checkout, snakemake

pytestmark = pytest.mark.long


def test_images_are_read_again_when_they_changed_or_when_it_is_asked_for(tmp_path):
    checkout = copy_checkout(tmp_path / "glioflow")
    for number in range(3):
        write_case(tmp_path / "brats", f"BraTS2021_{number:05d}")
    cohort = {"dataset": "brats2021", "path": str(tmp_path / "brats"), "external": True}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"results": str(tmp_path / "out"), "cohorts": {"c": cohort}}))

    def run(*options: str) -> str:
        done = snakemake(checkout, "--configfile", str(tmp_path / "study.yaml"), *options, "--", "cohorts")
        assert done.returncode == 0, done.stdout
        return done.stdout

    assert "3 cases, 3 read" in run()
    assert "Nothing to be done" in run("-n")
    full = ("--config", "verify=full")
    for _ in range(2):  # each time, not only when the key is new
        assert "3 cases, 3 read, no problem" in run(*full)
    assert "Nothing to be done" in run()

    # Another voxel, at the size and the time that the file had.
    path = tmp_path / "brats/BraTS2021_00001/BraTS2021_00001_flair.nii.gz"
    stat = path.stat()
    image = nib.load(path)
    data = np.asarray(image.dataobj).copy()
    for value in range(1, 900):
        data[5, 5, 5] = value
        save(path, data, image.affine)
        if path.stat().st_size == stat.st_size and value != np.asarray(image.dataobj)[5, 5, 5]:
            break
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "3 cases, 1 read" in run()


def test_masks_of_images_that_a_grid_turned_are_scored_where_they_lie(tmp_path):
    """Truths as predictions: a Dice of 1 is right, whatever way the images were turned."""
    checkout = copy_checkout(tmp_path / "glioflow")
    for number in range(3):
        write_case(tmp_path / "brats", f"BraTS2021_{number:05d}", raw_et=3)
    cohort = {"dataset": "folders", "path": str(tmp_path / "brats"), "label_scheme": "brats2023", "external": True}
    files = {role: f"{{case}}/{{case}}_{'seg' if role == 'label' else role}.nii.gz" for role in ("t1", "flair", "label")}
    masks = f"{tmp_path}/brats/{{case}}/{{case}}_seg.nii.gz"
    study = {
        "results": str(tmp_path / "out"),
        "cohorts": {"c": {**cohort, "files": files, "grid": {"orientation": "RAS", "spacing_mm": [1.5, 1.0, 2.0]}}},
        "models": {"theirs": {"cohort": "c", "predictions": masks, "label_scheme": "brats2023"}},
        "failure": {"extremes": 1},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    scores = tmp_path / "out/scores/theirs/given.csv"
    done = snakemake(checkout, "--configfile", str(tmp_path / "study.yaml"), "--", str(scores))
    assert done.returncode == 0, done.stdout
    table = pd.read_csv(scores)
    assert (table.loc[table["label"] == "WT", "dice"] == 1).all()
    assert table["hausdorff"].dropna().eq(0).all()
