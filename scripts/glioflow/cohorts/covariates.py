"""Clinical columns: where they come from, and which columns of a table they are.

Covariates come from a data set's own tables (``covariates`` of its registry entry), from its folders, from further columns of a
case table and from the file that a cohort names. They travel in cases.csv and manifest.csv, after the columns of the workflow,
to the score tables, the failure analysis and the report.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from glioflow.cohorts.layouts.listing import FoundCase
from glioflow.cohorts.manifests import SUBSTITUTED
from glioflow.cohorts.problems import Problem, format_problems, near_id_problems, problem_row
from glioflow.console import count
from glioflow.files import NUMBER
from glioflow.imaging.labels import REGIONS
from glioflow.study.configuration import AnyCohort, PhantomCohort, cohort_dataset, expand_path
from glioflow.study.feature_names import is_feature
from glioflow.study.metric_registry import find_metric
from glioflow.study.registry import CHANNELS, CovariateTable
from glioflow.user_tables import UNKNOWN, column_name, covariate_names, read_user_table

IDENTIFIERS = ("case_id", "patient_id", "participant_id")

# Columns of score tables and of the tables made of them, besides the metrics.
_TABLE_COLUMNS = frozenset(
    {"tta", "fold", "note", "region", "metric", "value", "group", "rank", "set", "stratum", "model", "covariate"}
)
MANIFEST_COLUMNS = re.compile(
    rf"case_id|patient_id|label|shape|spacing_mm|orientation|({'|'.join(CHANNELS)})|({'|'.join((*CHANNELS, 'label'))})_sha256|"
    rf"({'|'.join(CHANNELS)})_voxels|brain_ml|volume_[A-Z]+_ml|{SUBSTITUTED}"
)


# Covariates that compare_covariates adds, of the tumour and of its prediction.
TRUE_VOLUME, PREDICTED_COMPONENTS, VOLUME_ERROR = "true_volume_{}_ml", "predicted_components_{}", "volume_error_{}_ml"
_STANDARD = frozenset(name.format(region) for name in (TRUE_VOLUME, PREDICTED_COMPONENTS, VOLUME_ERROR) for region in REGIONS)


def covariate_columns(manifest: pd.DataFrame) -> list[str]:
    """Return the names of a manifest's columns that are covariates, in their order."""
    return [column for column in map(str, manifest.columns) if not MANIFEST_COLUMNS.fullmatch(column)]


def other_names(manifest: pd.DataFrame) -> list[str]:
    """Return the covariates that name the patient in other data sets, such as tcga_tcia_subject_id; a site_id does not."""
    return [column for column in covariate_columns(manifest) if re.search(r"(subject|patient|participant)_id$", column)]


def is_reserved(name: str) -> bool:
    """Tell whether a covariate may not have a name, because the workflow's own tables have such a column."""
    known = MANIFEST_COLUMNS.fullmatch(name) or name in _TABLE_COLUMNS | _STANDARD or is_feature(name)
    return bool(known) or find_metric(name).kind != "other"


def add_covariates(cases: Sequence[FoundCase], cohort: AnyCohort, folder: Path) -> tuple[list[FoundCase], list[Problem]]:
    """Return the cases with the columns of every clinical table of the cohort, and what is wrong with those tables.

    A row belongs to the case, or else to the patient, whose id it holds. Raises UserError where a table cannot be read.
    """
    added = [replace(case, covariates=tidy(case.covariates)) for case in cases]
    problems: list[Problem] = []
    tables = [] if isinstance(cohort, PhantomCohort) else cohort_dataset(cohort).covariates
    for table in tables:
        for path in sorted(folder.glob(table.file)):
            added, _, wrong = join_table(added, path, table)
            problems += wrong
    given = None if isinstance(cohort, PhantomCohort) else cohort.covariates
    if given is not None:
        path = Path(expand_path(given))
        added, known, wrong = join_table(added, path, CovariateTable(file=given, case_id=list(IDENTIFIERS)))
        problems += wrong
        sound = all(problem["severity"] == "warning" for problem in wrong)
        if sound and (lacking := [case.case_id for case in cases if case.case_id not in known]):
            found = (
                f"no row for {len(lacking)} of {len(cases)} cases ({', '.join(lacking[:5])}{' …' if len(lacking) > 5 else ''})"
            )
            problems.append(
                problem_row("", path.as_posix(), "no_covariates", found, "a row a case, or a patient, by id", "warning")
            )
    names = dict.fromkeys(name for case in added for name in case.covariates)
    for name in names:
        if is_reserved(name):
            expected = "another name: the workflow's tables have a column of this one"
            problems.append(problem_row("", "", "covariate_name", f"a covariate called {name!r}", expected))
    kept = [replace(c, covariates={k: v for k, v in c.covariates.items() if not is_reserved(k)}) for c in added]
    return kept, problems


