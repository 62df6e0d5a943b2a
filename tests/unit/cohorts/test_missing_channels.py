"""Cases that lack a channel: an error, left out, or another image in its place, as the cohort says."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from conftest import AFFINE, save
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ZScoreNormalization

from glioflow.case_cache import CaseCache
from glioflow.cohorts.case_checks import CheckRules, check_case
from glioflow.cohorts.cohort_checks import check_identity, check_requirements
from glioflow.cohorts.covariate_values import read_covariates
from glioflow.cohorts.layouts import patterns
from glioflow.cohorts.manifests import read_manifest, read_substituted, write_manifest
from glioflow.cohorts.problems import PROBLEM_COLUMNS
from glioflow.cohorts.splits import SplitPlan, check_split, split_cases
from glioflow.console import Console
from glioflow.files import sha256_file
from glioflow.imaging.volumes import read_volume
from glioflow.models.nnunet.keys import case_hashes
from glioflow.study.registry import datasets, label_schemes
from split_cohort import is_complete
from verify_cohort import files_key, main, verify_cases

CASE = "BraTS2021_00001"
FLAIR_FOR_T1 = {"on_missing_channel": "substitute", "substitute": {"t1": "flair", "t1ce": "flair"}}
ZEROS_FOR_T1CE = {"on_missing_channel": "substitute", "substitute": {"t1ce": "zeros"}}
REQUIREMENTS = {"source": "here", "split": {}, "trained": True, "blank": []}


@pytest.fixture
def rules(tmp_path):
    scheme = label_schemes()["brats2021"]
    channels = ("t1", "t1ce", "t2", "flair")
    return CheckRules(scheme, "brats2021", channels, "error", True, str(tmp_path / "labels"))


@pytest.fixture
def cases(brats_folder) -> dict[str, dict]:
    return {case.case_id: case.row() for case in patterns.find(brats_folder, datasets()["brats2021"]).cases}


@pytest.fixture
def case(cases):
    return cases[CASE]


def lose(case: dict, *channels: str) -> None:
    for channel in channels:
        Path(case[channel]).unlink()


def only_problem(case: dict, rules: CheckRules) -> dict:
    (problem,) = check_case(case, rules)["problems"]
    return problem


def test_another_channel_takes_the_place_of_a_missing_one_and_is_marked(case, rules):
    lose(case, "t1", "t1ce")
    checked = check_case(case, replace(rules, **FLAIR_FOR_T1))
    row = checked["row"]
    assert checked["problems"] == []
    assert (row["t1"], row["t1ce"]) == (case["flair"], case["flair"])
    assert row["t1_sha256"] == row["t1ce_sha256"] == sha256_file(case["flair"])
    assert row["substituted"] == "t1=flair;t1ce=flair"
    assert check_identity([case], [row]) == []  # one image twice is meant here


def test_zeros_are_an_image_on_the_grid_of_the_case(case, rules):
    lose(case, "t1ce")
    row = check_case(case, replace(rules, **ZEROS_FOR_T1CE))["row"]
    image = nib.load(row["t1ce"])
    assert image.shape == (10, 12, 8) and not np.asarray(image.dataobj).any()
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert row["t1ce_sha256"] == sha256_file(row["t1ce"])
    assert row["substituted"] == "t1ce=zeros"


@pytest.mark.parametrize("masked", [True, False])
def test_nnunet_normalises_an_image_of_zeros_to_zeros(case, rules, masked):
    lose(case, "t1ce")
    row = check_case(case, replace(rules, **ZEROS_FOR_T1CE))["row"]
    brain = read_volume(row["flair"]).data > 300
    scheme = ZScoreNormalization(use_mask_for_norm=masked, intensityproperties={})
    normalised = scheme.run(read_volume(row["t1ce"]).data, np.where(brain, 0, -1))
    assert np.array_equal(normalised, np.zeros((10, 12, 8)))


def test_nothing_is_marked_where_every_channel_is_there(case, rules):
    assert check_case(case, replace(rules, **FLAIR_FOR_T1)) == check_case(case, rules)
    assert "substituted" not in check_case(case, rules)["row"]


def test_a_channel_that_nothing_needs_is_neither_replaced_nor_a_reason_to_leave_the_case_out(case, rules):
    lose(case, "t1")
    needed = replace(rules, channels=("t2", "flair"))
    for keys in (FLAIR_FOR_T1, {"on_missing_channel": "exclude"}):
        checked = check_case(case, replace(needed, **keys))
        assert checked["problems"] == [] and "t1" not in checked["row"]


def test_a_channel_that_has_no_stand_in_stays_an_error(case, rules):
    lose(case, "t1", "t2")
    problem = only_problem(case, replace(rules, **FLAIR_FOR_T1))
    assert (problem["problem"], problem["severity"], problem["file"]) == ("missing_channel", "error", case["t2"])
    assert "no file for channel t2" in problem["found"]


def test_a_stand_in_that_is_missing_itself_is_one_message(case, rules):
    lose(case, "t1", "t1ce", "flair")
    needed = replace(rules, channels=("t1", "t1ce", "t2"), **FLAIR_FOR_T1)
    problem = only_problem(case, needed)
    assert problem["found"] == "no file for the channels t1 and t1ce, nor for flair, which would take the place"
    assert problem["message"].startswith(f"{CASE}, {case['t1']}: found")


def test_a_stand_in_that_is_faulty_is_its_own_problem_alone(case, rules):
    lose(case, "t1")
    Path(case["flair"]).write_bytes(b"nothing")
    problem = only_problem(case, replace(rules, **FLAIR_FOR_T1))
    assert (problem["problem"], problem["file"]) == ("unreadable", case["flair"])


def test_a_channel_in_another_format_is_not_missing(case, rules):
    Path(case["t1"]).rename(Path(case["t1"]).with_name(f"{CASE}_t1.mha"))
    for keys in (FLAIR_FOR_T1, {"on_missing_channel": "exclude"}):
        assert only_problem(case, replace(rules, **keys))["problem"] == "wrong_extension"


@pytest.mark.parametrize("keys", [{}, FLAIR_FOR_T1, ZEROS_FOR_T1CE, {"on_missing_channel": "exclude"}])
def test_a_case_without_any_image_is_one_message(case, rules, keys):
    lose(case, "t1", "t1ce", "t2", "flair")
    problem = only_problem(case, replace(rules, **keys))
    assert problem["found"] == "no image: no file for the channels t1, t1ce, t2 and flair"
    assert problem["severity"] == ("excluded" if keys.get("on_missing_channel") == "exclude" else "error")


def test_an_excluded_case_is_not_read_and_each_channel_is_a_reason(case, rules):
    lose(case, "t1", "t2")
    Path(case["label"]).write_bytes(b"nothing")
    checked = check_case(case, replace(rules, on_missing_channel="exclude"))
    assert checked["row"] == {}
    assert [(row["severity"], row["found"]) for row in checked["problems"]] == [
        ("excluded", "no file for channel t1"),
        ("excluded", "no file for channel t2"),
    ]


def test_what_is_done_about_missing_channels_concerns_only_the_cases_that_lack_some(cases, rules):
    lose(cases[CASE], "t1")
    changed = {
        name for name, case in cases.items() if files_key(case, rules) != files_key(case, replace(rules, **FLAIR_FOR_T1))
    }
    assert changed == {CASE}


def test_another_mapping_is_another_content_for_preprocessing(cases, rules):
    lose(cases[CASE], "t1ce")
    rows = [check_case(cases[CASE], replace(rules, **keys))["row"] for keys in (FLAIR_FOR_T1, ZEROS_FOR_T1CE)]
    flair, zeros = (case_hashes(pd.DataFrame([{"case_id": CASE, **row}]), rules.channels, [CASE])[CASE] for row in rows)
    assert [a == b for a, b in zip(flair, zeros, strict=True)] == [True, False, True, True, True]


def test_an_image_of_zeros_that_is_gone_is_written_again(cases, rules, tmp_path):
    lose(cases[CASE], "t1ce")
    cache, changed = CaseCache(tmp_path / "cache.jsonl"), replace(rules, **ZEROS_FOR_T1CE)
    (first,), _ = verify_cases([cases[CASE]], changed, cache, 1, Console())
    assert verify_cases([cases[CASE]], changed, cache, 1, Console())[1] == 0
    Path(first["row"]["t1ce"]).unlink()
    (again,), read = verify_cases([cases[CASE]], changed, cache, 1, Console())
    assert read == 1 and again == first and Path(first["row"]["t1ce"]).exists()


def verify(cases: dict[str, dict], rules: CheckRules, folder: Path, **requirements) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Run ``verify_cohort``; return what it said, the manifest and the problems."""
    write_manifest(folder / "cases.csv", pd.DataFrame(list(cases.values())))
    pd.DataFrame(columns=PROBLEM_COLUMNS).to_csv(folder / "conversion.csv", index=False)
    paths = SimpleNamespace(
        **{name: str(folder / f"{name}.csv") for name in ("cases", "conversion", "manifest", "verification")}
    )
    missing = {"on_missing_channel": rules.on_missing_channel, "substitute": dict(rules.substitute)}
    params = SimpleNamespace(
        scheme=rules.scheme, scheme_name=rules.scheme_name, labelled=True, channels=rules.channels, missing=missing,
        on_geometry_mismatch="error", skull_stripped=True, made_in=rules.labels, reread=False,
        cache=str(folder / "cache.jsonl"),
        requirements={**REQUIREMENTS, **requirements},
    )  # fmt: skip
    said = main(SimpleNamespace(input=paths, output=paths, params=params, threads=1), Console())
    return said, read_manifest(paths.manifest), pd.read_csv(paths.verification)


