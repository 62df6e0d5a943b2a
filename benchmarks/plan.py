"""Time the planning of large studies, and reckon what they cost, for docs/scale.md. `make bench-plan` runs this.

Usage: python benchmarks/plan.py [--cases 100 1251 10000] [--repeats 3]

A study of four models of five folds on a cohort of so many cases is planned by ``snakemake -n``, twice: from nothing, and as a
finished one, where nothing is left to do. The cohort's files are empty, since planning reads no image; the finished study's
outputs are empty files with the records that their jobs would have left. Processor time (user and system) of the whole command
is given, the least of the repeats: on a busy machine it is the steadier figure.

The second table reckons what one model of five folds costs on BraTS 2021 and on 10 000 cases, from the costs of a case in
config/resources.yaml, without its safety. Tables are in Markdown.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from glioflow.workflow.resource_costs import read_costs

ROOT = Path(__file__).resolve().parents[1]
MODELS, FOLDS = 4, 5
CHANNELS = ("t1", "t1ce", "t2", "flair", "seg")
TARGETS_S = {100: 2.5, 1251: 3.0, 10000: 6.0}  # processor time of planning, on the machine that docs/scale.md names
HELD_OUT = 0.2
ITERATIONS = 1000 * (250 + 50)  # of nnU-Net's own training: epochs x (iterations + validation iterations)
VOXELS = 240 * 240 * 155  # of BraTS; nnU-Net crops to the brain, and so takes less
NOT_ASKED = ("ensemble_models", "convert_predictions", "convert_cohort")  # of a study of one model on images as they are
NO_OP_FACTOR = 2  # a run with nothing to do takes at most so many times the planning from nothing

# Run in the place of ``snakemake``: plans, and writes every planned output with the record that its job would leave.
FINISH = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from snakemake.cli import main
from snakemake.dag import DAG

found = []
postprocess = DAG.postprocess


async def noting(self, *arguments, **named):
    await postprocess(self, *arguments, **named)
    found[:] = [self]


DAG.postprocess = noting
try:
    main(sys.argv[1:])
except SystemExit as ended:
    if ended.code:
        raise
import os

from glioflow.job_records import write_records

os.chdir(sys.argv[sys.argv.index("--directory") + 1])
waiting = list(found[0].jobs)
outputs = {str(path): job for job in waiting for path in job.output}
done = set()


def finish(job):
    if job in done:
        return
    done.add(job)
    for path in job.input:
        if str(path) in outputs:
            finish(outputs[str(path)])
    for path in job.output:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(f"{path}\\n")
    parts = {part: [(None, value) for value in getattr(job, part)] for part in ("log",)}
    params, asked = job.params, {"threads": 1, "resources": {}}
    write_records(
        SimpleNamespace(rule=job.rule.name, wildcards=[], input=job.input, output=job.output, params=params, **parts, **asked),
        datetime.now(UTC),
    )


sys.setrecursionlimit(10000)
for job in waiting:
    if job.output:
        finish(job)
"""


def make_study(folder: Path, cases: int) -> None:
    """Write a cohort of empty files and its study."""
    for number in range(cases):
        case = f"BraTS2021_{number:05d}"
        (folder / "data" / case).mkdir(parents=True)
        for channel in CHANNELS:
            (folder / "data" / case / f"{case}_{channel}.nii.gz").touch()
    models = "".join(f"  m{number}: {{cohort: c, folds: {FOLDS}}}\n" for number in range(MODELS))
    (folder / "study.yaml").write_text(
        "cohorts:\n  c: {dataset: brats2021, path: data, test_fraction: 0.2}\n"
        f"models:\n{models}failure: {{extremes: 20}}\nresults: results\n"
    )
    (folder / ".snakemake").mkdir()  # as after the first run: there glioflow keeps what it has parsed of its own code


def run(folder: Path, program: Sequence[str]) -> tuple[float, str]:
    """Return the processor time in seconds of a dry-run, and what it printed."""
    command = [*program, "-n", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--quiet", "rules"]
    command += ["--configfile", str(folder / "study.yaml")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def environment() -> dict[str, str]:
    """Return the environment of a run, in which byte code is kept."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT / "scripts")}


def least(folder: Path, repeats: int) -> tuple[float, int]:
    """Return the least processor time of several plans, and how many jobs were planned."""
    snakemake = [sys.executable, "-m", "snakemake"]
    times, said = zip(*(run(folder, snakemake) for _ in range(repeats)), strict=True)
    totals = [line.split()[1] for line in said[0].splitlines() if line.startswith("total ")]
    return min(times), int(totals[0]) if totals else 0


def planning_rows(sizes: Iterable[int], repeats: int) -> list[str]:
    """Return the rows of the table of planning times."""
    rows = []
    for cases in sizes:
        folder = Path(tempfile.mkdtemp(prefix="glioflow_plan_"))
        try:
            make_study(folder, cases)
            run(folder, [sys.executable, "-m", "snakemake"])  # parses the code
            planned, jobs = least(folder, repeats)
            run(folder, [sys.executable, "-c", FINISH])
            idle, left = least(folder, repeats)
            assert left == 0, f"{left} jobs are planned in a finished study"
            target = f"{TARGETS_S[cases]:.1f}" if cases in TARGETS_S else ""
            rows.append(f"| {cases} | {jobs} | {planned:.1f} | {target} | {idle:.1f} | {NO_OP_FACTOR * planned:.1f} |")
        finally:
            shutil.rmtree(folder)
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def cost_row(cases: int) -> str:
    """Return the row of the table of costs of a study: one model, nnU-Net's own settings, five folds, a fifth held out."""
    rules = read_costs().rules
    gpu = ("train_fold", "predict_cases")
    trained = round(cases * (1 - HELD_OUT))
    training_s = FOLDS * ITERATIONS * rules["train_fold"].seconds_per_iteration
    predicting_s = trained * rules["train_fold"].seconds + (cases - trained) * rules["predict_cases"].seconds
    once = sum(cost.seconds for rule, cost in rules.items() if rule not in (*gpu, *NOT_ASKED))
    preprocessed_gb = trained * VOXELS * (4 * len(CHANNELS[:-1]) + 1) / 1e9
    return f"| {cases} | {(training_s + predicting_s) / 3600:.0f} | {cases * once / 3600:.0f} | {preprocessed_gb:.0f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 1251, 10000])
    parser.add_argument("--repeats", type=int, default=3)
    told = parser.parse_args()
    print("| cases | jobs | planning, s | at most | nothing to do, s | at most |\n|---|---|---|---|---|---|")
    print("\n".join(planning_rows(told.cases, told.repeats)))
    print("\n| cases | GPU-hours | core-hours | preprocessed cases at most, GB |\n|---|---|---|---|")
    print("\n".join(map(cost_row, (1251, 10000))))


if __name__ == "__main__":
    main()
