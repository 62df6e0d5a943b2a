"""The report on volumes and shape: how far predicted volumes agree, what they would change, what goes along with shape."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glioflow.console import count
from glioflow.formatting import number, significant
from glioflow.quality.responses import CATEGORIES
from glioflow.quality.sessions import BY_ID
from glioflow.report.covariates import probability_cell
from glioflow.report.quality_figures import draw_agreement, draw_sessions
from glioflow.report.shape import association_findings, shape_part
from glioflow.report.source import Pair, Source, embed_figure, records
from glioflow.report.tables import (
    Cell,
    Table,
    count_cell,
    join_words,
    number_cell,
    significant_cell,
    slug,
    text_cell,
    together,
    without_empty,
)

RATIO, WHOLE = "ET/WT", "WT"
SHOWN_ROWS = 200
CATEGORY_WORDS = {"CR": "complete response", "PR": "partial response", "SD": "stable", "PD": "progression"}


def measured_pairs(source: Source) -> list[Pair]:
    """Return the prediction sets whose volumes were measured."""
    wanted = source.study["quality"]["sets"]
    return [pair for pair in source.pairs if wanted is None or pair.set in wanted]


def quality_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of a set's volumes and shapes."""
    volumes, agreement = (source.quality(pair, name) for name in ("volumes", "agreement"))
    drawn = [row for row in records(agreement) if row["measure"] in (RATIO, WHOLE) and row["n"]]
    alt = f"Predicted against true values of {pair.name} and their differences; the table that follows has the numbers."
    return {
        "name": pair.name,
        "anchor": slug("quality", pair.model, pair.set),
        "sentence": " ".join(filter(None, [agreement_sentence(agreement), unit_words(source, pair)])),
        "undefined": undefined_words(agreement),
        "figure": embed_figure(draw_agreement(volumes, drawn), alt) if drawn else None,
        "table": agreement_table(pair, agreement),
        "cases": case_table(pair, volumes),
        "left_out": max(0, volumes["case_id"].nunique() - SHOWN_ROWS),
        "folder": f"quality/{pair.model}/{pair.set}",
        "over_time": over_time(source, pair) if source.study["quality"]["follow"] else None,
        "shape": shape_part(source, pair) if source.study["quality"]["shape"] else None,
    }


def quality_sentence(source: Source, pair: Pair) -> dict[str, str]:
    """Return what a set's volumes and shapes come to, in words for the summary, and the anchor of its section."""
    parts = [agreement_sentence(source.quality(pair, "agreement"), short=True)]
    if source.study["quality"]["follow"]:
        parts.append(short_flips(source.quality(pair, "responses")))
    if source.study["quality"]["shape"]:
        parts += association_findings(source.quality(pair, "shape_covariates"))
    return {"name": pair.name, "anchor": slug("quality", pair.model, pair.set), "text": together(" ".join(filter(None, parts)))}


# ---- volumes


def agreement_sentence(agreement: pd.DataFrame, short: bool = False) -> str:
    """Return how far predicted proportion and volume agree with the true ones."""
    rows = {row["measure"]: row for row in records(agreement)}
    ratio, whole = rows[RATIO], rows[WHOLE]
    said = []
    if not pd.isna(ratio["pearson_r"]):
        r, ccc = (
            f"{number(ratio[name], 2)}{ci_words(ratio, ends)}" for name, ends in (("pearson_r", "r_ci"), ("ccc", "ccc_ci"))
        )
        said.append(
            f"The enhancing share of the tumour ({RATIO}), predicted against true: r² = {number(ratio['r2'], 2)}, r = {r}, "
            f"Lin's concordance {ccc}, {cases_words(ratio)}."
        )
    elif not short:
        said.append(f"The enhancing share of the tumour ({RATIO}) cannot be compared: {ratio['note']}.")
    if not pd.isna(whole["bias"]):
        direction = "larger" if whole["bias"] > 0 else "smaller"
        low, high = (significant(whole[name], 3) for name in ("limit_low", "limit_high"))
        size = f"{significant(abs(whole['bias']), 3)} ml {direction} than" if whole["bias"] else "as large as"
        said.append(
            f"Predicted WT is on average {size} the true one{ci_words(whole, 'bias_ci', 3)}; of a single case the difference "
            f"is expected between {low} and {high} ml (95 % limits of agreement, {cases_words(whole)})."
        )
    elif not short:
        said.append(f"Volumes of WT cannot be compared: {whole['note']}.")
    never = [row["measure"] for row in rows.values() if row["unit"] == "ml" and str(row["note"]).startswith("never predicted")]
    if never:
        said.append(f"{join_words(never)} {'is' if len(never) == 1 else 'are'} never predicted, though the truth has some.")
    return together(" ".join(said) or "Volumes cannot be compared.")


