"""What a cluster does to jobs, on a real Slurm of one node: each is survived (`make test-slurm`).

The job is ``verify_cohort`` of glioflow's own workflow, one for each fault, on phantoms that were made before. It is halted
where a fault has to meet it while it runs.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from slurm_node import Node, ask, missing_programs, running_node
from workflows import copy_checkout, snakemake

MISSING = missing_programs()

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"no Slurm here, missing: {', '.join(MISSING)} (apt-get install slurm-wlm munge)"),
]

PHANTOM = {"dataset": "phantom", "cases": 3, "planted": {}, "shape": [40, 48, 40], "spacing_mm": [4, 4, 4]}
COHORTS = ("limit", "cancelled", "controller", "node", "refused", "memory", "preempted")
ASKED = {"mem_mb": 1000, "minutes": 10, "seconds": 0}  # by a first try
ON_SLURM = [
    "--profile", "slurm", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5",
    "--latency-wait", "5",
]  # fmt: skip
LONGEST_S = 400


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node(cpus=2) as node:
        yield node


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the phantoms of a cohort for each fault."""
    checkout = copy_checkout(tmp_path_factory.mktemp("faults") / "glioflow")
    (checkout / "slurm").symlink_to("profiles/slurm")
    cohorts = {name: {**PHANTOM, "seed": number} for number, name in enumerate(COHORTS)}
    study = {"cohorts": cohorts, "models": {"m": {"cohort": COHORTS[0], "folds": 2}}, "failure": {"extremes": 1}}
    (checkout / "study.yaml").write_text(yaml.safe_dump(study))
    made = snakemake(checkout, "--configfile", "study.yaml", "--", *(f"results/cohorts/{name}/cases.csv" for name in COHORTS))
    assert made.returncode == 0, made.stdout
    return checkout


@dataclass
class Run:
    """One run of the workflow on the node, until a cohort is verified."""

    checkout: Path
    node: Node
    cohort: str
    process: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        return (self.checkout / f"{self.cohort}.txt").read_text()

    @property
    def jobs(self) -> list[str]:
        """Slurm's ids of the jobs that were submitted."""
        return re.findall(r"SLURM jobid (\d+)", self.said)

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + LONGEST_S
        while not condition():
            assert self.process.poll() is None and time.monotonic() < deadline, f"never {what}\n{self.said}"
            time.sleep(0.1)

    def halt(self) -> int:
        """Wait for the job's script, stop it for the time being, and return its process."""
        self.wait_until(lambda: scripts(self.checkout), "ran")
        (script,) = scripts(self.checkout)
        os.kill(script, signal.SIGSTOP)
        return script

    def end(self) -> str:
        """Return all that was said by a run that ends well and has verified every case once."""
        assert self.process.wait(LONGEST_S) == 0, self.said
        manifest = (self.checkout / f"results/cohorts/{self.cohort}/manifest.csv").read_text().splitlines()
        assert len(manifest) == 1 + PHANTOM["cases"]
        return self.said


