"""How late the event loop is."""

from __future__ import annotations

import asyncio
import time

from driver.core.ports.measures import Measure, Measures
from driver.observe.loop_lag import measure_loop_lag


def test_work_on_the_event_loop_makes_it_late() -> None:
    measures = Measures()

    async def scenario() -> None:
        task = asyncio.create_task(measure_loop_lag(measures, 0.01))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - this is the fault
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(scenario())
    assert measures.distributions()[Measure.LOOP_LAG, ""].total > 0.1