def undefined_words(agreement: pd.DataFrame) -> str:
    """Return which measures no case has in both masks, those of one reason together; nothing where all are compared."""
    rest = agreement[agreement["n"] == 0]
    reasons = [f"{join_words(own['measure'])} ({note})" for note, own in rest.groupby("note", sort=False)]
    return f"Not compared: {'; '.join(reasons)}." if reasons else ""


def unit_words(source: Source, pair: Pair) -> str:
    """Return a warning where the cohort's files do not tell the size of a voxel, on which every volume depends."""
    if not (source.cohort_table(pair.cohort, "verification")["problem"] == "spacing_unknown").any():
        return ""
    return "The files tell no size of a voxel: one ml stands for a thousand voxels of an assumed size, and only shares hold."


def cases_words(row: Mapping[str, Any]) -> str:
    """Return ``n = 72 patients``, with the number of cases where some have several."""
    patients = f"n = {count(int(row['patients']), 'patient')}"
    return patients if row["patients"] == row["n"] else f"{patients} with {int(row['n'])} cases"


def ci_words(row: Mapping[str, Any], ends: str, digits: int | None = None) -> str:
    """Return an interval for a sentence, with two decimals or so many significant digits; nothing where there is none."""
    low, high = row[f"{ends}_low"], row[f"{ends}_high"]
    if pd.isna(low):
        return ""
    first, last = (number(value, 2) if digits is None else significant(value, digits) for value in (low, high))
    return f" (95 % CI {first} to {last})"


def interval_words(row: Mapping[str, Any], name: str, ends: str, decimals: int) -> str:
    """Return a value with its interval: ``0.96 [0.94, 0.97]``; the value alone where it has none."""
    value = number(row[name], decimals)
    if pd.isna(row[name]) or pd.isna(row[f"{ends}_low"]):
        return value
    return f"{value} [{number(row[f'{ends}_low'], decimals)}, {number(row[f'{ends}_high'], decimals)}]"


def agreement_table(pair: Pair, agreement: pd.DataFrame) -> Table:
    """Return the agreement of every measure; differences are prediction minus truth."""
    rows = []
    for row in records(agreement[agreement["n"] > 0]):
        digits = 2 if row["unit"] == "ml" else 3
        shares = {name: 100 * value for name, value in row.items() if name.startswith("same_class")}
        same = interval_words(shares, "same_class", "same_class_ci", 0)
        rows.append(
            [
                Cell(row["measure"]),
                Cell(row["unit"]),
                count_cell(row["n"]),
                Cell("" if row["patients"] == row["n"] else str(int(row["patients"]))),
                *(number_cell(row[name], digits) for name in ("mean_truth", "mean_prediction")),
                Cell(interval_words(row, "pearson_r", "r_ci", 2)),
                number_cell(row["r2"], 2),
                probability_cell(row["p"]),
                Cell(interval_words(row, "ccc", "ccc_ci", 2)),
                Cell(interval_words(row, "bias", "bias_ci", digits)),
                Cell(interval_words(row, "limit_low", "limit_low_ci", digits)),
                Cell(interval_words(row, "limit_high", "limit_high_ci", digits)),
                Cell("" if pd.isna(row["same_class"]) else same),
                text_cell(row["note"]),
            ]
        )
    columns = [
        *("Measure", "Unit", "n", "Patients", "Mean, truth", "Mean, prediction", "r [95 % CI]", "r²", "p"),
        *("Lin's CCC [95 % CI]", "Mean difference [95 % CI]", "Lower limit [95 % CI]", "Upper limit [95 % CI]"),
        *("Same VASARI class, % [95 % CI]", "Note"),
    ]
    caption = f"Volumes and proportions of {pair.name}, predicted against true; differences are prediction minus truth."
    return without_empty(Table(caption, columns, rows, frozenset(range(2, 14)), headers=2))


