"""Checking a configuration file: every problem at once, each with its key, what was found and what would be right."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from glioflow.cohorts.access import can_fetch, how_to_get
from glioflow.cohorts.layouts.patterns import tells_case
from glioflow.console import UserError
from glioflow.evaluation.conventions import conventions, lesion_conventions
from glioflow.imaging.labels import REGIONS, visible_regions
from glioflow.models.nnunet.architectures import DEEP_STAGES, divisor
from glioflow.models.nnunet.custom_trainers import find_trainer
from glioflow.models.nnunet_archive import describe_model
from glioflow.study.configuration import (
    OWN_LAYOUTS,
    RESERVED_ENDINGS,
    RESERVED_SETS,
    AnyCohort,
    BidsCohort,
    Block,
    Bundle,
    Ensemble,
    Evaluation,
    Failure,
    FolderCohort,
    GivenModel,
    Grid,
    ImportedModel,
    PhantomCohort,
    Plans,
    Postprocessing,
    Published,
    Quality,
    Report,
    Study,
    Swa,
    TableCohort,
    TrainedModel,
    cohort_channels,
    cohort_dataset,
    data_folder,
    expand_path,
    is_labelled,
    substitutes,
)
from glioflow.study.metric_registry import DISTANCES
from glioflow.study.registry import datasets, label_schemes
from glioflow.workflow.published_checks import unlike_the_scores, wrong_scale
from glioflow.workflow.radiomics_settings import radiomics_problems


def load_study(config: Mapping[str, Any], source: str) -> Study:
    """Return the validated study of ``config``, read from the file ``source``.

    Raises UserError listing every problem at once: key, what was found, what would be right.
    """
    datasets(), label_schemes(), conventions()  # a mistake in these files is reported before any of the study's
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
    key = ".".join(path).removesuffix(".[key]")  # pydantic's mark where a key of a mapping is wrong, not its value
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; {suggestion(path[-1], list(block.model_fields))}"
    if error["type"] == "missing" and path[-1] in block.model_fields:
        return f"{key}: missing; expected: {block.model_fields[path[-1]].description}"
    if error["type"] == "string_pattern_mismatch" and path[-1] == "orientation":
        return f"{key}: found {error['input']!r}; expected three letters such as LPS or RAS, one of each pair L/R, A/P, S/I"
    if error["type"] == "string_pattern_mismatch":
        return f"{key}: a name may hold letters, digits, '-' and '_' only"
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}; found {error['input']!r}"


_BLOCKS: dict[str, type[Block]] = {
    "phantom": PhantomCohort,
    "table": TableCohort,
    "bids": BidsCohort,
    "folders": FolderCohort,
    "grid": Grid,
    "trained": TrainedModel,
    "given": GivenModel,
    "imported": ImportedModel,
    "plans": Plans,
    "swa": Swa,
    "postprocessing": Postprocessing,
    "ensembles": Ensemble,
    "evaluation": Evaluation,
    "failure": Failure,
    "quality": Quality,
    "report": Report,
    "published": Published,
    "bundle": Bundle,
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
    """Yield what single keys cannot show: references between blocks, folders that must exist."""
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
        elif isinstance(model, ImportedModel):
            yield from _check_imported(key, model, study)
        else:
            yield from _check_given(key, model, study.cohorts[model.cohort])
    for name, ensemble in study.ensembles.items():
        yield from _check_ensemble(f"ensembles.{name}", ensemble, study)
    known_sets = {*RESERVED_SETS, *cohorts}
    for set_name in study.failure.sets or []:
        if set_name not in known_sets:
            yield f"failure.sets: no set is called {set_name!r}; {suggestion(set_name, sorted(known_sets))}"
        elif set_name in study.cohorts and not is_labelled(study.cohorts[set_name]):
            yield f"failure.sets: the cohort {set_name!r} is not labelled: nothing is scored, and no case can be ranked"
    for set_name in study.quality.sets or []:
        if set_name not in known_sets:
            yield f"quality.sets: no set is called {set_name!r}; {suggestion(set_name, sorted(known_sets))}"
    yield from _check_failure_image(study)
    yield from _check_failure_region(study)
    yield from radiomics_problems(study.failure, study.evaluation.regions)
    yield from _check_conventions(study)
    yield from _check_published(study)
    if study.failure.sets != [] and study.failure.region not in study.evaluation.regions:
        yield (
            f"failure.region: {study.failure.region} is not among evaluation.regions "
            f"({', '.join(study.evaluation.regions)}); the cases are ranked by a score of that region (failure: off ranks none)"
        )


def _check_cohort(key: str, name: str, cohort: AnyCohort, data: str | None) -> Iterator[str]:
    if name in RESERVED_SETS:
        yield f"{key}: {name!r} is the name of a prediction set; choose another name for the cohort"
    if ending := next((ending for ending in RESERVED_ENDINGS if name.endswith(ending)), None):
        yield f"{key}: {name!r} ends in {ending!r}, as a file beside a set's scores does; choose another name for the cohort"
    yield from _check_split(key, cohort)
    if not cohort.labelled and not cohort.external:
        yield f"{key}.labelled: false; only a cohort with external: true can be without truth masks: nothing is trained on it"
    if isinstance(cohort, PhantomCohort):
        if sum(cohort.planted.values()) > cohort.cases:
            yield f"{key}.planted: {sum(cohort.planted.values())} difficult cases do not fit into {cohort.cases} cases"
        return
    if not _is_known(cohort.dataset):
        known = [*datasets(), *OWN_LAYOUTS]
        yield f"{key}.dataset: unknown data set {cohort.dataset!r}; {suggestion(cohort.dataset, known)}"
        return
    yield from _check_substitutes(key, cohort)
    if cohort.covariates is not None:
        yield from _check_path(f"{key}.covariates", cohort.covariates, "file")
    if isinstance(cohort, TableCohort):
        yield from _check_path(f"{key}.table", cohort.table, "file")
    elif cohort.path is not None:
        yield from _check_path(f"{key}.path", cohort.path, "folder")
    if isinstance(cohort, FolderCohort):
        yield from _check_folders(key, cohort, data)
    yield from _check_scheme(f"{key}.label_scheme", cohort.label_scheme)
    if isinstance(cohort, TableCohort | BidsCohort) and cohort.labelled and cohort.label_scheme is None:
        yield f"{key}.label_scheme: missing; expected: {type(cohort).model_fields['label_scheme'].description}"


def _is_known(dataset: str) -> bool:
    return dataset in datasets() or dataset in OWN_LAYOUTS


def _check_split(key: str, cohort: AnyCohort) -> Iterator[str]:
    """Yield what is wrong with the keys that decide how a cohort is divided: at most one of them may be given."""
    given = [name for name in ("test_fraction", "test_size", "test_cases", "split", "external") if getattr(cohort, name)]
    if len(given) > 1:
        yield f"{key}: {' and '.join(given)} are given together; give one of them"
    if cohort.train_size is not None and (cohort.split is not None or cohort.external):
        other = "external" if cohort.external else "split"
        yield f"{key}.train_size: nothing is drawn where {other} is given; leave one of them out"
    if cohort.split is not None:
        yield from _check_path(f"{key}.split", cohort.split, "file")


def _check_substitutes(key: str, cohort: AnyCohort) -> Iterator[str]:
    """Yield what is wrong with the channels that are to take the place of missing ones."""
    known = substitutes(cohort)
    asked = getattr(cohort, "on_missing_channel", "error") == "substitute"
    if asked and not known:
        yield (
            f"{key}.substitute: missing; on_missing_channel: substitute needs to know what takes the place of a channel, as "
            "{t1: flair}"
        )
    if known and not asked:
        yield f"{key}.substitute: has an effect only with on_missing_channel: substitute; add that, or leave substitute out"
    for channel, other in known.items():
        if other == channel:
            yield f"{key}.substitute.{channel}: {channel} cannot take its own place; name another channel, or zeros"
        elif other in known:
            yield (
                f"{key}.substitute.{channel}: {other} is itself substituted, by {known[other]}, where it is missing; name a "
                "channel that is not, or zeros"
            )


def _check_folders(key: str, cohort: FolderCohort, data: str | None) -> Iterator[str]:
    """Yield what is wrong with the patterns of a cohort, and whether its folder is named or can be fetched."""
    entry = cohort_dataset(cohort)
    if cohort.dataset == "folders":
        for part in ("path", "files", *(["label_scheme"] if cohort.labelled else [])):
            if getattr(cohort, part) is None:
                yield f"{key}.{part}: missing; a cohort of the data set 'folders' needs it"
    if entry.label_scheme is None and cohort.dataset != "folders" and cohort.labelled:
        yield (
            f"{key}.label_scheme: missing; the sources of {cohort.dataset} contradict each other on what its labels mean "
            "(docs/data-sets.md): name a scheme of config/label_schemes.yaml"
        )
    if cohort.dataset != "folders" and cohort.path is None:
        try:
            folder = data_folder(cohort.dataset, data)
        except ValueError as error:
            yield f"data: {error}"
            return
        if not (folder.is_dir() and any(folder.iterdir())) and not can_fetch(entry):
            yield f"{key}.path: missing; {how_to_get(cohort.dataset, entry, folder)}"
    for role, patterns in (entry.files or {}).items():
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            if not tells_case(pattern):
                yield (
                    f"{key}.files.{role}: {pattern!r} has no {{case}}; it must stand where the case's id stands in the path "
                    "(or {patient} and {session}, both)"
                )
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
    yield from _check_cohorts(key, model, model.channels, study)
    if len(set(model.channels)) < len(model.channels):
        yield f"{key}.channels: a channel stands twice in {model.channels}"
    sizes = [len(REGIONS[region]) for region in model.regions]
    if sizes != sorted(sizes, reverse=True) or len(set(model.regions)) < len(model.regions):
        yield f"{key}.regions: {model.regions} must go from the largest region to the smallest, each once"
    yield from _check_patch(key, model)
    if model.plans.n_stages is not None and model.plans.n_stages < DEEP_STAGES and _supervises_deeply(model):
        yield (
            f"{key}.plans.n_stages: found {model.plans.n_stages}; deep supervision needs at least {DEEP_STAGES} stages: "
            f"choose more, or set deep_supervision: false"
        )
    if wrong := [fold for fold in model.prediction_folds or [] if fold >= model.folds]:
        yield f"{key}.prediction_folds: there is no fold {wrong[0]}; the model has {model.folds}, numbered from 0"
    if model.folds_by is not None and "folds" not in model.model_fields_set:
        yield f"{key}.folds: missing; folds_by makes a fold of each value of {model.folds_by}: give the number of its values"
    if model.trainer is not None:
        try:
            find_trainer(model.trainer)
        except UserError as error:
            yield f"{key}.{error}"


def _supervises_deeply(model: TrainedModel) -> bool:
    """Tell whether a model trains with deep supervision, as far as the study decides: else its custom trainer decides."""
    return model.deep_supervision and (model.trainer is None or "deep_supervision" in model.model_fields_set)


def _check_cohorts(key: str, model: TrainedModel | ImportedModel, channels: Sequence[str], study: Study) -> Iterator[str]:
    """Yield what is wrong with the cohorts that a network reads: unknown ones, channels they do not have."""
    if len(set(model.external)) < len(model.external):
        yield f"{key}.external: a cohort stands twice in {model.external}"
    for cohort in (model.cohort, *model.external):
        if cohort not in study.cohorts:
            yield f"{key}.external: no cohort is called {cohort!r}; {suggestion(cohort, list(study.cohorts))}"
            continue
        if not _is_known(study.cohorts[cohort].dataset):
            continue  # reported already
        has, stand_ins = cohort_channels(study.cohorts[cohort]), substitutes(study.cohorts[cohort])
        for channel in channels:
            if has is not None and channel not in has and channel not in stand_ins:
                yield f"{key}.channels: the cohort {cohort!r} has no channel {channel}; it has {', '.join(has)}"


def _check_patch(key: str, model: TrainedModel) -> Iterator[str]:
    """Yield what is wrong with the patch, as far as it can be known before nnU-Net plans."""
    patch = model.plans.patch_size
    dimensions = 2 if model.configuration == "2d" else 3
    if patch and len(patch) != dimensions:
        yield f"{key}.plans.patch_size: {patch} does not have the {dimensions} axes of {model.configuration}"
    step = divisor(model.network, model.plans.n_stages)
    if patch and any(edge % step for edge in patch):
        fitting = [-(-edge // step) * step for edge in patch]
        yield f"{key}.plans.patch_size: {patch} is not divisible by {step}, as the {model.network} needs it; {fitting} would be"


def _check_imported(key: str, model: ImportedModel, study: Study) -> Iterator[str]:
    try:
        if model.label_scheme is not None and model.label_scheme not in label_schemes():
            yield from _check_scheme(f"{key}.label_scheme", model.label_scheme)
            return
        description = describe_model(model)
    except (UserError, ValueError) as error:
        yield f"{key}.archive: {error}"
        return
    yield from _check_cohorts(key, model, description["channels"], study)
    for fold in model.prediction_folds or []:
        if fold not in description["folds"]:
            yield f"{key}.prediction_folds: the archive has no fold {fold}, but {', '.join(map(str, description['folds']))}"


def _check_conventions(study: Study) -> Iterator[str]:
    evaluation, known = study.evaluation, conventions()
    if len(set(evaluation.regions)) < len(evaluation.regions):
        yield f"evaluation.regions: a region stands twice in {evaluation.regions}"
    if convention := known.get(evaluation.convention):
        if convention.units != "mm":
            yield (
                f"evaluation.convention: {convention.name!r} measures in voxels, and the tables are in mm; score_folders.py "
                f"can use it as it is, and a copy of config/conventions/{convention.name}.yaml with units: mm may be chosen"
            )
        ranks = study.failure.sets != []
        if ranks and study.failure.rank_by in DISTANCES and getattr(convention, study.failure.rank_by) is None:
            metrics = [name for name in DISTANCES if getattr(convention, name)]
            yield (
                f"failure.rank_by: the convention {convention.name!r} defines no {study.failure.rank_by}; "
                f"dice{''.join(f' or {name}' for name in metrics)} can rank the cases"
            )
    else:
        yield (
            f"evaluation.convention: no convention is called {evaluation.convention!r}; "
            f"{suggestion(evaluation.convention, list(known))}"
        )
    if evaluation.lesionwise is not None and evaluation.lesionwise not in lesion_conventions():
        yield (
            f"evaluation.lesionwise: no convention of this name scores lesions: {evaluation.lesionwise!r}; "
            f"{suggestion(evaluation.lesionwise, lesion_conventions())}"
        )
    elif evaluation.reproduce_defects and not (evaluation.lesionwise and known[evaluation.lesionwise].defects):
        flawed = [name for name, convention in known.items() if convention.defects]
        yield f"evaluation.reproduce_defects: needs a lesionwise convention with known defects: {', '.join(flawed)}"


def _check_failure_image(study: Study) -> Iterator[str]:
    """Yield the cohorts whose failures are analysed and that lack the channel to do it with."""
    analysed = {
        model.cohort if set_name in RESERVED_SETS else set_name
        for name, model in study.models.items()
        if model.cohort in study.cohorts and name not in study.ensembles
        for set_name in study.failure_sets_of(name)
    }
    for cohort in (name for name in study.cohorts if name in analysed and _is_known(study.cohorts[name].dataset)):
        channels = cohort_channels(study.cohorts[cohort])
        for image in study.failure.images:
            if channels is not None and image not in channels:
                has = ", ".join(channels) or "labels alone"
                yield (
                    f"failure.image: the cohort {cohort!r} has no channel {image}; it has {has}. Choose another channel, "
                    "name the sets to analyse, or write failure: off, and the masks are scored all the same"
                )


def _check_failure_region(study: Study) -> Iterator[str]:
    """Yield the models and ensembles whose failures are ranked by a region that they cannot see."""
    for name in (*study.models, *study.ensembles):
        regions = _seen_regions(name, study)
        if regions and study.failure_sets_of(name) and study.failure.region not in visible_regions(regions, REGIONS):
            kind = "model" if name in study.models else "ensemble"
            yield (
                f"failure.region: {study.failure.region} is not applicable to the {kind} {name!r}, which sees "
                f"{', '.join(regions)}; choose a region that every analysed model sees, or name the sets to analyse"
            )


def _check_published(study: Study) -> Iterator[str]:
    """Yield the published values that nothing of the study can be compared with."""
    known = {*study.models, *study.ensembles}
    for number, value in enumerate(study.published):
        seen = visible_regions(_seen_regions(value.model, study), REGIONS) if value.model in known else []
        for key, found, others in unlike_the_scores(study, value, seen):
            yield f"published.{number}.{key}: {found}; {suggestion(getattr(value, key), others)}"
        if wrong := wrong_scale(value):
            yield f"published.{number}.value: {wrong}"


def _seen_regions(name: str, study: Study) -> Sequence[str]:
    """Return the regions that a model or an ensemble was made to see; none where it sees all, or where that is unknown."""
    members = [name] if name in study.models else study.ensembles[name].members
    if any(member not in study.models or study.models[member].cohort not in study.cohorts for member in members):
        return []
    model = study.models[members[0]]
    if not isinstance(model, ImportedModel):
        return model.regions or []
    try:
        return list(describe_model(model)["regions"])
    except (UserError, ValueError):  # reported already
        return []


def _check_given(key: str, model: GivenModel, cohort: AnyCohort) -> Iterator[str]:
    if not is_labelled(cohort):
        yield f"{key}.cohort: {model.cohort!r} is not labelled, and masks that exist already can only be scored against a truth"
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
    for what in ("cohort", "regions", "folds", "folds_by"):
        if len({str(getattr(member, what)) for member in members}) > 1:
            yield f"{key}.members: they differ in {what}; an ensemble needs the same"
    for region, member in ensemble.merge.items():
        if member not in ensemble.members:
            yield f"{key}.merge.{region}: {member!r} is not a member; {suggestion(member, ensemble.members)}"
        elif member in trained and region not in visible_regions(trained[member].regions, REGIONS):
            sees = ", ".join(trained[member].regions)
            yield f"{key}.merge.{region}: the member {member!r} cannot show {region}; it sees {sees}"
    for first, second in combinations(ensemble.merge, 2):
        if shared := set(REGIONS[first]) & set(REGIONS[second]):
            names = " and ".join(name for name, labels in REGIONS.items() if shared.issuperset(labels) and len(labels) == 1)
            yield f"{key}.merge: {first} and {second} share {names}; regions to merge must share no label, as TC and ED"
