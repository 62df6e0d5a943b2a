"""Check the cases of a cohort against each other, and against what the study asks of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from glioflow.cohorts.covariate_folds import check_values
from glioflow.cohorts.covariates import other_names
from glioflow.cohorts.manifests import read_substituted
from glioflow.cohorts.missing_channels import listed
from glioflow.cohorts.problems import Problem, problem_row
from glioflow.cohorts.splits import SplitPlan, check_split, split_cases
from glioflow.console import count
from glioflow.study.registry import CHANNELS
from glioflow.user_tables import alike

# What names a visit at the end of an id: a word; or, behind a number, a letter with a number or a number.
VISIT_WORDS = (
    "visit|session|ses|scan|timepoint|time|tp|follow[-_ ]?up|fu|baseline|bl|day|week|month|year|"
    "pre|post|pre[-_ ]?op|post[-_ ]?op|first|second|recurrence|rec"
)
VISIT = re.compile(rf"(?P<patient>.*[^\W_].*?)[-_. ](?:{VISIT_WORDS})[-_. ]?\d*|(?P<numbered>.*\d.*?)[-_. ][vtsdwmy]\d+", re.I)
NUMBERED_VISIT = re.compile(r"(?P<patient>.*\d\d)[-_. ](?:\d{1,3}|(?:19|20)\d{6}|(?:19|20)\d\d-\d\d-\d\d)")
# More ids than this under one beginning, or numbers under the only beginning of a cohort, are patients and no visits.
MOST_VISITS = 12
NAMED_CASES = 10


def check_identity(cases: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Return problems between cases: an id used twice, one image under two ids or as two channels.

    Images are compared by their voxels: a copy is found whatever its name, header or compression.
    """
    problems = []
    known: set[str] = set()
    image_of: dict[str, tuple[str, str]] = {}
    for case, row in zip(cases, rows, strict=True):
        case_id = case["case_id"]
        if case_id in known:
            found, expected = f"a second case with the id {case_id!r}", "one row a case, each with its own id"
            problems.append(problem_row(case_id, case.get("label") or "", "duplicate_case", found, expected))
            continue
        known.add(case_id)
        for channel in CHANNELS:
            digest = row.get(f"{channel}_voxels")
            if not digest:
                continue
            other, role = image_of.setdefault(digest, (case_id, channel))
            if other != case_id:
                found = f"the very image of case {other}"
                expected = "an image of its own: the network would be tested on what it was trained on"
                problems.append(problem_row(case_id, row[channel], "duplicate_image", found, expected))
            elif role != channel:
                found, expected = f"the very image of the channel {role}", f"another image for {channel}"
                problems.append(problem_row(case_id, row[channel], "same_image", found, expected, "warning"))
    return problems


def check_orientations(manifest: pd.DataFrame) -> list[Problem]:
    """Return the cases whose arrays are oriented otherwise than most: nnU-Net reads arrays, and does not turn them."""
    ways = manifest[["case_id", "patient_id", "orientation"]].dropna(subset=["orientation"])
    if ways["orientation"].nunique() < 2:
        return []
    usual, number = Counter(ways["orientation"]).most_common(1)[0]
    expected = f"{usual} as {count(number, 'case')}; turn them all by grid: {{orientation: {usual}}} in the cohort"
    return [
        problem_row(row["case_id"], "", "orientation", f"images oriented {row['orientation']}", expected,
                    patient_id=row["patient_id"])
        for row in ways[ways["orientation"] != usual].to_dict("records")
    ]  # fmt: skip


def check_patients(manifest: pd.DataFrame) -> list[Problem]:
    """Return the patients who have two ids, as their other names show, or who may, as the ids are nearly alike."""
    problems = []
    for column in other_names(manifest):
        patients: dict[str, set[str]] = defaultdict(set)
        for row in manifest.dropna(subset=[column]).to_dict("records"):
            patients[str(row[column])].add(str(row["patient_id"]))
        for name, ids in patients.items():
            if len(ids) > 1:
                found = f"one {column}, {name}, under the patients {', '.join(sorted(ids))}"
                expected = "one patient_id for a patient, so that no split divides the cases"
                problems.append(problem_row("", "", "patient_under_two_ids", found, expected))
    for names in alike(manifest["patient_id"].astype(str)).values():
        if len(names) > 1:
            found = f"the patients {' and '.join(map(repr, names))}"
            expected = "one patient_id for a patient; if these are different people, nothing is wrong"
            problems.append(problem_row("", "", "near_ids", found, expected, "warning"))
    return [*problems, *check_visits(manifest)]


