"""Pauses between attempts: each is twice as long as the one before, up to a longest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """The first and the longest pause, in seconds."""

    first: float
    longest: float

    def pauses(self) -> Iterator[float]:
        """Yield the pauses without end, in seconds. After a success, call it again."""
        pause = self.first
        while True:
            yield pause
            pause = min(2 * pause, self.longest)
