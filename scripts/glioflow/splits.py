"""Train/test split and folds: patients stay whole, strata follow tumour volume, and a seed decides.

Both draws are made the same way: patients are sorted by tumour volume and cut into strata of neighbours, and chance works
only within a stratum. So each set and each fold spans small and large tumours alike.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def fold_column(folds: int) -> str:
    """Return the name of the column of split.csv that holds the fold of each training case, for ``folds`` folds."""
    return f"fold_of_{folds}"


def draw_test_patients(patients: Sequence[str], fraction: float, seed: int) -> dict[str, int]:
    """Return patient -> stratum for the held-out patients.

    ``patients`` are sorted by tumour volume. round(fraction × n) strata of neighbours are cut, at least one where
    ``fraction`` > 0, and one patient is drawn from each.
    """
    if fraction == 0 or len(patients) < 2:
        return {}
    wanted = min(max(1, round(fraction * len(patients))), len(patients) - 1)
    rng = np.random.default_rng([seed, 0])
    strata = np.array_split(np.arange(len(patients)), wanted)
    return {patients[int(rng.choice(stratum))]: number for number, stratum in enumerate(strata)}


def draw_folds(patients: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """Return patient -> fold; ``patients`` are sorted by tumour volume, and ``folds`` neighbours go to as many folds."""
    rng = np.random.default_rng([seed, folds])
    drawn: dict[str, int] = {}
    for start in range(0, len(patients), folds):
        for patient, fold in zip(patients[start : start + folds], rng.permutation(folds), strict=False):
            drawn[patient] = int(fold)
    return drawn


def split_cases(manifest: pd.DataFrame, test_fraction: float, seed: int, folds: Sequence[int]) -> pd.DataFrame:
    """Return split.csv: case_id, patient_id, set (train|test), stratum, and a fold column for each number in ``folds``.

    ``manifest`` has case_id, patient_id and volume_WT_ml. The draw depends on the patients, their volumes and the seed, not
    on the order of the rows. Raises ValueError where there are fewer training patients than folds.
    """
    volumes = manifest.groupby("patient_id")["volume_WT_ml"].mean().reset_index()
    ranked = volumes.sort_values(["volume_WT_ml", "patient_id"])["patient_id"].astype(str).tolist()
    held_out = draw_test_patients(ranked, test_fraction, seed)
    training = [patient for patient in ranked if patient not in held_out]
    split = manifest[["case_id", "patient_id"]].astype(str).sort_values("case_id").reset_index(drop=True)
    split["set"] = np.where(split["patient_id"].isin(held_out), "test", "train")
    split["stratum"] = split["patient_id"].map(held_out).astype("Int64")
    for number in sorted(set(folds)):
        if number > len(training):
            raise ValueError(f"{number} folds need {number} training patients; there are {len(training)}")
        split[fold_column(number)] = split["patient_id"].map(draw_folds(training, number, seed)).astype("Int64")
    return split
