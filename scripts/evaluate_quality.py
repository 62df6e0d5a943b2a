"""Compare predicted with true Dice where there is a truth, beside simpler predictions.

Inputs:  ``quality`` (quality.csv of the set), ``scores`` (its score table).
Outputs: ``evaluation`` (quality_evaluation.csv, ``COLUMNS``): a row a region and predictor.

Predictors: ``ridge`` (the prediction), and beside it ``expected_dice`` alone, ``volume`` (ridge on the volume alone), ``mean``
(of the calibration cases, which orders nothing) and ``forest``, all on the cases that have a prediction, or those of them that
have the predictor's value; ``ranking`` stands for it where none has a prediction. ``mae``: mean absolute error. ``spearman``:
with true Dice. ``auroc``: that a failed case, one of ``failed`` with a true Dice below 0.7, is ranked below another. ``aurc``
and ``e_aurc``: those of ``glioflow.quality.rank_statistics``, lower is better. ``aurc_difference``: less that of
``expected_dice``, on the cases that have both. ``coverage`` and ``width`` of the interval. ``alarms``, and how many of them
are failed cases (``alarms_right``). ``not_predicted``: further cases that have a true Dice and nothing to predict it by, as
there is nothing of the region in their mask; ``not_predicted_failed`` of them have a true Dice below 0.7, and no alarm.
Intervals (95 %) by patient, as those of the scores (``glioflow.evaluation.bootstrap``). ``note`` says why something is
undefined.
"""

from collections.abc import Callable
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glioflow.console import Console, count, run_script
from glioflow.evaluation.bootstrap import draw_patients, expanded_level, intervals, patient_numbers, percentiles
from glioflow.files import read_table, write_table
from glioflow.quality.prediction import EXPECTED
from glioflow.quality.quality_tables import ALARM_DICE, MEAN, OTHERS, RANKING, RIDGE, TEXT, WITHOUT, is_absent, true_dice
from glioflow.quality.rank_statistics import aurc, auroc, excess_aurc, spearman
from glioflow.quality.shares import share_interval

RANKS = ("spearman", "auroc", "aurc", "e_aurc", "aurc_difference")
STATISTICS = ("mae", *RANKS, "coverage", "width")
COLUMNS = (
    *("region", "predictor", "n", "patients", "failed"),
    *(f"{name}{end}" for name in STATISTICS for end in ("", "_ci_low", "_ci_high")),
    *("alarms", "alarms_right", *WITHOUT, "note"),
)
ENDS = ("_ci_low", "_ci_high")

Floats = NDArray[np.float64]
Statistic = Callable[[Any], Floats]


def with_interval(statistic: Statistic, patients: list[str]) -> tuple[float, float, float]:
    """Return a statistic of counts (cases, samples), and the ends of its interval by patient.

    Samples in which it is undefined are left out; where it is so in most, there is no interval.
    """
    value = float(statistic(np.ones((len(patients), 1)))[0])
    numbers, n = patient_numbers(patients)
    if n < 2 or np.isnan(value):
        return value, nan, nan
    drawn = np.concatenate([statistic(counts[numbers]) for counts in draw_patients(n)])
    known = drawn[~np.isnan(drawn)]
    if 2 * len(known) < len(drawn):
        return value, nan, nan
    low, high = percentiles(known, expanded_level(n))
    return value, float(low), float(high)


