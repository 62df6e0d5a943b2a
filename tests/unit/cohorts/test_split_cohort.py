import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glioflow.cohorts.problems import PROBLEM_COLUMNS, problem_row
from glioflow.cohorts.splits import SplitPlan, check_split, draw_patients, rank_patients, split_cases
from glioflow.console import Console, UserError
from glioflow.study.configuration import FolderCohort, holds_out
from split_cohort import is_complete, main, refuse_errors


def cohort(patients: list[int]) -> pd.DataFrame:
    """A manifest in which patient ``n`` has ``patients[n]`` cases, with volumes that grow with n."""
    rows = [
        (f"p{n}_{session}", f"p{n}", 10.0 * n + session) for n, sessions in enumerate(patients) for session in range(sessions)
    ]
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "volume_WT_ml"])


sizes = st.lists(st.integers(1, 3), min_size=4, max_size=40)


@given(sizes, st.floats(0.05, 0.5), st.integers(0, 9), st.integers(2, 3))
@settings(max_examples=60, deadline=None)
def test_no_patient_is_in_two_sets_or_two_folds(patients, fraction, seed, folds):
    manifest = cohort(patients)
    if len(patients) - max(1, round(fraction * len(patients))) < folds:
        return
    split = split_cases(manifest, SplitPlan(test_fraction=fraction, seed=seed, folds=[folds]))
    assert set(split["case_id"]) == set(manifest["case_id"])
    assert split.groupby("patient_id")["set"].nunique().max() == 1
    training = split[split["set"] == "train"]
    assert training.groupby("patient_id")[f"fold_of_{folds}"].nunique().max() == 1
    assert set(training[f"fold_of_{folds}"]) == set(range(folds))
    assert split.loc[split["set"] == "test", f"fold_of_{folds}"].isna().all()


