"""Shards join to one table, and its summary says what the statistics are over."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import summarise_scores
from glioflow.console import Console
from glioflow.files import read_table, write_table
from glioflow.metrics import NOTE_BOTH_EMPTY, NOTE_PREDICTION_EMPTY, NOTE_TRUTH_EMPTY
from score_cases import COLUMNS


def rows(*given: Mapping[str, object]) -> pd.DataFrame:
    return pd.DataFrame([{"patient_id": "p", "label": "WT", **row} for row in given], columns=list(COLUMNS))


def run(
    folder: Path, *shards: pd.DataFrame, manifest: str = "case_id,patient_id,label\n"
) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    paths = [str(folder / f"shard_{number}.csv") for number in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        write_table(path, shard)
    (folder / "manifest.csv").write_text(manifest)
    given = SimpleNamespace(shards=paths, manifest=str(folder / "manifest.csv"))
    output = SimpleNamespace(scores=str(folder / "cv.csv"), summary=str(folder / "cv_summary.csv"))
    said = summarise_scores.main(SimpleNamespace(input=given, output=output), Console())
    return said, read_table(output.scores), read_table(output.summary)


def line(summary: pd.DataFrame, label: str, metric: str) -> dict[str, float]:
    (only,) = summary[(summary["label"] == label) & (summary["metric"] == metric)].to_dict("records")
    return {str(key): value for key, value in only.items()}


def test_shards_join_sorted_by_case_with_the_regions_in_their_order(tmp_path: Path) -> None:
    cases, regions = ["002", "010", *(f"1{number:02}" for number in range(40)), "9"], ["WT", "TC", "ET"]
    shards = [rows(*({"case_id": case, "label": label} for case in cases[i::2] for label in regions)) for i in (1, 0)]
    said, scores, _ = run(tmp_path, *shards)
    assert said == "43 cases, 129 rows"
    assert tuple(scores.columns) == COLUMNS
    assert scores["case_id"].tolist() == [case for case in cases for _ in regions]
    assert scores["label"].tolist() == regions * 43


def test_the_joined_table_has_the_shards_own_lines(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((40, 3))
    numbers = [
        {"case_id": f"{i:03}", "dice": d, "hausdorff": h, "iou": u, "tta": False, "fold": i % 5}
        for i, (d, h, u) in enumerate(noise)
    ]
    bare = [{"case_id": "040", "tta": False, "note": NOTE_BOTH_EMPTY}, {"case_id": "041", "tta": False, "dice": 0.0, "fold": 1}]
    shards = [rows(*numbers[:20]), rows(*numbers[20:]), rows(*bare).astype({"fold": "Int64"}), rows()]
    run(tmp_path, *shards)
    written = [(tmp_path / f"shard_{number}.csv").read_text().splitlines()[1:] for number in range(4)]
    assert (tmp_path / "cv.csv").read_text().splitlines()[1:] == [text for shard in written for text in shard]


def test_statistics_worked_out_by_hand(tmp_path: Path) -> None:
    dice = (0.1, 0.2, 0.4, 0.9)
    _, _, summary = run(tmp_path, rows(*({"case_id": str(i), "dice": d} for i, d in enumerate(dice))))
    found = line(summary, "WT", "dice")
    assert (found["n"], found["undefined"], found["penalised"]) == (4, 0, 0)
    assert (found["min"], found["max"]) == (0.1, 0.9)
    assert found["mean"] == pytest.approx(0.4)
    assert found["sd"] == pytest.approx(((0.09 + 0.04 + 0 + 0.25) / 3) ** 0.5)
    assert found["median"] == pytest.approx(0.3)
    assert found["q25"] == pytest.approx(0.175)
    assert found["q75"] == pytest.approx(0.525)


def test_undefined_values_are_counted_and_left_out(tmp_path: Path) -> None:
    shard = rows(
        {"case_id": "a", "dice": 0.5, "note": ""},
        {"case_id": "b", "note": NOTE_BOTH_EMPTY},
        {"case_id": "c", "dice": 0.7, "note": ""},
    )
    found = line(run(tmp_path, shard)[2], "WT", "dice")
    assert (found["n"], found["undefined"], found["penalised"]) == (2, 1, 0)
    assert found["mean"] == pytest.approx(0.6)


def test_penalties_are_in_the_statistics_and_counted(tmp_path: Path) -> None:
    shard = rows(
        {"case_id": "a", "hausdorff": 3.0, "note": ""},
        {"case_id": "b", "hausdorff": 373.0, "note": NOTE_TRUTH_EMPTY},
        {"case_id": "c", "hausdorff": 373.0, "note": NOTE_PREDICTION_EMPTY},
        {"case_id": "d", "note": NOTE_BOTH_EMPTY},
        {"case_id": "d", "label": "TC", "hausdorff": 1.0},
    )
    summary = run(tmp_path, shard)[2]
    found = line(summary, "WT", "hausdorff")
    assert (found["n"], found["undefined"], found["penalised"], found["median"]) == (3, 1, 2, 373)
    assert line(summary, "TC", "hausdorff")["penalised"] == 0


def test_one_case_has_no_standard_deviation(tmp_path: Path) -> None:
    found = line(run(tmp_path, rows({"case_id": "a", "dice": 0.5}))[2], "WT", "dice")
    assert found["mean"] == 0.5
    assert np.isnan(found["sd"])


def test_a_metric_that_is_never_defined_has_counts_and_empty_statistics(tmp_path: Path) -> None:
    run(tmp_path, rows({"case_id": "a", "label": "ET", "note": NOTE_BOTH_EMPTY}))
    assert "ET,dice,0,,,,,,,,1,0" in (tmp_path / "cv_summary.csv").read_text().splitlines()


def test_the_summary_has_every_metric_of_every_region_in_order(tmp_path: Path) -> None:
    _, _, summary = run(tmp_path, rows({"case_id": "a", "label": "WT"}, {"case_id": "a", "label": "ET"}))
    assert tuple(summary.columns) == summarise_scores.SUMMARY_COLUMNS
    assert summary["label"].tolist() == ["WT"] * 10 + ["ET"] * 10
    assert summary["metric"].tolist() == list(summarise_scores.METRICS) * 2


def test_every_number_of_the_score_table_is_summarised() -> None:
    names = {"patient_id", "label", "tta", "case_id", "fold", "note"}
    assert set(summarise_scores.METRICS) == set(COLUMNS) - names


def test_no_scores_at_all_is_an_empty_summary(tmp_path: Path) -> None:
    said, scores, summary = run(tmp_path, rows(), rows())
    assert said == "0 cases, 0 rows"
    assert len(scores) == len(summary) == 0
    assert tuple(scores.columns) == COLUMNS


MANIFEST = """case_id,patient_id,label,volume_WT_ml,sex,site,age_years,fold_of_origin
b,p,b_seg.nii.gz,3.5,F,01,61.50,1
a,q,a_seg.nii.gz,4.5,,02,NA,
c,q,c_seg.nii.gz,5.5,M,03,70,2
"""


def test_the_covariates_of_a_case_stand_behind_its_scores_as_the_manifest_has_them(tmp_path: Path) -> None:
    cases = rows(*({"case_id": case, "label": label, "dice": 0.5} for case in "ab" for label in ("WT", "TC")))
    run(tmp_path, cases, manifest=MANIFEST)
    header, *lines = (tmp_path / "cv.csv").read_text().splitlines()
    assert header == ",".join([*COLUMNS, "sex", "site", "age_years", "fold_of_origin"])
    assert header.startswith("patient_id,label,tta,hausdorff,dice,sens,spec,")
    assert [line.split(",")[len(COLUMNS) :] for line in lines] == [["", "02", "NA", ""]] * 2 + [["F", "01", "61.50", "1"]] * 2


def test_covariates_change_no_score_and_no_statistic(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random(3)
    shard = rows(*({"case_id": case, "dice": dice, "fold": 1} for case, dice in zip("abc", noise, strict=True)))
    texts = []
    for name, manifest in (("without", "case_id,patient_id,label\n"), ("with", MANIFEST)):
        (tmp_path / name).mkdir()
        run(tmp_path / name, shard, manifest=manifest)
        lines = (tmp_path / name / "cv.csv").read_text().splitlines()
        texts.append(([line.split(",")[: len(COLUMNS)] for line in lines], (tmp_path / name / "cv_summary.csv").read_text()))
    assert texts[0] == texts[1]
