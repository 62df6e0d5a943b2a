"""The report on where its numbers come from: software, trained networks and what they were trained on, what to cite."""

import os
import platform
from collections.abc import Mapping
from typing import Any

from glioflow.console import count
from glioflow.formatting import UNDEFINED
from glioflow.models.nnunet.keys import installed
from glioflow.report.checkout import read_commit
from glioflow.report.references import citations
from glioflow.report.source import Source
from glioflow.report.tables import Cell, Table

PACKAGES = ("nnunetv2", "torch", "numpy", "scipy", "pandas", "nibabel", "pyradiomics", "SimpleITK", "matplotlib", "snakemake")
TRAINED_WITH = ("python", "nnunetv2", "torch", "numpy")  # what a fold's record has versions of
SHOWN_HASH = 16
NOT_RECORDED = "not recorded"


def provenance_section(source: Source) -> dict[str, Any]:
    """Return versions, checkpoints and citations."""
    tables = {"versions": versions_table(source), "checkpoints": checkpoint_table(source)}
    return {**tables, "citations": citations(source)}


def versions_table(source: Source) -> Table:
    """Return the versions of this environment, beside those that the folds were trained with, as far as they were recorded.

    Of glioflow itself it is the commit, where the workflow has one.
    """
    here = {"python": platform.python_version(), **{name: found for name in PACKAGES if (found := installed(name))}}
    trained: dict[str, set[str]] = {}
    for manifest in (manifest for folds in source.folds.values() for manifest in folds):
        for name in TRAINED_WITH:
            trained.setdefault(name, set()).add(str(manifest.get("versions", {}).get(name) or NOT_RECORDED))
    commit = read_commit()
    rows = [[Cell("glioflow"), Cell(commit.words, title=commit.commit), *([Cell("")] if trained else [])]] if commit else []
    rows += [
        [Cell(name), Cell(here.get(name, "")), *([Cell(", ".join(sorted(trained.get(name, ()))))] if trained else [])]
        for name in dict.fromkeys([*here, *trained])
    ]
    return Table("Versions of the software.", ["Software", "This report", *(["Training"] if trained else [])], rows)


def checkpoint_table(source: Source) -> Table | None:
    """Return the checkpoint of every fold with its SHA-256 and what trained it; None where nothing was trained."""
    rows = []
    for model, folds in source.folds.items():
        for manifest in folds:
            checkpoint = manifest.get("checkpoint", {})
            digest = str(checkpoint.get("sha256", ""))
            files = [Cell(digest[:SHOWN_HASH], title=digest, code=True), Cell(shown_path(source, checkpoint), code=True)]
            hardware = [Cell(processor_words(manifest)), Cell(gpu_words(manifest))]
            rows.append([Cell(model), Cell(str(manifest["fold"])), *hardware, *files])
    columns = ["Model", "Fold", "Processor", "GPU", f"SHA-256 (first {SHOWN_HASH} digits)", "Checkpoint"]
    caption = "The trained networks: what they were trained on, and the hash of their checkpoints."
    return Table(caption, columns, rows, headers=2) if rows else None


def processor_words(manifest: Mapping[str, Any]) -> str:
    """Return the processor that a fold was trained on; more than one where its training went on elsewhere."""
    words = [_processor_words(one) for one in manifest.get("trained_with", ())] or [NOT_RECORDED]
    return ", then ".join(dict.fromkeys(words))


def _processor_words(conditions: Mapping[str, Any]) -> str:
    processor = conditions.get("processor")
    if not processor:
        return NOT_RECORDED
    mixed = ", in bfloat16" if conditions.get("precision") == "bfloat16" else ""
    return f"{processor['name']} ({count(processor['cores'], 'core')}{mixed})"


def gpu_words(manifest: Mapping[str, Any]) -> str:
    """Return the GPU that a fold was trained on."""
    return str(manifest.get("gpu") or (UNDEFINED if manifest.get("device") == "cpu" else NOT_RECORDED))


def shown_path(source: Source, checkpoint: Mapping[str, Any]) -> str:
    """Return where a checkpoint is below the results folder."""
    return os.path.relpath(checkpoint["path"], source.root) if "path" in checkpoint else ""
