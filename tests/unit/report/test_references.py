"""What a study should cite: sound BibTeX, nothing that was not used, the data sets with what they ask for."""

import re

import pytest

from glioflow.report.references import CITED, FIELD, WHAT, Reference, known_references
from glioflow.study.registry import datasets


def test_every_known_entry_is_read_whole_and_has_its_purpose() -> None:
    known = known_references()
    assert set(known) == set(WHAT)
    for entry in known.values():
        assert {"author", "title"} <= set(entry.fields), entry.key
        assert entry.bibtex.count("{") == entry.bibtex.count("}"), entry.key
        assert FIELD.findall(entry.bibtex), entry.key
    assert known["cohen"].fields["publisher"] == "Lawrence Erlbaum Associates"  # the fields around it are not one


@pytest.mark.parametrize(
    ("key", "text", "link"),
    [
        ("nnunet", "Isensee et al. 2021, Nature Methods 18:203–211", "https://doi.org/10.1038/s41592-020-01008-z"),
        ("rank_interval", "Bonett & Wright 2000, Psychometrika 65:23–28", "https://doi.org/10.1007/BF02294183"),
        ("cohen", "Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 2nd edition", ""),
        (
            "oracle_repair",
            "Bolya et al. 2020, European Conference on Computer Vision (ECCV)",
            "https://arxiv.org/abs/2008.08115",
        ),
        (
            "pyradiomics",
            "van Griethuysen et al. 2017, Cancer Research 77:e104–e107",
            "https://doi.org/10.1158/0008-5472.CAN-17-0339",
        ),
    ],
)
def test_an_entry_in_words(key: str, text: str, link: str) -> None:
    assert (known_references()[key].text, known_references()[key].link) == (text, link)


def test_an_entry_as_bibtex() -> None:
    entry = Reference("key", "misc", {"title": "{A}", "year": "2020"})
    assert entry.bibtex == "@misc{key,\n  title = {{A}},\n  year = {2020}\n}\n"


def test_the_citation_of_every_data_set_can_be_taken_apart() -> None:
    others = {name for name, known in datasets().items() if known.citation and not CITED.fullmatch(known.citation)}
    assert others == {"phantom"}


def test_identifiers_have_the_form_of_identifiers() -> None:
    for entry in known_references().values():
        assert re.fullmatch(r"10\.\d{4,}/\S+", entry.fields.get("doi", "10.1000/x")), entry.key
        assert re.fullmatch(r"\d{4}", entry.fields.get("year", "2000")), entry.key