@given(sizes, st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows(patients, seed):
    manifest = cohort(patients)
    shuffled = manifest.sample(frac=1, random_state=seed)
    plan = SplitPlan(test_fraction=0.25, seed=seed, folds=[2])
    pd.testing.assert_frame_equal(split_cases(manifest, plan), split_cases(shuffled, plan))


def test_another_seed_draws_another_split():
    splits = [split_cases(cohort([1] * 20), SplitPlan(test_fraction=0.25, seed=seed, folds=[])) for seed in range(5)]
    assert len({tuple(split["set"]) for split in splits}) == 5
    folds = [split_cases(cohort([1] * 20), SplitPlan(test_fraction=0, seed=seed, folds=[4]))["fold_of_4"] for seed in range(5)]
    assert len({tuple(column) for column in folds}) == 5


def test_folds_have_equal_size_and_like_volumes():
    manifest = cohort([1] * 40)
    split = split_cases(manifest, SplitPlan(test_fraction=0, seed=3, folds=[5])).merge(manifest)
    by_fold = split.groupby("fold_of_5")["volume_WT_ml"]
    assert by_fold.size().tolist() == [8] * 5
    assert np.ptp(by_fold.mean()) <= 40  # each fold has one of every five neighbours, 10 ml apart


def test_the_held_out_come_one_from_each_stratum_of_volume():
    patients = [f"p{n:02d}" for n in range(20)]
    drawn = draw_patients(patients, 5, seed=1, stream=0)
    assert sorted(drawn.values()) == [0, 1, 2, 3, 4]
    assert all(patients.index(patient) // 4 == stratum for patient, stratum in drawn.items())


def test_models_with_different_numbers_of_folds_share_the_test_set():
    split = split_cases(cohort([1] * 12), SplitPlan(test_fraction=0.25, seed=0, folds=[3, 9, 3]))
    assert [column for column in split if column.startswith("fold_of_")] == ["fold_of_3", "fold_of_9"]


def test_without_a_test_fraction_every_case_trains():
    assert set(split_cases(cohort([1, 2]), SplitPlan(test_fraction=0, seed=0, folds=[]))["set"]) == {"train"}


def test_more_folds_than_patients_is_refused():
    with pytest.raises(ValueError, match="5 folds need 5 training patients; there are 3"):
        split_cases(cohort([1, 1, 2]), SplitPlan(test_fraction=0, seed=0, folds=[5]))


def test_a_cohort_with_errors_stops_with_all_of_them_listed():
    rows = [problem_row("a", "a.nii", "x", "this", "that"), problem_row("b", "b.nii", "y", "these", "those")]
    rows.append(problem_row("c", "c.nii", "z", "hm", "ah", "warning"))
    with pytest.raises(UserError) as caught:
        refuse_errors({"verification.csv": pd.DataFrame(rows, columns=PROBLEM_COLUMNS)}, "demo")
    message = str(caught.value)
    assert "2 problems in 2 cases; nothing was trained" in message
    assert "a, a.nii: found this; expected that" in message
    assert "b, b.nii: found these; expected those" in message
    assert "hm" not in message


def test_warnings_alone_pass():
    refuse_errors({"verification.csv": pd.DataFrame([problem_row("c", "", "z", "hm", "ah", "warning")])}, "demo")


def write_split(path, table: pd.DataFrame) -> str:
    path.write_text(table.to_csv(index=False))
    return str(path)


def test_the_listed_cases_or_patients_are_held_out_with_all_their_cases():
    split = split_cases(cohort([1, 2, 2, 1]), SplitPlan(test_cases=["p1_0", "p3"]))
    assert split.loc[split["set"] == "test", "case_id"].tolist() == ["p1_0", "p1_1", "p3_0"]


def test_an_id_that_the_cohort_does_not_have_is_a_problem():
    problem = check_split(cohort([1, 1]), SplitPlan(test_cases=["p0", "p7"]))[0]
    assert problem["found"] == "test_cases that the cohort does not have: p7"


def test_an_external_cohort_has_neither_training_nor_test_cases():
    assert set(split_cases(cohort([1, 2]), SplitPlan(external=True))["set"]) == {"external"}


def test_so_many_patients_are_held_out_and_trained_and_the_others_left_aside():
    manifest = cohort([1] * 10 + [2] * 2)
    plan = SplitPlan(test_size=2, train_size=6, seed=3, folds=[2])
    assert check_split(manifest, plan) == []
    split = split_cases(manifest, plan)
    assert split.groupby("set")["patient_id"].nunique().to_dict() == {"external": 4, "test": 2, "train": 6}
    assert split.groupby("patient_id")["set"].nunique().max() == 1
    pd.testing.assert_frame_equal(split, split_cases(manifest.sample(frac=1, random_state=1), plan))
    # One of the six smaller and one of the six larger is held out; of those that stay, two in each of four pairs, in order.
    held_out = split.loc[split["set"] == "test", ["patient_id", "stratum"]].drop_duplicates().sort_values("stratum")
    assert [int(patient[1:]) // 6 for patient in held_out["patient_id"]] == [0, 1]
    rest = [patient for patient in rank_patients(manifest) if patient not in set(held_out["patient_id"])]
    strata = [rest[:2], rest[2:4], rest[4:6], rest[6:8], rest[8:9], rest[9:]]
    trained = set(split.loc[split["set"] == "train", "patient_id"])
    assert all(len(trained & set(stratum)) == 1 for stratum in strata)
    # The test set is the same without a training size, and folds are drawn of who trains.
    alone = split_cases(manifest, SplitPlan(test_size=2, seed=3))
    assert set(alone.loc[alone["set"] == "test", "case_id"]) == set(split.loc[split["set"] == "test", "case_id"])
    assert split["fold_of_2"].notna().tolist() == (split["set"] == "train").tolist()


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        (SplitPlan(test_size=4), "4 patients for test_size: 4"),
        (SplitPlan(test_size=2, train_size=3), "4 patients for test_size: 2 and train_size: 3"),
        (SplitPlan(test_fraction=0.5, train_size=3), "4 patients for train_size: 3 beside 2 that are held out"),
        (SplitPlan(test_cases=["p0", "p1_0"], train_size=3), "4 patients for train_size: 3 beside 2 that are held out"),
    ],
)
def test_more_patients_than_there_are_is_one_problem(plan, found):
    (problem,) = check_split(cohort([1, 2, 1, 1]), plan)
    assert problem["message"].startswith(f"found {found}; expected 4 in both sets together at most")


def test_sizes_that_use_up_every_patient_are_right():
    assert check_split(cohort([1] * 4), SplitPlan(test_size=1, train_size=3)) == []
    assert check_split(cohort([1] * 4), SplitPlan(test_size=3)) == []


def test_a_papers_table_of_patients_becomes_one_of_their_cases(tmp_path):
    manifest = cohort([2, 1, 1, 1])
    table = pd.DataFrame(
        {"patient_id": ["p3", "p0", "p1", "p2"], "set": ["test", "train", "train", "external"], "fold": ["", "1", "0", ""]}
    )
    plan = SplitPlan(file=write_split(tmp_path / "paper.csv", table), folds=[2])
    assert check_split(manifest, plan) == []
    split = split_cases(manifest, plan)
    assert split["case_id"].tolist() == ["p0_0", "p0_1", "p1_0", "p2_0", "p3_0"]
    assert split["set"].tolist() == ["train", "train", "train", "external", "test"]
    assert split["fold_of_2"].tolist() == [1, 1, 0, pd.NA, pd.NA]
    assert not is_complete(plan.file, split, [2])
    assert holds_out(FolderCohort(dataset="brats2021", path=".", split=plan.file))


def test_a_table_of_folds_alone_trains_every_case(tmp_path):
    table = pd.DataFrame({"case_id": ["p0_0", "p1_0", "p2_0"], "fold": [0, 2, 1]})
    split = split_cases(cohort([1] * 3), SplitPlan(file=write_split(tmp_path / "s.csv", table), folds=[3]))
    assert (split["set"].unique().tolist(), split["fold_of_3"].tolist()) == (["train"], [0, 2, 1])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"patient_id": ["p0", "p1", "p9"], "set": "train"}, "patients that the cohort does not have: p9"),
        ({"patient_id": ["p0", "p1", "P2"], "set": "train"}, "its patients (write 'p2' for 'P2')"),
        ({"patient_id": ["p0", "p1", None], "set": "train"}, "1 row without a patient_id"),
        ({"patient_id": ["p0", "p1"], "set": "train"}, "no row for 1 case of the cohort: p2_0"),
        ({"patient_id": ["p0", "p1", "p2", "p2"], "set": ["train", "train", "test", "train"]}, "two rows for this case"),
        ({"patient_id": ["p0", "p1", "p2"], "fold": [1, 2, 3]}, "the column fold has the folds 1, 2, 3; two or more"),
        ({"patient_id": ["p0", "p1", "p2"], "fold": [0, 1, 0], "fold_of_2": [0, 1, 0]}, "both the columns fold and fold_of_2"),
        ({"patient_id": ["p0", "p1", "p2"], "fold": [0, 1, ""]}, "training cases with no fold"),
        ({"name": ["p0"], "set": "train"}, "has no column case_id or patient_id"),
        ({"patient_id": ["p0", "p1", "p2"]}, "has no column set or fold"),
    ],
)
def test_what_is_wrong_with_a_papers_table_is_said(tmp_path, table, words):
    problems = check_split(cohort([1, 1, 1]), SplitPlan(file=write_split(tmp_path / "s.csv", pd.DataFrame(table))))
    assert any(words in row["message"] for row in problems), problems


