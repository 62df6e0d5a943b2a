"""What a step does to a label map, and which steps a cross-validation keeps."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label as label_components

import choose_postprocessing as script
from glioflow.console import Console, UserError
from glioflow.files import read_json, sha256_file, write_table
from glioflow.imaging.labels import ED, ET, NCR, RC, REGIONS, region_mask
from glioflow.imaging.volumes import Volume, read_labels, write_volume
from glioflow.models.postprocessing import (
    Step,
    apply_step,
    dropped_label,
    find_pieces,
    join_pieces,
    judged_regions,
    mean_dice,
    process_labels,
)
from glioflow.models.predictions import COLUMNS

REGIONS_USED = ["WT", "TC", "ET"]
NOTHING: dict[str, list[Any]] = {"largest_component": [], "min_volume_ml": [], "et_threshold_ml": []}
ML = 0.001  # of a voxel of 1 mm


def line(*labels: int) -> np.ndarray:
    """A volume of one row of voxels."""
    return np.array(labels, np.uint8)[:, np.newaxis, np.newaxis]


def processed(labels: np.ndarray, *steps: Step, voxel_ml: float = ML) -> list[int]:
    return process_labels(labels, voxel_ml, steps).ravel().tolist()


def test_what_is_dropped_gets_the_label_of_the_next_region_that_the_model_predicts():
    assert [dropped_label(region, REGIONS_USED) for region in ("WT", "TC", "ET", "RC")] == [0, ED, NCR, 0]
    assert [dropped_label(region, ["TC", "ET"]) for region in ("TC", "ET")] == [0, NCR]
    assert dropped_label("ET", ["WT", "ET"]) == ED
    assert dropped_label("ET", ["NCR", "ED", "ET"]) == NCR
    assert dropped_label("ET", ["ET"]) == 0


def test_regions_that_follow_from_those_predicted_are_judged_too():
    assert judged_regions(REGIONS_USED) == REGIONS_USED
    assert judged_regions(["NCR", "ED", "ET"]) == ["NCR", "ED", "ET", "WT", "TC"]
    assert judged_regions(["TC", "ET"]) == ["TC", "ET"]
    assert judged_regions(["WT"]) == ["WT"]


def test_only_the_largest_whole_tumour_stays_with_all_that_lies_in_it():
    labels = line(2, 3, 0, 2, 1, 3, 0, 3)
    assert processed(labels, Step("WT", "largest_component", None, 0)) == [0, 0, 0, 2, 1, 3, 0, 0]


def test_of_equally_large_components_the_first_stays():
    assert processed(line(2, 2, 0, 2, 2), Step("WT", "largest_component", None, 0)) == [2, 2, 0, 0, 0]


def test_a_small_core_becomes_oedema_and_takes_its_enhancing_part_along():
    labels = line(2, 3, 2, 2, 1, 3, 2)
    assert processed(labels, Step("TC", "min_volume_ml", 2 * ML, ED)) == [2, 2, 2, 2, 1, 3, 2]


def test_small_enhancing_parts_become_necrotic_core():
    labels = line(3, 1, 3, 3, 2)
    assert processed(labels, Step("ET", "min_volume_ml", 2 * ML, NCR)) == [1, 1, 3, 3, 2]


def test_enhancing_tumour_is_dropped_by_its_total_not_by_its_parts():
    labels = line(3, 1, 3, 1, 3, 2)
    assert processed(labels, Step("ET", "et_threshold_ml", 3 * ML, NCR)) == [3, 1, 3, 1, 3, 2]
    assert processed(labels, Step("ET", "et_threshold_ml", 4 * ML, NCR)) == [1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize("operation", ["min_volume_ml", "et_threshold_ml"])
@pytest.mark.parametrize("voxel_ml", [0.001, 0.001 * (1 - 1e-8), 0.0027])
def test_a_volume_just_at_the_threshold_stays(operation, voxel_ml):
    labels = line(*[3] * 35)  # 35 × 0.001 is 0.035000000000000003
    assert processed(labels, Step("ET", operation, 35 * 0.001 * (voxel_ml / 0.001), NCR), voxel_ml=voxel_ml) == [3] * 35
    assert processed(labels, Step("ET", operation, 0.035, NCR)) == [3] * 35
    assert processed(labels, Step("ET", operation, 36 * voxel_ml, NCR), voxel_ml=voxel_ml) == [1] * 35


def test_a_resection_cavity_is_no_part_of_the_tumour():
    labels = line(2, 4, 2, 2, 4, 4)
    assert processed(labels, Step("WT", "largest_component", None, 0)) == [0, 4, 2, 2, 4, 4]
    assert processed(labels, Step("RC", "min_volume_ml", 2 * ML, 0)) == [2, 0, 2, 2, 4, 4]


@pytest.mark.parametrize("step", [Step("WT", "largest_component", None, 0), Step("ET", "et_threshold_ml", 1.0, NCR)])
@pytest.mark.parametrize("shape", [(3, 3, 3), (4, 4, 1)])
def test_an_empty_mask_stays_empty(step, shape):
    empty = np.zeros(shape, np.uint8)
    assert not process_labels(empty, ML, [step]).any()


def test_components_that_touch_within_a_slice_alone_are_told_apart():
    labels = np.zeros((5, 5, 1), np.uint8)
    labels[0, 0], labels[1, 1], labels[4, 4] = 2, 3, 2
    kept = process_labels(labels, ML, [Step("WT", "largest_component", None, 0)])
    assert (kept[0, 0, 0], kept[1, 1, 0], kept[4, 4, 0]) == (2, 3, 0)


def test_no_step_changes_the_map_it_is_given():
    labels = line(2, 0, 2, 2)
    processed(labels, Step("WT", "largest_component", None, 0))
    assert labels.ravel().tolist() == [2, 0, 2, 2]


label_maps = arrays(np.uint8, (5, 4, 3), elements=st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4]))


@st.composite
def step_lists(draw: st.DrawFn, anyhow: bool) -> list[Step]:
    """Steps in the order in which they are chosen, or anyhow."""
    values = st.sampled_from([2 * ML, 3 * ML, 6 * ML])
    steps = []
    for region, becomes in (("WT", 0), ("TC", ED), ("ET", NCR), ("RC", 0)):
        if draw(st.booleans()):
            steps.append(Step(region, "largest_component", None, becomes))
        if draw(st.booleans()):
            steps.append(Step(region, "min_volume_ml", draw(values), becomes))
    if draw(st.booleans()):
        steps.append(Step("ET", "et_threshold_ml", draw(values), NCR))
    return draw(st.permutations(steps)) if anyhow else steps


def step_by_step(labels: np.ndarray, steps: list[Step]) -> np.ndarray:
    """The same steps, each with the components of what the steps before it left."""
    labels = labels.copy()
    for step in steps:
        mask = region_mask(labels, step.region)
        numbers, found = label_components(mask, np.ones((3, 3, 3)))
        sizes = np.bincount(numbers.ravel(), minlength=found + 1)[1:]
        for index, size in enumerate(sizes):
            small = {
                "largest_component": index != int(np.argmax(sizes)),
                "min_volume_ml": step.value is not None and size * ML < step.value - 1e-9,
                "et_threshold_ml": step.value is not None and mask.sum() * ML < step.value - 1e-9,
            }[step.operation]
            if small:
                labels[numbers == index + 1] = step.becomes
    return labels


@settings(max_examples=150, deadline=None)
@given(label_maps, step_lists(anyhow=True))
def test_pieces_found_once_give_what_searching_after_every_step_gives(labels, steps):
    assert np.array_equal(process_labels(labels, ML, steps), step_by_step(labels, steps))


@settings(max_examples=100, deadline=None)
@given(label_maps, step_lists(anyhow=False))
def test_steps_as_they_are_chosen_do_no_more_when_applied_again(labels, steps):
    once = process_labels(labels, ML, steps)
    assert np.array_equal(process_labels(once, ML, steps), once)


def dice(truth: np.ndarray, prediction: np.ndarray, region: str) -> float:
    a, b = region_mask(truth, region), region_mask(prediction, region)
    return 1.0 if not (a | b).any() else 2 * int((a & b).sum()) / int(a.sum() + b.sum())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(label_maps, label_maps), min_size=1, max_size=3), step_lists(anyhow=False))
def test_the_dice_of_pieces_is_that_of_the_masks(pairs, steps):
    pieces = join_pieces([find_pieces(prediction, ML, truth)[0] for truth, prediction in pairs])
    for step in steps:
        pieces = apply_step(pieces, step)
    for region in REGIONS:
        direct = [dice(truth, process_labels(prediction, ML, steps), region) for truth, prediction in pairs]
        assert mean_dice(pieces, region) == pytest.approx(np.mean(direct), abs=1e-12)


def test_an_absent_region_counts_one_where_none_is_predicted_and_nought_where_some_is():
    absent = find_pieces(line(2, 2), ML, line(2, 2))[0]
    false = find_pieces(line(2, 3), ML, line(2, 2))[0]
    assert mean_dice(absent, "ET") == 1
    assert mean_dice(false, "ET") == 0
    assert mean_dice(join_pieces([absent, false, absent]), "ET") == pytest.approx(2 / 3)


def test_components_of_different_cases_are_not_mixed_up():
    a, b = line(2, 2, 0, 2), line(2, 0, 2, 2)
    joined = join_pieces([find_pieces(labels, ML, labels)[0] for labels in (a, line(0, 0), b)])
    after = apply_step(joined, Step("WT", "largest_component", None, 0))
    assert after.label.tolist() == [2, 0, 0, 2]
    assert after.case.tolist() == [0, 0, 2, 2]


def test_each_case_has_the_volume_of_its_own_voxels():
    fine, coarse = (find_pieces(line(3, 3), voxel_ml, line(3, 3))[0] for voxel_ml in (0.001, 0.008))
    after = apply_step(join_pieces([fine, coarse]), Step("ET", "min_volume_ml", 0.01, NCR))
    assert after.label.tolist() == [NCR, ET]


def choose(pairs, regions=REGIONS_USED, **operations):
    pieces = join_pieces([find_pieces(prediction, ML, truth)[0] for truth, prediction in pairs])
    return script.choose_steps(pieces, regions, {**NOTHING, **operations})


def test_a_step_is_kept_where_its_region_gets_better():
    steps, tried, after = choose([(line(2, 2, 2, 0, 0), line(2, 2, 2, 0, 2))], largest_component=["WT"])
    assert steps == [Step("WT", "largest_component", None, 0)]
    assert tried[0]["dice_before"]["WT"] == pytest.approx(6 / 7)
    assert tried[0]["dice_after"]["WT"] == after["WT"] == 1
    assert tried[0]["kept"]


def test_a_step_that_changes_nothing_is_not_kept():
    steps, tried, _ = choose([(line(2, 2, 0), line(2, 2, 0))], largest_component=["WT"])
    assert steps == []
    assert not tried[0]["kept"]


def test_a_step_that_harms_another_region_is_not_kept():
    # The small false part is oedema, the small true one enhancing: WT gains from dropping both in sum, ET loses.
    truth, prediction = line(2, 2, 2, 2, 0, 3, 0, 0, 0), line(2, 2, 2, 2, 0, 3, 0, 2, 2)
    steps, tried, _ = choose([(truth, prediction)], largest_component=["WT"])
    assert tried[0]["dice_after"]["WT"] > tried[0]["dice_before"]["WT"]
    assert tried[0]["dice_after"]["ET"] < tried[0]["dice_before"]["ET"]
    assert steps == []


def test_the_value_with_the_best_dice_is_kept_and_of_equal_ones_the_smallest():
    truth, prediction = line(2, 2, 2, 2, 0, 0, 0, 0, 0), line(2, 2, 2, 2, 0, 2, 0, 2, 2)
    steps, tried, _ = choose([(truth, prediction)], min_volume_ml=[4 * ML, 5 * ML, 2 * ML, 3 * ML])
    assert [step.value for step in steps] == [3 * ML]  # 2 leaves a false part, 3 and 4 none, 5 nothing
    assert [entry["value"] for entry in tried if entry["region"] == "WT"] == [2 * ML, 3 * ML, 4 * ML, 5 * ML]


def test_false_enhancing_tumour_below_the_threshold_is_worth_dropping_and_a_true_one_above_is_kept():
    absent, present = (line(1, 1, 2, 0), line(1, 3, 2, 0)), (line(3, 3, 3, 2), line(3, 3, 3, 2))
    steps, _, after = choose([absent, present], et_threshold_ml=[ML, 2 * ML, 10 * ML])
    assert steps == [Step("ET", "et_threshold_ml", 2 * ML, NCR)]
    assert after == {"WT": 1, "TC": 1, "ET": 1}


def test_regions_are_tried_from_the_outside_to_the_inside_each_on_what_is_left():
    operations = {"largest_component": ["ET", "WT"], "min_volume_ml": [0.1], "et_threshold_ml": [0.2]}
    tried = [(steps[0].region, steps[0].operation) for steps in script.candidates(["ET", "WT", "TC"], operations)]
    assert tried == [
        *[("WT", "largest_component"), ("WT", "min_volume_ml"), ("TC", "min_volume_ml")],
        *[("ET", "largest_component"), ("ET", "min_volume_ml"), ("ET", "et_threshold_ml")],
    ]
    # What the first step drops need not be dropped again.
    truth, prediction = line(2, 3, 2, 0, 0), line(2, 3, 2, 0, 3)
    steps, _, _ = choose([(truth, prediction)], largest_component=["WT"], min_volume_ml=[2 * ML])
    assert [step.operation for step in steps] == ["largest_component"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(label_maps, label_maps), min_size=1, max_size=3))
def test_choosing_never_lowers_the_dice_of_any_region_and_says_what_the_masks_will_have(pairs):
    operations = {"largest_component": ["WT", "TC", "ET"], "min_volume_ml": [2 * ML, 4 * ML], "et_threshold_ml": [3 * ML]}
    steps, _, after = choose(pairs, **operations)
    for region in REGIONS_USED:
        before = np.mean([dice(truth, prediction, region) for truth, prediction in pairs])
        direct = np.mean([dice(truth, process_labels(prediction, ML, steps), region) for truth, prediction in pairs])
        assert after[region] == pytest.approx(direct, abs=1e-12)
        assert after[region] >= before - 1e-12


class Study:
    """Cases on disk, and the job that chooses on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truths: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []

    def add(self, case: str, truth: np.ndarray, prediction: np.ndarray, tta: bool | None = True) -> None:
        paths = [self.folder / f"{case}_{name}_{tta}.nii.gz" for name in ("truth", "prediction")]
        for path, labels in zip(paths, (truth, prediction), strict=True):
            write_volume(path, Volume(labels, np.eye(4)))
        if case not in [row["case_id"] for row in self.truths]:
            about = {"label": str(paths[0]), "label_sha256": sha256_file(paths[0]), "spacing_mm": "1x1x1"}
            self.truths.append({"case_id": case, "patient_id": case, **about})
        row = {"patient_id": case, "fold": 0, "tta": tta, "prediction": str(paths[1]), "sha256": sha256_file(paths[1])}
        self.rows = [old for old in self.rows if (old["case_id"], old["tta"]) != (case, tta)] + [{"case_id": case, **row}]

    def run(self, threads: int = 1) -> tuple[str, dict[str, Any]]:
        write_table(self.folder / "manifest.csv", pd.DataFrame(self.truths))
        write_table(self.folder / "predictions.csv", pd.DataFrame(self.rows, columns=COLUMNS))
        operations = {**NOTHING, "largest_component": ["WT"], "et_threshold_ml": [2 * ML]}
        job = SimpleNamespace(
            input=SimpleNamespace(manifest=self.folder / "manifest.csv", predictions=self.folder / "predictions.csv"),
            output=[self.folder / "postprocessing.json"],
            params=SimpleNamespace(regions=REGIONS_USED, operations=operations, cache=self.folder / "cache.jsonl"),
            threads=threads,
        )
        said = script.main(job, Console())
        return said, read_json(self.folder / "postprocessing.json")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study(tmp_path)
    study.add("b", line(2, 2, 2, 0, 0), line(2, 2, 2, 0, 2))
    study.add("a", line(1, 1, 2, 0, 0), line(1, 3, 2, 0, 0))
    return study


