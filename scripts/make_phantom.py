"""Make the ``phantom`` data set: brain-like volumes with a glioma, some of them planted to be hard.

Inputs: none; everything is drawn from the seed.

Outputs: ``output.truth``, ``cohorts/<cohort>/phantom.csv``, written last: one row a case with what was planted, how strongly,
and what came of it. The images go to ``<params.made_in>/<case_id>/<case_id>_{t1,t1ce,t2,flair,seg}.nii.gz``: int16 in scanner
units and canonical labels in uint8, LPS.

Params: ``cases`` and ``seed``; ``planted``, how many cases get each of low_contrast, small_volume and heavy_noise;
``difficulty``, what makes the others harder or easier (graded, volume or none); ``shape``
(voxels) and ``spacing_mm`` (one number or three); ``made_in``, the folder of the images; ``cache``, where finished cases are
recorded. A case whose files are as they were written, from the same plan, grid and generator, is not rendered again.

Columns of the truth: those of ``PhantomCase`` (``strength`` is empty where nothing is planted, ``difficulty`` where all are
alike; ``flair_contrast``,
``rim_contrast`` and ``noise_sd`` have no unit), then what is measured in the rendered volumes: ``flair_tumour_to_brain``, the
mean FLAIR of the whole tumour over that of the brain around it, ``volume_brain_ml`` and ``volume_<REGION>_ml``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.phantom.plan import PLANTED_KINDS, PhantomCase, plan_phantoms
from glioflow.cohorts.phantom.rendering import CHANNELS, Phantom, render_phantom
from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, write_table
from glioflow.imaging.labels import region_mask
from glioflow.imaging.volumes import Volume, write_volume

REGIONS_MEASURED = ("WT", "TC", "ET", "ED", "NCR")


def case_files(folder: Path, case_id: str) -> dict[str, Path]:
    """Return the five files of a case by channel, and ``seg``."""
    return {name: folder / case_id / f"{case_id}_{name}.nii.gz" for name in (*CHANNELS, "seg")}


def spacing_of(value: float | Sequence[float]) -> tuple[float, float, float]:
    """Return the spacing in mm along x, y and z given as one number or three. Raises UserError on anything else."""
    numbers = tuple(value) if isinstance(value, Sequence) else (value,) * 3
    if len(numbers) != 3:
        raise UserError(f"phantom: spacing_mm is {list(numbers)}; one number or three are needed")
    x, y, z = (float(number) for number in numbers)
    return x, y, z


def measure(phantom: Phantom) -> dict[str, float]:
    """Return the volumes in ml and the tumour's FLAIR relative to the brain around it, as rendered."""
    voxel_ml = abs(float(np.prod(np.diag(phantom.affine)[:3]))) / 1000
    flair, brain, tumour = phantom.images["flair"], phantom.images["t1"] > 0, phantom.labels > 0
    values = {
        "flair_tumour_to_brain": float(flair[tumour].mean() / flair[brain & ~tumour].mean()),
        "volume_brain_ml": int(brain.sum()) * voxel_ml,
    }
    for region in REGIONS_MEASURED:
        values[f"volume_{region}_ml"] = int(region_mask(phantom.labels, region).sum()) * voxel_ml
    return values


def write_case(case: PhantomCase, shape: Sequence[int], spacing_mm: Sequence[float], folder: Path) -> dict[str, float]:
    """Render ``case``, write its five files and return what was measured in them."""
    phantom = render_phantom(case, shape, spacing_mm)
    for name, path in case_files(folder, case.case_id).items():
        write_volume(path, Volume(phantom.labels if name == "seg" else phantom.images[name], phantom.affine))
    return measure(phantom)


def case_key(case: PhantomCase, shape: Sequence[int], spacing_mm: Sequence[float]) -> str:
    """Return the content key of a rendered case."""
    grid = {"shape": [int(n) for n in shape], "spacing_mm": [float(s) for s in spacing_mm]}
    return key_of({"code": module_fingerprint("make_phantom"), "case": asdict(case), **grid})


def main(snakemake: Any, console: Console) -> str:
    """Render what is missing, then write the truth table."""
    params = snakemake.params
    folder = Path(params.made_in)
    shape, spacing = tuple(params.shape), spacing_of(params.spacing_mm)
    plan = plan_phantoms(params.cases, params.seed, params.planted, params.difficulty)
    rows, rendered = compute_cases(
        write_case,
        {case.case_id: case for case in plan},
        shape,
        spacing,
        folder,
        threads=snakemake.threads,
        console=console,
        what="cases rendered",
        cache=CaseCache(params.cache),
        keys={case.case_id: case_key(case, shape, spacing) for case in plan},
        files=lambda case_id, _: case_files(folder, case_id).values(),
    )
    write_table(snakemake.output.truth, pd.DataFrame([{**asdict(case), **rows[case.case_id]} for case in plan]))
    numbers = Counter(case.planted for case in plan)
    planted = ", ".join(f"{numbers[kind]} {kind}" for kind in PLANTED_KINDS if numbers[kind]) or "none"
    return f"{count(len(plan), 'case')}, {rendered} rendered now; planted: {planted}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
