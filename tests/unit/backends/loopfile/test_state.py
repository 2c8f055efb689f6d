"""What a pool of loop files says of itself, whether it can be used or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driver.backends.loopfile.state import counted
from driver.core.capacity import Capacity
from driver.core.errors import CellarError, Exhausted, PoolReadOnly, PoolUnavailable
from driver.core.ids import PoolId
from driver.core.model import GIB, Allocation

POOL = "1" * 12


@dataclass
class FakePool:
    """The part of a backend that is asked; what fails, fails with these errors."""

    id_error: CellarError | None = None
    capacity_error: CellarError | None = None
    allocation: Allocation = Allocation.THICK

    @property
    def id(self) -> PoolId:
        if self.id_error:
            raise self.id_error
        return POOL

    def occupied(self) -> float:
        return 0.25

    def capacities(self) -> Mapping[Allocation, Capacity]:
        if self.capacity_error:
            raise self.capacity_error
        return {
            kind: Capacity(largest=largest, smallest=1, total=largest, committed=0)
            for kind, largest in ((Allocation.THICK, GIB), (Allocation.SPARSE, 2 * GIB))
        }


def test_the_capacity_of_a_pool_is_that_of_its_own_allocation() -> None:
    for allocation, largest in ((Allocation.THICK, GIB), (Allocation.SPARSE, 2 * GIB)):
        state = counted(FakePool(allocation=allocation), [])
        assert (state["id"], state["unavailable"]) == (POOL, None)
        assert state["capacity"].largest == largest
        assert state["occupied"] == 0.25


def test_a_pool_that_is_away_has_neither_an_id_nor_space() -> None:
    state = counted(FakePool(id_error=PoolUnavailable("not mounted")), [])
    assert (state["id"], state["unavailable"]) == (None, "not mounted")
    assert state["capacity"].largest == 0
    assert not state["capacities"]
    assert state["occupied"] is None


def test_a_read_only_pool_keeps_its_id_so_that_its_volumes_are_found() -> None:
    for error in (PoolReadOnly("read-only"), Exhausted("no descriptors")):
        state = counted(FakePool(capacity_error=error), [])
        assert (state["id"], state["unavailable"]) == (POOL, str(error))
        assert state["capacity"].largest == 0
