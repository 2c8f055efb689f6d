"""The states of all pools, in time: of one that does not answer, the last that is known."""

from __future__ import annotations

from driver.core.model import Allocation
from driver.core.ports.pool import Pool
from driver.volumes.pools import pool_states
from driver.volumes.pools.pool_states import States
from tests.unit.volumes.pools.conftest import hang
from tests.unit.volumes.world import World


def test_a_state_is_told_again_for_a_while_and_then_the_pool_is_away(
    world: World, sick: Pool
) -> None:
    now = [100.0]
    states = States(world.pools.all(), lambda: now[0])
    [before, *_] = states.read(1)
    assert before.state.unavailable is None
    assert before.state.capacities[Allocation.THICK].largest
    hang(sick)
    now[0] += pool_states.FRESH - 1
    [again, fast, _] = states.read(0.05)
    assert (again.state, again.age) == (before.state, pool_states.FRESH - 1)
    assert fast.age == 0
    now[0] += 2
    [gone, fast, _] = states.read(0.05)
    assert "does not answer" in str(gone.state.unavailable)
    assert gone.state.id == before.state.id
    assert not gone.state.capacities
    assert gone.state.capacity.largest == 0
    assert fast.state.unavailable is None