def scripts(checkout: Path) -> list[int]:
    """Return the processes of the rule's script that work in the checkout."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").resolve() == checkout and b".verify_cohort.py" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def started(checkout: Path, node: Node, cohort: str, **asked: int) -> Iterator[Run]:
    """Start a run whose job asks for ``ASKED``, or for what is given in its place."""
    (checkout / "site.yaml").write_text(yaml.safe_dump({"safety": 1, "rules": {"verify_cohort": {**ASKED, **asked}}}))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "study.yaml", *ON_SLURM]
    command += ["--set-threads", "verify_cohort=1"]  # one process, of which it is known what memory it takes
    command += ["--", f"results/cohorts/{cohort}/manifest.csv"]
    environment = {**node.environment, "GLIOFLOW_RESOURCES": str(checkout / "site.yaml")}
    with (checkout / f"{cohort}.txt").open("wb") as stream:
        process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield Run(checkout, node, cohort, process)
    finally:
        process.terminate()
        process.wait()


def asked(node: Node, job: str, what: str) -> str:
    """Return one entry of what ``scontrol`` says of a job."""
    found = re.search(rf"\b{what}=(\S+)", ask(node.environment, "scontrol", "show", "job", job))
    return found[1] if found else ""


def test_a_job_past_its_time_limit_is_tried_again_with_twice_as_much(node: Node, checkout: Path):
    with started(checkout, node, "limit", minutes=1) as run:
        run.halt()
        run.end()
        first, second = run.jobs
    assert (asked(node, first, "JobState"), asked(node, first, "TimeLimit")) == ("TIMEOUT", "00:01:00")
    assert (asked(node, second, "JobState"), asked(node, second, "TimeLimit")) == ("COMPLETED", "00:02:00")


def test_a_cancelled_job_is_tried_again(node: Node, checkout: Path):
    with started(checkout, node, "cancelled") as run:
        run.halt()
        subprocess.run(["scancel", run.jobs[0]], env=node.environment, check=True)
        run.end()
        first, second = run.jobs
    assert (asked(node, first, "JobState"), asked(node, second, "JobState")) == ("CANCELLED", "COMPLETED")


def test_a_job_that_makes_room_for_an_urgent_one_is_done_after_it(node: Node, checkout: Path):
    with started(checkout, node, "preempted") as run:
        run.halt()
        urgent = ask(
            node.environment,
            "sbatch",
            "--parsable",
            "--output=/dev/null",
            "--partition=urgent",
            "--exclusive",
            "--wrap=sleep 5",
        )
        run.end()
        *stopped, last = run.jobs
    assert asked(node, urgent, "JobState") == "COMPLETED"
    assert asked(node, urgent, "EndTime") <= asked(node, last, "StartTime")
    assert asked(node, last, "JobState") == "COMPLETED"
    # A job that ends at the SIGTERM counts as failed and is tried again; one that Slurm has to kill, Slurm requeues.
    assert [asked(node, job, "JobState") for job in stopped] == ["FAILED"] or asked(node, last, "Restarts") == "1"


def test_a_job_that_takes_more_memory_than_it_asked_for_is_tried_again_with_more(node: Node, checkout: Path):
    with started(checkout, node, "memory", mem_mb=250) as run:
        run.end()
        first, second = run.jobs
    assert asked(node, first, "JobState") not in ("COMPLETED", "TIMEOUT")
    assert [asked(node, job, "MinMemoryNode") for job in (first, second)] == ["250M", "500M"]


def test_a_controller_that_is_away_while_a_job_ends_costs_nothing(node: Node, checkout: Path):
    with started(checkout, node, "controller") as run:
        script = run.halt()
        node.daemons["slurmctld"].kill()
        node.daemons["slurmctld"].wait()
        os.kill(script, signal.SIGCONT)
        run.wait_until(lambda: not scripts(checkout), "ended")
        time.sleep(45)  # the plugin asks again and again meanwhile, and gets no answer
        node.start("slurmctld")
        run.end()
        assert len(run.jobs) == 1


def test_a_node_that_dies_with_its_job_and_comes_back_has_it_done_again(node: Node, checkout: Path):
    with started(checkout, node, "node") as run:
        script = run.halt()
        node.daemons["slurmd"].kill()
        node.daemons["slurmd"].wait()
        for process in descendants_of_steps(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(script, signal.SIGKILL)
        run.wait_until(lambda: "down" in ask(node.environment, "sinfo", "--noheader", "--format=%T"), "down")
        node.start("slurmd")
        run.end()
        (job,) = run.jobs
    assert (asked(node, job, "JobState"), asked(node, job, "Restarts")) == ("COMPLETED", "1")


def descendants_of_steps(node: Node) -> list[int]:
    """Return the processes that the node's daemons started: steps and jobs, by the configuration that they know."""
    known, found = f"SLURM_CONF={node.folder}/".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (entry / "environ").read_bytes()
            if known in environment and (b"SLURM_JOB_ID=" in environment or b"slurmstepd" in (entry / "cmdline").read_bytes()):
                found.append(int(entry.name))
    return found


def test_a_submission_that_is_refused_ends_the_run_and_the_same_command_goes_on(node: Node, checkout: Path):
    node.wait_until_idle()
    subprocess.run(["scontrol", "update", "PartitionName=main", "State=INACTIVE"], env=node.environment, check=True)
    with started(checkout, node, "refused") as run:
        assert run.process.wait(LONGEST_S) == 1
        assert "SLURM sbatch failed" in run.said
        assert run.jobs == []
    subprocess.run(["scontrol", "update", "PartitionName=main", "State=UP"], env=node.environment, check=True)
    with started(checkout, node, "refused") as run:
        run.end()
        assert len(run.jobs) == 1
