"""What differs, in words."""

from pathlib import Path

import pytest

from glioflow.bundle.differences import differences


@pytest.fixture
def compare(tmp_path: Path):
    def run(name: str, made: str | bytes, had: str | bytes) -> list[str]:
        for place, content in (("made", made), ("had", had)):
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return differences(name, tmp_path / "made" / name, tmp_path / "had" / name)

    return run


def test_the_same_bytes_differ_in_nothing(compare):
    assert compare("a.csv", "x\n1\n", "x\n1\n") == []


def test_a_cell_is_named_by_row_and_column_with_both_values(compare):
    said = compare("a.csv", "case_id,label,dice\nb1,WT,0.5\nb2,WT,0.75\n", "case_id,label,dice\nb1,WT,0.5\nb2,WT,0.7\n")
    assert said == ["a.csv: row 2 (b2, WT), column dice: the bundle has '0.7', made again it is '0.75'"]


def test_rows_that_are_missing_are_counted(compare):
    assert compare("a.csv", "x\n1\n2\n", "x\n1\n") == ["a.csv: the table has 1 rows, made again 2"]


def test_bytes_that_no_cell_shows_are_named_too(compare):
    assert compare("a.csv", "x\n1\n", 'x\n"1"\n') == [
        "a.csv: byte 3: the bundle has 0x22, made again it is 0x31 (6 bytes, made again 4)"
    ]


def test_a_key_of_json_is_named(compare):
    assert compare("a.json", '{"a": [{"b": 1}]}', '{"a": [{"b": 2}]}') == [
        "a.json: a[0].b: the bundle has 2, made again it is 1"
    ]


def test_a_line_of_a_page_and_a_byte_of_a_figure_are_named(compare):
    assert compare("a.html", "<p>\nworst 5", "<p>\nworst 6") == [
        "a.html: line 2, character 7: the bundle has 'worst 6', made again it is 'worst 5'"
    ]
    assert compare("a.png", b"\x89P\x00", b"\x89P\x01") == ["a.png: byte 3: the bundle has 0x01, made again it is 0x00"]


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    assert differences("a", tmp_path / "a", tmp_path / "b") == ["a: is missing"]
