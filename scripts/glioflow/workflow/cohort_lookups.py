"""What the rules ask of a study's cohorts: where their files are, how many cases they show, what is needed of them."""

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from glioflow.cohorts.layouts import FoundCase, cohort_folder, list_cohort, source_stamp
from glioflow.console import UserError
from glioflow.models.nnunet_archive import describe_model
from glioflow.study.configuration import (
    ZEROS,
    ImportedModel,
    PhantomCohort,
    Study,
    cohort_dataset,
    expand_path,
    is_labelled,
    substitutes,
)
from glioflow.study.registry import CHANNELS, label_schemes
from glioflow.workflow.sets import failure_sets

SIZES_VARIABLE = "GLIOFLOW_SIZES"  # tells a run's jobs how many cases its plan counted in each cohort


class CohortLookups:
    """Look-ups by a cohort's name; what they read from disk is read once.

    ``planned``: whether this process runs a job of another one's plan, whose numbers of cases count then.
    """

    def __init__(self, study: Study, planned: bool = False) -> None:
        self.study = study
        self.planned = planned

    def is_phantom(self, cohort: str) -> bool:
        """Tell whether the cohort is made by the workflow."""
        return isinstance(self.study.cohorts[cohort], PhantomCohort)

    def is_fetched(self, cohort: str) -> bool:
        """Tell whether the cohort's data set is fetched by the workflow."""
        spec = self.study.cohorts[cohort]
        return not isinstance(spec, PhantomCohort) and getattr(spec, "path", "") is None

    def phantom_folder(self, cohort: str) -> str:
        """Return the folder that a cohort's phantoms are written to."""
        return f"{self.study.results}/cohorts/{cohort}/phantoms"

    def folder(self, cohort: str) -> Path:
        """Return the folder of a cohort's files (the table itself, for a table)."""
        return cohort_folder(self.study.cohorts[cohort], Path(self.phantom_folder(cohort)), self.study.data)

    def source(self, cohort: str) -> str:
        """Return where a cohort comes from, in words for a message."""
        return "the phantom generator" if self.is_phantom(cohort) else str(self.folder(cohort))

    def block(self, cohort: str) -> dict[str, Any]:
        """Return all that the study has of a cohort, but for what is done about missing channels once its images are known."""
        return self.study.cohorts[cohort].model_dump(mode="json", exclude={"on_missing_channel", "substitute"})

    def cases(self, cohort: str) -> list[FoundCase]:
        """Return the cases that a cohort's source shows; none before they are fetched or made.

        Raises
        ------
        UserError
            Where the source cannot be read; the message names the cohort.
        """
        if not self._cases.get(cohort):  # what is fetched may have come since
            try:
                self._cases[cohort] = list_cohort(self.study.cohorts[cohort], self.folder(cohort)).cases
            except UserError as error:
                raise UserError(f"cohorts.{cohort}: {error}") from None
        return self._cases[cohort]

    @cached_property
    def _cases(self) -> dict[str, list[FoundCase]]:
        return {}

    @cached_property
    def _stamps(self) -> dict[str, str]:
        return {}

    def further_files(self, cohort: str) -> list[str]:
        """Return the files, besides the images, that a cohort's table of cases depends on: covariates, a split."""
        spec = self.study.cohorts[cohort]
        return [expand_path(path) for path in (getattr(spec, "covariates", None), spec.split) if path]

    def stamp(self, cohort: str) -> str:
        """Return a fingerprint of the cohort's source files.

        What is made or fetched is followed by that step's output, and has the data set's name for a fingerprint.
        """
        by_hand = not self.is_fetched(cohort) or not (self.folder(cohort) / "fetched.json").exists()
        if self.is_phantom(cohort) or not (by_hand and self.folder(cohort).exists()):
            return self.study.cohorts[cohort].dataset
        if cohort not in self._stamps:
            self._stamps[cohort] = source_stamp(self.cases(cohort))
        return self._stamps[cohort]

    def size(self, cohort: str) -> int:
        """Return how many cases a cohort's source shows, or the registry has while they are not fetched yet.

        A run's jobs are told what was counted when it was planned: files that come or go meanwhile change no job.
        """
        spec = self.study.cohorts[cohort]
        if isinstance(spec, PhantomCohort):
            return spec.cases
        counted = json.loads(os.environ.get(SIZES_VARIABLE, "{}"))
        place = f"{self.study.results}/cohorts/{cohort}"
        if not (self.planned and place in counted):
            known = (cohort_dataset(spec).cases or 0) if self.is_fetched(cohort) else 0
            counted[place] = len(self.cases(cohort)) or known
            os.environ[SIZES_VARIABLE] = json.dumps(counted)
        return int(counted[place])

    def scheme_name(self, cohort: str) -> str:
        """Return the name of the cohort's label scheme, empty where it has no truth."""
        name = cohort_dataset(self.study.cohorts[cohort]).label_scheme if self.is_labelled(cohort) else ""
        assert name is not None  # checking the study has seen to it
        return name

    def is_labelled(self, cohort: str) -> bool:
        """Tell whether the cases of the cohort have truth masks."""
        return is_labelled(self.study.cohorts[cohort])

    def scheme(self, cohort: str) -> dict[int, int]:
        """Return the cohort's label scheme, raw value to canonical label; nothing where it has no truth."""
        return label_schemes()[self.scheme_name(cohort)] if self.is_labelled(cohort) else {}

    def labels(self, cohort: str) -> list[int]:
        """Return the canonical labels that a cohort can have, without the background."""
        return sorted(set(self.scheme(cohort).values()) - {0})

    def is_skull_stripped(self, cohort: str) -> bool:
        """Tell whether the cohort is declared to show the brain alone."""
        return cohort_dataset(self.study.cohorts[cohort]).skull_stripped

    def on_geometry_mismatch(self, cohort: str) -> str:
        """Return what is done where a label's header disagrees with its image."""
        return getattr(self.study.cohorts[cohort], "on_geometry_mismatch", "error")

    def has_grid(self, cohort: str) -> bool:
        """Tell whether the cohort's images are brought to a common grid."""
        return getattr(self.study.cohorts[cohort], "grid", None) is not None

    def training_cohorts(self, cohort: str) -> list[str]:
        """Return the other cohorts on which models are trained that predict this one."""
        models = self.study.trained().values()
        return sorted({model.cohort for model in models if cohort in model.external} - {cohort})

    def folds(self, cohort: str) -> list[int]:
        """Return each number of drawn folds that a model of the cohort uses."""
        models = self.study.trained().values()
        return sorted({model.folds for model in models if model.cohort == cohort and model.folds_by is None})

    def folds_by(self, cohort: str) -> dict[str, list[int]]:
        """Return each covariate whose values are the folds of a model of the cohort, with the numbers of folds expected."""
        found: dict[str, set[int]] = {}
        for model in self.study.trained().values():
            if model.cohort == cohort and model.folds_by is not None:
                found.setdefault(model.folds_by, set()).add(model.folds)
        return {covariate: sorted(numbers) for covariate, numbers in found.items()}

    def split_block(self, cohort: str) -> dict[str, Any]:
        """Return how a cohort is divided: the fields of ``glioflow.cohorts.splits.SplitPlan``."""
        spec = self.study.cohorts[cohort]
        keys = ("test_fraction", "test_size", "test_cases", "train_size", "stratify_by", "external", "seed")
        file = expand_path(spec.split) if spec.split else None
        folds = {"folds": self.folds(cohort), "folds_by": self.folds_by(cohort)}
        return {**{key: getattr(spec, key) for key in keys}, "file": file, **folds}

    def needed_channels(self, cohort: str) -> list[str]:
        """Return the channels that the study reads from a cohort, in canonical order."""
        used = {channel for channels in self._inputs(cohort) for channel in channels}
        if self._failure_sets(cohort):
            used.update(self.study.failure.images)
        return [channel for channel in CHANNELS if channel in used]

    def _inputs(self, cohort: str) -> list[list[str]]:
        """Return the input channels of each model that reads a cohort's images."""
        return [
            list(describe_model(model)["channels"]) if isinstance(model, ImportedModel) else list(model.channels)
            for model in self.study.predicting().values()
            if cohort in (model.cohort, *model.external)
        ]

    def missing_channels(self, cohort: str) -> dict[str, Any]:
        """Return what is done where a case lacks a channel that the study needs: ``CheckRules``'s fields of these names.

        What the study says of channels that it does not need is left out.
        """
        known = substitutes(self.study.cohorts[cohort])
        used = {channel: known[channel] for channel in self.needed_channels(cohort) if channel in known}
        policy = getattr(self.study.cohorts[cohort], "on_missing_channel", "error")
        return {"on_missing_channel": "error" if policy == "substitute" and not used else policy, "substitute": used}

    def _failure_sets(self, cohort: str) -> list[str]:
        """Return the names of the sets of a cohort's cases whose failures are analysed."""
        pairs = (pair.split("/") for pair in failure_sets(self.study))
        return sorted({name for model, name in pairs if self.study.cohort_of_set(model, name) == cohort})

    def requirements(self, cohort: str) -> dict[str, Any]:
        """Return what the study asks of a cohort that its cases may not be able to give.

        ``blank``: the input channels of each model that would see nothing but zeros in a case that lacks all of them.
        """
        inputs, known = self._inputs(cohort), substitutes(self.study.cohorts[cohort])
        return {
            "source": self.source(cohort),
            "split": self.split_block(cohort),
            "trained": bool(inputs),
            "blank": sorted({tuple(channels) for channels in inputs if all(known.get(name) == ZEROS for name in channels)}),
        }
