# Look-ups that the rules share: paths, parts of the configuration, numbers of shards. No rules here.

import re
from dataclasses import asdict
from functools import cache
from math import ceil

from glioflow.code_fingerprint import code_fingerprint
from glioflow.evaluation.comparison_groups import comparison_groups
from glioflow.study.configuration import GivenModel, ImportedModel, PhantomCohort, TrainedModel, cohort_dataset, expand_path
from glioflow.evaluation.conventions import conventions, parameters_hash
from glioflow.models.ensembles import needs_probabilities
from glioflow.files import key_of
from glioflow.imaging.labels import scheme_regions, visible_regions
from glioflow.cohorts.layouts import cohort_folder, file_stamps, list_cohort, source_stamp
from glioflow.models.model_archive import read_description
from glioflow.models.nnunet.own_trainers import trainer_class, trainer_fingerprint
from glioflow.study.registry import datasets, label_schemes

# Cases per job: a case takes about 0.1 s to score and 1 s to extract features from, a job some seconds to start.
SCORES_PER_SHARD = 50
RADIOMICS_PER_SHARD = 20


def _one_of(names):
    """Return a wildcard pattern that matches any of the names, and nothing where there is none."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


wildcard_constraints:
    cohort=_one_of(STUDY.cohorts),
    model=_one_of([*STUDY.models, *STUDY.ensembles]),
    set=_one_of({"cv", "test", "given", *STUDY.cohorts}),
    fold=r"\d+",
    shard=r"\d+",


def under(path):
    """Return a path below the results folder, for params, where Snakemake fills in no path variables."""
    return f"{STUDY.results}/{path}"


def case_cache(stage, *parts):
    """Return the path of the cache in which a stage keeps what it has finished case by case."""
    return under(f"cache/{stage}/{'/'.join(parts)}.jsonl")


# ---- cohorts


def is_fetched(cohort):
    """Tell whether the cohort's data set is fetched by the workflow."""
    spec = STUDY.cohorts[cohort]
    return not isinstance(spec, PhantomCohort) and hasattr(spec, "path") and spec.path is None


def cohort_origin(wildcards):
    """Return what a cohort's cases are made or fetched by, as named inputs; nothing where its files are at hand."""
    folder = f"<results>/cohorts/{wildcards.cohort}"
    if isinstance(STUDY.cohorts[wildcards.cohort], PhantomCohort):
        return {"truth": f"{folder}/phantom.csv"}
    return {"fetched": f"{folder}/fetched.json"} if is_fetched(wildcards.cohort) else {}


def phantom_folder(cohort):
    return under(f"cohorts/{cohort}/phantoms")


def case_folder(cohort):
    """Return where a cohort's files lie."""
    return cohort_folder(STUDY.cohorts[cohort], Path(phantom_folder(cohort)), STUDY.data)


def cohort_block(wildcards):
    return STUDY.cohorts[wildcards.cohort].model_dump(mode="json")


def cohort_source(cohort):
    """Return where a cohort comes from, in words for a message."""
    return "the phantom generator" if STUDY.cohorts[cohort].dataset == "phantom" else str(case_folder(cohort))


@cache
def listed_cases(cohort):
    """Return the cases that a cohort's source shows; nothing before they are fetched or made."""
    try:
        return list_cohort(STUDY.cohorts[cohort], case_folder(cohort)).cases
    except UserError as error:
        sys.exit(f"cohorts.{cohort}: {error}")


def source_files(cohort):
    """Return the files, besides the images, that a cohort's table of cases depends on: covariates, a split."""
    spec = STUDY.cohorts[cohort]
    return [expand_path(path) for path in (getattr(spec, "covariates", None), spec.split) if path]


def cohort_stamp(wildcards):
    """Return a fingerprint of the cohort's source files; what is made or fetched is followed by that step's output."""
    spec = STUDY.cohorts[wildcards.cohort]
    by_hand = not is_fetched(wildcards.cohort) or not (case_folder(wildcards.cohort) / "fetched.json").exists()
    if isinstance(spec, PhantomCohort) or not (by_hand and case_folder(wildcards.cohort).exists()):
        return spec.dataset
    return source_stamp(listed_cases(wildcards.cohort))


