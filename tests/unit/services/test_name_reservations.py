"""The names that routers create: one router at a time, and whether anybody was at it before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from driver.csi.protocol import NAME_MEMORY
from driver.services import name_reservations
from driver.services.name_reservations import NameReservations


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def play(
    scenario: Callable[[NameReservations, Clock], Awaitable[None]], *, old: bool = True
) -> None:
    """Of a node that has run for long, if it is `old`."""

    async def live() -> None:
        clock = Clock()
        reservations = NameReservations(clock)
        clock.now += NAME_MEMORY if old else 0
        await scenario(reservations, clock)

    asyncio.run(live())


def test_a_name_that_nobody_had_is_quiet_and_one_that_was_released_is_not() -> None:
    async def scenario(names: NameReservations, clock: Clock) -> None:
        assert await names.take("a")
        names.release("a")
        assert not await names.take("a")
        assert await names.take("b")
        names.release("a")
        clock.now += NAME_MEMORY - 0.1
        assert not await names.take("a")
        names.release("a")
        clock.now += NAME_MEMORY + 0.1
        assert await names.take("a")

    play(scenario)


def test_a_node_that_has_just_begun_does_not_know() -> None:
    async def scenario(names: NameReservations, clock: Clock) -> None:
        assert not await names.take("a")
        clock.now += NAME_MEMORY
        assert await names.take("b")

    play(scenario, old=False)


def test_a_name_is_one_routers_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_reservations, "NAME_WAIT", 0.05)

    async def scenario(names: NameReservations, clock: Clock) -> None:
        await names.take("a")
        with pytest.raises(TimeoutError):
            await names.take("a")
        waiting = asyncio.create_task(names.take("a"))
        await asyncio.sleep(0)
        names.release("a")
        assert not await waiting

    play(scenario)


def test_what_was_long_ago_is_forgotten() -> None:
    async def scenario(names: NameReservations, clock: Clock) -> None:
        for number in range(100):
            await names.take(str(number))
            names.release(str(number))
        clock.now += NAME_MEMORY + 0.1
        await names.take("last")
        assert names._released == {}

    play(scenario)
