"""The right slice, the right way up, with the outlines of truth and prediction."""

from itertools import permutations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

import draw_extremes
from draw_extremes import Overlay, captions, image_name
from glioflow.console import Console, UserError
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.metrics import Pair
from glioflow.evaluation.witnesses import COLUMNS, find_witnesses
from glioflow.failure.case_files import CaseFiles
from glioflow.files import read_table, sha256_file, write_table
from glioflow.imaging.labels import ED
from glioflow.imaging.volumes import Volume, write_volume
from glioflow.report.case_pictures import HEIGHT_PX, WIDTH_PX, Shown, Slices, choose_slices, draw_picture
from glioflow.report.plotting import PREDICTION_COLOUR, TRUTH_COLOUR, axial_layout, grey_window, metric_text

RAS = np.diag([1.0, 2.0, 3.0, 1.0])
ORIENTATIONS = [
    [[axis, flip] for axis, flip in zip(axes, flips, strict=True)]
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]


def test_right_is_on_the_left_and_anterior_at_the_top() -> None:
    data = np.zeros((5, 6, 4))
    data[4, 5, 2] = 1  # rightmost, most anterior
    plane = axial_layout(Volume(data, RAS)).slice(data, 2)
    assert plane.shape == (6, 5)
    assert np.argwhere(plane).tolist() == [[0, 0]]


def test_a_volume_stored_left_posterior_superior_is_drawn_as_it_lies() -> None:
    data = np.arange(5 * 6 * 4).reshape(5, 6, 4)
    layout = axial_layout(Volume(data, np.diag([-1.0, -1.0, 1.0, 1.0])))
    assert np.array_equal(layout.slice(data, 1), data[:, :, 1].T)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_picture_is_the_same_however_the_volume_is_stored(orientation: list[list[int]]) -> None:
    data = np.random.default_rng(0).random((5, 6, 4))
    expected = axial_layout(Volume(data, RAS))
    turned = nib.Nifti1Image(data, RAS).as_reoriented(np.array(orientation))
    stored = np.asarray(turned.dataobj)
    layout = axial_layout(Volume(stored, turned.affine))
    index = 1 if orientation[2][1] > 0 else 2
    assert np.array_equal(layout.slice(stored, index), expected.slice(data, 1))
    assert layout.aspect == pytest.approx(2.0)
    assert sorted(layout.areas(stored > 0.5)) == sorted(expected.areas(data > 0.5))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_point_is_where_its_voxel_is_drawn(orientation: list[list[int]]) -> None:
    data = np.zeros((5, 6, 4))
    data[4, 1, 2] = 1
    turned = nib.Nifti1Image(data, RAS).as_reoriented(np.array(orientation))
    stored = np.asarray(turned.dataobj)
    layout = axial_layout(Volume(stored, turned.affine))
    (point,) = np.argwhere(stored)
    plane = layout.slice(stored, int(point[layout.axis]))
    assert np.argwhere(plane).tolist() == [list(layout.place(point, stored.shape))] == [[4, 0]]
    assert layout.rises == (orientation[2][1] > 0)


SHAPE = (20, 22, 9)
BODY = (slice(4, 10), slice(4, 10))


def shown(truth: NDArray[np.bool_], prediction: NDArray[np.bool_], affine: NDArray[np.float64] = RAS) -> Shown:
    """Return a case of one region in a brain that fills the array but for its border."""
    image = np.zeros(SHAPE)
    image[1:-1, 1:-1, 1:-1] = np.random.default_rng(0).uniform(50, 200, (18, 20, 7))
    volume = Volume(image, affine)
    maps = [mask.astype(np.uint8) * ED for mask in (truth, prediction)]
    witness, note = find_witnesses(*maps, volume.spacing, ["WT"], conventions()["glioflow"])["WT"]
    return Shown(volume, {"WT": (truth, prediction)}, witness, note, "FLAIR", "case", "caption")


def empty() -> NDArray[np.bool_]:
    return np.zeros(SHAPE, bool)