def cohort_size(cohort):
    """Return how many cases a cohort's source shows, or the registry tells while they are not fetched yet."""
    spec = STUDY.cohorts[cohort]
    if isinstance(spec, PhantomCohort):
        return spec.cases
    return len(listed_cases(cohort)) or (cohort_dataset(spec).cases if is_fetched(cohort) else 0)


def cohort_scheme(cohort):
    """Return the name of the cohort's label scheme and the scheme, raw value to canonical label."""
    name = cohort_dataset(STUDY.cohorts[cohort]).label_scheme
    return name, label_schemes()[name]


def is_skull_stripped(wildcards):
    """Tell whether the cohort is said to show the brain alone."""
    return cohort_dataset(STUDY.cohorts[wildcards.cohort]).skull_stripped


def training_cohorts(cohort):
    """Return the other cohorts on which models are trained that predict this one."""
    models = STUDY.trained().values()
    return sorted({model.cohort for model in models if cohort in model.external} - {cohort})


def external_splits(wildcards):
    """Return the splits of the cohorts that a model predicts besides its own: they are sound before it trains."""
    return expand("<results>/cohorts/{cohort}/split.csv", cohort=STUDY.models[wildcards.model].external)


def cohort_folds(wildcards):
    """Return each number of folds that a model of the cohort uses."""
    trained = STUDY.trained().values()
    return sorted({model.folds for model in trained if model.cohort == wildcards.cohort})


def needed_channels(wildcards):
    """Return the channels that the study reads from a cohort, in canonical order."""
    cohort = wildcards.cohort
    reading = [name for name, m in STUDY.predicting().items() if cohort in (m.cohort, *m.external)]
    used = {channel for name in reading for channel in model_fact(name, "channels")}
    if any(STUDY.cohort_of_set(*pair.split("/")) == cohort for pair in failure_sets()):
        used.add(STUDY.failure.image)
    return [channel for channel in ("t1", "t1ce", "t2", "flair") if channel in used]


def split_block(wildcards):
    """Return how a cohort is divided."""
    spec = STUDY.cohorts[wildcards.cohort]
    keys = ("test_fraction", "test_cases", "stratify_by", "external", "seed")
    file = expand_path(spec.split) if spec.split else None
    return {**{key: getattr(spec, key) for key in keys}, "file": file, "folds": cohort_folds(wildcards)}


def cohort_demands(wildcards):
    """Return what the study asks of a cohort that its cases may not be able to give."""
    pairs = [pair.split("/") for pair in failure_sets()]
    sets = {set_name for model, set_name in pairs if STUDY.cohort_of_set(model, set_name) == wildcards.cohort}
    return {
        "source": cohort_source(wildcards.cohort),
        "split": split_block(wildcards),
        "trained": any(wildcards.cohort in (m.cohort, *m.external) for m in STUDY.predicting().values()),
        "failure_sets": sorted(sets),
        "extremes": STUDY.failure.extremes,
    }


# ---- models


def model_root(wildcards):
    """Return the folder that holds a model's nnU-Net folders."""
    return under(f"models/{wildcards.model}/nnunet")


@cache
def model_fact(model, key):
    """Return channels, regions, configuration, folds or trainer of a model: what the study says, or the imported archive."""
    spec = STUDY.models[model]
    if isinstance(spec, ImportedModel):
        return read_description(Path(expand_path(spec.archive)))[key]
    if key == "trainer":
        return trainer_class(spec.trainer)
    return list(range(spec.folds)) if key == "folds" else getattr(spec, key)


def plan_block(wildcards):
    """Return what the plans of a model depend on."""
    spec = STUDY.models[wildcards.model]
    aside = {"cohort", "external", "device", "folds", "threads", "prediction_folds", "postprocessing"}
    block = spec.model_dump(mode="json", exclude=aside)
    if spec.trainer:  # what the study does not say is then that trainer's
        block |= {"said": sorted(spec.model_fields_set), "trainer_fingerprint": trainer_fingerprint(expand_path(spec.trainer))}
    return block


def model_key(key):
    """Return a params function that looks up one key of a model's configuration."""
    return lambda wildcards: getattr(STUDY.models[wildcards.model], key)


def fact(key):
    """Return a params function for ``model_fact``."""
    return lambda wildcards: model_fact(wildcards.model, key)


def cohort_labels(wildcards):
    """Return the canonical labels that a model's cohort can have."""
    return sorted(set(cohort_scheme(STUDY.cohort_of(wildcards.model))[1].values()) - {0})


