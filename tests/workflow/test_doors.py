"""The ways in that Snakemake's users expect: as a module of another workflow, by the catalogue's place, by snakedeploy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from workflows import copy_checkout, planned_jobs, snakemake

STUDY = {"cohorts": {"c": {"dataset": "phantom", "cases": 4, "planted": {}, "shape": [40, 48, 40], "spacing_mm": [4, 4, 4]}}}
MODEL = {"models": {"m": {"cohort": "c", "folds": 2}}, "failure": {"extremes": 2}}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("doors") / "glioflow")


def importing(folder: Path, snakefile: str, use: str = "use rule * from glioflow", prefix: str = "") -> Path:
    """Make a workflow that uses glioflow as a module, in a folder of its own."""
    folder.mkdir()
    lines = ['configfile: "study.yaml"', "module glioflow:", f"    snakefile: {snakefile}", "    config: config"]
    lines += [f'    prefix: "{prefix}"'] if prefix else []
    (folder / "Snakefile").write_text("\n".join([*lines, use, ""]))
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, **MODEL}))
    return folder


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_as_a_module_under_other_names(checkout: Path, tmp_path: Path, snakefile: str):
    folder = importing(tmp_path / "mine", repr(str(checkout / snakefile)), "use rule * from glioflow as seg_*")
    run = snakemake(folder, "-n")
    jobs = planned_jobs(run)
    assert jobs["seg_train_fold"] == 2 and jobs["seg_write_report"] == 1, run.stdout
    assert not [name for name in jobs if not name.startswith("seg_")]


def test_as_a_module_with_a_prefix_everything_is_written_below_it(checkout: Path, tmp_path: Path):
    folder = importing(tmp_path / "mine", repr(str(checkout / "Snakefile")), prefix="glio")
    run = snakemake(folder, "cohorts")
    assert run.returncode == 0, run.stdout
    assert {path.name for path in folder.iterdir()} == {".snakemake", "Snakefile", "study.yaml", "glio"}
    assert (folder / "glio/results/cohorts/c/split.csv").exists()
    assert len(list(folder.glob("glio/results/cohorts/c/phantoms/*/*.nii.gz"))) == 4 * 5


def test_deployed_by_snakedeploy_from_a_git_address_it_runs(checkout: Path, tmp_path: Path):
    """The address is one of a hosting service; git is told to find its repositories in a folder."""
    origin = tmp_path / "github.com/lab/glioflow"
    shutil.copytree(checkout, origin, ignore=shutil.ignore_patterns(".snakemake", "slurm", "results"))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(origin)]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "x"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    shutil.move(origin / ".git", tmp_path / "github.com/lab/glioflow.git")
    shutil.rmtree(origin)
    subprocess.run(["git", "-C", str(tmp_path / "github.com/lab/glioflow.git"), "config", "core.bare", "true"], check=True)
    env = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/github.com/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    target = tmp_path / "deployed"
    target.mkdir()
    deploy = [str(Path(sys.executable).with_name("snakedeploy")), "deploy-workflow", "https://github.com/lab/glioflow"]
    subprocess.run([*deploy, str(target), "--tag", "v1"], check=True, env={**os.environ, **env})
    (target / "config/config.yaml").write_text(yaml.safe_dump(STUDY))
    run = snakemake(target, "cohorts", **env)
    assert run.returncode == 0, run.stdout
    assert (target / "results/cohorts/c/split.csv").exists()
