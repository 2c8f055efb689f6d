"""Periodic maintenance of the pools."""

from __future__ import annotations

from loguru import logger

from driver.core.errors import CellarError
from driver.core.ports.backend_features import NeedsMaintenance
from driver.core.ports.pool import Pool


def maintain(pool: Pool) -> None:
    """Do the pool's periodic maintenance, such as extending a thin pool that fills up; no-op if its
    type needs none. Errors are logged, not raised.
    """
    if isinstance(pool.backend, NeedsMaintenance):
        try:
            pool.backend.maintain()
        except (CellarError, OSError) as error:
            logger.warning("pool {} could not be looked after: {}", pool.name, error)