def cohort_file(name):
    """Return an input function: a file of the cohort that the wildcard ``model`` is trained on or scored against."""
    return lambda wildcards: f"<results>/cohorts/{STUDY.cohort_of(wildcards.model)}/{name}"


def set_file(name):
    """Return an input function: a file of the cohort that the set of the wildcards ``model`` and ``set`` belongs to."""
    return lambda wildcards: f"<results>/cohorts/{STUDY.cohort_of_set(wildcards.model, wildcards.set)}/{name}"


def fold_manifests(model, folds=None):
    """Return the manifests of a model's folds: of all, or of those named."""
    folds = model_fact(model, "folds") if folds is None else folds
    return expand("<results>/models/{model}/fold_{fold}/manifest.json", model=model, fold=folds)


def predicting_folds(wildcards):
    """Return the manifests of the folds that predict a model's other sets."""
    return fold_manifests(wildcards.model, STUDY.models[wildcards.model].prediction_folds)


def model_threads(wildcards):
    return STUDY.models[wildcards.model].threads


def model_gpus(wildcards):
    """Return the GPUs that a job of a model asks for."""
    return 0 if STUDY.models[wildcards.model].device == "cpu" else 1


def using_ensembles(model):
    """Return the names of the ensembles that read a model's probabilities."""
    regions = STUDY.models[model].regions
    return [
        name
        for name, ensemble in STUDY.ensembles.items()
        if model in ensemble.members and needs_probabilities(ensemble.method, ensemble.merge, regions)
    ]


def kept_probabilities(wildcards):
    """Return what a model's probabilities are kept for, None where nothing needs them.

    They are removed once the ensembles are made, and made again where an ensemble comes to be another one.
    """
    if not isinstance(STUDY.models[wildcards.model], TrainedModel):
        return None
    using = {name: STUDY.ensembles[name] for name in using_ensembles(wildcards.model)}
    return key_of({name: [e.members, e.method, list(e.merge.items())] for name, e in using.items()}) if using else None


def released_record(wildcards):
    """Return the record that a model's probabilities were deleted again."""
    return under(f"models/{wildcards.model}/probabilities_released.json")


def releasing_models():
    """Return the models whose probabilities are kept for a while."""
    return [model for model in STUDY.trained() if using_ensembles(model)]


def exportable_models():
    """Return the trained models that an archive can hold: it holds weights, not the code of a trainer of one's own."""
    return [name for name, model in STUDY.trained().items() if model.trainer is None]


def ensemble_tables(wildcards):
    """Return the masks of every ensemble that reads a model's probabilities."""
    pairs = [(name, set_name) for name in using_ensembles(wildcards.model) for set_name in STUDY.sets_of(name)]
    return [f"<results>/predictions/{name}/{set_name}/predictions.csv" for name, set_name in pairs]


def nnunet_file(name):
    """Return the path pattern of a file in nnU-Net's raw or preprocessed folder of a model."""
    part, _, rest = name.partition("/")
    return f"<results>/models/{{model}}/nnunet/{part}/Dataset001_{{model}}/{rest}"


def member_file(name):
    """Return an input function: a file of an ensemble's first member, where the ensemble reads probabilities."""

    def find(wildcards):
        first = STUDY.ensembles[wildcards.model].members[0]
        return nnunet_file(name).replace("{model}", first) if wildcards.model in using_ensembles(first) else []

    return find


def member_predictions(wildcards):
    members = STUDY.ensembles[wildcards.model].members
    return expand("<results>/predictions/{member}/{set}/predictions.csv", member=members, set=wildcards.set)


def member_folds(wildcards):
    """Return the folds whose validation left the probabilities of an ensemble's ``cv`` set; nothing for other sets."""
    members = STUDY.ensembles[wildcards.model].members
    reads = wildcards.set == "cv" and wildcards.model in using_ensembles(members[0])
    return [fold for member in members for fold in fold_manifests(member)] if reads else []


def given_stamp(wildcards):
    """Return a fingerprint of the masks given for a model, by path, size and time of change."""
    model = STUDY.models[wildcards.model]
    pattern = expand_path(model.predictions)
    masks = [Path(pattern.replace("{case}", case.case_id)) for case in listed_cases(model.cohort)]
    return key_of({"masks": file_stamps(masks)})


# ---- sets


