"""The metadata of a bundle: an RO-Crate after the profile Provenance Run Crate 0.5 (w3id.org/ro/wfrun/provenance/0.5).

The run of the workflow is a ``CreateAction`` of the ``Snakefile``; each job is one of its script, with inputs, outputs, params
and times; a ``ControlAction`` ties it to its rule, and one ``OrganizeAction`` is Snakemake's. What is not known is left out.
"""

import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rocrate.model import ContextEntity, DataEntity
from rocrate.rocrate import ROCrate

from glioflow.bundle.replay import script_of
from glioflow.bundle.steps import RESULTS, Step

METADATA = "ro-crate-metadata.json"
WORKFLOW = "workflow/Snakefile"
LOCK = "workflow/envs/glioflow.lock"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
SHA256 = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}  # a term that RO-Crate 1.1 has none for
SPDX = "https://spdx.org/licenses/"
MEDIA_TYPES = {".smk": "text/x-python", ".py": "text/x-python", ".tsv": "text/tab-separated-values", ".log": "text/plain"}

Json = dict[str, Any]


def metadata(
    bundle: Mapping[str, Any], steps: Sequence[Step], files: Mapping[str, tuple[int, str]], facts: Mapping[str, str]
) -> str:
    """Return the text of ro-crate-metadata.json.

    Parameters
    ----------
    bundle
        The study's block ``bundle``.
    steps
        The jobs, makers first.
    files
        Every file of the bundle but the metadata and the list of checksums: name to bytes and SHA-256.
    facts
        ``title``, ``description``, ``configuration``, ``inputs`` and ``report`` (names of files), ``snakemake`` (version).
    """
    crate = ROCrate(version="1.1")
    add = _Adder(crate)
    _root(add, bundle, steps, facts)
    tools = {step.rule: f"workflow/scripts/{script_of(step.rule).name}" for step in steps}
    for name, (size, sha256) in sorted(files.items()):
        add.file(name, size, sha256, tools)
    _workflow(add, tools)
    _run(add, steps, tools, set(files), facts)
    return json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


class _Adder:
    """Adds entities to a crate."""

    def __init__(self, crate: ROCrate) -> None:
        self.crate = crate

    def context(self, place: str, kind: str | list[str], /, **properties: Any) -> Any:
        return self.crate.add(ContextEntity(self.crate, place, {"@type": kind, **properties}))

    def file(self, name: str, size: int, sha256: str, tools: Mapping[str, str]) -> None:
        kind: list[str] | str = "File"
        more: Json = {}
        if name == WORKFLOW:
            kind = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
            more = {"name": "glioflow", "programmingLanguage": {"@id": "#snakemake-language"}}
        elif name in tools.values():
            kind = ["File", "SoftwareSourceCode"]
            more = {"name": name.rpartition("/")[2].removesuffix(".py"), "softwareRequirements": {"@id": LOCK}}
        suffix = re.sub(r".*(\.\w+)$", r"\1", name)
        media = MEDIA_TYPES.get(suffix) or mimetypes.types_map.get(suffix) or ("application/gzip" if suffix == ".gz" else None)
        described = {
            "@type": kind,
            "contentSize": str(size),
            "sha256": sha256,
            **({"encodingFormat": media} if media else {}),
            **more,
        }
        self.crate.add(DataEntity(self.crate, name, described))


def _ids(names: Sequence[str]) -> list[Json]:
    return [{"@id": name} for name in names]


