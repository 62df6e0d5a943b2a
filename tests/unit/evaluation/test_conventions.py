"""Each file of config/conventions held to answers worked out by hand, and to properties that any definition has."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, nan, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from glioflow.console import UserError
from glioflow.evaluation import conventions as module
from glioflow.evaluation.conventions import Convention, Defect, Headline, conventions, lesion_conventions, parameters_hash
from glioflow.evaluation.lesions import lesion_columns, score_lesions
from glioflow.evaluation.metrics import Pair, metric_columns
from glioflow.imaging.labels import ED, ET, NCR, RC
from glioflow.workflow.docs import fill_conventions

Labels = NDArray[np.uint8]
Box = tuple[slice, slice, slice]
Numbers = Mapping[str, float]

ALL = conventions()
VOXELS = ("glioflow", "metrics_reloaded")  # surface voxels, in mm, the worse direction
AREAS = ("surface_distance", "brats2023_gli", "brats2024_gli", "brats_africa", "brats_men")
BRATS_2023, BRATS_2024 = ("brats2023_gli", "brats_men"), ("brats2024_gli", "brats_africa")
DISTANCES = ("hausdorff", "hd95_mm", "assd_mm", "masd_mm")
RATIOS = ("dice", "iou", "sens", "spec", "precision")
# A busy machine may stall any single example; each is scored under every convention.
UNHURRIED = settings(deadline=None, max_examples=60)


def label_map(shape: tuple[int, int, int], *boxes: tuple[int, Box]) -> Labels:
    labels = np.zeros(shape, np.uint8)
    for label, box in boxes:
        labels[box] = label
    return labels


def box(x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> Box:
    """Return the voxels from each pair's first to before its second."""
    return slice(*x), slice(*y), slice(*z)


def cube(start: int, stop: int) -> Box:
    return (slice(start, stop),) * 3


def check(found: Mapping[str, float | str | int], expected: Numbers) -> None:
    for column, value in expected.items():
        assert found[column] == pytest.approx(value, abs=1e-9, nan_ok=True), column


# ---- the files


def test_the_conventions_are_these_and_the_default_is_first() -> None:
    assert set(ALL) == {*VOXELS, *AREAS, "open_brats2020", "nnunet", "brats2020", "medpy"}
    assert next(iter(ALL)) == "glioflow"
    assert set(lesion_conventions()) == {*BRATS_2023, *BRATS_2024}


@pytest.mark.parametrize("name", ALL)
def test_every_convention_says_where_it_was_read(name: str) -> None:
    assert ALL[name].about.endswith(".")
    assert len(ALL[name].sources) >= 2
    for source in ALL[name].sources:
        # A release, a commit in full, or the number of an announcement.
        assert re.search(r"\d+\.\d+|commit [0-9a-f]{40}$|discussion \d+", source.version), source.version
        assert source.tool
        assert source.file
        assert source.note


@pytest.mark.parametrize("name", ALL)
def test_the_columns_that_users_rank_by_are_columns_that_the_convention_defines(name: str) -> None:
    convention, headline = ALL[name], ALL[name].headline
    columns = [*metric_columns(convention), *(lesion_columns(convention) if convention.lesions else ())]
    assert headline.overlap in columns
    assert headline.distance is None or headline.distance in columns
    if headline.distance in DISTANCES:
        assert getattr(convention, str(headline.distance)) is not None


@pytest.mark.parametrize("name", lesion_conventions())
def test_every_region_with_lesions_has_all_parameters(name: str) -> None:
    lesions = ALL[name].lesions
    assert lesions is not None
    assert set(lesions.dilation) == set(lesions.min_volume_mm3)
    for region, others in lesions.united_by.items():
        assert {region, *others} <= set(lesions.dilation)
        assert region not in others
    # An HD95 of a whole image that cannot be measured costs what one of a lesion does.
    assert ALL[name].empty.truth.distances == ALL[name].empty.prediction.distances == lesions.hd95_penalty_mm


def test_only_the_scripts_of_2024_are_known_to_count_numbers_as_voxels() -> None:
    assert {name: [defect.name for defect in one.defects] for name, one in ALL.items() if one.defects} == {
        name: ["sensitivity_of_instance_maps"] for name in BRATS_2024
    }


