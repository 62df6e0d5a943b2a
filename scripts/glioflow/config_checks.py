"""Checking a configuration file: every problem at once, each with its key, what was found and what would be right."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from glioflow.access import can_fetch, how_to_get
from glioflow.config import (
    OWN_LAYOUTS,
    RESERVED_SETS,
    AnyCohort,
    BidsCohort,
    Block,
    Ensemble,
    Evaluation,
    Failure,
    FolderCohort,
    GivenModel,
    Grid,
    PhantomCohort,
    Plans,
    Report,
    Study,
    TableCohort,
    TrainedModel,
    cohort_channels,
    cohort_dataset,
    data_folder,
    expand_path,
)
from glioflow.console import UserError
from glioflow.labels import REGIONS
from glioflow.registry import datasets, label_schemes


def load_study(config: Mapping[str, Any], source: str) -> Study:
    """Return the validated study of ``config``, read from the file ``source``.

    Raises UserError listing every problem at once: key, what was found, what would be right.
    """
    try:
        study = Study.model_validate(dict(config))
    except ValidationError as error:
        raise UserError(_report(source, [_explain(e) for e in error.errors()])) from None
    if problems := list(_cross_check(study)):
        raise UserError(_report(source, problems))
    return study


def _report(source: str, problems: list[str]) -> str:
    head = f"{source}: {len(problems)} problem{'s' if len(problems) > 1 else ''} in the configuration"
    return "\n".join([head, *(f"  - {problem}" for problem in problems)])


def suggestion(word: str, known: list[str]) -> str:
    """Return ``did you mean 'x'?`` where a known word is close, else the list of what is known."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _explain(error: Any) -> str:
    """Return one pydantic error as ``key: what was found; what would be right``."""
    path, block = _locate(error["loc"])
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; {suggestion(path[-1], list(block.model_fields))}"
    if error["type"] == "missing":
        return f"{key}: missing; expected: {block.model_fields[path[-1]].description}"
    if error["type"] == "string_pattern_mismatch" and path[-1] == "orientation":
        return f"{key}: found {error['input']!r}; expected three letters such as LPS or RAS, one of each pair L/R, A/P, S/I"
    if error["type"] == "string_pattern_mismatch":
        return f"{key.removesuffix('.[key]')}: a name may hold letters, digits, '-' and '_' only"
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}; found {error['input']!r}"


_BLOCKS: dict[str, type[Block]] = {
    "phantom": PhantomCohort,
    "table": TableCohort,
    "bids": BidsCohort,
    "folders": FolderCohort,
    "grid": Grid,
    "trained": TrainedModel,
    "given": GivenModel,
    "plans": Plans,
    "ensembles": Ensemble,
    "evaluation": Evaluation,
    "failure": Failure,
    "report": Report,
}


def _locate(location: tuple[Any, ...]) -> tuple[list[str], type[Block]]:
    """Return the keys that lead to an error, and the block that its last key belongs to."""
    parts = [str(part) for part in location]
    block: type[Block] = _BLOCKS.get(parts[0], Study) if len(parts) > 1 else Study
    if (
        parts[0] in ("cohorts", "models") and len(parts) > 2 and parts[2] in _BLOCKS
    ):  # pydantic puts the tag of the union after the name
        block = _BLOCKS[parts.pop(2)]
        if len(parts) > 3:
            block = _BLOCKS.get(parts[2], block)
    return parts, block