def _root(add: _Adder, bundle: Mapping[str, Any], steps: Sequence[Step], facts: Mapping[str, str]) -> None:
    root = add.crate.root_dataset
    licence = bundle["licence"]
    address = licence if "://" in licence else SPDX + licence
    add.context(address, "CreativeWork", name=licence)
    for profile, name in PROFILES.items():
        add.context(profile, "CreativeWork", name=name, version=profile.rpartition("/")[2])
    root["name"], root["description"] = facts["title"], facts["description"]
    root["version"], root["license"] = bundle["version"], {"@id": address}
    root["datePublished"] = max(step.ended for step in steps)
    root["conformsTo"] = _ids(list(PROFILES))
    authors = []
    for number, author in enumerate(bundle["authors"], start=1):
        identifier = f"https://orcid.org/{author['orcid']}" if author["orcid"] else f"#author-{number}"
        more = {"affiliation": author["affiliation"]} if author["affiliation"] else {}
        authors.append(add.context(identifier, "Person", name=author["name"], **more).id)
    if authors:
        root["author"] = _ids(authors)
    root["mainEntity"] = {"@id": WORKFLOW}
    add.crate.metadata["conformsTo"] = _ids(
        ["https://w3id.org/ro/crate/1.1", "https://w3id.org/workflowhub/workflow-ro-crate/1.0"]
    )
    add.crate.metadata.extra_terms.update(SHA256)


def _workflow(add: _Adder, tools: Mapping[str, str]) -> None:
    add.context(
        "#snakemake-language",
        "ComputerLanguage",
        name="Snakemake",
        url={"@id": "https://snakemake.github.io"},
        identifier={"@id": "https://doi.org/10.12688/f1000research.29032.2"},
    )
    workflow = add.crate.dereference(WORKFLOW)
    workflow["hasPart"] = _ids(sorted(set(tools.values())))
    workflow["softwareRequirements"] = {"@id": LOCK}
    for place, (rule, tool) in enumerate(tools.items()):
        add.context(f"#rule-{rule}", "HowToStep", name=rule, position=str(place), workExample={"@id": tool})
    workflow["step"] = _ids([f"#rule-{rule}" for rule in tools])


def _run(add: _Adder, steps: Sequence[Step], tools: Mapping[str, str], files: set[str], facts: Mapping[str, str]) -> None:
    controls, jobs = [], []
    for step in steps:
        name = re.sub(r"[^\w.-]+", "-", step.name)
        params = [_param(add, f"#param-{name}", number, key, value) for number, (key, value) in enumerate(step.params)]
        job = add.context(
            f"#job-{name}",
            "CreateAction",
            name=step.name,
            instrument={"@id": tools[step.rule]},
            object=_ids([*sorted(set(step.inputs) & files), *params]),
            result=_ids(sorted(set(step.outputs) & files)),
            startTime=step.started,
            endTime=step.ended,
            actionStatus={"@id": "http://schema.org/CompletedActionStatus"},
        )
        control = {"instrument": {"@id": f"#rule-{step.rule}"}, "object": {"@id": job.id}}
        controls.append(add.context(f"#control-{name}", "ControlAction", name=f"control of {step.name}", **control).id)
        jobs.append(job.id)
    run = add.context(
        "#run",
        "CreateAction",
        name=f"run of {facts['title']}",
        instrument={"@id": WORKFLOW},
        object=_ids([facts["configuration"], facts["inputs"]]),
        result=_ids(sorted(name for name in files if name.startswith(f"{RESULTS}/"))),
        startTime=min(step.started for step in steps),
        endTime=max(step.ended for step in steps),
        actionStatus={"@id": "http://schema.org/CompletedActionStatus"},
    )
    add.context("#snakemake", "SoftwareApplication", name="Snakemake", url={"@id": "https://snakemake.github.io"})
    engine = add.context(
        "#organize",
        "OrganizeAction",
        name="Snakemake's run of the jobs",
        instrument={"@id": "#snakemake"},
        object=_ids(controls),
        result={"@id": run.id},
    )
    add.crate.root_dataset["mentions"] = _ids([run.id, engine.id, *jobs])


def _param(add: _Adder, prefix: str, number: int, key: str | None, value: Any) -> str:
    """Add a param of a job as a property with its value as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    named = {"name": key or str(number), "value": text}
    return str(add.context(f"{prefix}-{key or number}", "PropertyValue", **named).id)