def test_the_manifest_marks_what_took_a_place_and_leaves_excluded_cases_out(cases, rules, tmp_path):
    lose(cases[CASE], "t1ce")
    said, manifest, _ = verify(cases, replace(rules, **ZEROS_FOR_T1CE), tmp_path)
    assert said == "6 cases, 6 read, no problem"
    assert {row["case_id"]: read_substituted(row) for row in manifest.to_dict("records") if read_substituted(row)} == {
        CASE: {"t1ce": "zeros"}
    }
    assert Path(manifest.set_index("case_id").loc[CASE, "t1ce"]).exists()
    assert read_covariates(tmp_path / "manifest.csv")["substituted"].value_counts().to_dict() == {"no": 5, "yes": 1}

    said, manifest, problems = verify(cases, replace(rules, on_missing_channel="exclude"), tmp_path)
    assert said == "6 cases, 1 read, 0 errors, 0 warnings, 1 case excluded"
    assert set(manifest["case_id"]) == set(cases) - {CASE} and "substituted" not in manifest
    assert problems[["case_id", "severity", "problem"]].values.tolist() == [[CASE, "excluded", "missing_channel"]]
    assert "substituted" not in read_covariates(tmp_path / "manifest.csv")


def test_a_marking_that_all_cases_share_is_no_covariate(cases, rules, tmp_path):
    for case in cases.values():
        lose(case, "t1ce")
    verify(cases, replace(rules, **ZEROS_FOR_T1CE), tmp_path)
    assert "substituted" not in read_covariates(tmp_path / "manifest.csv")


