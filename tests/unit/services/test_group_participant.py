"""A node's part of a group over several nodes, step by step, without a router."""

from __future__ import annotations

import asyncio

import pytest

from driver.core.errors import Busy
from driver.services.group_participant import Session
from driver.volumes.copies.barrier import BarrierStep


async def at(session: Session, step: BarrierStep) -> asyncio.Future[None]:
    """A thread that has reached the step, and what becomes of it."""
    going = asyncio.ensure_future(asyncio.to_thread(session.wait_at, step))
    assert await asyncio.wait_for(session.reached.get(), 10) is step
    return going


def test_a_gate_opens_when_all_are_there_and_not_before() -> None:
    async def scenario() -> None:
        session = Session(step_timeout=30)
        first = await at(session, BarrierStep.FROZEN)
        assert not first.done()
        session.advance(BarrierStep.FROZEN)
        await first
        second = await at(session, BarrierStep.TAKEN)
        session.advance(BarrierStep.FROZEN)  # an old word opens nothing
        await asyncio.sleep(0.05)
        assert not second.done()
        session.advance(BarrierStep.THAWED)
        await second
        await at(session, BarrierStep.THAWED)

    asyncio.run(scenario())


def test_who_waits_is_sent_back_when_the_router_gives_up() -> None:
    async def scenario() -> None:
        session = Session(step_timeout=30)
        waiting = await at(session, BarrierStep.FROZEN)
        session.end()
        with pytest.raises(Busy):
            await waiting
        with pytest.raises(Busy):
            await asyncio.to_thread(session.wait_at, BarrierStep.TAKEN)

    asyncio.run(scenario())


def test_nobody_waits_for_longer_than_the_bound() -> None:
    async def scenario() -> None:
        waiting = await at(Session(step_timeout=0.01), BarrierStep.FROZEN)
        with pytest.raises(Busy, match="not frozen in time"):
            await waiting

    asyncio.run(scenario())