LESION_RULES = "dilation: {ET: 1}, min_volume_mm3: {ET: 1}, hd95_penalty_mm: 9"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("units: inches", "units"),
        ("hd95: {percentile: 95}", "hd95"),
        ("hd95_mm: {percentile: 0, directions: pooled}", "percentile"),
        ("lesions: [", "line 5, column 1"),
        ("headline: {distance: hd95}", "has no column hd95"),
        ("headline: {overlap: lesion_dice}", "has no column lesion_dice"),
        ("headline: {distance: hausdorff}", "has no column hausdorff"),
        (f"lesions: {{{LESION_RULES}, united_by: {{ET: [NCR]}}}}", "NCR has no dilation"),
        (f"lesions: {{{LESION_RULES}, connectivity: 18}}\nnsd_surface: areas", "must be 26 with areas"),
    ],
)
def test_a_file_that_is_no_convention_is_named(
    line: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(f"about: Mine.\nsources: []\nsurface: voxels\n{line}\n", "utf-8")
    monkeypatch.setattr(module, "CONVENTIONS_DIR", tmp_path)
    with pytest.raises(UserError, match=rf"mine\.yaml(.|\n)*{complaint}"):
        re_read()


def re_read() -> Mapping[str, Convention]:
    """Return the conventions of the folder as it is now; what all others use is kept."""
    return conventions.__wrapped__()


def test_the_hash_of_a_convention_follows_what_decides_a_value_and_nothing_else(put_conventions: Callable[..., None]) -> None:
    ours, theirs = ALL["glioflow"], ALL["brats2024_gli"]
    other_words = {"about": "Other words.", "sources": [], "defects": [Defect(name=d.name, about="") for d in theirs.defects]}
    lesions = theirs.lesions.model_copy(update={"hd95_penalty_mm": 1.0})
    found = []
    for changed in ({}, other_words, {"surface": "mask"}, {"lesions": lesions}, {"headline": Headline(overlap="iou")}):
        put_conventions(ours, theirs.model_copy(update=changed))
        found.append(parameters_hash("glioflow", "brats2024_gli"))
        assert parameters_hash("glioflow", None) == parameters_hash("glioflow")
    assert found[0] == found[1]
    assert len(set(found[1:])) == 4


def test_the_page_on_conventions_shows_these_files(repo: Path) -> None:
    page = (repo / "docs/conventions.md").read_text("utf-8")
    assert page == fill_conventions(page), "run `make docs`"


# ---- answers by hand. At 1 mm, a marching-cubes element at a corner of a box is a triangle of SQRT3 / 8 mm², at an edge a
# strip of SQRT2 / 2, on a face a square of 1.

SQRT2, SQRT3 = sqrt(2), sqrt(3)


@dataclass(frozen=True)
class Scene:
    """A pair of masks (of ED, region WT), and what it scores: the overlaps, and the distances by convention.

    A distance that is not named is not defined.
    """

    truth: Labels
    prediction: Labels
    overlaps: Numbers
    distances: Mapping[str, Numbers]
    spacing: tuple[float, float, float] = (1, 1, 1)


def by_tool(
    voxels: tuple[float, ...],
    areas: tuple[float, ...],
    medpy: tuple[float, ...],
    brats2020: float,
    open_brats2020: float,
    brats2024_gli: tuple[float, float],
) -> dict[str, Numbers]:
    """Return the distances by convention.

    ``voxels``: all four distances and the nsd at 1 and 2 mm. ``areas``: hausdorff, hd95_mm and these nsd. ``medpy``: hausdorff,
    hd95_mm and assd_mm. ``brats2020``: hd95_mm. ``open_brats2020``: hausdorff. ``brats2024_gli``: the nsd at 0.5 and
    1 mm, the mean of the shares of both surfaces' voxels.
    """
    tolerances = ("nsd_1mm", "nsd_2mm")
    of_voxels = dict(zip((*DISTANCES, *tolerances), voxels, strict=True))
    of_areas = dict(zip((*DISTANCES[:2], *tolerances), areas, strict=True))
    return {
        "glioflow": of_voxels,
        "metrics_reloaded": {column: value for column, value in of_voxels.items() if column != "nsd_2mm"},
        "medpy": dict(zip(DISTANCES[:3], medpy, strict=True)),
        "brats2020": {"hd95_mm": brats2020},
        "open_brats2020": {"hausdorff": open_brats2020},
        "nnunet": {},
        "surface_distance": of_areas,
        **{name: {"hd95_mm": of_areas["hd95_mm"]} for name in (*BRATS_2023, *BRATS_2024)},
        "brats2024_gli": {
            "hd95_mm": of_areas["hd95_mm"],
            **dict(zip(("nsd_0.5mm", "nsd_1mm"), brats2024_gli, strict=True)),
        },
    }


def one_voxel_each() -> Scene:
    # 3 voxels of 1 mm along x and 2 of 2 mm along y: 5 mm, or the root of 9 + 4 voxels.
    # Corners: each of the truth's eight has the same weight, and the nearest of the prediction lies 3 or 2 voxels on along x, 2
    # or 1 along y, 0 along z: 5 and the roots of 9 + 4, 4 + 16 and 4 + 4 mm, two of each. 7 of 8 are 0.875: HD95 is the last.
    far = sqrt(13)
    return Scene(
        label_map((6, 6, 6), (ED, box((1, 2), (1, 2), (1, 2)))),
        label_map((6, 6, 6), (ED, box((4, 5), (3, 4), (1, 2)))),
        {"dice": 0, "iou": 0, "sens": 0, "spec": 214 / 215, "precision": 0},
        by_tool(
            (5, 5, 5, 5, 0, 0),
            (5, 5, 0, 0),
            (far, far, far),
            brats2020=far,
            open_brats2020=far,
            brats2024_gli=(0, 0),
        ),
        (1, 2, 5),
    )


def nested_cubes() -> Scene:
    # The truth is 5 voxels wide: 125, 98 of them on the surface; the prediction 3: 27, of which 26. Of the outer surface 6 x 9
    # voxels face the inner cube (1 mm), 12 x 3 lie off its edges (SQRT2), 8 off its corners (SQRT3): corners begin at 90 of 0
    # to 97, the 95th percentile is at 92.15; of both directions together they begin at 116 of 0 to 123, and it is at 116.85.
    # Areas of the outer surface: 6 x 16 faces, 12 x 4 edges, 8 corners; 0.95 of them is 125.1, faces are 96, with the edges it
    # is 129.9: SQRT2. Of the inner one: 6 x 4 faces, 12 x 2 edges, 8 corners, all 1 mm away.
    # Every predicted voxel is in the truth.
    outer = 54 + 36 * SQRT2 + 8 * SQRT3
    outside, inside = 96 + 24 * SQRT2 + SQRT3, 24 + 12 * SQRT2 + SQRT3
    return Scene(
        label_map((9, 9, 9), (ED, cube(2, 7))),
        label_map((9, 9, 9), (ED, cube(3, 6))),
        {"dice": 54 / 152, "iou": 27 / 125, "sens": 27 / 125, "spec": 1, "precision": 1},
        by_tool(
            (SQRT3, SQRT3, (outer + 26) / 124, (outer / 98 + 1) / 2, 80 / 124, 1),
            (SQRT3, SQRT2, (96 + inside) / (outside + inside), 1),
            (SQRT3, SQRT3, (outer + 26) / 124),
            brats2020=SQRT3,
            open_brats2020=0,
            brats2024_gli=(0, (54 / 98 + 1) / 2),
        ),
    )


def touching_cubes() -> Scene:
    # Two voxels wide each: four voxels at 1 mm and four at 2 mm, either way; the 95th percentile is at 6.65 of 0 to 7.
    # Corners: the nine of the shared face are on both surfaces; 8 of the next layer are 1 mm off, 9 of the last 2 mm. Areas: 4
    # corners, 4 edges and a face in an end layer, 4 edges and 4 faces in the middle one.
    end, middle = SQRT3 / 2 + 2 * SQRT2 + 1, 2 * SQRT2 + 4
    return Scene(
        label_map((8, 4, 4), (ED, box((0, 2), (1, 3), (1, 3)))),
        label_map((8, 4, 4), (ED, box((2, 4), (1, 3), (1, 3)))),
        {"dice": 0, "iou": 0, "sens": 0, "spec": 112 / 120, "precision": 0},
        by_tool(
            (2, 2, 1.5, 1.5, 0.5, 1),
            (2, 2, (end + middle) / (2 * end + middle), 1),
            (2, 2, 1.5),
            brats2020=2,
            open_brats2020=2,
            brats2024_gli=(0, (4 / 8 + 4 / 8) / 2),
        ),
    )


def predicted_everywhere() -> Scene:
    # The truth is the middle voxel of 27. Of the image's 26 surface voxels 6 are 1 mm off, 12 SQRT2, 8 SQRT3; the truth's is 1.
    # The corners of the image begin at 18 of 0 to 25 (percentile at 23.75), with the truth's at 19 of 0 to 26 (at 24.7).
    # Areas: 6 x 4 faces at 1 mm, 12 x 2 edges at SQRT2, 8 corners at SQRT3, 4 % of all: HD95 is SQRT2. The truth's corners: 1.
    far = 6 + 12 * SQRT2 + 8 * SQRT3
    return Scene(
        label_map((3, 3, 3), (ED, cube(1, 2))),
        label_map((3, 3, 3), (ED, cube(0, 3))),
        {"dice": 2 / 28, "iou": 1 / 27, "sens": 1, "spec": 0, "precision": 1 / 27},
        by_tool(
            (SQRT3, SQRT3, (1 + far) / 27, (1 + far / 26) / 2, 7 / 27, 1),
            (SQRT3, SQRT2, (24 + SQRT3) / (24 + 12 * SQRT2 + 2 * SQRT3), 1),
            (SQRT3, SQRT3, (1 + far) / 27),
            brats2020=SQRT3,
            open_brats2020=SQRT3,
            brats2024_gli=(0, (1 + 6 / 26) / 2),
        ),
    )


def tumour_everywhere() -> Scene:
    # Both masks are the whole image: there is no negative, so specificity is 0 / 0.
    everywhere = label_map((3, 4, 5), (ED, cube(0, 5)))
    return Scene(
        everywhere,
        everywhere,
        {"dice": 1, "iou": 1, "sens": 1, "spec": nan, "precision": 1},
        by_tool(
            (0, 0, 0, 0, 1, 1),
            (0, 0, 1, 1),
            (0, 0, 0),
            brats2020=0,
            open_brats2020=0,
            brats2024_gli=(1, 1),
        ),
    )


def line_cut_short() -> Scene:
    # Twenty voxels of 2 x 1 x 1 mm in a row, of which the first ten are predicted. From the truth ten times 0, then 1, 2 ... 10
    # voxels: the percentile is at 18.05 of 0 to 19, 9.05 voxels or 18.1 mm. With the prediction's ten of 0 it is at 27.55 of 0
    # to 29, 8.55 voxels.
    # Areas: a corner is cut off by the triangle through (1, 0, 0), (0, 0.5, 0) and (0, 0, 0.5), 0.375 mm²; an edge along x by
    # a strip of 2 x SQRT2 / 2. A row of n voxels has two planes of 4 corners and between them n - 1 of 4 edges. Of the truth's
    # the first eleven are 0 mm off, the others 2, 4 ... 20. 95 % of 3 + 19 x 4 SQRT2 are 105.0; up to the last plane of edges,
    # 18 mm, it is 109.0, up to the one before 103.3. (90 %, and 95 % of both rows together, are reached at 16 mm.)
    plane = 4 * SQRT2
    return Scene(
        label_map((22, 3, 3), (ED, box((1, 21), (1, 2), (1, 2)))),
        label_map((22, 3, 3), (ED, box((1, 11), (1, 2), (1, 2)))),
        {"dice": 2 / 3, "iou": 0.5, "sens": 0.5, "spec": 1, "precision": 1},
        by_tool(
            (20, 18.1, 110 / 30, 2.75, 20 / 30, 21 / 30),
            (20, 18, (4.5 + 19 * plane) / (6 + 28 * plane), (4.5 + 20 * plane) / (6 + 28 * plane)),
            (10, 8.55, 55 / 30),
            brats2020=8.55,
            open_brats2020=0,
            brats2024_gli=((10 / 20 + 1) / 2, (10 / 20 + 1) / 2),
        ),
        (2, 1, 1),
    )


def line_run_over() -> Scene:
    # The same with truth and prediction exchanged: of the distances, only the one that looks one way sees it.
    short = line_cut_short()
    return Scene(
        short.prediction,
        short.truth,
        {"dice": 2 / 3, "iou": 0.5, "sens": 1, "spec": 178 / 188, "precision": 0.5},
        {**short.distances, "open_brats2020": {"hausdorff": 10}},
        short.spacing,
    )


SCENES: tuple[Callable[[], Scene], ...] = (
    *(one_voxel_each, nested_cubes, touching_cubes, predicted_everywhere, tumour_everywhere),
    *(line_cut_short, line_run_over),
)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("make", SCENES)
def test_both_masks_have_the_region(make: Callable[[], Scene], name: str) -> None:
    scene, convention = make(), ALL[name]
    found = Pair(scene.truth, scene.prediction, scene.spacing).score("WT", convention)
    undefined = dict.fromkeys(DISTANCES, nan)
    assert set(scene.distances[name]) - set(DISTANCES) == set(convention.nsd_columns)
    check(found, {**scene.overlaps, **undefined, **scene.distances[name]})


# ---- empty masks: an image of 3 x 4 x 12 voxels of 2 mm, whose diagonal is 13 voxels or 26 mm, and a region of one voxel

EMPTY = label_map((3, 4, 12))
SPECK = label_map((3, 4, 12), (ED, box((1, 2), (1, 2), (5, 6))))


@dataclass(frozen=True)
class Said:
    """What a convention says of a region: dice, iou, sens, spec, precision; of all its distances; of all its nsd."""

    dice: float
    iou: float
    sens: float
    spec: float
    precision: float
    distances: float
    nsd: float = nan


SPEC = 143 / 144  # of one false voxel
# In neither mask, in the prediction only, in the truth only.
SAID: dict[str, tuple[Said, Said, Said]] = {
    "glioflow": (Said(nan, nan, nan, 1, nan, nan), Said(0, 0, nan, SPEC, 0, 26, 0), Said(0, 0, 0, 1, nan, 26, 0)),
    "open_brats2020": (Said(1, nan, nan, 1, nan, nan), Said(0, 0, nan, SPEC, 0, nan), Said(0, 0, 0, 1, nan, 0)),
    "nnunet": (Said(nan, nan, nan, 1, nan, nan), Said(0, 0, nan, SPEC, 0, nan), Said(0, 0, 0, 1, nan, nan)),
    "brats2020": (Said(1, nan, 1, 1, nan, 0), Said(0, 0, 0, SPEC, 0, 13), Said(0, 0, 0, 1, nan, 13)),
    "medpy": (Said(1, 1, 0, 1, 0, nan), Said(0, 0, 0, SPEC, 0, nan), Said(0, 0, 0, 1, 0, nan)),
    "surface_distance": (Said(nan, nan, nan, 1, nan, inf), Said(0, 0, nan, SPEC, 0, inf, 0), Said(0, 0, 0, 1, nan, inf, 0)),
    "metrics_reloaded": (Said(1, nan, nan, 1, nan, 0), Said(0, 0, nan, SPEC, 0, nan), Said(0, 0, 0, 1, 0, nan)),
    **{name: (Said(1, nan, 1, 1, 0, 0), Said(0, 0, 0, SPEC, 0, 374), Said(0, 0, 0, 1, 0, 374)) for name in BRATS_2023},
    "brats2024_gli": (Said(1, nan, 1, 1, nan, 0, 1), Said(0, 0, 0, SPEC, 0, 337, 0), Said(0, 0, 0, 1, nan, 337, 0)),
    "brats_africa": (Said(1, nan, 1, 1, nan, 0), Said(0, 0, 0, SPEC, 0, 374), Said(0, 0, 0, 1, nan, 374)),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("case", "truth", "prediction"), [(0, EMPTY, EMPTY), (1, EMPTY, SPECK), (2, SPECK, EMPTY)])
def test_a_mask_is_empty(name: str, case: int, truth: Labels, prediction: Labels) -> None:
    convention, said = ALL[name], SAID[name][case]
    found = Pair(truth, prediction, (2, 2, 2)).score("WT", convention)
    check(found, {ratio: getattr(said, ratio) for ratio in RATIOS})
    check(found, {column: said.distances if getattr(convention, column) else nan for column in DISTANCES})
    check(found, dict.fromkeys(convention.nsd_columns, said.nsd))


# ---- lesions, of ET


def lesion_scores(
    name: str, truth: Labels, prediction: Labels, spacing: tuple[float, float, float] = (1, 1, 1), region: str = "ET"
) -> Numbers:
    convention = ALL[name]
    assert convention.lesions is not None
    return score_lesions(Pair(truth, prediction, spacing), [region], convention.lesions, convention)[region]


LESION_COLUMNS = (
    *("lesion_dice", "lesion_hd95_mm", "lesion_sens", "lesion_precision", "lesion_f1"),
    *("lesions_truth", "lesions_found", "lesions_false"),
)


def said_of_lesions(dice: float, hd95: float, sens: float, precision: float, f1: float, counts: tuple[int, ...]) -> Numbers:
    """Return the lesion-wise columns; ``counts``: of the truth, found, false."""
    return dict(zip(LESION_COLUMNS, (dice, hd95, sens, precision, f1, *counts), strict=True))


BLOCK, SPARE = (5, 9), (4, 8)  # 4 x 4 x 4 voxels


def block(x: tuple[int, int]) -> tuple[int, Box]:
    return ET, box(x, SPARE, SPARE)


SHAPE = (70, 12, 12)
NOTHING = said_of_lesions(1, 0, nan, nan, nan, (0, 0, 0))


@pytest.mark.parametrize("name", lesion_conventions())
def test_near_lesions_are_one_where_their_dilations_meet(name: str) -> None:
    truth, prediction = label_map(SHAPE, block(BLOCK), block((15, 19))), label_map(SHAPE, block(BLOCK))
    # Six voxels lie between the two. Grown three times, each reaches three of them, and they are face to face; grown once, four
    # are left. Together they have 128 voxels, and the prediction is one half.
    # HD95 of the one lesion: half of its surface is the prediction's; the other half lies 6 to 10 mm off, its last layer (4
    # corners, 12 edges, 9 faces) is 11 % of all. Of the two: 0 mm, and a miss.
    joined = said_of_lesions(2 / 3, 10, 1, 1, 1, (1, 1, 0))
    apart = said_of_lesions(1 / 2, 374 / 2, 1 / 2, 1, 2 / 3, (2, 1, 0))
    check(lesion_scores(name, truth, prediction), apart if name == "brats_men" else joined)


OF_REGION = {"WT": ED, "TC": NCR, "ET": ET, "ED": ED, "NCR": NCR, "RC": RC}  # a label of each region
# By convention and region: the most voxels between two lesions that are one, and the largest volume (mm³) that does not count.
THREE = ("WT", "TC", "ET")
MOST_BETWEEN: dict[str, dict[str, int]] = {
    "brats2023_gli": dict.fromkeys(THREE, 6),
    "brats_men": dict.fromkeys(THREE, 2),
    "brats_africa": dict.fromkeys((*THREE, "NCR"), 6),
    "brats2024_gli": {**dict.fromkeys((*THREE, "ED"), 6), "NCR": 10, "RC": 10},
}
TOO_SMALL: dict[str, dict[str, int]] = {
    **{name: dict.fromkeys(MOST_BETWEEN[name], 50) for name in ("brats2023_gli", "brats_men", "brats_africa")},
    "brats2024_gli": {**dict.fromkeys(MOST_BETWEEN["brats2024_gli"], 20), "ET": 10},
}
REGIONS_OF = [(name, region) for name, regions in MOST_BETWEEN.items() for region in regions]


def lesions_of(name: str, region: str, labels: Labels) -> int:
    """Return how many lesions of a region count in a truth."""
    return int(lesion_scores(name, labels, labels, region=region)["lesions_truth"])


@pytest.mark.parametrize(("name", "region"), REGIONS_OF)
def test_every_region_has_its_own_reach(name: str, region: str) -> None:
    most, label = MOST_BETWEEN[name][region], OF_REGION[region]
    first = box((5, 9), SPARE, SPARE)
    near, far = (label_map(SHAPE, (label, first), (label, box((9 + gap, 13 + gap), SPARE, SPARE))) for gap in (most, most + 1))
    assert (lesions_of(name, region, near), lesions_of(name, region, far)) == (1, 2)
    lesions = ALL[name].lesions
    assert lesions is not None
    assert set(lesions.dilation) == set(MOST_BETWEEN[name])


@pytest.mark.parametrize(("name", "region"), REGIONS_OF)
def test_every_region_has_its_own_limit(name: str, region: str) -> None:
    limit = TOO_SMALL[name][region]
    small, large = (label_map(SHAPE, (OF_REGION[region], box((5, 5 + n), (4, 5), (4, 5)))) for n in (limit, limit + 1))
    assert (lesions_of(name, region, small), lesions_of(name, region, large)) == (0, 1)


@pytest.mark.parametrize("name", lesion_conventions())
def test_lesions_reach_less_far_across_corners(name: str) -> None:
    # Grown n times over faces and edges, a voxel reaches what is at most n away along each axis and 2 n along all together.
    # Two whose nearest voxels are g apart along each axis are one where 3 g - 2 x 2 n is at most 3, the way over a corner.
    furthest = 2 if name == "brats_men" else 5
    near, far = (label_map((30, 30, 30), (ET, cube(4, 8)), (ET, cube(7 + gap, 11 + gap))) for gap in (furthest, furthest + 1))
    assert (lesions_of(name, "ET", near), lesions_of(name, "ET", far)) == (1, 2)


@pytest.mark.parametrize("name", lesion_conventions())
def test_predicted_blocks_that_meet_in_a_corner_are_one_lesion(name: str) -> None:
    prediction = label_map((30, 30, 30), (ET, cube(4, 8)), (ET, cube(8, 12)))
    assert lesion_scores(name, label_map((30, 30, 30)), prediction)["lesions_false"] == 1


JOINED_BY: dict[str, dict[str, tuple[str, ...]]] = {
    "brats2024_gli": {"ET": ("NCR", "RC"), "ED": ("ET", "NCR", "RC"), "NCR": ("ET", "RC"), "RC": ("ET", "NCR")},
    "brats_africa": {"ET": ("NCR",)},
}
LABEL_PAIRS = [(n, r, o) for n, r in REGIONS_OF for o in ("ET", "ED", "NCR", "RC") if r in ("ET", "ED", "NCR", "RC") and r != o]


@pytest.mark.parametrize(("name", "region", "other"), LABEL_PAIRS)
def test_a_lesion_of_another_label_joins_two(name: str, region: str, other: str) -> None:
    ends = [(OF_REGION[region], box(x, SPARE, SPARE)) for x in ((5, 9), (30, 34))]
    truth = label_map(SHAPE, *ends, (OF_REGION[other], box((9, 30), SPARE, SPARE)))
    assert lesions_of(name, region, truth) == (1 if other in JOINED_BY.get(name, {}).get(region, ()) else 2)


@pytest.mark.parametrize("name", lesion_conventions())
def test_small_lesions_are_left_out(name: str) -> None:
    small, made_up = (ET, box((30, 33), (4, 7), (4, 6))), (ET, box((50, 53), (4, 7), (4, 6)))  # 18 mm³ each
    truth, prediction = label_map(SHAPE, block(BLOCK), small), label_map(SHAPE, block(BLOCK), small, made_up)
    expected = {
        # 18 is no more than 50: the small one does not count, and its prediction, which meets it, is not false; the other is.
        **dict.fromkeys(BRATS_2023, said_of_lesions(1 / 2, 374 / 2, 1, 1 / 2, 2 / 3, (1, 1, 1))),
        # Predicted lesions of no more than 50 are left out as well.
        "brats_africa": said_of_lesions(1, 0, 1, 1, 1, (1, 1, 0)),
        # 18 is more than the 10 of ET.
        "brats2024_gli": said_of_lesions(2 / 3, 337 / 3, 1, 2 / 3, 4 / 5, (2, 2, 1)),
    }
    check(lesion_scores(name, truth, prediction), expected[name])


@pytest.mark.parametrize("name", lesion_conventions())
def test_volumes_of_lesions_are_in_mm3(name: str) -> None:
    # Of 8 mm³ a voxel: 6 are 48, 7 are 56 mm³.
    six, seven = (label_map(SHAPE, (ET, box((5, 5 + n), (4, 5), (4, 5)))) for n in (6, 7))
    counted = [lesion_scores(name, mask, mask, (2, 2, 2))["lesions_truth"] for mask in (six, seven)]
    assert counted == ([1, 1] if name == "brats2024_gli" else [0, 1])


@pytest.mark.parametrize("name", lesion_conventions())
def test_necrosis_joins_lesions_of_enhancing_tumour_since_2024(name: str) -> None:
    between = NCR, box((9, 30), SPARE, SPARE)
    truth, prediction = label_map(SHAPE, block(BLOCK), between, block((30, 34))), label_map(SHAPE, block(BLOCK))
    found = lesion_scores(name, truth, prediction)
    if name in BRATS_2024:
        check(found, {"lesion_dice": 2 / 3, "lesions_truth": 1, "lesions_found": 1})
    else:
        check(found, said_of_lesions(1 / 2, 374 / 2, 1 / 2, 1, 2 / 3, (2, 1, 0)))


@pytest.mark.parametrize("name", lesion_conventions())
def test_lesions_of_empty_masks(name: str) -> None:
    penalty = 337 if name == "brats2024_gli" else 374
    nothing, something = label_map(SHAPE), label_map(SHAPE, block(BLOCK))
    check(lesion_scores(name, nothing, nothing), NOTHING)
    check(lesion_scores(name, something, nothing), said_of_lesions(0, penalty, 0, nan, 0, (1, 0, 0)))
    check(lesion_scores(name, nothing, something), said_of_lesions(0, penalty, nan, 0, 0, (0, 0, 1)))


@pytest.mark.parametrize("name", lesion_conventions())
def test_a_made_up_speck_is_a_lesion_in_2023_only(name: str) -> None:
    speck = label_map(SHAPE, (ET, box((5, 6), (4, 5), (4, 5))))
    false_alarm = said_of_lesions(0, 374, nan, 0, 0, (0, 0, 1))
    check(lesion_scores(name, label_map(SHAPE), speck), false_alarm if name in BRATS_2023 else NOTHING)
    # One of the truth does not count anywhere.
    check(lesion_scores(name, speck, label_map(SHAPE)), NOTHING)


@pytest.mark.parametrize("name", lesion_conventions())
def test_a_lesion_far_from_its_prediction_is_missed_and_the_prediction_made_up(name: str) -> None:
    penalty = 337 if name == "brats2024_gli" else 374
    truth, prediction = label_map(SHAPE, block(BLOCK)), label_map(SHAPE, block((40, 44)))
    check(lesion_scores(name, truth, prediction), said_of_lesions(0, penalty, 0, 0, 0, (1, 0, 1)))


# ---- properties of every definition


def scores(truth: Labels, prediction: Labels, spacing: tuple[float, float, float] = (1, 1, 1)) -> dict[str, dict[str, float]]:
    """Return the numbers of region WT by convention."""
    pair = Pair(truth, prediction, spacing)
    found = {name: pair.score("WT", convention) for name, convention in ALL.items()}
    return {name: {column: float(score[column]) for column in metric_columns(ALL[name])} for name, score in found.items()}


MAPS = arrays(np.uint8, (4, 3, 5), elements=st.sampled_from([0, 0, 0, ED, ET, NCR]))
STEPS = st.sampled_from([0.5, 1.0, 1.5, 4.0])
SPACINGS = st.tuples(STEPS, STEPS, STEPS)


def same(first: Mapping[str, Numbers], second: Mapping[str, Numbers], columns: Callable[[str], bool] = lambda _: True) -> None:
    for name in ALL:
        chosen = {column: value for column, value in first[name].items() if columns(column)}
        assert {c: second[name][c] for c in chosen} == pytest.approx(chosen, rel=1e-9, abs=1e-12, nan_ok=True), name


@UNHURRIED
@given(truth=MAPS, prediction=MAPS, spacing=SPACINGS)
def test_exchanging_truth_and_prediction(truth: Labels, prediction: Labels, spacing: tuple[float, float, float]) -> None:
    there, back = scores(truth, prediction, spacing), scores(prediction, truth, spacing)
    both = bool(truth.any() and prediction.any())
    for name, convention in ALL.items():
        hausdorff = convention.hausdorff
        one_way = hausdorff is not None and hausdorff.directions == "prediction_to_truth"
        symmetric = ["dice", "iou", *convention.nsd_columns, *(c for c in DISTANCES if not (one_way and c == "hausdorff"))]
        for column in symmetric:
            assert back[name][column] == pytest.approx(there[name][column], rel=1e-9, nan_ok=True), (name, column)
        if both:
            assert back[name]["sens"] == there[name]["precision"], name
        assert back[name]["volume_error_ml"] == -there[name]["volume_error_ml"]


@UNHURRIED
@given(truth=MAPS, prediction=MAPS, spacing=SPACINGS, axis=st.integers(0, 2))
def test_mirroring_changes_nothing(truth: Labels, prediction: Labels, spacing: tuple[float, float, float], axis: int) -> None:
    same(scores(truth, prediction, spacing), scores(np.flip(truth, axis), np.flip(prediction, axis), spacing))


@UNHURRIED
@given(truth=MAPS, prediction=MAPS, spacing=SPACINGS, order=st.permutations([0, 1, 2]))
def test_turning_the_axes_changes_nothing(
    truth: Labels, prediction: Labels, spacing: tuple[float, float, float], order: list[int]
) -> None:
    x, y, z = (spacing[axis] for axis in order)
    turned = scores(np.transpose(truth, order), np.transpose(prediction, order), (x, y, z))
    same(scores(truth, prediction, spacing), turned)


@UNHURRIED
@given(truth=MAPS, prediction=MAPS, spacing=SPACINGS, shift=st.tuples(*[st.integers(0, 3)] * 3))
def test_where_in_the_image_does_not_matter(
    truth: Labels, prediction: Labels, spacing: tuple[float, float, float], shift: tuple[int, int, int]
) -> None:
    placed = [np.pad(labels, [(n, 3 - n) for n in shift]) for labels in (truth, prediction)]
    first = [np.pad(labels, [(0, 3)] * 3) for labels in (truth, prediction)]
    same(scores(first[0], first[1], spacing), scores(placed[0], placed[1], spacing))


@UNHURRIED
@given(truth=MAPS, prediction=MAPS, spacing=SPACINGS, new=st.permutations([ED, ET, NCR]))
def test_which_labels_make_up_a_region_does_not_matter(
    truth: Labels, prediction: Labels, spacing: tuple[float, float, float], new: list[int]
) -> None:
    table = np.zeros(256, np.uint8)
    table[[ED, ET, NCR]] = new
    same(scores(truth, prediction, spacing), scores(table[truth], table[prediction], spacing))


@UNHURRIED
@given(truth=MAPS, prediction=MAPS, spacing=SPACINGS, factor=st.sampled_from([0.5, 2.0, 4.0]))
def test_the_spacing_scales_distances_in_mm_and_volumes(
    truth: Labels, prediction: Labels, spacing: tuple[float, float, float], factor: float
) -> None:
    x, y, z = (factor * step for step in spacing)
    small, large = scores(truth, prediction, spacing), scores(truth, prediction, (x, y, z))
    penalties = {float(one.empty.truth.distances) for one in ALL.values() if isinstance(one.empty.truth.distances, float)}
    for name, convention in ALL.items():
        grown = factor if convention.units == "mm" else 1.0
        for column in DISTANCES:
            value = small[name][column]
            expected = value if value in penalties else value * grown
            assert large[name][column] == pytest.approx(expected, rel=1e-9, nan_ok=True), (name, column)
        for ratio in (*RATIOS, "volume_error_relative"):
            assert large[name][ratio] == pytest.approx(small[name][ratio], nan_ok=True)
        assert large[name]["volume_error_ml"] == pytest.approx(small[name]["volume_error_ml"] * factor**3)


@UNHURRIED
@given(truth=MAPS, prediction=MAPS, place=st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4)))
def test_a_false_voxel_never_helps(truth: Labels, prediction: Labels, place: tuple[int, int, int]) -> None:
    truth[place] = prediction[place] = 0
    more = prediction.copy()
    more[place] = ED
    before, after = scores(truth, prediction), scores(truth, more)
    for name in ALL:
        for ratio in ("dice", "iou", "spec", "precision"):
            # A ratio of nothing to nothing has no order: it becomes 0 with the first false voxel.
            assert not after[name][ratio] > before[name][ratio], (name, ratio)
        # Nor does it alter what of the truth is found; without a truth, some tools' word for nothing goes away.
        if truth.any():
            assert after[name]["sens"] == before[name]["sens"]


