"""Train/test split and folds: drawn, listed or read from a file; patients stay whole.

All draws are made the same way: patients are sorted by tumour volume (within each value of a covariate, where the split is
stratified by one) and cut into strata of neighbours, and chance works only within a stratum. So each set and each fold spans
small and large tumours alike. Folds by a covariate are no draw (``glioflow.cohorts.covariate_folds``).
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from glioflow.cohorts.covariate_folds import value_column, value_columns, with_values
from glioflow.cohorts.covariates import covariate_columns
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import UserError, count
from glioflow.user_tables import near_ids, offered_ids, read_user_table

SETS = ("train", "test", "external")
SHOWN_IDS = 5
# Which draw of a cohort's seed it is; that of k folds is number k.
TEST_STREAM, TRAIN_STREAM = 0, 1


@dataclass(frozen=True)
class SplitPlan:
    """How a cohort is to be divided: the keys of its configuration, and the folds that its models use.

    ``folds``: numbers of drawn ones. ``folds_by``: covariates whose values are folds, each with the numbers of folds expected.
    """

    test_fraction: float = 0.0
    test_size: int | None = None
    test_cases: Sequence[str] = ()
    train_size: int | None = None
    stratify_by: str | None = None
    external: bool = False
    seed: int = 0
    file: str | None = None
    folds: Sequence[int] = ()
    folds_by: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def held_out(self, patients: int) -> int:
        """Return how many of ``patients`` are drawn for the test set: round(fraction × patients), at least one of them."""
        if self.test_size is not None or self.test_fraction == 0 or patients < 2:
            return self.test_size or 0
        return min(max(1, round(self.test_fraction * patients)), patients - 1)


def fold_column(folds: int) -> str:
    """Return the name of the column of split.csv that holds the fold of each training case, for ``folds`` folds."""
    return f"fold_of_{folds}"


def fold_columns(split: pd.DataFrame) -> list[str]:
    """Return the fold columns of a split."""
    return [column for column in map(str, split.columns) if re.fullmatch(r"fold_of_\d+", column)]


def draw_patients(patients: Sequence[str], wanted: int, seed: int, stream: int) -> dict[str, int]:
    """Return patient -> stratum for ``wanted`` of the patients, who are in the order of ``rank_patients``.

    As many strata of neighbours are cut, and one patient is drawn from each. ``stream``: which of a seed's draws it is.
    """
    if not wanted:
        return {}
    rng = np.random.default_rng([seed, stream])
    strata = np.array_split(np.arange(len(patients)), wanted)
    return {patients[int(rng.choice(stratum))]: number for number, stratum in enumerate(strata)}


def draw_folds(patients: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """Return patient -> fold; of ``patients``, in the order of ``rank_patients``, ``folds`` neighbours go to as many folds."""
    rng = np.random.default_rng([seed, folds])
    drawn: dict[str, int] = {}
    for start in range(0, len(patients), folds):
        for patient, fold in zip(patients[start : start + folds], rng.permutation(folds), strict=False):
            drawn[patient] = int(fold)
    return drawn


def rank_patients(manifest: pd.DataFrame, stratify_by: str | None = None) -> list[str]:
    """Return the patients by the value of a covariate (undefined last), then mean whole-tumour volume, then id."""
    table = manifest.assign(by=manifest[stratify_by] if stratify_by else 0)
    patients = table.groupby("patient_id").agg(by=("by", "first"), volume=("volume_WT_ml", "mean")).reset_index()
    numbers = pd.to_numeric(patients["by"], errors="coerce")
    patients["by"] = numbers if numbers.notna().sum() == patients["by"].notna().sum() else patients["by"].astype("string")
    return [str(patient) for patient in patients.sort_values(["by", "volume", "patient_id"])["patient_id"]]


def split_cases(manifest: pd.DataFrame, plan: SplitPlan) -> pd.DataFrame:
    """Return split.csv: case_id, patient_id, set (train, test, external), stratum, a column for each kind of folds.

    ``manifest`` has case_id, patient_id, volume_WT_ml and the covariates that the plan names. A draw depends on the patients,
    their volumes and the seed, not on the order of the rows. A split read from a file is returned with the manifest's
    patients and a column for each kind of folds that it lacks. Raises ValueError where there are fewer training patients than
    folds, UserError where the file cannot be read; whether the split is sound tells ``check_split``.
    """
    ranked = rank_patients(manifest, plan.stratify_by)
    if plan.file:
        split = with_patients(read_split(plan.file), manifest)
        split = split[split["case_id"].isin(manifest["case_id"].astype(str))].reset_index(drop=True)  # others are excluded
    else:
        split = manifest[["case_id", "patient_id"]].astype(str).sort_values("case_id").reset_index(drop=True)
        listed = split["case_id"].isin(plan.test_cases) | split["patient_id"].isin(plan.test_cases)
        drawn = draw_patients(ranked, plan.held_out(len(ranked)), plan.seed, TEST_STREAM)
        held_out = {*drawn, *split.loc[listed, "patient_id"]}
        split["set"] = "external" if plan.external else np.where(split["patient_id"].isin(held_out), "test", "train")
        if plan.train_size is not None:
            others = [patient for patient in ranked if patient not in held_out]
            taken = {*held_out, *draw_patients(others, plan.train_size, plan.seed, TRAIN_STREAM)}
            split.loc[~split["patient_id"].isin(taken), "set"] = "external"
        split["stratum"] = split["patient_id"].map(drawn).astype("Int64")
    trained = set(split.loc[split["set"] == "train", "patient_id"])
    training = [patient for patient in ranked if patient in trained]
    for number in sorted(set(plan.folds)):
        if fold_column(number) in split:
            continue
        if number > len(training):
            raise ValueError(f"{number} folds need {number} training patients; there are {len(training)}")
        split[fold_column(number)] = split["patient_id"].map(draw_folds(training, number, plan.seed)).astype("Int64")
    for covariate in plan.folds_by:
        if value_column(covariate) not in split:
            split[value_column(covariate)] = with_values(split, manifest, covariate)
    return split


def read_split(path: str) -> pd.DataFrame:
    """Return the split that a file holds: a split.csv, or the folds of nnU-Net's splits_final.json, where every case trains.

    Raises UserError where it is neither.
    """
    return _read_json_split(path) if path.endswith(".json") else _read_csv_split(path)


def with_patients(split: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return a split with the patients of the manifest, which alone decides who a patient is; another case is its own.

    A table of patients, without case ids, becomes one of their cases; a patient that the manifest lacks has none.
    """
    if "case_id" not in split:
        cases = manifest[["case_id", "patient_id"]].astype(str)
        return cases.merge(split, on="patient_id").sort_values("case_id", ignore_index=True)
    patients = dict(zip(manifest["case_id"].astype(str), manifest["patient_id"].astype(str), strict=True))
    own = split["case_id"].map(patients).fillna(split["case_id"])
    others = split.drop(columns="patient_id", errors="ignore")
    others.insert(list(others).index("case_id") + 1, "patient_id", own)
    return others


