"""A shard is scored whole or not at all, in order, and nothing unchanged is scored twice."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import score_cases
from glioflow.console import Console, UserError
from glioflow.evaluation import cases, scoring
from glioflow.evaluation.conventions import Convention, conventions
from glioflow.evaluation.lesions import lesion_columns
from glioflow.evaluation.metrics import NOTE_PREDICTION_EMPTY, NOTE_TRUTH_EMPTY, metric_columns
from glioflow.files import read_table, sha256_file, write_table
from glioflow.imaging.labels import ED, ET
from glioflow.imaging.volumes import Volume, write_volume
from glioflow.shards import shard_names, shard_of

AFFINE = np.diag([1.0, 2.0, 2.0, 1.0])
REGIONS = ["WT", "ET"]
CONVENTION = conventions()["glioflow"]


class Shard:
    """A cohort and its predictions in a folder, and the job that scores a shard of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truths: list[dict[str, Any]] = []
        self.predictions: list[dict[str, Any]] = []

    def write(self, name: str, labels: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> str:
        path = self.folder / f"{name}.nii.gz"
        write_volume(path, Volume(labels, affine))
        return str(path)

    def add(self, case_id: str, truth: NDArray[Any], prediction: NDArray[Any], fold: int | None = None, **more: object) -> None:
        label, mask = self.write(f"{case_id}_truth", truth), self.write(f"{case_id}_prediction", prediction)
        patient = {"case_id": case_id, "patient_id": f"patient {case_id}"}
        digest = hashlib.sha256(truth.tobytes()).hexdigest()  # of the voxels, as verify_cohort has it
        self.truths.append({**patient, "label": label, "label_sha256": digest, "spacing_mm": "1x2x2"})
        self.predictions.append({**patient, "fold": fold, "prediction": mask, "sha256": sha256_file(mask), **more})

    def add_second(self, case_id: str, prediction: NDArray[Any], **more: object) -> None:
        """Add a further prediction of a case that is there."""
        (first,) = [row for row in self.predictions if row["case_id"] == case_id]
        mask = self.write(f"{case_id}_prediction_{len(self.predictions)}", prediction)
        self.predictions.append({**first, "prediction": mask, "sha256": sha256_file(mask), **more})

    def run(self, threads: int = 1, **params: Any) -> tuple[str, pd.DataFrame]:
        manifest, predictions, scores = (self.folder / f"{name}.csv" for name in ("manifest", "predictions", "scores"))
        write_table(manifest, pd.DataFrame(self.truths))
        write_table(predictions, pd.DataFrame(self.predictions))
        settings = {
            "regions": REGIONS,
            "trained_regions": None,
            "truth_regions": None,
            "convention": "glioflow",
            "lesionwise": None,
            "reproduce_defects": False,
            "shard": "1-of-1",
            "cache": str(self.folder / "cache.jsonl"),
        }
        scores.unlink(missing_ok=True)
        job = SimpleNamespace(
            input=SimpleNamespace(manifest=str(manifest), predictions=str(predictions)),
            output=[str(scores)],
            params=SimpleNamespace(**{**settings, **params}),
            threads=threads,
        )
        said = score_cases.main(job, Console(self.folder / "log.txt", "score_cases"))
        return said, read_table(scores)

    def error(self, **params: Any) -> list[str]:
        with pytest.raises(UserError) as caught:
            self.run(**params)
        assert not (self.folder / "scores.csv").exists()
        return str(caught.value).split("\n")


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return Shard(tmp_path)


def block(start: int, stop: int, label: int = ED) -> NDArray[np.uint8]:
    labels = np.zeros((8, 4, 4), np.uint8)
    labels[start:stop] = label
    return labels


@pytest.fixture
def count_scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the cases that were really scored, as they are."""
    scored: list[str] = []
    score_case = score_cases.score_case

    def counting(case: score_cases.Case, plan: score_cases.Plan) -> Any:
        scored.append(case.case_id)
        return score_case(case, plan)

    monkeypatch.setattr(score_cases, "score_case", counting)
    return scored


def test_the_manifest_alone_says_who_a_patient_is(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.predictions[0]["patient_id"] = "a"
    assert set(shard.run()[1]["patient_id"]) == {"patient a"}


def test_a_case_has_a_row_per_region_with_the_columns_in_their_order(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    said, table = shard.run()
    assert said == "1 case, 2 rows"
    assert ",".join(table.columns) == (
        "patient_id,label,tta,hausdorff,dice,sens,spec,"
        "case_id,fold,iou,precision,hd95_mm,assd_mm,masd_mm,nsd_1mm,nsd_2mm,"
        "volume_truth_ml,volume_prediction_ml,volume_error_ml,volume_error_relative,components_prediction,note"
    )
    assert list(table["label"]) == REGIONS
    whole = table.iloc[0]
    assert whole["patient_id"] == "patient a"
    assert whole["dice"] == pytest.approx(2 * 32 / (64 + 32))
    assert whole["hausdorff"] == 2  # x = 3 is 2 voxels of 1 mm from x = 1
    assert whole["volume_truth_ml"] == pytest.approx(64 * 4 / 1000)
    assert whole["volume_error_ml"] == pytest.approx(-32 * 4 / 1000)
    assert whole["volume_error_relative"] == -0.5
    assert whole[["iou", "sens", "spec", "precision"]].tolist() == [0.5, 0.5, 1, 1]
    assert pd.isna(whole["note"])


def test_distances_are_in_mm_of_the_truths_spacing(shard: Shard) -> None:
    truth, prediction = np.zeros((2, 4, 4, 4), np.uint8)
    truth[0, 0, 0] = prediction[0, 0, 3] = ED
    shard.add("a", truth, prediction)
    assert shard.run()[1]["hausdorff"][0] == 6


def test_a_missed_region_is_as_far_as_the_image_is_wide(shard: Shard) -> None:
    truth = block(0, 4)
    truth[0, 0, 0] = ET
    shard.add("missed", truth, block(0, 4))
    shard.add("invented", block(0, 4), truth)
    _, table = shard.run()
    enhancing = table[table["label"] == "ET"].set_index("case_id")
    assert enhancing["hausdorff"].tolist() == pytest.approx([math.hypot(8, 8, 8)] * 2)
    assert enhancing["note"].to_dict() == {"missed": NOTE_PREDICTION_EMPTY, "invented": NOTE_TRUTH_EMPTY}


def test_undefined_values_are_empty_cells_and_the_note_says_why(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 4))
    shard.run()
    lines = (shard.folder / "scores.csv").read_text().splitlines()
    assert lines[2] == "patient a,ET,,,,,1.0,a,,,,,,,,,0.0,0.0,0.0,,0,absent in truth and prediction"


@pytest.mark.parametrize(("tta", "written"), [(True, "True"), (False, "False"), (None, "")])
def test_tta_is_told_where_it_is_known(shard: Shard, tta: bool | None, written: str) -> None:
    shard.add("a", block(0, 4), block(0, 2), tta=tta)
    shard.run()
    rows = (shard.folder / "scores.csv").read_text().splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == [written] * 2


def test_an_older_table_of_predictions_does_not_tell(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    assert "tta" not in shard.predictions[0]
    assert shard.run()[1]["tta"].isna().all()


def test_a_case_with_and_without_tta_has_both_scores_augmented_first(shard: Shard, count_scored: list[str]) -> None:
    for case_id in ("b", "a"):
        shard.add(case_id, block(0, 4), block(0, 2), tta=False)
        shard.add_second(case_id, block(0, 4), tta=True)
    said, table = shard.run()
    assert said == "2 cases, 4 predictions, 8 rows"
    assert table[["case_id", "tta", "label"]].to_numpy().tolist() == [
        [case_id, tta, label] for case_id in ("a", "b") for tta in (True, False) for label in REGIONS
    ]
    assert table[table["label"] == "WT"]["dice"].tolist() == pytest.approx([1, 2 / 3] * 2)
    assert shard.run()[0] == "2 cases, 4 predictions, 8 rows, 4 already scored"
    assert len(count_scored) == 4


def test_both_predictions_of_a_case_are_in_one_shard(shard: Shard) -> None:
    for case_id in ("a", "b", "c"):
        shard.add(case_id, block(0, 4), block(0, 2), tta=True)
        shard.add_second(case_id, block(0, 4), tta=False)
    parts = {name: shard.run(shard=name)[1]["case_id"].tolist() for name in shard_names(2)}
    assert sorted(parts["1-of-2"] + parts["2-of-2"]) == [case_id for case_id in "abc" for _ in range(4)]
    assert all(parts[shard_of(case_id, 2)].count(case_id) == 4 for case_id in "abc")


def test_a_region_that_the_model_cannot_show_has_a_truth_and_a_reason(shard: Shard) -> None:
    truth = block(0, 4)
    truth[0] = ET
    shard.add("a", truth, block(0, 4))
    shard.run(trained_regions=["WT"])
    whole, enhancing = (shard.folder / "scores.csv").read_text().splitlines()[1:]
    assert whole.endswith(",1.0,1.0,0.256,0.256,0.0,0.0,1,")
    assert enhancing == "patient a,ET,,,,,,a,,,,,,,,,0.064,,,,,not applicable: the model predicts WT only"


@pytest.mark.parametrize(
    ("trained", "names"), [(["ED"], "ED"), (["ED", "NCR"], "ED and NCR"), (["ED", "NCR", "RC"], "ED, NCR and RC")]
)
def test_the_reason_names_what_the_model_predicts(shard: Shard, trained: list[str], names: str) -> None:
    shard.add("a", block(0, 4), block(0, 4))
    notes = shard.run(trained_regions=trained)[1]["note"].tolist()
    assert notes == [f"not applicable: the model predicts {names} only"] * 2


def test_a_region_that_the_truths_labels_cannot_show_is_no_error_of_the_model(shard: Shard) -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[1:4, 1:4, 1:4] = ED
    predicted = labels.copy()
    predicted[2, 2, 2] = ET
    shard.add("a", labels, predicted)
    table = shard.run(regions=["WT", "TC", "ED"], truth_regions=["WT"])[1].set_index("label")
    assert table["note"].fillna("").to_dict() == {
        "WT": "", **dict.fromkeys(("TC", "ED"), "not applicable: the truth shows WT only")
    }  # fmt: skip
    assert table.loc["WT", "dice"] == 1
    assert table.loc[["TC", "ED"], ["dice", "hausdorff", "volume_truth_ml"]].isna().all(axis=None)


def test_other_trained_regions_are_scored_anew_where_they_show_less(shard: Shard, count_scored: list[str]) -> None:
    shard.add("a", block(0, 4), block(0, 4))
    for trained in (None, ["WT", "ET"], ["WT", "TC", "ET"], ["WT"], ["WT"]):
        shard.run(trained_regions=trained)
    assert len(count_scored) == 2


def with_lesions(**changed: Any) -> Convention:
    """Return a convention that scores lesions of ET."""
    rules = {"dilation": {"ET": 1}, "min_volume_mm3": {"ET": 1}, "hd95_penalty_mm": 99, **changed}
    flaw = {"name": "sensitivity_of_instance_maps", "about": "As in 2024."}
    return Convention.model_validate({**CONVENTION.model_dump(), "name": "mine", "lesions": rules, "defects": [flaw]})


def test_lesions_are_scored_where_they_are_asked_for(
    shard: Shard, count_scored: list[str], put_conventions: Callable[..., None]
) -> None:
    put_conventions(CONVENTION, with_lesions())
    truth = block(0, 1, ET)
    truth[7, 0, 0] = ET
    shard.add("a", truth, block(0, 1, ET))
    before = shard.run()[1]
    _, table = shard.run(lesionwise="mine")
    assert table.columns.tolist() == [*before.columns[:-1], *lesion_columns(CONVENTION), "note"]
    pd.testing.assert_frame_equal(table[before.columns], before)
    lines = (shard.folder / "scores.csv").read_text().splitlines()[1:]
    # WT has no parameters; of the two lesions of ET one was missed.
    found = ["0.5", "49.5", "0.5", "0.5", "0.5", "1.0", str(2 / 3), "2", "1", "0", ""]
    assert [line.split(",")[-11:] for line in lines] == [[""] * 11, found]
    put_conventions(CONVENTION, with_lesions(hd95_penalty_mm=100))
    shard.run(lesionwise="mine")
    assert len(count_scored) == 3


def test_known_defects_have_columns_of_their_own_where_they_are_asked_for(
    shard: Shard, count_scored: list[str], put_conventions: Callable[..., None]
) -> None:
    put_conventions(CONVENTION, with_lesions())
    truth = np.maximum(block(0, 1, ET), block(7, 8, ET))
    shard.add("a", truth, truth)
    shard.run(lesionwise="mine")
    _, table = shard.run(lesionwise="mine", reproduce_defects=True)
    assert len(count_scored) == 2
    assert table.columns.tolist()[-3:] == ["sens_of_instance_maps", "spec_of_instance_maps", "note"]
    # A perfect prediction of two equal lesions.
    assert table.loc[1, ["lesion_sens", "sens_of_instance_maps"]].tolist() == pytest.approx([1, 1 / 3])


def test_folds_are_whole_numbers_or_empty(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2), fold=3)
    shard.add("b", block(0, 4), block(0, 2))
    shard.run()
    rows = (shard.folder / "scores.csv").read_text().splitlines()[1:]
    assert [row.split(",")[8] for row in rows] == ["3", "3", "", ""]


def test_shards_share_the_cases_out_each_sorted_and_miss_none(shard: Shard) -> None:
    ids = ("010", "9", "002", "07", "1")
    for case_id in ids:
        shard.add(case_id, block(0, 4), block(0, 2))
    parts = [shard.run(shard=name)[1]["case_id"].unique().tolist() for name in shard_names(3)]
    assert parts == [sorted(case_id for case_id in ids if shard_of(case_id, 3) == name) for name in shard_names(3)]
    assert sorted(case_id for part in parts for case_id in part) == sorted(ids)


def test_a_shard_without_cases_is_an_empty_table(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    said, table = shard.run(shard="2-of-2")
    assert said == "0 cases, 0 rows"
    assert table.columns.tolist() == scoring.Plan(REGIONS, CONVENTION).columns


def test_the_number_of_threads_does_not_change_the_table(shard: Shard) -> None:
    for number in range(5):
        shard.add(f"c{number}", block(0, 8 - number), block(0, 2))
    texts = []
    for threads in (1, 2):
        shard.run(threads=threads, cache=str(shard.folder / f"cache_{threads}.jsonl"))
        texts.append((shard.folder / "scores.csv").read_text())
    assert texts[0] == texts[1]


def test_an_unchanged_case_is_not_scored_again(shard: Shard, count_scored: list[str]) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.add("b", block(0, 4), block(0, 3))
    _, before = shard.run()
    said, after = shard.run()
    assert count_scored == ["a", "b"]
    assert said == "2 cases, 4 rows, 2 already scored"
    pd.testing.assert_frame_equal(before, after, check_exact=True)


@pytest.mark.parametrize("changed", ["truth", "prediction"])
def test_a_changed_mask_is_scored_again_and_the_others_are_not(shard: Shard, count_scored: list[str], changed: str) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.add("b", block(0, 4), block(0, 3))
    shard.run()
    shard.truths.pop(), shard.predictions.pop()
    shard.add("b", *((block(0, 6), block(0, 3)) if changed == "truth" else (block(0, 4), block(0, 4))))
    said, table = shard.run()
    assert count_scored == ["a", "b", "b"]
    assert said == "2 cases, 4 rows, 1 already scored"
    assert table["dice"][2] == pytest.approx(2 * 3 / 9 if changed == "truth" else 1)


def test_other_regions_or_other_metrics_are_scored_anew(
    shard: Shard, count_scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.run()
    _, table = shard.run(regions=["WT"])
    assert list(table["label"]) == ["WT"]
    monkeypatch.setattr(cases, "module_fingerprint", lambda *modules: "other code")
    shard.run(regions=["WT"])
    assert count_scored == ["a"] * 3


def test_another_convention_gives_other_values_under_the_same_names(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.add("missed", block(0, 4), block(0, 0))
    _, table = shard.run(convention="open_brats2020")
    whole = table[table["label"] == "WT"]
    # From the prediction to the truth only, so that what is missed is at no distance; it has no other distance.
    assert whole["hausdorff"].tolist() == [0, 0]
    assert whole["hd95_mm"].isna().all()
    assert "nsd_1mm" not in table
    assert table[table["label"] == "ET"]["dice"].tolist() == [1, 1]  # absent in both


@pytest.mark.parametrize(
    "changed",
    [
        {"hd95_mm": {"percentile": 90, "directions": "maximum"}},
        {"units": "voxels"},
        {"nsd_tolerances_mm": [1]},
        {"empty": {"both": {"dice": 1}}},
    ],
)
def test_a_convention_with_another_parameter_is_scored_anew_under_the_same_name(
    shard: Shard, count_scored: list[str], changed: dict[str, Any], put_conventions: Callable[..., None]
) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.run()
    put_conventions(Convention.model_validate({**CONVENTION.model_dump(), **changed}))
    for _ in range(2):
        _, table = shard.run()
        assert table.columns.tolist()[3:7] == metric_columns(CONVENTION)[:4]
    assert len(count_scored) == 2


def test_another_description_of_the_same_convention_is_not_scored_anew(
    shard: Shard, count_scored: list[str], put_conventions: Callable[..., None]
) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.run()
    told = {"name": "ours", "about": "The same.", "sources": [], "headline": {"overlap": "iou"}}
    put_conventions(CONVENTION, Convention.model_validate({**CONVENTION.model_dump(), **told}))
    shard.run(convention="ours")
    assert len(count_scored) == 1


def test_a_missing_prediction_is_scored_as_empty_and_the_note_says_so_first(shard: Shard, count_scored: list[str]) -> None:
    shard.add("a", block(0, 4), block(0, 0), missing=True)
    shard.add("b", block(0, 4), block(0, 0), missing=False)
    shard.run()
    _, table = shard.run()
    assert len(count_scored) == 2
    assert table["note"].tolist() == [
        "prediction missing: counted as empty; penalty: absent in prediction",
        "prediction missing: counted as empty; absent in truth and prediction",
        "penalty: absent in prediction",
        "absent in truth and prediction",
    ]
    assert table["dice"][0] == 0
    assert table["hausdorff"][0] == pytest.approx(math.hypot(8, 8, 8))
    shard.run(trained_regions=["WT"])
    assert read_table(shard.folder / "scores.csv")["note"][1] == "not applicable: the model predicts WT only"


def test_another_spacing_under_the_same_voxels_is_scored_anew(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    _, before = shard.run()
    wider = np.diag([3.0, 2.0, 2.0, 1.0])
    for row, name, labels in ((shard.truths[0], "label", block(0, 4)), (shard.predictions[0], "prediction", block(0, 2))):
        row[name] = shard.write(f"wider_{name}", labels, wider)
    shard.truths[0]["spacing_mm"] = "3x2x2"
    _, after = shard.run()
    assert [before["hausdorff"][0], after["hausdorff"][0]] == [2, 6]


def test_the_fold_comes_from_the_table_and_not_from_the_cache(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2), fold=0, tta=True)
    shard.run()
    shard.predictions[0]["fold"] = 4
    said, table = shard.run()
    assert said.endswith("already scored")
    assert table["fold"].tolist() == [4, 4]


@pytest.mark.filterwarnings("error")
def test_all_bad_cases_are_named_at_once_with_what_was_found_and_what_is_right(shard: Shard) -> None:
    shard.add("good", block(0, 4), block(0, 2))
    shard.add("shape", block(0, 4), block(0, 4)[:, :3])
    shard.add("shifted", block(0, 4), block(0, 4))
    shard.predictions[-1]["prediction"] = shard.write("elsewhere", block(0, 4), AFFINE + np.eye(4, k=3) * 5)
    shard.add("seven", block(0, 4), block(0, 4, label=7))
    shard.add("half", block(0, 4), block(0, 4) * np.float32(1.25))
    shard.add("undefined", block(0, 4), np.where(block(0, 4), np.float32(np.nan), 0))
    shard.add("gone", block(0, 4), block(0, 4))
    Path(shard.predictions[-1]["prediction"]).unlink()
    shard.add("torn", block(0, 4), block(0, 4))
    torn = Path(shard.predictions[-1]["prediction"])
    torn.write_bytes(torn.read_bytes()[:60])
    shard.add("stranger", block(0, 4), block(0, 4))
    shard.truths.pop()
    shard.add("unlabelled", block(0, 4), block(0, 4))
    shard.truths[-1]["label"] = None
    shard.add("unhashed", block(0, 4), block(0, 4))
    shard.predictions[-1]["sha256"] = None
    shard.add("twice", block(0, 4), block(0, 4))
    shard.predictions.append(shard.predictions[-1])

    head, *lines = shard.error()
    path = {row["case_id"]: row["prediction"] for row in shard.predictions}
    assert head == "these cases cannot be scored:"
    assert [line.split(":")[0].strip() for line in lines] == sorted(set(path) - {"good"})
    by_case = {line.split(":")[0].strip(): line for line in lines}
    assert by_case["shape"].endswith(f"{path['shape']}: found shape (8, 3, 4); expected (8, 4, 4) as the truth")
    assert f"{path['shifted']}: found an affine that puts a corner 5 mm from the truth's" in by_case["shifted"]
    assert by_case["seven"].endswith(f"{path['seven']}: found the values 7; expected canonical labels, 0 to 4")
    assert f"{path['half']}: holds values that are not whole numbers" in by_case["half"]
    assert f"{path['undefined']}: holds values that are not whole numbers" in by_case["undefined"]
    assert f"{path['gone']}: no such file" in by_case["gone"]
    assert f"{path['torn']}: cannot be read" in by_case["torn"]
    assert "no case of this id in the manifest" in by_case["stranger"]
    assert "without a label map in the manifest" in by_case["unlabelled"]
    assert "both hashes are needed" in by_case["unhashed"]
    assert "has 2 rows in the table of predictions; one, or one with and one without test-time" in by_case["twice"]


def test_a_bad_truth_is_named_as_well(shard: Shard) -> None:
    shard.add("a", block(0, 4, label=9), block(0, 4, label=6))
    _, *lines = shard.error()
    assert [shard.truths[0]["label"] in line for line in lines] == [False, True]
    assert ["values 6" in lines[0], "values 9" in lines[1]] == [True, True]


def test_bad_cases_of_another_shard_are_left_to_it(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.add("d", block(0, 4), block(0, 4, label=7))
    assert (shard_of("a", 2), shard_of("d", 2)) == ("1-of-2", "2-of-2")
    assert shard.run(shard="1-of-2")[0] == "1 case, 2 rows"
    assert len(shard.error(shard="2-of-2")) == 2


def test_a_case_that_another_shard_scored_is_not_scored_again(shard: Shard, count_scored: list[str]) -> None:
    for case_id in "abcd":
        shard.add(case_id, block(0, 4), block(0, 2))
    folder = shard.folder / "cache"
    whole = shard.run(cache=str(folder / "0.jsonl"))[1]  # as caches were called before shards were divided by the ids
    parts = [shard.run(shard=name, cache=str(folder / f"{name}.jsonl"))[1] for name in shard_names(2)]
    assert sorted(count_scored) == list("abcd")
    pd.testing.assert_frame_equal(pd.concat(parts).sort_values("case_id", kind="stable", ignore_index=True), whole)


def test_what_was_scored_before_a_bad_case_stopped_the_shard_is_kept(shard: Shard, count_scored: list[str]) -> None:
    shard.add("a", block(0, 4), block(0, 4, label=7))
    shard.add("b", block(0, 4), block(0, 2))
    shard.error()
    shard.truths.pop(0), shard.predictions.pop(0)
    shard.add("a", block(0, 4), block(0, 4))
    shard.run()
    assert sorted(count_scored) == ["a", "a", "b"]


def test_rounding_in_the_header_is_not_another_place(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 2))
    shard.predictions[0]["prediction"] = shard.write("rounded", block(0, 2), AFFINE + np.eye(4, k=3) * 1e-3)
    assert shard.run()[0] == "1 case, 2 rows"


def test_labels_stored_as_floats_are_read_as_labels(shard: Shard) -> None:
    shard.add("a", block(0, 4), block(0, 4).astype(np.float64))
    assert nib.load(shard.predictions[0]["prediction"]).get_data_dtype() == np.float64  # type: ignore[attr-defined]
    assert shard.run()[1]["dice"][0] == 1
