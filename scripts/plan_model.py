"""Let nnU-Net plan a model, then write the study's own plans from it.

Inputs: ``dataset.json``, ``manifest.csv``. Params: ``model`` (its configuration block), ``root`` (its nnU-Net folder).
Output: ``glioflowPlans.json``, which describes the model completely. The fingerprint of the cases is taken again only when
their content changed.
"""

from pathlib import Path
from typing import Any

from glioflow.console import Console, run_script
from glioflow.files import key_of, read_json, read_table, write_json
from glioflow.nnunet.commands import PLANS, ModelFolders, environment, run_nnunet
from glioflow.nnunet.keys import case_hashes, describe
from glioflow.nnunet.plans import customise


def main(snakemake: Any, console: Console) -> str:
    """Write glioflowPlans.json."""
    model = snakemake.params.model
    folders = ModelFolders(snakemake.wildcards.model, Path(snakemake.params.root))
    env = environment(folders, snakemake.threads, "cpu")
    described = read_json(snakemake.input.dataset)
    hashes = case_hashes(read_table(snakemake.input.manifest), model["channels"], list(described["dataset"]))
    key = key_of({"cases": hashes, "dataset": describe(described)})
    stamp = folders.preprocessed / "fingerprint.key"
    fresh = not stamp.exists() or stamp.read_text() != key
    if fresh:
        stamp.unlink(missing_ok=True)
    arguments = ["-d", 1, "--no_pp", "-npfp", snakemake.threads, "--no_pbar", *(["--clean"] if fresh else [])]
    run_nnunet("nnUNetv2_plan_and_preprocess", arguments, env, console)
    stamp.write_text(key)
    plans = customise(read_json(folders.preprocessed / "nnUNetPlans.json"), model, PLANS)
    write_json(snakemake.output[0], plans)
    planned = plans["configurations"][model["configuration"]]
    patch = "x".join(map(str, planned["patch_size"]))
    return f"{model['configuration']}, patch {patch}, batch {planned['batch_size']}, {model['epochs']} epochs"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
