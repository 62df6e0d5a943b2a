"""Compare a cohort with those that its predictions come from: no image and no patient may be in both, all are oriented alike.

Inputs: ``manifest`` (of the cohort), ``training`` (manifests of the cohorts on which models that predict it are trained).
Output: ``comparison.csv``, with the columns of verification.csv; empty where nothing is wrong, or there is nothing to compare.
Params: ``cohort``, ``dataset`` (its data set), ``training`` (name to data set of those cohorts, in their manifests' order).

Images are compared by their voxels, so that a copy is found under another name, header or compression. A patient is known by
patient_id, by the ids of the cases and by other names (``glioflow.cohorts.covariates.other_names``): BraTS has the ids that
a case had in former years, and TCGA's. Ids that somebody gave to files of their own may be alike by chance, such as 001: then
it is a warning. Phantoms have no patients but by their images.
"""

from typing import Any

import pandas as pd

from glioflow.cohorts.covariates import other_names
from glioflow.cohorts.manifests import read_manifest
from glioflow.cohorts.problems import PROBLEM_COLUMNS, Problem, problem_row
from glioflow.console import Console, count, run_script
from glioflow.files import write_table
from glioflow.study.configuration import OWN_LAYOUTS
from glioflow.study.registry import CHANNELS

MADE = "phantom"


def patient_names(manifest: pd.DataFrame) -> dict[str, str]:
    """Return every name of every patient, and the case that has it."""
    columns = ["patient_id", "case_id", *other_names(manifest)]
    return {
        str(name): case
        for column in reversed(columns)
        for name, case in zip(manifest[column], manifest["case_id"], strict=True)
        if not pd.isna(name)
    }


def voxel_hashes(manifest: pd.DataFrame) -> dict[str, str]:
    """Return the fingerprint of every image's voxels, and the case it belongs to."""
    columns = [f"{channel}_voxels" for channel in CHANNELS if f"{channel}_voxels" in manifest]
    return {
        digest: case
        for column in columns
        for digest, case in zip(manifest[column], manifest["case_id"], strict=True)
        if not pd.isna(digest)
    }


def id_severity(dataset: str, other: str) -> str | None:
    """Return how much it weighs that two cohorts have an id in common; None where it shows nothing."""
    if MADE in (dataset, other):
        return None
    return "warning" if dataset in OWN_LAYOUTS or other in OWN_LAYOUTS else "error"


def compare_manifests(
    manifest: pd.DataFrame, cohort: str, training: pd.DataFrame, trained_on: str, severity: str | None
) -> list[Problem]:
    """Return the leaks between a cohort and one that a model is trained on, and whether their arrays are oriented alike.

    ``severity`` is that of an id in common (``id_severity``).
    """
    problems = []
    patients, images = patient_names(training), voxel_hashes(training)
    twins = {case: images[digest] for digest, case in voxel_hashes(manifest).items() if digest in images}
    for case, other in twins.items():
        found = (
            f"an image of the case {other} of the cohort {trained_on!r}, on which a model is trained that predicts {cohort!r}"
        )
        problems.append(problem_row(case, "", "leaked_image", found, "cases that the model has not seen; leave it out of one"))
    for name, case in patient_names(manifest).items() if severity else ():
        if name in patients and case not in twins:
            found = f"the patient {name}, who is in the cohort {trained_on!r} as well (case {patients[name]})"
            expected = "patients whom the model has not seen; leave them out of one"
            problems.append(problem_row(case, "", "leaked_patient", found, expected, severity or ""))
    here, there = (sorted(set(table["orientation"].dropna())) for table in (manifest, training))
    if len(here) == len(there) == 1 and here != there:
        found = f"images oriented {here[0]}; a model that predicts them is trained on {trained_on!r}, oriented {there[0]}"
        expected = f"one orientation: give {cohort!r} the key grid: {{orientation: {there[0]}}}"
        problems.append(problem_row("", "", "orientation", found, expected))
    return problems


def main(snakemake: Any, console: Console) -> str:
    """Write comparison.csv."""
    manifest = read_manifest(snakemake.input.manifest)
    cohort, dataset, names = snakemake.params.cohort, snakemake.params.dataset, dict(snakemake.params.training)
    problems = [
        problem
        for (name, other), path in zip(names.items(), snakemake.input.training, strict=True)
        for problem in compare_manifests(manifest, cohort, read_manifest(path), name, id_severity(dataset, other))
    ]
    write_table(snakemake.output[0], pd.DataFrame(problems, columns=PROBLEM_COLUMNS))
    against = f"compared with {', '.join(names)}" if names else "predicted from no other cohort"
    return f"{against}, {count(len(problems), 'problem') if problems else 'no problem'}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
