"""Lists over two nodes: merged, in pages, and by filters."""

from __future__ import annotations

from typing import Any

import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import PoolUnavailable
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import parse_volume_id
from driver.router.lists import ListRoutes
from tests.unit.router.routed import Routed, play


async def volumes(routed: Routed, **fields: Any) -> csi.ListVolumesResponse:
    request = csi.ListVolumesRequest(**fields)
    return await ListRoutes(routed.nodes).volumes(request, routed.context)


async def snapshots(routed: Routed, **fields: Any) -> list[str]:
    request = csi.ListSnapshotsRequest(**fields)
    response = await ListRoutes(routed.nodes).snapshots(request, routed.context)
    return [entry.snapshot.snapshot_id for entry in response.entries]


async def filled(routed: Routed) -> list[str]:
    """Create three volumes on each node, and return all ids in order."""
    created = [await routed.create(f"v{number}", node) for node in "ab" for number in range(3)]
    return sorted(created)


@pytest.mark.parametrize("most", [1, 2, 4, 6, 7])
def test_pages_of_all_nodes_together_are_the_whole_list(most: int) -> None:
    async def scenario(routed: Routed) -> None:
        every, token = await filled(routed), ""
        listed: list[str] = []
        for _ in range(10):
            page = await volumes(routed, max_entries=most, starting_token=token)
            assert len(page.entries) <= most
            listed += [entry.volume.volume_id for entry in page.entries]
            if not (token := page.next_token):
                break
        assert listed == every

    play(scenario)


def test_a_node_that_is_unavailable_is_left_out() -> None:
    async def scenario(routed: Routed) -> None:
        every = await filled(routed)
        await routed.stop("a")
        page = await volumes(routed)
        assert [entry.volume.volume_id for entry in page.entries] == [
            volume_id for volume_id in every if volume_id in routed.images("b")
        ]

    play(scenario)


def test_a_pool_that_two_nodes_report_is_in_no_list() -> None:
    async def scenario(routed: Routed) -> None:
        await filled(routed)
        pools = [cellar.Pool(id=routed.pools[name].backend.id, volumes=3) for name in "ab"]
        routed.node("b")._set_report(cellar.Report(node="b", pools=pools))
        page = await volumes(routed)
        assert {entry.volume.volume_id for entry in page.entries} == routed.images("b")

    play(scenario)


def test_snapshots_are_found_on_the_node_that_a_filter_names() -> None:
    async def scenario(routed: Routed) -> None:
        sources = {node: await routed.create("v", node) for node in "ab"}
        taken = {
            node: await routed.snapshot("s", volume_id, node) for node, volume_id in sources.items()
        }
        assert await snapshots(routed) == sorted(taken.values())
        for node in "ab":
            assert await snapshots(routed, snapshot_id=taken[node]) == [taken[node]]
            assert await snapshots(routed, source_volume_id=sources[node]) == [taken[node]]
        both = {"snapshot_id": taken["a"], "source_volume_id": sources["b"]}
        assert await snapshots(routed, **both) == []
        assert await snapshots(routed, snapshot_id="somebody-elses") == []

    play(scenario)


def test_a_filter_for_an_unavailable_node_is_not_answered_by_an_empty_list() -> None:
    """An empty list means that the snapshot does not exist."""

    async def scenario(routed: Routed) -> None:
        snapshot = await routed.snapshot("s", await routed.create("v", "a"), "a")
        await routed.stop("a")
        with pytest.raises(PoolUnavailable):
            await snapshots(routed, snapshot_id=snapshot)

    play(scenario)


def test_ill_volumes_of_all_nodes_are_listed() -> None:
    async def scenario(routed: Routed) -> None:
        every = await filled(routed)
        ill = {}
        for node in "ab":
            volume_id = ill[node] = min(every, key=lambda one: one not in routed.images(node))
            fault = Fault(FaultKind.FILESYSTEM_SHUT_DOWN, "it is ill", Severity.INACCESSIBLE)
            routed.backend(node).set_faults(parse_volume_id(volume_id), fault)
        request = csi.ControllerListVolumeHealthRequest()
        page = await ListRoutes(routed.nodes).health(request, routed.context)
        assert [entry.volume_id for entry in page.entries] == sorted(ill.values())

    play(scenario)


def test_records_come_from_the_nodes_that_have_them() -> None:
    async def scenario(routed: Routed) -> None:
        every = await filled(routed)
        asked = [every[0], every[-1], "nobody-has-it"]
        request = cellar.DescribeRequest(volume_ids=asked)
        response = await ListRoutes(routed.nodes).describe(request, routed.context)
        assert {record.id for record in response.records} == {every[0], every[-1]}

    play(scenario)
