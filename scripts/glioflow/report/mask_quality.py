"""The report on quality without truth: which unlabelled cases to look at first, and how far such predictions can be trusted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glioflow.console import count
from glioflow.files import read_table
from glioflow.formatting import number
from glioflow.imaging.labels import REGIONS
from glioflow.quality.prediction import CONFIDENCE, EXPECTED
from glioflow.quality.quality_tables import ALARM_DICE, RANKING, RIDGE, TEXT, WITHOUT, is_absent, true_dice
from glioflow.report.figures import WIDTH_IN
from glioflow.report.plotting import REGION_COLOURS, new_figure
from glioflow.report.source import Pair, Source, embed_figure, records
from glioflow.report.tables import Cell, Table, count_cell, join_words, number_cell, slug, text_cell, without_empty

SHOWN_ROWS, NAMED_CASES = 200, 3
PREDICTOR_WORDS = {
    RIDGE: "predicted Dice",
    RANKING: "order by expected Dice",
    EXPECTED: "expected Dice alone",
    "volume": "volume alone",
    "mean": "mean of the calibration",
    "forest": "random forest",
}
INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"


def predicted_pairs(source: Source) -> list[Pair]:
    """Return the prediction sets whose masks' quality was predicted: those that have a truth, then those that have none."""
    wanted = source.study["quality"]["sets"]
    names = (pair.split("/") for pair in source.unscored)
    bare = [Pair(model, cohort, cohort, failure=False) for model, cohort in names]
    return [pair for pair in (*source.pairs, *bare) if wanted is None or pair.set in wanted]


def read_quality(source: Source, pair: Pair, name: str) -> pd.DataFrame:
    """Return ``quality`` or ``quality_evaluation`` of a set."""
    return read_table(source.existing(source.root / "quality" / pair.model / pair.set / f"{name}.csv"), TEXT)


def is_scored(source: Source, pair: Pair) -> bool:
    """Tell whether a set has a truth."""
    return f"{pair.model}/{pair.set}" not in source.unscored


def mask_quality_section(source: Source, pair: Pair) -> dict[str, Any]:
    """Return what the page shows of a set's predicted quality."""
    quality = read_quality(source, pair, "quality")
    ordered = order_cases(quality)
    cases = case_table(pair, quality, ordered)
    part: dict[str, Any] = {
        "name": pair.name,
        "anchor": slug("mask-quality", pair.model, pair.set),
        "scored": is_scored(source, pair),
        "sentence": method_sentence(quality),
        "reasons": reason_words(quality),
        "ordered": bool(ordered),
        "cases": cases,
        "left_out": quality["case_id"].nunique() - len(cases.rows),
        "folder": f"quality/{pair.model}/{pair.set}",
        "figure": None,
        "findings": [],
        "evaluation": None,
    }
    if part["scored"]:
        evaluation = read_quality(source, pair, "quality_evaluation")
        alt = f"Predicted against true Dice of {pair.name}; the table that follows has the numbers."
        drawn = with_truth(source, pair, quality)
        part |= {
            "findings": [words for region in evaluation["region"].unique() if (words := finding(evaluation, str(region)))],
            "evaluation": evaluation_table(pair, evaluation),
            "figure": embed_figure(draw_quality(drawn), alt) if len(drawn) else None,
        }
    return part


def look_first(source: Source, pair: Pair) -> dict[str, str]:
    """Return for the summary which cases of a set without truth to look at first, and the anchor of its section."""
    quality = read_quality(source, pair, "quality")
    anchor = slug("mask-quality", pair.model, pair.set)
    ordered, by_case = order_cases(quality), dict(iter(quality.groupby("case_id")))
    if not ordered:
        return {"name": pair.name, "anchor": anchor, "text": f"Its cases are in no order: {reason_words(quality)}"}
    named = [f"{case} ({why_first(by_case[case])})" for case in ordered[:NAMED_CASES]]
    alarms = quality["alarm"].astype("boolean").fillna(False).any()
    warned = f" {alarm_words(quality)}." if alarms else ""
    return {"name": pair.name, "anchor": anchor, "text": f"Without truth; look first at {join_words(named)}.{warned}"}


# ---- the order of the cases


def ranking_values(rows: pd.DataFrame) -> pd.Series:
    """Return what orders each row of quality.csv: the predicted Dice, or the expected Dice where that is all there is."""
    return rows["predicted_dice"].fillna(rows[EXPECTED].where(rows["method"] == RANKING))


