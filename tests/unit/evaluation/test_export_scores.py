"""Both files are what the other tools' own code reads and computes."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import save
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder, load_summary_json
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from numpy.typing import NDArray
from scipy.spatial.distance import directed_hausdorff

import export_scores
from glioflow.console import Console, UserError
from glioflow.files import read_json, sha256_file, write_table
from glioflow.imaging.labels import ED, ET, NCR, REGIONS

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
NNUNET = ("Dice", "IoU", "FP", "TP", "FN", "TN", "n_pred", "n_ref")


class Set:
    """The masks of a set in two folders, and the job that exports its scores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truths: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []
        self.arrays: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}

    def add(self, case: str, truth: NDArray[np.uint8], prediction: NDArray[np.uint8], **more: object) -> None:
        tta, self.arrays[case] = more.get("tta"), (prediction, truth)
        label = str(save(self.folder / "truth" / f"{case}.nii.gz", truth, AFFINE))
        mask = str(save(self.folder / ("predictions" if tta is not False else "plain") / f"{case}.nii.gz", prediction, AFFINE))
        ids = {"case_id": case, "patient_id": case.partition("-")[0]}
        if case not in [row["case_id"] for row in self.truths]:
            self.truths.append({**ids, "label": label, "label_sha256": sha256_file(label), "spacing_mm": "1x1x3"})
        self.predictions.append({**ids, "fold": None, "prediction": mask, "sha256": sha256_file(mask), **more})

    def run(self, regions: tuple[str, ...] = ("WT", "TC", "ET"), trained: list[str] | None = None) -> str:
        write_table(self.folder / "manifest.csv", pd.DataFrame(self.truths))
        write_table(self.folder / "predictions.csv", pd.DataFrame(self.predictions))
        job = SimpleNamespace(
            input=SimpleNamespace(manifest=self.folder / "manifest.csv", predictions=self.folder / "predictions.csv"),
            output=SimpleNamespace(table=self.table_file, summary=self.summary_file),
            params=SimpleNamespace(
                regions=list(regions),
                trained_regions=trained,
                truth_regions=None,
                convention="open_brats2020",
                cache=self.folder / "cache.jsonl",
            ),
            threads=1,
        )
        return export_scores.main(job, Console())

    @property
    def table_file(self) -> Path:
        return self.folder / "export/patients_indiv_perf.csv"

    @property
    def summary_file(self) -> Path:
        return self.folder / "export/summary.json"


@pytest.fixture
def masks(tmp_path: Path) -> Set:
    return Set(tmp_path)


def labels(seed: int, absent: tuple[int, ...] = ()) -> NDArray[np.uint8]:
    """Return labels 0 to 3 at random, most of them 0, without the ``absent`` ones."""
    drawn = np.random.default_rng(seed).choice(4, size=(6, 5, 4), p=(0.7, 0.1, 0.1, 0.1)).astype(np.uint8)
    return np.where(np.isin(drawn, absent), 0, drawn).astype(np.uint8)


def add_cases(masks: Set) -> None:
    masks.add("a-1", labels(0), labels(1))
    masks.add("a-2", labels(2, absent=(ET,)), labels(3, absent=(ET,)))
    masks.add("b-1", labels(4, absent=(ET,)), labels(5))
    masks.add("c-1", labels(6), labels(7, absent=(NCR, ED, ET)))


