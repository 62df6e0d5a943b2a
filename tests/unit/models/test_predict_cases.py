import gzip

import numpy as np
import pandas as pd
from conftest import save

from predict_cases import is_valid, link_inputs


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


def test_links_of_a_former_job_are_no_inputs(tmp_path):
    image = save(tmp_path / "t1.nii.gz", np.ones((2, 2, 2), np.uint8))
    manifest = pd.DataFrame({"case_id": ["a", "b"], "t1": [str(image), str(image)]})
    link_inputs(manifest, ["a", "b"], ["t1"], tmp_path / "input")
    link_inputs(manifest, ["b"], ["t1"], tmp_path / "input")
    assert [link.name for link in (tmp_path / "input").iterdir()] == ["b_0000.nii.gz"]


def test_a_prediction_stands_as_long_as_it_serves_what_its_probabilities_are_needed_for(tmp_path):
    served = {"for": "an ensemble", "sha256": "0" * 64}
    assert not is_valid(None, tmp_path, "a", None, False)
    assert is_valid({}, tmp_path, "a", None, False)
    assert is_valid(served, tmp_path, "a", None, False)  # the ensemble has left the study, and nothing is predicted for it
    assert not is_valid({}, tmp_path, "a", "an ensemble", False)
    assert not is_valid(served, tmp_path, "a", "an ensemble", False)  # they are gone, and not because they have served
    assert is_valid(served, tmp_path, "a", "an ensemble", True)
    assert not is_valid(served, tmp_path, "a", "another ensemble", True)
    (tmp_path / "probabilities").mkdir()
    for ending in (".npz", ".pkl"):
        assert not is_valid(served, tmp_path, "a", "another ensemble", True)
        (tmp_path / f"probabilities/a{ending}").touch()
    assert is_valid(served, tmp_path, "a", "another ensemble", True)
    assert not is_valid(None, tmp_path, "a", "another ensemble", True)
