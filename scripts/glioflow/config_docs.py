"""Write config/schema.json, and the tables of keys in config/README.md, from the configuration's typed model.

Run it after a change of ``glioflow.config``: ``make docs``. A test fails while they differ.
"""

import re
from typing import Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from glioflow import config
from glioflow.files import write_json, write_text
from glioflow.registry import CONFIG_DIR, datasets

SECTIONS: dict[str, type[config.Block]] = {
    "study": config.Study,
    "phantom": config.PhantomCohort,
    "folders": config.FolderCohort,
    "table": config.TableCohort,
    "bids": config.BidsCohort,
    "grid": config.Grid,
    "trained": config.TrainedModel,
    "plans": config.Plans,
    "swa": config.Swa,
    "postprocessing": config.Postprocessing,
    "given": config.GivenModel,
    "imported": config.ImportedModel,
    "ensembles": config.Ensemble,
    "evaluation": config.Evaluation,
    "failure": config.Failure,
    "report": config.Report,
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


def table(block: type[config.Block]) -> str:
    """Return the Markdown table of a block's keys."""
    rows = [
        f"| `{name}` | {field.description} | {allowed(field.annotation)} | {default(field)} |"
        for name, field in block.model_fields.items()
    ]
    return "\n".join(["| key | meaning | values | default |", "|---|---|---|---|", *rows])


def fill(page: str) -> str:
    """Return the page with the table of each marked section written anew."""
    for name, block in SECTIONS.items():
        pattern = rf"(<!-- keys: {name} -->\n).*?(<!-- end -->)"
        if not re.search(pattern, page, re.DOTALL):
            raise SystemExit(f"config/README.md has no section '<!-- keys: {name} -->'")
        page = re.sub(pattern, lambda m, block=block: f"{m[1]}{table(block)}\n{m[2]}", page, flags=re.DOTALL)  # type: ignore[misc]
    return re.sub(
        r"(<!-- registry -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{registry_table()}\n{m[2]}", page, flags=re.DOTALL
    )


def registry_table() -> str:
    """Return the Markdown table of the registry of data sets."""
    rows = [
        f"| `{key}` | {entry.title} | {entry.access} | {entry.licence} | `{entry.label_scheme or 'given'}` |"
        for key, entry in datasets().items()
        if entry.access != "made"
    ]
    return "\n".join(["| key | data set | access | licence | label scheme |", "|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    readme = CONFIG_DIR / "README.md"
    write_text(readme, fill(readme.read_text(encoding="utf-8")))
    write_json(CONFIG_DIR / "schema.json", config.Study.model_json_schema())
