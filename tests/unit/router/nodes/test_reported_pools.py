"""The pools of a node's report, of this version and of an older one."""

from __future__ import annotations

from csi_proto import cellar_pb2 as cellar
from driver.router.nodes import reported_pools
from driver.router.nodes.reported_pools import MOST_DERIVED, KnownPools


def test_a_pool_is_as_old_as_its_own_examination_or_the_whole_report() -> None:
    """Older versions give the age of all pools, newer ones that of each."""
    pools = [cellar.Pool(name="a", age=2), cellar.Pool(name="b")]
    assert [pool.age for pool in reported_pools.parse(cellar.Report(pools=pools))] == [2, 0]
    assert [pool.age for pool in reported_pools.parse(cellar.Report(pools=pools, age=1))] == [2, 1]


def test_space_is_told_for_each_allocation_and_a_pool_may_be_away() -> None:
    pool = cellar.Pool(name="a", id="1" * 12, allocation="thick", lacks=["xfs", "encryption"])
    pool.available_space.add(allocation="thick", largest=5, smallest=1)
    pool.available_space.add(allocation="sparse", largest=9, smallest=2)
    away = cellar.Pool(name="b", away="not mounted")
    first, second = reported_pools.parse(cellar.Report(pools=[pool, away]))
    spaces = {name: (space.largest, space.smallest) for name, space in first.capacities.items()}
    assert spaces == {"thick": (5, 1), "sparse": (9, 2)}
    assert (first.available, second.available) == (True, False)
    assert first.lacks == {"xfs", "encryption"}
    assert not second.capacities


def test_what_is_derived_from_the_pools_is_kept_until_more_than_their_age_changes() -> None:
    known, calls = KnownPools(), list[int]()

    def derived(key: object = "k") -> int:
        def derive() -> int:
            calls.append(1)
            return len(calls)

        return known.derived(key, derive)

    known.update(cellar.Report(pools=[cellar.Pool(name="a", age=1)]))
    assert (derived(), derived()) == (1, 1)
    known.update(cellar.Report(pools=[cellar.Pool(name="a", age=2)]))
    assert derived() == 1
    known.update(cellar.Report(pools=[cellar.Pool(name="a", away="not mounted")]))
    assert derived() == 2
    for number in range(3 * MOST_DERIVED):
        known.update(cellar.Report(pools=[cellar.Pool(name="a")]))
        derived(number)
    assert len(known._derived) <= MOST_DERIVED