def tidy(values: Mapping[str, str]) -> dict[str, str]:
    """Return covariates under names in snake_case, each on one line, without those of which nothing is known."""
    known = {name: re.sub(r"\s*[\r\n]+\s*", " ", text.strip()) for name, text in values.items()}
    return {column_name(name): text for name, text in known.items() if text.lower() not in UNKNOWN}


def join_table(
    cases: Sequence[FoundCase], path: Path, table: CovariateTable
) -> tuple[list[FoundCase], set[str], list[Problem]]:
    """Return the cases with the columns of one clinical table, the ids of those it has a row for, and what is wrong with it."""
    read = read_user_table(path)
    rows, columns = read.rows, read.columns
    names = covariate_names(path, (column for column in columns if column not in IDENTIFIERS), table.columns)
    keys = [key for key in ([table.case_id] if isinstance(table.case_id, str) else table.case_id) if key in columns]
    problems = format_problems(path.as_posix(), read.notes)
    if rows and not keys:
        found, expected = (
            f"the columns {', '.join(columns[:8])}",
            f"a column {table.case_id}: the id of the case or the patient",
        )
        problems.append(problem_row("", path.as_posix(), "covariate_table", found, expected))
    rows = [{**row, key: padded(row[key], table.id_digits)} for key in keys[:1] for row in rows] or rows
    ids = Counter(row[key] for key in keys[:1] for row in rows if row[key])
    for name in (name for name, number in ids.items() if number > 1):
        problems.append(
            problem_row(name, path.as_posix(), "covariate_table", "two rows for this id", "one row a case or patient")
        )
    by_id = {row[key]: row for key in keys[:1] for row in rows if row[key]}
    dropped: Counter[str] = Counter()
    joined, known = [], set[str]()
    for case in cases:
        row = by_id.get(case.case_id) or by_id.get(case.patient_id)
        if row is None:
            joined.append(case)
            continue
        known.add(case.case_id)
        named = {names[column]: text for column, text in row.items() if column not in (*keys, *IDENTIFIERS)}
        values = {name: table.values.get(name, {}).get(text, text) for name, text in tidy(named).items()}
        for name in [name for name in table.numbers if name in values and not is_number(values[name])]:
            dropped[f"{name}: {values.pop(name)}"] += 1
        joined.append(replace(case, covariates={**case.covariates, **values}))
    lacking = [name for case in cases if case.case_id not in known for name in {case.case_id, case.patient_id}]
    ids_of_cases = {name for case in cases for name in (case.case_id, case.patient_id)}
    problems += near_id_problems(path.as_posix(), lacking, by_id.keys() - ids_of_cases)
    problems += other_patients(path, cases, rows)
    if dropped:
        found = f"no number in {count(sum(dropped.values()), 'cell')} ({', '.join(list(dropped)[:3])})"
        problems.append(
            problem_row("", path.as_posix(), "no_number", found, "numbers; these cells count as unknown", "warning")
        )
    return joined, known, problems


def padded(identifier: str, digits: int | None) -> str:
    """Return an id whose first number has been filled up with zeros to so many digits."""
    return re.sub(r"\d+", lambda number: number[0].zfill(digits), identifier, count=1) if digits else identifier


def other_patients(path: Path, cases: Sequence[FoundCase], rows: Sequence[Mapping[str, str]]) -> list[Problem]:
    """Return a warning where a table of covariates calls patients otherwise than the cohort, which does not heed it."""
    patients = {case.case_id: case.patient_id for case in cases}
    named = [(row["case_id"], row["patient_id"]) for row in rows if row.get("case_id") in patients and row.get("patient_id")]
    others = [f"{patient} for {patients[case]} (case {case})" for case, patient in named if patient != patients[case]]
    if not others:
        return []
    found = f"other patients than the cohort's in {count(len(others), 'row')}: {', '.join(others[:3])}"
    expected = "the cohort's; who is a patient, its own files, or its key patient_id, say, and not a table of covariates"
    return [problem_row("", path.as_posix(), "other_patient", found, expected, "warning")]


def is_number(text: str) -> bool:
    """Tell whether a text is a number with a decimal point."""
    return bool(NUMBER.fullmatch(text))