@UNHURRIED
@given(first=MAPS, second=MAPS, third=MAPS, spacing=SPACINGS)
def test_a_detour_is_no_shorter(first: Labels, second: Labels, third: Labels, spacing: tuple[float, float, float]) -> None:
    direct, there, on = scores(first, third, spacing), scores(first, second, spacing), scores(second, third, spacing)
    metric = ["volume_error_ml"]
    if first.any() and second.any() and third.any():
        metric += ["hausdorff"]
    for name, convention in ALL.items():
        for column in metric:
            # The maximum of both directions is a metric; a percentile, or one direction, need not be.
            if column == "volume_error_ml" or (convention.hausdorff and convention.hausdorff.directions == "maximum"):
                detour = abs(there[name][column]) + abs(on[name][column])
                assert abs(direct[name][column]) <= detour * (1 + 1e-12) + 1e-15, (name, column)


@UNHURRIED
@given(labels=MAPS, spacing=SPACINGS)
def test_a_mask_is_perfect_against_itself(labels: Labels, spacing: tuple[float, float, float]) -> None:
    labels[0, 0, 0] = ED
    for name, found in scores(labels, labels, spacing).items():
        convention = ALL[name]
        check(found, dict.fromkeys(("dice", "iou", "sens", "precision", *convention.nsd_columns), 1))
        check(found, {column: 0 for column in DISTANCES if getattr(convention, column)})
        check(found, {"volume_error_ml": 0, "volume_error_relative": 0})


