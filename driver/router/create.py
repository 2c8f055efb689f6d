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
    """How to parse requests, as on a node. Both raise Invalid, `create` also NotFound."""

    create: Callable[[csi.CreateVolumeRequest], CreateVolume]
    measure: Callable[[csi.GetCapacityRequest], GetCapacity]


class CreateRoutes:
    """Serve the RPCs that must choose a node, or ask several: create, publish, capacity, pools.

    `topology_key`: the key of the topology segment that names a node.
    """

    def __init__(self, nodes: Nodes, reading: Reading, topology_key: str) -> None:
        self._nodes = nodes
        self._read = reading
        self._key = topology_key

    def all(self) -> Mapping[str, Unary]:
        """Return the RPC functions by method name."""
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
        """Create a volume: on the node of its source, on that of the first preferred topology,
        else on one that meets the requirement and has the most free space.

        Raises: NoSpace if no node has the space, or the source's node is not accessible;
        PoolUnavailable if no node is reachable; Busy if the name is being created elsewhere;
        Refused if the source's node is gone; Invalid, NotFound by parsing; other errors as the
        node reports them.
        """
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
        """Create a snapshot on the node of its source.

        Raises: Conflict if another node has a snapshot of this name; PoolUnavailable if the
        node is unavailable; Refused if it is gone; other errors as the node reports them.
        """
        link = self._owner_for_good(parse_volume_id(request.source_volume_id).pool)
        elsewhere = others(self._nodes.there(), link)
        for other in await name_reservations.holders_of_snapshot(
            elsewhere, snapshot_key(request.name)
        ):
            raise Conflict(f"snapshot {request.name!r} exists, of a volume on node {other.name}")
        return await calls.forward(link, SNAPSHOT, request, context)

    async def publish(self, request: csi.ControllerPublishVolumeRequest, context: Context) -> bytes:
        """Publish a volume through its node, after checking the limit of volumes of the target
        node.

        Raises: NoSpace if the target has max_volumes volumes; PoolUnavailable if the volume's
        node is unavailable; other errors as the node reports them.
        """
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
        """Return the largest and smallest volume that an accessible node accepts.

        The last reports are used: no node is called, so that none is waited for. Raises:
        Invalid.
        """
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
        """Return the pools of all reachable nodes, each with its node's name."""
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
        """Create the volume on the node that has its name already, else where most space is free.

        The node with the most free space is not asked whether it has the name: it checks when
        it creates.
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
        """Return the nodes to try, the best first; or no node and the error that says why."""
        try:
            return self._best(wanted, needed), None
        except (NoSpace, PoolUnavailable) as error:
            return (), error

    def _owner_for_good(self, pool: PoolId) -> NodeConnection:
        """Return the node that has the pool.

        Raises: PoolUnavailable if it is unavailable; Refused, which is a final answer, if the
        node is gone: otherwise the caller would retry, and keep the object that it wants to
        make in the cluster, for ever.
        """
        try:
            return self._nodes.owner(pool)
        except NodeGone as gone:
            raise Refused(f"the source is on node {gone.node}, which is gone") from None

    def _best(self, wanted: CreateVolume, needed: Requirement) -> Sequence[NodeConnection]:
        """Return the nodes to try, the best first. Raises: NoSpace, PoolUnavailable as `order`."""
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