def check_visits(manifest: pd.DataFrame) -> list[Problem]:
    """Return a warning where the ids of cases differ only in what names a visit, naming the cases.

    A case without ``patient_id`` is a patient of its own, under the case's id, and the visits of one patient may train and
    test. Cases whose patient is known have nothing to ask.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    only_numbers = True
    for case_id in sorted(manifest.loc[manifest["case_id"] == manifest["patient_id"], "case_id"].astype(str)):
        visit, numbered = VISIT.fullmatch(case_id), NUMBERED_VISIT.fullmatch(case_id)
        only_numbers &= visit is None
        patient = visit["patient"] or visit["numbered"] if visit else numbered["patient"] if numbered else case_id
        groups[patient].append(case_id)
    if only_numbers and len(groups) == 1:
        return []
    named = [case for cases in groups.values() if 1 < len(cases) <= MOST_VISITS for case in cases]
    if not named:
        return []
    more = f" and {len(named) - NAMED_CASES} more" if len(named) > NAMED_CASES else ""
    found = (
        f"{count(len(named), 'case')} whose ids differ only in a visit, {', '.join(named[:NAMED_CASES])}{more}: they count as "
        "different patients, and may be divided between sets and folds"
    )
    expected = (
        "one patient_id for a patient (the cohort's key or column patient_id); if they are different people, nothing is wrong"
    )
    return [problem_row("", "", "visit_ids", found, expected, "warning")]


def check_blank(manifest: pd.DataFrame, inputs: Sequence[Sequence[str]]) -> list[Problem]:
    """Return the cases in which a model would see nothing but zeros; ``inputs``: the input channels of such models."""
    problems = []
    for row in manifest.to_dict("records"):
        substituted = read_substituted(row)
        for channels in inputs:
            if all(channel in substituted for channel in channels):
                found = f"no file for {listed(channels)}, all that a model reads: it would see nothing but zeros"
                expected = "an image of one of them, or another channel in the place of one, in the cohort's key substitute"
                problems.append(
                    problem_row(row["case_id"], "", "missing_channel", found, expected, patient_id=row["patient_id"])
                )
    return problems


def check_requirements(
    manifest: pd.DataFrame, requirements: Mapping[str, Any], excluded: Sequence[Mapping[str, Any]] = ()
) -> list[Problem]:
    """Return what the study asks of the cohort and the cohort cannot give: cases at all, a split, folds.

    ``excluded``: the cases that are left out of the manifest, as the cohort asks for.
    """
    if manifest.empty and excluded:
        found = f"no case that has every channel that the study reads: all are excluded, {len(excluded)}"
        expected = "cases with these channels, models that read fewer, or on_missing_channel: substitute"
        return [problem_row("", "", "empty_cohort", found, expected)]
    if manifest.empty:
        return [problem_row("", "", "empty_cohort", "no case", f"cases in {requirements['source']}")]
    problems = check_orientations(manifest) if requirements["trained"] else []
    problems += check_blank(manifest, requirements["blank"])
    sized = manifest.assign(volume_WT_ml=manifest.get("volume_WT_ml", 0.0))
    plan = SplitPlan(**requirements["split"])
    wrong = check_split(sized, plan, {str(case[key]) for case in excluded for key in ("case_id", "patient_id")})
    problems += wrong
    # Numbers of cases are told even so: as if the split were drawn.
    as_drawn = SplitPlan(test_fraction=plan.test_fraction, external=plan.external, seed=plan.seed)
    split = split_cases(sized, as_drawn if wrong else replace(plan, folds=()))
    problems += [] if wrong else check_values(split, plan.folds_by)
    training = split.loc[split["set"] == "train", "patient_id"].nunique()
    for folds in plan.folds:
        if folds > training:
            found = f"{count(training, 'training patient')} for {folds} folds"
            problems.append(problem_row("", "", "too_few_cases", found, f"folds: {training} at most, or more cases"))
    return problems
