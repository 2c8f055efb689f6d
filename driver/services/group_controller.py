"""The GroupController service: snapshots of several volumes at one moment."""

from __future__ import annotations

from contextlib import suppress

from csi_proto import csi_pb2 as csi
from csi_proto.csi_pb2_grpc import GroupControllerServicer
from driver.core.errors import NotFound
from driver.csi import parse_snapshots, present
from driver.csi.identity import group_capabilities
from driver.csi.topology import NodeTopology
from driver.services.dispatch import Dispatcher
from driver.volumes.copies.snapshots import Snapshotter


class GroupController(GroupControllerServicer):
    """The CSI GroupController service."""

    def __init__(
        self, dispatcher: Dispatcher, snapshots: Snapshotter, topology: NodeTopology
    ) -> None:
        self._run = dispatcher.run
        self._snapshots = snapshots
        self._topology = topology

    async def GroupControllerGetCapabilities(
        self, request: csi.GroupControllerGetCapabilitiesRequest, context: object
    ) -> csi.GroupControllerGetCapabilitiesResponse:
        """Return the capabilities; see `group_capabilities`."""
        return group_capabilities()

    async def CreateVolumeGroupSnapshot(
        self, request: csi.CreateVolumeGroupSnapshotRequest, context: object
    ) -> csi.CreateVolumeGroupSnapshotResponse:
        """Take a snapshot of several volumes at one moment, or return the existing group with this
        name.

        See Snapshotter.create_group.
        """
        with self._topology.naming():
            group = await self._run(
                self._snapshots.create_group, parse_snapshots.create_group(request)
            )
        return csi.CreateVolumeGroupSnapshotResponse(
            group_snapshot=present.group(group, self._topology)
        )

    async def DeleteVolumeGroupSnapshot(
        self, request: csi.DeleteVolumeGroupSnapshotRequest, context: object
    ) -> csi.DeleteVolumeGroupSnapshotResponse:
        """Delete a group snapshot; no-op if there is none. See Snapshotter.delete_group."""
        with suppress(NotFound):
            await self._run(self._snapshots.delete_group, parse_snapshots.group_ref(request))
        return csi.DeleteVolumeGroupSnapshotResponse()

    async def GetVolumeGroupSnapshot(
        self, request: csi.GetVolumeGroupSnapshotRequest, context: object
    ) -> csi.GetVolumeGroupSnapshotResponse:
        """Return a group snapshot; see Snapshotter.get_group."""
        group = await self._run(self._snapshots.get_group, parse_snapshots.group_ref(request))
        return csi.GetVolumeGroupSnapshotResponse(
            group_snapshot=present.group(group, self._topology)
        )
