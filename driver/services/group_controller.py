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
    """The CSI GroupController service: takes, returns and deletes group snapshots of volumes on
    this node.
    """

    def __init__(
        self, dispatcher: Dispatcher, snapshots: Snapshotter, topology: NodeTopology
    ) -> None:
        self._run = dispatcher.run
        self._snapshots = snapshots
        self._topology = topology

    async def GroupControllerGetCapabilities(
        self, request: csi.GroupControllerGetCapabilitiesRequest, context: object
    ) -> csi.GroupControllerGetCapabilitiesResponse:
        """Return which RPCs of the GroupController service this driver serves."""
        return group_capabilities()

    async def CreateVolumeGroupSnapshot(
        self, request: csi.CreateVolumeGroupSnapshotRequest, context: object
    ) -> csi.CreateVolumeGroupSnapshotResponse:
        """Take a snapshot of several volumes at one moment, or return the existing group snapshot
        with this name and these sources.

        Raises: Conflict: the name exists for other sources; NotFound: a source does not exist;
        Refused, Busy: a source is in use, and copying takes longer than it may be frozen;
        StillRunning: the copy continues in the background; NoSpace; PoolUnavailable; Damaged.
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
        """Delete all members of a group snapshot; no-op if it does not exist. Raises: Invalid if
        `snapshot_ids` differ from the members; PoolUnavailable; Damaged.
        """
        with suppress(NotFound):
            await self._run(self._snapshots.delete_group, parse_snapshots.group_ref(request))
        return csi.DeleteVolumeGroupSnapshotResponse()

    async def GetVolumeGroupSnapshot(
        self, request: csi.GetVolumeGroupSnapshotRequest, context: object
    ) -> csi.GetVolumeGroupSnapshotResponse:
        """Return a group snapshot with all its members. Raises: NotFound, also if a member is
        missing; Invalid if `snapshot_ids` differ from the members; PoolUnavailable; Damaged.
        """
        group = await self._run(self._snapshots.get_group, parse_snapshots.group_ref(request))
        return csi.GetVolumeGroupSnapshotResponse(
            group_snapshot=present.group(group, self._topology)
        )