def test_each_fold_and_the_test_set_get_every_value_of_the_covariate_alike():
    manifest = cohort([1] * 40).assign(site=["a", "b", "b", "b"] * 10)
    split = split_cases(manifest, SplitPlan(test_fraction=0.2, folds=[4], stratify_by="site")).merge(manifest)
    assert split.loc[split["set"] == "test", "site"].value_counts().to_dict() == {"b": 6, "a": 2}
    folds = split[split["set"] == "train"].groupby("fold_of_4")["site"].value_counts().unstack()
    assert folds["a"].tolist() == [2] * 4
    assert folds["b"].tolist() == [6] * 4


def test_patients_are_ranked_by_the_size_of_numbers_and_by_the_name_of_categories():
    manifest = cohort([1] * 4)
    assert rank_patients(manifest.assign(age=["100", "20", "9", None]), "age") == ["p2", "p1", "p0", "p3"]
    assert rank_patients(manifest.assign(age=["100", "20", "9", "old"]), "age") == ["p0", "p1", "p2", "p3"]


def test_numbers_are_strata_too():
    manifest = cohort([1] * 12).assign(age=["9", "10", "80"] * 4)
    split = split_cases(manifest, SplitPlan(folds=[4], stratify_by="age")).merge(manifest)
    assert (split.groupby("fold_of_4")["age"].nunique() == 3).all()


def test_an_unknown_covariate_to_stratify_by_is_a_problem():
    assert check_split(cohort([1]), SplitPlan(stratify_by="grade"))[0]["problem"] == "no_covariate"


