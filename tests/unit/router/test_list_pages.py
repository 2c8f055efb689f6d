"""Pages of all nodes' entries: complete and in order, whatever the reports say of their number."""

from __future__ import annotations

import asyncio
import bisect
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.router.list_pages import MAX_ENTRIES, ListRpc, read_page
from driver.router.nodes.connection import NodeConnection
from tests.unit.router.reported import reported


class ListedNodes:
    """Nodes with volumes: `volumes[node][pool]` numbers, of which reports tell `told`.

    `limit`: the largest page that a node returns.
    """

    def __init__(
        self, volumes: list[dict[int, int]], told: int | None = None, limit: int = MAX_ENTRIES
    ) -> None:
        self.asked: list[str] = []
        self._limit = limit
        self._ids = {
            f"n{number}": sorted(
                f"{pool:012x}-{key:032x}" for pool, count in pools.items() for key in range(count)
            )
            for number, pools in enumerate(volumes)
        }
        self._pools = sorted(
            (f"{pool:012x}", self._node(number, pools, told))
            for number, pools in enumerate(volumes)
            for pool in pools
        )

    @staticmethod
    def _node(number: int, pools: dict[int, int], told: int | None) -> NodeConnection:
        messages = [
            cellar.Pool(id=f"{pool:012x}", volumes=count if told is None else told)
            for pool, count in pools.items()
        ]
        return reported(*messages, name=f"n{number}")

    @property
    def ids(self) -> list[str]:
        return sorted(volume_id for ids in self._ids.values() for volume_id in ids)

    def page(self, most: int, token: str = "") -> tuple[list[str], str]:
        listed: Any = ListRpc(
            rpc=lambda node: self._rpc_of(node.name),
            entry_id=lambda entry: entry.volume.volume_id,
            count=lambda pool: pool.volumes,
        )
        pools = [pool for pool in self._pools if pool[0] >= token.partition("-")[0]]
        request = csi.ListVolumesRequest(max_entries=most, starting_token=token)
        entries, after = asyncio.run(read_page(listed, request, pools, "ListVolumes"))
        return [entry.volume.volume_id for entry in entries], after

    def pages(self, most: int) -> list[list[str]]:
        pages: list[list[str]] = []
        token = ""
        while not pages or token:
            page, token = self.page(most, token)
            pages.append(page)
        return pages

    def _rpc_of(self, name: str) -> Any:
        async def call(request: csi.ListVolumesRequest, **_: float) -> csi.ListVolumesResponse:
            self.asked.append(name)
            ids = self._ids[name]
            first = bisect.bisect(ids, request.starting_token)
            end = first + min(request.max_entries, self._limit)
            response = csi.ListVolumesResponse(next_token=ids[end - 1] if end < len(ids) else "")
            for volume_id in ids[first:end]:
                response.entries.add().volume.volume_id = volume_id
            return response

        return call


clusters = st.lists(
    st.dictionaries(st.integers(0, 30), st.integers(0, 5), max_size=3), max_size=6
).map(
    lambda nodes: [{pool * 10 + n: c for pool, c in each.items()} for n, each in enumerate(nodes)]
)


@given(clusters, st.integers(1, 7), st.sampled_from([None, 0, 1, 50]), st.sampled_from([2, 99]))
def test_pages_are_complete_and_in_order_whatever_is_reported(
    volumes: list[dict[int, int]], most: int, told: int | None, limit: int
) -> None:
    cluster = ListedNodes(volumes, told, limit)
    pages = cluster.pages(most)
    assert [volume_id for page in pages for volume_id in page] == cluster.ids
    assert all(len(page) <= most for page in pages)


def test_a_page_asks_the_nodes_whose_pools_come_next_and_no_other() -> None:
    cluster = ListedNodes([{number: 10} for number in range(20)])
    first, token = cluster.page(25)
    assert (first, token) == (cluster.ids[:25], cluster.ids[24])
    assert cluster.asked == ["n0", "n1", "n2"]
    cluster.asked.clear()
    cluster.page(25, token)
    assert cluster.asked == ["n2", "n3", "n4"]  # n2 has five of them left


def test_nodes_that_have_less_than_they_reported_are_followed_by_others() -> None:
    cluster = ListedNodes([{number: 1} for number in range(5)], told=10)
    assert cluster.page(4) == (cluster.ids[:4], cluster.ids[3])
    assert cluster.asked == ["n0", "n1", "n2", "n3"]


def test_a_page_of_any_size_is_one_that_clients_accept() -> None:
    cluster = ListedNodes([{0: MAX_ENTRIES + 1}])
    assert [len(page) for page in cluster.pages(0)] == [MAX_ENTRIES, 1]
    assert len(cluster.page(2 * MAX_ENTRIES)[0]) == MAX_ENTRIES
