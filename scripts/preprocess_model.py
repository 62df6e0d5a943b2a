"""Preprocess a model's training cases with nnU-Net.

Inputs: ``dataset.json``, ``manifest.csv``, ``glioflowPlans.json``. Params: ``configuration``, ``channels``, ``root``. Output:
``preprocessed.json`` (key and its parts); the data are undeclared in the model's nnU-Net folder. With the key unchanged the
step returns at once.
"""

from pathlib import Path
from typing import Any

from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, count, run_script
from glioflow.files import key_of, read_json, write_json
from glioflow.models.nnunet.commands import PLANS, ModelFolders, environment, run_nnunet
from glioflow.models.nnunet.keys import case_hashes, describe, preprocessing_code
from glioflow.models.nnunet.plans import preprocessing_part


def main(snakemake: Any, console: Console) -> str:
    """Preprocess, unless the same data are there already."""
    params = snakemake.params
    folders = ModelFolders(snakemake.wildcards.model, Path(params.root))
    described = read_json(snakemake.input.dataset)
    plans = read_json(snakemake.input.plans)
    hashes = case_hashes(read_manifest(snakemake.input.manifest), params.channels, list(described["dataset"]))
    planned = preprocessing_part(plans, params.configuration)
    parts = {"cases": hashes, "dataset": describe(described), "plans": planned, "code": preprocessing_code()}
    key = key_of(parts)
    stamp = folders.preprocessed / f"{PLANS}_{params.configuration}.key"
    fresh = not stamp.exists() or stamp.read_text() != key
    if fresh:
        stamp.unlink(missing_ok=True)
        arguments = ["-d", 1, "-plans_name", PLANS, "-c", params.configuration, "-np", snakemake.threads, "--no_pbar"]
        run_nnunet("nnUNetv2_preprocess", arguments, environment(folders, snakemake.threads, "cpu"), console)
        stamp.write_text(key)
    write_json(snakemake.output[0], {"key": key, "parts": parts})
    return f"{count(len(hashes), 'case')} {'preprocessed' if fresh else 'unchanged since they were preprocessed'}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