def test_a_published_split_comes_back_byte_for_byte(tmp_path):
    manifest = cohort([1, 2, 1, 2, 1, 1])
    (tmp_path / "manifest.csv").write_text(manifest.to_csv(index=False))
    for name in ("verification", "comparison"):
        (tmp_path / f"{name}.csv").write_text(",".join(PROBLEM_COLUMNS) + "\n")

    def run(name: str, **split) -> bytes:
        paths = {part: str(tmp_path / f"{part}.csv") for part in ("manifest", "verification", "comparison")}
        job = SimpleNamespace(
            input=SimpleNamespace(**paths),
            output=[str(tmp_path / name)],
            params=SimpleNamespace(split=split),
            wildcards=SimpleNamespace(cohort="c"),
        )
        main(job, Console())
        return (tmp_path / name).read_bytes()

    published = run("split.csv", test_fraction=0.3, seed=4, folds=[3])
    assert run("again.csv", file=str(tmp_path / "split.csv"), seed=99, folds=[3]) == published
    by_hand = published.replace(b"\n", b"\r\n")  # whatever wrote it
    (tmp_path / "split.csv").write_bytes(by_hand)
    assert run("again.csv", file=str(tmp_path / "split.csv"), folds=[3]) == by_hand
    more = run("more.csv", file=str(tmp_path / "split.csv"), folds=[2, 3])
    assert b"fold_of_2" in more.splitlines()[0]


def test_folds_that_the_file_lacks_are_drawn_among_its_training_cases(tmp_path):
    manifest = cohort([1] * 6)
    table = manifest[["case_id"]].assign(set=["train"] * 4 + ["test"] * 2)
    plan = SplitPlan(file=write_split(tmp_path / "s.csv", table), folds=[2])
    assert check_split(manifest, plan) == []
    split = split_cases(manifest, plan)
    assert split["set"].tolist() == table["set"].tolist()
    assert split["fold_of_2"].isna().tolist() == [False] * 4 + [True] * 2
    assert split["patient_id"].tolist() == manifest["patient_id"].tolist()
    assert not is_complete(plan.file, split, [2])


FOLDS = [{"train": ["p0_0", "p1_0"], "val": ["p2_0"]}, {"train": ["p2_0"], "val": ["p0_0", "p1_0"]}]


def write_folds(path, folds) -> str:
    path.write_text(json.dumps(folds))
    return str(path)


def test_the_splits_of_nnunet_give_the_folds(tmp_path):
    plan = SplitPlan(file=write_folds(tmp_path / "splits_final.json", FOLDS), folds=[2])
    assert check_split(cohort([1] * 3), plan) == []
    split = split_cases(cohort([1] * 3), plan)
    assert set(split["set"]) == {"train"}
    assert split["fold_of_2"].tolist() == [1, 1, 0]
    assert "a split.csv can say which are the test" in check_split(cohort([1] * 4), plan)[0]["expected"]


@pytest.mark.parametrize(
    "folds",
    [
        [{"train": ["p0_0"], "val": ["p2_0", "p1_0"]}, {"train": ["p2_0"], "val": ["p0_0", "p1_0"]}],
        [{"train": ["p0_0"], "val": ["p2_0"]}, {"train": ["p2_0"], "val": ["p0_0", "p1_0"]}],
        {"train": []},
        [{"train": 1, "val": 2}],
    ],
)
def test_folds_that_are_no_cross_validation_are_refused(tmp_path, folds):
    problem = check_split(cohort([1] * 3), SplitPlan(file=write_folds(tmp_path / "s.json", folds)))[0]
    assert problem["problem"] == "split_file"


