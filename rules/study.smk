# The study: its configuration, read and checked before anything is planned.

import os
import sys
import tarfile
import tempfile
from pathlib import Path


def checkout(source):
    """Return the folder of this workflow. One that is named by a git address is unpacked first: its scripts share a package."""
    if hasattr(source, "abspath"):
        return Path(source.get_path_or_uri(secret_free=True)).parent
    import git

    repo = source.hosted_repo.repo if hasattr(source, "hosted_repo") else git.Repo(source.repo_path)
    folder = Path(".snakemake/glioflow", repo.commit(source.ref).hexsha).absolute()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile() as packed:
            repo.archive(packed, source.ref)
            packed.seek(0)
            part = tempfile.mkdtemp(dir=folder.parent)  # a run that is killed here leaves no half of a workflow
            with tarfile.open(fileobj=packed) as archive:
                archive.extractall(part, filter="data")
        os.replace(part, folder)
    return folder


BASE = checkout(workflow.current_basedir)
sys.path.insert(0, str(BASE / "scripts"))
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [str(BASE / "scripts"), os.environ.get("PYTHONPATH")])))

from glioflow.console import UserError
from glioflow.disk import LIMIT_VARIABLE
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

    told(read_yaml, BASE / "config/config.yaml")  # Snakemake itself names neither file nor line

    configfile: str(BASE / "config/config.yaml")


CONFIG_FILE = os.path.relpath(workflow.configfiles[0]) if workflow.configfiles else "the configuration"

if twice := [f"{file}: {said}" for file in workflow.configfiles for said in duplicate_keys(Path(file))]:
    sys.exit("\n".join(twice))

STUDY = told(load_study, config, CONFIG_FILE)

os.environ.update({LIMIT_VARIABLE: str(STUDY.largest_image_gb)})