@pytest.mark.parametrize("threads", [1, 2])
def test_the_choice_is_plain_json_with_everything_that_was_tried(study, threads):
    said, chosen = study.run(threads)
    assert said == "2 steps kept of 2 tried on 2 cases"
    assert chosen["steps"] == [
        {"region": "WT", "operation": "largest_component", "value": None, "becomes": 0},
        {"region": "ET", "operation": "et_threshold_ml", "value": 2 * ML, "becomes": 1},
    ]
    assert chosen["dice"]["before"] == {"WT": (1 + 6 / 7) / 2, "TC": 1, "ET": 0.5}
    assert chosen["dice"]["after"] == {"WT": 1, "TC": 1, "ET": 1}
    assert [entry["kept"] for entry in chosen["tried"]] == [True, True]
    assert (chosen["cases"], chosen["set"]) == (2, "cv")
    assert json.dumps(chosen)


def test_of_masks_with_and_without_mirroring_the_former_are_judged(study):
    study.add("b", line(2, 2, 2, 0, 0), line(2, 2, 2, 0, 0), tta=False)
    _, chosen = study.run()
    assert chosen["cases"] == 2
    assert chosen["dice"]["before"]["WT"] == (1 + 6 / 7) / 2


def test_masks_without_mirroring_are_judged_where_there_are_no_others(tmp_path):
    study = Study(tmp_path)
    study.add("a", line(2, 0, 0), line(2, 0, 2), tta=False)
    assert study.run()[1]["cases"] == 1


