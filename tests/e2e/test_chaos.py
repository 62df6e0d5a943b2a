"""A study whose runs are killed in every stage, and which the same command takes up again, ends as the undisturbed one.

``make test-chaos`` kills every rule of a study that trains, once with all processes of a run and once with one of them,
chosen by chance: 30 times and more in each way. ``make test-long`` kills a study of given masks a few times.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
import yaml
from scored_study import write_study
from workflows import copy_checkout, planned_jobs, snakemake

pytestmark = [pytest.mark.e2e, pytest.mark.long]

SEED = 20
GROUP, ONE = "all processes of a run", "one process of a run"
PLANNING = "planning"  # no job runs: Snakemake starts, plans, or is between two jobs
LONGEST_DELAY_S = 4.0  # from when a job is first seen to the kill: most jobs here take less
LIMIT_S = 600  # of one run; longer than that, it hangs
NO_TABLES = ("logs", "benchmarks", "cache", "nnunet")

PHANTOM = {"dataset": "phantom", "shape": [32, 40, 32], "spacing_mm": [5, 5, 5]}
TRAINED = {
    "folds": 2, "epochs": 2, "iterations_per_epoch": 2, "validation_iterations": 1, "device": "cpu", "threads": 1,
}  # fmt: skip
PLANS = {"patch_size": [32, 40, 32], "batch_size": 1, "n_stages": 3, "base_features": 4}
STUDY = {
    "cohorts": {
        "own": {**PHANTOM, "cases": 4, "seed": 1, "planted": {}},
        "other": {**PHANTOM, "cases": 2, "seed": 2, "planted": {"low_contrast": 1}},
    },
    "models": {
        "full": {
            **TRAINED, "cohort": "own", "external": ["other"], "channels": ["t1ce", "flair"], "plans": PLANS, "save_every": 1,
            "postprocessing": {"largest_component": ["WT"], "min_volume_ml": [], "et_threshold_ml": []},
        },
        "flair": {**TRAINED, "cohort": "own", "channels": ["flair"], "plans": PLANS, "tta": False},
    },
    "ensembles": {"mean": {"members": ["full", "flair"]}},
    "failure": {"sets": ["other"], "extremes": 1},
    "bundle": {"name": "chaos", "version": "1.0.0", "licence": "CC-BY-4.0"},
}  # fmt: skip


@dataclass
class Chaos:
    """A study that is run by one command, again and again, while it is killed."""

    checkout: Path
    command: list[str]
    each: int  # kills of each stage in each way
    seed: int = SEED
    kills: list[tuple[str, str]] = field(default_factory=list)  # stage and way

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.output = self.checkout / "said.txt"

    def count(self, way: str) -> int:
        return sum(kind == way for _, kind in self.kills)

    def run_to_the_end(self, most: int) -> None:
        """Run the study until the command succeeds, with at most so many kills in each way."""
        done, failed = Counter(self.kills), 0
        run = self.start()
        deadline = time.monotonic() + LIMIT_S
        while True:
            if run.poll() is not None:
                self.wait_for_jobs(run)
                if run.returncode == 0:
                    return
                failed += 1
                assert failed < 5, f"it fails without a kill\n{self.said()}"
                run, deadline = self.start(), time.monotonic() + LIMIT_S
            assert time.monotonic() < deadline, f"it hangs: {processes(run)}\n{self.said()}"
            ways = [way for way in (GROUP, ONE) if self.count(way) < most]
            due = [(stage, way) for stage in stages(run) for way in ways if done[stage, way] < self.each]
            if not due:
                time.sleep(0.05)
                continue
            chosen = self.chance.choice(sorted(due))
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(self.chance.uniform(0, LONGEST_DELAY_S))
                continue
            self.kill(run, chosen[1])
            deadline, failed = time.monotonic() + LIMIT_S, 0
            self.kills.append(chosen)
            done[chosen] += 1

    def start(self) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as stream:
            command = [str(Path(sys.executable).with_name("snakemake")), *self.command]
            return subprocess.Popen(command, cwd=self.checkout, start_new_session=True, stdout=stream, stderr=stream)

    def kill(self, run: subprocess.Popen[bytes], way: str) -> None:
        """Kill, in one of the two ways, and wait until a run whose leader is gone has ended."""
        if way == GROUP:
            os.killpg(run.pid, signal.SIGKILL)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(sorted(processes(run))), signal.SIGKILL)
                time.sleep(0.1)

    def wait_for_jobs(self, run: subprocess.Popen[bytes]) -> None:
        """Let the jobs of a run end whose Snakemake is gone, as its next start would ask for."""
        deadline = time.monotonic() + LIMIT_S
        while left := processes(run):
            assert time.monotonic() < deadline, f"{left} do not end\n{self.said()}"
            time.sleep(0.05)

    def said(self) -> str:
        return self.output.read_text(errors="replace")[-6000:]


def processes(run: subprocess.Popen[bytes]) -> dict[int, str]:
    """Return the living processes of a run's session, its leader among them, with their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == run.pid and state != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def stages(run: subprocess.Popen[bytes]) -> list[str]:
    """Return the rules whose scripts run at this moment."""
    found = {rule for line in processes(run).values() for rule in re.findall(r"/\.snakemake/scripts/\w+\.(\w+)\.py", line)}
    return sorted(found) or [PLANNING]


