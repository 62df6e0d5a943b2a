"""Shards join to one table, and its summary says what the statistics are over."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import summarise_scores
from glioflow.console import Console, UserError
from glioflow.evaluation.bootstrap import intervals
from glioflow.evaluation.conventions import conventions
from glioflow.evaluation.lesions import lesion_columns
from glioflow.evaluation.metrics import NOT_APPLICABLE, NOTE_BOTH_EMPTY, NOTE_PREDICTION_EMPTY, NOTE_TRUTH_EMPTY, metric_columns
from glioflow.evaluation.score_tables import PREDICTION_MISSING
from glioflow.evaluation.scoring import Plan
from glioflow.files import read_table, write_table

CONVENTION = conventions()["glioflow"]
COLUMNS = tuple(Plan(["WT"], CONVENTION).columns)
METRICS = metric_columns(CONVENTION)
LESION_COLUMNS = lesion_columns(CONVENTION)


def rows(*given: Mapping[str, object]) -> pd.DataFrame:
    return pd.DataFrame([{"patient_id": "p", "label": "WT", **row} for row in given], columns=list(COLUMNS))


def run(
    folder: Path,
    *shards: pd.DataFrame,
    manifest: str = "case_id,patient_id,label\n",
    group_by: Sequence[str] = (),
    members: Sequence[str] | None = None,
) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    paths = [str(folder / f"shard_{number}.csv") for number in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        write_table(path, shard)
    (folder / "manifest.csv").write_text(manifest)
    cases = sorted({case for shard in shards for case in shard["case_id"]} if members is None else members)
    write_table(folder / "split.csv", pd.DataFrame({"case_id": cases, "set": "external"}, dtype="string"))
    given = SimpleNamespace(shards=paths, manifest=str(folder / "manifest.csv"), split=str(folder / "split.csv"))
    tables = ("summary", "groups", "warnings")
    output = SimpleNamespace(scores=str(folder / "cv.csv"), **{name: str(folder / f"cv_{name}.csv") for name in tables})
    params = SimpleNamespace(set="given", group_by=list(group_by), truth_scheme="brats2024", prediction_scheme="brats2023")
    said = summarise_scores.main(SimpleNamespace(input=given, output=output, params=params), Console())
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


def test_a_set_whose_shards_lack_a_case_or_hold_one_twice_is_refused(tmp_path: Path) -> None:
    one, two = rows({"case_id": "a", "tta": True}, {"case_id": "a", "tta": False}), rows({"case_id": "b"})
    assert run(tmp_path, one, two, members=["a", "b"])[0] == "2 cases, 3 rows"
    with pytest.raises(UserError, match=r"exactly once \(missing: c\); delete this folder and run again"):
        run(tmp_path, one, two, members=["a", "b", "c"])
    with pytest.raises(UserError, match=r"\(there twice: b\)"):
        run(tmp_path, one, two, two, members=["a", "b"])
    with pytest.raises(UserError, match=r"\(of no case of the set: b\)"):
        run(tmp_path, one, two, members=["a"])


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


def ends(found: Mapping[str, float], statistic: str) -> tuple[float, float]:
    return found[f"{statistic}_ci_low"], found[f"{statistic}_ci_high"]


def test_intervals_of_two_patients_reach_from_one_to_the_other(tmp_path: Path) -> None:
    # Three cases of one patient: his mean is 0.4, his median 0.2. Resamples hold one of the two patients twice, or both once.
    dice = (("p", 0.1), ("p", 0.2), ("p", 0.9), ("q", 0.95))
    shard = rows(*({"case_id": str(i), "patient_id": patient, "dice": d, "fold": i} for i, (patient, d) in enumerate(dice)))
    found = line(run(tmp_path, shard)[2], "WT", "dice")
    assert ends(found, "mean") == pytest.approx((0.4, 0.95))
    assert ends(found, "median") == pytest.approx((0.2, 0.95))


def test_intervals_are_those_of_the_defined_cases_resampled_by_patient(tmp_path: Path) -> None:
    dice = np.random.default_rng(1).beta(8, 2, 24)
    cases = [{"case_id": f"{i:02}", "patient_id": f"p{i // 2}", "dice": d} for i, d in enumerate(dice)]
    empty = [{"case_id": f"{i}", "patient_id": f"p{i}", "note": NOTE_BOTH_EMPTY} for i in range(90, 95)]
    found = line(run(tmp_path, rows(*cases, *empty))[2], "WT", "dice")
    alone = intervals(dice[:, None], [case["patient_id"] for case in cases])
    assert ends(found, "mean") == (alone.mean_ci_low[0], alone.mean_ci_high[0])
    assert ends(found, "median") == (alone.median_ci_low[0], alone.median_ci_high[0])
    apart = intervals(dice[:, None], [case["case_id"] for case in cases])
    assert ends(found, "mean") != (apart.mean_ci_low[0], apart.mean_ci_high[0])


def test_one_patient_has_no_interval(tmp_path: Path) -> None:
    found = line(run(tmp_path, rows({"case_id": "a", "dice": 0.5}, {"case_id": "b", "dice": 0.7}))[2], "WT", "dice")
    assert np.isnan([*ends(found, "mean"), *ends(found, "median")]).all()


def test_every_group_has_intervals_of_its_own_cases(tmp_path: Path) -> None:
    dice = {"a": 0.1, "b": 0.3, "c": 0.7, "d": 0.5}
    cases = [{"case_id": case, "patient_id": case, "dice": value} for case, value in dice.items()]
    run(tmp_path, rows(*cases), manifest=GRADES, group_by=["site"])
    of_dice = groups(tmp_path).query("metric == 'dice' and value == '01'").to_dict("records")
    assert [ends({str(key): value for key, value in row.items()}, "mean") for row in of_dice] == [pytest.approx((0.1, 0.7))]


def test_500_cases_in_three_regions_with_and_without_tta_are_summarised_in_seconds() -> None:
    rng = np.random.default_rng(0)
    names = pd.MultiIndex.from_product([range(500), [True, False], ["WT", "TC", "ET"]], names=["case", "tta", "label"])
    table = pd.DataFrame(rng.random((len(names), len(METRICS))), columns=METRICS).join(names.to_frame(index=False))
    ids = table["case"].astype("string")
    start = time.process_time()
    summary = summarise_scores.summarise(table.assign(case_id=ids, patient_id=ids, fold=None, note="").drop(columns="case"))
    assert time.process_time() - start < 20  # some 2 s where nothing else runs
    assert len(summary) == 6 * len(METRICS)
    assert summary["mean_ci_low"].notna().all()


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
    (found,) = [text for text in (tmp_path / "cv_summary.csv").read_text().splitlines() if text.startswith("ET,,dice,")]
    statistics = len(summarise_scores.SUMMARY_COLUMNS) - len(["label", "tta", "metric", "n", *"1000"])
    assert found == "ET,,dice,0" + "," * statistics + ",1,0,0,0"


def test_the_summary_has_every_metric_of_every_region_in_order(tmp_path: Path) -> None:
    _, _, summary = run(tmp_path, rows({"case_id": "a", "label": "WT"}, {"case_id": "a", "label": "ET"}))
    assert tuple(summary.columns) == summarise_scores.SUMMARY_COLUMNS
    assert summary["label"].tolist() == ["WT"] * len(METRICS) + ["ET"] * len(METRICS)
    assert summary["metric"].tolist() == METRICS * 2


def test_the_summary_has_what_another_convention_has(tmp_path: Path) -> None:
    other = CONVENTION.model_copy(update={"nsd_tolerances_mm": [0.5, 3]})
    summary = run(tmp_path, rows({"case_id": "a"}).reindex(columns=Plan(["WT"], other).columns))[2]
    assert {"nsd_0.5mm", "nsd_3mm"} <= set(summary["metric"])
    assert summary["metric"].tolist() == metric_columns(other)


def test_an_infinite_distance_is_a_value_and_the_worst(tmp_path: Path) -> None:
    cases = [{"case_id": str(number), "hd95_mm": value} for number, value in enumerate((1.0, 2.0, 4.0, np.inf))]
    found = line(run(tmp_path, rows(*cases, {"case_id": "9", "label": "ET", "hd95_mm": np.inf}))[2], "WT", "hd95_mm")
    assert (found["n"], found["median"], found["q25"], found["q75"], found["max"]) == (4, 3, 1.75, np.inf, np.inf)
    assert found["mean"] == np.inf
    assert np.isnan(found["sd"])
    alone = line(read_table(tmp_path / "cv_summary.csv"), "ET", "hd95_mm")
    assert (alone["n"], alone["median"], alone["q25"]) == (1, np.inf, np.inf)


def test_missing_predictions_are_counted_and_penalised(tmp_path: Path) -> None:
    notes = ["", NOTE_PREDICTION_EMPTY, *(f"{PREDICTION_MISSING}; {note}" for note in (NOTE_PREDICTION_EMPTY, NOTE_BOTH_EMPTY))]
    cases = [{"case_id": str(number), "dice": 0.0, "note": note} for number, note in enumerate(notes)]
    found = line(run(tmp_path, rows(*cases))[2], "WT", "dice")
    assert (found["n"], found["penalised"], found["missing"]) == (4, 2, 2)


def test_lesion_wise_scores_are_summarised_where_there_are_any(tmp_path: Path) -> None:
    shard = rows({"case_id": "a"}, {"case_id": "b"}, {"case_id": "b", "label": "RC"})
    lesions = shard.assign(**{key: [1.0, 2.0, np.nan] for key in LESION_COLUMNS})[[*COLUMNS[:-1], *LESION_COLUMNS, "note"]]
    _, scores, summary = run(tmp_path, lesions)
    assert scores.columns.tolist() == lesions.columns.tolist()
    assert summary[summary["label"] == "WT"]["metric"].tolist() == [*METRICS, *LESION_COLUMNS]
    found = line(summary, "WT", "lesion_dice")
    assert (found["n"], found["mean"]) == (2, 1.5)
    assert (tmp_path / "cv.csv").read_text().splitlines()[1].endswith(",1.0,1.0,1.0,1.0,1.0,1.0,1.0,1,1,1,")


def test_with_and_without_tta_are_summarised_apart(tmp_path: Path) -> None:
    dice = {True: (0.8, 0.6), False: (0.5, 0.3)}
    shard = rows(*({"case_id": c, "tta": t, "dice": dice[t][i]} for i, c in enumerate("ab") for t in (False, True)))
    said, scores, summary = run(tmp_path, shard, rows({"case_id": "c", "label": "ET", "tta": False, "dice": 0.1}))
    assert said == "3 cases, 5 rows"
    assert scores["tta"].tolist() == [False, True, False, True, False]
    of_dice = summary[summary["metric"] == "dice"]
    assert of_dice[["label", "tta", "n"]].to_numpy().tolist() == [["WT", True, 2], ["WT", False, 2], ["ET", False, 1]]
    assert of_dice["mean"].tolist() == pytest.approx([0.7, 0.4, 0.1])


def test_what_does_not_apply_is_counted_apart_and_is_not_zero(tmp_path: Path) -> None:
    note = f"{NOT_APPLICABLE}: the model predicts WT only"
    summary = run(
        tmp_path,
        rows(
            {"case_id": "a", "label": "ET", "volume_truth_ml": 3.0, "note": note},
            {"case_id": "b", "label": "ET", "volume_truth_ml": 5.0, "note": note},
        ),
    )[2]
    found = line(summary, "ET", "dice")
    assert (found["n"], found["undefined"], found["not_applicable"]) == (0, 0, 2)
    assert np.isnan(found["mean"])
    volume = line(summary, "ET", "volume_truth_ml")
    assert (volume["n"], volume["not_applicable"], volume["mean"]) == (2, 0, 4)


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


GRADES = """case_id,patient_id,label,grade,site
a,p,x,3,01
b,p,x,2.0,02
c,q,x,10,01
d,q,x,2,
"""


def graded(**dice: float) -> pd.DataFrame:
    return rows(*({"case_id": case, "dice": value} for case, value in dice.items()))


def groups(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "cv_groups.csv", dtype={"value": "string"})


def test_groups_are_summarised_each_for_itself_in_the_order_of_their_values(tmp_path: Path) -> None:
    said, _, _ = run(tmp_path, graded(a=0.1, b=0.3, c=0.7, d=0.5), manifest=GRADES, group_by=["grade", "site"])
    assert said == "4 cases, 4 rows"
    table = groups(tmp_path)
    assert tuple(table.columns) == summarise_scores.GROUP_COLUMNS
    of_dice = table[table["metric"] == "dice"]
    found = [[*row[:2], row[2], pytest.approx(row[3])] for row in of_dice[["covariate", "value", "n", "mean"]].to_numpy()]
    # 2 and 2.0 are one grade; 10 comes behind 3; the case without a site is a group of its own.
    assert found[:3] == [["grade", "2.0", 2, 0.4], ["grade", "3", 1, 0.1], ["grade", "10", 1, 0.7]]
    assert [row[2:] for row in found[3:]] == [[2, 0.4], [1, 0.3], [1, 0.5]]
    assert of_dice["value"].tolist()[3:5] == ["01", "02"]
    assert pd.isna(of_dice["value"].tolist()[5])


def test_without_groups_the_table_has_its_header_alone(tmp_path: Path) -> None:
    run(tmp_path, graded(a=0.5), manifest=GRADES)
    assert (tmp_path / "cv_groups.csv").read_text() == ",".join(summarise_scores.GROUP_COLUMNS) + "\n"


def test_a_covariate_that_the_cohort_lacks_is_named_and_left_out(tmp_path: Path) -> None:
    said, _, _ = run(tmp_path, graded(a=0.5), manifest=GRADES, group_by=["idh", "grade"])
    assert said == "1 case, 1 row, no idh in the manifest"
    assert set(groups(tmp_path)["covariate"]) == {"grade"}


def test_a_covariate_of_too_many_values_divides_nothing(tmp_path: Path) -> None:
    ages = "case_id,patient_id,label,age\n" + "".join(f"c{i},p,x,{40 + i}\n" for i in range(21))
    with pytest.raises(UserError, match="group_by: age has 21 values; a covariate of at most 20 is right"):
        run(tmp_path, graded(**{f"c{i}": 0.5 for i in range(21)}), manifest=ages, group_by=["age"])
    assert not (tmp_path / "cv.csv").exists()
