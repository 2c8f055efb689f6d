"""A node's part of a group over several nodes, step by step, without a router."""

from __future__ import annotations

import asyncio

import pytest

from driver.core.errors import Busy
from driver.services.group_participant import Lease
from driver.volumes.copies.barrier import Step


async def at(lease: Lease, step: Step) -> asyncio.Future[None]:
    """A thread that has reached the step, and what becomes of it."""
    going = asyncio.ensure_future(asyncio.to_thread(lease.gate, step))
    assert await asyncio.wait_for(lease.reached.get(), 10) is step
    return going


def test_a_gate_opens_when_all_are_there_and_not_before() -> None:
    async def story() -> None:
        lease = Lease(bound=30)
        first = await at(lease, Step.FROZEN)
        assert not first.done()
        lease.advance(Step.FROZEN)
        await first
        second = await at(lease, Step.TAKEN)
        lease.advance(Step.FROZEN)  # an old word opens nothing
        await asyncio.sleep(0.05)
        assert not second.done()
        lease.advance(Step.THAWED)
        await second
        await at(lease, Step.THAWED)

    asyncio.run(story())


def test_who_waits_is_sent_back_when_the_router_gives_up() -> None:
    async def story() -> None:
        lease = Lease(bound=30)
        waiting = await at(lease, Step.FROZEN)
        lease.end()
        with pytest.raises(Busy):
            await waiting
        with pytest.raises(Busy):
            await asyncio.to_thread(lease.gate, Step.TAKEN)

    asyncio.run(story())


def test_nobody_waits_for_longer_than_the_bound() -> None:
    async def story() -> None:
        waiting = await at(Lease(bound=0.01), Step.FROZEN)
        with pytest.raises(Busy, match="not held in time"):
            await waiting

    asyncio.run(story())
