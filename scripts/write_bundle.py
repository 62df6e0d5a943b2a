"""Write the study as one file that a stranger can verify and run again: a zip that is an RO-Crate.

Inputs:  what the study's targets are, listed so that they are made first; what goes in is found by the records beside them.
Outputs: ``<name>-<version>.zip``.
Params:  ``study`` (the validated configuration), ``written`` (the same without the defaults), ``results`` (folder).

What may not leave does not (``glioflow.bundle.identifiers``, ``shared_tables``). What follows from tables is then made again
from those that go along, by the bundled workflow, so that it holds nothing else and anybody can make it again. The same results
give the same bytes. A killed job leaves no half of a bundle, and what it had laid out is deleted by the next.
"""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from glioflow.bundle.build import (
    CONFIGURATION,
    INPUT_TABLE,
    REPORT,
    Sources,
    check_licences,
    differing,
    lay_out,
    list_files,
    make_policy,
    readme_text,
    replay,
    share_step,
)
from glioflow.bundle.crate import METADATA, metadata
from glioflow.bundle.replay import TABLES, chosen_steps
from glioflow.bundle.steps import collect_steps, keep_what_images_need, present
from glioflow.bundle.zip_files import CHECKSUMS, OTHER_DISK, checksum_text, write_zip
from glioflow.console import Console, UserError, count, run_script
from glioflow.disk import amount, require_space
from glioflow.files import sha256_file, write_text
from glioflow.models.model_archive import scratch
from glioflow.study.configuration import Bundle, Study

COPIES = 2  # what is laid out, and the zip


def facts_of(study: Study, bundle: Bundle) -> dict[str, str]:
    """Return what the metadata say of the study."""
    title = bundle.title or study.report.title
    described = bundle.description or f"{title}: a glioma segmentation study, with its workflow, tables, figures and report."
    names = {"configuration": CONFIGURATION, "inputs": INPUT_TABLE, "report": REPORT, "snakemake": version("snakemake")}
    return {"title": title, "description": described, **names}


def outputs_of(sources: Sources) -> list[Path]:
    """Return the files that the study's jobs declare."""
    files = [present(path, sources.results) for step in sources.steps for path in step.outputs]
    return [path for path in files if path.is_file()]


def main(snakemake: Any, console: Console) -> str:
    """Lay out the bundle, make again what follows from its tables, describe it, and pack it."""
    params, target = snakemake.params, Path(snakemake.output[0])
    study, results = Study.model_validate(params.study), Path(params.results)
    if study.bundle is None:
        raise UserError("bundle: missing; name at least `name` and `licence`, as config/README.md has it")
    check_licences(study, study.bundle)
    steps = collect_steps(results, map(str, snakemake.input))
    steps = keep_what_images_need(steps) if study.bundle.pseudonymise else steps
    sources = Sources(study, params.written, results, steps)
    policy = make_policy(sources)
    with scratch(target.with_name(f".{target.stem}.building")) as work:
        folder = (work / "crate").absolute()
        folder.mkdir()
        size = sum(path.stat().st_size for path in outputs_of(sources))
        require_space(folder, COPIES * size, f"the bundle {target.name}", OTHER_DISK)
        used = lay_out(sources, policy, folder, console)
        replay(folder, TABLES, console)
        shared = [share_step(step, policy) for step in sources.steps]
        made = [name for step in chosen_steps(shared, TABLES) for name in step.outputs]
        if not study.bundle.pseudonymise and (other := differing(made, folder, results)):
            console.note(f"other than in the study, since not all goes along: {', '.join(other)}")
        facts = facts_of(study, study.bundle)
        write_text(folder / "README.md", readme_text(facts["title"], target.name))
        files = list_files(folder, used)
        described = {name: (path.stat().st_size, sha256_file(path)) for name, path in files.items()}
        text = metadata(study.bundle.model_dump(mode="json"), shared, described, facts)
        write_text(folder / METADATA, text)
        digests = {name: digest for name, (_, digest) in described.items()} | {METADATA: sha256_file(folder / METADATA)}
        write_text(folder / CHECKSUMS, checksum_text(digests))
        write_zip(work / target.name, list_files(folder, used), console)
        os.replace(work / target.name, target)
    console.note(f"SHA-256 of {target}: {sha256_file(target)}")
    return f"{count(len(digests) + 1, 'file')}, {count(len(shared), 'job')}, {amount(target.stat().st_size)}"


if __name__ == "__main__":
    run_script(main, globals()["snakemake"])
