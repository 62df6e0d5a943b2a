"""Delete the probabilities of a model once every ensemble of it is made; they take far more room than masks.

Only files of the names that nnU-Net gives to probabilities are deleted, and only where it puts them: those of the validation
cases in the folds' validation folders, and those in the folders of probabilities beside the model's predictions.

Inputs
------
ensembles : predictions.csv of every set of every ensemble that reads the probabilities, which are finished then
folds : the manifest.json of the model's folds

Outputs
-------
probabilities_released.json: how many ``files`` were deleted now and how many ``bytes`` they had, and the ``folders``

Params
------
predictions : the folders of the model's predictions, one a set
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glioflow.console import Console, count, run_script
from glioflow.files import write_json
from glioflow.models.fold_state import read_fold
from glioflow.models.predictions import WITHOUT_TTA, remove_probabilities

FOLDERS = ("probabilities", f"{WITHOUT_TTA}/probabilities")


def probability_folders(
    folds: Sequence[Mapping[str, Any]], predictions: Sequence[Path]
) -> Iterator[tuple[Path, Sequence[str] | None]]:
    """Yield where probabilities may be, and of which cases (None: of any).

    ``folds`` are the folds' manifests, ``predictions`` the folders of predictions.
    """
    for validation in (fold["validation"] for fold in folds):
        for key in ("folder", "folder_without_tta"):
            if key in validation:
                yield Path(validation[key]), validation["cases"]
    yield from ((folder / name, None) for folder in predictions for name in FOLDERS)


def main(snakemake: Any, console: Console) -> str:
    """Delete the files and record how many they were."""
    folds = [read_fold(path) for path in snakemake.input.folds]
    places = probability_folders(folds, [Path(folder) for folder in snakemake.params.predictions])
    removed = {folder.as_posix(): remove_probabilities(folder, cases) for folder, cases in places}
    files, room = (sum(numbers) for numbers in zip((0, 0), *removed.values(), strict=True))
    write_json(snakemake.output[0], {"files": files, "bytes": room, "folders": [name for name, (n, _) in removed.items() if n]})
    return f"{count(files, 'file')} of probabilities deleted, {room / 1e9:.2f} GB"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
