"""Work on many cases with the cores a job was given."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    function: Callable[..., Result], items: Sequence[Item], threads: int, *shared: Any
) -> Iterator[tuple[Item, Result]]:
    """Yield ``(item, function(item, *shared))`` for every item as it is finished, in ``threads`` processes.

    ``function`` and its arguments must be picklable. With one thread or one item everything runs in this process. An
    exception of ``function`` is raised here.
    """
    workers = min(threads, len(items))
    if workers <= 1:
        for item in items:
            yield item, function(item, *shared)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        waiting = {pool.submit(function, item, *shared): item for item in items}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        finally:
            for future in waiting:
                future.cancel()
