"""Tables as people have them: what has one meaning is read, what could shift a value is refused with its line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glioflow.console import UserError
from glioflow.user_tables import UserTable, covariate_names, near_ids, offered_ids, read_user_table

PLAIN = "case_id,age,diagnosis\np1,60,glioblastoma\np2,61,\n"
ROWS = [{"case_id": "p1", "age": "60", "diagnosis": "glioblastoma"}, {"case_id": "p2", "age": "61", "diagnosis": ""}]


def read(folder: Path, content: str | bytes, separator: str | None = None) -> UserTable:
    path = folder / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_user_table(path, separator)


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert message.startswith(f"{folder / 't.csv'}: ")
    return message.removeprefix(f"{folder / 't.csv'}: ")


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        "\ufeff" + PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN.replace("glioblastoma", ' "glioblastoma"').replace("p1", " p1 "),
        PLAIN.replace("\n", ",\n"),  # a separator behind the last cell of every line
        PLAIN.replace("\n", ",,\n"),
        "".join(line + ",\n" for line in PLAIN.splitlines()[:1]) + "p1,60,glioblastoma\np2,61,\n",  # of the header alone
        "case_id,age,diagnosis\np1,60,glioblastoma,\np2,61,,\n",  # of the rows alone
        "\n" + PLAIN.replace("p2", "\n,,\n  \np2") + ",,\n\n",  # empty rows
        "case_id,,age,diagnosis\np1,,60,glioblastoma\np2,,61,\n",  # an empty column
        "sep=;\n" + PLAIN.replace(",", ";"),
        '"sep=;"\r\n' + PLAIN.replace(",", ";"),
    ],
)
def test_what_has_one_meaning_is_read(tmp_path, content):
    table = read(tmp_path, content)
    assert (table.columns, table.rows, table.notes) == (["case_id", "age", "diagnosis"], ROWS, [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read_with_its_mark_and_refused_without(tmp_path, encoding):
    marked = PLAIN.replace("glioblastoma", "Glioblastom größer") if encoding == "utf-16" else "\ufeff" + PLAIN
    table = read(tmp_path, marked.encode(encoding))
    assert table.rows[0]["diagnosis"] == ("Glioblastom größer" if encoding == "utf-16" else "glioblastoma")
    assert table.notes == ["the encoding UTF-16"]
    if encoding != "utf-16":
        assert "save it as CSV in UTF-8" in refusal(tmp_path, PLAIN.encode(encoding))


def test_windows_1252_is_read_with_a_note_of_line_and_word(tmp_path):
    table = read(tmp_path, PLAIN.replace("glioblastoma", "Tumor größer 4 cm – „fest“").encode("cp1252"))
    assert table.rows[0]["diagnosis"] == "Tumor größer 4 cm – „fest“"
    assert table.notes == ["the encoding Windows-1252 (line 2: 'größer'; if that is wrong, save it in UTF-8)"]


@pytest.mark.parametrize("bad", [b"\xf6\x81", b"\xf6\x07"])  # what Windows-1252 does not define; a control character
def test_bytes_that_are_no_text_are_refused(tmp_path, bad):
    message = refusal(tmp_path, PLAIN.encode().replace(b"glioblastoma", bad))
    assert message == "line 2 is neither in UTF-8 nor in Windows-1252 (byte 0xf6); save it as CSV in UTF-8"


@pytest.mark.parametrize("content", [b"PK\x03\x04abc", b"\xd0\xcf\x11\xe0\xa1"])
def test_a_spreadsheets_own_file_is_refused(tmp_path, content):
    assert "save the sheet as CSV in UTF-8" in refusal(tmp_path, content)


def test_an_unquoted_comma_and_a_missing_cell_name_line_and_both_counts(tmp_path):
    rows = "p1,60,Anaplastic astrocytoma, IDH-mutant,3,90\np2,3,90\np3,61,glioblastoma,4,80\n"
    message = refusal(tmp_path, f"case_id,age,diagnosis,grade,karnofsky\n\n{rows}")
    assert "line 3 has 6 fields, line 4 has 3 fields, where the header (line 1) has 5" in message
    assert "put a text with a separator in it into quotes" in message


@pytest.mark.parametrize(
    "rows",
    [
        "p1,a, b,\np2,c,d\n",  # the empty cell at the end is that of the column behind
        "p1,a,b,\np2,c,d\n",  # a separator behind the last cell of one row only
        "p1,60,5,x\np2,61,5,y\n",  # decimal commas in every row
        "p1,x\np2,y\n",  # a cell missing in every row
    ],
)
def test_a_row_of_another_length_is_never_shifted_or_padded(tmp_path, rows):
    assert "where the header (line 1) has 3" in refusal(tmp_path, f"case_id,dx,note\n{rows}")


def test_many_wrong_rows_are_counted(tmp_path):
    assert "and 3 more lines" in refusal(tmp_path, "a,b\n" + "1,2,3\n" * 8)


def test_an_open_quote_is_told_by_the_row_where_it_begins(tmp_path):
    assert "the row that begins in line 3 cannot be read" in refusal(tmp_path, 'a,b\n1,2\n3,"four\n5,6\n')
    assert "the row that begins in line 2" in refusal(tmp_path, 'a,b\n1,"two\n3,"four\n')


def test_a_quoted_text_may_have_commas_quotes_and_lines(tmp_path):
    table = read(tmp_path, 'a,b\n1,"x, ""y""\nz"\n3,4 "inches"\n')
    assert [row["b"] for row in table.rows] == ['x, "y"\nz', '4 "inches"']
    assert "line 4 has 1 field" in refusal(tmp_path, 'a,b\n1,"x\nz"\n3\n')


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("age,Age", "'age' and 'Age' are both age"),
        ("Age at scan,age_at_scan", "'Age at scan' and 'age_at_scan' are both age_at_scan"),
        ("age,age", "'age' and 'age' are both age"),
        ("age,", "a column is called ''"),
        (",age", "a column is called ''"),
        ("age,年齢", "a column is called '年齢'"),
    ],
)
def test_columns_need_names_of_their_own(tmp_path, header, words):
    assert words in refusal(tmp_path, f"{header}\n1,2\n")


def test_columns_that_become_one_by_the_names_they_are_given_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"'Age' and 'age_years' are both age_years"):
        covariate_names(tmp_path, ["Age", "age_years"], {"Age": "age_years"})


def test_decimal_commas_are_numbers_where_the_comma_divides_no_cells(tmp_path):
    content = "id;age;delta;mixed;codes\np1;63,5;-1,25;2,5;1,2,3\np2;70;;1.234;4,5\np3;#N/A;+0,5e3;3;x\n"
    table = read(tmp_path, content)
    assert [row["age"] for row in table.rows] == ["63.5", "70", "#N/A"]
    assert [row["delta"] for row in table.rows] == ["-1.25", "", "+0.5e3"]
    assert [row["mixed"] for row in table.rows] == ["2,5", "1.234", "3"]  # nobody knows what the point means
    assert [row["codes"] for row in table.rows] == ["1,2,3", "4,5", "x"]
    assert table.notes == [
        "decimal commas in the column age (63,5 is read as 63.5)",
        "decimal commas in the column delta (-1,25 is read as -1.25)",
    ]
    assert read(tmp_path, 'id,volume\np1,"1,234"\n').rows[0]["volume"] == "1,234"  # a thousand, perhaps


def test_errors_of_formulas_are_told(tmp_path):
    (note,) = read(tmp_path, "id,age\np1,#REF!\np2,#N/A\np3,#DIV/0!\n").notes
    assert note == "errors of formulas, which count as unknown (#REF! in line 2, column age; #DIV/0! in line 4, column age)"


def test_an_empty_table_and_a_header_alone(tmp_path):
    assert read(tmp_path, "").columns == [] == read(tmp_path, "\n,,\n").columns
    table = read(tmp_path, "a;b\n")
    assert (table.columns, table.rows) == (["a", "b"], [])


def test_a_text_that_was_kept_from_being_a_formula_comes_back(tmp_path):
    assert read(tmp_path, "id,note\np1,'=1+1\np2,'quoted'\n").rows == [
        {"id": "p1", "note": "=1+1"},
        {"id": "p2", "note": "'quoted'"},
    ]


@pytest.mark.parametrize("wrong", ["1", "001.0", "1.0", "01"])
def test_ids_that_a_spreadsheet_changed_are_recognised(wrong):
    assert near_ids(["001", "002"], [wrong, "17"]) == {wrong: "001"}


def test_ids_that_people_write_otherwise_are_recognised():
    near = near_ids(["UPENN-GBM_01", "sub-07", "P 3"], ["upenn_gbm-01", "7", " p_3 "])
    assert near == {"upenn_gbm-01": "UPENN-GBM_01", "7": "sub-07", " p_3 ": "P 3"}
    assert offered_ids(near) == " (write 'P 3' for ' p_3 ', 'UPENN-GBM_01' for 'upenn_gbm-01', 'sub-07' for '7')"


def test_where_two_ids_could_be_meant_neither_is():
    assert near_ids(["001", "01"], ["1"]) == {} == near_ids(["001"], ["1", "1.0"])
    assert near_ids(["p10", "p100"], ["p1"]) == {}


CELL = st.text(st.sampled_from("ab1 ,;\t\"\n\r=é'-."), max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=5))
def test_whatever_a_table_holds_every_row_fits_its_header_or_it_is_refused(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes("\n".join(",".join(cells) for cells in rows).encode())
    try:
        table = read_user_table(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ")
        return
    assert all(list(row) == table.columns for row in table.rows)
    assert len({name.lower() for name in table.columns}) == len(table.columns)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_bytes_a_file_holds_it_is_read_or_refused_by_name(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(content)
    try:
        read_user_table(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ")
