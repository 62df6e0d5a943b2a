"""Data for the page's scripts: whole, and in no text a way out of its element."""

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glioflow.report.page_data import script_json, table_data
from glioflow.report.tables import Cell, Table, number_cell

EVIL = "</script><script>alert(1)</script><!-- <b onload='x'> &lt; \u2028\u2029 ]]>"


class Elements(HTMLParser):
    """The tags of a page and the text of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.just(EVIL), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_value_comes_back_and_closes_nothing(value: object) -> None:
    page = Elements(f'<script type="application/json">{script_json(value)}</script>')
    assert page.tags == ["script"]
    assert json.loads(page.text) == value


def test_no_character_that_html_or_old_javascript_reads_is_left() -> None:
    assert not set(str(script_json({EVIL: EVIL}))) & set("<>&\u2028\u2029")


def test_a_number_that_json_cannot_tell_is_an_error() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json([float("inf")])


def test_a_table_has_full_numbers_and_says_how_many_decimals_are_shown() -> None:
    rows = [
        [Cell("a", link="case-a"), number_cell(0.12345, 3), number_cell(float("inf"), 2), Cell("note")],
        [Cell("b"), number_cell(None, 3), number_cell(85.0, 2), Cell("")],
        [Cell("c"), Cell("n/a"), number_cell(12.125, 2), Cell("")],
    ]
    table = Table("t", ["Case", "Dice", "HD", "Note"], rows, frozenset({1, 2}))
    assert table_data(table) == {
        "columns": ["Case", "Dice", "HD", "Note"],
        "decimals": [None, 3, 2, None],
        "links": {"a": "case-a"},
        "rows": [["a", 0.12345, "∞", "note"], ["b", "–", 85, ""], ["c", "n/a", 12.125, ""]],
    }
