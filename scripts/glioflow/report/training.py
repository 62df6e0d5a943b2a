"""The report on a trained model: its settings, its curves and its folds."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from glioflow.cohorts.covariate_folds import fold_values
from glioflow.console import count
from glioflow.files import read_json
from glioflow.formatting import UNDEFINED, number
from glioflow.imaging.labels import REGION_NAMES
from glioflow.models.nnunet.keys import training_code
from glioflow.report.figures import draw_curves
from glioflow.report.plotting import CHANNEL_NAMES
from glioflow.report.source import NETWORK_WORDS, Source, embed_figure, trainer_name
from glioflow.report.tables import Cell, Table, count_cell, day, join_words, number_cell, slug

PLAN_WORDS = {"patch_size": "patch", "batch_size": "batch size", "n_stages": "stages", "base_features": "base features"}
LOSS_WORDS = {"dice_ce": "Dice and cross-entropy", "soft_dice": "Dice", "focal_ce": "focal loss and cross-entropy"}
OPTIMISER_WORDS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "ranger": "Ranger (RAdam with Lookahead)"}
SCHEDULE_WORDS = {"poly": "falling polynomially", "cosine": "falling as a cosine", "constant": "constant"}
TTA_FACTS = {
    True: "with test-time augmentation (mirroring)",
    False: "without test-time augmentation (mirroring)",
    "both": "with and without test-time augmentation (mirroring)",
}
STEP_WORDS = {
    "largest_component": "only the largest component of {region} stays",
    "min_volume_ml": "components of {region} below {value:g} ml are dropped",
    "et_threshold_ml": "{region} below {value:g} ml in total is dropped",
}
OWN = "the trainer's own"


def training_section(source: Source, name: str) -> dict[str, Any]:
    """Return what the page shows of a trained model."""
    model = source.study["models"][name]
    curves = {fold: table for fold in range(source.trained[name]) if len(table := source.curves(name, fold))}
    last = {fold: table.iloc[-1] for fold, table in curves.items()}
    ends = ", ".join(f"fold {fold} {number(line['val_loss'], 2)}" for fold, line in last.items())
    alt = f"Losses and pseudo-Dice of {name} over the epochs, one line a fold. Last validation loss: {ends}."
    return {
        "name": name,
        "anchor": slug("model", name),
        "facts": model_facts(source, name),
        "figure": embed_figure(draw_curves(curves), alt) if curves else None,
        "table": fold_table(name, source.folds[name], model["regions"], last, fold_names(source, name)),
    }


def fold_names(source: Source, name: str) -> list[str]:
    """Return what each fold of a model is called: its number, and the value that it leaves out if folds are by a covariate."""
    model = source.study["models"][name]
    if not model["folds_by"]:
        return [str(fold) for fold in range(source.trained[name])]
    values = fold_values(source.cohort_table(model["cohort"], "split"), model["folds_by"])
    return [f"{fold} ({value})" for fold, value in enumerate(values)]


def model_facts(source: Source, name: str) -> list[tuple[str, str]]:
    """Return a trained model's settings, as pairs of a term and its description."""
    model = source.study["models"][name]
    settings = said_settings(model, source.folds[name])
    facts = [
        ("Cohort", model["cohort"]),
        ("Channels", join_words(CHANNEL_NAMES[channel] for channel in model["channels"])),
        ("Regions", join_words(f"{region} ({REGION_NAMES[region]})" for region in model["regions"])),
        ("Network", network_words(model)),
    ]
    if model["trainer"]:
        facts.append(("Trainer", f"{trainer_name(model)}, the study's own; it decides what the study does not say"))
    if model["folds_by"]:
        facts.append(("Folds", f"each validates on the patients of one {model['folds_by']}"))
    facts += [("Loss", loss_words(settings)), ("Optimiser", optimiser_words(settings))]
    facts.append(("Training", f"{epoch_words(settings)}, seed {model['seed']}"))
    if swa := settings.get("swa"):
        facts.append(("Stochastic weight averaging", averaging_words(swa)))
    facts.append(("Prediction", TTA_FACTS[model["tta"]]))
    facts.append(("Trained with", condition_words(source.folds[name], training_code())))
    if model["postprocessing"]:
        file = source.existing(source.root / "models" / name / "postprocessing.json")
        facts.append(("Post-processing", postprocessing_words(read_json(file)["steps"])))
    return facts


def condition_words(folds: Sequence[Mapping[str, Any]], today: Mapping[str, str]) -> str:
    """Return in words by what code the folds were trained, and how it differs from ``today``'s.

    ``today``: what ``training_code`` returns. Of folds that were trained before glioflow kept a record, it is not known.
    """
    groups: dict[str, list[int]] = {}
    for manifest in folds:
        known = [one for one in manifest.get("trained_with", ()) if one["code"]]
        said = list(dict.fromkeys(code_words(one, today) for one in known)) or ["not recorded when it was trained"]
        groups.setdefault(", then ".join(said), []).append(int(manifest["fold"]))
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"fold {join_words(map(str, numbers))}: {said}" for said, numbers in groups.items())