def case_table(pair: Pair, volumes: pd.DataFrame) -> Table:
    """Return the true and the predicted value of every measure, a row a case."""
    measures = [str(name) for name in dict.fromkeys(volumes["measure"])]
    rows = []
    for case, own in list(volumes.groupby("case_id", sort=False))[:SHOWN_ROWS]:
        by_measure = {row["measure"]: row for row in records(own)}
        first = by_measure[measures[0]]
        cells = [Cell(str(case)), Cell(f"{first['session']} of {first['sessions']}" if first["sessions"] > 1 else "")]
        for measure in measures:
            digits = 1 if by_measure[measure]["unit"] == "ml" else 3
            defined = [by_measure[measure][who] for who in ("truth", "prediction")]
            cells += [Cell("") if pd.isna(value) else number_cell(value, digits) for value in defined]
        rows.append(cells)
    heads = [f"{measure}{'' if '/' in measure else ' (ml)'}, {who}" for measure in measures for who in ("truth", "prediction")]
    columns = ["Case", "Session", *heads]
    caption = f"Volumes and proportions of every case of {pair.name}."
    return without_empty(Table(caption, columns, rows, frozenset(range(2, len(columns))), sortable=True))


# ---- over time


def over_time(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of the volumes over a patient's sessions."""
    sessions, responses = (source.quality(pair, name) for name in ("sessions", "responses"))
    if sessions.empty:
        return {"sentence": no_sessions(responses), "figure": None, "tables": [], "sessions": None}
    alt = f"Volumes of {pair.name} over the sessions, truth and prediction; the table that follows has the numbers."
    patients = sessions["patient_id"].nunique()
    several = f"{count(patients, 'patient')} {'has' if patients == 1 else 'have'} several sessions here."
    return {
        "sentence": together(" ".join([several, order_words(source, sessions), *flip_sentences(responses)])),
        "figure": embed_figure(draw_sessions(sessions), alt) if sessions["volume_truth_ml"].notna().any() else None,
        "tables": [flip_table(pair, row) for row in records(responses) if row["follow_ups"]],
        "sessions": session_table(pair, sessions),
    }


def no_sessions(responses: pd.DataFrame) -> str:
    """Return why no volume is followed."""
    reasons = join_words(dict.fromkeys(responses["note"].dropna().astype(str)))
    return f"Nothing can be said of volumes over time: {reasons} in this set."


def order_words(source: Source, sessions: pd.DataFrame) -> str:
    """Return in what order the sessions are taken."""
    ways, wanted = list(dict.fromkeys(sessions["session_by"].astype(str))), source.study["quality"]["session_by"]
    by_id = sessions.loc[sessions["session_by"] == BY_ID, "patient_id"].nunique()
    if ways == [BY_ID]:
        why = f"{wanted} does not date them" if wanted else "no covariate that dates them is named"
        return f"The order of the sessions is that of the case ids, as {why}."
    rest = f", and by the case ids in {count(by_id, 'patient')} where that is missing" if by_id else ""
    return f"The order of the sessions is by {wanted}{rest}."


def flip_sentences(responses: pd.DataFrame) -> list[str]:
    """Return for each region how often the prediction gives another response category; nothing where no session can tell."""
    said = []
    for row in records(responses):
        if not row["follow_ups"]:
            if row["sessions"]:
                said.append(f"By {row['region']} no category can be compared: {row['note']}.")
            continue
        sessions, of_patients = count(row["follow_ups"], "follow-up session"), count(int(row["patients"]), "patient")
        said.append(
            f"By the volume of {row['region']} the prediction puts {row['flipped']} of {sessions} of {of_patients} into "
            f"another response category than the truth{between_words(row)}: of {count(row['progressions'], 'progression')} "
            f"{row['missed']} missed, {row['false']} false."
        )
    return said


def short_flips(responses: pd.DataFrame) -> str:
    """Return how often the prediction gives another response category, in one sentence; nothing where no session can tell."""
    judged = [row for row in records(responses) if row["follow_ups"]]
    parts = [f"{row['flipped']} of {row['follow_ups']} by {row['region']}{between_words(row)}" for row in judged]
    patients = max((int(row["patients"]) for row in judged), default=0)
    what = f"follow-up sessions of {count(patients, 'patient')} whose response category is another one in the prediction"
    return f"{what[0].upper()}{what[1:]}: {join_words(parts)}." if parts else ""


def between_words(row: Mapping[str, Any]) -> str:
    """Return a share of flips in per cent with its interval: `` (17 %, 95 % CI 0 to 50 %)``."""
    share, low, high = (number(100 * row[f"flip_{name}"], 0) for name in ("share", "ci_low", "ci_high"))
    return f" ({share} %)" if pd.isna(row["flip_ci_low"]) else f" ({share} %, 95 % CI {low} to {high} %)"


def flip_table(pair: Pair, row: Mapping[str, Any]) -> Table:
    """Return how many sessions have each true and each predicted category, of one region."""
    rows = [
        [Cell(f"{truth} ({CATEGORY_WORDS[truth]})"), *(count_cell(row[f"n_{truth}_{predicted}"]) for predicted in CATEGORIES)]
        for truth in CATEGORIES
    ]
    caption = f"Response category by the volume of {row['region']}, {pair.name}: rows in the truth, columns in the prediction."
    return Table(caption, ["Truth", *CATEGORIES], rows, frozenset(range(1, 5)))


def session_table(pair: Pair, sessions: pd.DataFrame) -> Table:
    """Return every followed session, with changes in per cent."""
    rows = []
    for row in records(sessions.head(SHOWN_ROWS)):
        cells = [Cell(row["region"]), Cell(row["case_id"]), count_cell(row["session"]), time_cell(row["session_time"])]
        for who in ("truth", "prediction"):
            changes = (row[f"{name}_{who}"] for name in ("from_baseline", "from_nadir"))
            cells += [number_cell(row[f"volume_{who}_ml"], 1), *(percent_cell(change) for change in changes)]
            cells.append(text_cell(row[f"response_{who}"]))
        rows.append([*cells, Cell("" if pd.isna(row["flipped"]) or not row["flipped"] else "yes")])
    heads = ["Volume (ml)", "From baseline", "From nadir", "Category"]
    by_mask = (f"{head}, {who}" for who in ("truth", "prediction") for head in heads)
    columns = ["Region", "Case", "Session", "Time", *by_mask, "Differs"]
    return without_empty(Table(f"Sessions of {pair.name}.", columns, rows, frozenset({2, 3, 4, 5, 6, 8, 9, 10}), headers=2))


def time_cell(value: Any) -> Cell:
    """Return a cell of the time since the first session, empty where it is unknown."""
    return Cell("") if pd.isna(value) else significant_cell(value)


def percent_cell(change: Any) -> Cell:
    """Return a cell of a change in per cent, with its sign; empty where there is none."""
    if pd.isna(change):
        return Cell("")
    return Cell(f"{'+' if change > 0 else ''}{number(100 * change, 0)} %", repr(float(change)))
