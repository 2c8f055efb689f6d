"""Pages of a list over all nodes. Ids begin with the pool's id and are listed in order, so a page
needs only the nodes with the next pools: as many as have enough entries according to their reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.ids import PoolId
from driver.router.nodes import calls
from driver.router.nodes.connection import NodeConnection

# Entries of a page whose size the caller leaves open. Clients written in Go accept answers of 4 MiB
# by default (grpc-go, defaultClientMaxReceiveMessageSize), and an entry has some 200 bytes.
MAX_ENTRIES: Final = 10_000

# The messages of a list: both have entries, and a token.
Request = TypeVar(
    "Request",
    csi.ListVolumesRequest,
    csi.ListSnapshotsRequest,
    csi.ControllerListVolumeHealthRequest,
)
Page = TypeVar("Page", bound=Message)
PoolOnNode: TypeAlias = tuple[PoolId, NodeConnection]


@dataclass(frozen=True, kw_only=True)
class ListRpc(Generic[Request, Page]):
    """An RPC of a node that lists the node's volumes or snapshots, of which each is called an
    entry.

    `rpc`: the RPC; `entry_id`: returns the id of an entry; `count`: returns the number of entries
    in a reported pool, which need not be exact.
    """

    rpc: calls.Rpc[Request, Page]
    entry_id: Callable[[Any], str]
    count: Callable[[cellar.Pool], int]


@dataclass
class _Entries:
    """The entries that nodes have returned; `last`: the id up to which a node returned all that it
    has, if it had more.
    """

    entry_id: Callable[[Any], str]
    given: list[Any] = field(default_factory=list)
    last: str | None = None

    def add(self, page: Any) -> None:
        self.given.extend(page.entries)
        if page.next_token and page.entries:
            end = self.entry_id(page.entries[-1])
            self.last = end if self.last is None else min(self.last, end)

    def may_extend(self, pools: Sequence[PoolOnNode]) -> bool:
        """Return whether entries of these pools, which come next, may belong to the page."""
        return bool(pools) and (self.last is None or self.last > pools[0][0])

    def up_to(self, pool: PoolId | None) -> list[Any]:
        """Return the entries below the pool that is asked next (None: there is none), sorted."""
        ends = [end for end in (self.last, pool) if end is not None]
        last = min(ends, default=None)
        known = (entry for entry in self.given if last is None or self.entry_id(entry) <= last)
        return sorted(known, key=self.entry_id)


async def read_page(
    listed: ListRpc[Request, Page],
    request: Request,
    pools: Sequence[PoolOnNode],
    label: str,
) -> tuple[list[Any], str]:
    """Return the entries of one page, sorted by id, and the token of the next page ("": this is the
    last page).

    `pools`: the pools that may have entries of the page, in the order of their ids. `label`: the
    name of the list, for the log. Nodes that are unavailable are left out. Raises: other errors as
    the nodes report them.
    """
    most = min(request.max_entries or MAX_ENTRIES, MAX_ENTRIES)
    asked = type(request)()
    asked.CopyFrom(request)
    asked.max_entries = most
    entries, nodes, position = _Entries(listed.entry_id), set[str](), 0
    known: list[Any] = []
    while len(known) < most and entries.may_extend(pools[position:]):
        end = _next_end(pools, position, most - len(known), listed.count)
        wave = {node.name: node for _, node in pools[position:end] if node.name not in nodes}
        nodes.update(wave)
        for _, page in await calls.ask_all(wave.values(), listed.rpc, lambda _: asked, label=label):
            entries.add(page)
        position = end
        known = entries.up_to(pools[end][0] if end < len(pools) else None)
    more = position < len(pools) or entries.last is not None or len(known) > most
    return known[:most], listed.entry_id(known[:most][-1]) if more and known else ""


def _next_end(
    pools: Sequence[PoolOnNode],
    position: int,
    entries: int,
    count: Callable[[cellar.Pool], int],
) -> int:
    """Return the end of the part of `pools`, from `position` on, that should have so many entries;
    at least one pool.
    """
    expected = 0
    for end in range(position, len(pools)):
        pool_id, node = pools[end]
        expected += sum(count(pool) for pool in node.report.pools if pool.id == pool_id)
        if expected >= entries:
            return end + 1
    return len(pools)
