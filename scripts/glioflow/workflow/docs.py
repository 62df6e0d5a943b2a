"""Write config/schema.json, the tables of keys in config/README.md and those of docs/conventions.md from what they are about.

These are the configuration's typed model and the files of config/conventions. Run it after a change of either: ``make docs``. A
test fails while they differ.
"""

import re
from typing import Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from glioflow.evaluation.conventions import (
    Average,
    Convention,
    EmptyRule,
    Percentile,
    conventions,
    lesion_conventions,
)
from glioflow.files import write_json, write_text
from glioflow.study import configuration
from glioflow.study.metric_registry import DISTANCES
from glioflow.study.registry import CONFIG_DIR, datasets

SECTIONS: dict[str, type[configuration.Block]] = {
    "study": configuration.Study,
    "phantom": configuration.PhantomCohort,
    "folders": configuration.FolderCohort,
    "table": configuration.TableCohort,
    "bids": configuration.BidsCohort,
    "grid": configuration.Grid,
    "trained": configuration.TrainedModel,
    "plans": configuration.Plans,
    "swa": configuration.Swa,
    "postprocessing": configuration.Postprocessing,
    "given": configuration.GivenModel,
    "imported": configuration.ImportedModel,
    "ensembles": configuration.Ensemble,
    "evaluation": configuration.Evaluation,
    "failure": configuration.Failure,
    "quality": configuration.Quality,
    "report": configuration.Report,
    "published": configuration.Published,
    "bundle": configuration.Bundle,
    "authors": configuration.Author,
}


