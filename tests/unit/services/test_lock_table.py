"""The table of locks, without a dispatcher."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.errors import Busy
from driver.services.lock_table import LockHolder, LockTable
from driver.volumes.locks import Locks


def exclusive(*keys: str) -> Locks:
    return Locks(exclusive=frozenset(keys))


def shared(*keys: str) -> Locks:
    return Locks(shared=frozenset(keys))


def test_what_is_alone_is_refused_to_all_and_what_is_shared_to_those_who_want_it_alone() -> None:
    table = LockTable()
    holder = table.take(exclusive("a"))
    for other in (exclusive("a"), shared("a"), exclusive("a", "b")):
        with pytest.raises(Busy):
            table.take(other)
    table.release(holder)
    first, second = table.take(shared("a")), table.take(shared("a"))
    table.release(first)
    with pytest.raises(Busy):
        table.take(exclusive("a"))
    table.release(second)
    table.take(exclusive("a"))


def test_a_call_may_share_what_it_has_alone() -> None:
    table = LockTable()
    both = Locks(frozenset({"a"}), frozenset({"a", "b"}))
    holder = table.take(both)
    table.release(holder)
    table.take(exclusive("a", "b"))


keys = st.frozensets(st.sampled_from("abc"), max_size=3)


@given(st.lists(st.tuples(st.builds(Locks, keys, keys), st.booleans()), max_size=30))
def test_the_table_agrees_with_a_plain_model(steps: list[tuple[Locks, bool]]) -> None:
    table = LockTable()
    holders: list[LockHolder] = []
    for locks, release in steps:
        if release and holders:
            table.release(holders.pop(0))
        others = [holder.locks for holder in holders]
        free = not any(
            locks.exclusive & (held.exclusive | held.shared) or locks.shared & held.exclusive
            for held in others
        )
        try:
            taken = table.take(locks)
        except Busy:
            assert not free
        else:
            assert free
            holders.append(taken)
    for holder in holders:
        table.release(holder)
    table.take(Locks(frozenset("abc")))


def test_upkeep_is_known_by_the_locks_that_it_has_for_a_moment() -> None:
    async def scenario() -> None:
        table = LockTable()
        call = table.take(exclusive("b"))
        upkeep = table.take(Locks(frozenset({"a"}), brief=True))
        assert table.upkeep(exclusive("b", "c")) is None
        ended = table.upkeep(shared("a"))
        assert ended is table.upkeep(exclusive("c", "a"))
        assert ended and not ended.is_set()
        table.release(upkeep)
        assert ended.is_set()
        assert table.upkeep(shared("a")) is None
        table.release(call)

    asyncio.run(scenario())
