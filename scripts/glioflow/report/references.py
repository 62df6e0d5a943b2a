"""What a paper that uses a study should cite: for the page in words, and for its authors as one BibTeX file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from glioflow.evaluation.conventions import conventions
from glioflow.report.mask_quality import predicted_pairs
from glioflow.report.quality import measured_pairs
from glioflow.report.source import Source
from glioflow.study.registry import datasets

ENTRIES = Path(__file__).parent / "templates" / "references.bib"
ENTRY = re.compile(r"^@(\w+)\{(\w+),\n(.*?)\n\}$", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^  (\w+) = \{(.*)\},?$", re.MULTILINE)
# The citation of a data set: who, when and, after a comma, where.
CITED = re.compile(r"(?P<author>.+?) et al\. (?P<year>\d{4}), (?P<kind>arXiv|doi):(?P<place>\S+)")
# What each is cited for.
WHAT = {
    "nnunet": "nnU-Net",
    "residual_encoder": "Residual encoders of nnU-Net",
    "staple": "STAPLE",
    "bootstrap": "Confidence intervals",
    "rank_stability": "Stability of ranks",
    "holm": "Correction for several comparisons",
    "pyradiomics": "pyradiomics",
    "cohen": "Cohen's d",
    "oracle_repair": "Kinds of errors and their shares",
    "error_diagnosis": "Kinds of errors, before TIDE",
    "rank_interval": "Intervals of rank correlations",
    "false_discovery": "False discovery rate (q)",
    "reliability": "Stability of features (ICC)",
    "agreement": "Limits of agreement",
    "concordance": "Concordance",
    "response": "Response by volume",
    "shape": "Shape",
    "shape_by_network": "Shape of masks",
    "cv_plus": "Intervals of the predicted Dice",
    "metrics_reloaded": "Metrics Reloaded",
    "niivue": "NiiVue, the viewer",
    "metrics_checklist": "METRICS",
    "clear_checklist": "CLEAR",
    "snakemake": "Snakemake",
}


@dataclass(frozen=True)
class Reference:
    """One entry: its key and kind in BibTeX, its fields, and what it is cited for."""

    key: str
    kind: str
    fields: Mapping[str, str]
    what: str = ""

    @property
    def short(self) -> str:
        """Who and when: ``Isensee et al. 2021``."""
        names = [name.partition(",")[0] for name in plain(self.fields.get("author", "")).split(" and ")]
        who = names[0] if len(names) == 1 else " & ".join(names) if len(names) == 2 and names[1] != "others" else ""
        return f"{who or f'{names[0]} et al.'} {self.fields.get('year', '')}".strip()

    @property
    def text(self) -> str:
        """Who, when and where: ``Isensee et al. 2021, Nature Methods 18:203–211``."""
        where = self.fields.get("journal") or self.fields.get("booktitle") or self.fields.get("title", "")
        edition = f", {self.fields['edition']} edition" if "edition" in self.fields else ""
        pages = f" {self.fields['volume']}:{self.fields['pages']}" if "pages" in self.fields else ""
        return ", ".join(filter(None, [self.short, plain(where + edition + pages)]))

    @property
    def link(self) -> str:
        """The address of its DOI, preprint or page; nothing where it has none."""
        if "doi" in self.fields:
            return f"https://doi.org/{self.fields['doi']}"
        return f"https://arxiv.org/abs/{self.fields['eprint']}" if "eprint" in self.fields else self.fields.get("url", "")

    @property
    def bibtex(self) -> str:
        """The entry as BibTeX has it."""
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{lines}\n}}\n"


def plain(text: str) -> str:
    """Return a field of BibTeX as people read it."""
    return text.replace("{", "").replace("}", "").replace("--", "–").replace("\\&", "&")


@cache
def known_references() -> dict[str, Reference]:
    """Return by key what the workflow's own file of references has."""
    entries = ENTRY.findall(ENTRIES.read_text(encoding="utf-8"))
    return {key: Reference(key, kind, dict(FIELD.findall(body)), WHAT[key]) for kind, key, body in entries}


def used_references(source: Source) -> list[Reference]:
    """Return what a study used: software and methods first, then the tools behind its metrics, then its data sets."""
    return [*(known_references()[key] for key in used_keys(source)), *convention_tools(source), *data_references(source)]