def _read_csv_split(path: str) -> pd.DataFrame:
    table = read_user_table(Path(path))
    columns = set(table.columns)
    missing = [" or ".join(some) for some in (("case_id", "patient_id"), ("set", "fold")) if not columns & set(some)]
    if missing:
        raise UserError(
            f"{path}: has no column {', '.join(missing)}; a split has case_id or patient_id, set, and fold or fold_of_<k> "
            "where the folds are known"
        )
    split = pd.DataFrame(table.rows, columns=table.columns, dtype="string").replace("", pd.NA)
    if "set" not in split:
        split["set"] = "train"
    try:
        numbers = [*fold_columns(split), *(["fold"] if "fold" in split else [])]
        split = split.assign(**{column: pd.to_numeric(split[column]).astype("Int64") for column in numbers})
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{path}: a fold is not a whole number; folds count from 0") from None
    return _with_number_of_folds(split, path) if "fold" in split else split


def _with_number_of_folds(split: pd.DataFrame, path: str) -> pd.DataFrame:
    """Return a split whose column ``fold`` is called after the number of folds. Raises UserError where that cannot be told."""
    found = sorted(set(split.loc[split["set"] == "train", "fold"].dropna()))
    if len(found) < 2 or found != list(range(len(found))):
        shown_folds = shown([str(fold) for fold in found]) or "none"
        raise UserError(f"{path}: the column fold has the folds {shown_folds}; two or more are right, which count from 0")
    if (named := fold_column(len(found))) in split:
        raise UserError(f"{path}: has both the columns fold and {named}; one of them is right")
    return split.rename(columns={"fold": named})