def _cross_check(study: Study) -> Iterator[str]:
    """Yield what single keys cannot tell: references between blocks, folders that must exist."""
    for name, cohort in study.cohorts.items():
        yield from _check_cohort(f"cohorts.{name}", name, cohort, study.data)
    cohorts = list(study.cohorts)
    for name, model in study.models.items():
        key = f"models.{name}"
        if name in study.ensembles:
            yield f"ensembles.{name}: a model has this name already"
        if model.cohort not in study.cohorts:
            yield f"{key}.cohort: no cohort is called {model.cohort!r}; {suggestion(model.cohort, cohorts)}"
            continue
        if isinstance(model, TrainedModel):
            if study.cohorts[model.cohort].external:
                yield f"{key}.cohort: {model.cohort!r} is external; name it in `external` of a model trained on another cohort"
            yield from _check_trained(key, model, study)
        else:
            yield from _check_given(key, model)
    for name, ensemble in study.ensembles.items():
        yield from _check_ensemble(f"ensembles.{name}", ensemble, study)
    known_sets = {*RESERVED_SETS, *cohorts}
    for set_name in study.failure.sets or []:
        if set_name not in known_sets:
            yield f"failure.sets: no set is called {set_name!r}; {suggestion(set_name, sorted(known_sets))}"
    yield from _check_failure_image(study)
    if study.failure.region not in study.evaluation.regions:
        yield (
            f"failure.region: {study.failure.region} is not among evaluation.regions "
            f"({', '.join(study.evaluation.regions)}); the cases are ranked by a score of that region"
        )


def _check_cohort(key: str, name: str, cohort: AnyCohort, data: str | None) -> Iterator[str]:
    if name in RESERVED_SETS:
        yield f"{key}: {name!r} is the name of a prediction set; choose another name for the cohort"
    yield from _check_split(key, cohort)
    if isinstance(cohort, PhantomCohort):
        if sum(cohort.planted.values()) > cohort.cases:
            yield f"{key}.planted: {sum(cohort.planted.values())} difficult cases do not fit into {cohort.cases} cases"
        return
    if not _is_known(cohort.dataset):
        known = [*datasets(), *OWN_LAYOUTS]
        yield f"{key}.dataset: unknown data set {cohort.dataset!r}; {suggestion(cohort.dataset, known)}"
        return
    if cohort.covariates is not None:
        yield from _check_path(f"{key}.covariates", cohort.covariates, "file")
    if isinstance(cohort, TableCohort):
        yield from _check_path(f"{key}.table", cohort.table, "file")
    elif cohort.path is not None:
        yield from _check_path(f"{key}.path", cohort.path, "folder")
    if isinstance(cohort, FolderCohort):
        yield from _check_folders(key, cohort, data)
    yield from _check_scheme(f"{key}.label_scheme", cohort.label_scheme)


def _is_known(dataset: str) -> bool:
    return dataset in datasets() or dataset in OWN_LAYOUTS


def _check_split(key: str, cohort: AnyCohort) -> Iterator[str]:
    """Yield what is wrong with the keys that say how a cohort is divided: at most one of them may be given."""
    given = [name for name in ("test_fraction", "test_cases", "split", "external") if getattr(cohort, name)]
    if len(given) > 1:
        yield f"{key}: {' and '.join(given)} are given together; give one of them"
    if cohort.split is not None:
        yield from _check_path(f"{key}.split", cohort.split, "file")


def _check_folders(key: str, cohort: FolderCohort, data: str | None) -> Iterator[str]:
    """Yield what is wrong with the patterns of a cohort, and whether its folder is named or can be fetched."""
    entry = cohort_dataset(cohort)
    if cohort.dataset == "folders":
        for part in ("path", "files", "label_scheme"):
            if getattr(cohort, part) is None:
                yield f"{key}.{part}: missing; a cohort of the data set 'folders' needs it"
    elif cohort.path is None:
        try:
            folder = data_folder(cohort.dataset, data)
        except ValueError as error:
            yield f"data: {error}"
            return
        if not (folder.is_dir() and any(folder.iterdir())) and not can_fetch(entry):
            yield f"{key}.path: missing; {how_to_get(cohort.dataset, entry, folder)}"
    for role, patterns in (entry.files or {}).items():
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            if "{case}" not in pattern:
                yield f"{key}.files.{role}: {pattern!r} has no {{case}}; it must stand where the case's id stands in the path"
    try:
        if re.compile(entry.patient_id).groups < 1:
            yield f"{key}.patient_id: {entry.patient_id!r} has no group; put the patient's part in brackets: (.+)-\\d+"
    except re.error as error:
        yield f"{key}.patient_id: not a regular expression ({error})"


