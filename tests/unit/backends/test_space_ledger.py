"""The books of a pool: what `largest` says is what `reserve` takes, and nothing counts twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driver.backends.space_entries import Entry
from driver.backends.space_ledger import PER_IMAGE, Ledger
from driver.backends.space_surveys import Filesystem
from driver.core.errors import NoSpace
from driver.core.model import GIB, MIB, Allocation, Bytes
from tests.unit.backends.ledgers import SPARSE, THICK, LedgerDisk, a_ledger, make, owed


@example(1.9, [(1589, Allocation.SPARSE), (1589, Allocation.SPARSE)], Allocation.SPARSE)
@given(
    st.floats(1, 10),
    st.lists(st.tuples(st.integers(1, GIB), st.sampled_from([THICK, SPARSE])), max_size=8),
    st.sampled_from([THICK, SPARSE]),
)
def test_the_largest_is_accepted_and_one_more_is_not(
    overcommit: float, wanted: list[tuple[Bytes, Allocation]], allocation: Allocation
) -> None:
    disk = LedgerDisk(4 * GIB)
    ledger = a_ledger(disk, overcommit)
    for number, (size, how) in enumerate(wanted):
        try:
            make(ledger, disk, str(number), size, how)
        except NoSpace:
            assert size > ledger.largest(how)
    largest = ledger.largest(allocation)
    with pytest.raises(NoSpace):
        make(ledger, disk, "more", largest + 1 + int(overcommit), allocation)
    if largest:
        make(ledger, disk, "most", largest, allocation)


def test_a_refused_image_leaves_the_books_as_they_were() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk)
    before = ledger.largest(THICK)
    with pytest.raises(RuntimeError), ledger.reserve("a", Entry(MIB, THICK, pending=True)):
        raise RuntimeError
    assert ledger.largest(THICK) == before


def test_a_half_made_image_does_not_count_twice() -> None:
    disk = LedgerDisk(GIB + 2 * PER_IMAGE)
    ledger = a_ledger(disk)
    with ledger.reserve("a", Entry(GIB // 2, THICK, pending=True)):
        disk.occupied["a"] = GIB // 4
        assert ledger.largest(THICK) == GIB // 2 + PER_IMAGE


def test_overcommitted_volumes_that_fill_up_leave_no_room() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk, overcommit=4)
    make(ledger, disk, "v", 2 * GIB, SPARSE)
    disk.occupied["v"] = GIB
    assert ledger.largest(SPARSE) == 0


def test_a_pending_image_that_costs_more_than_thought_is_refused_when_full() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk)
    with pytest.raises(NoSpace), ledger.reserve("s", Entry(MIB, THICK, MIB, pending=True)):
        ledger.update_pending("s", Entry(2 * GIB, THICK, 2 * GIB, pending=True))
    assert owed(ledger, disk) == 0


def test_growth_costs_the_difference_only() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk)
    make(ledger, disk, "v", GIB // 2, THICK)
    with ledger.reserve("v", Entry(GIB * 3 // 4, THICK, pending=True)):
        disk.occupied["v"] = GIB * 3 // 4
        ledger.record("v", Entry(GIB * 3 // 4, THICK))
    with pytest.raises(NoSpace), ledger.reserve("v", Entry(2 * GIB, THICK, pending=True)):
        pass
    assert ledger.committed() == GIB * 3 // 4


def shared(*overcommits: float) -> tuple[LedgerDisk, list[Ledger]]:
    """Ledgers of pools that lie on one filesystem."""
    disk, filesystem = LedgerDisk(GIB), Filesystem()
    ledgers = [a_ledger(disk, overcommit) for overcommit in overcommits]
    for ledger in ledgers:
        ledger.join(filesystem)
    return disk, ledgers


def test_pools_on_one_filesystem_promise_its_room_once() -> None:
    disk, (one, other) = shared(1.0, 4.0)
    before = other.largest(THICK)
    make(one, disk, "v", GIB // 2, THICK)
    one.record("v", Entry(GIB // 2, THICK, shared=GIB // 4))  # with a snapshot
    assert other.largest(THICK) == before - GIB * 3 // 4
    make(other, disk, "w", other.largest(SPARSE), SPARSE)
    assert one.largest(THICK) == 0
    with pytest.raises(NoSpace):
        make(one, disk, "x", MIB, THICK)


def test_a_pool_that_goes_owes_nothing_to_its_neighbours() -> None:
    disk, (one, other) = shared(1.0, 1.0)
    before = other.largest(THICK)
    make(one, disk, "v", GIB // 2, SPARSE)
    one.leave()
    assert other.largest(THICK) == before
    assert one.largest(THICK) == before


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, GIB // 2)), max_size=12))
def test_the_largest_of_two_pools_is_accepted_by_each(wanted: list[tuple[int, Bytes]]) -> None:
    disk, ledgers = shared(1.0, 2.0)
    for number, (which, size) in enumerate(wanted):
        largest = ledgers[which].largest(THICK)
        if size <= largest:
            make(ledgers[which], disk, str(number), size, THICK)
        else:
            with pytest.raises(NoSpace):
                make(ledgers[which], disk, str(number), size, THICK)
    assert disk.available() >= 0


@pytest.mark.parametrize("pools", [1, 2])
def test_a_parallel_burst_never_promises_more_than_there_is(pools: int) -> None:
    disk, ledgers = shared(*[1.0] * pools)
    start = Barrier(8)

    def one(number: int) -> bool:
        start.wait()
        try:
            make(ledgers[number % pools], disk, str(number), GIB // 4, THICK)
        except NoSpace:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        made = sum(threads.map(one, range(8)))
    assert made == 3
    assert disk.available() >= 0


def test_no_lock_is_held_while_the_filesystem_is_asked() -> None:
    """A commit of a busy btrfs takes seconds; meanwhile another call can settle its image."""
    disk = LedgerDisk(GIB)
    asked, answer = Event(), Event()

    def slowly() -> Bytes:
        asked.set()
        assert answer.wait(10)
        return disk.available()

    ledger = Ledger(overcommit=1.0, occupied=lambda _: 0, available=slowly)
    with ThreadPoolExecutor(1) as threads:
        room = threads.submit(ledger.largest, THICK)
        assert asked.wait(10)
        ledger.record("v", Entry(MIB, THICK))  # would wait for the lock
        assert ledger.committed() == MIB
        answer.set()
        assert room.result(10) <= GIB - MIB


def test_what_is_settled_while_the_filesystem_is_asked_counts_in_full() -> None:
    """It was asked before the bytes were taken, so that they are neither free nor owed."""
    disk = LedgerDisk(GIB)

    def late() -> Bytes:
        free = disk.available()
        if not disk.occupied:
            disk.occupied["v"] = GIB // 2
            ledger.record("v", Entry(GIB // 2, THICK))
        return free

    ledger = Ledger(overcommit=1.0, occupied=lambda _: 0, available=late)
    assert ledger.largest(THICK) == GIB // 2 - PER_IMAGE
    assert ledger.largest(THICK) == GIB // 2 - PER_IMAGE
