"""What a node tells its routers, and the names that it keeps for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from csi_proto import cellar_pb2 as cellar
from driver.backends.memory.backend import memory
from driver.backends.memory.options import Options
from driver.core.errors import Overloaded
from driver.core.ids import VolumeId, unpack_digests, volume_key
from driver.core.model import GIB, AccessMode, Allocation, ObjectNames, Publication, Volume
from driver.core.ports.node_events import NodeEvents
from driver.core.ports.pool import Pool
from driver.services import node_reports
from driver.services.node_reports import NodeReports
from driver.services.peer import PeerService
from tests.unit.backends.lvm.test_tags import VOLUME

NODE = cellar.Report(node="a", version="1.2.3", max_volumes=8)


async def run(work: Callable[[Any], Any], request: Any) -> Any:
    return work(request)


def peer(*pools: Pool) -> PeerService:
    return PeerService(run, pools, NODE)


async def first(stream: AsyncIterator[Any]) -> Any:
    return await asyncio.wait_for(anext(stream), 10)


def test_a_report_says_who_it_is_and_what_room_there_is() -> None:
    pool = memory("fast", 10 * GIB, Options(reserve="1GiB", overcommit=2))
    volume = Volume(
        id=VolumeId(pool.backend.id, volume_key("v")),
        name="v",
        size=GIB,
        fs=None,
        allocation=Allocation.THICK,
        block_size=512,
        published=Publication("b", read_only=False, mode=AccessMode.SINGLE_NODE_WRITER),
        incarnation="0" * 16,
    )
    pool.backend.create(volume, lambda _: None)

    async def scenario() -> cellar.Report:
        report: cellar.Report = await first(peer(pool).Watch(cellar.WatchRequest(), None))
        return report

    report = asyncio.run(scenario())
    assert (report.node, report.version, report.max_volumes) == ("a", "1.2.3", 8)
    assert [(entry.node, entry.volumes) for entry in report.published] == [("b", 1)]
    [pool_] = report.pools
    assert pool_.id == pool.backend.id
    spaces = {Allocation(space.allocation): space.largest for space in pool_.available_space}
    assert spaces
    for allocation, largest in spaces.items():
        assert largest == pool.backend.capacity(allocation).largest
    assert report.age < 1


def test_a_change_is_told_before_the_next_beat() -> None:
    reads = 0

    async def read() -> cellar.Report:
        nonlocal reads
        reads += 1
        return cellar.Report(node=str(reads))

    async def scenario() -> list[str]:
        reports = NodeReports(read, NODE)
        listening = reports.listen()
        nodes = [(await first(listening)).node]
        for rpc in ("GetCapacity", "CreateVolume"):
            coming = asyncio.ensure_future(first(listening))
            await asyncio.sleep(0)
            reports.on_finish(rpc, "OK", 0.1)
            done, _ = await asyncio.wait({coming}, timeout=0.2)
            if rpc == "GetCapacity":
                assert not done  # it changes nothing
                reports.on_finish("DeleteVolume", "OK", 0.1)
            nodes.append((await coming).node)
        return nodes

    assert asyncio.run(scenario()) == ["1", "2", "3"]


def test_a_look_that_hangs_lets_the_last_one_be_told_with_its_age() -> None:
    async def scenario() -> cellar.Report:
        hanging = asyncio.Event()
        reads: list[Callable[[], Awaitable[object]]] = [hanging.wait]

        async def read() -> cellar.Report:
            await reads.pop()()
            raise AssertionError("never")

        reports = NodeReports(read, NODE)
        report: cellar.Report = await first(reports.listen())
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return report

    report = asyncio.run(scenario())
    assert report.node == "a"
    assert report.age == float("inf")


def test_a_look_that_fails_is_no_end() -> None:
    async def read() -> cellar.Report:
        raise Overloaded("all workers are busy")

    async def scenario() -> str:
        return str((await first(NodeReports(read, NODE).listen())).node)

    assert asyncio.run(scenario()) == "a"


def test_listening_ends_when_the_node_goes() -> None:
    async def read() -> cellar.Report:
        return NODE

    async def scenario() -> list[cellar.Report]:
        reports = NodeReports(read, NODE)
        listening = reports.listen()
        await first(listening)
        reports.close()
        return [report async for report in listening]

    assert asyncio.run(scenario()) == []


def test_a_name_has_one_router_at_a_time() -> None:
    async def scenario() -> None:
        node, request = peer(), cellar.ReserveRequest(key="k")
        first_stream, second_stream = node.Reserve(request, None), node.Reserve(request, None)
        other = node.Reserve(cellar.ReserveRequest(key="other"), None)
        assert (await first(first_stream)).taken
        assert (await first(other)).taken
        waiting = asyncio.ensure_future(first(second_stream))
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        await first_stream.aclose()  # type: ignore[attr-defined]
        assert (await waiting).taken
        late = await first(node.Reserve(request, None))
        assert not late.taken
        assert "another router" in late.text

    asyncio.run(scenario())


def test_each_router_hears_each_event_once_with_whose_it_is() -> None:
    events = NodeEvents()
    volume = replace(VOLUME, objects=ObjectNames("shop", "data"))
    events.record("VolumeUnhealthy", "errors", warning=True, image=volume)

    async def scenario() -> None:
        node = PeerService(run, [], NODE, events=events)
        for _ in range(2):
            stream: Any = node.Watch(cellar.WatchRequest(), None)
            [event] = (await first(stream)).events
            assert (event.reason, event.text, event.warning) == ("VolumeUnhealthy", "errors", True)
            assert (event.kind, event.namespace, event.name) == ("claim", "shop", "data")
            assert (event.persistent, event.volume_id) == (volume.name, str(volume.id))
            events.record("PoolAvailable", "it is back")
            node.node_reports.on_finish("CreateVolume", "OK", 0.1)
            report = await first(stream)
            assert [event.reason for event in report.events][-1:] == ["PoolAvailable"]
            assert "VolumeUnhealthy" not in [event.reason for event in report.events]
            await stream.aclose()
            events._events.pop()

    asyncio.run(scenario())


def test_names_are_sent_once_and_then_their_changes(monkeypatch: Any) -> None:
    monkeypatch.setattr(node_reports, "NAMES_SHARE", 1e9)  # read at each report
    names = {1, 2}

    async def read() -> cellar.Report:
        return cellar.Report(node="a")

    async def read_names() -> frozenset[int]:
        return frozenset(names)

    def changes(report: cellar.Report) -> tuple[bool, set[int], set[int]]:
        told = report.names
        added, removed = (set(unpack_digests(d)) for d in (told.added, told.removed))
        assert told.age < 1
        return told.complete, added, removed

    async def scenario() -> None:
        reports = NodeReports(read, NODE, None, read_names)
        listening, later = reports.listen(), reports.listen()
        assert changes(await first(listening)) == (True, {1, 2}, set())
        names.symmetric_difference_update({2, 3})
        assert changes(await first(later)) == (True, {1, 3}, set())
        reports.on_finish("CreateVolume", "OK", 0.1)
        assert changes(await first(listening)) == (False, {3}, {2})
        reports.on_finish("CreateVolume", "OK", 0.1)
        assert changes(await first(later)) == (False, set(), set())

    asyncio.run(scenario())


def test_names_that_take_long_to_read_are_read_less_often(monkeypatch: Any) -> None:
    reads = 0

    async def read() -> cellar.Report:
        return cellar.Report(node="a")

    async def read_names() -> frozenset[int]:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.01)  # so that the next is due in a second
        return frozenset({reads})

    async def scenario() -> list[float]:
        reports = NodeReports(read, NODE, None, read_names)
        listening, ages = reports.listen(), list[float]()
        for _ in range(3):
            ages.append((await first(listening)).names.age)
            reports.on_finish("CreateVolume", "OK", 0.1)
        return ages

    ages = asyncio.run(scenario())
    assert reads == 1
    assert ages == sorted(ages)
    assert ages[-1] > 0.04  # what is older says so


def test_no_names_are_reported_while_those_of_a_pool_are_not_known() -> None:
    names: frozenset[int] | None = None

    async def read() -> cellar.Report:
        return cellar.Report(node="a")

    async def read_names() -> frozenset[int] | None:
        return names

    async def scenario() -> None:
        nonlocal names
        reports = NodeReports(read, NODE, None, read_names)
        listening = reports.listen()
        assert not (await first(listening)).HasField("names")
        names = frozenset({1})
        reports.on_finish("CreateVolume", "OK", 0.1)
        report = await first(listening)
        assert (report.names.complete, set(unpack_digests(report.names.added))) == (True, {1})

    asyncio.run(scenario())


def test_a_pool_that_appears_is_reported_with_its_names() -> None:
    """Else a router would ask it for none of the names that it has."""
    pools = [cellar.Pool(name="fast", id="1" * 12), cellar.Pool(name="slow", away="not mounted")]

    async def read() -> cellar.Report:
        return cellar.Report(node="a", pools=pools)

    async def read_names() -> frozenset[int]:
        await asyncio.sleep(0.01)  # so that the next is due in a second
        return frozenset(int(pool.id[:1]) for pool in pools if pool.id)

    async def scenario() -> None:
        reports = NodeReports(read, NODE, None, read_names)
        listening = reports.listen()
        assert unpack_digests((await first(listening)).names.added) == (1,)
        pools[1] = cellar.Pool(name="slow", id="2" * 12)
        reports.on_finish("CreateVolume", "OK", 0.1)
        report = await first(listening)
        assert [pool.id for pool in report.pools] == ["1" * 12, "2" * 12]
        assert unpack_digests(report.names.added) == (2,)

    asyncio.run(scenario())


def test_the_names_of_a_node_are_those_of_its_pools() -> None:
    pool = memory("fast", 10 * GIB)
    pool.backend.create(replace(VOLUME, id=VolumeId(pool.backend.id, "ab" * 16)), lambda _: None)

    async def scenario() -> cellar.Report:
        report: cellar.Report = await first(peer(pool).Watch(cellar.WatchRequest(), None))
        return report

    names = asyncio.run(scenario()).names
    assert (names.complete, names.added) == (True, bytes.fromhex("ab" * 8))
