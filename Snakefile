# glioflow: from a glioma MRI cohort to a published, explained result.
# A study is one configuration file: config/config.yaml is the demo, and --configfile puts another study in its place.

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from glioflow.workflow.checks import load_study
from glioflow.console import UserError
from glioflow.study.duplicate_keys import duplicate_keys

if not workflow.overwrite_configfiles:

    configfile: str(Path(workflow.basedir, "config/config.yaml"))


CONFIG_FILE = os.path.relpath(workflow.configfiles[0])

if twice := [f"{file}: {said}" for file in workflow.configfiles for said in duplicate_keys(Path(file))]:
    sys.exit("\n".join(twice))

try:
    STUDY = load_study(config, CONFIG_FILE)
except UserError as error:
    sys.exit(str(error))


pathvars:
    results=STUDY.results,
    logs=f"{STUDY.results}/logs",
    benchmarks=f"{STUDY.results}/benchmarks",


include: "rules/common.smk"
include: "rules/cohorts.smk"
include: "rules/models.smk"
include: "rules/evaluation.smk"
include: "rules/failure.smk"
include: "rules/report.smk"


localrules:
    fetch_dataset,  # a cluster's compute nodes often have no network
    import_fold,
    release_probabilities,
    all,
    cohorts,
    models,
    exports,
    predictions,
    scores,
    failure,
    report,


rule all:
    default_target: True
    input:
        "<results>/report/index.html",
        expand("<results>/models/{model}/probabilities_released.json", model=MODELS.releasing()),


rule cohorts:
    input:
        expand("<results>/cohorts/{cohort}/split.csv", cohort=STUDY.cohorts),


rule models:
    input:
        [fold for model in STUDY.trained() for fold in fold_manifests(model)],


rule exports:
    input:
        expand("<results>/models/{model}/{model}.zip", model=MODELS.exportable()),


rule predictions:
    input:
        expand("<results>/predictions/{pair}/predictions.csv", pair=model_sets(STUDY)),


rule scores:
    input:
        expand("<results>/scores/{pair}_summary.csv", pair=model_sets(STUDY)),
        expand("<results>/scores/{pair}_export/summary.json", pair=model_sets(STUDY)),
        expand("<results>/scores/{pair}_convention_ranks.csv", pair=model_sets(STUDY)),
        "<results>/scores/comparison.csv",


rule failure:
    input:
        expand("<results>/failure/{pair}/effects.png", pair=failure_sets(STUDY)),
        expand("<results>/failure/{pair}/covariates.csv", pair=failure_sets(STUDY)),
        expand("<results>/failure/{pair}/overlays.csv", pair=failure_sets(STUDY)),


rule report:
    input:
        "<results>/report/index.html",
