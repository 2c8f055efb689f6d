"""Logs when pools become unavailable or available, and has the lines of /readyz about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from loguru import logger

from driver.core.capacity import PoolState


class PoolLog:
    """Logs when pools become unavailable or available. To be used from one thread at a time."""

    def __init__(self) -> None:
        self._problems: dict[str, str | None] = {}

    def observe(self, states: Iterable[PoolState]) -> None:
        """Log which pools became unavailable or available since the last call; at the first call,
        log which pools are unavailable.
        """
        for state in states:
            before = self._problems.get(state.name)
            self._problems[state.name] = state.unavailable
            if state.unavailable and _without_numbers(state.unavailable) != _without_numbers(
                before
            ):
                logger.bind(pool=state.name).warning(
                    "pool {} cannot be used: {}", state.name, state.unavailable
                )
            elif before and not state.unavailable:
                logger.bind(pool=state.name).info("pool {} can be used again", state.name)

    def lines(self) -> Sequence[str]:
        """Return a sentence for each pool that is unavailable."""
        known = dict(self._problems)
        return [
            f"pool {name} cannot be used: {problem}" for name, problem in known.items() if problem
        ]


def _without_numbers(problem: str | None) -> str:
    """Return the reason without its numbers: seconds that grow are no change."""
    return re.sub(r"[0-9]+", "", problem or "")
