"""The slurm profile on a real Slurm of one node: what jobs ask for arrives, and what fails is told."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_node import ask, missing_programs, slurm_node

ROOT = Path(__file__).resolve().parents[2]
MISSING = missing_programs()

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.skipif(bool(MISSING), reason=f"no Slurm here, missing: {', '.join(MISSING)} (apt-get install slurm-wlm munge)"),
]

SNAKEFILE = """
rule score_cases:
    output: "{shard}.txt"
    wildcard_constraints: shard="[ab]"
    script: "write.py"

rule train_fold:
    input: expand("{shard}.txt", shard=["a", "b"])
    output: "trained.txt"
    threads: 12
    resources: gpu=1, mem_mb=200, runtime=7
    script: "write.py"

rule join_pieces:
    input: "trained.txt"
    output: "joined.txt"
    localrule: True
    script: "write.py"

rule fail_case:
    output: "never.txt"
    shell: "echo case_007 has no flair >&2; exit 3"
"""

WRITE = """
import os, subprocess
job = os.environ.get("SLURM_JOB_ID", "none")
query = ["squeue", "--noheader", "--job", job, "--format=%l %m %C"]
limits = subprocess.run(query, capture_output=True, text=True).stdout.split()
found = {"job": job, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "none"), "threads": snakemake.threads, "limits": limits}
with open(snakemake.output[0], "w") as stream:
    print(*(f"{name}={value}" for name, value in found.items()), file=stream)
"""

STUDY = """
cohorts:
  tiny: {dataset: phantom, cases: 6, shape: [40, 48, 40], spacing_mm: [4, 4, 4], planted: {low_contrast: 1}}
models:
  small:
    cohort: tiny
    channels: [t1ce, flair]
    folds: 2
    epochs: 2
    iterations_per_epoch: 2
    validation_iterations: 1
    device: cpu
    plans: {patch_size: [32, 32, 32], batch_size: 2, n_stages: 3, base_features: 4}
failure: {extremes: 1}
"""
PREPROCESSED = "results/models/small/preprocessed.json"
FOLD = "results/models/small/fold_0/manifest.json"

# As in docs/slurm.md; the last two only shorten the waiting, which a node on loopback does not need.
ON_SLURM = ["--profile", "slurm", "--slurm-status-command", "squeue"]
ON_SLURM += ["--slurm-init-seconds-before-status-checks", "8", "--latency-wait", "5"]


@pytest.fixture(scope="module")
def node() -> Iterator[dict[str, str]]:
    with slurm_node(cpus=2) as environment:
        yield environment


def run_snakemake(environment: dict[str, str] | None, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run snakemake from the repository's root, with everything it makes in ``folder``."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800, check=False)


@pytest.fixture(scope="module")
def small_run(node: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The small workflow above, asked for its last file and for the one whose job fails."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "write.py").write_text(WRITE)
    arguments = [
        "--set-resources",
        "train_fold:mem_mb=300",
        "--snakefile",
        str(folder / "Snakefile"),
        "joined.txt",
        "never.txt",
    ]
    return folder, run_snakemake(node, folder, *ON_SLURM, *arguments)


def read_found(path: Path) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\[.*?\]|\S+)", path.read_text()))


def test_a_job_gets_the_defaults_of_the_profile(small_run):
    found = read_found(small_run[0] / "a.txt")
    assert found["job"].isdigit()
    assert found["limits"] == "['1:00:00', '4000M', '1']"
    assert found["gpu"] == "none"


def test_a_job_gets_the_gpu_memory_and_time_its_rule_asks_for_and_no_more_threads_than_cores(small_run):
    found = read_found(small_run[0] / "trained.txt")
    assert found["limits"] == "['7:00', '300M', '2']"
    assert found["threads"] == "2"
    assert found["gpu"] == "0"


def test_local_rules_do_not_enter_the_queue(small_run):
    assert read_found(small_run[0] / "joined.txt")["job"] == "none"


def test_a_failing_job_ends_the_run_with_a_log_that_says_why_and_lets_the_others_finish(small_run):
    folder, done = small_run
    assert done.returncode == 1
    logs = sorted((folder / ".snakemake" / "slurm_logs" / "rule_fail_case").rglob("*.log"))
    assert len(logs) == 2, "a second try, for want of memory or time"
    assert str(logs[-1]) in done.stderr
    assert all("case_007 has no flair" in log.read_text() for log in logs)
    assert not (folder / "never.txt").exists()
    assert (folder / "joined.txt").exists()


def test_a_fold_of_the_real_workflow_trains_in_the_queue(node, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    study = ["--configfile", str(tmp_path / "study.yaml")]
    before = run_snakemake(None, tmp_path, PREPROCESSED, *study)
    assert before.returncode == 0, before.stderr
    done = run_snakemake(node, tmp_path, FOLD, *study, *ON_SLURM, "--set-resources", "train_fold:mem_mb=4000")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"has been submitted with SLURM jobid .*(rule_\w+)", done.stderr) == ["rule_train_fold"]
    assert json.loads((tmp_path / FOLD).read_text())["epochs"] == 2
    again = run_snakemake(node, tmp_path, FOLD, *study, *ON_SLURM)
    assert "Nothing to be done" in again.stderr


def processes_that_know(folder: Path) -> list[str]:
    """Return the command lines of the running processes that have ``folder`` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"SLURM_CONF={folder}/".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def test_the_node_leaves_nothing_behind():
    with slurm_node(cpus=1) as environment:
        folder = Path(environment["SLURM_CONF"]).parent
        assert ask(environment, "sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 600").isdigit()
        assert len(processes_that_know(folder)) >= 3
    assert not folder.exists()
    assert processes_that_know(folder) == []
