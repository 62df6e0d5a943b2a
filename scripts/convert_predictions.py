"""Bring masks that exist already, from any tool, to canonical labels on their images' grids, so that they can be scored.

Inputs: ``manifest.csv`` and ``split.csv`` of the cohort. Params: ``pattern`` (path with ``{case}``), ``scheme``,
``scheme_name``, ``on_geometry_mismatch``, ``ledger``. Output: ``predictions.csv``; the masks lie beside it. Every problem of
every mask is listed at once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import key_of, read_table, sha256_file, write_table
from glioflow.labels import UnknownLabelsError, canonical_labels, fitting_schemes
from glioflow.ledger import Ledger
from glioflow.parallel import map_unordered
from glioflow.predictions import prediction_table, set_members
from glioflow.registry import label_schemes
from glioflow.volumes import Volume, affine_distance_mm, read_labels, read_volume, same_geometry, write_volume


def convert_mask(item: tuple[str, str, str], target: Path, rules: Mapping[str, Any]) -> str | None:
    """Convert one mask to ``target/<case>.nii.gz``; return its problem, or None. ``item``: case id, mask path, truth path."""
    case, path, truth_path = item
    if not Path(path).exists():
        return f"{case}, {path}: found no mask; expected one for every case of the cohort"
    try:
        mask = read_volume(path)
    except UserError as error:
        return f"{case}, {error}"
    truth = read_labels(truth_path)
    if mask.data.shape != truth.data.shape:
        return f"{case}, {path}: found shape {mask.data.shape}; expected {truth.data.shape} as the truth"
    if rules["on_geometry_mismatch"] == "error" and not same_geometry(mask, truth):
        return (
            f"{case}, {path}: found an affine that puts a corner {affine_distance_mm(mask, truth):.3g} mm from the truth's; "
            "expected the same; if the voxels correspond by index, set on_geometry_mismatch: use_image_header"
        )
    scheme = {int(raw): int(label) for raw, label in rules["scheme"].items()}
    try:
        labels, _ = canonical_labels(mask.data, scheme)
    except UnknownLabelsError as error:
        fitting = fitting_schemes(error.values, label_schemes())
        would = f"; {count(len(fitting), 'scheme')} would fit: {', '.join(fitting)}" if fitting else ""
        values = ", ".join(f"{value:g}" for value in error.unknown[:10])
        return f"{case}, {path}: found the values {values}; expected those of the scheme {rules['scheme_name']!r}{would}"
    write_volume(target / f"{case}.nii.gz", Volume(labels, truth.affine))
    return None


def main(snakemake: Any, console: Console) -> str:
    """Convert the masks that are new or changed, and list them all."""
    params = snakemake.params
    folder = Path(snakemake.output[0]).parent
    split = read_table(snakemake.input.split)
    manifest = read_table(snakemake.input.manifest).set_index("case_id")
    rules = {"scheme": params.scheme, "scheme_name": params.scheme_name, "on_geometry_mismatch": params.on_geometry_mismatch}
    ledger = Ledger(params.ledger)
    items, keys = [], {}
    for case in set_members(split, "given"):
        path = params.pattern.replace("{case}", case)
        truth = str(manifest.loc[case, "label"])
        stat = Path(path).stat() if Path(path).exists() else None
        stamp = [path, stat.st_size, stat.st_mtime_ns] if stat else [path]
        keys[case] = key_of({"mask": stamp, "truth": str(manifest.loc[case, "label_sha256"]), "rules": rules})
        entry, target = ledger.get(case, keys[case]), folder / f"{case}.nii.gz"
        if not (entry and target.exists() and sha256_file(target) == entry["sha256"]):
            items.append((case, path, truth))
    problems = []
    work = map_unordered(convert_mask, items, snakemake.threads, folder, rules)
    for (case, _, _), problem in console.track(work, len(items), "masks converted"):
        if problem:
            problems.append(problem)
        else:
            ledger.put(case, keys[case], {"sha256": sha256_file(folder / f"{case}.nii.gz")})
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in sorted(problems))
        raise UserError(f"{count(len(problems), 'mask')} of {snakemake.wildcards.model!r} cannot be scored\n{lines}")
    patients = dict(zip(split["case_id"], split["patient_id"], strict=True))
    write_table(snakemake.output[0], prediction_table({None: folder}, patients))
    return f"{count(len(patients), 'mask')}, {len(items)} converted"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
