"""Adds the name of the pool to an error of its backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from driver.core.errors import NoSpace, OutOfRange
from driver.core.ports.pool import Pool


@contextmanager
def naming(*pools: Pool) -> Iterator[None]:
    """Put the pool's name in front of the text of a NoSpace or OutOfRange error that the `with`
    block raises; if several pools are given, such an error is left as it is.
    """
    try:
        yield
    except (NoSpace, OutOfRange) as error:
        pool_names = {pool.name for pool in pools}
        if len(pool_names) > 1:
            raise
        raise type(error)(f"pool {pool_names.pop()}: {error}") from error
