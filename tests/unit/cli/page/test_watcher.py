from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from csi_proto import inspect_pb2
from driver.cli.page import watcher as module
from driver.cli.page.watcher import Watcher
from tests.unit.cli.page.fake_driver import FakeDriver, id_of


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)


@asynccontextmanager
async def watching(driver: FakeDriver) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    watcher = Watcher(driver.make)
    task = asyncio.create_task(watcher.run())
    try:
        yield watcher.follow()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def next_of(events: AsyncIterator[tuple[str, Any]], name: str) -> Any:
    async with asyncio.timeout(20):
        async for event, value in events:
            if event == name:
                return value
    raise AssertionError(name)


def test_everything_is_told_first_then_what_changes() -> None:
    async def scenario() -> None:
        driver = FakeDriver(count=2)
        async with watching(driver) as events:
            assert await next_of(events, "begin") == {}
            assert set((await next_of(events, "volumes"))["rows"]) == {id_of(0), id_of(1)}
            driver.abnormal[id_of(1)] = "the image is gone"
            changed = (await next_of(events, "volumes"))["rows"]
            assert {key: row["condition"] for key, row in changed.items()} == {
                id_of(1): "the image is gone"
            }
            del driver.names[id_of(0)]
            assert await next_of(events, "volumes") == {"gone": [id_of(0)]}

    asyncio.run(scenario())


def test_a_driver_that_does_not_answer_is_told_and_what_was_known_stays() -> None:
    async def scenario() -> None:
        driver = FakeDriver()
        async with watching(driver) as events:
            await next_of(events, "volumes")
            driver.problem = "nothing answers"
            while not (status := await next_of(events, "status"))["problem"]:
                pass
            assert "nothing answers" in status["problem"]
            driver.problem = ""
            while (await next_of(events, "status"))["problem"]:
                pass

    asyncio.run(scenario())


def test_calls_are_told() -> None:
    async def scenario() -> None:
        driver = FakeDriver()
        driver.end_call("CreateVolume", '{"name": "pvc-1"}')
        async with watching(driver) as events:
            [call] = await next_of(events, "calls") or await next_of(events, "calls")
            assert (call["rpc"], call["request"]) == ("CreateVolume", {"name": "pvc-1"})

    asyncio.run(scenario())


def test_copies_and_what_is_wrong_are_told() -> None:
    async def scenario() -> None:
        driver = FakeDriver(count=1)
        driver.copies = [inspect_pb2.Copy(node="n1", text="a clone", total_bytes=4, copied_bytes=1)]
        driver.conditions = [
            inspect_pb2.Condition(node="n1", alert="CellarNotRegistered", severity="critical"),
            inspect_pb2.Condition(alert="CellarWatchInterrupted", text="of nodes"),
            inspect_pb2.Condition(alert="CellarWatchInterrupted", text="of pods"),
        ]
        async with watching(driver) as events:
            copies = (await next_of(events, "copies"))["rows"]
            assert copies["n1/a clone"]["copied_bytes"] == 1
            conditions = (await next_of(events, "conditions"))["rows"].values()
            assert [row["alert"] for row in conditions] == [
                "CellarNotRegistered",
                "CellarWatchInterrupted",
                "CellarWatchInterrupted",
                "CellarDirectIoLost",  # what follows from the pools that are shown
                "CellarPoolUnavailable",
            ]
            driver.copies.clear()
            assert await next_of(events, "copies") == {"gone": ["n1/a clone"]}

    asyncio.run(scenario())


def test_a_driver_is_left_alone_while_nobody_looks() -> None:
    async def scenario() -> None:
        driver = FakeDriver()
        task = asyncio.create_task(Watcher(driver.make).run())
        await asyncio.sleep(0.3)
        task.cancel()
        assert driver.asked <= 3  # one look: pools, and pools for the names in two lists

    asyncio.run(scenario())


def test_ten_thousand_volumes_come_in_pieces() -> None:
    async def scenario() -> None:
        async with watching(FakeDriver(count=10_000)) as events:
            count = 0
            while count < 10_000:
                rows = (await next_of(events, "volumes"))["rows"]
                assert len(rows) <= 1000
                count += len(rows)

    asyncio.run(scenario())
