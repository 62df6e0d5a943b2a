# What the jobs of each stage read, where that depends on the study: input functions, in the order of their rules.

import sys
import time


def cohort_origin(wildcards):
    """Return what a cohort's cases are made or fetched by, as named inputs; nothing where its files are at hand."""
    folder = f"<results>/cohorts/{wildcards.cohort}"
    if COHORTS.is_phantom(wildcards.cohort):
        return {"truth": f"{folder}/phantom.csv"}
    return {"fetched": f"{folder}/fetched.json"} if COHORTS.is_fetched(wildcards.cohort) else {}


def fetched_set(wildcards):
    """Return the record of the fetched data set that a set's cases are of, as a named input; nothing where files are at hand.

    Once it is there, the checkpoint that made it has Snakemake count the cases and plan the shards again.
    """
    cohort = STUDY.cohort_of_set(wildcards.model, wildcards.set)
    return {"fetched": f"<results>/cohorts/{cohort}/fetched.json"} if COHORTS.is_fetched(cohort) else {}


def further_files(wildcards):
    """Return the user's files, besides the images, that a cohort's table of cases depends on."""
    return [local(path) for path in told(COHORTS.further_files, wildcards.cohort)]


def training_manifests(wildcards):
    """Return the manifests of the other cohorts on which models are trained that predict this one."""
    return expand("<results>/cohorts/{other}/manifest.csv", other=COHORTS.training_cohorts(wildcards.cohort))


def reread():
    """Return what tells a job to read every image again, another value each time; False where it is to read what changed."""
    return time.time_ns() if STUDY.verify == "full" else False


def trained_labels(wildcards):
    """Return the canonical labels that a model's cohort can have."""
    return COHORTS.labels(STUDY.cohort_of(wildcards.model))


def external_splits(wildcards):
    """Return the splits of the cohorts that a model predicts besides its own: they are sound before it trains."""
    return expand("<results>/cohorts/{cohort}/split.csv", cohort=STUDY.models[wildcards.model].external)


def predicting_folds(wildcards):
    """Return the manifests of the folds that predict a model's other sets."""
    return fold_manifests(wildcards.model, told(MODELS.predicting_folds, wildcards.model))


def member_file(name):
    """Return an input function: a file of an ensemble's first member, where the ensemble reads probabilities."""

    def find(wildcards):
        reads = MODELS.reads_probabilities(wildcards.model)
        return nnunet_file(name).replace("{model}", STUDY.ensembles[wildcards.model].members[0]) if reads else []

    return find


def member_predictions(wildcards):
    """Return the masks of an ensemble's members."""
    members = STUDY.ensembles[wildcards.model].members
    return expand("<results>/predictions/{member}/{set}/predictions.csv", member=members, set=wildcards.set)


def member_folds(wildcards):
    """Return the folds whose validation left the probabilities of an ensemble's ``cv`` set; nothing for other sets."""
    reads = wildcards.set == "cv" and MODELS.reads_probabilities(wildcards.model)
    return [fold for member in STUDY.ensembles[wildcards.model].members for fold in fold_manifests(member)] if reads else []


def member_probabilities(wildcards):
    """Return the tables of the probabilities that an ensemble reads in a set other than ``cv``."""
    reads = wildcards.set != "cv" and MODELS.reads_probabilities(wildcards.model)
    members = STUDY.ensembles[wildcards.model].members if reads else []
    return expand("<results>/predictions/{member}/{set}/probabilities.csv", member=members, set=wildcards.set)


def ensemble_tables(wildcards):
    """Return the masks of every ensemble that reads a model's probabilities."""
    pairs = [(name, set_name) for name in MODELS.using_ensembles(wildcards.model) for set_name in STUDY.sets_of(name)]
    return [f"<results>/predictions/{name}/{set_name}/predictions.csv" for name, set_name in pairs]


def kept_postprocessing(wildcards):
    """Return the steps that clean up a model's masks, as a named input; nothing where the masks stay as predicted."""
    file = f"<results>/models/{wildcards.model}/postprocessing.json"
    return {"postprocessing": file} if told(MODELS.is_postprocessed, wildcards.model) else {}


def probability_records(wildcards):
    """Return what the probabilities of a set told, and the masks made of them, as named inputs.

    There is nothing where no network of the study's made the masks of the set.
    """
    folder = f"<results>/predictions/{wildcards.model}/{wildcards.set}"
    tables = {"uncertainty": f"{folder}/uncertainty.csv", "network_predictions": f"{folder}/predictions.csv"}
    return tables if wildcards.model in STUDY.predicting() else {}


