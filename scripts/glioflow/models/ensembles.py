"""How the masks of several models become one: votes, STAPLE, and regions taken from one member.

All label maps are canonical uint8 arrays (x, y, z) of one shape. The mean of probabilities is nnU-Net's own and is no part of
this module.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glioflow.imaging.labels import REGION_FILL, REGIONS, region_mask

Labels = NDArray[np.uint8]

UNDECIDED = 255  # what STAPLE writes where labels are equally probable; no canonical label has this value
STAPLE_ITERATIONS = 1000  # ITK's default has no end; its own threshold of convergence stops it after some ten


def covers_all(merge: Iterable[str], regions: Iterable[str]) -> bool:
    """Tell whether every label that models of these ``regions`` can write is in a region of ``merge``.

    Then nothing is left of what the members' masks or probabilities combine to.
    """
    merged = {label for region in merge for label in REGIONS[region]}
    return {REGION_FILL[region] for region in regions} <= merged


def needs_probabilities(method: str, merge: Iterable[str], regions: Iterable[str]) -> bool:
    """Tell whether an ensemble reads its members' probabilities: only the mean does, and not where ``merge`` covers all."""
    return method == "mean" and not covers_all(merge, regions)


def vote(masks: Sequence[Labels]) -> Labels:
    """Return the label that most masks have, voxel by voxel.

    Of labels with equally many votes the background loses; of others, that of the mask named first wins.
    """
    result = masks[0].copy()
    differ = np.zeros(result.shape, bool)
    for mask in masks[1:]:
        differ |= mask != result
    ballots = np.stack([mask[differ] for mask in masks])
    votes = np.stack([(ballots == ballot).sum(axis=0) for ballot in ballots])
    winner = (2 * votes + (ballots != 0)).argmax(axis=0)  # the first of equal ones
    result[differ] = np.take_along_axis(ballots, winner[np.newaxis], axis=0)[0]
    return result


def staple(masks: Sequence[Labels]) -> Labels:
    """Return the labels that multi-label STAPLE finds most probable, given how the masks agree.

    ITK's ``MultiLabelSTAPLEImageFilter`` (Rohlfing et al. 2004, doi:10.1109/TMI.2004.830803), with priors from the masks. It
    sees the box around every labelled voxel, so that the estimate does not depend on how much empty space a volume has
    around the tumour. Where it finds labels equally probable, the vote decides.
    """
    import SimpleITK as sitk  # noqa: N813 (its usual name); here, because planning a study imports this module

    from glioflow.imaging.components import bounding_box

    decided = vote(masks)
    box = bounding_box(np.bitwise_or.reduce(masks) > 0)
    if not decided[box].size:
        return decided
    estimate = sitk.MultiLabelSTAPLEImageFilter()
    estimate.SetLabelForUndecidedPixels(UNDECIDED)
    estimate.SetMaximumNumberOfIterations(STAPLE_ITERATIONS)
    images = [sitk.GetImageFromArray(np.ascontiguousarray(mask[box])) for mask in masks]
    found = sitk.GetArrayFromImage(estimate.Execute(images))
    decided[box] = np.where(found == UNDECIDED, decided[box], found)
    return decided


def merge_regions(labels: Labels, merge: Mapping[str, Labels]) -> Labels:
    """Return ``labels`` with each region of ``merge`` as its mask has it, in their order.

    The labels of every merged region are first removed; then each mask's labels of its region are painted where nothing
    is yet. So ``{TC: a, ED: b}`` is the core of a over the oedema of b.
    """
    values = sorted({label for region in merge for label in REGIONS[region]})
    merged = np.where(np.isin(labels, values), np.uint8(0), labels)
    for region, mask in merge.items():
        free = region_mask(mask, region) & (merged == 0)
        merged[free] = mask[free]
    return merged
