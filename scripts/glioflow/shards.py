"""Shards: the parts of a set of cases that one job each works on, and the joining of what these jobs wrote.

The shard of a case follows from the SHA-256 of its id and the number of shards alone. So one case more, or less, changes one
shard and leaves every other case where it is, as long as the number of shards stays. A shard is called ``<i>-of-<n>``, from 1:
its name says how many there are, and no job can work on another division than the one that was planned.
"""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from glioflow.errors import UserError
from glioflow.files import PathLike

NAMED_CASES = 5  # how many cases a message names of each kind


def shard_names(number: int) -> list[str]:
    """Return the names of so many shards, in order."""
    return [f"{place}-of-{number}" for place in range(1, number + 1)]


def shard_of(case_id: str, number: int) -> str:
    """Return the name of a case's shard among so many: by the first 64 bits of the SHA-256 of its id."""
    digest = hashlib.sha256(case_id.encode()).digest()
    return f"{int.from_bytes(digest[:8], 'big') % number + 1}-of-{number}"


def in_shard(case_ids: Iterable[str], shard: str) -> list[bool]:
    """Tell of each case whether it is in the shard of this name."""
    number = int(shard.rpartition("-of-")[2])
    return [shard_of(str(case_id), number) == shard for case_id in case_ids]


def require_each_once(
    found: Collection[str],
    needed: Collection[str],
    members: Collection[str],
    twice: Collection[str],
    tables: Iterable[PathLike],
) -> None:
    """Raise UserError unless the tables of a set's shards hold each of its cases exactly once.

    Parameters
    ----------
    found
        Ids of the cases that the tables hold.
    needed, members
        Ids of the cases that they must hold, and that they may hold.
    twice
        Ids of the cases of which they hold a row twice.
    tables
        The tables, which the message names the folder of.
    """
    kinds = {
        "missing": set(needed) - set(found),
        "there twice": set(twice),
        "of no case of the set": set(found) - set(members),
    }
    wrong = [f"{what}: {_listed(sorted(cases))}" for what, cases in kinds.items() if cases]
    if wrong:
        folder = next((Path(table).parent for table in tables), Path())
        raise UserError(
            f"{folder}: the shards do not hold every case of the set exactly once ({'; '.join(wrong)}); delete this folder and "
            "run again"
        )


def _listed(cases: list[str]) -> str:
    more = f" and {len(cases) - NAMED_CASES} more" if len(cases) > NAMED_CASES else ""
    return ", ".join(cases[:NAMED_CASES]) + more