def evaluate(cases: pd.DataFrame, predictor: str) -> dict[str, Any]:
    """Return a row of quality_evaluation.csv without its region.

    ``cases``: ``dice`` and ``patient_id``, ``value`` (what the predictor says), ``expected_dice``, and of the prediction itself
    ``dice_low``, ``dice_high`` and ``alarm``.
    """
    dice, value, expected = (cases[name].to_numpy(float) for name in ("dice", "value", EXPECTED))
    patients = [str(name) for name in cases["patient_id"]]
    failed, risk = dice < ALARM_DICE, 1 - dice
    # The mean of the other patients is lower where the case left out is a good one: that order is no prediction.
    order = np.zeros(len(cases)) if predictor == MEAN else value
    row: dict[str, Any] = {"predictor": predictor, "n": len(cases), "patients": len(set(patients)), "failed": int(failed.sum())}
    notes = []
    both = ~np.isnan(expected)

    def difference(counts: Any) -> Floats:
        return aurc(order[both], risk[both], counts) - aurc(expected[both], risk[both], counts)

    if failed.all() or not failed.any():
        notes.append(f"{'every' if failed.all() else 'no'} case has a Dice below {ALARM_DICE:g}: no AUROC")
    ranked: dict[str, Statistic] = {
        "spearman": lambda counts: spearman(order, dice, counts),
        "auroc": lambda counts: auroc(order, failed, counts),
        "aurc": lambda counts: aurc(order, risk, counts),
        "e_aurc": lambda counts: excess_aurc(order, risk, counts),
    }
    for name, statistic in ranked.items():
        row |= dict(zip((name, *(f"{name}{end}" for end in ENDS)), with_interval(statistic, patients), strict=True))
    if predictor != EXPECTED and both.any():
        names = ("aurc_difference", *(f"aurc_difference{end}" for end in ENDS))
        known = [name for name, has in zip(patients, both, strict=True) if has]
        row |= dict(zip(names, with_interval(difference, known), strict=True))
        if not both.all():
            notes.append(f"{count(int((~both).sum()), 'case')} without an expected Dice: not in the difference")
    if np.isnan(row["spearman"]):
        notes.append("one value throughout: no rank correlation")
    means = {"mae": np.abs(value - dice)} if predictor != RANKING else {}
    if predictor == RIDGE:
        low, high = (cases[name].to_numpy(float) for name in ("dice_low", "dice_high"))
        means["width"] = high - low
        names = ("coverage", *(f"coverage{end}" for end in ENDS))
        row |= dict(zip(names, share_interval((low <= dice) & (dice <= high), patients), strict=True))
        alarm = cases["alarm"].to_numpy(bool)
        row |= {"alarms": int(alarm.sum()), "alarms_right": int((alarm & failed).sum())}
    if means:
        table = np.stack(list(means.values()), axis=1)
        ends = intervals(table, patients)
        for place, name in enumerate(means):
            row[name] = float(table[:, place].mean())
            row[f"{name}_ci_low"], row[f"{name}_ci_high"] = float(ends.mean_ci_low[place]), float(ends.mean_ci_high[place])
    if row["patients"] < 2:
        notes.append("one patient: no interval")
    return {**row, "note": "; ".join(notes) or None}


def evaluate_region(quality: pd.DataFrame, truth: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a region; ``quality``: its rows of quality.csv, ``truth``: case_id and dice of its cases."""
    both = quality.merge(truth[["case_id", "dice"]], on="case_id")
    predicted = both[both["predicted_dice"].notna()]
    if len(predicted):
        chosen = {RIDGE: "predicted_dice", EXPECTED: EXPECTED, **{name: name for name in OTHERS}}
        rows = []
        for name, column in chosen.items():
            own = predicted[predicted[column].notna()]
            if len(own):
                lacking = f"{count(len(predicted) - len(own), 'case')} without it" if len(own) < len(predicted) else None
                rows.append(with_note(evaluate(own.assign(value=own[column]), name), lacking))
        return [without_a_value(row, both[both["predicted_dice"].isna()]) for row in rows]
    ranked = both["method"].eq(RANKING) & both[EXPECTED].notna()
    reasons = "; ".join(dict.fromkeys(quality["note"].dropna().astype(str))) or "no case has a prediction and a true Dice"
    row = {"predictor": RIDGE, "n": 0, "patients": 0, "note": None}
    if ranked.any():
        own = both[ranked]
        row = evaluate(own.assign(value=own[EXPECTED]), RANKING)
    return [without_a_value(with_note(row, reasons), both[~ranked])]


def with_note(row: dict[str, Any], words: str | None) -> dict[str, Any]:
    """Return a row with more words at the end of its note."""
    return {**row, "note": "; ".join(filter(None, [row["note"], words])) or None}


def without_a_value(row: dict[str, Any], cases: pd.DataFrame) -> dict[str, Any]:
    """Return a row with the number of ``cases``, those that are in none of its numbers though they have a true Dice."""
    failed = int((cases["dice"] < ALARM_DICE).sum())
    row = {**row, **dict(zip(WITHOUT, (len(cases), failed), strict=True))}
    if not failed:
        return row
    nothing = " with nothing predicted" if is_absent(cases).all() else " without a prediction"
    has = "has" if failed == 1 else "have"
    get = "it gets no alarm" if failed == 1 else "they get no alarm"
    return with_note(row, f"{count(failed, 'more case')}{nothing} {has} a Dice below {ALARM_DICE:g}: {get}")


def evaluation_table(quality: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return quality_evaluation.csv."""
    rows = [
        {"region": region, **row}
        for region, own in quality.groupby("region", sort=False)
        for row in evaluate_region(own, true_dice(scores, str(region)))
    ]
    whole = dict.fromkeys(("n", "patients", "failed", "alarms", "alarms_right", *WITHOUT), "Int64")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(whole)


def main(snakemake: Any, console: Console) -> str:
    """Write ``quality_evaluation.csv``."""
    quality, scores = read_table(snakemake.input.quality, TEXT), read_table(snakemake.input.scores, ("label", "note"))
    table = evaluation_table(quality, scores)
    write_table(snakemake.output.evaluation, table)
    return f"{count(quality['region'].nunique(), 'region')}, {count(int((table['n'] > 0).sum()), 'predictor')} compared"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