def test_a_case_is_read_again_only_where_it_changed(study, monkeypatch):
    before = study.run()[1]
    read = []
    case_pieces = script.case_pieces
    monkeypatch.setattr(script, "case_pieces", lambda case: read.append(case.case_id) or case_pieces(case))
    assert study.run()[1] == before
    assert read == []
    study.add("a", line(1, 1, 2, 0, 0), line(1, 1, 2, 0, 0))
    assert len(study.run()[1]["steps"]) == 1
    assert read == ["a"]
    study.truths[0]["label_sha256"] = "of another truth"
    study.run()
    study.truths[1]["spacing_mm"] = "2x2x2"
    study.run()
    assert read == ["a", study.truths[0]["case_id"], study.truths[1]["case_id"]]


def test_a_case_without_truth_is_named(study):
    study.truths = [row for row in study.truths if row["case_id"] != "a"]
    with pytest.raises(UserError, match=r"a: .*a_prediction_True.nii.gz has no case of this id in the manifest"):
        study.run()


def test_maps_on_different_grids_and_strange_labels_are_named(study):
    study.add("c", line(2, 2), line(2, 2, 2))
    with pytest.raises(UserError, match=r"c: .*c_prediction_True.nii.gz: found shape \(3, 1, 1\); expected \(2, 1, 1\)"):
        study.run()
    study.add("c", line(2, 2), line(2, 7))
    study.truths = [row for row in study.truths if row["case_id"] != "c"]
    study.add("c", line(2, 2), line(2, 7))
    with pytest.raises(
        UserError, match=r"c: .*c_prediction_True.nii.gz: found the values 7; expected canonical labels, 0 to 4"
    ):
        study.run()


def test_a_table_without_cases_is_named(study):
    study.rows = []
    with pytest.raises(UserError, match=r"predictions.csv lists no case"):
        study.run()


def test_real_masks_keep_their_volume_of_cavity_and_lose_small_parts(real_data):
    mask = read_labels(next((real_data / "brats2021").rglob("*seg.nii.gz")))
    labels = mask.data.copy()
    labels[labels == 4] = 3
    assert not labels[:3, :3, :3].any()
    labels[0, 0, 0], labels[1, 1, 1] = RC, 2  # far from the tumour
    kept = process_labels(labels, mask.voxel_ml, [Step("WT", "min_volume_ml", 0.01, 0)])
    assert kept[0, 0, 0] == RC
    assert kept[1, 1, 1] == 0
    numbers, found = label_components(region_mask(labels, "WT"), np.ones((3, 3, 3)))
    sizes = np.bincount(numbers.ravel())
    assert (kept == np.where((numbers > 0) & (sizes[numbers] < 10), 0, labels)).all()
    assert found >= 2
