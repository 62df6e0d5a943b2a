"""Build the report of a large study and use it in a browser, for docs/scale.md. `make bench-report` runs this.

Usage: python benchmarks/report.py [--cases 1251] [--folder FOLDER]

So many phantoms on a coarse grid are a cohort, and their masks, moved and eroded and some of them with a false part, the
precomputed predictions of a model. The study is run to its end, its report is built once more by itself, and then opened from
disk in headless Chromium, which types into the filter of the table of all cases. Given are the time and the memory of
`write_report` as Snakemake's benchmark has them, the time until the page can be used, and from a key to the next picture.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/e2e"))

import numpy as np
import pandas as pd
import yaml
from devtools import Page, open_page
from scipy import ndimage

from glioflow.benchmarks import read_benchmark
from glioflow.cohorts.phantom.plan import PhantomCase, plan_phantoms
from glioflow.files import write_table
from glioflow.imaging.volumes import Volume, read_labels, write_volume
from glioflow.parallel import map_unordered
from make_phantom import write_case

ROOT = Path(__file__).resolve().parents[1]
SHAPE, SPACING_MM = (45, 57, 45), (3.5, 3.5, 3.5)
AT_MOST = {"build, s": 120.0, "memory, GB": 2.0, "page, s": 2.0, "filter, ms": 100.0}
CHANNELS = ("t1", "t1ce", "t2", "flair")
TYPED = ("phantom_0", "phantom_01", "", "1 wt", "", "phantom_12", "9", "", "77")


def make_case(case: PhantomCase, folder: Path) -> None:
    """Write a case, and a prediction that is wrong as it happens: moved by a voxel, eroded, or with a part that is false."""
    write_case(case, SHAPE, SPACING_MM, folder / "cases")
    truth = read_labels(folder / "cases" / case.case_id / f"{case.case_id}_seg.nii.gz")
    chance = np.random.default_rng(case.seed)
    labels = ndimage.shift(truth.data, chance.integers(-1, 2, 3), order=0)
    if chance.random() < 0.3:
        labels = labels * ndimage.binary_erosion(labels > 0)
    if chance.random() < 0.2:
        corner = chance.integers(8, 30, 3)
        labels[tuple(slice(start, start + 3) for start in corner)] = 2
    write_volume(folder / "masks" / f"{case.case_id}.nii.gz", Volume(labels.astype(np.uint8), truth.affine))


def make_study(folder: Path, cases: int, threads: int) -> None:
    """Write the cases, their covariates, the masks, and the study that is run on them."""
    plan = plan_phantoms(cases, 0, {"low_contrast": cases // 10, "small_volume": cases // 10})
    for made, _ in enumerate(map_unordered(make_case, plan, threads, folder), start=1):
        if made % 250 == 0:
            print(f"{made} of {cases} cases made", flush=True)
    covariates = [{"case_id": c.case_id, "planted": c.planted or "none", "radius_mm": c.tumour_radius_mm} for c in plan]
    write_table(folder / "covariates.csv", pd.DataFrame(covariates))
    study = {
        "results": "results",
        "cohorts": {
            "large": {
                "dataset": "folders",
                "path": "cases",
                "files": {role: f"{{case}}/{{case}}_{role}.nii.gz" for role in CHANNELS}
                | {"label": "{case}/{case}_seg.nii.gz"},
                "label_scheme": "brats2023",
                "covariates": "covariates.csv",
            }
        },
        "models": {"m": {"cohort": "large", "label_scheme": "brats2023", "predictions": "masks/{case}.nii.gz"}},
        "failure": {"extremes": 20},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def run(folder: Path, threads: int, *arguments: str) -> None:
    """Run Snakemake on the study until it is done."""
    snakefile = str(ROOT / "Snakefile")
    command = ["-m", "snakemake", "--snakefile", snakefile, "--configfile", "study.yaml", "--quiet", "all"]
    subprocess.run([sys.executable, *command, "--cores", str(threads), *arguments], cwd=folder, check=True)


def from_key_to_picture_ms(page: Page) -> list[float]:
    """Return how long it takes from each change of the filter to the next picture."""
    return [
        page.run(
            "new Promise((done) => { const f = document.querySelector('[name=find]'); const t = performance.now();"
            f"f.value = {text!r}; f.dispatchEvent(new Event('input', {{bubbles: true}}));"
            "requestAnimationFrame(() => setTimeout(() => done(performance.now() - t))); })"
        )
        for text in TYPED * 3
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1251)
    parser.add_argument("--folder", type=Path, help="where the study is kept, and gone on with; else it is thrown away")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = (options.folder or Path(place)).resolve()
        if not (folder / "study.yaml").exists():
            make_study(folder, options.cases, options.threads)
        run(folder, options.threads)
        run(folder, options.threads, "--forcerun", "write_report")
        built = read_benchmark(folder / "results/benchmarks/write_report.tsv")
        page_file = folder / "results/report/index.html"
        ready, keys = [], []
        for _ in range(3):
            with open_page(page_file) as page:
                ready.append(page.run("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)
                keys += from_key_to_picture_ms(page)
        measured = {
            "build, s": built.seconds,
            "memory, GB": (built.peak_mb or 0) * 2**20 / 10**9,
            "page, s": statistics.median(ready),
            "filter, ms": statistics.median(keys),
        }
        print(f"{options.cases} cases; index.html {page_file.stat().st_size / 1e6:.1f} MB")
        print("| measured | value | at most |\n|---|---|---|")
        for name, value in measured.items():
            print(f"| {name} | {value:.3g} | {AT_MOST[name]:g} |")


if __name__ == "__main__":
    main()
