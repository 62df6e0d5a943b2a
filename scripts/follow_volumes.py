"""Follow the volumes of patients with several sessions, and count how often the prediction changes a response category.

Inputs:  ``volumes`` (volumes.csv).
Outputs: ``sessions`` (sessions.csv, ``SESSION_COLUMNS``): a row a case of those patients and followed region, sessions in
order;
         ``responses`` (responses.csv, ``RESPONSE_COLUMNS``): a row a region.
Params:  ``follow`` (regions), ``increase``, ``decrease``, ``measurable_ml`` (``glioflow.quality.responses.Thresholds``).

Changes are fractions: 0.4 is 40 % more. A category is that of ``glioflow.quality.responses``, in the truth from true volumes
alone and in the prediction from predicted ones alone; ``flipped`` tells where they differ. ``flip_share`` is over the
``follow_ups``, the sessions after the first that have both categories; its interval is by patient. ``missed`` counts the
progressions of the truth that are none in the prediction, ``false`` the others way round. ``n_<a>_<b>`` counts the sessions of
true category a and predicted category b.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd

from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_table
from glioflow.quality.responses import CATEGORIES, PROGRESSION, Thresholds, respond
from glioflow.quality.shares import share_interval

WHO = ("truth", "prediction")
VALUES = ("volume_{}_ml", "from_baseline_{}", "from_nadir_{}", "response_{}")
SESSION_COLUMNS = (
    *("region", "patient_id", "case_id", "session", "sessions", "session_by", "session_time", "session_unit"),
    *(name.format(who) for who in WHO for name in VALUES),
    *("flipped", "note"),
)
PAIRS = tuple(product(CATEGORIES, CATEGORIES))
RESPONSE_COLUMNS = (
    *("region", "patients", "sessions", "follow_ups", "flipped", "flip_share", "flip_ci_low", "flip_ci_high"),
    *("progressions", "missed", "false", *(f"n_{truth}_{prediction}" for truth, prediction in PAIRS), "note"),
)
TEXT = ("measure", "unit", "session_by", "session_unit", "region", "class_truth", "class_prediction")
ONE_SESSION = "every patient has one session"


def follow_region(rows: pd.DataFrame, region: str, thresholds: Thresholds) -> pd.DataFrame:
    """Return the rows of sessions.csv of one region, of its rows of volumes.csv."""
    found = []
    several = rows[rows["sessions"] > 1].sort_values(["patient_id", "session"], kind="stable")
    for _, sessions in several.groupby("patient_id", sort=False):
        responses = {who: respond(sessions[who].tolist(), thresholds) for who in WHO}
        for place, row in enumerate(sessions.to_dict("records")):
            line = {name: row[name] for name in SESSION_COLUMNS if name in row} | {"region": region}
            for who in WHO:
                response = responses[who][place]
                values = (row[who], response.from_baseline, response.from_nadir, response.category or None)
                line |= dict(zip((name.format(who) for name in VALUES), values, strict=True))
            both = line["response_truth"] and line["response_prediction"]
            line["flipped"] = line["response_truth"] != line["response_prediction"] if both else None
            found.append(line)
    return pd.DataFrame(found, columns=list(SESSION_COLUMNS)).astype({"flipped": "boolean"})


def count_flips(region: str, sessions: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    """Return a region's row of responses.csv, given its rows of sessions.csv and of volumes.csv."""
    judged = sessions[sessions["flipped"].notna()]
    truth, prediction = (judged[f"response_{who}"] for who in WHO)
    row = {
        "region": region,
        "patients": judged["patient_id"].nunique(),
        "sessions": len(sessions),
        "follow_ups": len(judged),
        "flipped": int(judged["flipped"].sum()),
        "progressions": int((truth == PROGRESSION).sum()),
        "missed": int(((truth == PROGRESSION) & (prediction != PROGRESSION)).sum()),
        "false": int(((truth != PROGRESSION) & (prediction == PROGRESSION)).sum()),
        **{f"n_{a}_{b}": int(((truth == a) & (prediction == b)).sum()) for a, b in PAIRS},
    }
    share = share_interval(judged["flipped"].astype(float), judged["patient_id"])
    row |= dict(zip(("flip_share", "flip_ci_low", "flip_ci_high"), share, strict=True))
    notes = []
    if sessions.empty:
        notes.append(ONE_SESSION if len(rows) else "no case was measured")
    elif judged.empty:
        notes += dict.fromkeys(rows["note"].dropna().astype(str)) or ["no session after the first has both volumes"]
    elif row["patients"] < 2:
        notes.append("one patient gives no interval")
    return {**row, "note": "; ".join(notes) or None}


def follow_volumes(volumes: pd.DataFrame, follow: Sequence[str], thresholds: Thresholds) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return sessions.csv and responses.csv."""
    tables, summary = [pd.DataFrame(columns=list(SESSION_COLUMNS))], []
    for region in follow:
        rows = volumes[volumes["measure"] == region]
        sessions = follow_region(rows, region, thresholds)
        tables += [sessions] if len(sessions) else []
        summary.append(count_flips(region, sessions, rows))
    return pd.concat(tables[1:] or tables, ignore_index=True), pd.DataFrame(summary, columns=list(RESPONSE_COLUMNS))


def main(snakemake: Any, console: Console) -> str:
    """Write ``sessions.csv`` and ``responses.csv``."""
    params = snakemake.params
    thresholds = Thresholds(params.increase, params.decrease, params.measurable_ml)
    sessions, responses = follow_volumes(read_table(snakemake.input.volumes, TEXT), list(params.follow), thresholds)
    write_table(snakemake.output.sessions, sessions)
    write_table(snakemake.output.responses, responses)
    patients = sessions["patient_id"].nunique()
    if not patients:
        return f"{ONE_SESSION}: nothing to follow"
    flips = (f"{row['region']} {row['flipped']} of {row['follow_ups']}" for row in responses.to_dict("records"))
    return f"{count(patients, 'patient')} followed, categories flipped: {', '.join(flips)}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
