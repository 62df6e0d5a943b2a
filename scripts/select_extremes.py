"""Select the worst and the best cases of a prediction set by one metric of one region.

Cases are ordered by ``glioflow.evaluation.rankings.rank_cases``; one whose metric is undefined is not ranked. Neither is one
whose truth or prediction lacks the region, unless ``penalised`` is ``include``: its metric is a penalty or a rule's value
(``glioflow.evaluation.score_tables.ranked_apart``). A table may hold
a case twice, with and without test-time augmentation (column ``tta``), as open_brats2020's can: the augmented row counts, and
the other is left out.

Inputs:  ``scores``, a table that begins patient_id,label,tta,hausdorff,dice,sens,spec; cases are told apart by case_id, or
         by patient_id where there is no such column.
Outputs: ``extremes`` (extremes.csv): group, rank, case_id, patient_id, label, metric, value, note. The worst case comes
         first, the best last; rank 1 is the very worst, or the very best. Fewer than ``extremes`` where not twice as
         many cases can be ranked, so that none is both. ``apart`` (apart.csv): every case that is not ranked: case_id,
         patient_id, label, metric, value, note; the worst first, those without a value last.
Params:  ``rank_by`` (column), ``region``, ``extremes`` (cases at either end), ``penalised`` (``apart`` or ``include``),
         ``model`` and ``set`` (for messages).
"""

from typing import Any

import pandas as pd

from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.rankings import rank_cases
from glioflow.evaluation.score_tables import ranked_apart, read_scores
from glioflow.files import write_table
from glioflow.study.configuration import largest_extremes
from glioflow.study.metric_registry import RANKING_METRICS

APART_COLUMNS = ["case_id", "patient_id", "label", "metric", "value", "note"]
COLUMNS = ["group", "rank", *APART_COLUMNS]


def select_extremes(ranked: pd.DataFrame, metric: str, region: str, extremes: int) -> pd.DataFrame:
    """Return the ``extremes`` worst and best of the ranked cases as the rows of ``extremes.csv``.

    Where there are not twice as many cases, as many as can be had without any case being both.
    """
    extremes = min(extremes, largest_extremes(len(ranked)))
    worst = ranked.iloc[:extremes].assign(group="worst", rank=range(1, extremes + 1))
    best = ranked.iloc[len(ranked) - extremes :].assign(group="best", rank=range(extremes, 0, -1))
    chosen = pd.concat([worst, best], ignore_index=True)
    return chosen.assign(label=region, metric=metric, value=chosen[metric])[COLUMNS]


def apart_table(scores: pd.DataFrame, ranked: pd.DataFrame, metric: str, region: str) -> pd.DataFrame:
    """Return the rows of ``apart.csv``: those of ``scores`` (a row a case) that are not ``ranked``."""
    others = scores.drop(index=ranked.index)
    with_value = rank_cases(others, metric)
    without = others.drop(index=with_value.index).sort_values("case_id")
    apart = pd.concat([with_value, without])
    return apart.assign(label=region, metric=metric, value=apart[metric])[APART_COLUMNS]


def main(snakemake: Any, console: Console) -> str:
    """Write ``extremes.csv`` and ``apart.csv``."""
    source, metric, region = snakemake.input.scores, snakemake.params.rank_by, snakemake.params.region
    if metric not in RANKING_METRICS:
        raise UserError(f"rank_by: {metric} is not one of {', '.join(RANKING_METRICS)}")
    scores = read_scores(source, region, tuple(dict.fromkeys([metric, "dice"])))
    with_masks, without_masks = ranked_apart(scores, snakemake.params.penalised)
    ranked = rank_cases(with_masks, metric)
    wanted = snakemake.params.extremes
    chosen = select_extremes(ranked, metric, region, wanted)
    if len(chosen) < 2 * wanted:
        console.say(
            f"note: failure.extremes: {wanted} asks for {2 * wanted} different cases; {count(len(ranked), 'case')} of {source} "
            f"can be ranked, so {len(chosen) // 2} worst and as many best are compared"
        )
    write_table(snakemake.output.extremes, chosen)
    write_table(snakemake.output.apart, apart_table(scores, ranked, metric, region))
    left_out = f", {len(without_masks)} set apart (no {region} in truth or prediction)" if len(without_masks) else ""
    undefined = len(with_masks) - len(ranked)
    left_out += f", {undefined} not ranked ({metric} undefined)" if undefined else ""
    return (
        f"{len(chosen) // 2} worst and {len(chosen) // 2} best of {count(len(ranked), 'case')} "
        f"by {region} {metric} ({snakemake.params.model}, {snakemake.params.set}){left_out}"
    )


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