@UNHURRIED
@given(truth=MAPS, prediction=MAPS, spacing=SPACINGS)
def test_percentiles_lie_below_maxima_and_overlaps_between_0_and_1(
    truth: Labels, prediction: Labels, spacing: tuple[float, float, float]
) -> None:
    truth[0, 0, 0] = prediction[3, 2, 4] = ED
    for name, found in scores(truth, prediction, spacing).items():
        convention = ALL[name]
        assert all(0 <= found[column] <= 1 for column in ("dice", "iou", "sens", "precision", *convention.nsd_columns)), name
        if convention.hausdorff and convention.hausdorff.directions == "maximum":
            below = [found[column] for column in ("hd95_mm", "assd_mm", "masd_mm") if getattr(convention, column)]
            assert all(0 <= value <= found["hausdorff"] + 1e-12 for value in below), name
        assert sorted(found[column] for column in convention.nsd_columns) == [found[c] for c in convention.nsd_columns]


LESIONS = arrays(np.uint8, (14, 6, 6), elements=st.sampled_from([0, 0, ET]), fill=st.just(np.uint8(0)))


@UNHURRIED
@given(truth=LESIONS, prediction=LESIONS, axis=st.integers(0, 2))
@pytest.mark.parametrize("name", lesion_conventions())
def test_lesions_are_the_same_in_a_mirror(name: str, truth: Labels, prediction: Labels, axis: int) -> None:
    voxel_of_a_hundred = (5.0, 5.0, 4.0)  # every lesion counts
    found = lesion_scores(name, truth, prediction, voxel_of_a_hundred)
    mirrored = lesion_scores(name, np.flip(truth, axis), np.flip(prediction, axis), voxel_of_a_hundred)
    assert mirrored == pytest.approx(dict(found), rel=1e-9, nan_ok=True)
    assert found["lesions_found"] <= found["lesions_truth"]
    assert 0 <= found["lesion_dice"] <= 1


@pytest.mark.parametrize("name", lesion_conventions())
def test_any_number_of_lesions_can_be_perfect(name: str) -> None:
    labels = label_map(SHAPE, *(block((x, x + 4)) for x in (2, 20, 40, 60)))
    check(lesion_scores(name, labels, labels), said_of_lesions(1, 0, 1, 1, 1, (4, 4, 0)))
    assert math.isclose(64 * 4, np.count_nonzero(labels))
