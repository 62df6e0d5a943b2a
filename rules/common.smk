# What the rules share: patterns of wildcards and input functions. What needs no wildcards is in scripts/glioflow/workflow.

import re
from dataclasses import asdict

from glioflow.code_fingerprint import code_fingerprint
from glioflow.evaluation.comparison_groups import comparison_groups
from glioflow.evaluation.conventions import conventions, parameters_hash
from glioflow.failure.feature_groups import groups_hash
from glioflow.failure.radiomics_parameters import whole_image_needed
from glioflow.models.nnunet.keys import prediction_code, preprocessing_code, training_code
from glioflow.shards import shard_names
from glioflow.study.checklists import checklists_hash
from glioflow.study.configuration import expand_path
from glioflow.study.registry import datasets, label_schemes
from glioflow.workflow.cohort_lookups import CohortLookups
from glioflow.workflow.model_lookups import ModelLookups
from glioflow.workflow.radiomics_settings import radiomics_parameters
from glioflow.workflow.resource_costs import read_costs
from glioflow.workflow.sets import (
    SCORES_PER_SHARD,
    compared_sets,
    expected_cases,
    failure_sets,
    model_sets,
    predicted_quality_sets,
    published_sets,
    quality_sets,
    radiomics_shards,
    report_pairs,
    score_shards,
    scored_sets,
    unscored_sets,
)

COHORTS = CohortLookups(STUDY, planned=not workflow.is_main_process)
MODELS = ModelLookups(STUDY, COHORTS)
RADIOMICS = told(radiomics_parameters, STUDY.failure)
COSTS = told(read_costs)
CPU_TRAINING_MINUTES = 4320  # of a fold, at least: how long it takes depends on the CPU, and was not measured


def one_of(names):
    """Return a wildcard pattern that matches any of the names, and nothing where there is none."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


wildcard_constraints:
    cohort=one_of(STUDY.cohorts),
    model=one_of([*STUDY.models, *STUDY.ensembles]),
    set=one_of({"cv", "test", "given", *STUDY.cohorts}),
    fold=r"\d+",
    shard=r"\d+-of-\d+",


def under(path):
    """Return a path below the results folder, for params, where Snakemake fills in no path variables."""
    return f"{STUDY.results}/{path}"


def case_cache(stage, *parts):
    """Return the path of the cache in which a stage keeps what it has finished case by case."""
    return under(f"cache/{stage}/{'/'.join(parts)}.jsonl")


def by_cohort(look_up):
    """Return an input or params function: the look-up for the wildcard ``cohort``."""
    return lambda wildcards: told(look_up, wildcards.cohort)


def by_model(look_up, *further):
    """Return an input or params function: the look-up for the wildcard ``model``."""
    return lambda wildcards: told(look_up, wildcards.model, *further)


def by_set(look_up):
    """Return an input or params function: the look-up for the wildcards ``model`` and ``set``."""
    return lambda wildcards: told(look_up, wildcards.model, wildcards.set)


def model_key(key):
    """Return a params function that looks up one key of a model's configuration."""
    return lambda wildcards: getattr(STUDY.models[wildcards.model], key)


def ensemble_key(key):
    """Return a params function that looks up one key of an ensemble's configuration."""
    return lambda wildcards: getattr(STUDY.ensembles[wildcards.model], key)


def model_root(wildcards):
    """Return the folder that holds a model's nnU-Net folders."""
    return under(f"models/{wildcards.model}/nnunet")


def cohort_file(name):
    """Return an input function: a file of the cohort that the wildcard ``model`` is trained on or scored against."""
    return lambda wildcards: f"<results>/cohorts/{STUDY.cohort_of(wildcards.model)}/{name}"


def set_file(name):
    """Return an input function: a file of the cohort that the set of the wildcards ``model`` and ``set`` belongs to."""
    return lambda wildcards: f"<results>/cohorts/{STUDY.cohort_of_set(wildcards.model, wildcards.set)}/{name}"


def nnunet_file(name):
    """Return the path pattern of a file in nnU-Net's raw or preprocessed folder of a model."""
    part, _, rest = name.partition("/")
    return f"<results>/models/{{model}}/nnunet/{part}/Dataset001_{{model}}/{rest}"


def fold_manifests(model, folds=None):
    """Return the manifests of a model's folds: of all, or of those named."""
    folds = told(MODELS.fact, model, "folds") if folds is None else folds
    return expand("<results>/models/{model}/fold_{fold}/manifest.json", model=model, fold=folds)


