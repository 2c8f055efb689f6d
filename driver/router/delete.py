"""The RPCs that delete and unpublish. They succeed in the end even if a node never comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from csi_proto import csi_pb2 as csi
from driver.core.errors import NotFound, PoolUnavailable
from driver.core.ids import ImageId, PoolId, parse_snapshot_id, parse_volume_id
from driver.csi import methods
from driver.router.forwarding import Unary
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import Abandon, NodeGone, abandon_nothing
from driver.router.nodes.registry import Nodes

_DELETE_VOLUME: Final = methods.path("DeleteVolume")
_DELETE_SNAPSHOT: Final = methods.path("DeleteSnapshot")
_UNPUBLISH: Final = methods.path("ControllerUnpublishVolume")


class DeleteRoutes:
    """Serves the RPCs of a router that delete and unpublish, which must succeed in the end even if
    a node never comes back.

    `abandon`: decides whether a volume or snapshot may be lost with its node. `attachments`: True
    if publications are recorded in VolumeAttachments; Kubernetes deletes no volume that has one. So
    a node that was unavailable when a volume was detached gets a ControllerUnpublishVolume before
    the DeleteVolume.
    """

    def __init__(
        self, nodes: Nodes, abandon: Abandon = abandon_nothing, *, attachments: bool = False
    ) -> None:
        self._nodes = nodes
        self._abandon = abandon
        self._attachments = attachments

    def all(self) -> Mapping[str, Unary]:
        """Return the handler of each RPC, by the RPC's name."""
        return {
            "DeleteVolume": self.volume,
            "DeleteSnapshot": self.snapshot,
            "ControllerUnpublishVolume": self.unpublish,
        }

    async def volume(self, request: csi.DeleteVolumeRequest, context: Context) -> bytes:
        """Delete a volume on its node, and return the serialized response. No-op if the id does not
        have the form of this driver's ids, or if the volume's node is gone and the router is
        configured to give up the volumes of such nodes.

        Raises: PoolUnavailable if the volume's node is unavailable; Refused if two nodes report its
        pool; other errors as the node reports them.
        """
        owner = await self._owner(request.volume_id, parse_volume_id, "volume")
        if owner is None:
            return b""
        if self._attachments:
            from_all_nodes = csi.ControllerUnpublishVolumeRequest(volume_id=request.volume_id)
            await calls.forward(owner, _UNPUBLISH, from_all_nodes, context)
        return await calls.forward(owner, _DELETE_VOLUME, request, context)

    async def snapshot(self, request: csi.DeleteSnapshotRequest, context: Context) -> bytes:
        """Delete a snapshot on its node, and return the serialized response. No-op if the id does
        not have the form of this driver's ids, or if the snapshot's node is gone and the router is
        configured to give up the snapshots of such nodes.

        Raises: PoolUnavailable if the snapshot's node is unavailable; Refused if two nodes report
        its pool; other errors as the node reports them.
        """
        owner = await self._owner(request.snapshot_id, parse_snapshot_id, "snapshot")
        if owner is None:
            return b""
        return await calls.forward(owner, _DELETE_SNAPSHOT, request, context)

    async def unpublish(
        self, request: csi.ControllerUnpublishVolumeRequest, context: Context
    ) -> bytes:
        """Unpublish a volume on its node, and return the serialized response. If the node is out of
        service or gone, succeed without calling it, because nothing on the node uses the volume,
        and the volume's deletion waits for this call.

        Raises: PoolUnavailable if the volume's node is unavailable, and neither out of service nor
        gone.
        """
        try:
            pool = parse_volume_id(request.volume_id).pool
        except NotFound:
            return b""
        try:
            owner = self._nodes.owner(pool)
            return await calls.forward(owner, _UNPUBLISH, request, context)
        except PoolUnavailable:
            if not self._is_out_of_use(request.node_id, pool):
                raise
            return b""

    def _is_out_of_use(self, node_id: str, pool: PoolId) -> bool:
        """Return whether nothing on the node can use a volume of `pool` any more.

        An empty `node_id` means all nodes; a volume is only ever used on that of its pool.
        """
        node = node_id or self._nodes.last_node(pool)
        return node is not None and self._nodes.is_out_of_use(node)

    async def _owner(
        self, text: str, parse: Callable[[str], ImageId], kind: str
    ) -> NodeConnection | None:
        """Return the node that has the volume or snapshot; None if it counts as deleted.

        `kind`: "volume" or "snapshot", for people. Raises: PoolUnavailable if the node is
        unavailable; Refused if two nodes report its pool.
        """
        try:
            return self._nodes.owner(parse(text).pool)
        except NotFound:  # not an id of this driver: there never was such a volume
            return None
        except NodeGone as gone:
            if await self._abandon(f"{kind} {text}", gone.node):
                return None
            raise