def their_metrics(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> list[float]:
    """Return haussdorf, dice, sens and spec as open_brats2020's definitions have them, in a few lines of numpy."""
    tp, fp, fn, tn = (
        int((p & t).sum()) for p, t in ((prediction, truth), (prediction, ~truth), (~prediction, truth), (~prediction, ~truth))
    )
    if not truth.any():
        return [math.nan, float(not prediction.any()), math.nan, tn / (tn + fp)]
    distance = directed_hausdorff(np.argwhere(prediction), np.argwhere(truth))[0]
    return [distance, 2 * tp / (2 * tp + fp + fn), tp / (tp + fn), tn / (tn + fp)]


def test_the_table_has_the_columns_rows_and_values_of_open_brats2020(masks: Set) -> None:
    add_cases(masks)
    assert masks.run() == "4 cases"
    assert masks.table_file.read_text().splitlines()[0] == "patient_id,label,tta,haussdorf,dice,sens,spec"
    table = pd.read_csv(masks.table_file)
    assert table[["patient_id", "label"]].to_numpy().tolist() == [
        [case, region] for case in ("a-1", "a-2", "b-1", "c-1") for region in ("ET", "TC", "WT")
    ]
    for row in table.to_dict("records"):
        maps = (np.isin(labels, REGIONS[row["label"]]) for labels in masks.arrays[row["patient_id"]])
        found = [row[name] for name in ("haussdorf", "dice", "sens", "spec")]
        assert found == pytest.approx(their_metrics(*maps), nan_ok=True), row


def test_a_prediction_that_finds_nothing_is_at_no_distance(masks: Set) -> None:
    add_cases(masks)
    masks.run()
    table = pd.read_csv(masks.table_file).set_index(["patient_id", "label"])
    assert table.loc[("c-1", "WT"), ["haussdorf", "dice", "sens", "spec"]].tolist() == [0, 0, 0, 1]
    assert table.loc[("a-2", "ET"), "dice"] == 1
    assert table.loc[("b-1", "ET"), "dice"] == 0
    assert masks.table_file.read_text().splitlines()[4] == "a-2,ET,,,1.0,,1.0"


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_the_summary_is_what_nnunet_computes_of_the_same_masks(masks: Set) -> None:
    add_cases(masks)
    masks.run()
    regions = [REGIONS[name] for name in ("WT", "TC", "ET")]
    folders = (str(masks.folder / "truth"), str(masks.folder / "predictions"))
    theirs_file = str(masks.folder / "theirs.json")
    compute_metrics_on_folder(*folders, theirs_file, NibabelIO(), ".nii.gz", regions, num_processes=1)
    ours, theirs = load_summary_json(str(masks.summary_file)), load_summary_json(theirs_file)
    assert ours["foreground_mean"] == pytest.approx(theirs["foreground_mean"], nan_ok=True)
    assert list(ours["mean"]) == regions
    for region in regions:
        assert set(ours["mean"][region]) == set(NNUNET)
        assert ours["mean"][region] == pytest.approx(theirs["mean"][region], nan_ok=True)
    for mine, other in zip(ours["metric_per_case"], theirs["metric_per_case"], strict=True):
        assert [mine["reference_file"], mine["prediction_file"]] == [other["reference_file"], other["prediction_file"]]
        for region in regions:
            assert mine["metrics"][region] == pytest.approx(other["metrics"][region], nan_ok=True, abs=0)
    # The case without ET in both is left out of its mean, and nothing counts it as 1 or 0.
    assert math.isnan(ours["metric_per_case"][1]["metrics"][(ET,)]["Dice"])
    assert not math.isnan(ours["mean"][(ET,)]["Dice"])


def test_a_region_that_no_case_has_makes_the_mean_over_regions_undefined_as_in_nnunet(masks: Set) -> None:
    masks.add("a", labels(2, absent=(ET,)), labels(3, absent=(ET,)))
    masks.run()
    summary = read_json(masks.summary_file)
    assert math.isnan(summary["mean"]["(3,)"]["Dice"])
    assert math.isnan(summary["foreground_mean"]["Dice"])
    assert summary["foreground_mean"]["TP"] > 0


def test_both_ways_of_predicting_are_in_the_table_and_the_augmented_one_in_the_summary(masks: Set) -> None:
    masks.add("a", labels(0), labels(1), tta=False)
    masks.add("a", labels(0), labels(0), tta=True)
    assert masks.run() == "1 case"
    assert pd.read_csv(masks.table_file)["tta"].tolist() == [True] * 3 + [False] * 3
    (entry,) = read_json(masks.summary_file)["metric_per_case"]
    assert entry["metrics"]["(1, 2, 3)"]["Dice"] == 1


def test_regions_that_the_model_cannot_show_or_the_study_does_not_score_are_left_out(masks: Set) -> None:
    masks.add("a", labels(0), labels(1))
    masks.run(regions=("ED", "WT", "ET"), trained=["WT", "ED"])
    assert pd.read_csv(masks.table_file)["label"].tolist() == ["WT"]
    assert list(read_json(masks.summary_file)["mean"]) == ["(2,)", "(1, 2, 3)"]


def test_what_was_read_is_not_read_again_and_both_files_are_the_same(masks: Set) -> None:
    add_cases(masks)
    masks.run()
    before = masks.table_file.read_text(), masks.summary_file.read_text()
    assert masks.run() == "4 cases, 4 already read"
    assert (masks.table_file.read_text(), masks.summary_file.read_text()) == before
    assert masks.run(regions=("WT",)) == "4 cases"


def test_masks_that_cannot_be_read_are_all_named(masks: Set) -> None:
    masks.add("a", labels(0), labels(1)[:5])
    masks.add("b", labels(0), labels(1))
    Path(masks.predictions[-1]["prediction"]).unlink()
    with pytest.raises(UserError) as caught:
        masks.run()
    assert "a: " in str(caught.value) and "found shape (5, 5, 4); expected (6, 5, 4)" in str(caught.value)
    assert "b: " in str(caught.value) and "no such file" in str(caught.value)
    assert not masks.table_file.exists()
