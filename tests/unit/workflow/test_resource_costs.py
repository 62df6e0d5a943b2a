"""What jobs ask for: worked out by hand, growing with cases, iterations and attempts, and a site's own over it."""

import re

import pytest
from conftest import REPO

from glioflow.errors import UserError
from glioflow.workflow.resource_costs import SITE_VARIABLE, Costs, read_costs

RULES = {
    "score": {"mem_mb": 1000, "minutes": 10, "seconds": 6},
    "train": {"mem_mb": 1, "minutes": 1, "seconds_per_iteration": 0.1},
}
COSTS = Costs.model_validate({"safety": 2, "rules": RULES})


def test_time_follows_from_cases_and_cores_and_memory_from_attempts():
    assert COSTS.runtime("score", cases=100, cores=4) == 10 + 2 * 6 * 100 / 4 / 60  # 15 min
    assert COSTS.runtime("score") == 10
    assert COSTS.runtime("score", cases=1) == 11  # a part of a minute counts as one
    assert COSTS.runtime("score", cases=100, cores=4, attempt=2) == 30
    assert (COSTS.memory_mb("score"), COSTS.memory_mb("score", attempt=3)) == (1000, 3000)


def test_training_follows_from_iterations():
    assert COSTS.runtime("train", iterations=30000) == 1 + 100


def test_a_fold_as_nnunet_trains_it_has_about_two_days():
    assert 1.5 < read_costs().runtime("train_fold", cases=1251, cores=12, iterations=1000 * 250) / 60 / 24 < 3


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A function that makes a text the site's file."""

    def put(text: str):
        (tmp_path / "site.yaml").write_text(text)
        monkeypatch.setenv(SITE_VARIABLE, str(tmp_path / "site.yaml"))

    return put


def test_a_sites_numbers_take_the_place_of_ours_one_by_one(site):
    before = read_costs()
    site("safety: 3\nrules: {train_fold: {mem_mb: 64000}}\n")
    after = read_costs()
    assert (after.safety, after.rules["train_fold"].mem_mb) == (3, 64000)
    assert after.rules["train_fold"].minutes == before.rules["train_fold"].minutes
    assert after.rules["score_cases"] == before.rules["score_cases"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: {train_folds: {mem_mb: 1}}", r"site\.yaml: rules\.train_folds: unknown; known are .*train_fold"),
        ("rules: {train_fold: {memory: 1}}", r"site\.yaml:\n  rules\.train_fold\.memory: Extra"),
        ("rules: {train_fold: {mem_mb: -1}}", r"rules\.train_fold\.mem_mb: Input should be greater than 0"),
        ("rules: [a]", r"site\.yaml: rules: found no mapping"),
    ],
)
def test_a_mistake_in_a_sites_file_is_named(site, text: str, said: str):
    site(text)
    with pytest.raises(UserError, match=said):
        read_costs()


def test_a_sites_file_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv(SITE_VARIABLE, "/nowhere/site.yaml")
    with pytest.raises(UserError, match=r"\$GLIOFLOW_RESOURCES: /nowhere/site\.yaml is no file"):
        read_costs()


def test_every_cost_is_of_a_rule_that_asks_for_it():
    rules = "".join(path.read_text() for path in (REPO / "rules").glob("*.smk"))
    asked = set(re.findall(r'runtime=minutes\("(\w+)"', rules))
    assert asked == set(read_costs().rules) == set(re.findall(r'mem_mb=memory\("(\w+)"', rules))
