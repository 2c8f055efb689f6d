"""Says it in the log when a pool goes away and comes back, and keeps what /readyz tells of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from loguru import logger

from driver.core.capacity import PoolState


class PoolNews:
    """Log when pools become unavailable or available. Used from one thread at a time."""

    def __init__(self) -> None:
        self._away: dict[str, str | None] = {}

    def hear(self, states: Iterable[PoolState]) -> None:
        """Log what has changed since the last call; at the first call, which pools are
        unavailable.
        """
        for state in states:
            before = self._away.get(state.name)
            self._away[state.name] = state.unavailable
            if state.unavailable and _gist(state.unavailable) != _gist(before):
                logger.bind(pool=state.name).warning(
                    "pool {} cannot be used: {}", state.name, state.unavailable
                )
            elif before and not state.unavailable:
                logger.bind(pool=state.name).info("pool {} can be used again", state.name)

    def lines(self) -> Sequence[str]:
        """Return a sentence for each pool that is unavailable."""
        known = dict(self._away)
        return [f"pool {name} cannot be used: {why}" for name, why in known.items() if why]


def _gist(why: str | None) -> str:
    """Return the reason without its numbers: seconds that grow are no change."""
    return re.sub(r"[0-9]+", "", why or "")
