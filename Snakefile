# glioflow: from a glioma MRI cohort to a published, explained result.
# A study is one configuration file: config/config.yaml is the demo, and --configfile puts another study in its place.

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


def checkout(source):
    """Return the folder of this workflow. One that is named by a git address is unpacked first: its scripts share a package."""
    if hasattr(source, "abspath"):
        return Path(source.get_path_or_uri(secret_free=True))
    import git

    repo = source.hosted_repo.repo if hasattr(source, "hosted_repo") else git.Repo(source.repo_path)
    folder = Path(".snakemake/glioflow", repo.commit(source.ref).hexsha).absolute()
    if not folder.exists():
        folder.mkdir(parents=True)
        repo.git.execute(["sh", "-c", f"git archive {source.ref} | tar -x -C '{folder}'"])
    return folder


BASE = checkout(workflow.current_basedir)
sys.path.insert(0, str(BASE / "scripts"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(BASE / "scripts"), os.environ.get("PYTHONPATH")]))

from glioflow.console import UserError
from glioflow.disk import LIMIT_VARIABLE, require_writable
from glioflow.job_records import restore_notes
from glioflow.runs import enter_run
from glioflow.study.duplicate_keys import duplicate_keys
from glioflow.workflow.checks import load_study
from glioflow.yaml_files import read_yaml


def told(look_up, *names):
    """Return what a look-up finds; a user's mistake ends the planning with its message alone."""
    try:
        return look_up(*names)
    except UserError as error:
        sys.exit(str(error))


if not (config if not workflow.modifier.is_main_snakefile() else workflow.overwrite_configfiles):

    told(read_yaml, BASE / "config/config.yaml")  # Snakemake itself says neither file nor line

    configfile: str(BASE / "config/config.yaml")


CONFIG_FILE = os.path.relpath(workflow.configfiles[0]) if workflow.configfiles else "the configuration"

if twice := [f"{file}: {said}" for file in workflow.configfiles for said in duplicate_keys(Path(file))]:
    sys.exit("\n".join(twice))

STUDY = told(load_study, config, CONFIG_FILE)


os.environ[LIMIT_VARIABLE] = str(STUDY.largest_image_gb)


pathvars:
    results=STUDY.results,
    logs=f"{STUDY.results}/logs",
    benchmarks=f"{STUDY.results}/benchmarks",


# A module's `prefix` is put before every file of a rule; what is no file of a rule (params) follows.
STUDY = STUDY.model_copy(update={"results": str(workflow.modifier.modify_path(STUDY.results))})


include: "rules/common.smk"
include: "rules/cohorts.smk"
include: "rules/models.smk"
include: "rules/evaluation.smk"
include: "rules/failure.smk"
include: "rules/report.smk"


if workflow.is_main_process:
    if not workflow.output_settings.dryrun and (workflow.resource_settings.cores or workflow.resource_settings.nodes):
        told(require_writable, [Path(STUDY.results), Path(".snakemake")])
        unlock = f"snakemake --unlock{' --configfile ' + CONFIG_FILE if workflow.configfiles else ''}"
        if said := enter_run(STUDY.results, unlock, workflow.resource_settings.nodes is not None):
            print(f"[glioflow] {said}", file=sys.stderr)
    restore_notes(STUDY.results, [str(path) for rule in workflow.rules for path in rule.output])


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
