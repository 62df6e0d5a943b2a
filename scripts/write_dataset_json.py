"""Describe a model's training cases to nnU-Net: files by path, no image copied, and the folds written before training.

Inputs: ``manifest.csv``, ``split.csv``. Params: ``channels``, ``regions``, ``folds``, ``folds_by`` (a covariate whose
values are the folds, or None). Outputs: ``dataset.json`` and ``splits_final.json``, where nnU-Net looks for them.
"""

from typing import Any

import pandas as pd

from glioflow.cohorts.covariate_folds import fold_values, value_column
from glioflow.cohorts.manifests import read_manifest
from glioflow.cohorts.splits import fold_column
from glioflow.console import Console, count, run_script
from glioflow.files import read_table, write_json
from glioflow.models.nnunet.plans import dataset_json
from glioflow.stored_paths import store_path


def training_cases(manifest: pd.DataFrame, split: pd.DataFrame, channels: list[str], dataset: str) -> dict[str, dict[str, Any]]:
    """Return case -> paths of its images (in channel order) and its label, for the training cases.

    nnU-Net looks for relative ones from the folder of ``dataset``, dataset.json (``nnunetv2/utilities/utils.py``).
    """
    training = split.loc[split["set"] == "train", "case_id"]
    rows = manifest.set_index("case_id").loc[sorted(training)]
    return {
        str(case): {
            "images": [store_path(row[channel], dataset) for channel in channels],
            "label": store_path(row["label"], dataset),
        }
        for case, row in rows.iterrows()
    }


def fold_lists(split: pd.DataFrame, folds: int, folds_by: str | None = None) -> list[dict[str, list[str]]]:
    """Return nnU-Net's splits: for each fold the sorted case ids to train on and to validate on."""
    training = split[split["set"] == "train"]
    if folds_by is None:
        fold_of = training[fold_column(folds)].astype(int)
    else:
        fold_of = training[value_column(folds_by)].map(fold_values(split, folds_by).index)
    return [
        {
            "train": sorted(training.loc[fold_of != fold, "case_id"].astype(str)),
            "val": sorted(training.loc[fold_of == fold, "case_id"].astype(str)),
        }
        for fold in range(folds)
    ]


def main(snakemake: Any, console: Console) -> str:
    """Write dataset.json and splits_final.json."""
    params = snakemake.params
    split = read_table(snakemake.input.split)
    cases = training_cases(read_manifest(snakemake.input.manifest), split, params.channels, snakemake.output.dataset)
    write_json(snakemake.output.dataset, dataset_json(params.channels, params.regions, params.labels, cases))
    write_json(snakemake.output.splits, fold_lists(split, params.folds, params.folds_by))
    return f"{count(len(cases), 'training case')}, {count(params.folds, 'fold')}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
