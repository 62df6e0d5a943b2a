"""The report on what checking found: of a cohort each kind of problem, then every one; of the study all warnings in short."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.report.source import Source
from glioflow.report.tables import Cell, Table, count_cell, join_words, slug

# A browser and a reader bear no more; the table's file has them all.
SHOWN_PROBLEMS = 200
TOLD_PROBLEMS = 5  # of one kind, in the summary
COLUMNS = ("case_id", "severity", "problem", "file", "found", "expected")
SEVERITIES = {"error": "error", "excluded": "exclusion", "warning": "warning"}

# Problem of verification.csv or comparison.csv: what it means for the study.
PROBLEM_WORDS = {
    "affine": "An image's header does not give where its voxels are.",
    "affine_mismatch": "Files of one case are in different places according to their headers.",
    "broken_link": "A link among the files leads nowhere.",
    "case_id": "A case's id cannot be used as a file name.",
    "channel_count": "A file holds another number of channels than its description gives.",
    "channel_order": "The order of the channels in a file cannot be told.",
    "constant_image": "An image has the same value everywhere.",
    "covariate_name": "A covariate has the name of one of the workflow's own columns.",
    "duplicate_case": "Two cases have one id.",
    "duplicate_image": "Two cases have the very same image.",
    "empty_cohort": "The cohort has no case.",
    "empty_label": "A truth mask is empty: the case shows no tumour.",
    "folds_by": "The training patients cannot be divided into folds by the covariate.",
    "label_scheme": "The label scheme of the truth, or of the masks, may be wrong.",
    "label_outside_brain": "Part of a truth mask is outside the brain: it may be mirrored, shifted or another case's.",
    "leaked_image": "An image is also in a cohort that a model was trained on, so that its score would be too good.",
    "leaked_patient": "A patient is also in a cohort that a model was trained on, so that the score would be too good.",
    "link_loop": "A link among the files leads back to a folder above it.",
    "mixed_numbers": "Most values of a covariate are numbers, and some are written otherwise: all count as categories.",
    "mask_of_no_case": "Masks belong to no case of the cohort and were not scored.",
    "missing_channel": "A channel that the study reads has no file.",
    "missing_label": "A case has no truth mask.",
    "missing_slices": "Slices of a volume are missing.",
    "near_ids": "Ids that may mean one case, or one patient, are not written alike.",
    "near_values": "Values of the covariate that folds are made by may mean the same, and are not written alike.",
    "near_empty_label": "A truth mask is all but empty.",
    "no_test_case": "Every test case of a split is left out.",
    "no_channel_order": "The description that tells the order of the channels is missing; the usual order was taken.",
    "no_number": "A clinical column of numbers holds text; those values count as unknown.",
    "covariate_table": "A clinical table has no column with ids, or two rows for one id.",
    "no_covariate": "The covariate to stratify by, or to make folds by, is unknown.",
    "no_covariates": "Cases have no row in the table of covariates; their values are undefined.",
    "no_images": "Segmentations without images were left out.",
    "left_out": "Cases in the folder that are no part of the data set were left out.",
    "no_segmentation": "Images without a segmentation were left out.",
    "nifti_version": "An image is written as NIfTI-2, which nnU-Net's reader cannot read.",
    "non_finite_voxels": "An image has voxels that are not numbers.",
    "not_skull_stripped": "An image shows more than a brain, in a data set whose skulls should be removed.",
    "orientation_unknown": "A header does not give where the axes of its image point; LPS was assumed.",
    "outlying_intensity": "Single voxels are far brighter or darker than the rest, and decide how the image is normalised.",
    "orientation": "Arrays are oriented otherwise than those that they are trained or compared with.",
    "other_patient": "A table calls a case's patient otherwise than the cohort does.",
    "patient_id": "A patient's id has a line end or another control character.",
    "patient_in_two_folds": "A patient's cases are divided between folds.",
    "patient_in_two_sets": "A patient's cases are divided between training and test.",
    "patient_under_two_ids": "One patient has two patient ids.",
    "same_image": "Two channels of a case are the very same image.",
    "shape_mismatch": "Files of one case differ in their number of voxels.",
    "slice_kind": "A slice is not the kind of picture that it should be.",
    "slice_size": "Slices of one case differ in size.",
    "spacing_unknown": "The files do not give the size of their voxels; one was assumed, and distances in mm depend on it.",
    "split_file": "The split that was read from a file does not fit the cohort.",
    "table_format": "A table is written in an unusual way; it was read all the same.",
    "too_few_cases": "There are fewer patients than the sets, or the folds, need.",
    "two_files": "A channel or a mask has two files.",
    "visit_ids": "Patients' ids differ only in what names a visit: they may be one patient in several sets or folds.",
    "unknown_label": "A mask has values that its label scheme does not know.",
    "unknown_test_case": "Cases to be held out are not in the cohort.",
    "unpaired_slices": "Slices have no mask, or masks no slice.",
    "unreadable": "A file cannot be read.",
    "unreadable_folder": "A folder cannot be read.",
    "unreadable_table": "A table of the data set cannot be read.",
    "wrong_extension": "A file is not of the kind that its name gives.",
}


def problem_words(problem: str) -> str:
    """Return a kind of problem as a sentence."""
    return PROBLEM_WORDS.get(problem, f"{problem.replace('_', ' ').capitalize()}.")


def study_warnings(source: Source) -> list[dict[str, str]]:
    """Return every warning of the study in short: what it is about, the anchor of that section, and a sentence.

    Warnings about single cases are one sentence a kind, with their number; those about a whole cohort or set are told in full.
    """
    warnings = []
    for name in source.study["cohorts"]:
        tables = [source.cohort_table(name, table) for table in ("verification", "comparison")]
        found = pd.concat(tables, ignore_index=True).astype("string").fillna("")
        found = found[found["severity"] == "warning"]
        about = {"name": name, "anchor": slug("cohort", name)}
        for kind, of_kind in found.groupby("problem", sort=False):
            whole = of_kind.loc[of_kind["case_id"] == "", "found"]
            said = [problem_words(str(kind)), *(f"Found {text}." for text in whole[:TOLD_PROBLEMS])]
            said += [f"There are {len(whole) - TOLD_PROBLEMS} more."] if len(whole) > TOLD_PROBLEMS else []
            if cases := of_kind["case_id"].replace("", pd.NA).nunique():
                said.append(f"In {count(cases, 'case')}.")
            warnings.append({**about, "text": " ".join(said)})
    for pair in source.pairs:
        about = {"name": pair.name, "anchor": slug("scores", pair.model, pair.set)}
        warnings += [{**about, "text": text} for text in source.warnings(pair)]
    return warnings


def problem_section(
    name: str, verification: pd.DataFrame, comparison: pd.DataFrame, trained_on: Sequence[str]
) -> dict[str, Any]:
    """Return what checking a cohort found: sentences, a table of the kinds of problems and one of all (None without any).

    ``trained_on``: the cohorts on which models that predict this one are trained, which ``comparison`` is about.
    """
    found = pd.concat([verification, comparison], ignore_index=True).astype("string").fillna("")
    if verification.empty:
        sentences = ["Every file was read and checked; no problem was found in the files."]
    else:
        sentences = [f"Every file was read and checked: {problem_counts(verification)}."]
    if trained_on:
        against = f"{join_words(trained_on)}, which models that predict {name} are trained on"
        nothing = "no image and no patient in common, and the arrays are oriented alike"
        sentences.append(f"Compared with {against}: {nothing if comparison.empty else problem_counts(comparison)}.")
    if len(found) > SHOWN_PROBLEMS:
        files = " and ".join(
            f"cohorts/{name}/{table}.csv"
            for table, problems in (("verification", verification), ("comparison", comparison))
            if len(problems)
        )
        sentences.append(f"The first {SHOWN_PROBLEMS} are listed; all are in {files}.")
    return {
        "sentence": " ".join(sentences),
        "kinds": kinds_table(name, found) if len(found) else None,
        "table": problem_table(name, found) if len(found) else None,
    }


def problem_counts(problems: pd.DataFrame) -> str:
    """Return how many errors, exclusions and warnings there are, and in how many cases."""
    kinds = problems["severity"].value_counts()
    found = join_words(count(int(kinds[kind]), word) for kind, word in SEVERITIES.items() if kind in kinds)
    cases = int(problems["case_id"].replace("", pd.NA).nunique())
    return f"{found} in {count(cases, 'case')}" if cases else found


def kinds_table(name: str, found: pd.DataFrame) -> Table:
    """Return how often each kind of problem was found and in how many cases: errors first, then the most frequent."""
    kinds = found.groupby(["problem", "severity"]).agg(
        times=("found", "size"), cases=("case_id", lambda ids: ids[ids != ""].nunique())
    )
    order = kinds.reset_index().sort_values(["severity", "times", "problem"], ascending=[True, False, True])
    rows = [
        [
            Cell(row["problem"]),
            Cell(problem_words(row["problem"])),
            Cell(row["severity"]),
            count_cell(row["times"]),
            count_cell(row["cases"]) if row["cases"] else Cell(""),
        ]
        for row in order.to_dict("records")
    ]
    return Table(
        f"What checking {name} found.", ["Problem", "What it means", "Severity", "Times", "Cases"], rows, frozenset({3, 4})
    )


def problem_table(name: str, found: pd.DataFrame) -> Table:
    """Return one row a problem, as many as a browser bears."""
    rows = [
        [Cell(Path(text).name, title=text) if column == "file" else Cell(text) for column, text in row.items()]
        for row in found[list(COLUMNS)].head(SHOWN_PROBLEMS).to_dict("records")
    ]
    return Table(f"Problems found in {name}.", ["Case", *map(str.capitalize, COLUMNS[1:])], rows)
