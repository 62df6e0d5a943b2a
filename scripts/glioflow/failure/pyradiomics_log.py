"""What pyradiomics has to say, taken from its logger."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import radiomics


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect pyradiomics' warnings of the block in a list, and let it print nothing."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    radiomics.setVerbosity(logging.CRITICAL + 10)
    radiomics.logger.addHandler(handler)
    try:
        yield messages
    finally:
        radiomics.logger.removeHandler(handler)