def _check_scheme(key: str, scheme: str | None) -> Iterator[str]:
    if scheme is not None and scheme not in label_schemes():
        yield f"{key}: unknown label scheme {scheme!r}; {suggestion(scheme, list(label_schemes()))}"


def _check_path(key: str, path: str, kind: str) -> Iterator[str]:
    try:
        full = Path(expand_path(path))
    except ValueError as error:
        yield f"{key}: {error}"
        return
    if not (full.is_dir() if kind == "folder" else full.is_file()):
        yield f"{key}: {full} is not a {kind} that exists"


def _check_trained(key: str, model: TrainedModel, study: Study) -> Iterator[str]:
    if model.cohort in model.external:
        yield f"{key}.external: {model.cohort!r} is what the model is trained on; its cases are predicted as the set cv"
    if len(set(model.external)) < len(model.external):
        yield f"{key}.external: a cohort stands twice in {model.external}"
    for cohort in (model.cohort, *model.external):
        if cohort not in study.cohorts:
            yield f"{key}.external: no cohort is called {cohort!r}; {suggestion(cohort, list(study.cohorts))}"
            continue
        if not _is_known(study.cohorts[cohort].dataset):
            continue  # said already
        channels = cohort_channels(study.cohorts[cohort])
        for channel in model.channels:
            if channels is not None and channel not in channels:
                yield f"{key}.channels: the cohort {cohort!r} has no channel {channel}; it has {', '.join(channels)}"
    if len(set(model.channels)) < len(model.channels):
        yield f"{key}.channels: a channel stands twice in {model.channels}"
    sizes = [len(REGIONS[region]) for region in model.regions]
    if sizes != sorted(sizes, reverse=True) or len(set(model.regions)) < len(model.regions):
        yield f"{key}.regions: {model.regions} must go from the largest region to the smallest, each once"
    dimensions = 2 if model.configuration == "2d" else 3
    if model.plans.patch_size and len(model.plans.patch_size) != dimensions:
        yield f"{key}.plans.patch_size: {model.plans.patch_size} does not have the {dimensions} axes of {model.configuration}"


def _check_failure_image(study: Study) -> Iterator[str]:
    """Yield the cohorts whose failures are analysed and that lack the channel to do it with."""
    analysed = {
        model.cohort if set_name in RESERVED_SETS else set_name
        for name, model in study.models.items()
        if model.cohort in study.cohorts and name not in study.ensembles
        for set_name in study.failure_sets_of(name)
    }
    image = study.failure.image
    for cohort in (name for name in study.cohorts if name in analysed and _is_known(study.cohorts[name].dataset)):
        channels = cohort_channels(study.cohorts[cohort])
        if channels is not None and image not in channels:
            yield f"failure.image: the cohort {cohort!r} has no channel {image}; it has {', '.join(channels)}"


def _check_given(key: str, model: GivenModel) -> Iterator[str]:
    if "{case}" not in model.predictions:
        yield f"{key}.predictions: {model.predictions!r} has no {{case}}; it must stand where the case's id stands in the path"
    else:
        root = model.predictions.split("{case}")[0]
        yield from _check_path(f"{key}.predictions", root.rpartition("/")[0] or ".", "folder")
    yield from _check_scheme(f"{key}.label_scheme", model.label_scheme)


def _check_ensemble(key: str, ensemble: Ensemble, study: Study) -> Iterator[str]:
    trained = study.trained()
    for member in ensemble.members:
        if member not in trained:
            yield f"{key}.members: no trained model is called {member!r}; {suggestion(member, list(trained))}"
    members = [trained[member] for member in ensemble.members if member in trained]
    for what in ("cohort", "regions", "folds"):
        if len({str(getattr(member, what)) for member in members}) > 1:
            yield f"{key}.members: they differ in {what}; an ensemble needs the same"
    for region, member in ensemble.merge.items():
        if member not in ensemble.members:
            yield f"{key}.merge.{region}: {member!r} is not a member; {suggestion(member, ensemble.members)}"