def _read_json_split(path: str) -> pd.DataFrame:
    try:
        folds = json.loads(Path(path).read_text(encoding="utf-8"))
        validation = [[str(case) for case in fold["val"]] for fold in folds]
        training = [{str(case) for case in fold["train"]} for fold in folds]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise UserError(f"{path}: is not a splits_final.json of nnU-Net: a list of {{train: [...], val: [...]}}") from None
    fold_of = {case: number for number, cases in enumerate(validation) for case in cases}
    twice = len(fold_of) < sum(map(len, validation))
    if twice or any(training[number] != set(fold_of) - set(cases) for number, cases in enumerate(validation)):
        raise UserError(
            f"{path}: its folds are no cross-validation: each case must be in `val` of one fold and in `train` of all others"
        )
    rows = [(case, "train", fold) for case, fold in sorted(fold_of.items())]
    return pd.DataFrame(rows, columns=["case_id", "set", fold_column(len(folds))]).astype({fold_column(len(folds)): "Int64"})


def check_split(manifest: pd.DataFrame, plan: SplitPlan, excluded: Collection[str] = ()) -> list[Problem]:
    """Return what is wrong with how a cohort is to be divided, before anything is drawn.

    ``excluded``: ids of cases, and of their patients, that are left out of the manifest; a split may name them.
    """
    cases, patients = set(manifest["case_id"].astype(str)), set(manifest["patient_id"].astype(str))
    problems = []
    if plan.stratify_by and plan.stratify_by not in manifest:
        known = ", ".join(column for column in map(str, manifest) if "sha256" not in column)
        found = f"no covariate {plan.stratify_by!r} to stratify by"
        problems.append(problem_row("", "", "no_covariate", found, f"one of the manifest's columns: {known}"))
    if unknown := sorted(set(plan.test_cases) - cases - patients - set(excluded)):
        found = f"test_cases that the cohort does not have: {shown(unknown)}"
        expected = f"ids of cases or patients of this cohort{offered_ids(near_ids(cases | patients, unknown))}"
        problems.append(problem_row("", "", "unknown_test_case", found, expected))
    elif plan.test_cases and not set(plan.test_cases) & (cases | patients):
        problems.append(no_test_case(""))
    if plan.file is None:
        return [*problems, *_check_folds_by(manifest, plan), *_check_sizes(manifest, plan)]
    try:
        read = read_split(plan.file)
    except UserError as error:
        found = str(error).removeprefix(f"{plan.file}: ")
        return [*problems, problem_row("", plan.file, "split_file", found, "a split of this cohort")]
    column, own = ("case_id", cases) if "case_id" in read else ("patient_id", patients)
    kept = read[~read[column].isin(set(excluded) - own)]
    if (read["set"] == "test").any() and not (kept["set"] == "test").any():
        problems.append(no_test_case(plan.file))
    read = kept
    split = with_patients(read, manifest)
    return [
        *problems,
        *_check_folds_by(manifest, plan, set(value_columns(read))),
        *_check_patient_rows(read, plan.file, patients),
        *_check_rows(split, plan.file, cases),
        *_check_patient_ids(read, split, plan.file),
        *_check_patients(split, plan.file),
    ]


def no_test_case(file: str) -> Problem:
    """Return the problem of a split whose test cases are all left out."""
    expected = "a test case that has every channel that the study reads"
    return problem_row("", file, "no_test_case", "test cases that are all excluded", expected)


def _check_folds_by(manifest: pd.DataFrame, plan: SplitPlan, given: Collection[str] = ()) -> list[Problem]:
    """Return the covariates of ``folds_by`` that the cohort lacks, but for those whose folds are ``given`` in a file."""
    known = covariate_columns(manifest)
    expected = f"one of the cohort's: {', '.join(known)}" if known else "a covariate, and the cohort has none"
    return [
        problem_row("", "", "no_covariate", f"no covariate {name!r} to make folds by", expected)
        for name in plan.folds_by
        if name not in known and name not in given
    ]


def _check_sizes(manifest: pd.DataFrame, plan: SplitPlan) -> list[Problem]:
    """Return why so many patients cannot be drawn: fewer are there."""
    patients = manifest.groupby(manifest["patient_id"].astype(str))["case_id"].agg(lambda ids: set(ids.astype(str)))
    listed = [patient for patient, cases in patients.items() if {patient, *cases} & set(plan.test_cases)]
    held_out = len(listed) or plan.held_out(len(patients))
    if (plan.train_size or 1) + held_out <= len(patients) or (plan.test_size is None and plan.train_size is None):
        return []
    asked = [f"{key}: {value}" for key in ("test_size", "train_size") if (value := getattr(plan, key)) is not None]
    others = f" beside {held_out} that are held out" if plan.test_size is None and held_out else ""
    expected = f"{len(patients)} in both sets together at most, one or more of them for training"
    found = f"{count(len(patients), 'patient')} for {' and '.join(asked)}{others}"
    return [problem_row("", "", "too_few_cases", found, expected)]


