"""Gather the out-of-fold predictions that training has made: every training case, predicted by the fold that never saw it.

Inputs: ``split.csv``, the folds' ``manifest.json``. Params: ``tta``. Outputs: ``predictions.csv``, the masks are beside it, and
their entropy maps in ``entropy/``; and ``uncertainty``, what the probabilities told of every mask
(``glioflow.models.uncertainty``).
"""

from pathlib import Path
from typing import Any

from glioflow.console import Console, UserError, count, run_script
from glioflow.files import read_table
from glioflow.models.fold_state import read_fold
from glioflow.models.predictions import place, prediction_table, set_members, tta_folders, write_predictions
from glioflow.models.uncertainty import place_map, read_record, record_rows, write_records


def main(snakemake: Any, console: Console) -> str:
    """Link each fold's validation masks into the set and list them."""
    folder = Path(snakemake.output[0]).parent
    folders = tta_folders(folder, snakemake.params.tta)
    split = read_table(snakemake.input.split)
    folds: dict[str, int] = {}
    measured: list[dict[str, Any]] = []
    for path in snakemake.input.folds:
        manifest = read_fold(path)
        validation = manifest["validation"]
        for tta, target in folders.items():
            aside = snakemake.params.tta == "both" and not tta
            source = Path(validation["folder_without_tta"] if aside else validation["folder"])
            for case in validation["cases"]:
                if not (mask := source / f"{case}.nii.gz").exists():
                    raise UserError(f"{case}: {mask} is gone; delete {path} and run again, to have it predicted again")
                entropy_sha256 = place_map(mask, target / mask.name)
                place(mask, target / mask.name)
                measured += record_rows(case, tta, read_record(source, case), entropy_sha256)
                folds[case] = manifest["fold"]
    write_records(snakemake.output.uncertainty, measured)
    patients = dict(zip(split["case_id"], split["patient_id"], strict=True))
    cases = set_members(split, "cv")
    write_predictions(snakemake.output[0], prediction_table(folders, {case: patients[case] for case in cases}, folds))
    return f"{count(len(folds), 'out-of-fold prediction')} of {count(len(snakemake.input.folds), 'fold')}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
