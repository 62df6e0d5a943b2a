"""The report on what the scores mean: the study's convention of metrics in sentences, made from its parameters."""

from glioflow.evaluation.conventions import Average, Convention, EmptyRule, Percentile
from glioflow.report.tables import join_words
from glioflow.study.metric_registry import find_metric

# The distances that the page's tables show.
SHOWN = ("hausdorff", "hd95_mm", "assd_mm")
ELEMENTS = {
    "voxels": "between the centres of surface voxels, each of equal weight",
    "areas": "between surface elements, each weighed by its area",
    "mask": "between the centres of all voxels of the masks, not of their surfaces alone",
}
AVERAGES = {"pooled": "the mean of the distances of both directions together", "mean": "the mean of the two directed means"}
VALUES = {"diagonal": "the diagonal of the image"}


def definition_words(convention: Convention) -> list[str]:
    """Return what the scores of a study mean under its convention, and what they are of an empty mask, as sentences."""
    empty = convention.empty
    both = empty_words(empty.both, convention, no_truth=True, no_prediction=True)
    truth = empty_words(empty.truth, convention, no_truth=True, no_prediction=False)
    prediction = empty_words(empty.prediction, convention, no_truth=False, no_prediction=True)
    return [
        distance_words(convention),
        f"Where neither mask has the region, {both}; where the truth alone lacks it, {truth}; where the prediction alone "
        f"lacks it, {prediction}.",
    ]


def distance_words(convention: Convention) -> str:
    """Return in a sentence what each distance that the page shows is."""
    defined = {find_metric(name).short: getattr(convention, name) for name in SHOWN if getattr(convention, name)}
    if not defined:
        return "It defines no distance."
    words = {
        name: AVERAGES[how.directions] if isinstance(how, Average) else percentile_words(how) for name, how in defined.items()
    }
    parts = join_words(f"{name} is {meaning}" for name, meaning in words.items())
    return f"{parts}. Distances are in {convention.units}, {ELEMENTS[convention.surface]}."


def percentile_words(how: Percentile) -> str:
    """Return what a Hausdorff distance is."""
    name = "maximum" if how.percentile == 100 else f"{how.percentile:g}th percentile"
    return {
        "maximum": f"the larger of the two directed {'maxima' if how.percentile == 100 else f'{name}s'}",
        "pooled": f"the {name} of the distances of both directions together",
        "prediction_to_truth": f"the {name} of the distances from the prediction to the truth",
    }[how.directions]


def empty_words(rule: EmptyRule, convention: Convention, no_truth: bool, no_prediction: bool) -> str:
    """Return what Dice, sensitivity and distances are where the truth, the prediction or both lack a region."""
    formulas = {"dice": "undefined" if no_truth and no_prediction else "0", "sens": "undefined" if no_truth else "0"}
    said = {"Dice": formulas["dice"] if rule.dice == "formula" else rule.dice}
    said["sensitivity"] = formulas["sens"] if rule.sens == "formula" else rule.sens
    words = [f"{name} is {value_words(value)}" for name, value in said.items()]
    if any(getattr(convention, name) for name in SHOWN):
        number = f" {convention.units}" if isinstance(rule.distances, float) and rule.distances else ""
        words.append(f"distances are {value_words(rule.distances)}{number}")
    return join_words(words)


def value_words(value: float | str) -> str:
    """Return a value of an empty mask in words."""
    return VALUES.get(value, value) if isinstance(value, str) else f"{value:g}"