def largest_region(regions: Iterable[str]) -> str:
    """Return the whole tumour where it is among the regions, else the one of the most labels; of equals that of ``REGIONS``."""
    shown = set(regions)
    return max((name for name in REGIONS if name in shown), key=lambda name: (name == "WT", len(REGIONS[name])))


def order_cases(quality: pd.DataFrame) -> list[str]:
    """Return the cases of quality.csv that something tells of, those to look at first before the others.

    A case in which nothing of the largest region is predicted comes first of all, then that whose worst region has the lowest
    value. There is no order where no region of any case has a value.
    """
    values = ranking_values(quality)
    if values.isna().all():
        return []
    bare = (quality["region"] == largest_region(quality["region"])) & is_absent(quality)
    table = quality.assign(value=values, bare=bare).groupby("case_id").agg({"value": "min", "bare": "max"})
    table = table[table["bare"] | table["value"].notna()]
    return [str(case) for case in table.sort_values(["bare", "value"], ascending=[False, True], kind="stable").index]


def why_first(rows: pd.DataFrame) -> str:
    """Return in a few words why a case, its rows of quality.csv, stands where it does."""
    largest = largest_region(rows["region"])
    if is_absent(rows)[rows["region"] == largest].any():
        return f"nothing of {largest} predicted"
    values = ranking_values(rows)
    worst = rows.loc[values.idxmin()]
    word = "predicted" if pd.notna(worst["predicted_dice"]) else "expected"
    return f"{worst['region']}: {word} Dice {number(values.min(), 2)}"


# ---- words


def method_sentence(quality: pd.DataFrame) -> str:
    """Return how the cases were judged."""
    ridge, ranking = quality[quality["method"] == RIDGE], quality[quality["method"] == RANKING]
    if len(ridge):
        least, most = int(ridge["n_calibration"].min()), int(ridge["n_calibration"].max())
        patients = count(most, "patient") if least == most else f"{least} to {most} patients"
        beyond = ridge.loc[ridge["extrapolates"].notna(), "case_id"].nunique()
        said = f"Predicted from {patients} with out-of-fold masks, with a {INTERVAL}. "
        said += f"{alarm_words(quality)}."
        if beyond:
            said += f" {count(beyond, 'case')} {'lies' if beyond == 1 else 'lie'} outside what the prediction was learnt from: "
            said += "the numbers are less certain there."
        if len(ranking):
            regions = join_words(str(name) for name in ranking["region"].unique())
            said += f" Of {regions}, {count(ranking['case_id'].nunique(), 'case')} without a predicted Dice"
            verb = "is" if ranking["case_id"].nunique() == 1 else "are"
            said += f" {verb} ordered by the expected Dice, which tends to be too high."
        return said
    if len(ranking):
        few = int(ranking["n_calibration"].max())
        why = f"{count(few, 'calibration patient')}: too few for a predicted Dice." if few else "There is no predicted Dice."
        return f"{why} The cases are ordered by their expected Dice alone, which tends to be too high."
    return "No quality is predicted."


def alarm_words(quality: pd.DataFrame) -> str:
    """Return how many of the cases that have a predicted Dice have an alarm, and how many can have none."""
    ridge = quality[quality["method"] == RIDGE]
    alarms, judged = ridge.loc[ridge["alarm"].astype(bool), "case_id"].nunique(), ridge["case_id"].nunique()
    said = f"{count(alarms, 'case')} of {judged} with a predicted Dice {'has' if alarms == 1 else 'have'} an alarm "
    said += f"(a region with a predicted Dice below {ALARM_DICE:g})"
    absent = quality[is_absent(quality)].groupby("region", sort=False)["case_id"].nunique()
    parts = [f"nothing of {region} is predicted in {count(int(n), 'case')}" for region, n in absent.items()]
    return f"{said}; {join_words(parts)}, for which there is no alarm" if parts else said


def reason_words(quality: pd.DataFrame) -> str:
    """Return why cases have no predicted Dice, or have it with a proviso, those of one reason together."""
    rows = quality[quality["note"].notna()]
    parts = []
    for note, own in rows.groupby("note", sort=False):
        regions = join_words(str(name) for name in own["region"].unique())
        parts.append(f"{regions} of {count(own['case_id'].nunique(), 'case')}: {note}")
    return f"{'; '.join(parts)}." if parts else ""


