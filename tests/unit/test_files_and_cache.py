import json
import os

import pandas as pd
import pytest

from glioflow.case_cache import CaseCache
from glioflow.console import UserError, clock, count, run_script
from glioflow.errors import DamagedFileError
from glioflow.files import key_of, read_json, read_table, replacing, sha256_file, write_json, write_table


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


def test_a_key_depends_on_content_and_not_on_order():
    assert key_of({"a": 1, "b": [1, 2]}) == key_of({"b": [1, 2], "a": 1})
    assert key_of({"a": 1, "b": [1, 2]}) != key_of({"a": 1, "b": [2, 1]})


def test_the_hash_is_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")  # FIPS 180-2, appendix B.1


def test_a_cache_remembers_across_runs_and_forgets_when_the_key_changes(tmp_path):
    path = tmp_path / "x/cache.jsonl"
    CaseCache(path).put("case", "k1", {"v": 1})
    assert CaseCache(path).get("case", "k1") == {"v": 1}
    assert CaseCache(path).get("case", "k2") is None
    assert CaseCache(path).get("other", "k1") is None


def test_the_last_entry_of_an_item_counts(tmp_path):
    cache = CaseCache(tmp_path / "cache.jsonl")
    cache.put("case", "k1", {"v": 1})
    cache.put("case", "k2", {"v": 2})
    assert CaseCache(cache.path).get("case", "k1") is None
    assert CaseCache(cache.path).get("case", "k2") == {"v": 2}


def test_a_torn_last_line_is_ignored_and_the_next_entry_survives(tmp_path):
    cache = CaseCache(tmp_path / "cache.jsonl")
    cache.put("a", "k", {"v": 1})
    cache.put("b", "k", {"v": 2})
    os.truncate(cache.path, cache.path.stat().st_size - 5)
    again = CaseCache(cache.path)
    assert (again.get("a", "k"), again.get("b", "k")) == ({"v": 1}, None)
    again.put("c", "k", {"v": 3})
    assert CaseCache(cache.path).get("c", "k") == {"v": 3}


def test_a_cache_written_over_and_over_is_compacted(tmp_path):
    cache = CaseCache(tmp_path / "cache.jsonl")
    for number in range(50):
        cache.put("case", str(number), {"v": number})
    assert CaseCache(cache.path).get("case", "49") == {"v": 49}
    assert len(cache.path.read_text().splitlines()) == 1


def test_durations_and_counts_read_well():
    assert (clock(59.6), clock(61), clock(3661)) == ("1:00", "1:01", "1:01:01")
    assert (count(1, "case"), count(2, "case"), count(2, "box", "boxes")) == ("1 case", "2 cases", "2 boxes")


class Job:
    def __init__(self, log):
        self.rule, self.wildcards, self.log = "some_rule", {"model": "m"}, [str(log)]
        self.input, self.output, self.params = [], [], []


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
    path.write_text(f'["a", "key", {{"x": 1}}]\n{line}\n')
    assert CaseCache(path).get("a", "key") == {"x": 1}
