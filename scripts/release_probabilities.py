"""Delete the probabilities of a model once every ensemble of it is made; they take far more room than masks.

Only files of the names that nnU-Net gives to probabilities are deleted, and only where it puts them: those of the validation
cases in the folds' validation folders, and those in the folders of probabilities beside the model's predictions. Links are
deleted, not what they lead to.

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
from glioflow.files import read_json, write_json
from glioflow.models.predictions import PROBABILITY_ENDINGS, WITHOUT_TTA

FOLDERS = ("probabilities", f"{WITHOUT_TTA}/probabilities")


def probability_files(folds: Sequence[Mapping[str, Any]], predictions: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of probabilities that exist, given the folds' manifests and the folders of predictions."""
    for fold in folds:
        validation = fold["validation"]
        for folder in [Path(validation[key]) for key in ("folder", "folder_without_tta") if validation.get(key)]:
            for case in validation["cases"]:
                yield from (path for ending in PROBABILITY_ENDINGS if (path := folder / f"{case}{ending}").is_file())
    for folder in [path / name for path in predictions for name in FOLDERS]:
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.suffix in PROBABILITY_ENDINGS and path.is_file())


def main(snakemake: Any, console: Console) -> str:
    """Delete the files and record how many they were."""
    folds = [read_json(path) for path in snakemake.input.folds]
    files, room, folders = 0, 0, dict[str, None]()
    for path in list(probability_files(folds, [Path(folder) for folder in snakemake.params.predictions])):
        room += path.lstat().st_size
        files += 1
        folders[path.parent.as_posix()] = None
        path.unlink()
    write_json(snakemake.output[0], {"files": files, "bytes": room, "folders": list(folders)})
    return f"{count(files, 'file')} of probabilities deleted, {room / 1e9:.2f} GB"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
