"""What the tables on predicted quality share: names, the threshold of an alarm, and the true Dice they are compared with."""

import pandas as pd

from glioflow.evaluation.score_tables import is_missing, is_unseen
from glioflow.models.predictions import augmented_first, read_tta
from glioflow.quality.mask_features import NOTHING_PREDICTED

# A Dice above it is good agreement (Zijdenbos et al. 1994, doi:10.1109/42.363096).
ALARM_DICE = 0.7
RIDGE, RANKING = "ridge", "ranking"  # methods
MEAN = "mean"
OTHERS = (MEAN, "volume", "forest")  # predictors for comparison
# Cases that have a true Dice and nothing to predict it by, and how many of them failed: columns of quality_evaluation.csv.
WITHOUT = ("not_predicted", "not_predicted_failed")
TEXT = ("region", "note", "method", "features", "extrapolates", "predictor")


def is_absent(quality: pd.DataFrame) -> pd.Series:
    """Tell of each row of quality.csv whether its mask has nothing of the region."""
    return quality["note"].fillna("").astype(str).str.startswith(NOTHING_PREDICTED).astype(bool)


def true_dice(scores: pd.DataFrame, region: str) -> pd.DataFrame:
    """Return case_id, patient_id and dice of a region of a score table, a row a case; without those that have no Dice."""
    if "dice" not in scores:
        return pd.DataFrame(columns=["case_id", "patient_id", "dice"])
    rows = scores[(scores["label"] == region) & ~is_unseen(scores) & ~is_missing(scores) & scores["dice"].notna()]
    rows = augmented_first(rows.assign(tta=read_tta(rows))).drop_duplicates("case_id").sort_index()
    return pd.DataFrame(rows[["case_id", "patient_id", "dice"]])
