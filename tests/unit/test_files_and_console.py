import csv
import json
import math
import os

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glioflow.case_cache import CaseCache
from glioflow.console import UserError, clock, count, run_script
from glioflow.errors import DamagedFileError
from glioflow.files import (
    file_stamp,
    key_of,
    read_json,
    read_table,
    read_text_table,
    replacing,
    sha256_file,
    write_json,
    write_table,
)


def test_a_file_that_failed_half_way_is_not_there(tmp_path):
    target = tmp_path / "a/b.nii.gz"
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        assert temporary.name.endswith(".b.nii.gz")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []


def test_a_file_that_failed_half_way_leaves_the_former_one(tmp_path):
    target = tmp_path / "b.json"
    write_json(target, {"a": 1})
    with pytest.raises(TypeError):
        write_json(target, {"a": object()})
    assert json.loads(target.read_text()) == {"a": 1}


def test_tables_keep_identifiers_as_text_and_floats_in_full(tmp_path):
    table = pd.DataFrame({"case_id": ["007", "NA"], "patient_id": ["1", "2"], "dice": [0.1 + 0.2, None]})
    write_table(tmp_path / "t.csv", table)
    back = read_table(tmp_path / "t.csv")
    assert back["case_id"].tolist() == ["007", "NA"]
    assert back["dice"][0] == 0.1 + 0.2
    assert (tmp_path / "t.csv").read_text().endswith("NA,2,\n")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1) | st.text(
    st.sampled_from("=+-@'\"0.e \t\r\n,a"), min_size=1, max_size=5
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT | st.none(), st.floats(allow_nan=False)), min_size=1, max_size=4))
def test_any_text_comes_back_and_no_cell_runs_as_a_formula(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    table = pd.DataFrame(rows, columns=["case_id", "note", "value"]).astype({"case_id": "string", "note": "string"})
    write_table(path, table)
    for back in (read_table(path), read_text_table(path)):
        assert back["case_id"].tolist() == table["case_id"].tolist()
        assert back["note"].fillna("").tolist() == table["note"].fillna("").tolist()
        assert back["value"].astype(float).tolist() == table["value"].tolist()
    with path.open(newline="", encoding="utf-8") as stream:
        for cell in (cell for row in csv.reader(stream) for cell in row if cell):
            assert cell[0] not in "=+-@" or math.isfinite(float(cell)) or cell == "-inf"


def test_a_formula_gets_an_apostrophe_and_a_number_does_not(tmp_path):
    values = ["=1+1", "+49 30", "-x", "@SUM(A1)", "-1.5e3", "+2", "'=1", "'x'", "a=b"]
    write_table(tmp_path / "t.csv", pd.DataFrame({"patient_id": values, "value": -0.5}))
    lines = (tmp_path / "t.csv").read_text().splitlines()[1:]
    cells = ["'=1+1", "'+49 30", "'-x", "'@SUM(A1)", "-1.5e3", "+2", "''=1", "'x'", "a=b"]
    assert lines == [f"{cell},-0.5" for cell in cells]
    assert read_table(tmp_path / "t.csv")["patient_id"].tolist() == values


def test_a_stamp_tells_a_change_of_the_same_size_and_time_and_a_file_in_anothers_place(tmp_path):
    path = tmp_path / "a"
    path.write_text("one")
    stat, stamp = path.stat(), file_stamp(path)
    path.write_text("two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_stamp(path) != stamp
    stamp = file_stamp(path)
    (tmp_path / "b").write_text("two")
    os.utime(tmp_path / "b", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(tmp_path / "b", path)
    assert file_stamp(path) != stamp


def test_a_key_depends_on_content_and_not_on_order():
    assert key_of({"a": 1, "b": [1, 2]}) == key_of({"b": [1, 2], "a": 1})
    assert key_of({"a": 1, "b": [1, 2]}) != key_of({"a": 1, "b": [2, 1]})


def test_the_hash_is_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")  # FIPS 180-2, appendix B.1


def test_durations_and_counts_read_well():
    assert (clock(59.6), clock(61), clock(3661)) == ("1:00", "1:01", "1:01:01")
    assert (count(1, "case"), count(2, "case")) == ("1 case", "2 cases")


class Job:
    def __init__(self, log):
        self.rule, self.wildcards, self.log = "some_rule", {"model": "m"}, [str(log)]
        self.input, self.output, self.params = [], [], []
        self.threads, self.resources = 1, {}


def test_a_users_mistake_ends_with_its_message_and_no_traceback(tmp_path, capsys):
    def main(snakemake, console):
        raise UserError("case_1, a.nii: found this; expected that")

    with pytest.raises(SystemExit) as ended:
        run_script(main, Job(tmp_path / "log"))
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said == "[some_rule m] stopped: case_1, a.nii: found this; expected that\n"
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_defect_of_ours_keeps_its_traceback_in_the_log(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_script(lambda snakemake, console: {}["missing"], Job(tmp_path / "log"))
    assert "Traceback" in (tmp_path / "log").read_text()
    assert "Traceback" not in capsys.readouterr().err


def test_a_step_ends_with_its_line_at_the_terminal_and_in_the_log(tmp_path, capsys):
    run_script(lambda snakemake, console: "3 cases", Job(tmp_path / "log"))
    assert capsys.readouterr().err == "[some_rule m] 3 cases (0:00)\n"
    assert (tmp_path / "log").read_text() == "3 cases (0:00)\n"


@pytest.mark.parametrize(("name", "read"), [("scores.csv", read_table), ("manifest.json", read_json)])
def test_a_damaged_file_of_the_results_is_named(tmp_path, name, read):
    path = tmp_path / name
    for content in (b"a,b\n1,2\n1,2,3\n", b"\xff\xfe\x00", b""):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match=f"{path}: the file is damaged .*delete it"):
            read(path)


@pytest.mark.parametrize("line", ["7", "[1, 2]", '[["a"], "key", {}]', "[" * 5000])
def test_a_damaged_line_of_the_cache_is_ignored(tmp_path, line):
    path = tmp_path / "cache.jsonl"
    path.write_text(f'["a", "key", {{"x": 1}}, {{}}]\n{line}\n')
    assert CaseCache(path).get("a", "key") == {"x": 1}
