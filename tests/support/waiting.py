"""Where tests wait: for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(ready: Callable[[], Found | None], seconds: float = 20.0) -> Found:
    """Return what `ready` returns, as soon as that is true. The test fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {ready}"
        time.sleep(0.01)
    return found


async def wait_until_async(ready: Callable[[], Found | None], seconds: float = 20.0) -> Found:
    """As `wait_until`, while other tasks of the event loop run."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {ready}"
        await asyncio.sleep(0.01)
    return found
