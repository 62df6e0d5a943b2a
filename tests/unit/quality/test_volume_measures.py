"""Region volumes, proportions of the tumour, and VASARI's classes of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glioflow.imaging.labels import REGIONS, region_mask
from glioflow.quality.measures import CLASSES, MEASURES, region_volumes, unseen_notes, vasari_class

BY_NAME = {measure.name: measure for measure in MEASURES}


def test_volumes_and_shares_by_hand():
    labels = np.zeros((4, 5, 2), np.uint8)
    labels[0, :, 0], labels[1, :3, 0], labels[2, :2, 0], labels[3, 0, 0] = 2, 1, 3, 4  # 5 ED, 3 NCR, 2 ET, 1 RC
    volumes = region_volumes(labels, 0.002)
    assert volumes == pytest.approx({"ET": 0.004, "NCR": 0.006, "ED": 0.01, "TC": 0.01, "WT": 0.02, "RC": 0.002})
    assert BY_NAME["ET/WT"].value(volumes) == pytest.approx(0.2)
    assert BY_NAME["ED/WT"].value(volumes) == pytest.approx(0.5)
    assert math.isnan(BY_NAME["NCR/WT"].value(dict.fromkeys(volumes, 0.0)))


@given(st.integers(0, 10**6))
def test_volumes_are_those_of_the_regions_masks(seed):
    labels = np.random.default_rng(seed).integers(0, 5, (5, 4, 3)).astype(np.uint8)
    volumes = region_volumes(np.asfortranarray(labels), 0.5)
    assert volumes == {name: region_mask(labels, name).sum() * 0.5 for name in volumes}
    assert set(volumes) == set(REGIONS)


@pytest.mark.parametrize(
    ("share", "name"),
    [
        (0, "none"), (0.001, "<5 %"), (0.0499, "<5 %"), (0.05, "5–33 %"), (0.33, "5–33 %"), (0.34, "34–67 %"),
        (0.6666, "34–67 %"), (0.67, "68–95 %"), (0.949, "68–95 %"), (0.96, ">95 %"), (0.9999, ">95 %"), (1, "all"),
        (math.nan, ""),
    ],
)  # fmt: skip
def test_a_share_has_vasaris_class(share, name):
    assert vasari_class(share) == name


@given(st.floats(0, 1), st.floats(0, 1))
def test_classes_rise_with_the_share(first, second):
    order = ["none", *(name for name, _ in CLASSES), "all"]
    low, high = sorted((first, second))
    assert order.index(vasari_class(low)) <= order.index(vasari_class(high))


def test_what_labels_or_model_cannot_show_is_told_for_each():
    notes = unseen_notes(["WT"], ["WT", "TC", "ET"])
    assert notes["WT"] == ("", "")
    assert notes["ET/WT"] == ("not applicable: the truth shows WT only", "")
    assert unseen_notes(None, ["WT"])["ED"] == ("", "not applicable: the model predicts WT only")
    assert set(unseen_notes(None, None).values()) == {("", "")}
    # A model of three nested regions can show the oedema, which is what is left of the largest.
    assert unseen_notes(None, ["WT", "TC", "ET"])["ED"] == ("", "")
