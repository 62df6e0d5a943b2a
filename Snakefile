# glioflow: from a glioma MRI cohort to a published, explained result.
# A study is one configuration file: config/config.yaml is the demo, and --configfile puts another study in its place.

from snakemake.utils import min_version

min_version("9.27")


include: "rules/study.smk"


import sys
from pathlib import Path

from glioflow.disk import require_writable
from glioflow.job_records import restore_notes
from glioflow.runs import enter_run
from glioflow.workflow.slurm_status import keep_asking


pathvars:
    results=STUDY.results,
    logs=f"{STUDY.results}/logs",
    benchmarks=f"{STUDY.results}/benchmarks",


# A module's `prefix` is put before every file of a rule; what is no file of a rule (params) follows.
STUDY = STUDY.model_copy(update={"results": str(workflow.modifier.modify_path(STUDY.results))})


include: "rules/common.smk"
include: "rules/input_functions.smk"
include: "rules/cohorts.smk"
include: "rules/models.smk"
include: "rules/predictions.smk"
include: "rules/evaluation.smk"
include: "rules/failure.smk"
include: "rules/quality.smk"
include: "rules/report.smk"
include: "rules/verification.smk"


if workflow.is_main_process:
    if not workflow.output_settings.dryrun and (workflow.resource_settings.cores or workflow.resource_settings.nodes):
        told(require_writable, [Path(STUDY.results), Path(".snakemake")])
        unlock = f"snakemake --unlock --configfile {CONFIG_FILE}" if workflow.configfiles else "snakemake --unlock"
        if said := enter_run(STUDY.results, unlock, workflow.resource_settings.nodes is not None):
            print(f"[glioflow] {said}", file=sys.stderr)
        keep_asking()
    restore_notes(STUDY.results, [str(path) for rule in workflow.rules for path in rule.output])


rule all:
    default_target: True
    input:
        "<results>/report/index.html",
        expand("<results>/models/{model}/probabilities_released.json", model=MODELS.releasing()),
        bundle_file() if STUDY.bundle else [],


rule cohorts:
    input:
        expand("<results>/cohorts/{cohort}/split.csv", cohort=STUDY.cohorts),


rule models:
    input:
        [fold for model in STUDY.trained() for fold in fold_manifests(model)],


rule exports:
    input:
        expand("<results>/models/{model}/{model}.zip", model=MODELS.exportable()),
        expand("<results>/failure/{pair}/slicer_radiomics.csv", pair=failure_sets(STUDY)),


rule tensorboard:
    input:
        [events for model in STUDY.trained() for events in event_files(model)],


rule predictions:
    input:
        expand("<results>/predictions/{pair}/predictions.csv", pair=model_sets(STUDY)),
        unscored_predictions(),


rule scores:
    input:
        expand("<results>/scores/{pair}_summary.csv", pair=scored_sets(STUDY)),
        expand("<results>/scores/{pair}_export/summary.json", pair=scored_sets(STUDY)),
        expand("<results>/scores/{pair}_convention_ranks.csv", pair=scored_sets(STUDY)),
        "<results>/scores/comparison.csv",
        published_table(),


rule failure:
    input:
        expand("<results>/failure/{pair}/associations.png", pair=failure_sets(STUDY)),
        expand("<results>/failure/{pair}/covariates.csv", pair=failure_sets(STUDY)),
        expand("<results>/failure/{pair}/failure_types.csv", pair=failure_sets(STUDY)),
        expand("<results>/failure/{pair}/overlays.csv", pair=failure_sets(STUDY)),
        requested_tables(),


rule quality:
    input:
        quality_tables(),


rule report:
    input:
        "<results>/report/index.html",


include: "rules/bundle.smk"  # after the targets, whose files it packs


rule bundle:
    input:
        bundle_file(),
