from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import AFFINE, save

from convert_predictions import convert_mask, main
from glioflow.console import Console
from glioflow.files import sha256_file, write_table
from glioflow.predictions import COLUMNS, read_predictions
from glioflow.registry import label_schemes
from glioflow.volumes import read_labels

RULES = {"scheme": label_schemes()["et_ncr_ed"], "scheme_name": "et_ncr_ed", "on_geometry_mismatch": "error"}


@pytest.fixture
def truth(tmp_path):
    return save(tmp_path / "truth.nii.gz", np.zeros((3, 3, 3), np.uint8))


def convert(tmp_path, truth, data, affine=AFFINE, **rules):
    mask = save(tmp_path / "mask.nii.gz", data, affine)
    return convert_mask(("a", str(mask), str(truth)), tmp_path / "given", {**RULES, **rules})


def test_a_mask_becomes_canonical_even_where_its_file_holds_floats(tmp_path, truth):
    data = np.zeros((3, 3, 3))
    data[0, 0] = (1, 2, 3)
    assert convert(tmp_path, truth, data) is None
    assert read_labels(tmp_path / "given/a.nii.gz").data[0, 0].tolist() == [3, 1, 2]


def test_a_value_outside_the_scheme_is_a_problem_that_names_what_would_fit(tmp_path, truth):
    problem = convert(tmp_path, truth, np.full((3, 3, 3), 4, np.uint8))
    assert (
        "found the values 4; expected those of the scheme 'et_ncr_ed'; 3 schemes would fit: canonical, brats2021, brats2024"
        in problem
    )
    assert not (tmp_path / "given/a.nii.gz").exists()


def test_another_shape_is_a_problem_under_any_rule(tmp_path, truth):
    for rule in ("error", "use_image_header"):
        problem = convert(tmp_path, truth, np.zeros((3, 3, 4), np.uint8), on_geometry_mismatch=rule)
        assert "found shape (3, 3, 4); expected (3, 3, 3)" in problem


def test_another_header_is_a_problem_or_gives_way_to_that_of_the_image(tmp_path, truth):
    data = np.ones((3, 3, 3), np.uint8)
    assert "use_image_header" in convert(tmp_path, truth, data, np.eye(4))
    assert convert(tmp_path, truth, data, np.eye(4), on_geometry_mismatch="use_image_header") is None
    assert np.array_equal(read_labels(tmp_path / "given/a.nii.gz").affine, AFFINE)


def test_a_missing_and_an_unreadable_mask_are_problems(tmp_path, truth):
    assert "found no mask" in convert_mask(("a", "no/such.nii.gz", str(truth)), tmp_path, RULES)
    (tmp_path / "bad.nii.gz").write_bytes(b"x")
    assert "cannot be read" in convert_mask(("a", str(tmp_path / "bad.nii.gz"), str(truth)), tmp_path, RULES)


def test_nobody_knows_whether_given_masks_were_made_with_mirroring(tmp_path, truth):
    save(tmp_path / "masks/a.nii.gz", np.ones((3, 3, 3), np.uint8))
    manifest = {"case_id": ["a"], "label": [str(truth)], "label_sha256": [sha256_file(truth)]}
    write_table(tmp_path / "manifest.csv", pd.DataFrame(manifest))
    write_table(tmp_path / "split.csv", pd.DataFrame({"case_id": ["a"], "patient_id": ["p"], "set": ["external"]}))
    job = SimpleNamespace(
        input=SimpleNamespace(manifest=tmp_path / "manifest.csv", split=tmp_path / "split.csv"),
        output=[tmp_path / "given/predictions.csv"],
        params=SimpleNamespace(pattern=f"{tmp_path}/masks/{{case}}.nii.gz", ledger=tmp_path / "ledger.jsonl", **RULES),
        wildcards=SimpleNamespace(model="theirs"),
        threads=1,
    )
    assert main(job, Console()) == "1 mask, 1 converted"
    table = read_predictions(tmp_path / "given/predictions.csv")
    assert list(table) == COLUMNS
    assert table["tta"].isna().all()
    assert main(job, Console()) == "1 mask, 0 converted"
