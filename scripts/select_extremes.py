"""Select the worst and the best cases of a prediction set by one metric of one region.

Cases are ordered by ``glioflow.evaluation.rankings.rank_cases``; one whose metric is undefined is not ranked. A table may hold
a case twice, with and without test-time augmentation (column ``tta``), as open_brats2020's can: the augmented row counts, and
the other is left out.

Inputs:  ``scores``, a table that begins patient_id,label,tta,hausdorff,dice,sens,spec; cases are told apart by case_id, or
         by patient_id where there is no such column.
Outputs: ``extremes`` (extremes.csv): group, rank, case_id, patient_id, label, metric, value, note. The worst case comes
         first, the best last; rank 1 is the very worst, or the very best. Fewer than ``extremes`` where not twice as
         many cases can be ranked, so that none is both.
Params:  ``rank_by`` (column), ``region``, ``extremes`` (cases at either end), ``model`` and ``set`` (for messages).
"""

from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.rankings import rank_cases
from glioflow.evaluation.score_tables import read_scores
from glioflow.files import write_table
from glioflow.study.configuration import largest_extremes
from glioflow.study.metric_registry import RANKING_METRICS

COLUMNS = ["group", "rank", "case_id", "patient_id", "label", "metric", "value", "note"]


def select_extremes(ranked: pd.DataFrame, metric: str, region: str, extremes: int) -> pd.DataFrame:
    """Return the ``extremes`` worst and best of the ranked cases as the rows of ``extremes.csv``.

    Where there are not twice as many cases, as many as can be had without any case being both.
    """
    extremes = min(extremes, largest_extremes(len(ranked)))
    worst = ranked.iloc[:extremes].assign(group="worst", rank=range(1, extremes + 1))
    best = ranked.iloc[len(ranked) - extremes :].assign(group="best", rank=range(extremes, 0, -1))
    chosen = pd.concat([worst, best], ignore_index=True)
    return chosen.assign(label=region, metric=metric, value=chosen[metric])[COLUMNS]


def main(snakemake: Any, console: Console) -> str:
    """Write ``extremes.csv``."""
    source, metric, region = snakemake.input.scores, snakemake.params.rank_by, snakemake.params.region
    if metric not in RANKING_METRICS:
        raise UserError(f"rank_by: {metric} is not one of {', '.join(RANKING_METRICS)}")
    scores = read_scores(source, region, tuple(dict.fromkeys([metric, "dice"])))
    ranked = rank_cases(scores, metric)
    wanted = snakemake.params.extremes
    chosen = select_extremes(ranked, metric, region, wanted)
    if len(chosen) < 2 * wanted:
        console.say(
            f"note: failure.extremes: {wanted} asks for {2 * wanted} different cases; {count(len(ranked), 'case')} of {source} "
            f"can be ranked, so {len(chosen) // 2} worst and as many best are compared"
        )
    write_table(snakemake.output.extremes, chosen)
    unranked = len(scores) - len(ranked)
    left_out = f", {unranked} not ranked ({metric} undefined)" if unranked else ""
    return (
        f"{len(chosen) // 2} worst and {len(chosen) // 2} best of {count(len(ranked), 'case')} "
        f"by {region} {metric} ({snakemake.params.model}, {snakemake.params.set}){left_out}"
    )


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
