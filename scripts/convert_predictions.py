"""Bring masks that exist already, from any tool, to canonical labels on their images' grids, so that they can be scored.

Every problem of every mask is listed at once. A mask that is missing is a problem, or counts as an empty one. What is only
doubtful is said at the terminal: masks of other cases, and a label scheme that knows every value and yet seems another's.

Inputs
------
manifest, split : manifest.csv and split.csv of the cohort

Outputs
-------
predictions.csv, with the column ``missing`` behind those of every table of masks: whether the mask is an empty one in place of
one that is missing; the masks lie beside it

Params
------
pattern : path with ``{case}``
scheme, scheme_name : the label scheme of the masks
on_geometry_mismatch : ``error``, or ``use_image_header`` where voxels correspond by index
on_missing : ``error`` or ``count_as_empty``
regions : names of the regions that are scored and that the masks can show
cache : path of the cache
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glioflow.case_cache import CaseCache
from glioflow.code_fingerprint import module_fingerprint
from glioflow.console import Console, UserError, count, run_script
from glioflow.evaluation.scoring import geometry_problems
from glioflow.files import key_of, read_table, sha256_file, write_table
from glioflow.imaging.volumes import Volume, read_labels, read_volume, write_volume
from glioflow.models.precomputed import Counts, count_labels, labels_as, scheme_doubts, unexpected_masks
from glioflow.models.predictions import prediction_table, set_members
from glioflow.parallel import map_unordered

NAMED_CASES = 10
BY_INDEX = "; if the voxels correspond by index, set on_geometry_mismatch: use_image_header"


@dataclass(frozen=True)
class Given:
    """A mask to convert: its case, its file, whether there is one, and its truth."""

    case_id: str
    path: str
    exists: bool
    truth: str


def convert_mask(given: Given, target: Path, rules: Mapping[str, Any]) -> tuple[Counts, list[str]]:
    """Convert one mask to ``target/<case>.nii.gz``; return how its values meet the truth's labels, or its problems."""
    truth = read_labels(given.truth)
    mask = Volume(np.zeros_like(truth.data), truth.affine)
    if given.exists:
        try:
            mask = read_volume(given.path)
        except UserError as error:
            return {}, [f"{given.case_id}, {error}"]
    placed = Volume(mask.data, truth.affine) if rules["on_geometry_mismatch"] == "use_image_header" else mask
    problems = list(geometry_problems(truth, placed, BY_INDEX))
    scheme = {int(raw): int(label) for raw, label in rules["scheme"].items()}
    labels, wrong = labels_as(mask.data, rules["scheme_name"], scheme)
    if problems or labels is None:
        return {}, [f"{given.case_id}, {given.path}: {problem}" for problem in (*problems, *wrong)]
    write_volume(target / f"{given.case_id}.nii.gz", Volume(labels, truth.affine))
    return count_labels(truth.data, mask.data), []


def missing_problems(masks: list[Given], model: str, on_missing: str) -> list[str]:
    """Return the problem of each mask that is missing, where that is one. Raises ``UserError`` where all of them are."""
    missing = [given for given in masks if not given.exists]
    if missing and len(missing) == len(masks):
        raise UserError(
            f"found none of the {count(len(masks), 'mask')} of {model!r}, such as {missing[0].path}; "
            f"expected one for every case: is models.{model}.predictions right?"
        )
    right = "expected one for every case of the cohort (or set evaluation.on_missing: count_as_empty)"
    return [f"{given.case_id}, {given.path}: found no mask; {right}" for given in missing if on_missing == "error"]


def main(snakemake: Any, console: Console) -> str:
    """Convert the masks that are new or changed, and list them all."""
    params, model = snakemake.params, snakemake.wildcards.model
    folder = Path(snakemake.output[0]).parent
    split = read_table(snakemake.input.split)
    manifest = read_table(snakemake.input.manifest).set_index("case_id")
    rules = {"scheme": params.scheme, "scheme_name": params.scheme_name, "on_geometry_mismatch": params.on_geometry_mismatch}
    cache, code = CaseCache(params.cache), module_fingerprint("convert_predictions")
    masks, waiting, keys, counted = [], [], {}, dict[str, Counts]()
    for case in set_members(split, "given"):
        path = params.pattern.replace("{case}", case)
        stat = Path(path).stat() if Path(path).exists() else None
        stamp = [path, stat.st_size, stat.st_mtime_ns] if stat else [path]
        truth = str(manifest.loc[case, "label_sha256"])
        keys[case] = key_of({"code": code, "mask": stamp, "truth": truth, "rules": rules})
        masks.append(Given(case, path, stat is not None, str(manifest.loc[case, "label"])))
        entry, target = cache.get(case, keys[case]), folder / f"{case}.nii.gz"
        if entry and target.exists() and sha256_file(target) == entry["sha256"]:
            counted[case] = entry["counts"]
        elif stat or params.on_missing == "count_as_empty":
            waiting.append(masks[-1])
    problems = missing_problems(masks, model, params.on_missing)
    work = map_unordered(convert_mask, waiting, snakemake.threads, folder, rules)
    for given, (counts, wrong) in console.track(work, len(waiting), "masks converted"):
        problems.extend(wrong)
        if not wrong:
            case = given.case_id
            counted[case] = counts
            cache.put(case, keys[case], {"sha256": sha256_file(folder / f"{case}.nii.gz"), "counts": counts})
    if problems:
        cases = len({problem.partition(",")[0] for problem in problems})
        lines = "\n".join(f"  - {problem}" for problem in sorted(problems))
        raise UserError(f"{count(cases, 'mask')} of {model!r} cannot be scored\n{lines}")
    if extra := unexpected_masks(params.pattern, keys):
        names = ", ".join(extra[:NAMED_CASES]) + (" …" if len(extra) > NAMED_CASES else "")
        console.say(f"warning: {count(len(extra), 'mask')} of no case of the cohort, not scored: {names}")
    for doubt in scheme_doubts(counted.values(), params.scheme_name, params.regions):
        console.say(f"warning: {doubt}")
    patients = dict(zip(split["case_id"], split["patient_id"], strict=True))
    table = prediction_table({None: folder}, patients)
    missing = {given.case_id for given in masks if not given.exists}
    write_table(snakemake.output[0], table.assign(missing=table["case_id"].isin(missing)))
    counted_empty = f", {len(missing)} missing and counted as empty" if missing else ""
    return f"{count(len(patients), 'mask')}, {len(waiting)} converted{counted_empty}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
