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
    exception of ``function`` is raised here, once the items that were being worked on have been yielded too; no other is begun.
    """
    workers = min(threads, len(items))
    if workers <= 1:
        for item in items:
            yield item, function(item, *shared)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        waiting = {pool.submit(function, item, *shared): item for item in items}
        try:
            for future in as_completed(list(waiting)):
                result = future.result()
                yield waiting.pop(future), result
        except Exception:
            pool.shutdown(cancel_futures=True)
            for future, item in waiting.items():
                if not future.cancelled() and future.exception() is None:
                    yield item, future.result()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