@pytest.mark.parametrize(
    ("harm", "problem", "words"),
    [
        (lambda t: t.assign(fold_of_2=[0, 1, 1, 0]), "patient_in_two_folds", "p0 in the folds 0 and 1 of fold_of_2"),
        (lambda t: t.assign(set=["train", "test", "train", "train"]), "patient_in_two_sets", "p0 in the sets test and train"),
        (lambda t: t.iloc[:3], "split_file", "no row for 1 case of the cohort: p2_0"),
        (lambda t: t.replace({"case_id": {"p2_0": "p9_0"}}), "split_file", "does not have: p9_0"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "split_file", "two rows for this case"),
        (lambda t: t.assign(set=["train", "train", "val", "train"]), "split_file", "sets called val"),
        (lambda t: t.assign(fold_of_2=[0, 0, 2, 1]), "split_file", "not from 0 to 1, in the column fold_of_2"),
        (lambda t: t.drop(columns="set"), "split_file", "has no column set"),
        (lambda t: t.assign(set=["train", None, "train", "train"]), "split_file", "sets called nothing"),
        (lambda t: t.assign(fold_of_2=0), "split_file", "no case in fold 1 of the column fold_of_2"),
        (lambda t: t.assign(case_id=["p0_0", None, "p1_0", "p2_0"]), "split_file", "1 row without a case_id"),
        (lambda t: t.assign(fold_of_2=["a", "b", "a", "b"]), "split_file", "a fold is not a whole number"),
    ],
)
def test_what_is_wrong_with_a_split_file_is_said(tmp_path, harm, problem, words):
    manifest = cohort([2, 1, 1])
    sound = manifest[["case_id", "patient_id"]].assign(set="train", fold_of_2=[0, 0, 1, 1])
    assert check_split(manifest, SplitPlan(file=write_split(tmp_path / "sound.csv", sound))) == []
    problems = check_split(manifest, SplitPlan(file=write_split(tmp_path / "s.csv", harm(sound))))
    assert any(row["problem"] == problem and words in row["message"] for row in problems), problems


def test_a_split_that_calls_a_patient_otherwise_is_an_error_that_names_file_case_and_both(tmp_path):
    manifest = cohort([2, 1, 1])
    table = manifest[["case_id"]].assign(patient_id=["p0", "p0_1", "p1", ""], set="train", stratum="HGG")
    plan = SplitPlan(file=write_split(tmp_path / "s.csv", table), folds=[2])
    (problem,) = check_split(manifest, plan)
    assert (problem["problem"], problem["severity"], problem["case_id"]) == ("other_patient", "error", "p0_1")
    assert problem["message"].startswith(f"p0_1, {plan.file}: found the patient p0_1; expected p0, as the cohort has it")
    # Even so, the manifest's patients are drawn and written.
    split = split_cases(manifest, plan)
    assert split["patient_id"].tolist() == manifest["patient_id"].tolist()
    assert split["fold_of_2"][0] == split["fold_of_2"][1]
    assert not is_complete(plan.file, split, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", " , "),
        lambda text: text.replace(",test", ", test"),
        lambda text: text.replace("\n", "\n,,\n", 1),
        lambda text: ("\ufeff" + text).encode("utf-16-le"),
    ],
)
def test_a_split_that_the_workflow_would_read_otherwise_is_written_anew(tmp_path, change):
    manifest = cohort([1, 1, 1])
    text = manifest[["case_id", "patient_id"]].assign(set=["train", "train", "test"]).to_csv(index=False)
    changed = change(text)
    (tmp_path / "s.csv").write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    plan = SplitPlan(file=str(tmp_path / "s.csv"))
    assert check_split(manifest, plan) == []
    split = split_cases(manifest, plan)
    assert split.to_csv(index=False) == text
    assert not is_complete(plan.file, split, [])
    cohort_of_it = FolderCohort(dataset="brats2021", path=".", split=plan.file)
    assert holds_out(cohort_of_it)


def test_ids_that_nearly_match_are_offered(tmp_path):
    manifest = cohort([1, 1, 1]).assign(case_id=["001", "002", "003"])
    table = pd.DataFrame({"case_id": ["1", "2", "003"], "set": "train"})
    messages = [row["message"] for row in check_split(manifest, SplitPlan(file=write_split(tmp_path / "s.csv", table)))]
    assert "does not have: 1, 2; expected its cases (write '001' for '1', '002' for '2')" in messages[0]
    assert "no row for 2 cases" in messages[1]
    (problem,) = check_split(manifest, SplitPlan(test_cases=["3", "P1"]))
    assert problem["expected"].endswith("(write '003' for '3', 'p1' for 'P1')")


def test_a_row_of_another_length_is_an_error(tmp_path):
    (tmp_path / "s.csv").write_text("case_id,patient_id,set\np0_0,p0,train\np1_0,train\n")
    (problem,) = check_split(cohort([1, 1]), SplitPlan(file=str(tmp_path / "s.csv")))
    assert problem["problem"] == "split_file"
    assert "line 3 has 2 fields, where the header (line 1) has 3" in problem["message"]
