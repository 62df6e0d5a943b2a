"""Compare predicted with true volumes and proportions of a set: correlation, concordance and limits of agreement.

Inputs:  ``volumes`` (volumes.csv).
Outputs: ``agreement`` (agreement.csv, ``COLUMNS``): a row a measure.

The statistics are those of ``glioflow.quality.agreement``, by patient: ``n`` counts the cases with both values, ``patients``
their patients, ``undefined`` the other cases. Differences are prediction minus truth. ``predicted_zero`` counts the cases in
which the truth has some of the region and the prediction none. ``same_class`` is the share of the cases of one VASARI class in
both, with an interval by patient. ``note`` tells why something is undefined.
"""

from dataclasses import asdict
from typing import Any

import pandas as pd

from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_table
from glioflow.quality.agreement import Correlation, Limits, correlate, limits_of_agreement
from glioflow.quality.measures import MEASURES, SHARE
from glioflow.quality.shares import share_interval

CORRELATION, LIMITS = ([name for name in asdict(empty) if name != "note"] for empty in (Correlation(), Limits()))
COLUMNS = (
    *("measure", "unit", "n", "patients", "undefined", "predicted_zero", "mean_truth", "mean_prediction"),
    *(*CORRELATION, *LIMITS, "same_class", "same_class_ci_low", "same_class_ci_high", "note"),
)
TEXT = ("measure", "unit", "class_truth", "class_prediction", "session_by", "session_unit")


def compare_measure(rows: pd.DataFrame) -> dict[str, Any]:
    """Return one measure's row of agreement.csv, of its rows of volumes.csv."""
    both = rows[rows["truth"].notna() & rows["prediction"].notna()]
    patients = both["patient_id"].to_numpy(object)
    row: dict[str, Any] = {
        "n": len(both),
        "patients": len(set(patients)),
        "undefined": len(rows) - len(both),
        "predicted_zero": int(((both["truth"] > 0) & (both["prediction"] == 0)).sum()),
        "mean_truth": both["truth"].mean(),
        "mean_prediction": both["prediction"].mean(),
    }
    if both.empty:
        reasons = "; ".join(dict.fromkeys(rows["note"].dropna().astype(str)))
        return {**row, "note": reasons or "no case has both values"}
    means = both.groupby(patients)[["truth", "prediction"]].mean()
    correlation = correlate(means["truth"], means["prediction"])
    limits = limits_of_agreement(both["prediction"] - both["truth"], patients)
    notes = [correlation.note, limits.note]
    if row["predicted_zero"] and not both["prediction"].any():
        notes.insert(0, "never predicted")
    if row["undefined"]:
        reasons = "; ".join(dict.fromkeys(rows["note"].drop(both.index).dropna().astype(str)))
        notes.append(f"{count(row['undefined'], 'case')} left out: {reasons}")
    if (both["unit"] == SHARE).all():
        same = both["class_truth"] == both["class_prediction"]
        names = ("same_class", "same_class_ci_low", "same_class_ci_high")
        row |= dict(zip(names, share_interval(same, patients), strict=True))
    note = "; ".join(dict.fromkeys(filter(None, notes))) or None
    return {**row, **asdict(correlation), **asdict(limits), "note": note}


def compare_volumes(volumes: pd.DataFrame) -> pd.DataFrame:
    """Return agreement.csv, a row for each of ``MEASURES``."""
    rows = [
        {"measure": measure.name, "unit": measure.unit, **compare_measure(volumes[volumes["measure"] == measure.name])}
        for measure in MEASURES
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main(snakemake: Any, console: Console) -> str:
    """Write ``agreement.csv``."""
    table = compare_volumes(read_table(snakemake.input.volumes, TEXT))
    write_table(snakemake.output.agreement, table)
    return f"{count(len(table), 'measure')}, {int(table['pearson_r'].notna().sum())} with a correlation"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
