"""Which prediction sets a study has, which of them are analysed and compared, and how many jobs work on one."""

from math import ceil
from typing import Any

from glioflow.evaluation.comparison_groups import comparison_groups
from glioflow.study.configuration import Study

# Cases per job: a case takes about 0.1 s to score and 1 s to extract features from, a job some seconds to start.
SCORES_PER_SHARD = 50
RADIOMICS_PER_SHARD = 50


def model_sets(study: Study) -> list[str]:
    """Return ``model/set`` for every prediction set of the study."""
    return [f"{model}/{name}" for model in (*study.models, *study.ensembles) for name in study.sets_of(model)]


def scored_sets(study: Study) -> list[str]:
    """Return ``model/set`` for every prediction set whose cases have a truth."""
    return [f"{model}/{name}" for model in (*study.models, *study.ensembles) for name in study.scored_sets_of(model)]


def unscored_sets(study: Study) -> list[str]:
    """Return ``model/set`` for every prediction set whose cases have no truth."""
    scored = scored_sets(study)
    return [pair for pair in model_sets(study) if pair not in scored]


def failure_sets(study: Study) -> list[str]:
    """Return ``model/set`` for every set whose failures are analysed."""
    return [f"{model}/{name}" for model in (*study.models, *study.ensembles) for name in study.failure_sets_of(model)]


def quality_sets(study: Study) -> list[str]:
    """Return ``model/set`` for every set whose volumes and shapes are measured."""
    return [f"{model}/{name}" for model in (*study.models, *study.ensembles) for name in study.quality_sets_of(model)]


def predicted_quality_sets(study: Study) -> list[str]:
    """Return ``model/set`` for every set whose masks' quality is predicted without their truth, which they need not have."""
    wanted = study.quality.sets
    return [pair for pair in model_sets(study) if wanted is None or pair.split("/")[1] in wanted]


def compared_sets(study: Study) -> list[str]:
    """Return ``model/set`` for every set that is compared with another model's."""
    groups = comparison_groups(study)
    return list(dict.fromkeys(f"{model}/{name}" for group in groups for model, name in group.models.items()))


def published_sets(study: Study) -> list[str]:
    """Return ``model/set`` for every set that the study names a published value of."""
    return list(dict.fromkeys(f"{value.model}/{value.set}" for value in study.published))


def report_pairs(study: Study) -> list[dict[str, Any]]:
    """Return what the report shows: every set that is scored, its cohort, and whether its failures are analysed."""
    analysed = failure_sets(study)
    pairs = [pair.split("/") for pair in scored_sets(study)]
    return [
        {"model": model, "set": name, "cohort": study.cohort_of_set(model, name), "failure": f"{model}/{name}" in analysed}
        for model, name in pairs
    ]


def expected_cases(study: Study, model: str, set_name: str, cases: int) -> int:
    """Return about how many cases a set has before its cohort of so many is divided: for the number of its shards alone.

    Of a split by a file or a list, and where patients have several cases, the estimate can be off; shards are larger then, or
    smaller.
    """
    cohort = study.cohorts[study.cohort_of_set(model, set_name)]
    held_out = round(cohort.test_fraction * cases) if cohort.test_size is None else min(cohort.test_size, cases)
    if set_name == "cv":
        return min(cases - held_out, cases if cohort.train_size is None else cohort.train_size)
    return held_out if set_name == "test" and held_out else cases


def score_shards(cases: int) -> int:
    """Return how many jobs score a set of so many cases."""
    return max(1, ceil(cases / SCORES_PER_SHARD))


def radiomics_shards(study: Study, cases: int) -> int:
    """Return how many jobs extract the features of a set of so many cases, or of its extremes."""
    chosen = cases if study.failure.cases == "all" else min(cases, 2 * study.failure.extremes)
    return max(1, ceil(chosen / RADIOMICS_PER_SHARD))
