"""A pool that does not answer costs its own answer, and no other's."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver.core.answers import Direct
from driver.core.capacity import CapacityRange
from driver.core.errors import Exhausted, NotFound, PoolSilent, PoolUnavailable
from driver.core.ids import volume_key
from driver.core.model import MIB, FsType
from driver.core.ports.pool import Pool
from driver.volumes import health, provision
from driver.volumes.health import Health
from driver.volumes.locks import Locks, WorkerGroup
from driver.volumes.pools import bounded_queries, registry
from driver.volumes.pools.registry import MANY, Pools
from driver.volumes.requests import CreateVolume, ListVolumes
from tests.support.waiting import wait_until
from tests.unit.volumes.pools.conftest import Hanging, hang
from tests.unit.volumes.world import World


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (health, registry, provision):
        for name in {"NAME_TIMEOUT", "LIST_TIMEOUT", "CAPACITY_TIMEOUT"} & set(vars(module)):
            monkeypatch.setattr(module, name, 0.2)


def recover(pool: Pool) -> None:
    """It answers again, and what was asked meanwhile has been answered."""
    assert isinstance(pool.backend, Hanging)
    pool.backend.answers.set()
    wait_until(lambda: not pool.answers.silent_for)


def wanted(name: str, pool: str | None = None) -> CreateVolume:
    return CreateVolume(
        name=name,
        key=volume_key(name),
        range=CapacityRange(16 * MIB),
        fs=FsType.EXT4,
        pool=pool,
    )


def test_a_volume_is_made_elsewhere_and_found_again(world: World, sick: Pool) -> None:
    assert world.volumes.create(wanted("first")).id.pool == sick.backend.id
    hang(sick)
    for pool in ("fast", None):
        made = world.volumes.create(wanted(f"v-{pool}", pool))
        assert world.volumes.create(wanted(f"v-{pool}", pool)) == made


def test_a_name_that_a_hanging_pool_is_known_to_have_is_not_made_elsewhere(
    world: World, sick: Pool
) -> None:
    made = world.volumes.create(wanted("v"))
    hang(sick)
    with pytest.raises(PoolSilent):
        world.volumes.create(wanted("v"))
    recover(sick)
    assert world.volumes.create(wanted("v")) == made


def test_of_two_volumes_of_one_name_the_newest_counts_and_health_tells(
    world: World, sick: Pool
) -> None:
    """One was made while it could not be known that the other exists: at the start."""
    older = world.volumes.create(wanted("v"))
    newer = replace(
        older, id=replace(older.id, pool=world.slow.backend.id), created=older.created + 1
    )
    world.slow.backend.create(newer, lambda _: None)
    assert world.pools.find_volume(older.id.key) == (world.slow, newer)
    assert world.pools.find_volume(older.id.key, sick) == (sick, older)
    [fault] = Health(world.pools, world.mounts).storage_faults()
    assert fault.kind == "SameNameTwice"
    assert f"{older.id} is the older one" in fault.text


def test_lists_keep_what_they_knew_and_say_that_it_cannot_be_reached(
    world: World, sick: Pool
) -> None:
    lost, well = world.volumes.create(wanted("a")), world.create(pool="fast")
    hang(sick)
    found = dict(world.volumes.list(ListVolumes()).volumes)
    assert set(found) == {lost, well}
    assert [fault.kind for fault in found[lost]] == ["PoolAway"]
    assert not found[well]
    ill = Health(world.pools, world.mounts).list_faulty_volumes(ListVolumes()).volumes
    assert [volume for volume, _ in ill] == [lost]
    first = world.volumes.list(ListVolumes(most=1))
    rest = world.volumes.list(ListVolumes(after=first.next))
    assert {volume for volume, _ in (*first.volumes, *rest.volumes)} == {lost, well}


def test_an_id_of_a_hanging_pool_is_unavailable_and_never_unknown(world: World, sick: Pool) -> None:
    lost = world.volumes.create(wanted("a"))
    sick.answers.note = lambda: None  # type: ignore[method-assign]
    sick.answers._answered = -float("inf")  # type: ignore[attr-defined]
    hang(sick)
    with pytest.raises(PoolUnavailable, match=r"pool sick (does|has) not answer"):
        world.pools.volume(lost.id)
    with pytest.raises(NotFound):
        world.pools.volume(replace(lost.id, pool=world.fast.backend.id))
    assert world.pools.nearest(lost.id) is sick


def test_the_share_of_a_call_is_the_pool_that_it_names(world: World, sick: Pool) -> None:
    ids = {pool.name: world.pools.read_id(pool) for pool in world.pools.all()}
    share = world.pools.choose_workers
    assert share(Locks(pools=frozenset({ids["fast"]}))) == "fast"
    assert share(Locks(named="slow")) == "slow"
    assert share(Locks(frozenset("k"), pools=frozenset({ids["fast"], ids["slow"]}))) == MANY
    assert share(Locks(frozenset("k"))) == MANY
    assert share(Locks()) == ""
    assert share(Locks(pools=frozenset({"0" * 12}))) == ""
    alone = Pools([world.fast])
    assert alone.choose_workers(Locks(frozenset("k"))) == "fast"


class Silent(Direct):
    """It has been so for seven seconds."""

    silent_for = 7.0
    answered_recently = False

    def begin(self, question: Callable[[], Any]) -> Future[Any]:
        raise PoolSilent("it has not answered for 7 s")


def test_a_silent_pool_takes_no_calls_but_those_that_take_down(world: World) -> None:
    pool = replace(world.fast, answers=Silent())
    both = Pools([pool, world.slow])
    claims = Locks(frozenset("k"), named="fast")
    with pytest.raises(PoolSilent, match="pool fast has not answered for 7 s"):
        both.choose_workers(claims)
    assert both.choose_workers(replace(claims, workers=WorkerGroup.UNMOUNT)) == "fast"


class Refusing(Direct):
    """Calls on a pool for which no thread can be started."""

    def begin(self, question: Callable[[], Any]) -> Future[Any]:
        raise Exhausted("no thread could be started")


def test_a_pool_without_a_thread_costs_no_other_its_answer(tmp_path: Path) -> None:
    pool = World(tmp_path).fast
    refusing = replace(pool, name="other", answers=Refusing())
    replies = bounded_queries.ask_all([refusing, pool], lambda each: each.name, 1.0)
    assert replies.given == [(pool, pool.name)]
    assert [(each.name, type(error)) for each, error in replies.errors] == [("other", Exhausted)]
