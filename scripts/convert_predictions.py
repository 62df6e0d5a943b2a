"""Bring precomputed predictions, masks from any tool, to canonical labels on their images' grids, so that they can be scored.

Every problem of every mask is listed at once. A mask that is missing is a problem, or counts as an empty one. Masks of other
cases, and a label scheme that knows every value and yet seems another's, are warnings, which the report shows.

Inputs
------
manifest, split : manifest.csv and split.csv of the cohort

Outputs
-------
predictions.csv, with the column ``missing`` after those of every table of masks: whether the mask is an empty one in place of
one that is missing; the masks are beside it
warnings.csv, with the columns of verification.csv

Params
------
pattern : path with ``{case}``
scheme, scheme_name : the label scheme of the masks
on_geometry_mismatch : ``error``, or ``use_image_header`` where voxels correspond by index
grid : whether the cohort's images were brought to a common grid; masks of those that were changed follow by their headers
converted : the folder of images that were changed
on_missing : ``error`` or ``count_as_empty``
regions : names of the regions that are scored and that the masks can show
cache : path of the cache
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.code_fingerprint import module_fingerprint
from glioflow.cohorts.grids import outer_corners, regrid_mask, turn
from glioflow.cohorts.layouts import file_stamps
from glioflow.cohorts.manifests import read_manifest
from glioflow.cohorts.problems import PROBLEM_COLUMNS, Problem, problem_row
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.scoring import geometry_problems
from glioflow.files import key_of, read_table, write_table
from glioflow.imaging.headers import ONE_READING
from glioflow.imaging.placement import BY_INDEX, place_mask
from glioflow.imaging.volumes import Volume, orientation, read_labels, read_volume, write_volume
from glioflow.models.precomputed import Counts, MaskPair, count_labels, labels_as, scheme_warnings, unexpected_masks
from glioflow.models.predictions import prediction_table, set_members, write_predictions
from glioflow.study.registry import CHANNELS

NAMED_CASES = 10


def convert_mask(pair: MaskPair, target: Path, rules: Mapping[str, Any], regridded: Collection[str] = ()) -> Counts:
    """Convert the prediction of a pair to ``target/<case>.nii.gz``; return how its values meet the truth's labels.

    ``regridded``: ids of the cases that the cohort's grid changed. Raises ``UserError``, with a line for each problem, where
    the prediction cannot be converted.
    """
    truth = read_labels(pair.truth)
    mask = Volume(np.zeros_like(truth.data), truth.affine)
    if pair.prediction:
        try:
            mask = read_volume(pair.prediction)
        except UserError as error:
            raise UserError(f"{pair.case_id}, {error}") from None
    if pair.case_id in regridded:
        mask, problems = mask_on_grid(mask, truth)
    else:
        problems = list(geometry_problems(truth, place_mask(mask, truth, rules["on_geometry_mismatch"]), BY_INDEX))
    scheme = {int(raw): int(label) for raw, label in rules["scheme"].items()}
    labels, wrong = labels_as(mask.data, rules["scheme_name"], scheme)
    if problems or labels is None:
        raise UserError(*(f"{pair.case_id}, {pair.prediction}: {problem}" for problem in (*problems, *wrong)))
    write_volume(target / f"{pair.case_id}.nii.gz", Volume(labels, truth.affine))
    return count_labels(truth.data, mask.data)


def mask_on_grid(mask: Volume, truth: Volume) -> tuple[Volume, list[str]]:
    """Return a mask brought by its header to the grid that its case's images were brought to, or what is wrong with it.

    Its voxels do not correspond to those of the images by index any more, so that its header has to give the place.
    """
    if not mask.is_placed:
        return mask, [f"found {mask.misplaced}; expected {ONE_READING}"]
    if (moved := regrid_mask(mask, truth)) is None:
        corner = np.abs(outer_corners(turn(mask, orientation(truth))) - outer_corners(truth)).max()
        found = f"found a mask that ends up to {corner:.3g} mm from where its images do (its axes point {orientation(mask)})"
        right = "expected one on the grid of the images as they were, or as the cohort's `grid` has them"
        return mask, [f"{found}; {right}"]
    return moved, []


def missing_problems(missing: Mapping[str, str], cases: int, model: str, on_missing: str) -> list[str]:
    """Return the problem of each mask that is missing, where that is one. Raises ``UserError`` where those of all cases are."""
    if missing and len(missing) == cases:
        raise UserError(
            f"found none of the {count(cases, 'mask')} of {model!r}, such as {next(iter(missing.values()))}; "
            f"expected one for every case: is models.{model}.predictions right?"
        )
    right = "expected one for every case of the cohort (or set evaluation.on_missing: count_as_empty)"
    return [f"{case}, {path}: found no mask; {right}" for case, path in missing.items() if on_missing == "error"]


def mask_warnings(extra: Sequence[str], schemes: Sequence[str]) -> list[Problem]:
    """Return a warning of masks of no case (``extra``: their ids), and one of each sentence about the label scheme."""
    names = ", ".join(extra[:NAMED_CASES]) + (" …" if len(extra) > NAMED_CASES else "")
    found = f"{count(len(extra), 'mask')} of no case of the cohort, not scored: {names}"
    unexpected = (
        [problem_row("", "", "mask_of_no_case", found, "masks of the cohort's cases alone", "warning")] if extra else []
    )
    expected = "the label scheme that the masks were written in"
    return [*unexpected, *(problem_row("", "", "label_scheme", scheme, expected, "warning") for scheme in schemes)]


def file_stamp(path: str) -> list[str | int]:
    """Return what a mask's content is known by: its path, and where there is a file its size and time of change."""
    stat = Path(path).stat() if Path(path).exists() else None
    return [path, stat.st_size, stat.st_mtime_ns] if stat else [path]


