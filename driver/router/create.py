"""The RPCs for which the router chooses or compares nodes: create, publish, capacity, pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cache, partial
from typing import Any, Final

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import CellarError, Conflict, NoSpace, PoolUnavailable, Refused
from driver.core.ids import (
    ImageId,
    Key,
    PoolId,
    SnapshotId,
    VolumeId,
    name_digest,
    parse_volume_id,
    snapshot_key,
)
from driver.csi import methods, parse, present
from driver.csi.protocol import KNOWN_NODE
from driver.router import capacity, max_volumes, name_reservations, placement
from driver.router.forwarding import Unary
from driver.router.name_reservations import Reservation
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import NodeGone, NodeName
from driver.router.nodes.registry import Nodes
from driver.router.placement import Requirement, parse_requirement
from driver.router.recent_creates import RecentCreates
from driver.volumes.requests import CreateVolume

_CREATE: Final = methods.path("CreateVolume")
_SNAPSHOT: Final = methods.path("CreateSnapshot")
_PUBLISH: Final = methods.path("ControllerPublishVolume")


class CreateRoutes:
    """Serves the RPCs of a router for which a node must be chosen or several nodes asked: creating
    volumes and snapshots, publishing, capacity, and the list of pools.

    `topology_key`: the key of the topology segment that names a node.
    """

    def __init__(self, nodes: Nodes, topology_key: str) -> None:
        self._nodes = nodes
        self._key = topology_key
        self._recent = RecentCreates()

    def all(self) -> Mapping[str, Unary]:
        """Return the handler of each RPC, by the RPC's name."""
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
        """Create a volume: on the node of its source; else on the node that the scheduler has
        chosen (the first preferred topology); else on the accessible node with the most free space.

        Raises: NoSpace if no node has the space, or the source's node is not accessible;
        PoolUnavailable if no node is reachable; Busy if another router is creating a volume with
        this name; Refused if the source's node is gone; Invalid, NotFound if the request is
        malformed; other errors as the node reports them.
        """
        volume = parse.create(request)
        accessible = request.accessibility_requirements
        requirement = parse_requirement(
            self._key, _segments(accessible.requisite), _segments(accessible.preferred)
        )
        if not volume.source:
            return await self._create_anywhere(volume, requirement, request, context)
        node = self._source_node(volume.source.pool)
        placement.check_source(requirement, node.name)
        return await self._create_on(node, volume.key, request, context)

    async def _create_anywhere(
        self,
        volume: CreateVolume,
        requirement: Requirement,
        request: csi.CreateVolumeRequest,
        context: Context,
    ) -> csi.CreateVolumeResponse:
        """Create the volume on the node that the scheduler chose; if it chose none, on the node
        that has its name already, else on the first of those with most free space that accepts
        it.

        The best node is not asked whether it has the name: it checks when it creates.
        """
        nodes = {node.name: node for node in self._nodes.meeting(requirement)}
        order = cache(partial(self._order, volume, requirement, nodes))
        if requirement.chosen is not None:
            return await self._create_on(order()[0][0], volume.key, request, context)
        self._refuse_if_lost(volume.key, requirement.allows)

        def choose_others() -> Sequence[NodeConnection]:
            return [node for node in nodes.values() if node not in order()[0][:1]]

        async with self._reserved(volume.key, choose_others, VolumeId) as reservation:
            best, failure = order()
            for node in reservation.holders[:1] or best:
                reservation.check()
                try:
                    return await self._create_on(node, volume.key, request, context)
                except NoSpace as error:  # the report was older than the last change
                    failure = failure or error
        raise failure or NoSpace("no node has the space")

    def _order(
        self,
        volume: CreateVolume,
        requirement: Requirement,
        nodes: Mapping[NodeName, NodeConnection],
    ) -> tuple[Sequence[NodeConnection], CellarError | None]:
        """Return the nodes to try, the best first; none, and the reason, if none accepts it.

        The first is one that was asked for the same volume a moment ago: it may be creating it.
        Raises: NoSpace, PoolUnavailable if the node that the scheduler chose cannot be used.
        """
        duplicated, reachable = self._nodes.duplicated_pools(), self._nodes.reachable()
        candidates = capacity.candidates(nodes.values(), volume, duplicated, reachable)
        try:
            names = placement.order(requirement, candidates)
        except (NoSpace, PoolUnavailable) as error:
            if requirement.chosen is not None:
                raise
            return (), error
        recent = self._recent.last_node(volume.key)
        if recent is not None and recent in names:
            names = [recent, *(name for name in names if name != recent)]
        return [nodes[name] for name in names], None

    async def _create_on(
        self, node: NodeConnection, key: Key, request: csi.CreateVolumeRequest, context: Context
    ) -> csi.CreateVolumeResponse:
        """Create the volume on this node. Raises: errors as the node reports them."""
        self._recent.add(key, node.name)
        try:
            response = await calls.forward(node, _CREATE, request, context)
        except NoSpace:
            self._recent.remove(key)
            raise
        return csi.CreateVolumeResponse.FromString(response)  # parsed: the log has the volume's id

    def _reserved(
        self,
        key: Key,
        choose_searched: Callable[[], Sequence[NodeConnection]],
        id_type: type[ImageId],
    ) -> AbstractAsyncContextManager[Reservation]:
        """Reserve a name, see name_reservations.reserved.

        The only node of a cluster needs nobody to keep a name: it has locks of its own.
        """
        if len(self._nodes.all()) == 1 and not self._nodes.left_lately():
            return nullcontext(Reservation())
        recent = self._recent.last_node(key)
        return name_reservations.reserved(self._nodes, key, choose_searched, id_type, recent)

    def _refuse_if_lost(self, key: Key, allows: Callable[[NodeName], bool]) -> None:
        """Refuse to create again an image that an unreachable node had in its last report.

        `allows`: whether a node is searched for the name. Raises: PoolUnavailable, unless the node
        is out of service or gone for good.
        """
        digest = name_digest(key)
        for node in self._nodes.all():
            if node.reachable or not node.had(digest) or not allows(node.name):
                continue
            if not self._nodes.is_out_of_use(node.name):
                text = f"node {node.name} has the name and is unavailable: {node.problem}"
                raise PoolUnavailable(text)

    async def snapshot(self, request: csi.CreateSnapshotRequest, context: Context) -> bytes:
        """Create a snapshot on the node of its source, and return that node's response, serialized.
        Nodes that may have a snapshot with the same name are asked first.

        Raises: Conflict if another node has a snapshot with this name; Busy if another router is
        creating one; PoolUnavailable if the source's node is unavailable; Refused if that node is
        gone for good; other errors as the node reports them.
        """
        node = self._source_node(parse_volume_id(request.source_volume_id).pool)
        key = snapshot_key(request.name)
        self._refuse_if_lost(key, lambda _: True)

        def choose_others() -> Sequence[NodeConnection]:
            return [other for other in self._nodes.reachable() if other is not node]

        async with self._reserved(key, choose_others, SnapshotId) as reservation:
            if reservation.holders:
                name = reservation.holders[0].name
                raise Conflict(f"snapshot {request.name!r} exists, of a volume on node {name}")
            reservation.check()
            return await calls.forward(node, _SNAPSHOT, request, context)

    async def publish(self, request: csi.ControllerPublishVolumeRequest, context: Context) -> bytes:
        """Publish a volume by a call to the node that has it, after checking that the target node
        may have one more volume, and return the serialized response.

        Raises: NoSpace if max_volumes volumes are published to the target node; PoolUnavailable if
        the volume's node is unavailable; other errors as the node reports them.
        """
        node = self._nodes.owner(parse_volume_id(request.volume_id).pool)
        target = self._nodes.named(request.node_id)
        if target is None:  # the volume's node answers NOT_FOUND, for the volume or for the target
            return await calls.forward(node, _PUBLISH, request, context)
        await max_volumes.check(self._nodes.reachable(), target, node, request.volume_id)
        known = ((KNOWN_NODE, target.name),)
        return await calls.forward(node, _PUBLISH, request, context, known)

    async def capacity(
        self, request: csi.GetCapacityRequest, context: Context
    ) -> csi.GetCapacityResponse:
        """Return the sizes of the largest and the smallest volume that an accessible node accepts.

        The sizes are computed from the last reports; no node is called, so that none delays the
        answer. Raises: Invalid: the request is malformed.
        """
        asked = parse.get_capacity(request)
        requirement = parse_requirement(self._key, _segments([request.accessible_topology]))
        nodes = self._nodes.meeting(requirement)
        duplicated = self._nodes.duplicated_pools()
        return present.capacity(capacity.largest_capacity(nodes, asked, duplicated))

    async def pools(
        self, request: cellar.ListPoolsRequest, context: Context
    ) -> cellar.ListPoolsResponse:
        """Return the pools of all reachable nodes, each with its node's name."""
        response = cellar.ListPoolsResponse()
        for node in sorted(self._nodes.reachable(), key=lambda node: node.name):
            for pool in node.report.pools:
                listed = response.pools.add(node=node.name)
                listed.MergeFrom(pool)
                listed.ClearField("available_space")
        return response

    def _source_node(self, pool: PoolId) -> NodeConnection:
        """Return the node that has the pool of a source.

        Raises: PoolUnavailable if it is unavailable; Refused, which is a final answer, if the
        node is gone: otherwise the caller would retry, and keep the object that it wants to
        make in the cluster, for ever.
        """
        try:
            return self._nodes.owner(pool)
        except NodeGone as gone:
            raise Refused(f"the source is on node {gone.node}, which is gone") from None


def _segments(topologies: Sequence[csi.Topology]) -> list[Mapping[str, Any]]:
    return [topology.segments for topology in topologies]