def test_a_cohort_of_which_every_case_is_excluded_is_one_error(cases, rules, tmp_path):
    for case in cases.values():
        lose(case, "flair")
    _, manifest, problems = verify(cases, replace(rules, on_missing_channel="exclude"), tmp_path)
    errors = problems[problems["severity"] == "error"]
    assert manifest.empty and errors["problem"].tolist() == ["empty_cohort"]
    assert "all are excluded, 6" in errors["message"].item()


def test_a_model_that_would_see_nothing_but_zeros_is_an_error_of_the_case(cases, rules, tmp_path):
    lose(cases[CASE], "t1ce")
    _, _, problems = verify(cases, replace(rules, **ZEROS_FOR_T1CE), tmp_path, blank=[["t1ce"]])
    assert problems[["case_id", "problem", "severity"]].values.tolist() == [[CASE, "missing_channel", "error"]]
    assert "all that a model reads" in problems["found"].item()
    _, _, problems = verify(cases, replace(rules, **ZEROS_FOR_T1CE), tmp_path, blank=[["t1", "t1ce"]])
    assert problems.empty


def manifest_of(*cases: str) -> pd.DataFrame:
    volumes = [float(number) for number, _ in enumerate(cases)]
    return pd.DataFrame({"case_id": cases, "patient_id": cases, "volume_WT_ml": volumes, "orientation": "LPS"})


