"""The short form of benchmarks/failure_truth.py: what was planted is found, and where nothing is, nothing."""

import sys

import pytest
from conftest import REPO

sys.path.insert(0, str(REPO / "benchmarks"))

import failure_truth
from failure_truth import CONTRAST, VOLUME, Structure, finds_texture, first_finding, simulate

from glioflow.report.claims import findings

SEEDS, PATIENTS = 12, 74


@pytest.fixture(scope="module")
def structures() -> dict[str, Structure]:
    return {kind: failure_truth.measure_structure(kind, 24, 1) for kind in ("graded", "volume")}


def test_a_planted_contrast_is_found_first_by_a_feature_that_contrast_moves(structures: dict[str, Structure]) -> None:
    moved = structures["graded"].moved_by(CONTRAST)
    first = [first_finding(simulate(structures["graded"], CONTRAST, PATIENTS, seed))[0] for seed in range(SEEDS)]
    assert sum(moved.get(name, 0) >= failure_truth.MOVED for name in first) >= SEEDS - 1


def test_where_volume_is_all_it_is_found_and_no_texture_at_equal_volume(structures: dict[str, Structure]) -> None:
    moved = structures["volume"].moved_by(VOLUME)
    tables = [simulate(structures["volume"], VOLUME, PATIENTS, seed) for seed in range(SEEDS)]
    assert sum(moved.get(first_finding(table)[0], 0) >= failure_truth.MOVED for table in tables) >= SEEDS - 1
    assert sum(map(finds_texture, tables)) <= 1
    # Without that test a texture would be called a finding in nearly every one.
    assert sum(bool((table.query("meaning_group == 'extent'")["q"] < 0.05).any()) for table in tables) >= SEEDS - 1


def test_where_the_metric_is_random_nothing_is_found_though_d_is_large(structures: dict[str, Structure]) -> None:
    tables = [simulate(structures["graded"], None, PATIENTS, seed) for seed in range(SEEDS)]
    assert sum(not findings(table).empty for table in tables) <= 1
    assert sum(table["cohens_d"].abs().max() > 0.5 for table in tables) > SEEDS / 2
    assert sum(table["cohens_d"].abs().max() > table["d_null_95"].iloc[0] for table in tables) <= 3


@pytest.mark.parametrize(
    ("changed", "missed"),
    [({}, False), ({"volume": 0.08}, False), ({"volume": 0.12}, True), ({"nothing": 0.12}, True), ({"planted": 0.9}, True)],
)
def test_a_bound_is_missed_where_chance_hardly_takes_a_share_so_far(changed: dict[str, float], missed: bool) -> None:
    shares = {"planted": 0.99, "size": 0.99, "nothing": 0.04, "volume": 0.02}
    assert failure_truth.misses_bound({**shares, **changed}, 100) == missed


def test_the_simulated_patients_have_the_phantoms_correlations(structures: dict[str, Structure]) -> None:
    import numpy as np

    structure = structures["graded"]
    drawn = structure.draw(4000, np.random.default_rng(0)).to_numpy()
    expected, found = np.corrcoef(structure.scores, rowvar=False), np.corrcoef(drawn, rowvar=False)
    assert np.abs(found - expected).max() < 0.09