def finding(evaluation: pd.DataFrame, region: str) -> str:
    """Return what the prediction of a region's Dice was worth on a set that has a truth, made of its numbers alone."""
    rows = {row["predictor"]: row for row in records(evaluation[evaluation["region"] == region])}
    row = rows.get(RIDGE)
    if row is None or not row["n"]:
        other = rows.get(RANKING) or row
        return f"{region}: {other['note']}." if other else ""
    cases = count(int(row["n"]), "case")
    missed = int(row["not_predicted_failed"])
    said = [
        f"{region}: the predicted Dice is off by {number(row['mae'], 3)} on average{ci(row, 'mae', 3)}, {cases}; "
        f"the {INTERVAL} holds the true one of {number(100 * row['coverage'], 0)} %{ci(row, 'coverage', 0, 100)}, and is "
        f"{number(row['width'], 2)} wide."
    ]
    failed, alarms, right = (int(row[name]) for name in ("failed", "alarms", "alarms_right"))
    said.append(
        f"{count(failed, 'case')} had a Dice below {ALARM_DICE:g}, {right} of them with an alarm; "
        f"{count(alarms - right, 'alarm')} {'was' if alarms - right == 1 else 'were'} false."
    )
    if missed:
        without = count(int(row["not_predicted"]), "more case")
        said.append(f"{without} had nothing to judge (nothing of it predicted, or features missing) and no alarm: ")
        said[-1] += f"{missed} of them had a Dice below {ALARM_DICE:g}."
    return " ".join([*said, comparison(row)])


def comparison(row: Mapping[str, Any]) -> str:
    """Return whether a prediction orders the cases better than the expected Dice alone."""
    difference = row["aurc_difference"]
    if pd.isna(difference):
        return "There is no expected Dice to compare its order with."
    told = f"(AURC {number(row['aurc'], 3)}, difference {number(difference, 3)}{ci(row, 'aurc_difference', 3, brackets=False)})"
    if row["aurc_difference_ci_high"] < 0:
        return f"It orders the cases better than the expected Dice alone {told}."
    if row["aurc_difference_ci_low"] > 0:
        return f"It orders the cases worse than the expected Dice alone {told}: go by that."
    return f"It does not order the cases better than the expected Dice alone, as far as they tell {told}."


def ci(row: Mapping[str, Any], name: str, decimals: int, factor: float = 1, brackets: bool = True) -> str:
    """Return an interval for a sentence; nothing where there is none."""
    low, high = row[f"{name}_ci_low"], row[f"{name}_ci_high"]
    if pd.isna(low):
        return ""
    words = f"95 % CI {number(factor * low, decimals)} to {number(factor * high, decimals)}"
    return f" ({words})" if brackets else f", {words}"


# ---- tables


def case_table(pair: Pair, quality: pd.DataFrame, ordered: Sequence[str]) -> Table:
    """Return the cases, a row each, with predicted and expected Dice of every region: the ordered ones, then the others."""
    regions = [str(name) for name in quality["region"].unique()]
    by_case = dict(iter(quality.groupby("case_id")))
    rows = []
    for place, case in enumerate([*ordered, *(case for case in by_case if case not in set(ordered))][:SHOWN_ROWS], start=1):
        own = {row["region"]: row for row in records(by_case[case])}
        alarms = [region for region, row in own.items() if pd.notna(row["alarm"]) and row["alarm"]]
        beyond = {
            name for row in own.values() if isinstance(row["extrapolates"], str) for name in row["extrapolates"].split(", ")
        }
        plain = [own[region][name] for name in (EXPECTED, "fold_dice") for region in regions]
        notes = dict.fromkeys(f"{region}: {row['note']}" for region, row in own.items() if isinstance(row["note"], str))
        rows.append(
            [
                count_cell(place) if place <= len(ordered) else Cell(""),
                Cell(case),
                Cell(join_words(alarms)),
                *(dice_cell(own[region]) for region in regions),
                *(number_cell(value, 2) if pd.notna(value) else Cell("") for value in plain),
                Cell(", ".join(sorted(beyond))),
                text_cell("; ".join(notes)),
            ]
        )
    kinds = (f"predicted Dice [{INTERVAL}]", "expected Dice", "Dice between folds")
    heads = [f"{region}, {kind}" for kind in kinds for region in regions]
    caption = f"Cases of {pair.name}, {'those to look at first at the top' if ordered else 'in no order'}."
    columns = ["Look at", "Case", "Alarm", *heads, "Outside the calibration", "Note"]
    numeric = frozenset({0, *range(3, 3 + len(heads))})
    return without_empty(Table(caption, columns, rows, numeric, headers=2, sortable=True))


