"""The calls that let something go: they have to end well at last, also when its node never will."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from csi_proto import csi_pb2 as csi
from driver.core.errors import NotFound, PoolUnavailable
from driver.core.ids import ImageId, PoolId, parse_snapshot_id, parse_volume_id
from driver.router.forwarding import Unary
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import NodeName
from driver.router.nodes.lost import NodeGone
from driver.router.nodes.registry import Nodes

PATH: Final = "/csi.v1.Controller/"
UNPUBLISH: Final = f"{PATH}ControllerUnpublishVolume"

GivesUp: TypeAlias = Callable[[str, NodeName], Awaitable[bool]]


async def never(_what: str, _node: NodeName) -> bool:
    """Return False: the policy of a router that does not learn which nodes are gone."""
    return False


class DeleteRoutes:
    """Serve the RPCs that delete and unpublish, which must succeed in the end even if the node
    never returns.

    `gives_up` is asked whether a volume or snapshot may be lost with its node. `attachments`:
    publications are recorded in VolumeAttachments, and Kubernetes deletes no volume that has
    one. A node that was unavailable when a volume was detached does not know of that: it is
    told before it deletes the volume.
    """

    def __init__(
        self, nodes: Nodes, gives_up: GivesUp = never, *, attachments: bool = False
    ) -> None:
        self._nodes = nodes
        self._gives_up = gives_up
        self._attachments = attachments

    def all(self) -> Mapping[str, Unary]:
        """Return the RPC functions by method name."""
        return {
            "DeleteVolume": self.volume,
            "DeleteSnapshot": self.snapshot,
            "ControllerUnpublishVolume": self.unpublish,
        }

    async def volume(self, request: csi.DeleteVolumeRequest, context: Context) -> bytes:
        """Delete a volume on its node; no-op if the id is not of this driver or the volume is
        given up.

        Raises: PoolUnavailable if its node is unavailable; Refused if two nodes report its
        pool; other errors as the node reports them.
        """
        owner = await self._owner(request.volume_id, parse_volume_id, "volume")
        if owner is None:
            return b""
        if self._attachments:
            everywhere = csi.ControllerUnpublishVolumeRequest(volume_id=request.volume_id)
            await calls.forward(owner, UNPUBLISH, everywhere, context)
        return await calls.forward(owner, f"{PATH}DeleteVolume", request, context)

    async def snapshot(self, request: csi.DeleteSnapshotRequest, context: Context) -> bytes:
        """Delete a snapshot on its node; no-op if the id is not of this driver or it is given up.

        Raises: PoolUnavailable if its node is unavailable; Refused if two nodes report its
        pool; other errors as the node reports them.
        """
        owner = await self._owner(request.snapshot_id, parse_snapshot_id, "snapshot")
        if owner is None:
            return b""
        return await calls.forward(owner, f"{PATH}DeleteSnapshot", request, context)

    async def unpublish(
        self, request: csi.ControllerUnpublishVolumeRequest, context: Context
    ) -> bytes:
        """Unpublish a volume on its node. Succeeds if nothing on the node can use it: a delete
        waits for this.

        Raises: PoolUnavailable if its node is unavailable, and neither out of service nor gone.
        """
        try:
            pool = parse_volume_id(request.volume_id).pool
        except NotFound:
            return b""
        try:
            owner = self._nodes.owner(pool)
            return await calls.forward(owner, UNPUBLISH, request, context)
        except PoolUnavailable:
            if not self._is_given_up(request.node_id, pool):
                raise
            return b""

    def _is_given_up(self, node_id: str, pool: PoolId) -> bool:
        """Return whether nothing on the node can use a volume of `pool` any more.

        An empty `node_id` means all nodes; a volume is only ever used on that of its pool.
        """
        node = node_id or self._nodes.home(pool)
        return node is not None and self._nodes.given_up(node)

    async def _owner(
        self, text: str, parse: Callable[[str], ImageId], kind: str
    ) -> NodeConnection | None:
        """Return the node that has the volume or snapshot; None if it counts as deleted.

        Raises: PoolUnavailable if the node is unavailable; Refused if two nodes report its
        pool.
        """
        try:
            return self._nodes.owner(parse(text).pool)
        except NotFound:  # an id that we could not have made: what was never there is gone
            return None
        except NodeGone as gone:
            if await self._gives_up(f"{kind} {text}", gone.node):
                return None
            raise
