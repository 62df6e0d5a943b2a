"""A case's shard follows from its id and the number of shards alone, and a set's shards hold each of its cases once."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glioflow.errors import UserError
from glioflow.shards import in_shard, require_each_once, shard_names, shard_of

IDS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=60, unique=True)


def divided(cases: list[str], number: int) -> dict[str, list[str]]:
    """Return the cases of each shard."""
    chosen = {shard: in_shard(cases, shard) for shard in shard_names(number)}
    return {shard: [case for case, mine in zip(cases, flags, strict=True) if mine] for shard, flags in chosen.items()}


def test_shards_are_named_by_place_and_number():
    assert shard_names(3) == ["1-of-3", "2-of-3", "3-of-3"]


def test_the_shard_is_the_first_eight_bytes_of_the_ids_hash_modulo_the_number():
    digest = hashlib.sha256(b"BraTS2021_00000").hexdigest()
    assert shard_of("BraTS2021_00000", 26) == f"{int(digest[:16], 16) % 26 + 1}-of-26"


@given(IDS, st.integers(1, 9))
def test_every_case_is_in_exactly_one_shard(cases: list[str], number: int):
    assert sorted(case for shard in divided(cases, number).values() for case in shard) == sorted(cases)


@given(IDS, st.integers(1, 9), st.randoms())
def test_one_case_more_changes_one_shard_and_no_order_matters(cases: list[str], number: int, chance):
    before = divided(cases[1:], number)
    shuffled = chance.sample(cases, len(cases))
    after = {shard: sorted(members) for shard, members in divided(shuffled, number).items()}
    changed = [shard for shard in before if sorted(before[shard]) != after[shard]]
    assert changed == [shard_of(cases[0], number)]


def test_1251_cases_are_spread_evenly():
    sizes = [len(members) for members in divided([f"BraTS2021_{number:05d}" for number in range(1251)], 26).values()]
    assert sum(sizes) == 1251
    assert min(sizes) > 25 and max(sizes) < 75  # 48 each, with a standard deviation of 7


@pytest.mark.parametrize(
    ("found", "twice", "said"),
    [
        (["a", "b"], [], "missing: c"),
        (["a", "b", "c"], ["b"], "there twice: b"),
        (["a", "b", "c", "x"], [], "of no case of the set: x"),
        ([], [], "missing: a, b, c"),
    ],
)
def test_a_set_that_is_not_whole_is_refused_with_what_to_delete(found, twice, said):
    with pytest.raises(UserError) as caught:
        require_each_once(found, ["a", "b", "c"], ["a", "b", "c"], twice, ["results/scores/m/cv_shards/1-of-2.csv"])
    assert str(caught.value).startswith("results/scores/m/cv_shards: the shards do not hold every case of the set exactly once")
    assert f"({said}); delete this folder and run again" in str(caught.value)


def test_a_message_names_five_cases_and_counts_the_others():
    with pytest.raises(UserError, match=r"missing: c0, c1, c2, c3, c4 and 3 more\)"):
        require_each_once([], [f"c{number}" for number in range(8)], [f"c{number}" for number in range(8)], [], ["t.csv"])


def test_a_set_that_is_whole_passes():
    require_each_once(["b", "a"], ["a"], ["a", "b"], [], ["t.csv"])
