"""Let nnU-Net plan a model, then write the study's own plans from it.

Inputs: ``dataset.json``, ``manifest.csv``. Params: ``model`` (its configuration block), ``labels`` (the cohort's canonical
ones), ``root`` (its nnU-Net folder).
Output: ``glioflowPlans.json``, which describes the model completely. The fingerprint of the cases is taken again only when
their content changed. What nnU-Net planned for a content stays, so that another nnU-Net, which may plan otherwise, trains
nothing again; unless ``retrain_on_upgrade`` asks for it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glioflow.cohorts.manifests import read_manifest
from glioflow.console import Console, count, run_script
from glioflow.files import key_of, read_json, write_json
from glioflow.models.nnunet.commands import PLANS, ModelFolders, environment, run_nnunet
from glioflow.models.nnunet.custom_trainers import try_trainer, write_trainer
from glioflow.models.nnunet.keys import case_hashes, describe, installed
from glioflow.models.nnunet.plans import PLANNERS, customise


def bring_trainer(folders: ModelFolders, spec: str, console: Console) -> None:
    """Write the model's custom trainer where nnU-Net finds it, and check that it does; report what of it has no effect.

    Raises UserError where the trainer cannot be imported or is none of nnU-Net's kind.
    """
    trainer = write_trainer(folders.root / "trainer", spec)
    if lost := try_trainer(folders.trainers, trainer):
        console.say(f"{trainer}: glioflow has its own {', '.join(lost)}; the trainer's have no effect")


def keep_planned(file: Path, key: str) -> dict[str, Any]:
    """Return what nnU-Net planned in ``file``, or what it planned when it first did for what is known by ``key``."""
    kept = file.with_name(f"{file.stem}_kept.json")
    if kept.exists() and (former := read_json(kept))["key"] == key:
        return dict(former["plans"])
    planned = dict(read_json(file))
    write_json(kept, {"key": key, "plans": planned})
    return planned


def plan_words(plans: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Return a model's plans in a line."""
    planned = plans["configurations"][model["configuration"]]
    patch = "x".join(map(str, planned["patch_size"]))
    said = plans["glioflow"].get("epochs")
    epochs = count(said, "epoch") if said else "the trainer's own epochs"
    return f"{model['network']} {model['configuration']}, patch {patch}, batch {planned['batch_size']}, {epochs}"


def main(snakemake: Any, console: Console) -> str:
    """Write glioflowPlans.json."""
    model = snakemake.params.model
    folders = ModelFolders(snakemake.wildcards.model, Path(snakemake.params.root))
    planner, name = PLANNERS[model["network"]]
    env = environment(folders, snakemake.threads, "cpu")
    described = read_json(snakemake.input.dataset)
    hashes = case_hashes(read_manifest(snakemake.input.manifest), model["channels"], list(described["dataset"]))
    key = key_of({"cases": hashes, "dataset": describe(described)})
    stamp = folders.preprocessed / "fingerprint.key"
    fresh = not stamp.exists() or stamp.read_text() != key
    if fresh:
        stamp.unlink(missing_ok=True)
    arguments = ["-d", 1, "--no_pp", "-pl", planner, "-npfp", snakemake.threads, "--no_pbar", *(["--clean"] if fresh else [])]
    run_nnunet("nnUNetv2_plan_and_preprocess", arguments, env, console)
    stamp.write_text(key)
    upgrade = installed("nnunetv2") if model["retrain_on_upgrade"] else None
    planned = keep_planned(folders.preprocessed / f"{name}.json", key_of({"key": key, "upgrade": upgrade}))
    plans = customise(planned, model, PLANS, snakemake.params.labels)
    if model["trainer"]:
        bring_trainer(folders, model["trainer"], console)
    write_json(snakemake.output[0], plans)
    return plan_words(plans, model)


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