def used_keys(source: Source) -> Iterator[str]:
    """Yield the keys of the software and the methods that a study used."""
    study = source.study
    analysed = [pair for pair in source.pairs if pair.failure]
    correlated = any(source.failure(pair, "associations")["q"].notna().any() for pair in analysed)
    tested = correlated or any(source.covariate_effects(pair)["q"].notna().any() for pair in analysed)
    compared = len(source.comparison()) > 0
    volumes = bool(measured_pairs(source))
    networks = {study["models"][name]["network"] for name in source.trained}
    methods = {ensemble["method"] for ensemble in study["ensembles"].values()}
    uses = {
        "nnunet": bool(source.trained),
        "residual_encoder": bool(networks & {"resenc_m", "resenc_l"}),
        "staple": "staple" in methods,
        "bootstrap": bool(source.pairs),
        "rank_stability": compared,
        "holm": compared,
        "pyradiomics": bool(analysed),
        "cohen": bool(analysed),
        "oracle_repair": bool(analysed),
        "error_diagnosis": bool(analysed),
        "rank_interval": correlated,
        "false_discovery": tested,
        "reliability": bool(analysed) and bool(study["failure"]["stability"]),
        "agreement": volumes,
        "concordance": volumes,
        "response": volumes and bool(study["quality"]["follow"]),
        "shape": volumes and bool(study["quality"]["shape"]),
        "shape_by_network": volumes and bool(study["quality"]["shape"]),
        "cv_plus": bool(predicted_pairs(source)),
        "metrics_reloaded": any("MetricsReloaded" in tool for tool in convention_sources(source)),
        "niivue": bool(analysed),
        "metrics_checklist": bool(analysed),
        "clear_checklist": bool(analysed),
        "snakemake": True,
    }
    yield from (key for key in WHAT if uses[key])


def convention_sources(source: Source) -> dict[str, str]:
    """Return the tools that define the study's metrics, each with the version that was read."""
    evaluation = source.study["evaluation"]
    names = [name for name in (evaluation["convention"], evaluation.get("lesionwise")) if name]
    read = [each for name in names for each in conventions()[name].sources] if source.pairs else []
    return {each.tool: each.version for each in reversed(read)}


def convention_tools(source: Source) -> list[Reference]:
    """Return the tools that define the study's metrics."""
    found = []
    for tool, version in reversed(convention_sources(source).items()):
        name, _, _ = tool.partition(" ")
        fields = {"author": f"{{{name.rpartition('/')[0] or name}}}", "title": f"{{{tool}}}", "note": f"Version {version}"}
        fields |= {"url": f"https://github.com/{name}"} if "/" in name else {}
        found.append(Reference(f"tool_{_key(tool)}", "misc", fields, "Definition of metrics"))
    return found


def data_references(source: Source) -> list[Reference]:
    """Return the data sets of a study's cohorts, as far as they say what to cite; the phantoms are this workflow's own."""
    used = {spec["dataset"] for spec in source.study["cohorts"].values()} - {"phantom"}
    found = []
    for name, known in datasets().items():
        if name not in used or not known.citation:
            continue
        cited = CITED.fullmatch(known.citation)
        fields = {"title": f"{{{known.title}}}", "note": f"Data set; cite {known.citation}", "url": known.source}
        if cited:
            place = {"doi": cited["place"]} if cited["kind"] == "doi" else {"eprint": cited["place"], "archiveprefix": "arXiv"}
            fields = {"author": f"{cited['author']} and others", "year": cited["year"], **fields, **place}
        found.append(Reference(f"data_{_key(name)}", "misc", fields, known.title))
    return found


def _key(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_").lower()


def bibliography(source: Source) -> str:
    """Return everything that a study used as a BibTeX file."""
    return "\n".join(reference.bibtex for reference in used_references(source))


def citations(source: Source) -> list[dict[str, str]]:
    """Return what a paper that uses this report should cite: for what, in words, and where it is."""
    found = []
    for each in used_references(source):
        text = each.fields["note"].removeprefix("Data set; cite ") if each.key.startswith("data_") else each.text
        found.append({"what": each.what, "text": text, "link": each.link})
    return found
