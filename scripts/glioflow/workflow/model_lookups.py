"""What the rules ask of a study's models and ensembles: what they are made from, and who reads what they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glioflow.cohorts.layouts import file_stamps
from glioflow.files import key_of
from glioflow.imaging.labels import scheme_regions, visible_regions
from glioflow.models.ensembles import needs_probabilities
from glioflow.models.nnunet.custom_trainers import trainer_class, trainer_fingerprint
from glioflow.models.nnunet_archive import describe_model, told_of
from glioflow.study.configuration import GivenModel, ImportedModel, Study, TrainedModel, expand_path
from glioflow.study.registry import label_schemes
from glioflow.workflow.cohort_lookups import CohortLookups

# Keys of a trained model that its plans do not depend on.
NOT_PLANNED = {
    *("cohort", "external", "device", "folds", "folds_by", "threads", "prediction_folds", "postprocessing"),
}


class ModelLookups:
    """Look-ups by the name of a model, or of an ensemble where the docstring names it."""

    def __init__(self, study: Study, cohorts: CohortLookups) -> None:
        self.study = study
        self.cohorts = cohorts

    def description(self, model: str) -> dict[str, Any]:
        """Return the description in an imported model's archive."""
        spec = self.study.models[model]
        assert isinstance(spec, ImportedModel)
        return dict(describe_model(spec))

    def told(self, model: str) -> dict[str, Any]:
        """Return what the study tells of an imported model that its archive may not."""
        spec = self.study.models[model]
        assert isinstance(spec, ImportedModel)
        return told_of(spec)

    def fact(self, model: str, key: str) -> Any:
        """Return channels, regions, configuration, folds or trainer: those of the study, or of the imported archive."""
        spec = self.study.models[model]
        if isinstance(spec, ImportedModel):
            return self.description(model)[key]
        assert isinstance(spec, TrainedModel)
        if key == "trainer":
            return trainer_class(spec.trainer)
        return list(range(spec.folds)) if key == "folds" else getattr(spec, key)

    def plan_block(self, model: str) -> dict[str, Any]:
        """Return what the plans of a trained model depend on."""
        spec = self.study.trained()[model]
        block = spec.model_dump(mode="json", exclude=NOT_PLANNED)
        if spec.trainer:  # what the study leaves out is then that trainer's
            block |= {
                "said": sorted(spec.model_fields_set),
                "trainer_fingerprint": trainer_fingerprint(expand_path(spec.trainer)),
            }
        return block

    def predicting_folds(self, model: str) -> Sequence[int]:
        """Return the folds that predict a model's sets other than ``cv``."""
        chosen = self.study.predicting()[model].prediction_folds
        return list(self.fact(model, "folds")) if chosen is None else chosen

    def gpus(self, model: str) -> int:
        """Return the GPUs that a job of a model asks for."""
        return 0 if self.study.predicting()[model].device == "cpu" else 1

    def exportable(self) -> list[str]:
        """Return the trained models that an archive can hold: it holds weights, not the code of a custom trainer."""
        return [name for name, model in self.study.trained().items() if model.trainer is None]

    # ---- probabilities

    def using_ensembles(self, model: str) -> list[str]:
        """Return the names of the ensembles that read a trained model's probabilities."""
        regions = self.study.trained()[model].regions
        return [
            name
            for name, ensemble in self.study.ensembles.items()
            if model in ensemble.members and needs_probabilities(ensemble.method, ensemble.merge, regions)
        ]

    def kept_probabilities(self, model: str) -> str | None:
        """Return what a model's probabilities are kept for, None where nothing needs them.

        They are removed once the ensembles are made, and made again where an ensemble comes to be another one.
        """
        if model not in self.study.trained():
            return None
        using = {name: self.study.ensembles[name] for name in self.using_ensembles(model)}
        return key_of({name: [e.members, e.method, list(e.merge.items())] for name, e in using.items()}) if using else None

    def releasing(self) -> list[str]:
        """Return the models whose probabilities are kept for a while."""
        return [model for model in self.study.trained() if self.using_ensembles(model)]

    def reads_probabilities(self, ensemble: str) -> bool:
        """Tell whether an ensemble reads its members' probabilities."""
        return ensemble in self.using_ensembles(self.study.ensembles[ensemble].members[0])

    def member_tta(self, ensemble: str) -> list[bool] | list[None]:
        """Return the TTA modes that an ensemble's members share, as its masks' ``tta``; [None] where they differ."""
        modes = [self.study.trained()[member].tta for member in self.study.ensembles[ensemble].members]
        both = [{True, False} if mode == "both" else {bool(mode)} for mode in modes]
        return sorted(set.intersection(*both), reverse=True) or [None]

    # ---- masks

    def is_postprocessed(self, model: str) -> bool:
        """Tell whether the masks of a model or an ensemble are cleaned up, by the study or the imported archive."""
        spec = self.study.ensembles.get(model) or self.study.models[model]
        if isinstance(spec, ImportedModel):
            return "postprocessing.json" in self.description(model)["files"]
        return not isinstance(spec, GivenModel) and spec.postprocessing is not None

    def precomputed_stamp(self, model: str) -> str:
        """Return a fingerprint of the masks that a study gives for a model."""
        spec = self.study.models[model]
        assert isinstance(spec, GivenModel)
        pattern = expand_path(spec.predictions)
        masks = [Path(pattern.replace("{case}", case.case_id)) for case in self.cohorts.cases(spec.cohort)]
        return key_of({"masks": file_stamps(masks)})

    def origin(self, model: str) -> str:
        """Return what made a model's masks: a ``network``, an ``ensemble`` of networks, or somebody else (``precomputed``)."""
        if model in self.study.ensembles:
            return "ensemble"
        return "precomputed" if model in self.study.given() else "network"

    def read_channels(self, model: str) -> list[str]:
        """Return the channels that a model or an ensemble's first member reads; none of precomputed masks."""
        first = model if model in self.study.models else self.study.ensembles[model].members[0]
        return [] if first in self.study.given() else list(self.fact(first, "channels"))

    # ---- regions

    def predicted_regions(self, model: str) -> list[str]:
        """Return the regions that a model or an ensemble was made to see.

        Of precomputed masks, where the study names none, those that their labels can show.
        """
        first = model if model in self.study.models else self.study.ensembles[model].members[0]
        spec = self.study.models[first]
        if not isinstance(spec, GivenModel):
            return list(self.fact(first, "regions"))
        return list(spec.regions or scheme_regions(label_schemes()[spec.label_scheme].values()))

    def labelled_regions(self, model: str, set_name: str) -> list[str]:
        """Return the regions that the labels of a set's cohort can show."""
        return scheme_regions(self.cohorts.scheme(self.study.cohort_of_set(model, set_name)).values())

    def truth_scheme(self, model: str, set_name: str) -> str:
        """Return the name of the label scheme of the truths of a set."""
        return self.cohorts.scheme_name(self.study.cohort_of_set(model, set_name))

    def compared_schemes(self, model: str, set_name: str) -> tuple[str | None, str | None]:
        """Return the names of the label schemes of the model's own cohort and of a set's; None where that has no truth."""
        own, other = self.study.cohort_of(model), self.study.cohort_of_set(model, set_name)
        names = [self.cohorts.scheme_name(cohort) or None for cohort in (own, other)]
        return names[0], names[1]

    def prediction_scheme(self, model: str) -> str | None:
        """Return the name of the label scheme of precomputed masks; None where glioflow makes the masks."""
        spec = self.study.models.get(model)
        return spec.label_scheme if isinstance(spec, GivenModel) else None

    def shown_regions(self, model: str) -> list[str]:
        """Return the regions to score that a model's masks can show."""
        return visible_regions(self.predicted_regions(model), self.study.evaluation.regions)
