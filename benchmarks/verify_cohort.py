"""Time the verification of a cohort against merely reading its files once, and weigh its memory.

Usage: python benchmarks/verify_cohort.py [FOLDER] [--cases 100] [--threads 2] [--rounds 3]

FOLDER has BraTS 2021 cases (<case>/<case>_{t1,t1ce,t2,flair,seg}.nii.gz); it is multiplied to ``--cases`` cases by symbolic
links. Without it, phantoms of 240 x 240 x 155 voxels are made. Each round reads every file once with as many processes, by
glioflow's reader and by nibabel, then verifies the cohort from nothing; the contenders take turns, so that what else the
machine does falls on all of them. Last, one case is changed and the cohort verified again.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import pandas as pd

import verify_cohort
from convert_cohort import case_table
from glioflow.cohorts.layouts import list_cohort
from glioflow.cohorts.phantom.plan import plan_phantoms
from glioflow.console import Console
from glioflow.files import write_table
from glioflow.imaging.volumes import read_volume
from glioflow.parallel import map_unordered
from glioflow.study.configuration import FolderCohort
from glioflow.study.registry import label_schemes
from make_phantom import write_case

ROLES = ("t1", "t1ce", "t2", "flair", "seg")


def link_farm(source: Path, folder: Path, cases: int) -> list[Path]:
    """Return the files of ``cases`` cases in ``folder`` that are links to the cases of ``source``, in turn."""
    originals = sorted(path for path in source.iterdir() if path.is_dir())
    files = []
    for number in range(cases):
        original = originals[number % len(originals)]
        target = folder / f"BraTS2021_{number:05d}"
        target.mkdir(parents=True)
        for role in ROLES:
            files.append(target / f"{target.name}_{role}.nii.gz")
            files[-1].symlink_to(original / f"{original.name}_{role}.nii.gz")
    return files


def make_phantoms(folder: Path, cases: int) -> Path:
    for case in plan_phantoms(cases, 0, {}):
        write_case(case, (240, 240, 155), (1.0, 1.0, 1.0), folder)
    return folder


def read_with_nibabel(path: Path) -> int:
    return int(np.asanyarray(nib.load(path).dataobj).size)


def read_with_glioflow(path: Path) -> int:
    return int(read_volume(path).data.size)


def read_all(read: Callable[[Path], int], files: list[Path], threads: int) -> int:
    return sum(size for _, size in map_unordered(read, files, threads))


def verify(folder: Path, results: Path, threads: int) -> str:
    """Verify the cohort in ``folder`` as its rule does; return what the rule prints."""
    cohort = FolderCohort(dataset="brats2021", path=str(folder))
    write_table(results / "cases.csv", case_table(list_cohort(cohort, folder).cases))
    write_table(results / "conversion.csv", pd.DataFrame(columns=verify_cohort.PROBLEM_COLUMNS))
    requirements = {"source": str(folder), "split": {}, "trained": True}
    params = SimpleNamespace(
        scheme=label_schemes()["brats2021"],
        scheme_name="brats2021",
        channels=["t1", "t1ce", "t2", "flair"],
        on_geometry_mismatch="error",
        skull_stripped=True,
        labels=str(results / "labels"),
        cache=str(results / "cache.jsonl"),
        requirements=requirements,
    )
    paths = {name: str(results / f"{name}.csv") for name in ("cases", "conversion", "manifest", "verification")}
    snakemake = SimpleNamespace(params=params, threads=threads, input=SimpleNamespace(**paths), output=SimpleNamespace(**paths))
    return verify_cohort.main(snakemake, Console())


def weigh(work: Callable[[], str]) -> tuple[str, float]:
    """Return what ``work`` returns, and the most memory in MB that this process and its children held at once (PSS)."""
    process, peak, done = psutil.Process(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            total = 0
            for member in (process, *process.children(recursive=True)):
                try:
                    total += member.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, total)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        said = work()
    finally:
        done.set()
        watcher.join()
    return said, peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="verify_"))
    try:
        source = options.folder.resolve() if options.folder else make_phantoms(work / "phantoms", 6)
        files = link_farm(source, work / "cases", options.cases)
        print(f"{options.cases} cases, {len(files)} files, {options.threads} processes")
        times: dict[str, list[float]] = {"read, nibabel": [], "read, glioflow": [], "verify": []}
        peak = 0.0
        for round_number in range(options.rounds):
            results = work / f"results{round_number}"
            for name, action in (
                ("read, nibabel", lambda: str(read_all(read_with_nibabel, files, options.threads))),
                ("read, glioflow", lambda: str(read_all(read_with_glioflow, files, options.threads))),
                ("verify", lambda results=results: verify(work / "cases", results, options.threads)),
            ):
                start = time.perf_counter()
                said, held = weigh(action)
                times[name].append(time.perf_counter() - start)
                if name == "verify":
                    peak = max(peak, held)
                    print(f"round {round_number + 1}: {said}")
        for name, values in times.items():
            print(f"{name:16} {median(values):6.1f} s")
        for name in ("read, glioflow", "read, nibabel"):
            ratios = [verified / read for verified, read in zip(times["verify"], times[name], strict=True)]
            print(f"verify / ({name}): {median(ratios):.2f}")
        print(f"verify held at most {peak:.0f} MB")
        changed = files[0]
        content = changed.read_bytes()
        changed.unlink()
        changed.write_bytes(content)
        start = time.perf_counter()
        print(f"one case changed: {verify(work / 'cases', results, options.threads)} in {time.perf_counter() - start:.2f} s")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
