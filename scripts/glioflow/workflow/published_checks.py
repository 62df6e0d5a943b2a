"""Checking the published values of a study: each must be comparable with a value that the study computes."""

from collections.abc import Iterator

from glioflow.evaluation.conventions import conventions, lesion_conventions
from glioflow.study.configuration import Evaluation, Published, Study
from glioflow.study.metric_registry import DISTANCES, find_metric


def scored_metrics(evaluation: Evaluation) -> list[str]:
    """Return the columns of numbers that a study's scores have a value in; none where its conventions are unknown."""
    from glioflow.evaluation.lesions import lesion_columns  # loads scipy, which no other part of planning needs
    from glioflow.evaluation.metrics import metric_columns

    convention = conventions().get(evaluation.convention)
    if convention is None or evaluation.lesionwise not in (None, *lesion_conventions()):
        return []
    scored = [name for name in metric_columns(convention) if name not in DISTANCES or getattr(convention, name) is not None]
    return scored + (lesion_columns(convention) if evaluation.lesionwise else [])


def unlike_the_scores(study: Study, value: Published, seen: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each key of a published value that names what the study does not score: key, what is wrong, what is known.

    ``seen``: the regions that the model can show, empty where that cannot be told.
    """
    models = [*study.models, *study.ensembles]
    if value.model not in models:
        yield "model", f"no model or ensemble is called {value.model!r}", models
    elif _has_cohort(study, value.model) and value.set not in (sets := study.scored_sets_of(value.model)):
        yield "set", f"{value.model} has no set {value.set!r}", sets
    known = scored_metrics(study.evaluation)
    if known and value.metric not in known:
        yield "metric", f"the study's scores have no column {value.metric!r}", known
    if value.region not in study.evaluation.regions:
        yield "region", f"{value.region} is not among evaluation.regions", list(study.evaluation.regions)
    elif seen and value.region not in seen:
        yield "region", f"{value.region} is not applicable to {value.model}", seen


def _has_cohort(study: Study, name: str) -> bool:
    """Tell whether the cohorts of a model, or of an ensemble's members, are known; where they are not, that is said already."""
    members = study.ensembles[name].members if name in study.ensembles else [name]
    return all(member in study.models and study.models[member].cohort in study.cohorts for member in members)


def wrong_scale(value: Published) -> str | None:
    """Return why a published value cannot be one of its metric, None where it can."""
    metric = find_metric(value.metric)
    if metric.unit == "ratio" and metric.better > 0 and not 0 <= value.value <= 1:
        percent = f"; if it is per cent, write {value.value / 100:g}" if 1 < value.value <= 100 else ""
        return f"found {value.value:g}; expected a {metric.name} from 0 to 1{percent}"
    if not metric.signed and value.value < 0:
        return f"found {value.value:g}; expected a {metric.name} of 0 or more"
    return None
