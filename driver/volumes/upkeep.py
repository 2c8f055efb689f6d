"""What is done now and then, asked for by nobody."""

from __future__ import annotations

from collections.abc import Iterable

from loguru import logger

from driver.core.errors import CellarError
from driver.core.ports import Pool, Tends


def tend(pools: Iterable[Pool]) -> None:
    """Look after the pools that want it; what goes wrong with one is no reason to leave another."""
    for pool in pools:
        if isinstance(pool.backend, Tends):
            try:
                pool.backend.tend()
            except (CellarError, OSError) as error:
                logger.warning("pool {} could not be looked after: {}", pool.name, error)
