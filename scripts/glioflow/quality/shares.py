"""The share of cases with something, and how far it would move with other patients."""

from math import nan

import numpy as np
from numpy.typing import ArrayLike

from glioflow.evaluation.bootstrap import CONFIDENCE, intervals, patient_numbers


def share_interval(flags: ArrayLike, patients: ArrayLike) -> tuple[float, float, float]:
    """Return the share of true ``flags`` (cases,) and its 95 % interval by patient: undefined ends below two patients.

    The interval is that of ``glioflow.evaluation.bootstrap``. Where all flags are alike, resamples are all alike too, which
    says nothing; the far end is then that of Clopper & Pearson 1934 (doi:10.1093/biomet/26.4.404) for as many patients.
    """
    values, ids = np.asarray(flags, float), np.asarray(patients, object)
    if not len(values):
        return nan, nan, nan
    share, count = float(values.mean()), patient_numbers(ids)[1]
    if count < 2:
        return share, nan, nan
    if share in (0.0, 1.0):
        far = ((1 - CONFIDENCE) / 2) ** (1 / count)
        return (share, 0.0, 1 - far) if share == 0 else (share, far, 1.0)
    found = intervals(values[:, None], ids)
    return share, float(found.mean_ci_low[0]), float(found.mean_ci_high[0])
