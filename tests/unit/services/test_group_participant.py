"""A node's part of a group over several nodes, step by step, without a router."""

from __future__ import annotations

import asyncio

import pytest

from driver.core.errors import Busy
from driver.services.group_participant import Session
from driver.volumes.copies.barrier import BarrierStep


async def at(lease: Session, step: BarrierStep) -> asyncio.Future[None]:
    """A thread that has reached the step, and what becomes of it."""
    going = asyncio.ensure_future(asyncio.to_thread(lease.gate, step))
    assert await asyncio.wait_for(lease.reached.get(), 10) is step
    return going


def test_a_gate_opens_when_all_are_there_and_not_before() -> None:
    async def story() -> None:
        lease = Session(bound=30)
        first = await at(lease, BarrierStep.FROZEN)
        assert not first.done()
        lease.advance(BarrierStep.FROZEN)
        await first
        second = await at(lease, BarrierStep.TAKEN)
        lease.advance(BarrierStep.FROZEN)  # an old word opens nothing
        await asyncio.sleep(0.05)
        assert not second.done()
        lease.advance(BarrierStep.THAWED)
        await second
        await at(lease, BarrierStep.THAWED)

    asyncio.run(story())


def test_who_waits_is_sent_back_when_the_router_gives_up() -> None:
    async def story() -> None:
        lease = Session(bound=30)
        waiting = await at(lease, BarrierStep.FROZEN)
        lease.end()
        with pytest.raises(Busy):
            await waiting
        with pytest.raises(Busy):
            await asyncio.to_thread(lease.gate, BarrierStep.TAKEN)

    asyncio.run(story())


def test_nobody_waits_for_longer_than_the_bound() -> None:
    async def story() -> None:
        waiting = await at(Session(bound=0.01), BarrierStep.FROZEN)
        with pytest.raises(Busy, match="not held in time"):
            await waiting

    asyncio.run(story())
