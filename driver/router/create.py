"""The calls that no id sends to a node: create, publish, capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.wrappers_pb2 import Int64Value

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import CellarError, Conflict, NoSpace, PoolUnavailable, Refused
from driver.core.ids import PoolId, parse_volume_id, snapshot_key
from driver.core.routing import KNOWN_NODE
from driver.router import capacity as rooms
from driver.router import max_volumes, name_reservations, placement
from driver.router.forwarding import Unary
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.lost import NodeGone
from driver.router.nodes.registry import Nodes, others
from driver.router.placement import Candidate, Requirement
from driver.volumes.pools.abilities import ENCRYPTION
from driver.volumes.requests import CreateVolume, GetCapacity

CREATE: Final = "/csi.v1.Controller/CreateVolume"
SNAPSHOT: Final = "/csi.v1.Controller/CreateSnapshot"
PUBLISH: Final = "/csi.v1.Controller/ControllerPublishVolume"


@dataclass(frozen=True, slots=True)
class Reading:
    """How requests are understood: as on a node. Invalid, NotFound."""

    create: Callable[[csi.CreateVolumeRequest], CreateVolume]
    measure: Callable[[csi.GetCapacityRequest], GetCapacity]


class CreateRoutes:
    def __init__(self, nodes: Nodes, reading: Reading, topology_key: str) -> None:
        self._nodes = nodes
        self._read = reading
        self._key = topology_key

    def all(self) -> Mapping[str, Unary]:
        return {
            "CreateVolume": self.create,
            "CreateSnapshot": self.snapshot,
            "ControllerPublishVolume": self.publish,
            "GetCapacity": self.capacity,
            "ListPools": self.pools,
        }

    async def create(
        self, request: csi.CreateVolumeRequest, context: Context
    ) -> csi.CreateVolumeResponse:
        wanted = self._read.create(request)
        asked = request.accessibility_requirements
        needed = self._requirement(asked.requisite, asked.preferred)
        if wanted.source:
            link = self._owner_for_good(wanted.source.pool)
            placement.of_source(needed, link.name)
            return await self._create_on(link, request, context)
        if needed.chosen is not None:
            return await self._create_on(self._best(wanted, needed)[0], request, context)
        return await self._create_somewhere(wanted, needed, request, context)

    async def snapshot(self, request: csi.CreateSnapshotRequest, context: Context) -> bytes:
        """On the node of the source; a name that is taken on another node is taken."""
        link = self._owner_for_good(parse_volume_id(request.source_volume_id).pool)
        elsewhere = others(self._nodes.there(), link)
        for other in await name_reservations.holders_of_snapshot(
            elsewhere, snapshot_key(request.name)
        ):
            raise Conflict(f"snapshot {request.name!r} exists, of a volume on node {other.name}")
        return await calls.forward(link, SNAPSHOT, request, context)

    async def publish(self, request: csi.ControllerPublishVolumeRequest, context: Context) -> bytes:
        link = self._nodes.owner(parse_volume_id(request.volume_id).pool)
        target = self._nodes.named(request.node_id)
        if target is None:  # the node says so, if there is such a volume
            return await calls.forward(link, PUBLISH, request, context)
        await max_volumes.check(self._nodes.there(), target, link, request.volume_id)
        known = ((KNOWN_NODE, target.name),)
        return await calls.forward(link, PUBLISH, request, context, known)

    async def capacity(
        self, request: csi.GetCapacityRequest, context: Context
    ) -> csi.GetCapacityResponse:
        """From the last reports: nobody is asked, so that nobody is waited for."""
        wanted = self._read.measure(request)
        needed = self._requirement([request.accessible_topology], [])
        found = (self._room(link, wanted) for link in self._nodes.among(needed))
        largest, smallest = rooms.accepted(found, wanted.fs, encrypted=wanted.encrypted)
        return csi.GetCapacityResponse(
            available_capacity=largest,
            maximum_volume_size=Int64Value(value=largest),
            minimum_volume_size=Int64Value(value=smallest),
        )

    async def pools(
        self, request: cellar.ListPoolsRequest, context: Context
    ) -> cellar.ListPoolsResponse:
        """Of all nodes that are there."""
        answer = cellar.ListPoolsResponse()
        for link in sorted(self._nodes.there(), key=lambda one: one.name):
            for pool in link.report.pools:
                shown = answer.pools.add(node=link.name)
                shown.MergeFrom(pool)
                shown.ClearField("rooms")
        return answer

    async def _create_somewhere(
        self,
        wanted: CreateVolume,
        needed: Requirement,
        request: csi.CreateVolumeRequest,
        context: Context,
    ) -> csi.CreateVolumeResponse:
        """Where the name is already, else where there is most room.

        The node that has most is not asked whether it has the name: it looks when it creates.
        """
        best, none = self._ranked(wanted, needed)
        asked = [link for link in self._nodes.among(needed) if link not in best[:1]]
        async with name_reservations.reserved(self._nodes.there(), wanted.key, asked) as holders:
            for link in holders[:1] or best:
                try:
                    return await self._create_on(link, request, context)
                except NoSpace as error:  # its report was of a moment ago
                    none = none or error
        raise none or NoSpace("no node has room")

    def _ranked(
        self, wanted: CreateVolume, needed: Requirement
    ) -> tuple[Sequence[NodeConnection], CellarError | None]:
        """The nodes to try, the best first; or why there is none."""
        try:
            return self._best(wanted, needed), None
        except (NoSpace, PoolUnavailable) as error:
            return (), error

    def _owner_for_good(self, pool: PoolId) -> NodeConnection:
        """PoolAway. Refused, a final answer, if its node is gone: else its caller would try, and
        hold what it wants to make in the cluster, for ever.
        """
        try:
            return self._nodes.owner(pool)
        except NodeGone as gone:
            raise Refused(f"the source is on node {gone.node}, which is gone") from None

    def _best(self, wanted: CreateVolume, needed: Requirement) -> Sequence[NodeConnection]:
        there = {link.name: link for link in self._nodes.among(needed)}
        candidates = [self._candidate(link, wanted) for link in there.values()]
        return [there[name] for name in placement.order(needed, candidates)]

    def _candidate(self, link: NodeConnection, wanted: CreateVolume) -> Candidate:
        room, _ = self._room(link, wanted)
        barred = rooms.barred(link, wanted.pool, self._nodes.twice())
        return Candidate(link.name, room, cordoned=link.member.cordoned, barred=barred)

    def _room(self, link: NodeConnection, wanted: CreateVolume | GetCapacity) -> tuple[int, int]:
        needs = {str(wanted.fs)} if wanted.fs else set[str]()
        needs |= {ENCRYPTION} if wanted.encrypted else set()
        twice = self._nodes.twice()
        return rooms.largest(link, wanted.pool, wanted.allocation, twice, frozenset(needs))

    async def _create_on(
        self, link: NodeConnection, request: csi.CreateVolumeRequest, context: Context
    ) -> csi.CreateVolumeResponse:
        answer = await calls.forward(link, CREATE, request, context)
        return csi.CreateVolumeResponse.FromString(answer)

    def _requirement(
        self, requisite: Sequence[csi.Topology], preferred: Sequence[csi.Topology]
    ) -> Requirement:
        return placement.requirement(self._key, _segments(requisite), _segments(preferred))


def _segments(topologies: Sequence[csi.Topology]) -> list[Mapping[str, Any]]:
    return [one.segments for one in topologies]