def is_converted(case: pd.Series, folder: str) -> bool:
    """Tell whether an image of a case (a row of the manifest) was written again, into ``folder``."""
    return any(str(case.get(channel, "")).startswith(f"{folder}/") for channel in CHANNELS)


def main(snakemake: Any, console: Console) -> str:
    """Convert the masks that are new or changed, and list them all."""
    params, model = snakemake.params, snakemake.wildcards.model
    folder = Path(snakemake.output.predictions).parent
    split = read_table(snakemake.input.split)
    manifest = read_manifest(snakemake.input.manifest).set_index("case_id")
    rules = {"scheme": params.scheme, "scheme_name": params.scheme_name, "on_geometry_mismatch": params.on_geometry_mismatch}
    paths = {case: params.pattern.replace("{case}", case) for case in set_members(split, "given")}
    stamps = dict(zip(paths, file_stamps(paths.values()), strict=True))
    missing = {case: path for case, path in paths.items() if len(stamps[case]) == 1}
    problems = missing_problems(missing, len(paths), model, params.on_missing)
    pairs = {
        case: MaskPair(case, str(manifest.loc[case, "label"]), None if case in missing else path)
        for case, path in paths.items()
        if case not in missing or params.on_missing == "count_as_empty"
    }
    regridded = {case for case in pairs if params.grid and is_converted(manifest.loc[case], params.converted)}
    code = module_fingerprint("convert_predictions")
    parts = {
        case: {"mask": stamps[case], "truth": str(manifest.loc[case, "label_sha256"]), "regridded": case in regridded}
        for case in pairs
    }
    counted, converted = compute_cases(
        convert_mask,
        pairs,
        folder,
        rules,
        regridded,
        threads=snakemake.threads,
        console=console,
        what="masks converted",
        cache=CaseCache(params.cache),
        keys={case: key_of({"code": code, **parts[case], "rules": rules}) for case in pairs},
        files=lambda case, _: [folder / f"{case}.nii.gz"],
        problems=problems,
    )
    if problems:
        cases = len({problem.partition(",")[0] for problem in problems})
        lines = "\n".join(f"  - {problem}" for problem in sorted(problems))
        raise UserError(f"{count(cases, 'mask')} of {model!r} cannot be scored\n{lines}")
    schemes = scheme_warnings(counted.values(), params.scheme_name, params.regions)
    warnings = mask_warnings(unexpected_masks(params.pattern, paths), schemes)
    for warning in warnings:
        console.say(f"warning: {warning['found']}")
    write_table(snakemake.output.warnings, pd.DataFrame(warnings, columns=PROBLEM_COLUMNS))
    patients = dict(zip(split["case_id"], split["patient_id"], strict=True))
    table = prediction_table({None: folder}, patients)
    write_predictions(snakemake.output.predictions, table.assign(missing=table["case_id"].isin(missing)))
    counted_empty = f", {len(missing)} missing and counted as empty" if missing else ""
    return f"{count(len(patients), 'mask')}, {converted} converted{counted_empty}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
