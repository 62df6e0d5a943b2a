import gzip

import numpy as np
import pandas as pd
from conftest import save

from glioflow.console import Console
from glioflow.files import sha256_file
from glioflow.predictions import place, prediction_table, set_members
from predict_cases import drop_torn, link_inputs, stands

SPLIT = pd.DataFrame({"case_id": ["b", "a", "c"], "patient_id": ["p", "p", "q"], "set": ["train", "train", "test"]})


def test_a_set_holds_the_cases_of_its_part_of_the_split():
    assert set_members(SPLIT, "cv") == ["a", "b"]
    assert set_members(SPLIT, "test") == ["c"]
    assert set_members(SPLIT, "given") == ["a", "b", "c"]
    assert set_members(SPLIT, "another_cohort") == ["a", "b", "c"]


def test_inputs_are_links_in_channel_order(tmp_path):
    for name in ("flair", "t1"):
        save(tmp_path / f"{name}.nii.gz", np.ones((2, 2, 2), np.uint8))
    row = {"case_id": ["a"], "flair": [f"{tmp_path}/flair.nii.gz"], "t1": [f"{tmp_path}/t1.nii.gz"]}
    link_inputs(pd.DataFrame(row), ["a"], ["flair", "t1"], tmp_path / "input")
    links = sorted((tmp_path / "input").iterdir())
    assert [link.name for link in links] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert [link.readlink().name for link in links] == ["flair.nii.gz", "t1.nii.gz"]


def test_an_image_that_is_not_compressed_is_packed_for_nnunet(tmp_path):
    image = save(tmp_path / "t1.nii", np.arange(8, dtype=np.int16).reshape(2, 2, 2))
    link_inputs(pd.DataFrame({"case_id": ["a"], "t1": [str(image)]}), ["a"], ["t1"], tmp_path / "input")
    packed = tmp_path / "input/a_0000.nii.gz"
    assert gzip.decompress(packed.read_bytes()) == image.read_bytes()


def test_a_mask_that_a_killed_job_left_half_written_is_dropped(tmp_path, capsys):
    whole = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 4, (9, 9, 9)).astype(np.uint8))
    torn = tmp_path / "b.nii.gz"
    torn.write_bytes(whole.read_bytes()[:-40])
    drop_torn(tmp_path, Console())
    assert whole.exists()
    assert not torn.exists()
    assert "b.nii.gz" in capsys.readouterr().err


def test_a_prediction_stands_only_while_it_is_there_and_unchanged(tmp_path):
    mask = save(tmp_path / "a.nii.gz", np.ones((2, 2, 2), np.uint8))
    entry = {"sha256": sha256_file(mask)}
    assert stands(tmp_path, "a", entry, probabilities=False)
    assert not stands(tmp_path, "a", None, probabilities=False)
    assert not stands(tmp_path, "a", entry, probabilities=True)
    save(mask, np.zeros((2, 2, 2), np.uint8))
    assert not stands(tmp_path, "a", entry, probabilities=False)
    mask.unlink()
    assert not stands(tmp_path, "a", entry, probabilities=False)


def test_placed_masks_are_listed_with_their_hash_and_fold(tmp_path):
    for case in ("b", "a"):
        place(save(tmp_path / f"made/{case}.nii.gz", np.ones((2, 2, 2), np.uint8)), tmp_path / f"set/{case}.nii.gz")
    table = prediction_table(tmp_path / "set", {"b": "p", "a": "q"}, {"a": 1, "b": 0})
    assert table[["case_id", "patient_id", "fold"]].to_numpy().tolist() == [["a", "q", 1], ["b", "p", 0]]
    assert table["sha256"][0] == sha256_file(tmp_path / "made/a.nii.gz")
    assert prediction_table(tmp_path / "set", {"a": "q"})["fold"].isna().all()
