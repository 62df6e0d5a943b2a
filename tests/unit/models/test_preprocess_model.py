"""Planning and preprocessing give what nnU-Net's own commands give, and leave no process behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import blosc2
import numpy as np
import pytest
from variants import build_variant

from glioflow.console import Console
from glioflow.models.nnunet.commands import PREPARE, ModelFolders, environment, run_nnunet

POOL = """
import multiprocessing, time
import prepare
prepare.fork_workers()
pool = multiprocessing.get_context("spawn").Pool(2)
print(*(worker.pid for worker in pool._pool), flush=True)
time.sleep(60)
"""


def test_a_killed_command_leaves_no_worker():
    with subprocess.Popen(
        [sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(PREPARE.parent)}
    ) as process:
        assert process.stdout is not None
        workers = [Path("/proc", pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 2 and all(worker.exists() for worker in workers)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(is_running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_running(worker) for worker in workers)


def is_running(process: Path) -> bool:
    """Tell whether a process is there and no mere entry that nobody has waited for."""
    try:
        return (process / "stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.mark.long
def test_plans_and_cases_are_those_of_nnunets_own_commands(tmp_path_factory, tmp_path):
    msd = build_variant(tmp_path_factory, "msd_unet3d_cpu")
    ours = msd.results / "models/unet/nnunet"
    other = tmp_path / "models/unet/nnunet"  # as deep as in the results, since dataset.json has relative paths
    shutil.copytree(ours / "raw", other / "raw")
    (tmp_path / "cohorts").symlink_to(msd.results / "cohorts")
    folders = ModelFolders("unet", other)
    env = environment(folders, 2, "cpu")
    mine = ours / "preprocessed" / folders.dataset

    def run(command: str, *arguments: object) -> None:
        program = Path(sys.executable).with_name(command)
        subprocess.run([program, *map(str, arguments)], env=env, cwd=msd.checkout, check=True, capture_output=True)

    run("nnUNetv2_plan_and_preprocess", "-d", 1, "--no_pp", "-pl", "ExperimentPlanner", "-npfp", 2, "--no_pbar")
    plans, own = (json.loads((folder / "nnUNetPlans.json").read_text()) for folder in (folders.preprocessed, mine))
    drawn, quickly_drawn = (each.pop("foreground_intensity_properties_per_channel") for each in (plans, own))
    assert own == plans
    for channel, values in drawn.items():
        assert quickly_drawn[channel] == pytest.approx(values, rel=0.01)

    shutil.copy(mine / "glioflowPlans.json", folders.preprocessed)
    arguments = ("-d", 1, "-plans_name", "glioflowPlans", "-c", "3d_fullres", "-np", 2, "--no_pbar")
    run("nnUNetv2_preprocess", *arguments)
    cases = sorted((folders.preprocessed / "glioflowPlans_3d_fullres").glob("*.b2nd"))
    assert len(cases) == 2 * 6  # image and label map
    for case in cases:
        quickly_made = mine / "glioflowPlans_3d_fullres" / case.name
        assert np.array_equal(blosc2.open(str(case))[...], blosc2.open(str(quickly_made))[...])


def test_a_command_that_fails_says_what_it_printed_last(tmp_path):
    folders = ModelFolders("m", tmp_path)
    with pytest.raises(RuntimeError, match=r"nnUNetv2_preprocess ended with exit status 1(?s:.*)Could not find a dataset"):
        run_nnunet("nnUNetv2_preprocess", ["-d", 1, "-np", 1], environment(folders, 1, "cpu"), Console())