def dice_cell(row: Mapping[str, Any]) -> Cell:
    """Return the predicted Dice with its interval; empty where there is none."""
    value = row["predicted_dice"]
    if pd.isna(value):
        return Cell("")
    words = f"{number(value, 2)} [{number(row['dice_low'], 2)}, {number(row['dice_high'], 2)}]"
    return Cell(words, repr(float(value)))


def evaluation_table(pair: Pair, evaluation: pd.DataFrame) -> Table:
    """Return how good the prediction and those beside it are, a row a region and predictor."""
    rows = []
    for row in records(evaluation):
        numbers = ("n", "failed", *WITHOUT)
        counts = [count_cell(row[name]) if pd.notna(row[name]) else Cell("") for name in numbers]
        said = [with_ends(row, name, 3) for name in ("mae", "spearman", "auroc", "aurc", "e_aurc", "aurc_difference")]
        said += [with_ends(row, "coverage", 0, 100), with_ends(row, "width", 2)]
        rows.append([Cell(row["region"]), Cell(PREDICTOR_WORDS[row["predictor"]]), *counts, *said, text_cell(row["note"])])
    columns = [
        *(
            "Region",
            "Predictor",
            "n",
            f"Dice < {ALARM_DICE:g}",
            "Not predicted",
            f"Not predicted, Dice < {ALARM_DICE:g}",
            "Mean error [95 % CI]",
            "Spearman ρ [95 % CI]",
            "AUROC [95 % CI]",
        ),
        *("AURC [95 % CI]", "e-AURC [95 % CI]", "AURC less that of expected Dice [95 % CI]"),
        *("Coverage, % [95 % CI]", "Width [95 % CI]", "Note"),
    ]
    caption = f"Predicted against true Dice of {pair.name}. AURC and e-AURC: less is better."
    return without_empty(Table(caption, columns, rows, frozenset(range(2, 14)), headers=2))


def with_ends(row: Mapping[str, Any], name: str, decimals: int, factor: float = 1) -> Cell:
    """Return a value with its interval, empty where it is undefined."""
    value = row[name]
    if pd.isna(value):
        return Cell("")
    text, low, high = number(factor * value, decimals), row[f"{name}_ci_low"], row[f"{name}_ci_high"]
    if pd.notna(low):
        text += f" [{number(factor * low, decimals)}, {number(factor * high, decimals)}]"
    return Cell(text, repr(float(value)))


# ---- the figure


def with_truth(source: Source, pair: Pair, quality: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of quality.csv that have a predicted and a true Dice."""
    scores, parts = source.scores(pair), []
    for region, own in quality[quality["predicted_dice"].notna()].groupby("region", sort=False):
        parts.append(own.merge(true_dice(scores, str(region))[["case_id", "dice"]], on="case_id"))
    return pd.concat(parts) if parts else quality.head(0)


def draw_quality(cases: pd.DataFrame) -> Figure:
    """Return predicted against true Dice, a panel a region, every case a point with its interval."""
    regions = [str(name) for name in cases["region"].unique()]
    figure = new_figure(WIDTH_IN, 3.4)
    for axes, region in zip(figure.subplots(1, len(regions), squeeze=False)[0], regions, strict=True):
        own = cases[cases["region"] == region]
        truth, value = own["dice"].to_numpy(float), own["predicted_dice"].to_numpy(float)
        ends = np.abs(own[["dice_low", "dice_high"]].to_numpy(float).T - value)
        axes.plot([0, 1], [0, 1], color="#8a9099", linewidth=1, zorder=1)
        for line in (axes.axvline, axes.axhline):
            line(ALARM_DICE, color="#8a9099", linewidth=0.8, linestyle=":", zorder=1)
        style = {"fmt": "o", "markersize": 4, "elinewidth": 0.8, "capsize": 0, "color": REGION_COLOURS[region]}
        axes.errorbar(truth, value, yerr=ends, alpha=0.8, **style)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="true Dice", ylabel="predicted Dice", title=region)
        axes.set_aspect("equal")
    return figure