def model_sets():
    """Return ``model/set`` for every prediction set of the study."""
    return [f"{model}/{name}" for model in (*STUDY.models, *STUDY.ensembles) for name in STUDY.sets_of(model)]


def failure_sets():
    """Return ``model/set`` for every set whose failures are analysed."""
    return [f"{model}/{name}" for model in (*STUDY.models, *STUDY.ensembles) for name in STUDY.failure_sets_of(model)]


def member_tta(wildcards):
    """Return the ways of predicting that an ensemble's members share, as its masks' ``tta``; [None] where they differ."""
    ways = [STUDY.models[member].tta for member in STUDY.ensembles[wildcards.model].members]
    both = [{True, False} if tta == "both" else {tta} for tta in ways]
    return sorted(set.intersection(*both), reverse=True) or [None]


def final_predictions(wildcards):
    """Return the masks of a set that count: post-processed where the study asks for it."""
    folder = "postprocessed" if is_postprocessed(wildcards.model) else "predictions"
    return f"<results>/{folder}/{wildcards.model}/{wildcards.set}/predictions.csv"


def is_postprocessed(model):
    """Tell whether a model's masks are cleaned up: by the study's word, or as the imported archive says."""
    spec = STUDY.ensembles.get(model) or STUDY.models[model]
    if isinstance(spec, ImportedModel):
        return has_postprocessing(model)
    return not isinstance(spec, GivenModel) and spec.postprocessing is not None


def kept_postprocessing(wildcards):
    """Return the steps that clean up a model's masks, as a named input; nothing where the masks stay as predicted."""
    file = f"<results>/models/{wildcards.model}/postprocessing.json"
    return {"postprocessing": file} if is_postprocessed(wildcards.model) else {}


@cache
def has_postprocessing(model):
    """Tell whether an imported model brings a post-processing."""
    return "postprocessing.json" in read_description(Path(expand_path(STUDY.models[model].archive)))["files"]


def predicted_regions(wildcards):
    """Return the regions that a model was made to see; of given masks, else those that their labels can show."""
    model = wildcards.model if wildcards.model in STUDY.models else STUDY.ensembles[wildcards.model].members[0]
    given = STUDY.models[model]
    if not isinstance(given, GivenModel):
        return model_fact(model, "regions")
    return given.regions or scheme_regions(label_schemes()[given.label_scheme].values())


def labelled_regions(wildcards):
    """Return the regions that the labels of a set's cohort can show."""
    _, scheme = cohort_scheme(STUDY.cohort_of_set(wildcards.model, wildcards.set))
    return scheme_regions(scheme.values())


def shown_regions(wildcards):
    """Return the regions to score that a model's masks can show."""
    trained = predicted_regions(wildcards)
    return STUDY.evaluation.regions if trained is None else visible_regions(trained, STUDY.evaluation.regions)


def score_shards(wildcards):
    """Return how many jobs score a set."""
    return max(1, ceil(cohort_size(STUDY.cohort_of_set(wildcards.model, wildcards.set)) / SCORES_PER_SHARD))


def score_tables(wildcards):
    pattern = "<results>/scores/{model}/{set}_shards/{shard}.csv"
    return expand(pattern, model=wildcards.model, set=wildcards.set, shard=range(score_shards(wildcards)))


def compared_sets():
    """Return ``model/set`` for every set that is compared with another model's."""
    groups = comparison_groups(STUDY)
    return list(dict.fromkeys(f"{model}/{name}" for group in groups for model, name in group.models.items()))


def radiomics_shards(wildcards):
    """Return how many jobs extract the features of the extreme cases."""
    return max(1, ceil(2 * STUDY.failure.extremes / RADIOMICS_PER_SHARD))


def radiomics_tables(wildcards):
    pattern = "<results>/failure/{model}/{set}/radiomics_shards/{shard}.csv"
    return expand(pattern, model=wildcards.model, set=wildcards.set, shard=range(radiomics_shards(wildcards)))


def report_pairs():
    """Return what the report shows: every prediction set, its cohort, and whether its failures are analysed."""
    pairs = [pair.split("/") for pair in model_sets()]
    analysed = failure_sets()
    return [
        {"model": model, "set": name, "cohort": STUDY.cohort_of_set(model, name), "failure": f"{model}/{name}" in analysed}
        for model, name in pairs
    ]
