"""What the page says of its metrics is what the study's convention computes, whichever that is."""

import re
from math import inf

import numpy as np
import pytest

from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.metrics import Pair
from glioflow.report.definitions import SHOWN, definition_words, distance_words

EMPTY = np.zeros((6, 5, 4), np.uint8)
FULL = EMPTY.copy()
FULL[1:4, 1:3, 1:3] = 1
# What one of the masks, or both, lack, in the order of the sentence.
CASES = ((EMPTY, EMPTY), (EMPTY, FULL), (FULL, EMPTY))


def value_of(words: str, diagonal: float) -> float:
    found = {"undefined": np.nan, "infinite": inf, "the diagonal of the image": diagonal}
    return found[words] if words in found else float(re.sub(r" (mm|voxels)$", "", words))


@pytest.mark.parametrize("name", conventions())
def test_an_empty_mask_has_the_values_that_the_sentence_names(name: str) -> None:
    convention = conventions()[name]
    parts = definition_words(convention)[-1].rstrip(".").split("; ")
    assert len(parts) == 3
    for part, masks in zip(parts, CASES, strict=True):
        pair = Pair(*masks, (1.0, 2.0, 3.0))
        said = dict(re.findall(r"(Dice|sensitivity|distances) (?:is|are) (.+?)(?=,| and (?:sens|dist)|$)", part))
        score, known = pair.score("WT", convention), [column for column in SHOWN if getattr(convention, column)]
        assert ("distances" in said) == bool(known)
        columns = {"dice": "Dice", "sens": "sensitivity", **dict.fromkeys(known, "distances")}
        for column, word in columns.items():
            expected = value_of(said[word], pair.diagonal(convention))
            assert score[column] == pytest.approx(expected, nan_ok=True), (name, part, column)


HAUSDORFF = "Hausdorff is the larger of the two directed maxima"
HD95 = "HD95 is the larger of the two directed 95th percentiles"
POOLED_HD95 = "HD95 is the 95th percentile of the distances of both directions together"
ASSD = "ASSD is the mean of the distances of both directions together"
VOXELS = "between the centres of surface voxels, each of equal weight."
AREAS = "between surface elements, each weighed by its area."


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("glioflow", f"{HAUSDORFF}, {HD95} and {ASSD}. Distances are in mm, {VOXELS}"),
        ("medpy", f"{HAUSDORFF}, {POOLED_HD95} and {ASSD}. Distances are in voxels, {VOXELS}"),
        (
            "open_brats2020",
            "Hausdorff is the maximum of the distances from the prediction to the truth. Distances are in voxels, between the "
            "centres of all voxels of the masks, not of their surfaces alone.",
        ),
        ("brats2023_gli", f"{HD95}. Distances are in mm, {AREAS}"),
        ("nnunet", "It defines no distance."),
    ],
)
def test_each_convention_defines_its_own_distances(name: str, words: str) -> None:
    assert distance_words(conventions()[name]) == words
