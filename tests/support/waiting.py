"""Where tests wait: for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(ready: Callable[[], Value | None], seconds: float = 20.0) -> Value:
    """Return what `ready` returns, as soon as that is true. The test fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := ready()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {ready}"
        time.sleep(0.01)
    return value


async def wait_until_async(ready: Callable[[], Value | None], seconds: float = 20.0) -> Value:
    """As `wait_until`, while other tasks of the event loop run."""
    deadline = time.monotonic() + seconds
    while not (value := ready()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {ready}"
        await asyncio.sleep(0.01)
    return value
