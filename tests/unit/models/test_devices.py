import os
import platform
import select
import signal
import stat
import subprocess
import sys

import pytest

from glioflow.console import Console, UserError
from glioflow.models.devices import (
    claim_device,
    claim_one,
    explain_absence,
    identify,
    list_devices,
    lock_folder,
    read_processor,
)

# A job that claims one of the devices 0 and 1, says which, and keeps it until its standard input ends.
JOB = """
import os, sys
from pathlib import Path
from glioflow.console import Console
from glioflow.models.devices import claim_one, identify, list_devices
names = {entry: identify(entry, [], {}) for entry in list_devices({}, 2)}
with claim_one(names, Path(sys.argv[1]), Console()) as device:
    print(device, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path, repo):
    """Start a job in a process of its own; all are ended with the test."""
    jobs = []

    def start_one():
        env = {**os.environ, "PYTHONPATH": str(repo / "scripts")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        jobs.append(subprocess.Popen([sys.executable, "-c", JOB, str(tmp_path)], env=env, text=True, **pipes))
        return jobs[-1]

    yield start_one
    for job in jobs:
        job.kill()
        job.communicate()


def test_two_jobs_get_two_gpus_and_a_third_waits_until_one_is_killed(start):
    first = start()
    assert first.stdout.readline() == "0\n"
    second = start()
    assert second.stdout.readline() == "1\n"
    third = start()
    assert "all 2 GPUs are taken" in third.stderr.readline()
    assert select.select([third.stdout], [], [], 1.5) == ([], [], [])  # it has looked at the locks more than once
    second.send_signal(signal.SIGKILL)
    assert third.stdout.readline() == "1\n"
    assert third.poll() is None
    assert first.poll() is None


def test_a_job_that_ends_well_frees_its_gpu(start):
    first = start()
    assert first.stdout.readline() == "0\n"
    first.communicate(timeout=20)
    assert start().stdout.readline() == "0\n"


def test_a_gpu_is_free_again_after_the_block_even_where_it_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), claim_one({"0": "0"}, tmp_path, Console()):
        1 / 0  # noqa: B018
    with claim_one({"0": "0"}, tmp_path, Console()) as entry:
        assert entry == "0"


@pytest.mark.parametrize(
    ("environment", "number", "devices"),
    [
        ({}, 0, []),
        ({}, 3, ["0", "1", "2"]),
        ({"CUDA_VISIBLE_DEVICES": "2, 5"}, 2, ["2", "5"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f1a,MIG-77"}, 2, ["GPU-8f1a", "MIG-77"]),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, 1, ["1"]),  # CUDA stops at what it does not know
        ({"CUDA_VISIBLE_DEVICES": ""}, 0, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0, []),
    ],
)
def test_the_devices_are_those_that_cuda_counts(environment, number, devices):
    assert list_devices(environment, number) == devices


def test_a_number_and_a_uuid_of_one_gpu_have_one_lock():
    uuids = ["GPU-aa11", "GPU-bb22"]
    assert identify("1", uuids, {}) == identify("GPU-bb22", uuids, {}) == identify("GPU-b", uuids, {}) == "GPU-bb22"


def test_gpu_0_of_two_confined_slurm_jobs_is_not_one_gpu():
    assert identify("0", ["GPU-aa11"], {}) != identify("0", ["GPU-bb22"], {})
    assert identify("0", [], {"SLURM_JOB_ID": "7"}) != identify("0", [], {"SLURM_JOB_ID": "8"})


def test_a_mig_slice_is_a_device_of_its_own():
    assert identify("MIG-77", ["GPU-aa11"], {}) == "MIG-77"


def test_the_locks_lie_in_a_folder_that_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = lock_folder()
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert stat.S_IMODE(lock_folder().stat().st_mode) == 0o700


def test_a_link_in_place_of_the_lock_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"glioflow-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not a folder of yours"):
        lock_folder()


def test_the_cpu_is_claimed_by_nobody(capsys):
    with claim_device("cpu", Console()) as one, claim_device("cpu", Console()) as other:
        assert one == other == ("cpu", {})
    assert capsys.readouterr().err == ""


def test_without_a_gpu_auto_works_on_the_cpu_and_says_why(monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with claim_device("auto", Console()) as claimed:
        assert claimed == ("cpu", {})
    assert "CUDA_VISIBLE_DEVICES is ''" in capsys.readouterr().err


def test_without_a_gpu_cuda_stops_and_says_what_was_found(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"device: cuda, but torch .* finds no GPU"), claim_device("cuda", Console()):
        pass


def test_a_torch_without_cuda_beside_a_gpu_is_named():
    said = explain_absence({}, ["GPU-aa11"], "2.15.0+cpu", None)
    assert said == (
        "torch 2.15.0+cpu (built without CUDA) finds no GPU, nvidia-smi lists 1 GPU, CUDA_VISIBLE_DEVICES is not set"
    )


# ---- processors


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ([(0, 0), (0, 1), (0, 0), (0, 1)], 2),  # two threads a core
        ([(0, 0), (0, 1), (1, 0), (1, 1)], 4),  # two sockets
    ],
)
def test_threads_of_a_core_count_once_and_cores_of_two_sockets_twice(tmp_path, cores, expected):
    thread = "processor\t: {}\nmodel name\t: Intel(R) Xeon(R)  CPU @ 2.60GHz\nphysical id\t: {}\ncore id\t\t: {}\npower:\n"
    text = "\n".join(thread.format(number, *place) for number, place in enumerate(cores))
    (tmp_path / "cpuinfo").write_text(text)
    assert read_processor(tmp_path / "cpuinfo") == {"name": "Intel(R) Xeon(R) CPU @ 2.60GHz", "cores": expected}


def test_a_kernel_that_does_not_name_its_processor_leaves_the_architecture(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 50.00\n\n")
    for name in ("cpuinfo", "missing"):
        assert read_processor(tmp_path / name) == {"name": platform.machine(), "cores": os.cpu_count()}
