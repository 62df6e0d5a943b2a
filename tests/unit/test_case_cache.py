import json
import os
import time

import pytest

from glioflow.case_cache import CaseCache, compute_cases
from glioflow.console import Console, UserError


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


def test_a_truncated_last_line_is_ignored_and_the_next_entry_survives(tmp_path):
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


def test_a_case_of_another_shard_is_found_in_its_cache_and_nowhere_else(tmp_path):
    CaseCache(tmp_path / "set/1-of-2.jsonl").put("a", "k", {"v": 1})
    CaseCache(tmp_path / "set/2-of-2.jsonl").put("b", "k", {"v": 2})
    own = tmp_path / "set/1-of-3.jsonl"
    assert CaseCache(own).find({"a": "k", "b": "k"}) == {}
    assert CaseCache(own, of_set=True).find({"a": "k", "b": "k", "c": "k"}) == {"a": {"v": 1}, "b": {"v": 2}}
    assert CaseCache(own, of_set=True).find({"a": "other"}) == {}
    assert not own.exists()


def test_what_a_shard_has_itself_counts_over_another_shards(tmp_path):
    for name, value in (("1-of-2", 1), ("2-of-2", 2)):
        CaseCache(tmp_path / f"{name}.jsonl").put("a", "k", value)
    assert CaseCache(tmp_path / "2-of-2.jsonl", of_set=True).find({"a": "k"}) == {"a": 2}


def with_file(folder, number=2):
    """Return a cache below ``folder`` with a case ``a`` for which files were written, and the files."""
    files = [folder / f"results/masks/{index}.nii.gz" for index in range(number)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"mask {file.name}")
    CaseCache(folder / "results/cache/stage/m.jsonl").put("a", "k", {"v": 1}, files)
    return CaseCache(folder / "results/cache/stage/m.jsonl"), files


def test_a_case_holds_while_every_file_of_it_is_as_it_was_written(tmp_path):
    cache, files = with_file(tmp_path)
    assert cache.get("a", "k") == {"v": 1}
    stat = files[1].stat()
    files[1].write_text("mask 2.nii.gz")  # as long as before, and of the same time
    os.utime(files[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.get("a", "k") is None
    files[1].write_text("mask 1.nii.gz")
    assert cache.get("a", "k") == {"v": 1}
    files[0].unlink()
    assert cache.get("a", "k") is None


def test_a_moved_results_folder_keeps_its_cases_and_looks_at_its_own_files(tmp_path):
    _, files = with_file(tmp_path)
    (tmp_path / "results").rename(tmp_path / "moved")
    for file in files:  # of another study, where the results were
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("another")
    assert CaseCache(tmp_path / "moved/cache/stage/m.jsonl").get("a", "k") == {"v": 1}


def test_only_the_cases_that_hold_are_found(tmp_path):
    cache = CaseCache(tmp_path / "c.jsonl")
    cache.put("a", "1", 0)
    cache.put("b", "1", [])
    assert cache.find({"b": "1", "a": "1", "c": "1"}, threads=3) == {"b": [], "a": 0}
    assert cache.find({"a": "2"}) == {}


def square(case, offset=0):
    if case < 0:
        raise UserError(f"{case}: below zero", f"{case}: no square root")
    if case == 99:
        raise ZeroDivisionError
    time.sleep((5 - case) / 100)  # the first is finished last
    return {"square": case**2 + offset}


def compute(path, cases, threads, **keywords):
    cache = CaseCache(path)
    keys = {name: f"key of {case}" for name, case in cases.items()}
    keywords = {"threads": threads, "console": Console(), "what": "squares", "cache": cache, "keys": keys, **keywords}
    return compute_cases(square, cases, 1, **keywords)


@pytest.mark.parametrize("threads", [1, 3])
def test_values_come_in_the_order_asked_and_only_what_is_new_is_computed(tmp_path, threads):
    path = tmp_path / "c.jsonl"
    values, computed = compute(path, {"one": 1, "four": 4, "two": 2}, threads)
    assert (list(values.items()), computed) == ([("one", {"square": 2}), ("four", {"square": 17}), ("two", {"square": 5})], 3)
    values, computed = compute(path, {"three": 3, "two": 2, "one": 0}, threads)
    assert (list(values), values["one"], computed) == (["three", "two", "one"], {"square": 1}, 2)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_problem_of_one_case_keeps_none_of_the_others_from_being_finished(tmp_path, threads):
    path, cases = tmp_path / "c.jsonl", {"bad": -1, "one": 1, "worse": -2, "two": 2}
    with pytest.raises(UserError) as stopped:
        compute(path, cases, threads)
    told = ["-1: below zero", "-1: no square root", "-2: below zero", "-2: no square root"]
    assert str(stopped.value).splitlines() == told
    problems = ["known before"]
    values, computed = compute(path, cases, threads, problems=problems)
    assert (list(values), computed, problems) == (["one", "two"], 2, ["known before", *told])


@pytest.mark.parametrize("threads", [1, 3])
def test_a_defect_of_ours_stops_the_work_and_loses_nothing_that_was_finished(tmp_path, threads):
    path = tmp_path / "c.jsonl"
    with pytest.raises(ZeroDivisionError):
        compute(path, {"one": 1, "two": 2, "defect": 99, **{str(number): 5 for number in range(500)}}, threads)
    done = [json.loads(line)[0] for line in path.read_text().splitlines()]
    assert {"one", "two"} <= set(done)
    assert len(done) < 400  # what the processes had begun


def test_without_a_cache_everything_is_computed_and_need_not_be_json():
    values, computed = compute_cases(complex, {"a": 1, "b": 2}, threads=1, console=Console(), what="numbers")
    assert (values, computed) == ({"a": 1 + 0j, "b": 2 + 0j}, 2)


def test_the_files_of_a_case_are_recorded_with_it(tmp_path):
    path, mask = tmp_path / "c.jsonl", tmp_path / "one"
    mask.write_text("made")
    files = {"files": lambda name, value: [tmp_path / name] if value["square"] == 2 else []}
    assert compute(path, {"one": 1, "two": 2}, 1, **files)[1] == 2
    mask.write_text("altered")
    assert compute(path, {"one": 1, "two": 2}, 1, **files)[1] == 1
