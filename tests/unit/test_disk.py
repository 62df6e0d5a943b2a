"""Disks that are full or read-only: one line that names the file system and what to do, from a job and from nnU-Net alike."""

import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from glioflow import disk
from glioflow.console import Console, UserError, run_script
from glioflow.disk import explain_error, explain_output, require_writable
from glioflow.models.nnunet.commands import run_nnunet


def fill(folder: Path) -> None:
    with pytest.raises(OSError, match="No space left"), open(folder / "fill", "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


def run(folder: Path, write) -> str:
    """Run a job that writes into a folder, and return what it said."""
    output = folder / "results/scores/a.csv"
    snakemake = SimpleNamespace(
        rule="score_cases",
        wildcards={},
        input=[],
        output=[str(output)],
        params=[],
        threads=1,
        resources={},
        log=[str(folder / "results/logs/a.log")],
    )
    with pytest.raises(SystemExit) as ended:
        run_script(lambda *_: write(output), snakemake)
    assert ended.value.code == 1
    return str(output.parent)


def test_a_job_on_a_full_disk_ends_with_one_line(small, capsys):
    def write(output: Path) -> str:
        output.parent.mkdir(parents=True)
        output.write_bytes(bytes(2_000_000))
        return "done"

    scores = run(small, write)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"[score_cases] stopped: {scores}: no space is left on the file system at {small} (")
    assert "of 1.0 MB free" in said and "make room there, or put `results` on another disk" in said


def test_a_job_on_a_disk_that_was_full_before_ends_with_one_line(small, capsys):
    def write(output: Path) -> str:
        output.parent.mkdir(parents=True)  # which a full tmpfs lets some kernels do
        output.write_bytes(bytes(4096))
        return "done"

    fill(small)
    run(small, write)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"no space is left on the file system at {small} (0 bytes of 1.0 MB free)" in said


def test_a_job_in_a_read_only_folder_ends_with_one_line(small, capsys):
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    run(small, lambda output: output.parent.mkdir(parents=True))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"cannot be written or read (Read-only file system) on the file system at {small}" in said


def test_planning_needs_room_in_every_folder_and_for_temporary_files(small, monkeypatch, tmp_path):
    require_writable([tmp_path / "not/there/yet"])
    fill(small)
    with pytest.raises(UserError, match=rf"{small}: no space is left on the file system at {small}"):
        require_writable([tmp_path, small / "results"])
    monkeypatch.setenv("TMPDIR", str(small))
    with pytest.raises(UserError, match=r"temporary files go there: make room, or set \$TMPDIR"):
        require_writable([tmp_path])


def test_a_full_folder_of_temporary_files_is_found_where_the_error_names_none(small, monkeypatch, tmp_path):
    fill(small)
    monkeypatch.setenv("TMPDIR", str(small))
    told = explain_error(OSError(errno.ENOSPC, "No space left on device"), [tmp_path])
    assert told.startswith(f"{small}: no space is left") and "$TMPDIR" in told


def test_an_error_of_another_kind_is_a_defect_and_not_a_disk():
    assert explain_error(OSError(errno.ENOTDIR, "Not a directory", "/a"), [Path("/")]) is None
    assert explain_output(["RuntimeError: CUDA out of memory"], [Path("/")]) is None


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
        "RuntimeError: unable to write to file </torch_4242_1>: No space left on device (28)",
        "RuntimeError: One or more background workers are no longer alive. Exiting.",
    ],
)
def test_a_tiny_shared_memory_is_told_by_what_torch_prints(small, monkeypatch, tmp_path, line):
    monkeypatch.setattr(disk, "SHARED_MEMORY", small)
    told = explain_output(["…", line], [tmp_path])
    assert told.startswith(f"{small}: no space is left") and "--shm-size" in told


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_an_nnunet_command_that_cannot_write_is_told_in_one_line(small, tmp_path, monkeypatch, kind):
    """The command is a program that writes into the folder of results, as nnU-Net would."""
    command = tmp_path / "nnUNetv2_write"
    command.write_text(f"#!{sys.executable}\nopen('{small}/weights', 'wb').write(bytes(2_000_000))\n")
    command.chmod(0o755)
    monkeypatch.setattr("glioflow.models.nnunet.commands.sys.executable", str(tmp_path / "python"))
    if kind == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    env = {"nnUNet_results": str(small), "nnUNet_preprocessed": str(tmp_path)}
    words = "no space is left on" if kind == "full" else "cannot be written .Read-only"
    with pytest.raises(UserError, match=f"nnUNetv2_write: {small}: {words}.*the file system at {small}"):
        run_nnunet(command.name, [], env, Console())
