from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glioflow.files import write_json
from glioflow.imaging.labels import REGIONS
from glioflow.models.nnunet.plans import dataset_json
from write_dataset_json import fold_lists, training_cases

MANIFEST = pd.DataFrame(
    {
        "case_id": ["a", "b", "c"],
        "flair": ["a_f.nii.gz", "b_f.nii.gz", "c_f.nii.gz"],
        "t1": ["a_1.nii.gz", "b_1.nii.gz", "c_1.nii.gz"],
        "label": ["a_l.nii.gz", "b_l.nii.gz", "c_l.nii.gz"],
    }
)
SPLIT = pd.DataFrame({"case_id": ["a", "b", "c"], "set": ["train", "test", "train"], "fold_of_2": [1, None, 0]})


def test_only_training_cases_are_listed_by_path_in_channel_order():
    cases = training_cases(MANIFEST, SPLIT, ["flair", "t1"], "results/models/m/nnunet/raw/Dataset001_m/dataset.json")
    assert list(cases) == ["a", "c"]
    up = "../" * 6  # from dataset.json's folder, where nnU-Net looks
    assert cases["c"] == {"images": [f"{up}c_f.nii.gz", f"{up}c_1.nii.gz"], "label": f"{up}c_l.nii.gz"}


def test_nnunet_finds_the_files_that_dataset_json_names(tmp_path, monkeypatch):
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    monkeypatch.chdir(tmp_path)
    folder = Path("results/models/m/nnunet/raw/Dataset001_m")
    described = dataset_json(
        ["flair", "t1"], ["WT"], [2], training_cases(MANIFEST, SPLIT, ["flair", "t1"], folder / "dataset.json")
    )
    write_json(folder / "dataset.json", described)
    found = get_filenames_of_train_images_and_targets(str(folder.absolute()))
    assert found["a"] == {"images": [f"{tmp_path}/a_f.nii.gz", f"{tmp_path}/a_1.nii.gz"], "label": f"{tmp_path}/a_l.nii.gz"}


def test_each_fold_validates_on_its_cases_and_trains_on_the_others():
    assert fold_lists(SPLIT, 2) == [{"train": ["a"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}]


def test_folds_by_a_covariate_leave_out_the_sorted_values_one_by_one():
    # As numbers 9 comes before 10; the site of b, which is held out, is no fold.
    split = pd.DataFrame(
        {
            "case_id": ["a", "b", "c", "d", "e"],
            "set": ["train", "test", "train", "train", "train"],
            "fold_by_site": ["10", None, "9", "10", "9"],
        },
        dtype="string",
    )
    assert fold_lists(split, 2, "site") == [{"train": ["a", "d"], "val": ["c", "e"]}, {"train": ["c", "e"], "val": ["a", "d"]}]


def test_regions_painted_in_order_give_back_the_canonical_labels():
    described = dataset_json(["t1"], ["WT", "TC", "ET"], [1, 2, 3], {})
    assert described["labels"] == {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": [3, 3]}
    for label in (1, 2, 3):
        painted = 0
        for region, fill in zip(("WT", "TC", "ET"), described["regions_class_order"], strict=True):
            painted = fill if label in REGIONS[region] else painted
        assert painted == label


def manager(regions: list[str], labels: list[int]):
    """nnU-Net's own reading of our dataset.json."""
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    described = dataset_json(["t1"], regions, labels, {})
    return LabelManager(described["labels"], described.get("regions_class_order"))


def test_regions_that_are_the_labels_become_labels_in_order_for_nnunet():
    described = dataset_json(["t1"], ["ED", "NCR", "ET"], [1, 2, 3], {})
    assert described["labels"] == {"background": 0, "NCR": 1, "ED": 2, "ET": 3}
    assert list(described["labels"]) == ["background", "NCR", "ED", "ET"]
    assert "regions_class_order" not in described
    read = manager(["ED", "NCR", "ET"], [1, 2, 3])
    assert not read.has_regions
    assert read.foreground_labels == [1, 2, 3]


def test_a_single_label_among_more_is_a_region_for_nnunet():
    described = dataset_json(["t1"], ["ET"], [1, 2, 3], {})
    assert described["labels"] == {"background": 0, "ET": [3, 3]}
    assert described["regions_class_order"] == [3]
    read = manager(["ET"], [1, 2, 3])
    assert read.has_regions
    assert read.num_segmentation_heads == 1


@pytest.mark.parametrize(
    ("regions", "outputs", "expected"),
    [
        # One voxel an entry; outputs are probabilities, a row each: background first where nnU-Net trains on labels.
        (["ED", "NCR", "ET"], [[0.9, 0, 0, 0], [0.1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], [0, 1, 2, 3]),
        (["ET"], [[0.4, 0.6, 0.9, 0.0]], [0, 3, 3, 0]),
        (["WT", "TC", "ET"], [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]], [0, 2, 1, 3]),
    ],
)
def test_nnunet_writes_canonical_labels_for_what_a_network_says(regions, outputs, expected):
    probabilities = np.array(outputs, np.float32)[:, :, np.newaxis, np.newaxis]
    written = manager(regions, [1, 2, 3]).convert_probabilities_to_segmentation(probabilities)
    assert written.ravel().tolist() == expected