def _check_patient_rows(read: pd.DataFrame, path: str, patients: set[str]) -> list[Problem]:
    """Return what is wrong with the ids of a split that is a table of patients."""
    if "case_id" in read:
        return []
    problems = []
    if unnamed := int(read["patient_id"].isna().sum()):
        found = f"{count(unnamed, 'row')} without a patient_id"
        problems.append(problem_row("", path, "split_file", found, "a patient in each row"))
    ids = set(read["patient_id"].dropna().astype(str))
    if unknown := sorted(ids - patients):
        near = offered_ids(near_ids(patients - ids, unknown))
        found = f"patients that the cohort does not have: {shown(unknown)}"
        problems.append(problem_row("", path, "split_file", found, f"its patients{near}"))
    return problems


def shown(ids: Sequence[str]) -> str:
    """Return the first of some ids, for a message."""
    return ", ".join(ids[:SHOWN_IDS]) + (f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else "")


def _check_rows(split: pd.DataFrame, path: str, cases: set[str]) -> list[Problem]:
    """Return what is wrong with the rows of a split read from a file: cases unknown, left out or twice, sets, folds."""
    problems = []

    def add(found: str, expected: str, case: str = "") -> None:
        problems.append(problem_row(case, path, "split_file", found, expected))

    if unnamed := int(split["case_id"].isna().sum()):
        add(f"{count(unnamed, 'row')} without a case_id", "a case in each row")
    ids = split["case_id"].dropna().astype(str)
    if unknown := sorted(set(ids) - cases):
        near = offered_ids(near_ids(cases - set(ids), unknown))
        add(f"cases that the cohort does not have: {shown(unknown)}", f"its cases{near}")
    if left_out := sorted(cases - set(ids)):
        every = "every case; a split.csv can say which are the test"
        expected = every if path.endswith(".json") else "a row for each case; the set external leaves a case aside"
        add(f"no row for {count(len(left_out), 'case')} of the cohort: {shown(left_out)}", expected)
    for case in sorted(ids[ids.duplicated()].unique()):
        add("two rows for this case", "one", case)
    sets = split["set"].astype("string").fillna("nothing")
    if strange := sorted(set(sets) - set(SETS)):
        add(f"sets called {shown(strange)}", f"one of {', '.join(SETS)}")
    training = split["set"] == "train"
    for column in fold_columns(split):
        folds, number = split[column], int(column.removeprefix("fold_of_"))
        if (training & folds.isna()).any() or set(folds[training].dropna()) - set(range(number)):
            found = f"training cases with no fold, or one not from 0 to {number - 1}, in the column {column}"
            add(found, f"a fold from 0 to {number - 1} for each training case")
        elif empty := sorted(set(range(number)) - set(folds[training])):
            add(f"no case in fold {shown([str(fold) for fold in empty])} of the column {column}", "cases in every fold")
    return problems


def _check_patient_ids(read: pd.DataFrame, split: pd.DataFrame, path: str) -> list[Problem]:
    """Return the cases whose patient a split file calls otherwise than the manifest, of which ``split`` has the ids."""
    if not {"case_id", "patient_id"} <= set(read.columns):
        return []
    told = zip(split["case_id"], read["patient_id"], split["patient_id"], strict=True)
    return [
        problem_row(
            case,
            path,
            "other_patient",
            f"the patient {found}",
            f"{patient}, as the cohort has it: correct the file or leave its column patient_id out; who is a patient, "
            "the cohort's own files and its key patient_id say",
            patient_id=patient,
        )
        for case, found, patient in told
        if not pd.isna(case) and not pd.isna(found) and found != patient
    ]


def _check_patients(split: pd.DataFrame, path: str) -> list[Problem]:
    """Return the patients whom a split read from a file divides between sets or folds; patients are the manifest's."""
    problems = []
    for column in ["set", *fold_columns(split)]:
        parts = split.dropna(subset=[column]).groupby("patient_id")[column].agg(lambda values: sorted(map(str, set(values))))
        for patient, values in zip(map(str, parts.index), parts, strict=True):
            if len(values) < 2:
                continue
            where = (
                f"in the sets {' and '.join(values)}" if column == "set" else f"in the folds {' and '.join(values)} of {column}"
            )
            ids = shown(sorted(split.loc[split["patient_id"] == patient, "case_id"].dropna()))
            problem = "patient_in_two_sets" if column == "set" else "patient_in_two_folds"
            found = f"the patient {patient} {where} (cases {ids})"
            expected = "all cases of a patient on one side: the network would be tested on whom it was trained on"
            problems.append(problem_row("", path, problem, found, expected, patient_id=patient))
    return problems
