"""Predict the Dice of every mask of a set without its truth, and say which to look at.

Inputs:  ``features`` (quality_features.csv of the set); of models that have a set ``cv``: ``calibration`` (its features) and
         ``scores`` (its score table).
Outputs: ``quality`` (quality.csv, ``COLUMNS``): a row a case and region.
Params:  ``set``, ``schemes`` (names of the label schemes: of the calibration cases, of this set; None where it has no truth).

The method depends on how many patients the model was calibrated on (``n_calibration``): ``ridge`` with an interval
(``glioflow.quality.prediction``), with three features below 50, and below 20, or where nothing can be learnt, ``ranking``: the
order of ``expected_dice``, without a prediction. A case of ``cv`` is predicted by the other patients alone, and so by somewhat
fewer, in the way that the number of all allows.

``alarm``: a predicted Dice below 0.7 (``ALARM_DICE`` of ``glioflow.quality.quality_tables``);
empty where nothing is predicted. ``extrapolates``: the features that are well outside the calibration cases' range. ``mean``,
``volume`` and ``forest`` are what other predictors say, for comparison. ``note`` says why there is no prediction, or what it
does without. A mask without the region has neither prediction nor rank, and no expected Dice: whether it lacks it with right,
no feature of it can tell. Nor has a prediction that is missing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_table
from glioflow.quality.mask_features import MISSING, NOTHING_PREDICTED
from glioflow.quality.prediction import EXPECTED, FEATURES, FEWEST, VOLUME, Calibration, patient_folds
from glioflow.quality.quality_tables import ALARM_DICE, OTHERS, RANKING, RIDGE, TEXT, true_dice

COLUMNS = (
    *("case_id", "patient_id", "fold", "region", "predicted_dice", "dice_low", "dice_high", "alarm", "method"),
    *("n_calibration", "features", "extrapolates", EXPECTED, "fold_dice", *OTHERS, "note"),
)
NO_CALIBRATION = "the model has no out-of-fold predictions to learn from"
NO_MASK = "no out-of-fold mask has this region and a true Dice"
ALIKE = "every calibration case has the same Dice: nothing can be learnt"
NO_FEATURE = "no feature differs between the calibration cases"


def calibrate(features: pd.DataFrame, scores: pd.DataFrame, region: str) -> Calibration:
    """Return the cases of ``cv`` that have some of a region in their mask, and a true Dice."""
    own = features[(features["region"] == region) & features[VOLUME].notna()]
    both = own.merge(true_dice(scores, region)[["case_id", "dice"]], on="case_id")
    return Calibration(both, both["dice"].to_numpy(float), [str(name) for name in both["patient_id"]])


def predict_rows(targets: pd.DataFrame, calibration: Calibration | None) -> pd.DataFrame:
    """Return the columns of quality.csv that a calibration gives for ``targets``, cases of one region."""
    found = pd.DataFrame(index=targets.index, columns=list(COLUMNS[4:])).drop(columns=[EXPECTED, "fold_dice"])
    found["n_calibration"] = calibration.n if calibration else 0
    present = targets[VOLUME].notna()
    found["method"] = (present & targets[EXPECTED].notna()).map({True: RANKING, False: None})
    if calibration is None:
        return found.assign(note=NO_CALIBRATION)
    if not calibration.deciding:
        return found.assign(note=NO_MASK)
    if calibration.deciding < FEWEST:
        few = f"{count(calibration.deciding, 'calibration patient')}: too few for a prediction, {FEWEST} are needed"
        return found.assign(note=few)
    if np.ptp(calibration.dice) == 0:
        return found.assign(note=ALIKE)
    lacking: dict[tuple[str, ...], list[Any]] = {}
    for index, row in targets.loc[present, list(FEATURES)].isna().iterrows():
        lacking.setdefault(tuple(row.index[row]), []).append(index)
    for lacks, rows in lacking.items():
        own = targets.loc[rows]
        features = calibration.usable(lacks)
        if not features:
            found.loc[own.index, "note"] = NO_FEATURE
            continue
        known = calibration.having(features)
        if np.ptp(known.dice) == 0:
            found.loc[own.index, "note"] = ALIKE
            continue
        predicted = known.predict(own, features)
        values = {
            "predicted_dice": predicted.dice,
            "dice_low": predicted.low,
            "dice_high": predicted.high,
            "alarm": predicted.dice < ALARM_DICE,
            "method": RIDGE,
            "features": ", ".join(features),
            "n_calibration": known.n,
            "extrapolates": [beyond or None for beyond in known.extrapolated(own, features)],
            "note": "; ".join(provisos(calibration, known, features)) or None,
            **known.baselines(own, features),
        }
        for name, value in values.items():
            found.loc[own.index, name] = value
    return found


def provisos(calibration: Calibration, known: Calibration, features: Sequence[str]) -> list[str]:
    """Return what a prediction by ``features`` does without: features of the case or the calibration, and calibration cases."""
    said = []
    scarce = calibration.scarce()
    if without := [name for name in calibration.usable() if name not in features]:
        said.append(f"predicted without {', '.join(without)}")
    if scarce:
        said.append(f"predicted without {', '.join(scarce)}, which too few calibration cases have")
    if left_out := len(calibration.dice) - len(known.dice):
        lacked = [name for name in features if calibration.table[name].isna().any()]
        said.append(f"{count(left_out, 'calibration case')} without {' or '.join(lacked)} left out")
    return said


def predict_region(targets: pd.DataFrame, calibration: Calibration | None, within: bool) -> pd.DataFrame:
    """Return the rows of quality.csv of a region; ``within``: the targets are the calibration cases themselves."""
    if within and calibration is not None and calibration.n:
        parts = []
        fold_of = dict(zip(calibration.patients, patient_folds(calibration.patients), strict=True))
        own = targets["patient_id"].astype(str).map(fold_of).fillna(-1)  # a patient without a true Dice is in no fold
        for fold in sorted(own.unique()):
            left_out = np.array([fold_of[name] == fold for name in calibration.patients])
            parts.append(predict_rows(targets[own == fold], calibration.without(left_out)))
        found = pd.concat([part.astype(object) for part in parts]).loc[targets.index]
    else:
        found = predict_rows(targets, calibration)
    rows = pd.concat([targets[["case_id", "patient_id", "fold", "region", EXPECTED, "fold_dice"]], found], axis=1)
    absent = targets[VOLUME].isna()
    missing = targets["note"].fillna("").astype(str).str.startswith(MISSING)
    why = missing[absent].map({True: MISSING, False: NOTHING_PREDICTED})
    rows.loc[absent, EXPECTED] = np.nan
    rows.loc[absent, "note"] = [
        "; ".join(part for part in (first, said) if isinstance(part, str))
        for first, said in zip(why, rows.loc[absent, "note"], strict=True)
    ]
    return rows[list(COLUMNS)]


def quality_table(
    features: pd.DataFrame, calibration: pd.DataFrame | None, scores: pd.DataFrame | None, within: bool, remark: str = ""
) -> pd.DataFrame:
    """Return quality.csv. ``calibration`` and ``scores``: of the model's ``cv``, None without; ``remark``: of every case."""
    parts = []
    for region, targets in features.groupby("region", sort=False):
        known = None if calibration is None or scores is None else calibrate(calibration, scores, str(region))
        parts.append(predict_region(targets, known, within).astype(object))
    table = pd.concat(parts) if parts else pd.DataFrame(columns=list(COLUMNS))
    if remark:
        table["note"] = [f"{note}; {remark}" if isinstance(note, str) else remark for note in table["note"]]
    numbers = ["predicted_dice", "dice_low", "dice_high", EXPECTED, "fold_dice", *OTHERS]
    kinds = {**dict.fromkeys(numbers, float), "fold": "Int64", "n_calibration": "Int64", "alarm": "boolean"}
    return table.sort_index().astype(kinds).reset_index(drop=True)


def main(snakemake: Any, console: Console) -> str:
    """Write ``quality.csv``."""
    source, params = snakemake.input, snakemake.params
    features = read_table(source.features, TEXT)
    calibration, scores = None, None
    if source.get("calibration"):
        calibration, scores = read_table(source.calibration, TEXT), read_table(source.scores, ("label", "note"))
    ours, theirs = params.schemes
    other = f"labels by the scheme {theirs}, calibrated on {ours}" if ours and theirs and ours != theirs else ""
    table = quality_table(features, calibration, scores, params.set == "cv", other)
    write_table(snakemake.output.quality, table)
    cases = features["case_id"].nunique()
    alarms = table.loc[table["alarm"].fillna(False), "case_id"].nunique()
    predicted = int(table["predicted_dice"].notna().sum())
    return f"{count(cases, 'case')}, {count(predicted, 'predicted Dice value')}, {count(alarms, 'case')} with an alarm"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
