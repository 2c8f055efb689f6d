"""The Controller service: each RPC parses its request, runs a use case, and converts the result to
a response.
"""

from __future__ import annotations

from contextlib import suppress

from csi_proto import csi_pb2 as csi
from csi_proto.csi_pb2_grpc import ControllerServicer
from driver.core.capacity import NO_CAPACITY
from driver.core.errors import Invalid, NotFound, Unsupported
from driver.core.results import SnapshotsPage
from driver.csi import parse, parse_snapshots, present
from driver.csi.identity import controller_capabilities
from driver.csi.interceptor import Context
from driver.csi.protocol import KNOWN_NODE
from driver.csi.topology import NodeTopology
from driver.services.dispatch import Dispatcher
from driver.services.pool_choice import PoolChoice
from driver.services.use_cases import UseCases


class Controller(ControllerServicer):
    """The CSI Controller service: each RPC parses its request, carries it out in a worker thread,
    and converts the result to a response.

    Every RPC may raise CellarErrors, which CsiInterceptor converts to statuses. `topology`: that of
    the node that has all volumes. `attach`: whether ControllerPublishVolume and
    ControllerUnpublishVolume are served.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        use_cases: UseCases,
        topology: NodeTopology,
        *,
        attach: bool = True,
    ) -> None:
        self._run = PoolChoice(dispatcher, use_cases).run
        self._use_cases = use_cases
        self._topology = topology
        self._attach = attach

    async def ControllerGetCapabilities(
        self, request: csi.ControllerGetCapabilitiesRequest, context: object
    ) -> csi.ControllerGetCapabilitiesResponse:
        """Return which RPCs of the Controller service this driver serves."""
        modify = self._use_cases.modifier.is_possible()
        return controller_capabilities(attach=self._attach, modify=modify)

    # volumes

    async def CreateVolume(
        self, request: csi.CreateVolumeRequest, context: object
    ) -> csi.CreateVolumeResponse:
        """Create a volume, or return the existing one if it has this name and the requested
        properties.

        Raises: NoSpace if the volume must be on another node, or the pool is full; Conflict if the
        name exists with other properties; Invalid; NotFound: no such source; Refused: IO limits
        cannot be enforced, or a source that is in use cannot be copied; OutOfRange: no such size;
        StillRunning: bytes are copied in the background; PoolUnavailable; Damaged.
        """
        create = parse.create(request)
        self._topology.check(request.accessibility_requirements)
        with self._topology.naming():
            volume = await self._run(self._use_cases.volumes.create, create)
        return csi.CreateVolumeResponse(volume=present.volume(volume, self._topology))

    async def DeleteVolume(
        self, request: csi.DeleteVolumeRequest, context: object
    ) -> csi.DeleteVolumeResponse:
        """Delete a volume; no-op if it does not exist.

        Raises: Refused if the volume is held (marked as not to be deleted), published, mounted, or
        staged as a raw block volume; PoolUnavailable; Damaged.
        """
        with suppress(NotFound):
            await self._run(self._use_cases.volumes.delete, parse.delete_volume(request.volume_id))
        return csi.DeleteVolumeResponse()

    async def ControllerPublishVolume(
        self, request: csi.ControllerPublishVolumeRequest, context: Context
    ) -> csi.ControllerPublishVolumeResponse:
        """Record that a volume is published to a node; no-op if that is recorded already.

        If the call has the metadata KNOWN_NODE with the node's name, a router has confirmed that
        the node exists. Raises: Unsupported if the driver runs with --no-attach; NotFound: no such
        volume or node; Invalid; Refused: it is published to another node; Conflict: it is published
        to this node with another access mode or `readonly`; NoSpace: the node has max_volumes
        volumes; PoolUnavailable; Damaged.
        """
        self._require_attach()
        known = (KNOWN_NODE, request.node_id) in (context.invocation_metadata() or ())
        publish = parse.publish(request, known=known)
        await self._run(self._use_cases.publisher.publish, publish)
        return csi.ControllerPublishVolumeResponse()

    async def ControllerUnpublishVolume(
        self, request: csi.ControllerUnpublishVolumeRequest, context: object
    ) -> csi.ControllerUnpublishVolumeResponse:
        """Record that a volume is not published any more; no-op if it does not exist or is not
        published.

        Raises: Unsupported if the driver runs with --no-attach; PoolUnavailable.
        """
        self._require_attach()
        with suppress(NotFound):  # a volume that does not exist is not published
            await self._run(self._use_cases.publisher.unpublish, parse.unpublish(request))
        return csi.ControllerUnpublishVolumeResponse()

    async def ValidateVolumeCapabilities(
        self, request: csi.ValidateVolumeCapabilitiesRequest, context: object
    ) -> csi.ValidateVolumeCapabilitiesResponse:
        """Confirm that the volume has the capabilities in the request, or return why they are not
        confirmed.

        If the volume exists, capabilities that no volume of this driver can have are not confirmed
        instead of being an error.
        """
        try:
            reason = await self._run(self._use_cases.volumes.validate, parse.validate(request))
        except Invalid as error:  # no volume can be used so; NotFound if this one does not exist
            await self._run(self._use_cases.volumes.get, parse.get_volume(request.volume_id))
            reason = str(error)
        return present.validation(request, reason)

    async def ListVolumes(
        self, request: csi.ListVolumesRequest, context: object
    ) -> csi.ListVolumesResponse:
        """Return a page of volumes, each with its CSI VolumeCondition and the node to which it is
        published.
        """
        page = await self._run(self._use_cases.volumes.list, parse.list_volumes(request))
        return csi.ListVolumesResponse(
            entries=[
                csi.ListVolumesResponse.Entry(
                    volume=present.volume(volume, self._topology),
                    status=csi.ListVolumesResponse.VolumeStatus(
                        published_node_ids=present.nodes(volume),
                        volume_condition=present.condition(faults),
                    ),
                )
                for volume, faults in page.volumes
            ],
            next_token=page.next,
        )

    async def ControllerGetVolume(
        self, request: csi.ControllerGetVolumeRequest, context: object
    ) -> csi.ControllerGetVolumeResponse:
        """Return a volume with its CSI VolumeCondition and the node to which it is published.
        Raises: NotFound.
        """
        get = parse.get_volume(request.volume_id)
        volume, faults = await self._run(self._use_cases.volumes.get, get)
        return csi.ControllerGetVolumeResponse(
            volume=present.volume(volume, self._topology),
            status=csi.ControllerGetVolumeResponse.VolumeStatus(
                published_node_ids=present.nodes(volume),
                volume_condition=present.condition(faults),
            ),
        )

    async def ControllerExpandVolume(
        self, request: csi.ControllerExpandVolumeRequest, context: object
    ) -> csi.ControllerExpandVolumeResponse:
        """Grow a volume to the requested size; its filesystem is grown by NodeExpandVolume.

        Raises: NotFound; Invalid: the capability does not fit the volume; OutOfRange: the volume is
        larger than limit_bytes, or there is no space; PoolUnavailable; Damaged.
        """
        with self._topology.naming():
            expanded = await self._run(self._use_cases.volumes.expand, parse.expand(request))
        return csi.ControllerExpandVolumeResponse(
            capacity_bytes=expanded.size, node_expansion_required=expanded.node_expansion_required
        )

    async def ControllerModifyVolume(
        self, request: csi.ControllerModifyVolumeRequest, context: object
    ) -> csi.ControllerModifyVolumeResponse:
        """Change the IO limits that the request names; the volume's other limits are unchanged.

        Raises: Refused if this machine cannot enforce a limit; Failed if the kernel refused it;
        NotFound; PoolUnavailable; Damaged.
        """
        await self._run(self._use_cases.modifier.modify, parse.modify(request))
        return csi.ControllerModifyVolumeResponse()

    async def GetCapacity(
        self, request: csi.GetCapacityRequest, context: object
    ) -> csi.GetCapacityResponse:
        """Return the sizes of the largest and the smallest volume that can be created; both are 0
        if the request's topology is that of another node.
        """
        get, capacity = parse.get_capacity(request), NO_CAPACITY
        if self._topology.within(request.accessible_topology):
            capacity = await self._run(self._use_cases.volumes.capacity, get)
        return present.capacity(capacity)

    # health

    async def ControllerGetVolumeHealth(
        self, request: csi.ControllerGetVolumeHealthRequest, context: object
    ) -> csi.ControllerGetVolumeHealthResponse:
        """Return the health of a volume."""
        get = parse.get_volume(request.volume_id)
        faults = await self._run(self._use_cases.health.volume_faults, get)
        return csi.ControllerGetVolumeHealthResponse(
            volume_health=present.health(get.volume_id, faults)
        )

    async def ControllerListVolumeHealth(
        self, request: csi.ControllerListVolumeHealthRequest, context: object
    ) -> csi.ControllerListVolumeHealthResponse:
        """Return a page of the health of volumes."""
        page = await self._run(
            self._use_cases.health.list_faulty_volumes, parse.list_volumes(request)
        )
        return csi.ControllerListVolumeHealthResponse(
            entries=[present.health(volume.id, faults) for volume, faults in page.volumes],
            next_token=page.next,
        )

    # snapshots

    async def CreateSnapshot(
        self, request: csi.CreateSnapshotRequest, context: object
    ) -> csi.CreateSnapshotResponse:
        """Take a snapshot of a volume, or return the existing one with this name and source.

        Raises: NoSpace if the pool is full; Conflict: the name exists for another source; NotFound:
        no such source; Refused, Busy: the source is in use, and copying takes longer than it may be
        frozen; StillRunning: the copy continues in the background; PoolUnavailable; Damaged.
        """
        create = parse_snapshots.create(request)
        self._topology.check(request.accessibility_requirements)
        with self._topology.naming():
            snapshot = await self._run(self._use_cases.snapshots.create, create)
        message = present.snapshot(snapshot, self._topology)
        if self._topology.is_known_to(request.accessibility_requirements):
            # csi-sanity 5.6 compares what it asked for and what it gets by Go's reflect.DeepEqual,
            # which no answer over a wire can pass (controller.go:1454): only its absence does.
            message.ClearField("accessible_topology")
        return csi.CreateSnapshotResponse(snapshot=message)

    async def DeleteSnapshot(
        self, request: csi.DeleteSnapshotRequest, context: object
    ) -> csi.DeleteSnapshotResponse:
        """Delete a snapshot; no-op if it does not exist. Raises: Invalid if it belongs to a group
        snapshot.
        """
        with suppress(NotFound):
            delete = parse_snapshots.delete(request.snapshot_id)
            await self._run(self._use_cases.snapshots.delete, delete)
        return csi.DeleteSnapshotResponse()

    async def ListSnapshots(
        self, request: csi.ListSnapshotsRequest, context: object
    ) -> csi.ListSnapshotsResponse:
        """Return a page of snapshots; an empty one if the id in a filter does not have the form of
        this driver's ids.
        """
        page = SnapshotsPage((), "")
        with suppress(NotFound):  # no snapshot matches such a filter
            page = await self._run(
                self._use_cases.snapshots.list, parse_snapshots.list_snapshots(request)
            )
        return csi.ListSnapshotsResponse(
            entries=[
                csi.ListSnapshotsResponse.Entry(snapshot=present.snapshot(snapshot, self._topology))
                for snapshot in page.snapshots
            ],
            next_token=page.next,
        )

    async def GetSnapshot(
        self, request: csi.GetSnapshotRequest, context: object
    ) -> csi.GetSnapshotResponse:
        """Return a snapshot. Raises: NotFound."""
        get = parse_snapshots.get(request.snapshot_id)
        snapshot = await self._run(self._use_cases.snapshots.get, get)
        return csi.GetSnapshotResponse(snapshot=present.snapshot(snapshot, self._topology))

    def _require_attach(self) -> None:
        if not self._attach:
            raise Unsupported("this driver was started with --no-attach: volumes need no attaching")