def code_words(condition: Mapping[str, Any], today: Mapping[str, str]) -> str:
    """Return in words the code of a record of training, and how it differs from ``today``'s."""
    found = {"code": condition["code"], **{name: condition["versions"].get(name, "") for name in ("nnunetv2", "torch")}}
    words = [f"nnU-Net {found['nnunetv2']}", f"torch {found['torch']}", f"glioflow's trainer {found['code'][:8]}"]
    other = {name for name, value in found.items() if today[name] and value != today[name]}
    if not other:
        return join_words(words)
    names = {"nnunetv2": f"nnU-Net {today['nnunetv2']}", "torch": f"torch {today['torch']}"}
    changed = [names.get(name, f"glioflow's trainer {today['code'][:8]}") for name in found if name in other]
    return f"{join_words(words)} (today it would be {join_words(changed)}; retrain_on_upgrade trains again)"


def said_settings(model: Mapping[str, Any], folds: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the settings of a model's training: of one with a trainer of its own, those that its folds were told."""
    if not model["trainer"]:
        return model
    settings: Mapping[str, Any] = folds[0].get("parts", {}).get("plans", {}).get("settings", {})
    return settings


def network_words(model: Mapping[str, Any]) -> str:
    """Return in words what network a model has, and what of it the study chose."""
    overrides = [f"{PLAN_WORDS[key]} {plan_value(value)}" for key, value in model["plans"].items() if value is not None]
    chosen = f"with {join_words(overrides)}" if overrides else "as nnU-Net plans it"
    return f"{NETWORK_WORDS[model['network']]} {model['configuration']}, {chosen}"


def loss_words(settings: Mapping[str, Any]) -> str:
    """Return in words what a training minimised; ``settings`` lack what the trainer decided."""
    loss = LOSS_WORDS.get(settings.get("loss", ""), OWN)
    deep = {True: ", with deep supervision", False: ", without deep supervision"}
    return loss + deep.get(settings.get("deep_supervision"), "")  # type: ignore[arg-type]


def optimiser_words(settings: Mapping[str, Any]) -> str:
    """Return in words how a training moved the weights; ``settings`` lack what the trainer decided."""
    parts = [OPTIMISER_WORDS.get(settings.get("optimiser", ""), OWN)]
    rate = f"{settings['initial_lr']:g}" if "initial_lr" in settings else ""
    if words := f"{rate} {SCHEDULE_WORDS.get(settings.get('schedule', ''), '')}".strip():
        parts.append(f"learning rate {words}")
    if settings.get("weight_decay") is not None:
        parts.append(f"weight decay {settings['weight_decay']:g}")
    return ", ".join(parts)


def epoch_words(settings: Mapping[str, Any]) -> str:
    """Return in words how long a training was; ``settings`` lack what the trainer decided."""
    epochs = count(settings["epochs"], "epoch") if "epochs" in settings else f"{OWN} epochs"
    if "iterations_per_epoch" not in settings:
        return epochs
    return f"{epochs} of {count(settings['iterations_per_epoch'], 'iteration')}"


def averaging_words(swa: Mapping[str, Any]) -> str:
    """Return in words the cycles of weight averaging that followed the epochs."""
    cycles = f"{count(swa['cycles'], 'cycle')} of {count(swa['epochs_per_cycle'], 'epoch')} after them"
    added = f"weights added every {count(swa['update_every'], 'epoch')}"
    return f"{cycles}, {added}, learning rate {swa['initial_lr']:g} at the start of each"


def postprocessing_words(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return in words the steps that were kept of those tried."""
    words = [STEP_WORDS[step["operation"]].format(region=step["region"], value=step["value"] or 0) for step in steps]
    return "; ".join(words) or "none: no step that was tried helped on cv"


def plan_value(value: int | Sequence[int]) -> str:
    """Return a plan's value for people: ``48 × 48 × 48``."""
    return str(value) if isinstance(value, int) else " × ".join(map(str, value))


def fold_table(
    name: str,
    folds: Sequence[Mapping[str, Any]],
    regions: Sequence[str],
    last: Mapping[int, pd.Series],
    names: Sequence[str],
) -> Table:
    """Return one row a fold: its name, on how many cases, how long and on what it was trained, where its curves ended.

    ``last``: the last row of each fold's curves; ``names``: of the folds, by number.
    """
    rows = []
    for manifest in folds:
        end = last.get(int(manifest["fold"]), pd.Series(dtype=float))
        sizes = [manifest.get("parts", {}).get("cases"), manifest.get("validation", {}).get("cases")]
        finished = manifest.get("finished_at")
        rows.append(
            [
                Cell(names[int(manifest["fold"])]),
                *(count_cell(None if cases is None else len(cases)) for cases in sizes),
                count_cell(manifest.get("epochs")),
                number_cell(manifest.get("seconds_per_epoch"), 1),
                Cell(str(manifest.get("device") or UNDEFINED)),
                number_cell(end.get("val_loss"), 3),
                *(number_cell(end.get(f"pseudo_dice_{region}"), 3) for region in regions),
                Cell(day(datetime.fromisoformat(finished)) if finished else UNDEFINED),
            ]
        )
    columns = [
        *("Fold", "Training cases", "Validation cases", "Epochs", "Epoch (s)", "Device", "Loss"),
        *(f"Pseudo-Dice {region}" for region in regions),
        "Finished",
    ]
    numeric = frozenset(range(1, len(columns))) - {columns.index("Device")}
    return Table(f"The folds of {name}. Validation loss and pseudo-Dice are those of the last epoch.", columns, rows, numeric)
