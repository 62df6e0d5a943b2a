import pytest

from glioflow.study.duplicate_keys import duplicate_keys


@pytest.fixture
def found(tmp_path):
    """What is found in a file of this text."""

    def look(text: str) -> list[str]:
        (tmp_path / "study.yaml").write_text(text)
        return duplicate_keys(tmp_path / "study.yaml")

    return look


def test_two_models_of_one_name_are_told_with_their_lines(found):
    text = "models:\n  a: {cohort: x}\n  b: {cohort: x}\n  a:\n    cohort: y\n"
    assert found(text) == ["models: 'a' stands twice (lines 2 and 4); names must differ"]


def test_a_key_of_the_file_itself_and_one_deep_inside_are_told(found):
    text = "models:\n  a:\n    plans: {n_stages: 4, n_stages: 5, n_stages: 6}\nmodels: {}\n"
    assert found(text) == [
        "the file: 'models' stands twice (lines 1 and 4); names must differ",
        "models.a.plans: 'n_stages' stands 3 times (lines 3, 3 and 3); names must differ",
    ]


def test_quotes_make_no_other_key(found):
    assert len(found("a: 1\n'a': 2\n\"a\": 3\n")) == 1


def test_a_key_in_a_list_is_told(found):
    assert found("steps:\n- {a: 1}\n- {b: 1, b: 2}\n")[0].startswith("steps[1]: 'b' stands twice")


def test_one_name_at_several_places_is_no_duplicate(found):
    assert found("a: {x: 1}\nb: {x: 1}\nlist: [{x: 1}, {x: 2}]\n1: a\n'1': b\n") == []


def test_what_is_merged_in_may_be_replaced_and_is_told_once(found):
    text = "base: &base {epochs: 5, seed: 1}\nmodels:\n  a: {<<: *base, epochs: 9}\n  b: *base\n"
    assert found(text) == []
    assert len(found(text.replace("seed: 1", "epochs: 6"))) == 1


def test_an_alias_of_the_mapping_it_stands_in_does_not_go_round_for_ever(found):
    assert found("a: &a\n  b: *a\n  c: 1\n  c: 2\n") == ["a: 'c' stands twice (lines 3 and 4); names must differ"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "just text\n", "a: [1\n", "{'a': 1}\n"])
def test_a_file_without_duplicates_or_without_sense_gives_none(found, text):
    assert found(text) == []


def test_the_studies_that_come_with_glioflow_have_none(repo):
    for path in (repo / "config").rglob("*.yaml"):
        assert duplicate_keys(path) == [], path
