from __future__ import annotations

import asyncio
import os
import signal

import aiohttp
import pytest

from driver.cli.page.process import serve
from tests.unit.cli.page.fake_driver import FakeDriver


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_at_a_free_port_until_a_signal(number: signal.Signals) -> None:
    async def scenario() -> None:
        started: asyncio.Queue[str] = asyncio.Queue()
        task = asyncio.create_task(
            serve(FakeDriver().make, "127.0.0.1", 0, on_start=started.put_nowait)
        )
        address = await started.get()
        async with aiohttp.ClientSession() as session, session.get(address) as response:
            assert response.status == 200
        os.kill(os.getpid(), number)
        async with asyncio.timeout(20):
            await task

    asyncio.run(scenario())


def test_it_ends_while_the_driver_hangs() -> None:
    driver = FakeDriver()
    driver.hangs = True

    async def scenario() -> None:
        started: asyncio.Queue[str] = asyncio.Queue()
        task = asyncio.create_task(serve(driver.make, "127.0.0.1", 0, on_start=started.put_nowait))
        await started.get()
        await asyncio.to_thread(driver.hanging.wait)
        os.kill(os.getpid(), signal.SIGINT)
        await task
        assert driver.closed.is_set()  # else the thread would not end, nor this test

    asyncio.run(scenario())


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        asyncio.run(serve(FakeDriver().make, "192.0.2.1", 0, on_start=print))
