"""The report on where its numbers come from: software, trained networks, what to cite."""

import os
import platform
from collections.abc import Mapping
from typing import Any

from glioflow.models.nnunet.keys import installed
from glioflow.report.source import Source
from glioflow.report.tables import Cell, Table
from glioflow.study.registry import datasets

PACKAGES = ("nnunetv2", "torch", "numpy", "scipy", "pandas", "nibabel", "pyradiomics", "SimpleITK", "matplotlib", "snakemake")
TRAINED_WITH = ("python", "nnunetv2", "torch", "numpy")  # what a fold's record has versions of
SHOWN_HASH = 16

NNUNET = ("nnU-Net", "Isensee et al. 2021, Nature Methods 18:203–211", "https://doi.org/10.1038/s41592-020-01008-z")
PYRADIOMICS = (
    "pyradiomics",
    "van Griethuysen et al. 2017, Cancer Research 77:e104–e107",
    "https://doi.org/10.1158/0008-5472.CAN-17-0339",
)
RANK_INTERVAL = (
    "Intervals of rank correlations",
    "Bonett & Wright 2000, Psychometrika 65:23–28",
    "https://doi.org/10.1007/BF02294183",
)
COHEN = ("Cohen's d", "Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 2nd edition", "")
ORACLE_REPAIR = (
    "Kinds of errors and their shares",
    "Bolya et al. 2020, ECCV (TIDE), after Hoiem et al. 2012, ECCV",
    "https://doi.org/10.48550/arXiv.2008.08115",
)
FALSE_DISCOVERY = ("False discovery rate (q)", "Benjamini & Hochberg 1995, J R Stat Soc B 57:289–300", "")
BOOTSTRAP = (
    "Confidence intervals",
    "Hesterberg 2015, The American Statistician 69:371–386",
    "https://doi.org/10.1080/00031305.2015.1089789",
)
RANK_STABILITY = (
    "Stability of ranks",
    "Wiesenfarth et al. 2021, Scientific Reports 11:2369",
    "https://doi.org/10.1038/s41598-021-82017-6",
)
SNAKEMAKE = ("Snakemake", "Mölder et al. 2021, F1000Research 10:33", "https://doi.org/10.12688/f1000research.29032.2")


def provenance_section(source: Source) -> dict[str, Any]:
    """Return versions, checkpoints and citations."""
    return {"versions": versions_table(source), "checkpoints": checkpoint_table(source), "citations": citations(source)}


def versions_table(source: Source) -> Table:
    """Return the versions of this environment, beside those that the folds were trained with, as far as they were recorded."""
    here = {"python": platform.python_version(), **{name: found for name in PACKAGES if (found := installed(name))}}
    trained: dict[str, set[str]] = {}
    for manifest in (manifest for folds in source.folds.values() for manifest in folds):
        for name in TRAINED_WITH:
            trained.setdefault(name, set()).add(str(manifest.get("versions", {}).get(name) or "not recorded"))
    rows = [
        [Cell(name), Cell(here.get(name, "")), *([Cell(", ".join(sorted(trained.get(name, ()))))] if trained else [])]
        for name in dict.fromkeys([*here, *trained])
    ]
    return Table("Versions of the software.", ["Software", "This report", *(["Training"] if trained else [])], rows)


def checkpoint_table(source: Source) -> Table | None:
    """Return the checkpoint of every fold with its SHA-256; None where nothing was trained."""
    rows = []
    for model, folds in source.folds.items():
        for manifest in folds:
            checkpoint = manifest.get("checkpoint", {})
            digest = str(checkpoint.get("sha256", ""))
            files = [Cell(digest[:SHOWN_HASH], title=digest, code=True), Cell(shown_path(source, checkpoint), code=True)]
            rows.append([Cell(model), Cell(str(manifest["fold"])), *files])
    columns = ["Model", "Fold", f"SHA-256 (first {SHOWN_HASH} digits)", "Checkpoint"]
    return Table("The trained networks, by the hash of their checkpoints.", columns, rows, headers=2) if rows else None


def shown_path(source: Source, checkpoint: Mapping[str, Any]) -> str:
    """Return where a checkpoint is below the results folder."""
    return os.path.relpath(checkpoint["path"], source.root) if "path" in checkpoint else ""


def citations(source: Source) -> list[dict[str, str]]:
    """Return what a paper that uses this report should cite: the software and the data sets that were used."""
    analysed = any(pair.failure for pair in source.pairs)
    correlated = any(source.failure(pair, "associations")["q"].notna().any() for pair in source.pairs if pair.failure)
    tested = correlated or any(source.covariate_effects(pair)["q"].notna().any() for pair in source.pairs if pair.failure)
    software = [*([NNUNET] if source.trained else []), *([BOOTSTRAP] if source.pairs else [])]
    software += [
        *([RANK_STABILITY] if len(source.comparison()) else []),
        *([PYRADIOMICS, COHEN, ORACLE_REPAIR] if analysed else []),
    ]
    software += [*([RANK_INTERVAL] if correlated else []), *([FALSE_DISCOVERY] if tested else []), SNAKEMAKE]
    # The phantoms are this workflow's own.
    used = {spec["dataset"] for spec in source.study["cohorts"].values()} - {"phantom"}
    data = [(known.title, known.citation, "") for name, known in datasets().items() if name in used and known.citation]
    return [{"what": what, "text": text, "link": link} for what, text, link in (*software, *data)]