def allowed(annotation: Any) -> str:
    """Return a key's allowed values in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " \\| ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in arguments)
    if origin in (list, tuple):
        inner = allowed(arguments[0])
        return f"list of {inner}" if origin is list else f"{len(arguments)} × {inner}"
    if origin is dict:
        return "mapping"
    if hasattr(annotation, "__metadata__"):
        return allowed(arguments[0])
    if arguments:
        return " or ".join(dict.fromkeys(allowed(a) for a in arguments if a is not type(None)))
    names = {str: "text", int: "whole number", float: "number", bool: "`true` \\| `false`"}
    return names.get(annotation, "block")


def default(field: Any) -> str:
    """Return a key's default as YAML shows it."""
    if field.default_factory is not None:
        return "all defaults"
    value = field.default
    if value is PydanticUndefined:
        return "**needed**"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{k}: {v}" for k, v in value.items()) + "}`"
    if isinstance(value, list | tuple):
        return "`[" + ", ".join(map(str, value)) + "]`"
    return f"`{value}`"


def table(block: type[configuration.Block]) -> str:
    """Return the Markdown table of a block's keys."""
    rows = [
        f"| `{name}` | {field.description} | {allowed(field.annotation)} | {default(field)} |"
        for name, field in block.model_fields.items()
    ]
    return "\n".join(["| key | meaning | values | default |", "|---|---|---|---|", *rows])


def fill(page: str) -> str:
    """Return the page with the table of each marked section rewritten."""
    for name, block in SECTIONS.items():
        page = put(page, f"keys: {name}", table(block))
    return put(page, "registry", registry_table())


def put(page: str, name: str, text: str) -> str:
    """Return the page with ``text`` as the section between ``<!-- name -->`` and ``<!-- end -->``."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
    if not re.search(pattern, page, re.DOTALL):
        raise SystemExit(f"the page has no section '<!-- {name} -->'")
    return re.sub(pattern, lambda m: f"{m[1]}{text}\n{m[2]}", page, flags=re.DOTALL)


def registry_table() -> str:
    """Return the Markdown table of the registry of data sets."""
    rows = [
        f"| `{key}` | {entry.title} | {entry.access} | {entry.licence} | `{entry.label_scheme or 'given'}` |"
        for key, entry in datasets().items()
        if entry.access != "made"
    ]
    return "\n".join(["| key | data set | access | licence | label scheme |", "|---|---|---|---|---|", *rows])


def fill_conventions(page: str) -> str:
    """Return the page on conventions with its tables rewritten."""
    for name, text in {
        "distances": distance_table(),
        "empty": empty_table(),
        "lesions": lesion_table(),
        "sources": source_list(),
    }.items():
        page = put(page, f"conventions: {name}", text)
    return page


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *(f"| {' | '.join(row)} |" for row in rows)])


def distance_table() -> str:
    """Return the table of what each convention calls a distance."""
    header = ["convention", "surface", "units", *(f"`{column}`" for column in DISTANCES), "`nsd_<t>mm`", "ranked by"]
    rows = []
    for name, convention in conventions().items():
        definitions = [definition(getattr(convention, column)) for column in DISTANCES]
        tolerances = ", ".join(f"{tolerance:g}" for tolerance in convention.nsd_tolerances_mm) or "–"
        if convention.nsd_surface:
            tolerances += f" (of {convention.nsd_surface})"
        if convention.nsd_directions == "mean":
            tolerances += ", mean of both ways"
        surface = convention.surface if any(cell != "–" for cell in definitions) else "–"
        units = convention.units if surface != "–" else "–"
        ranked = [f"`{column}`" for column in (convention.headline.overlap, convention.headline.distance) if column]
        rows.append([f"`{name}`", surface, units, *definitions, tolerances, ", ".join(ranked)])
    return markdown(header, rows)


def definition(said: Percentile | Average | None) -> str:
    """Return the definition of a distance in words."""
    if said is None:
        return "–"
    if isinstance(said, Average):
        return {"pooled": "all distances", "mean": "mean of both ways"}[said.directions]
    ways = {"maximum": "the longer way", "pooled": "both ways together", "prediction_to_truth": "prediction to truth"}
    return f"{'maximum' if said.percentile == 100 else f'{said.percentile:g} %'}, {ways[said.directions]}"


def empty_table() -> str:
    """Return the table of each convention's rules for a region that a mask, or both, do not have."""
    rows = [
        [f"`{name}`", *(empty_words(convention, rule) for _, rule in convention.empty)]
        for name, convention in conventions().items()
    ]
    return markdown(["convention", "in neither mask", "in the prediction only", "in the truth only"], rows)


def empty_words(convention: Convention, rule: EmptyRule) -> str:
    """Return what a rule has beyond what the formulas give, in words."""
    has = {"distances": any(getattr(convention, column) for column in DISTANCES), "nsd": bool(convention.nsd_columns)}
    said = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in rule
        if value != "formula" and has.get(name, True)
    ]
    return ", ".join(said) or "–"


def lesion_table() -> str:
    """Return the table of how each convention tells lesions apart and counts them."""
    header = ["convention", "dilated, times", "does not count, mm³", "HD95 of a miss, mm", "predicted lesions", "united by"]
    rows = []
    for name in lesion_conventions():
        lesions = conventions()[name].lesions
        assert lesions is not None
        predicted = "as the true ones" if lesions.group_predicted else "single components, of any size"
        united = "; ".join(f"{region} by {', '.join(others)}" for region, others in lesions.united_by.items()) or "–"
        dilated, small = by_value(lesions.dilation), by_value(lesions.min_volume_mm3)
        penalty = lesions.hd95_penalty_mm if isinstance(lesions.hd95_penalty_mm, str) else f"{lesions.hd95_penalty_mm:g}"
        rows.append([f"`{name}`", dilated, small, penalty, predicted, united])
    return markdown(header, rows)


def by_value(numbers: dict[str, int] | dict[str, float]) -> str:
    """Return a number for each region in words, regions of one number together."""
    return "; ".join(
        f"{', '.join(region for region in numbers if numbers[region] == value)}: {value:g}"
        for value in dict.fromkeys(numbers.values())
    )


def source_list() -> str:
    """Return what each convention is, where it was read, and what its tool is known to get wrong."""
    lines = []
    for name, convention in conventions().items():
        lines.append(f"**`{name}`** {convention.about}\n")
        lines += [f"- {source.tool}, {source.version}: {source.file}. {source.note}" for source in convention.sources]
        lines += [f"- Defect `{defect.name}`: {defect.about}" for defect in convention.defects]
        lines.append("")
    return "\n".join(lines[:-1])


if __name__ == "__main__":
    for path, renew in ((CONFIG_DIR / "README.md", fill), (CONFIG_DIR.parent / "docs" / "conventions.md", fill_conventions)):
        write_text(path, renew(path.read_text(encoding="utf-8")))
    write_json(CONFIG_DIR / "schema.json", configuration.Study.model_json_schema())