def tables(results: Path) -> dict[str, bytes]:
    """Return the tables of a results folder; those of training without the time that an epoch took, none of times alone."""
    found = {}
    for path in sorted(results.rglob("*.csv")):
        name = path.relative_to(results)
        if not set(name.parts) & set(NO_TABLES) and path.name != "jobs.csv":
            timed = path.name == "curves.csv"
            found[str(name)] = pd.read_csv(path).drop(columns="seconds").to_csv().encode() if timed else path.read_bytes()
    return found


def assert_equal(results: Path, undisturbed: Path) -> None:
    found, wanted = tables(results), tables(undisturbed)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_a_few_kills_of_a_study_of_given_masks_change_no_table(tmp_path: Path):
    arguments = ["--configfile", "study.yaml", "--", "results/scores/m/given_summary.csv"]
    undisturbed, checkout = (copy_checkout(tmp_path / name) for name in ("undisturbed", "glioflow"))
    study = write_study(checkout)
    for folder in (undisturbed, checkout):
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(undisturbed, *arguments)
    assert run.returncode == 0, run.stdout
    chaos = Chaos(checkout, ["--cores", "2", *arguments], each=1)
    chaos.run_to_the_end(most=2)
    assert (chaos.count(GROUP), chaos.count(ONE)) == (2, 2), chaos.kills
    assert_equal(checkout / "results", undisturbed / "results")


@pytest.mark.chaos
def test_kills_in_every_stage_of_a_study_that_trains_change_no_table(tmp_path: Path):
    arguments = ["--configfile", "study.yaml", "--", "all", "scores"]
    undisturbed, checkout = (copy_checkout(tmp_path / name) for name in ("undisturbed", "glioflow"))
    for folder in (undisturbed, checkout):
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    started = time.monotonic()
    run = snakemake(undisturbed, *arguments)
    assert run.returncode == 0, run.stdout
    print(f"undisturbed: {time.monotonic() - started:.0f} s")
    chaos = Chaos(checkout, ["--cores", "2", *arguments], each=1)
    for _ in range(4):
        chaos.run_to_the_end(most=1000)
        assert_equal(checkout / "results", undisturbed / "results")
        assert planned_jobs(snakemake(checkout, "-n", *arguments)) == {}
        if min(chaos.count(GROUP), chaos.count(ONE)) >= 30:
            break
        shutil.rmtree(checkout / "results")
        chaos.each += 1
    hit = Counter(stage for stage, _ in chaos.kills)
    print(
        f"{chaos.count(GROUP)} kills of all processes and {chaos.count(ONE)} of one, in {len(hit)} stages; "
        f"{time.monotonic() - started:.0f} s with the undisturbed run: {dict(hit)}"
    )
    assert min(chaos.count(GROUP), chaos.count(ONE)) >= 30
    assert {"make_phantom", "verify_cohort", "preprocess_model", "train_fold", "predict_cases", "ensemble_models"} <= set(hit)
    assert {"score_cases", "extract_radiomics", "write_report", "write_bundle", PLANNING} <= set(hit)
