"""The one place where a test waits: for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(ready: Callable[[], Found | None], seconds: float = 20.0) -> Found:
    """What `ready` gives as soon as it is true; the test fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {ready}"
        time.sleep(0.01)
    return found