def test_a_split_may_name_excluded_cases_and_is_taken_without_them(tmp_path):
    lines = ["case_id,patient_id,set,fold_of_2", "a,a,train,0", "b,b,train,1", "c,c,train,1", "d,d,test,", "e,e,test,"]
    (tmp_path / "split.csv").write_text("\n".join(lines) + "\n")
    plan = SplitPlan(file=str(tmp_path / "split.csv"), folds=(2,))
    manifest = manifest_of("a", "b", "d")
    assert [problem["problem"] for problem in check_split(manifest, plan)] == ["split_file"]  # c and e are unknown
    assert check_split(manifest, plan, {"c", "e"}) == []
    split = split_cases(manifest, plan)
    assert split[["case_id", "set"]].values.tolist() == [["a", "train"], ["b", "train"], ["d", "test"]]
    assert not is_complete(plan.file, split, [2])  # so it is not copied byte for byte
    (problem,) = check_split(manifest_of("a", "b"), plan, {"c", "d", "e"})
    assert problem["problem"] == "no_test_case"
    (problem,) = check_split(manifest_of("a", "d"), plan, {"b", "c", "e"})
    assert "no case in fold 1" in problem["found"]


def test_a_papers_table_of_patients_may_name_patients_that_are_excluded(tmp_path):
    (tmp_path / "split.csv").write_text("patient_id,set,fold_of_2\na,train,0\nb,train,1\nc,train,1\nd,test,\n")
    plan = SplitPlan(file=str(tmp_path / "split.csv"), folds=(2,))
    (problem,) = check_split(manifest_of("a", "b", "d"), plan)
    assert "patients that the cohort does not have: c" in problem["found"]
    assert check_split(manifest_of("a", "b", "d"), plan, {"c"}) == []
    assert [row["problem"] for row in check_split(manifest_of("a", "b", "c"), plan, {"d"})] == ["no_test_case"]


def test_test_cases_may_be_excluded_but_not_all_of_them():
    plan = SplitPlan(test_cases=("a", "b"))
    assert check_split(manifest_of("a", "c"), plan, {"b"}) == []
    assert [row["problem"] for row in check_split(manifest_of("c", "d"), plan, {"a", "b"})] == ["no_test_case"]
    assert [row["problem"] for row in check_split(manifest_of("a", "c"), plan, set())] == ["unknown_test_case"]


def test_folds_are_counted_without_excluded_cases():
    requirements = {**REQUIREMENTS, "split": {"folds": [3]}}
    (problem,) = check_requirements(manifest_of("a", "b"), requirements, [{"case_id": "c", "patient_id": "c"}])
    assert problem["found"] == "2 training patients for 3 folds"


def test_zeros_follow_the_first_image_that_there_is(case, rules):
    lose(case, "t1", "t1ce")
    wide = np.diag([-2.0, -1.0, 1.0, 1.0])
    for role in ("t2", "flair", "label"):
        save(Path(case[role]), np.asarray(nib.load(case[role]).dataobj), wide)
    zeros = {"t1": "zeros", "t1ce": "zeros"}
    row = check_case(case, replace(rules, on_missing_channel="substitute", substitute=zeros))["row"]
    assert row["t1"] == row["t1ce"]
    np.testing.assert_array_equal(nib.load(row["t1"]).affine, wide)
