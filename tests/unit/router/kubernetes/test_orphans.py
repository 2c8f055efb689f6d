"""Which volumes are orphans, and since when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from loguru import logger

from csi_proto import inspect_pb2
from driver.router.kubernetes.orphans import Orphans
from driver.router.nodes.listed_volumes import ListedVolume, NodeVolumes

AFTER = 600.0
FAST, SLOW = "0" * 12, "1" * 12


def volume(key: str, pool: str = FAST) -> ListedVolume:
    return ListedVolume(
        id=f"{pool}-{key}",
        pool="fast" if pool == FAST else "slow",
        node="a",
        size=100,
        namespace="shop",
        claim="data",
        persistent="pv",
    )


def listed(*volumes: ListedVolume, pools: tuple[str, ...] = (FAST, SLOW)) -> NodeVolumes:
    names = {FAST: "fast", SLOW: "slow"}
    return NodeVolumes("a", {pool: names[pool] for pool in pools}, volumes)


class Watched:
    """The orphans, and a clock that goes on with each look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.orphans = Orphans(AFTER, lambda: self.now)

    def look(self, at: float, *volumes: ListedVolume, named: str = "", **pools: Any) -> None:
        self.now = at
        self.orphans.observe(listed(*volumes, **pools), {named})

    def ids(self) -> list[str]:
        context: Any = None
        request = inspect_pb2.ListOrphansRequest()
        answer = asyncio.run(self.orphans.list_orphans(request, context))
        return [orphan.volume_id for orphan in answer.orphans]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_volume_without_a_persistentvolume_is_an_orphan_after_a_while(watched: Watched) -> None:
    one, two = volume("a"), volume("b")
    watched.look(0, one, two, named=one.id)
    watched.look(AFTER - 1, one, two, named=one.id)
    assert watched.ids() == []
    assert watched.orphans.numbers() == {("a", "fast"): 0, ("a", "slow"): 0}
    watched.look(AFTER, one, two, named=one.id)
    assert watched.ids() == [two.id]
    assert watched.orphans.numbers() == {("a", "fast"): 1, ("a", "slow"): 0}
    assert watched.orphans.sizes() == {("a", "fast"): 100, ("a", "slow"): 0}


def test_time_without_a_look_makes_no_orphan(watched: Watched) -> None:
    watched.look(0, volume("a"))
    watched.now = 10 * AFTER
    assert watched.ids() == []


def test_one_that_gets_a_persistentvolume_or_is_deleted_is_none(watched: Watched) -> None:
    named, deleted = volume("a"), volume("b")
    for at in (0, AFTER):
        watched.look(at, named, deleted)
    assert len(watched.ids()) == 2
    watched.look(AFTER + 1, named, named=named.id)
    assert watched.ids() == []
    watched.look(AFTER + 2, named)
    assert watched.ids() == [], "it begins anew"


def test_what_was_known_of_a_pool_that_cannot_be_listed_stays(watched: Watched) -> None:
    fast, slow = volume("a"), volume("b", SLOW)
    for at in (0, AFTER):
        watched.look(at, fast, slow)
    watched.look(AFTER + 1, fast, pools=(FAST,))
    assert set(watched.ids()) == {fast.id, slow.id}
    watched.orphans.drop_other_pools({FAST})
    assert watched.ids() == [fast.id]
    assert watched.orphans.numbers() == {("a", "fast"): 1}


def test_each_is_logged_once_and_not_all_of_many(watched: Watched) -> None:
    many = [volume(f"{number:02}") for number in range(12)]
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line).strip()), format="{level} {message}")
    for at in (0, AFTER, 2 * AFTER):
        watched.look(at, *many)
    logger.remove(sink)
    assert len(lines) == 11
    assert lines[-1] == "WARNING so are 2 more volumes of this node"
