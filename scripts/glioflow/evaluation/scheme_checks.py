"""Whether label schemes fit, seen in the scores: a region that one side never has and the other mostly has.

A scheme that reads a label as another one leaves no unknown value and no error: BraTS 2018's truth read as ``brats2024`` has no
enhancing tumour in any case.
"""

import pandas as pd

from glioflow.cohorts.problems import Problem, problem_row
from glioflow.console import count
from glioflow.evaluation.score_tables import is_missing, is_unseen
from glioflow.models.predictions import augmented_first

# One case may lack a region that its prediction has; that two do and no other has it is worth a look.
FEWEST_CASES = 2


def absent_regions(scores: pd.DataFrame, truth_scheme: str, prediction_scheme: str | None) -> list[Problem]:
    """Return a warning for each region that is in no truth and in most predictions of a set, or the reverse.

    ``scores``: a score table of one set; predictions that are missing, and regions that are not applicable, do not count.
    ``prediction_scheme``: the label scheme of precomputed masks, None where glioflow made the masks.
    """
    rows = augmented_first(scores).drop_duplicates(["case_id", "label"])
    rows = rows[~is_unseen(rows) & ~is_missing(rows)]
    problems = []
    for region, of_region in rows.groupby("label", sort=False):
        cases = len(of_region)
        truths, predictions = (int(of_region[f"volume_{side}_ml"].gt(0).sum()) for side in ("truth", "prediction"))
        if cases < FEWEST_CASES or (truths and predictions) or 2 * max(truths, predictions) <= cases:
            continue
        sides = f"in {truths or 'none'} of {count(cases, 'truth')} and in {predictions or 'none'} of their predictions"
        masks = f", or that of the masks, {prediction_scheme!r}" if prediction_scheme else ""
        found = f"{region} is {sides}: the label scheme of the truth, {truth_scheme!r}{masks}, may be wrong"
        if not predictions and not prediction_scheme:
            found += ", or the model has not learnt the region"
        expected = "a label scheme that reads each value as the data set means it"
        problems.append(problem_row("", "", "label_scheme", found, expected, "warning"))
    return problems