def island() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return a truth of three slices, and a prediction that lacks most of one and has a voxel five slices higher."""
    truth = empty()
    truth[(*BODY, slice(1, 4))] = True
    prediction = truth.copy()
    prediction[5:, 5:, 2] = False
    prediction[15, 5, 8] = True
    return truth, prediction


def test_one_slice_goes_through_the_far_point_the_other_has_the_largest_wrong_area() -> None:
    assert choose_slices(shown(*island())) == Slices(witness=8, error=2)


def test_without_a_wrong_voxel_the_slice_of_most_truth_is_drawn() -> None:
    truth = empty()
    truth[4:6, 4, 3] = truth[4:9, 4, 5] = True
    assert choose_slices(shown(truth, truth)).error == 5


def test_without_a_region_there_is_no_witness_and_the_fullest_slice_of_what_there_is() -> None:
    prediction = empty()
    prediction[4:9, 4, 6] = True
    assert choose_slices(shown(empty(), prediction)) == Slices(witness=None, error=6)
    assert choose_slices(shown(empty(), empty())).witness is None


def words(case: Shown) -> str:
    figure = draw_picture(case, choose_slices(case))
    return "\n".join(text.get_text() for part in (figure, *figure.axes) for text in part.texts)


def test_a_picture_tells_the_length_and_where_the_other_end_of_the_line_is() -> None:
    told = words(shown(*island()))
    # 6 voxels of 1 mm along x and 5 slices of 3 mm
    assert f"{np.hypot(6, 15):.1f} mm" in told
    assert "Slice 8: the prediction's farthest point (disc); the truth's nearest\n(ring) is in slice 3, 15.0 mm lower." in told
    assert "slice 3, 15.0 mm higher" in words(shown(*island(), np.diag([1.0, 2.0, -3.0, 1.0])))
    assert "Slice 2: the largest wrong area" in told


def test_a_line_within_a_slice_is_not_said_to_leave_it() -> None:
    truth, prediction = empty(), empty()
    truth[(*BODY, 4)] = prediction[(*BODY, 4)] = prediction[15, 5, 4] = True
    told = words(shown(truth, prediction))
    assert "Slice 4: the prediction's farthest point (disc),\nthe truth's nearest (ring)" in told
    assert "Dotted" not in told


def test_a_picture_without_a_distance_says_why() -> None:
    told = words(shown(empty(), island()[1]))
    assert "No Hausdorff distance of WT:\nabsent in truth" in told


def test_the_line_is_drawn_from_one_point_to_the_other() -> None:
    case = shown(*island())
    (line, *_), _ = draw_picture(case, choose_slices(case)).axes[0].lines, None
    # x = 15 and 9 from the right edge of 20, the brain begins at 1 and MARGIN is larger than that: columns 4 and 10
    assert line.get_xdata().tolist() == [10, 4]
    assert line.get_ydata().tolist() == [22 - 1 - 5] * 2


def test_the_grey_window_ignores_the_background() -> None:
    data = np.zeros(1000)
    data[:101] = np.arange(100, 201)
    assert grey_window(data) == (101, 199)
    assert grey_window(np.full(10, 3.0)) == (3, 4)


@pytest.mark.parametrize(
    ("substitute", "name"), [("", "T1ce"), ("flair", "FLAIR in place of T1ce"), ("zeros", "zeros in place of T1ce")]
)
def test_a_picture_says_what_is_shown_where_the_channel_is_missing(substitute: str, name: str) -> None:
    files = CaseFiles("a", *[""] * 6, substitute)
    overlay = Overlay(files, Path("a.png"), "a", "", "t1ce", ("WT",), conventions()["glioflow"])
    assert image_name(overlay) == name


def test_a_caption_names_place_metric_distance_and_dice() -> None:
    extremes = pd.DataFrame({"group": ["worst"], "rank": [2], "case_id": ["a"]})
    scores = pd.DataFrame({"case_id": ["a"], "hausdorff": [12.34], "dice": [0.5], "sens": [0.25]})
    assert captions(extremes, scores, "WT", "hausdorff") == ["worst 2 by WT HD · HD 12.3 mm · Dice 0.500"]
    assert captions(extremes, scores, "ET", "sens") == [
        "worst 2 by ET sensitivity · sensitivity 0.250 · HD 12.3 mm · Dice 0.500"
    ]
    assert metric_text("hausdorff", float("nan")) == "HD undefined"


class Study:
    """A folder with a worst and a best case, and the job that draws them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(4)
        manifest, predictions, scores = [], [], []
        for case_id, offset in (("bad", 12), ("good", 1)):
            image = np.zeros((60, 70, 20), np.int16)
            image[5:-5, 5:-5, 2:-2] = rng.integers(300, 900, (50, 60, 16))
            truth, prediction = np.zeros(image.shape, np.uint8), np.zeros(image.shape, np.uint8)
            truth[15:30, 20:35, 5:9] = ED
            truth[15:35, 20:40, 9] = ED
            prediction[15 + offset : 30 + offset, 20:35, 5:10] = ED
            case = {"case_id": case_id, "patient_id": f"patient_{case_id}"}
            paths = {name: str(folder / f"{case_id}_{name}.nii.gz") for name in ("flair", "label", "prediction")}
            for name, data in (("flair", image), ("label", truth), ("prediction", prediction)):
                write_volume(paths[name], Volume(data, np.diag([-1.0, -1.0, 1.0, 1.0])))
            hashes = {name: sha256_file(path) for name, path in paths.items()}
            manifest.append(
                {
                    **case,
                    "flair": paths["flair"],
                    "label": paths["label"],
                    "flair_sha256": hashes["flair"],
                    "label_sha256": hashes["label"],
                }
            )
            predictions.append({**case, "prediction": paths["prediction"], "sha256": hashes["prediction"]})
            scores.append(
                {"patient_id": case["patient_id"], "label": "WT", "hausdorff": float(offset), "dice": 0.5, "case_id": case_id}
            )
        extremes = pd.DataFrame(
            {
                "group": ["worst", "best"],
                "rank": [1, 1],
                "case_id": ["bad", "good"],
                "metric": "hausdorff",
                "value": [12.0, 1.0],
            }
        )
        tables = {"extremes": extremes, "manifest": manifest, "predictions": predictions, "scores": scores}
        for name, rows in tables.items():
            write_table(folder / f"{name}.csv", pd.DataFrame(rows))

    def run(self, threads: int = 1, output: str = "overlays.csv") -> tuple[str, pd.DataFrame]:
        job = SimpleNamespace(
            input=SimpleNamespace(
                **{name: str(self.folder / f"{name}.csv") for name in ("extremes", "manifest", "predictions", "scores")}
            ),
            output=SimpleNamespace(table=str(self.folder / output), witnesses=str(self.folder / "witnesses.csv")),
            params=SimpleNamespace(
                image="flair",
                region="WT",
                rank_by="hausdorff",
                regions=["ET", "WT"],
                trained_regions=None,
                truth_regions=None,
                convention="glioflow",
            ),
            threads=threads,
        )
        return draw_extremes.main(job, Console()), read_table(self.folder / output)

    def picture(self, name: str) -> NDArray[Any]:
        with Image.open(self.folder / name) as picture:
            return np.asarray(picture.convert("RGB")).astype(int)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def pixels_of(picture: NDArray[Any], colour: str) -> int:
    """Return how many pixels of the image proper, below the heading and above the legend, have exactly this colour."""
    inside = picture[90:470]
    return int((inside == np.round(np.multiply(to_rgb(colour), 255))).all(axis=2).sum())


