"""Test whether the shape of a region goes along with the covariates of the patients, such as molecular subtypes.

Inputs:  ``shapes`` (shapes.csv), ``manifest`` (manifest.csv, with the covariates).
Outputs: ``associations`` (shape_covariates.csv, ``COLUMNS``): a row a mask, covariate and feature.

A patient counts once, by the mean of a feature over its cases; one whose cases differ in the covariate is left out. Two tests:

- of the feature cut at its median over the tested patients (above it, or not), the Fisher–Freeman–Halton test, ``fisher_p``, as
  in Mazurowski et al. 2017 (doi:10.1007/s11060-017-2420-1);
- of the feature itself, the Kruskal–Wallis test, ``kruskal_h`` and ``kruskal_p`` (both: ``glioflow.evaluation.group_tests``).

``fisher_q`` and ``kruskal_q`` are corrected for all tests of their kind in one mask (Benjamini & Hochberg 1995, J R Stat Soc B
57:289-300). Covariates are tested by their values: whole numbers from 0 to ``LARGEST_CODE`` are taken for codes, as those of
clusters and grades; other numbers are cut at their median. A value of fewer than ``FEWEST_PATIENTS`` patients is left out of
the tests and named in the note. ``levels`` has each value with the patients above the median and all its patients, ``R1:
5/12``.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from glioflow.cohorts.covariate_values import all_different, are_dates, is_identifier, read_covariates, typed_covariate
from glioflow.console import Console, count, run_script
from glioflow.evaluation.group_tests import fisher_freeman_halton, kruskal_wallis
from glioflow.files import read_table, write_table
from glioflow.formatting import exact
from glioflow.quality.shapes import FEATURES

COLUMNS = (
    *("mask", "region", "covariate", "feature", "n", "patients_left_out", "groups", "levels", "median"),
    *("fisher_p", "fisher_q", "kruskal_h", "kruskal_p", "kruskal_q", "note"),
)
TEXT = ("mask", "region")
LARGEST_CODE = 20
FEWEST_PATIENTS = 3  # of a value that is tested
TESTS = ("fisher", "kruskal")


def as_category(values: pd.Series) -> pd.Series:
    """Return a covariate, text by case, as categories: codes and texts as they are, other numbers cut at their median."""
    kind, typed = typed_covariate(values)
    if kind == "category":
        return typed
    known = typed.dropna()
    if ((known % 1 == 0) & known.between(0, LARGEST_CODE)).all():
        return typed.map(exact, na_action="ignore")
    middle = float(known.median())
    return typed.map(lambda value: f"> {exact(middle)}" if value > middle else f"≤ {exact(middle)}", na_action="ignore")


def why_not(name: str, values: pd.Series) -> str:
    """Return why a covariate, text by case, is not tested; nothing where it is."""
    kind, typed = typed_covariate(values)
    if is_identifier(name):
        return "an identifier"
    if are_dates(values):
        return "dates"
    if not values.notna().any():
        return "no case of the set has a value"
    return "a text that differs in every case" if all_different(kind, typed) else ""


def by_patient(categories: pd.Series, patients: pd.Series) -> tuple[pd.Series, int]:
    """Return the category of every patient whose cases agree, by patient, and how many patients have cases that do not.

    ``categories`` and ``patients``: by case.
    """
    known = categories.dropna()
    grouped = known.groupby(patients[known.index].to_numpy(object))
    alike = grouped.nunique() == 1
    return grouped.first()[alike], int((~alike).sum())


def associate(values: pd.Series, categories: pd.Series) -> dict[str, Any]:
    """Return both tests of a feature across the categories of patients, by column; both by patient, none undefined."""
    sizes = categories.value_counts().sort_index()
    small = sizes[sizes < FEWEST_PATIENTS]
    kept = categories[~categories.isin(list(small.index))]
    values = values[kept.index]
    notes = [f"left out, fewer than {FEWEST_PATIENTS} patients: {', '.join(map(str, small.index))}"] if len(small) else []
    row: dict[str, Any] = {"n": len(kept), "groups": kept.nunique()}
    if row["groups"] < 2:
        what = f"one value to test: {kept.iloc[0]}" if row["groups"] else "no value to test"
        return {**row, "note": "; ".join([*notes, what])}
    middle = float(values.median())
    above = values > middle
    counts = pd.DataFrame({"above": above.groupby(kept).sum(), "all": kept.value_counts()})
    row |= {
        "median": middle,
        "levels": "; ".join(f"{level}: {int(line['above'])}/{int(line['all'])}" for level, line in counts.iterrows()),
    }
    if values.nunique() == 1:
        return {**row, "note": "; ".join([*notes, "the feature has one value in every patient"])}
    row["fisher_p"], is_exact = fisher_freeman_halton(np.column_stack([counts["above"], counts["all"] - counts["above"]]))
    if not is_exact:
        notes.append("Fisher–Freeman–Halton p from tables drawn at random")
    row["kruskal_h"], row["kruskal_p"] = kruskal_wallis(values, kept)
    return {**row, "note": "; ".join(notes) or None}


def compare_shapes(shapes: pd.DataFrame, covariates: pd.DataFrame) -> pd.DataFrame:
    """Return shape_covariates.csv. ``covariates``: text by case_id."""
    rows = []
    for mask, of_mask in shapes.groupby("mask", sort=False):
        by_case = of_mask.set_index("case_id")
        for name in map(str, covariates.columns):
            own = covariates[name].reindex(by_case.index)
            reason = why_not(name, own)
            of_patients = (own, 0) if reason else by_patient(as_category(own), by_case["patient_id"])
            for feature in FEATURES:
                values = by_case[feature].groupby(by_case["patient_id"].to_numpy(object)).mean().dropna()
                row = {"mask": mask, "region": by_case["region"].iloc[0], "covariate": name, "feature": feature}
                if reason:
                    rows.append({**row, "n": 0, "note": reason})
                    continue
                rows.append({**row, "patients_left_out": of_patients[1], **relate(values, of_patients[0], by_case["note"])})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for test in TESTS:
        table[f"{test}_q"] = table[f"{test}_q"].astype(float)
        for _, tested in table[table[f"{test}_p"].notna()].groupby("mask"):
            table.loc[tested.index, f"{test}_q"] = false_discovery_control(tested[f"{test}_p"].astype(float))
    return table.astype({"groups": "Int64", "patients_left_out": "Int64", "n": "Int64"})


def relate(values: pd.Series, categories: pd.Series, notes: pd.Series) -> dict[str, Any]:
    """Return both tests of a feature, by column; by patient. ``notes``: why cases of the mask have no shape."""
    both = categories.index.intersection(values.index)
    if len(both):
        return associate(values[both], categories[both])
    reasons = "; ".join(dict.fromkeys(notes.dropna().astype(str)))
    return {"n": 0, "note": "no patient has both a value and a shape" if len(values) else reasons or "no case has a shape"}


def main(snakemake: Any, console: Console) -> str:
    """Write ``shape_covariates.csv``."""
    table = compare_shapes(read_table(snakemake.input.shapes, TEXT), read_covariates(snakemake.input.manifest))
    write_table(snakemake.output.associations, table)
    tested = table[table["fisher_p"].notna()]
    if tested.empty:
        return f"{count(table['covariate'].nunique(), 'covariate')}, none tested"
    first = tested.sort_values("fisher_q", kind="stable").iloc[0]
    said = f"the smallest q {first['fisher_q']:.3g} ({first['covariate']} × {first['feature']}, {first['mask']})"
    return f"{count(tested['covariate'].nunique(), 'covariate')} tested, {said}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
