"""Read every file of a cohort once: check it, hash it, and bring its labels to canonical values.

Inputs: ``cases`` (cases.csv), ``conversion`` (conversion.csv: the problems met while finding and converting the cases). Params:
``scheme`` (raw value to canonical), ``scheme_name``, ``labelled`` (whether the cases have a truth),
``channels`` (those that the study needs), ``missing`` (what is done
where a case lacks one: ``on_missing_channel``, ``substitute``), ``on_geometry_mismatch``, ``skull_stripped``, ``made_in``
(folder for canonical label maps and images of zeros), ``cache``, ``reread`` (whether files in the cache are read again too),
``requirements`` (of the study to the cohort: split, folds). Outputs: ``manifest.csv`` (one row a readable
case: paths, SHA-256 of every file, fingerprints of the voxels, geometry, volumes, covariates) and ``verification.csv`` (one
row a problem, or a reason why a case is left out of the manifest). The pass never stops at a problem: the table lists them
all, and ``split_cohort`` refuses a cohort with an error.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.case_checks import CheckRules, check_case
from glioflow.cohorts.cohort_checks import check_identity, check_patients, check_requirements
from glioflow.cohorts.layouts import file_stamps
from glioflow.cohorts.manifests import SUBSTITUTED, read_substituted, write_manifest
from glioflow.cohorts.missing_channels import missing_channels
from glioflow.cohorts.problems import EXCLUDED, PROBLEM_COLUMNS
from glioflow.console import Console, count, run_script
from glioflow.disk import largest_image_bytes
from glioflow.files import key_of, read_table, read_text_table, write_table
from glioflow.imaging.labels import REGIONS
from glioflow.stored_paths import find_path
from glioflow.study.configuration import ZEROS
from glioflow.study.registry import CHANNELS, ROLES


def files_key(case: Mapping[str, Any], rules: CheckRules) -> str:
    """Return the key under which a checked case is not checked again: its files' stamps, and the rules that matter to it."""
    if not missing_channels(case, rules.channels):
        rules = replace(rules, on_missing_channel="error", substitute={})
    stamps = file_stamps(case[role] for role in ROLES if case.get(role))
    roles = [role for role in ROLES if case.get(role)]
    key = {"case": case["case_id"], "patient": case["patient_id"], "roles": roles, "files": stamps}
    code = module_fingerprint("glioflow.cohorts.case_checks")
    return key_of({**key, "rules": asdict(rules), "largest": largest_image_bytes(), "code": code})


def verify_cases(
    cases: Sequence[Mapping[str, Any]],
    rules: CheckRules,
    cache: CaseCache,
    threads: int,
    console: Console,
    reread: bool = False,
) -> tuple[list[dict[str, Any]], int]:
    """Return what ``check_case`` finds in each case, in their order, and how many were read.

    Those are the cases that are not in the cache, or all of them to ``reread``.
    """
    seen: Counter[str] = Counter()
    names = []
    for case in cases:  # an id used twice is a problem to report, and must not hide in the cache
        seen[case["case_id"]] += 1
        names.append(f"{case['case_id']}#{seen[case['case_id']]}")
    checked, read = compute_cases(
        check_case,
        dict(zip(names, cases, strict=True)),
        rules,
        threads=threads,
        console=console,
        what="cases verified",
        cache=cache,
        keys=dict(zip(names, [files_key(case, rules) for case in cases], strict=True)),
        files=lambda _, value: written_files(value["row"]),
        reread=reread,
    )
    return list(checked.values()), read


def written_files(row: Mapping[str, Any]) -> list[str]:
    """Return the files of a manifest's row that may have been written for it: the label map, an image of zeros."""
    zeros = [row[channel] for channel, other in read_substituted(row).items() if other == ZEROS and channel in row]
    return [*([row["label"]] if "label" in row else []), *zeros[:1]]


def read_cases(path: str) -> list[dict[str, Any]]:
    """Return the rows of cases.csv without their empty cells, all as text: a covariate 007 is 007."""
    rows = read_text_table(path).to_dict("records")
    cases = [{str(key): value for key, value in row.items() if not pd.isna(value)} for row in rows]
    for case in cases:
        case |= {role: find_path(case[role], path) for role in ROLES if role in case}
    for case in cases:
        case["case_id"] = str(case.get("case_id", ""))
        case["patient_id"] = str(case.get("patient_id", case["case_id"]))
    return cases


def main(snakemake: Any, console: Console) -> str:
    """Write manifest.csv and verification.csv."""
    params = snakemake.params
    cases = read_cases(snakemake.input.cases)
    rules = CheckRules(
        scheme={int(raw): int(label) for raw, label in params.scheme.items()},
        scheme_name=params.scheme_name,
        labelled=params.labelled,
        channels=tuple(params.channels),
        on_geometry_mismatch=params.on_geometry_mismatch,
        skull_stripped=params.skull_stripped,
        labels=params.made_in,
        **params.missing,
    )
    checked, read = verify_cases(cases, rules, CaseCache(params.cache), snakemake.threads, console, bool(params.reread))
    rows = [value["row"] for value in checked]
    manifest = assemble(cases, rows)
    found = read_table(snakemake.input.conversion).astype("string").fillna("")
    problems: list[Mapping[Any, Any]] = [*found.to_dict("records")]
    problems += [problem for value in checked for problem in value["problems"]]
    problems += check_identity(cases, rows)
    problems += [] if manifest.empty else check_patients(manifest)
    excluded = sorted({problem["case_id"] for problem in problems if problem["severity"] == EXCLUDED})
    problems += check_requirements(manifest, params.requirements, [case for case in cases if case["case_id"] in excluded])
    table = pd.DataFrame(problems, columns=PROBLEM_COLUMNS).drop_duplicates()
    write_manifest(snakemake.output.manifest, manifest)
    write_table(snakemake.output.verification, table)
    kinds = table["severity"].value_counts()
    said = ", ".join(count(int(kinds.get(kind, 0)), kind) for kind in ("error", "warning")) if len(table) else "no problem"
    left_out = f", {count(len(excluded), 'case')} excluded" if excluded else ""
    return f"{count(len(cases), 'case')}, {read} read, {said}{left_out}"


def assemble(cases: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return manifest.csv: the cases that have a row, the first of each id, measured values before covariates."""
    records: dict[str, dict[str, Any]] = {}
    for case, row in zip(cases, rows, strict=True):
        if row and case["case_id"] not in records:
            covariates = {key: value for key, value in case.items() if key not in (*ROLES, *row)}
            records[case["case_id"]] = {**covariates, **row}
    used = [channel for channel in CHANNELS if any(channel in record for record in records.values())]
    marked = [SUBSTITUTED] if any(SUBSTITUTED in record for record in records.values()) else []
    measured = [
        "case_id", "patient_id", *used, *marked, "label", "shape", "spacing_mm", "orientation", "brain_ml",
        *[f"{channel}_sha256" for channel in used], "label_sha256", *[f"{channel}_voxels" for channel in used],
        *[f"volume_{region}_ml" for region in REGIONS],
    ]  # fmt: skip
    further = dict.fromkeys(key for record in records.values() for key in record if key not in measured)
    return pd.DataFrame(list(records.values()), columns=[*measured, *further])


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
