"""Pauses between retries: each is twice as long as the one before, up to a limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """The lengths of pauses between retries. `first`: the first pause, `longest`: the longest one,
    in seconds.
    """

    first: float
    longest: float

    def pauses(self) -> Iterator[float]:
        """Yield the pauses in seconds, without end. Call it again after a success, to start with
        the first pause.
        """
        pause = self.first
        while True:
            yield pause
            pause = min(2 * pause, self.longest)

    def attempts(self, seconds: float) -> Iterator[None]:
        """Yield for each attempt: at once, and after each pause until `seconds` have passed."""
        deadline = time.monotonic() + seconds
        yield
        for pause in self.pauses():
            if (left := deadline - time.monotonic()) <= 0:
                return
            time.sleep(min(pause, left))
            yield
