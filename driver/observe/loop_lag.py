"""Measures the delay of the event loop, which rises if work on the loop delays all calls."""

from __future__ import annotations

import asyncio
from typing import Final

from driver.core.ports.measures import MEASURES, Measure, Measures

INTERVAL: Final = 2.0  # seconds between two observations


async def measure_loop_lag(measures: Measures = MEASURES, interval: float = INTERVAL) -> None:
    """Record every `interval` seconds how late the event loop wakes this task, until it is
    cancelled.
    """
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        measures.observe(Measure.LOOP_LAG, max(0.0, loop.time() - due))
