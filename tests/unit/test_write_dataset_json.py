import pandas as pd

from glioflow.labels import REGIONS
from glioflow.nnunet.plans import dataset_json
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
    cases = training_cases(MANIFEST, SPLIT, ["flair", "t1"])
    assert list(cases) == ["a", "c"]
    assert [path.rpartition("/")[2] for path in cases["c"]["images"]] == ["c_f.nii.gz", "c_1.nii.gz"]
    assert cases["a"]["images"][0].startswith("/")


def test_each_fold_validates_on_its_cases_and_trains_on_the_others():
    assert fold_lists(SPLIT, 2) == [{"train": ["a"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}]


def test_regions_painted_in_order_give_back_the_canonical_labels():
    described = dataset_json(["t1"], ["WT", "TC", "ET"], {})
    assert described["labels"] == {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": [3]}
    for label in (1, 2, 3):
        painted = 0
        for region, fill in zip(("WT", "TC", "ET"), described["regions_class_order"], strict=True):
            painted = fill if label in REGIONS[region] else painted
        assert painted == label
