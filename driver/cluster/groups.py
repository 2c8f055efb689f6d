"""Group snapshots: of volumes on one node. Their ids name no pool, so that the nodes are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from csi_proto import csi_pb2 as csi
from driver.cluster import asking
from driver.cluster.asking import Context
from driver.cluster.link import Link
from driver.cluster.nodes import Nodes, others
from driver.cluster.router import Unary
from driver.core.errors import Conflict, Invalid, NotFound, PoolAway, Refused
from driver.core.ids import group_key, parse_group_id, parse_snapshot_id, parse_volume_id

PATH: Final = "/csi.v1.GroupController/"
CREATE: Final = f"{PATH}CreateVolumeGroupSnapshot"
DELETE: Final = f"{PATH}DeleteVolumeGroupSnapshot"
GET: Final = f"{PATH}GetVolumeGroupSnapshot"


class Groups:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def all(self) -> Mapping[str, Unary]:
        return {
            "CreateVolumeGroupSnapshot": self.create,
            "DeleteVolumeGroupSnapshot": self.delete,
            "GetVolumeGroupSnapshot": self.get,
        }

    async def create(
        self, request: csi.CreateVolumeGroupSnapshotRequest, context: Context
    ) -> csi.CreateVolumeGroupSnapshotResponse:
        """PoolAway: a member's node is away. Refused: the members are on several nodes."""
        pools = {parse_volume_id(one).pool for one in request.source_volume_ids}
        links = {link.name: link for link in map(self._nodes.owner, sorted(pools))}
        if len(links) > 1:
            raise Refused(
                f"the volumes are on nodes {', '.join(links)}: a group snapshot is taken of volumes"
                " on one node; take one group for each node"
            )
        [link] = links.values()
        elsewhere = others(self._nodes.there(), link)
        for other, _ in await self._having(list(elsewhere), group_key(request.name)):
            raise Conflict(f"group snapshot {request.name!r} exists, on node {other.name}")
        answer = await asking.forward(link, CREATE, request, context)
        return csi.CreateVolumeGroupSnapshotResponse.FromString(answer)

    async def get(
        self, request: csi.GetVolumeGroupSnapshotRequest, context: Context
    ) -> csi.GetVolumeGroupSnapshotResponse:
        """NotFound; PoolAway: it may be on a node that is away."""
        key = parse_group_id(request.group_snapshot_id)
        if link := self._of_members(request.snapshot_ids):
            answer = await asking.forward(link, GET, request, context)
            return csi.GetVolumeGroupSnapshotResponse.FromString(answer)
        for _, found in await self._having(self._nodes.there(), key):
            return found
        self._all_there(key)
        raise NotFound(f"no group snapshot {key}")

    async def delete(
        self, request: csi.DeleteVolumeGroupSnapshotRequest, context: Context
    ) -> csi.DeleteVolumeGroupSnapshotResponse:
        """On every node: one that does not have it has nothing to do."""
        try:
            key = parse_group_id(request.group_snapshot_id)
        except NotFound:
            return csi.DeleteVolumeGroupSnapshotResponse()
        if link := self._of_members(request.snapshot_ids):
            await asking.forward(link, DELETE, request, context)
            return csi.DeleteVolumeGroupSnapshotResponse()
        links = self._nodes.there()
        await asyncio.gather(*(asking.forward(one, DELETE, request, context) for one in links))
        self._all_there(key)
        return csi.DeleteVolumeGroupSnapshotResponse()

    def _of_members(self, snapshot_ids: Sequence[str]) -> Link | None:
        """None: no member is named. Invalid: they cannot be of one group. PoolAway."""
        try:
            pools = {parse_snapshot_id(one).pool for one in snapshot_ids}
        except NotFound as error:
            raise Invalid(f"snapshot_ids: {error}") from None
        links = {link.name: link for link in map(self._nodes.owner, sorted(pools))}
        if len(links) > 1:
            raise Invalid(f"snapshot_ids: no group has members on {' and '.join(links)}")
        return next(iter(links.values()), None)

    async def _having(
        self, links: Sequence[Link], key: str
    ) -> list[tuple[Link, csi.GetVolumeGroupSnapshotResponse]]:
        found = await asyncio.gather(*(_group(link, key) for link in links))
        return [(link, one) for link, one in zip(links, found, strict=True) if one]

    def _all_there(self, key: str) -> None:
        if away := [link.name for link in self._nodes.all() if not link.there]:
            raise PoolAway(f"group snapshot {key} may be on a node that is away: {', '.join(away)}")


async def _group(link: Link, key: str) -> csi.GetVolumeGroupSnapshotResponse | None:
    """None: the node does not have it, or is away, which its caller looks at."""
    request = csi.GetVolumeGroupSnapshotRequest(group_snapshot_id=key)
    try:
        return await asking.ask(link, GET, request, csi.GetVolumeGroupSnapshotResponse)
    except (NotFound, PoolAway):
        return None
