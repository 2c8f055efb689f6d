"""The Node service: stages and publishes volumes at paths of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from csi_proto import csi_pb2 as csi
from csi_proto.csi_pb2_grpc import NodeServicer
from driver.csi import parse_node as parse
from driver.csi import present
from driver.csi.topology import NodeTopology
from driver.services.dispatch import Dispatcher
from driver.services.pool_choice import PoolChoice
from driver.services.use_cases import UseCases
from driver.volumes.locks import NO_LOCKS, Locks

_RPC: Final = csi.NodeServiceCapability.RPC
CAPABILITIES: Final = (
    _RPC.STAGE_UNSTAGE_VOLUME,
    _RPC.GET_VOLUME_STATS,
    _RPC.EXPAND_VOLUME,
    _RPC.VOLUME_CONDITION,
    _RPC.SINGLE_NODE_MULTI_WRITER,
    _RPC.GET_VOLUME_HEALTH,
    _RPC.GET_STORAGE_HEALTH,
)


@dataclass(frozen=True, slots=True)
class _GetStorageHealth:
    """The request for the health of the pools. It needs a worker, and no lock."""

    locks: ClassVar[Locks] = NO_LOCKS


class Node(NodeServicer):
    """The CSI Node service: each RPC parses its request, carries it out in a worker thread, and
    converts the result to a response.

    Every RPC may raise CellarErrors, which CsiInterceptor converts to statuses. `max_volumes`: how
    many volumes may be published to the node, as reported to Kubernetes; 0: no limit.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        use_cases: UseCases,
        topology: NodeTopology,
        *,
        max_volumes: int,
    ) -> None:
        self._run = PoolChoice(dispatcher, use_cases).run
        self._node = use_cases.node
        self._pods = use_cases.pods
        self._health = use_cases.health
        self._topology = topology
        self._max_volumes = max_volumes

    async def NodeGetCapabilities(
        self, request: csi.NodeGetCapabilitiesRequest, context: object
    ) -> csi.NodeGetCapabilitiesResponse:
        """Return the capabilities of the Node service."""
        return csi.NodeGetCapabilitiesResponse(
            capabilities=[csi.NodeServiceCapability(rpc=_RPC(type=kind)) for kind in CAPABILITIES]
        )

    async def NodeGetInfo(
        self, request: csi.NodeGetInfoRequest, context: object
    ) -> csi.NodeGetInfoResponse:
        """Return this node's name, topology and maximal number of volumes."""
        return csi.NodeGetInfoResponse(
            node_id=self._topology.node,
            max_volumes_per_node=self._max_volumes,
            accessible_topology=self._topology.present(),
        )

    async def NodeStageVolume(
        self, request: csi.NodeStageVolumeRequest, context: object
    ) -> csi.NodeStageVolumeResponse:
        """Attach a volume and, unless it is a raw block volume, mount it at the staging path.

        Raises: NotFound; Refused: the capability does not fit, or the device, filesystem or path
        cannot be used; Conflict: it is mounted with other options; Unusable: its filesystem broke
        and is in use; Invalid; PoolUnavailable; Damaged.
        """
        await self._run(self._node.stage, parse.stage(request))
        return csi.NodeStageVolumeResponse()

    async def NodeUnstageVolume(
        self, request: csi.NodeUnstageVolumeRequest, context: object
    ) -> csi.NodeUnstageVolumeResponse:
        """Unmount a volume from the staging path and detach it; no-op if it is not staged. Raises:
        Refused if it is still mounted at a target.
        """
        await self._run(self._node.unstage, parse.unstage(request))
        return csi.NodeUnstageVolumeResponse()

    async def NodePublishVolume(
        self, request: csi.NodePublishVolumeRequest, context: object
    ) -> csi.NodePublishVolumeResponse:
        """Mount a staged volume at a pod's target path; an inline volume is created and mounted.

        Raises: Refused: the capability does not fit, the volume is not staged, or something else is
        mounted at the target; Conflict: it is mounted with another `readonly`; Unfinished: an
        inline volume was created but not mounted, and stays until NodeUnpublishVolume; NotFound;
        Invalid; NoSpace; OutOfRange; Busy; PoolUnavailable; Damaged.
        """
        await self._run(self._pods.publish, parse.publish(request))
        return csi.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(
        self, request: csi.NodeUnpublishVolumeRequest, context: object
    ) -> csi.NodeUnpublishVolumeResponse:
        """Unmount a volume from a pod's target path; an inline volume is also deleted.

        Raises: Refused if something else is mounted there; PoolUnavailable if an inline volume
        cannot be deleted.
        """
        await self._run(self._pods.unpublish, parse.unpublish(request))
        return csi.NodeUnpublishVolumeResponse()

    async def NodeExpandVolume(
        self, request: csi.NodeExpandVolumeRequest, context: object
    ) -> csi.NodeExpandVolumeResponse:
        """Grow the filesystem to the volume's size, and return that size in bytes.

        Raises: NotFound: no such volume, or it is not at the path; Invalid; OutOfRange:
        ControllerExpandVolume has not grown the volume yet; Refused: it is mounted read-only;
        StillRunning: the kernel has not finished; PoolUnavailable; Damaged.
        """
        size = await self._run(self._node.expand, parse.expand(request))
        return csi.NodeExpandVolumeResponse(capacity_bytes=size)

    async def NodeGetVolumeStats(
        self, request: csi.NodeGetVolumeStatsRequest, context: object
    ) -> csi.NodeGetVolumeStatsResponse:
        """Return the used and free bytes and inodes of a volume, and whether it has a fault.
        Raises: NotFound if the volume is not at the path; PoolUnavailable; Damaged.
        """
        stats = await self._run(self._pods.stats, parse.stats(request))
        return csi.NodeGetVolumeStatsResponse(
            usage=present.usage(stats), volume_condition=present.condition(stats.faults)
        )

    async def NodeGetVolumeHealth(
        self, request: csi.NodeGetVolumeHealthRequest, context: object
    ) -> csi.NodeGetVolumeHealthResponse:
        """Return the health of a volume, including that of its mount if the request has a path."""
        faults = await self._run(self._pods.faults, parse.health(request))
        return csi.NodeGetVolumeHealthResponse(
            volume_health=present.health(request.volume_id, faults)
        )

    async def NodeGetStorageHealth(
        self, request: csi.NodeGetStorageHealthRequest, context: object
    ) -> csi.NodeGetStorageHealthResponse:
        """Return the health of this node's pools."""
        faults = await self._run(lambda _: self._health.storage_faults(), _GetStorageHealth())
        return csi.NodeGetStorageHealthResponse(backend_health=present.storage(faults))