def calibration_tables(wildcards):
    """Return features and scores of a model's ``cv``, as named inputs; nothing where it has none."""
    model = wildcards.model
    features = f"<results>/quality/{model}/cv/quality_features.csv"
    scores = f"<results>/scores/{model}/cv.csv"
    return {"calibration": features, "scores": scores} if "cv" in STUDY.scored_sets_of(model) else {}


def quality_tables():
    """Return the tables of volumes, over time and of shape as the study asks for them, and of quality without truth."""
    tables = ["volumes", "agreement"]
    tables += ["sessions", "responses"] if STUDY.quality.follow else []
    tables += ["shapes", "shape_covariates"] if STUDY.quality.shape else []
    tables += ["quality_evaluation"]
    return [
        *expand("<results>/quality/{pair}/{table}.csv", pair=quality_sets(STUDY), table=tables),
        *expand("<results>/quality/{pair}/quality.csv", pair=predicted_quality_sets(STUDY)),
    ]


def reported_tables():
    """Return what the report shows: tables and figures of every stage, and the manifests of the trained folds."""
    scored, analysed = scored_sets(STUDY), failure_sets(STUDY)
    cohort_tables = ["manifest", "verification", "comparison", "split"]
    score_tables = ["summary", "groups", "warnings", "conventions", "convention_ranks"]
    failure_tables = ["extremes", "apart", "radiomics", "associations", "covariates", "failure_types", "confusion"]
    return [
        *expand("<results>/cohorts/{cohort}/{table}.csv", cohort=STUDY.cohorts, table=cohort_tables),
        *expand("<results>/predictions/{model}/given/warnings.csv", model=STUDY.given()),
        *unscored_predictions(),
        *expand("<results>/scores/{pair}.csv", pair=scored),
        *expand("<results>/scores/{pair}_{table}.csv", pair=scored, table=score_tables),
        *("<results>/scores/comparison.csv", "<results>/scores/ranks.csv", *published_table()),
        *expand("<results>/failure/{pair}/{table}.csv", pair=analysed, table=[*failure_tables, "overlays", "witnesses"]),
        *expand("<results>/failure/{pair}/associations.png", pair=analysed),
        *expand("<results>/report/viewer/{pair}/volumes.csv", pair=analysed),
        *requested_tables(),
        *quality_tables(),
        *(fold for model in STUDY.trained() for fold in fold_manifests(model)),
        *expand("<results>/models/{model}/postprocessing.json", model=filter(MODELS.is_postprocessed, STUDY.trained())),
    ]


def score_tables(wildcards):
    """Return the scores of every shard of a set."""
    pattern = "<results>/scores/{model}/{set}_shards/{shard}.csv"
    return expand(pattern, model=wildcards.model, set=wildcards.set, shard=shard_names(set_score_shards(wildcards)))


def extreme_cases(wildcards):
    """Return the table of the extremes, as a named input, where features are computed of them alone; nothing for all cases."""
    table = f"<results>/failure/{wildcards.model}/{wildcards.set}/extremes.csv"
    return {"extremes": table} if STUDY.failure.cases == "extremes" else {}


def radiomics_tables(wildcards):
    """Return the features of every shard of a set."""
    pattern = "<results>/failure/{model}/{set}/radiomics_shards/{shard}.csv"
    return expand(pattern, model=wildcards.model, set=wildcards.set, shard=shard_names(set_radiomics_shards(wildcards)))


def varied_tables(kind):
    """Return an input function: the features of every shard of a set, under variants of one kind."""

    def find(wildcards):
        pattern = "<results>/failure/{model}/{set}/{kind}_shards/{shard}.csv"
        shards = shard_names(set_radiomics_shards(wildcards))
        return expand(pattern, model=wildcards.model, set=wildcards.set, kind=kind, shard=shards)

    return find


def measured_stability(wildcards):
    """Return the table of stable features, as a named input, where the study asks for it; nothing otherwise."""
    table = f"<results>/failure/{wildcards.model}/{wildcards.set}/stability.csv"
    return {"stability": table} if STUDY.failure.stability else {}


def bundled_models(wildcards):
    """Return the archives of the trained models that a bundle holds."""
    if STUDY.bundle is None:
        sys.exit(f"{CONFIG_FILE}: bundle: missing; name at least `name` and `licence`, as config/README.md has it")
    models = MODELS.exportable() if STUDY.bundle.models else []
    return expand("<results>/models/{model}/{model}.zip", model=models)
