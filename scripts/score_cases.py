"""Score the cases of one shard: how well each prediction agrees with its truth, region by region.

The metrics are those of ``glioflow.evaluation.metrics`` under the study's convention; lesion-wise scores, where they are asked
for, those of ``glioflow.evaluation.lesions``. A shard (``glioflow.shards``) holds every prediction of its cases: one,
or one with and one without test-time augmentation. A prediction whose truth, regions, convention and rules
for lesions are what they were is taken from the cache and not read again.

Inputs
------
manifest : the cohort's manifest.csv, with the path, hash and spacing of each case's canonical label map
predictions : predictions.csv, with the path and hash of each case's predicted canonical label map, and whether it was made with
    test-time augmentation (``tta``: True, False, or empty where nobody knows; so is a table without the column). Where the
    column ``missing`` is True the mask is an empty one in place of a prediction that is not there, and the note names that

Outputs
-------
one CSV table, a row per case, tta and region: the columns of ``glioflow.evaluation.scoring.Plan``, sorted by case id, then with
augmentation before without, regions in the order asked for

Params
------
regions : names of regions, as in ``glioflow.imaging.labels.REGIONS``
trained_regions : names of the regions that the model predicts, None where nobody knows; regions that cannot be told apart by
    them are not applicable (``glioflow.imaging.labels.visible_regions``)
truth_regions : names of the regions that the cohort's labels can show, None where nobody knows; others are not applicable
convention : name of a convention of config/conventions
lesionwise : name of the one whose rules for lesions count, or None
reproduce_defects : whether the known defects of that convention's tool are computed as well
conventions : content hash of both, so that the rule runs again where a value may change
shard : this shard's name, ``<i>-of-<n>``
cache : path of this shard's cache, beside those of the set's other shards
"""

from typing import Any

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.cases import Case, case_key, case_rows, pair_cases, read_maps
from glioflow.evaluation.scoring import Plan, plan_of, score_pair, score_table
from glioflow.files import write_table
from glioflow.models.predictions import read_predictions


def score_case(case: Case, plan: Plan) -> list[dict[str, Any]]:
    """Return a prediction's scores, one for each region. Raises ``UserError`` where it cannot be scored."""
    truth, prediction = read_maps(case)
    return score_pair(truth.data, prediction.data, truth.spacing, plan)


def main(snakemake: Any, console: Console) -> str:
    """Score the shard's predictions, those of the cache excepted, and write their table.

    Raises ``UserError``, with a line for each, once every other one is scored, where some cannot be.
    """
    params, tables = snakemake.params, snakemake.input
    plan = plan_of(params, params.convention, params.lesionwise, params.reproduce_defects)
    cases, problems = pair_cases(read_manifest(tables.manifest), read_predictions(tables.predictions), params.shard)
    scores, computed = compute_cases(
        score_case,
        {case.item: case for case in cases},
        plan,
        threads=snakemake.threads,
        console=console,
        what="predictions scored",
        cache=CaseCache(params.cache, of_set=True),
        keys={case.item: case_key(case, plan) for case in cases},
        problems=problems,
    )
    if problems:
        raise UserError("\n  ".join(["these cases cannot be scored:", *sorted(set(problems))]))
    table = score_table((row for case in cases for row in case_rows(case, scores[case.item])), plan)
    write_table(snakemake.output[0], table)
    ids = len({case.case_id for case in cases})
    twice = f", {len(cases)} predictions" if len(cases) > ids else ""
    kept = f", {len(cases) - computed} already scored" if computed < len(cases) else ""
    return f"{count(ids, 'case')}{twice}, {count(len(table), 'row')}{kept}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
