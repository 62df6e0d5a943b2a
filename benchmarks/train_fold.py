"""Time the training of one fold by the workflow against bare ``nnUNetv2_train`` with the same plans.

Usage: python benchmarks/train_fold.py [--data FOLDER] [--cases 10] [--epochs 6] [--iterations 50] [--rounds 3]
           [--threads N] [--device auto] [--small | --large] [--keep FOLDER]

A small cohort of phantoms, or of the real cases in FOLDER (BraTS 2021: <case>/<case>_{t1,t1ce,t2,flair,seg}.nii.gz), goes
through the workflow up to the preprocessed cases. Then fold 0 is trained in turns by the workflow's rule ``train_fold`` and by
``nnUNetv2_train``, whose own trainer is only told the number of epochs and iterations. Both have the same plans, workers and
environment. An epoch is timed from its start to the next one's, so that saving counts; the first warms up and does not. What
matters is the ratio within a round, since what else the machine does falls on both. The workflow may cost 2 % at most.

Without a GPU the network is small (--small), which shows that the benchmark works; the figure to quote is that of a GPU.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import torch
import yaml

from glioflow.console import Console, UserError, clock
from glioflow.files import read_json
from glioflow.models.devices import claim_device
from glioflow.models.fold_state import FINAL, check_checkpoint
from glioflow.models.nnunet.commands import PLANS, ModelFolders, environment, run_nnunet

REPO = Path(__file__).resolve().parents[1]
MODEL, CONFIGURATION = "bench", "3d_fullres"
TARGET_PERCENT = 2.0
BARE = "BareTrainer"
BARE_TRAINER = f"""\
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class {BARE}(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = {{epochs}}
        self.num_iterations_per_epoch = {{iterations}}
        self.num_val_iterations_per_epoch = {{validation}}
"""
SMALL = {
    "cohort": {"shape": [40, 48, 40], "spacing_mm": [4, 4, 4]},
    "plans": {"patch_size": [32, 32, 32], "batch_size": 2, "n_stages": 4, "base_features": 8},
}
LARGE: dict[str, Any] = {"cohort": {"shape": [160, 192, 160], "spacing_mm": [1, 1, 1]}, "plans": {}}


def study(options: argparse.Namespace) -> dict[str, Any]:
    """Return the study's configuration: one cohort, one model of nnU-Net's own settings."""
    size = SMALL if options.small else LARGE
    phantoms = {"dataset": "phantom", "cases": options.cases, "planted": {}, **size["cohort"]}
    return {
        "cohorts": {"cases": {"dataset": "brats2021", "path": str(options.data.resolve())} if options.data else phantoms},
        "models": {
            MODEL: {
                "cohort": "cases", "configuration": CONFIGURATION, "epochs": options.epochs,
                "iterations_per_epoch": options.iterations, "validation_iterations": options.validation,
                "folds": options.folds, "tta": False, "threads": options.threads, "device": options.device,
                "plans": size["plans"],
            }
        },
        "failure": {"extremes": 1},  # the cohort may be small
    }  # fmt: skip


def run_workflow(work: Path, target: str, threads: int) -> None:
    """Make ``target`` with Snakemake in ``work``; ends with its output where it fails."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPO / "Snakefile"), "--configfile", "study.yaml"]
    done = subprocess.run([*command, "--cores", str(threads), target], cwd=work, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nthe workflow did not make {target}")


def epoch_seconds(fold: Path) -> list[float]:
    """Return the seconds of each epoch but the first, as nnU-Net logged them in the fold's last checkpoint."""
    log = torch.load(fold / FINAL, map_location="cpu", weights_only=False)["logging"]
    marks = [*log["epoch_start_timestamps"], log["epoch_end_timestamps"][-1]]
    return [after - before for before, after in pairwise(marks[1:])]


def train_by_workflow(work: Path, folders: ModelFolders, options: argparse.Namespace) -> list[float]:
    """Train fold 0 from nothing by the workflow's rule; return the seconds of its epochs."""
    shutil.rmtree(folders.root / "results", ignore_errors=True)
    shutil.rmtree(work / f"results/models/{MODEL}/fold_0", ignore_errors=True)
    run_workflow(work, f"results/models/{MODEL}/fold_0/manifest.json", options.threads)
    fold, record = folders.fold(CONFIGURATION, 0), work / f"results/models/{MODEL}/fold_0/manifest.json"
    check_checkpoint(fold / FINAL, read_json(record), record)
    return epoch_seconds(fold)


def train_bare(work: Path, folders: ModelFolders, options: argparse.Namespace) -> list[float]:
    """Train fold 0 from nothing by nnU-Net alone; return the seconds of its epochs."""
    results, trainers = work / "bare_results", work / "bare_trainer"
    shutil.rmtree(results, ignore_errors=True)
    trainers.mkdir(exist_ok=True)
    text = BARE_TRAINER.format(epochs=options.epochs, iterations=options.iterations, validation=options.validation)
    (trainers / "bare_trainer.py").write_text(text, encoding="utf-8")
    with claim_device(options.device, Console(work / "bare.log")) as (device, claimed):
        env = {**environment(folders, options.threads, device), **claimed}
        env |= {"nnUNet_results": str(results), "nnUNet_extTrainer": str(trainers)}
        if device == "cpu" and options.threads == 1:  # as train_fold has it
            env["nnUNet_n_proc_DA"] = "0"
        arguments = [1, CONFIGURATION, 0, "-tr", BARE, "-p", PLANS, "-device", device]
        run_nnunet("nnUNetv2_train", arguments, env, Console(work / "bare.log"))
    return epoch_seconds(results / folders.dataset / f"{BARE}__{PLANS}__{CONFIGURATION}" / "fold_0")


@contextmanager
def working_folder(keep: Path | None) -> Iterator[Path]:
    """Yield the folder to work in: one that is kept, or one that is removed at the end."""
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="train_fold_") as folder:
        yield Path(folder)


def describe_machine(threads: int) -> str:
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"no GPU, {platform.processor() or 'CPU'}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "nnunetv2"))
    return f"{device}, {threads} threads, Python {platform.python_version()}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real cases, laid out as BraTS 2021; phantoms without it")
    parser.add_argument("--cases", type=int, default=10, help="how many phantoms")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6, help="the first is not counted")
    parser.add_argument("--iterations", type=int, default=50, help="per epoch; nnU-Net's own number is 250")
    parser.add_argument(
        "--validation", type=int, default=10, help="validation iterations per epoch; nnU-Net's own number is 50"
    )
    parser.add_argument("--rounds", type=int, default=3)
    # on a CPU bare nnU-Net takes every core
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="fewer than all only where there is a GPU")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", default=None, help="a small network (default without a GPU)")
    size.add_argument("--large", dest="small", action="store_false", help="what nnU-Net plans (default with a GPU)")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it")
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs: at least 2, since the first is not counted")
    on_gpu = options.device != "cpu" and torch.cuda.is_available()
    options.small = not on_gpu if options.small is None else options.small
    print(describe_machine(options.threads), flush=True)
    with working_folder(options.keep) as work:
        (work / "study.yaml").write_text(yaml.safe_dump(study(options)), encoding="utf-8")
        run_workflow(work, f"results/models/{MODEL}/preprocessed.json", options.threads)
        folders = ModelFolders(MODEL, work / f"results/models/{MODEL}/nnunet")
        planned = read_json(folders.preprocessed / f"{PLANS}.json")["configurations"][CONFIGURATION]
        print(
            f"patch {planned['patch_size']}, batch {planned['batch_size']}, {options.iterations} iterations an epoch",
            flush=True,
        )
        contenders = {"bare nnU-Net": train_bare, "glioflow": train_by_workflow}
        seconds: dict[str, list[list[float]]] = {name: [] for name in contenders}
        for number in range(options.rounds):
            for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
                seconds[name].append(contenders[name](work, folders, options))
            both = ", ".join(f"{name} {median(seconds[name][-1]):.3f} s" for name in contenders)
            print(f"round {number + 1}: {both} an epoch", flush=True)
    bare, ours = seconds["bare nnU-Net"], seconds["glioflow"]
    for name, rounds in seconds.items():
        epochs = [second for one in rounds for second in one]
        print(f"{name:14} median {median(epochs):8.3f} s, mean {mean(epochs):8.3f} s an epoch ({len(epochs)} epochs)")
    ratios = [median(of_ours) / median(of_bare) for of_bare, of_ours in zip(bare, ours, strict=True)]
    overhead = 100 * (median(ratios) - 1)
    print(f"ratio {median(ratios):.4f} (rounds: {min(ratios):.4f} to {max(ratios):.4f})")
    print(
        f"overhead {overhead:+.1f} %, target at most {TARGET_PERCENT:g} %: {'met' if overhead <= TARGET_PERCENT else 'missed'}"
    )
    print(f"1000 epochs of 250 iterations at this pace: {clock(median(map(median, ours)) * 1000 * 250 / options.iterations)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was measured to its end")