def event_files(model):
    """Return TensorBoard's files of a model's folds."""
    pattern = "<results>/models/{model}/tensorboard/fold_{fold}/events.out.tfevents.glioflow"
    return expand(pattern, model=model, fold=told(MODELS.fact, model, "folds"))


def all_folds(wildcards):
    """Return the manifests of all folds of a model."""
    return fold_manifests(wildcards.model)


def published_table():
    """Return the table of the published values beside the study's own; nothing where it names none."""
    return ["<results>/scores/published.csv"] if STUDY.published else []


def released_record(model):
    """Return the record that a model's probabilities were deleted again."""
    return under(f"models/{model}/probabilities_released.json")


def final_predictions(wildcards):
    """Return the masks of a set that count: post-processed where the study asks for it."""
    folder = "postprocessed" if told(MODELS.is_postprocessed, wildcards.model) else "predictions"
    return f"<results>/{folder}/{wildcards.model}/{wildcards.set}/predictions.csv"


def unscored_predictions():
    """Return the masks of the sets that have no truth: those that count, for the report to count."""
    pairs = (pair.split("/") for pair in unscored_sets(STUDY))
    folder = {True: "postprocessed", False: "predictions"}
    return [f"<results>/{folder[told(MODELS.is_postprocessed, model)]}/{model}/{name}/predictions.csv" for model, name in pairs]


def set_cases(wildcards):
    """Return about how many cases a set has."""
    cases = told(COHORTS.size, STUDY.cohort_of_set(wildcards.model, wildcards.set))
    return expected_cases(STUDY, wildcards.model, wildcards.set, cases)


def set_score_shards(wildcards):
    """Return how many jobs score a set."""
    return score_shards(set_cases(wildcards))


def memory(rule_name):
    """Return a resources function: the memory in MB that a job of a rule asks for, more with each attempt."""
    return lambda wildcards, attempt: COSTS.memory_mb(rule_name, attempt)


def minutes(rule_name, cases, iterations=None):
    """Return a resources function: the minutes that a job asks for, by functions of the wildcards that count its work."""

    def ask(wildcards, attempt, threads):
        number = iterations(wildcards) if iterations else 0
        asked = COSTS.runtime(rule_name, cases(wildcards), 1 if iterations else threads, number, attempt)
        on_cpu = iterations and STUDY.models[wildcards.model].device == "cpu"
        return max(asked, CPU_TRAINING_MINUTES) if on_cpu else asked

    return ask


def cohort_cases(wildcards):
    """Return how many cases a cohort shows."""
    return told(COHORTS.size, wildcards.cohort)


def model_cases(wildcards):
    """Return how many cases the cohort of a model or an ensemble shows."""
    return told(COHORTS.size, STUDY.cohort_of(wildcards.model))


def shard_size(wildcards):
    """Return how many cases a shard of scores has on average."""
    return SCORES_PER_SHARD


def fold_cases(wildcards):
    """Return how many cases a fold of a model predicts on average."""
    return model_cases(wildcards) // STUDY.models[wildcards.model].folds


def fold_iterations(wildcards):
    """Return how many iterations a fold of a model trains."""
    model = STUDY.models[wildcards.model]
    averaged = model.swa.cycles * model.swa.epochs_per_cycle if model.swa else 0
    return (model.epochs + averaged) * (model.iterations_per_epoch + model.validation_iterations)


def features_memory(wildcards, attempt):
    """Return how many MB eight cases at once need: a filtered image of 240 x 240 x 155 voxels takes 1.8 GB of a process."""
    return attempt * (16000 if whole_image_needed(RADIOMICS) else 8000)


def requested_tables():
    """Return the tables on the features of every analysed set that the study asks for."""
    tables = [name for name in ("stability", "binning") if getattr(STUDY.failure, name)]
    return expand("<results>/failure/{pair}/{table}.csv", pair=failure_sets(STUDY), table=tables) if tables else []


def set_radiomics_shards(wildcards):
    """Return how many jobs extract the features of a set."""
    return radiomics_shards(STUDY, set_cases(wildcards))


def bundle_file():
    """Return the path of the study as one file; where none is configured, asking for it says so."""
    name = f"{STUDY.bundle.name}-{STUDY.bundle.version}" if STUDY.bundle else "none"
    return f"<results>/bundle/{name}.zip"
