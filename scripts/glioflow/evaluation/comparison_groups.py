"""Which models of a study are compared with each other: those whose prediction sets hold the same cases.

A group is the cases of one set of one cohort. ``cv`` and ``test`` hold the models trained on the cohort; ``cv`` is a group for
each way to make folds (their number, and the covariate whose values they are), because then the models' folds were trained on
the same cases. ``all`` holds what predicts the whole cohort: precomputed predictions, imported models, and models trained on
another one. These also join the groups ``cv`` and ``test`` of their cohort, where each is compared with the models trained on
it, over the cases that they share.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from glioflow.study.configuration import TRAINED_SETS, Study

WHOLE = "all"


@dataclass(frozen=True)
class Group:
    """Models to compare: ``own`` and ``joining`` have the prediction set of each, in the study's order.

    ``joining`` predict more than the group's cases. ``folds``, ``folds_by``: of the models of a ``cv`` group.
    """

    cohort: str
    set: str
    folds: int | None
    own: dict[str, str]
    joining: dict[str, str]
    folds_by: str | None = None

    @property
    def columns(self) -> dict[str, str | int | None]:
        """The columns of a table that identify the group."""
        return {"cohort": self.cohort, "set": self.set, "folds": self.folds, "folds_by": self.folds_by}

    @property
    def models(self) -> dict[str, str]:
        """All models of the group and the prediction set of each."""
        return {**self.own, **self.joining}

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two models that are compared; two that both join are so in the group ``all``."""
        return [pair for pair in combinations(self.models, 2) if not set(pair) <= set(self.joining)]


def comparison_groups(study: Study) -> list[Group]:
    """Return the groups of at least two models, in the order of the study's cohorts."""
    return [group for cohort in study.cohorts for group in _groups_of(study, cohort) if len(group.models) > 1]


def _groups_of(study: Study, cohort: str) -> Iterator[Group]:
    sets = [
        (model, name)
        for model in (*study.models, *study.ensembles)
        for name in study.scored_sets_of(model)
        if study.cohort_of_set(model, name) == cohort
    ]
    whole = {model: name for model, name in sets if name not in TRAINED_SETS}
    for part in TRAINED_SETS:
        members = {model: _folds_of(study, model) if part == "cv" else (None, None) for model, name in sets if name == part}
        for folds, folds_by in dict.fromkeys(members.values()):
            own = {model: part for model, made in members.items() if made == (folds, folds_by)}
            yield Group(cohort, part, folds, own, whole, folds_by)
    yield Group(cohort, WHOLE, None, whole, {})


def _folds_of(study: Study, model: str) -> tuple[int, str | None]:
    """Return the number of folds of a trained model, or of an ensemble's members, and the covariate that they are made by."""
    trained = study.trained()[model if model in study.models else study.ensembles[model].members[0]]
    return trained.folds, trained.folds_by
