"""Write the study's report: one HTML page that needs no network and no script, and no other file but for its viewer.

Inputs:  the tables and figures of every stage, listed for their order only; they are found below ``results``.
Outputs: ``index.html``; ``niivue.js``, the library of its viewer, which the page loads where a reader asks for it;
         ``references.bib``, what a paper on the study should cite.
Params:  ``study`` (the validated configuration), ``config_file`` (its path), ``results`` (folder), ``pairs`` (one dict a
         set that is scored: model, set, cohort, failure), ``trained`` (model to number of folds), ``unscored`` (``model/set``
         of each set that has no truth).

The sections are made by ``glioflow.report``, the page's words and layout are in ``glioflow/report/templates/``. Scores and
effect sizes are shown as their tables have them, rounded. The same tables give the same bytes, by the
same commit of the workflow.
"""

import json
from collections.abc import Mapping
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from glioflow.code_fingerprint import SCRIPTS
from glioflow.console import Console, count, run_script
from glioflow.evaluation.conventions import conventions
from glioflow.failure.failure_types import KINDS
from glioflow.files import sha256_file, write_text
from glioflow.imaging.labels import REGION_NAMES
from glioflow.report.cases import cases_section
from glioflow.report.checklists import checklist_section
from glioflow.report.cohorts import cohort_section
from glioflow.report.comparison import comparison_sections
from glioflow.report.conventions import convention_section
from glioflow.report.definitions import definition_words
from glioflow.report.failure import failure_section
from glioflow.report.failure_types import KIND_COLOURS, KIND_NAMES
from glioflow.report.feature_notes import features_words
from glioflow.report.mask_quality import mask_quality_section, predicted_pairs
from glioflow.report.methods import methods_section
from glioflow.report.page_data import script_json
from glioflow.report.plotting import CHANNEL_NAMES
from glioflow.report.provenance import provenance_section
from glioflow.report.published import published_table
from glioflow.report.quality import measured_pairs, quality_section
from glioflow.report.references import bibliography
from glioflow.report.scores import comparison_table, score_section
from glioflow.report.source import Source
from glioflow.report.summary import summary_section
from glioflow.report.tables import join_words, row_groups
from glioflow.report.training import training_section
from glioflow.study.metric_registry import find_metric

TEMPLATES = SCRIPTS / "glioflow" / "report" / "templates"
# Of npm's @niivue/niivue, dist/niivue.umd.js, as it is.
ASSETS = SCRIPTS / "glioflow" / "report" / "assets"
NIIVUE_RELEASE, NIIVUE_SHA256 = "0.69.0", "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
# A table of so many columns is set closer, so that a window of 1280 pixels shows them all.
MANY_COLUMNS = 8
SCRIPT_FILES = ("sort.js", "cases.js", "explore.js", "viewer.js")


def report_context(source: Source) -> dict[str, Any]:
    """Return everything that the page's template shows."""
    study = source.study
    return {
        "title": study["report"]["title"],
        "config_file": source.config_file,
        "results": str(source.root),
        "dated": source.dated(),
        "summary": summary_section(source),
        "cohorts": [cohort_section(source, name) for name in study["cohorts"]],
        "models": [training_section(source, name) for name in source.trained],
        "untrained": [(name, source.model_words(name)) for name in source.models() if name not in source.trained],
        "comparison": comparison_table(source),
        "compared": comparison_sections(source),
        "published": published_table(source),
        "scores": [score_section(source, pair) for pair in source.pairs],
        "convention": study["evaluation"]["convention"],
        "definitions": definition_words(conventions()[study["evaluation"]["convention"]]),
        "folds_by": join_words(sorted({by for name in source.trained if (by := study["models"][name]["folds_by"])})),
        "lesionwise": study["evaluation"].get("lesionwise"),
        "cases": [cases_section(source, pair) for pair in source.pairs],
        "failures": [failure_section(source, pair) for pair in source.pairs if pair.failure],
        "kinds": script_json([{"name": KIND_NAMES[kind], "colour": KIND_COLOURS[kind]} for kind in KINDS]),
        "quality": [quality_section(source, pair) for pair in measured_pairs(source)],
        "study_quality": study["quality"],
        "mask_quality": [mask_quality_section(source, pair) for pair in predicted_pairs(source)],
        "conventions": [convention_section(source, pair) for pair in source.pairs],
        "failure": {
            **study["failure"],
            "features": features_words(study["failure"]),
            "rank_name": find_metric(study["failure"]["rank_by"]).name,
        },
        "channel_names": CHANNEL_NAMES,
        "regions": {name: REGION_NAMES[name] for name in source.regions},
        "methods": methods_section(source),
        "checklists": checklist_section(source),
        "provenance": provenance_section(source),
        # Through JSON, so that tuples and Snakemake's own lists and dicts are written as plain ones.
        "configuration": yaml.safe_dump(json.loads(json.dumps(study)), sort_keys=False, allow_unicode=True, width=110),
    }


def render_page(context: Mapping[str, Any]) -> str:
    """Return the page. All text is escaped; only the page's own style sheet and script go in unescaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    script = Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPT_FILES))
    page = environment.get_template("index.html.j2")
    return page.render(**context, row_groups=row_groups, MANY=MANY_COLUMNS, style=style, script=script)


def viewer_library() -> str:
    """Return NiiVue as it goes beside the page, its licence first. Raises ValueError where it is not the version recorded."""
    library = ASSETS / "niivue.js"
    if sha256_file(library) != NIIVUE_SHA256:
        raise ValueError(f"{library} is not NiiVue {NIIVUE_RELEASE}")
    licence = (ASSETS / "niivue.LICENSE.txt").read_text(encoding="utf-8")
    return f"/*!\n{licence}*/\n{library.read_text(encoding='utf-8')}"


def main(snakemake: Any, console: Console) -> str:
    """Write the page."""
    params = snakemake.params
    source = Source(params.study, params.config_file, params.results, params.pairs, params.trained, params.unscored)
    page = render_page(report_context(source))
    write_text(snakemake.output[0], page)
    write_text(snakemake.output[1], viewer_library())
    write_text(snakemake.output[2], bibliography(source))
    sets, pictures = count(len(source.pairs), "prediction set"), count(page.count("<img "), "picture")
    return f"{sets}, {pictures}, {len(page.encode()) / 1e6:.1f} MB"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