def test_every_case_has_a_small_picture_beside_the_table(study: Study) -> None:
    said, table = study.run()
    assert said == "2 pictures"
    assert list(table.columns) == ["group", "rank", "case_id", "picture", "witness_slice", "error_slice", "value"]
    assert list(table["picture"]) == ["overlays/worst_01_bad.png", "overlays/best_01_good.png"]
    assert list(table["error_slice"]) == [9, 9]
    assert list(table["witness_slice"]) == [9, 9]
    assert list(table["value"]) == [12.0, 1.0]
    for name in table["picture"]:
        assert study.picture(name).shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert (study.folder / name).stat().st_size < 160_000


def test_both_outlines_are_drawn_in_their_colours(study: Study) -> None:
    study.run()
    picture = study.picture("overlays/worst_01_bad.png")
    assert pixels_of(picture, TRUTH_COLOUR) > 100
    assert pixels_of(picture, PREDICTION_COLOUR) > 50


def test_the_table_of_witnesses_has_the_scored_distance_of_every_region(study: Study) -> None:
    study.run()
    table = read_table(study.folder / "witnesses.csv")
    assert list(table.columns) == ["group", "rank", "case_id", *COLUMNS]
    assert table[["group", "case_id", "label"]].to_numpy().tolist() == [
        ["worst", "bad", "WT"],
        ["worst", "bad", "ET"],
        ["best", "good", "WT"],
        ["best", "good", "ET"],
    ]
    assert list(table["note"].dropna()) == ["absent in truth and prediction"] * 2
    for row in table[table["label"] == "WT"].to_dict("records"):
        maps = [
            np.asarray(nib.load(study.folder / f"{row['case_id']}_{name}.nii.gz").dataobj) for name in ("label", "prediction")
        ]
        scored = Pair(*maps, (1.0, 1.0, 1.0)).score("WT", conventions()["glioflow"])["hausdorff"]
        assert row["distance"] == pytest.approx(scored, abs=1e-6)
        ends = [np.array([row[f"{side}_{axis}_mm"] for axis in "xyz"]) for side in ("truth", "prediction")]
        assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(scored, abs=1e-6)
        for side, labels in zip(("truth", "prediction"), maps, strict=True):
            assert labels[tuple(int(row[f"{side}_{axis}"]) for axis in "ijk")] == ED


def test_an_empty_prediction_has_no_outline(study: Study) -> None:
    write_volume(
        study.folder / "bad_prediction.nii.gz", Volume(np.zeros((60, 70, 20), np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]))
    )
    study.run()
    picture = study.picture("overlays/worst_01_bad.png")
    assert pixels_of(picture, TRUTH_COLOUR) > 100
    assert pixels_of(picture, PREDICTION_COLOUR) == 0


def test_pictures_are_the_same_bytes_every_time_and_with_more_processes(study: Study) -> None:
    study.run()
    before = {path.name: path.read_bytes() for path in (study.folder / "overlays").iterdir()}
    study.run(threads=2)
    assert {path.name: path.read_bytes() for path in (study.folder / "overlays").iterdir()} == before
    assert len(before) == 2


def test_pictures_of_an_earlier_selection_are_removed(study: Study) -> None:
    (study.folder / "overlays").mkdir()
    (study.folder / "overlays" / "worst_01_former.png").write_bytes(b"")
    study.run()
    assert not (study.folder / "overlays" / "worst_01_former.png").exists()


def test_a_mask_of_another_shape_is_refused(study: Study) -> None:
    write_volume(study.folder / "bad_label.nii.gz", Volume(np.ones((3, 3, 3), np.uint8), RAS))
    with pytest.raises(UserError, match=r"bad: .*bad_label.nii.gz has shape \(3, 3, 3\), but .* has \(60, 70, 20\)"):
        study.run()
