"""The group snapshot RPCs. A group's id names no pool, so all nodes are asked for members."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from csi_proto import csi_pb2 as csi
from driver.core import groups
from driver.core.errors import NotFound, PoolUnavailable, Refused
from driver.core.ids import Key, PoolId, SnapshotId, VolumeId, parse_snapshot_id
from driver.csi import methods, parse_snapshots
from driver.router import group_coordinator
from driver.router.forwarding import Unary
from driver.router.group_coordinator import GroupParts
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import Abandon, NodeGone, abandon_nothing
from driver.router.nodes.registry import Nodes
from driver.volumes.snapshot_requests import GroupSnapshotRef

_CREATE: Final = methods.path("CreateVolumeGroupSnapshot")


class GroupRoutes:
    """Serves the group snapshot RPCs of a router; the volumes may be on one or several nodes.

    `abandon`: returns whether member snapshots on a node that is gone may be lost.
    """

    def __init__(self, nodes: Nodes, abandon: Abandon = abandon_nothing) -> None:
        self._nodes = nodes
        self._abandon = abandon

    def all(self) -> Mapping[str, Unary]:
        """Return the handler of each RPC, by the RPC's name."""
        return {
            "CreateVolumeGroupSnapshot": self.create,
            "DeleteVolumeGroupSnapshot": self.delete,
            "GetVolumeGroupSnapshot": self.get,
        }

    async def create(
        self, request: csi.CreateVolumeGroupSnapshotRequest, context: Context
    ) -> csi.CreateVolumeGroupSnapshotResponse:
        """Take a snapshot of all source volumes at one moment, or return the existing group
        snapshot with this name.

        Raises: PoolUnavailable if the node of a source volume is unavailable; Refused if the
        volumes cannot be quiesced at once, or one is on a node that is gone; Conflict if a group of
        other volumes has the name; NotFound, Invalid if the request is malformed.
        """
        group = parse_snapshots.create_group(request)
        requested = [SnapshotId(member.source.pool, member.key) for member in group.members]
        sources = self._by_owner([member.source for member in group.members])
        parts = await group_coordinator.find(self._nodes.reachable(), group.key)
        if len(sources) == 1 and parts.present <= set(map(str, requested)):
            [node] = sources
            response = await calls.forward(node, _CREATE, request, context)
            return csi.CreateVolumeGroupSnapshotResponse.FromString(response)
        if parts.present and not self._missing(parts):
            groups.check_sources(request.name, requested, _snapshot_ids(parts.members))
        else:  # first delete what an interrupted create left: its caller got no group
            await group_coordinator.delete(self._nodes.reachable(), group.key)
            await group_coordinator.take(sources, request, group.key, time.time())
        return csi.CreateVolumeGroupSnapshotResponse(
            group_snapshot=await self._whole(group.key, sorted(map(str, requested)))
        )

    async def get(
        self, request: csi.GetVolumeGroupSnapshotRequest, context: Context
    ) -> csi.GetVolumeGroupSnapshotResponse:
        """Return the group snapshot with all its members, as their nodes describe them.

        Raises: NotFound if there is no such group snapshot, or a member of it is missing;
        PoolUnavailable if a member may be on an unavailable node; Invalid if `snapshot_ids` differ
        from the members.
        """
        group = parse_snapshots.group_ref(request)
        parts = await group_coordinator.find(self._nodes.reachable(), group.key)
        self._check(group, parts)
        if missing := self._missing(parts):
            raise groups.incomplete(group.key, missing[0])
        return csi.GetVolumeGroupSnapshotResponse(
            group_snapshot=await self._whole(group.key, sorted(parts.members))
        )

    async def delete(
        self, request: csi.DeleteVolumeGroupSnapshotRequest, context: Context
    ) -> csi.DeleteVolumeGroupSnapshotResponse:
        """Delete all members of the group snapshot; no-op if there is no such group snapshot.

        Raises: PoolUnavailable if the node of a member is unavailable, in which case nothing was
        deleted; Invalid if `snapshot_ids` differ from the members.
        """
        try:
            group = parse_snapshots.group_ref(request)
            parts = await group_coordinator.find(self._nodes.reachable(), group.key)
            self._check(group, parts)
        except NotFound:
            return csi.DeleteVolumeGroupSnapshotResponse()
        members = {*_snapshot_ids(parts.members), *group.snapshot_ids}
        for pool in sorted({member.pool for member in members}):
            await self._check_reachable_or_lost(group.key, pool)
        await group_coordinator.delete(self._nodes.reachable(), group.key)
        return csi.DeleteVolumeGroupSnapshotResponse()

    async def _check_reachable_or_lost(self, key: Key, pool: PoolId) -> None:
        """Raise PoolUnavailable if the node of `pool` is unavailable, unless its members are
        abandoned.
        """
        try:
            self._nodes.owner(pool)
        except NodeGone as gone:
            if not await self._abandon(f"members of group snapshot {key}", gone.node):
                raise

    def _check(self, group: GroupSnapshotRef, parts: GroupParts) -> None:
        """Check that the group exists and that the members that are named (if any) are its own.

        Raises: NotFound if there is no such group; PoolUnavailable if it may be on a node that
        is unavailable; Invalid if other members are named.
        """
        if not parts.present:
            for member in sorted(group.snapshot_ids):
                self._nodes.owner(member.pool)
            if not group.snapshot_ids:
                self._check_all_reachable(group.key)
            raise groups.no_group(group.key)
        groups.check_members(group.key, group.snapshot_ids, _snapshot_ids(parts.members))

    def _missing(self, parts: GroupParts) -> Sequence[SnapshotId]:
        """Return the members that no longer exist.

        Raises: PoolUnavailable if one may exist on a node that is unavailable.
        """
        missing = sorted(_snapshot_ids(parts.members - parts.present))
        for member in missing:
            self._nodes.owner(member.pool)
        return missing

    def _by_owner(self, sources: Sequence[VolumeId]) -> Mapping[NodeConnection, Sequence[str]]:
        """Return the ids of the source volumes on each node.

        Raises: PoolUnavailable if a node is unavailable; Refused, which is a final answer, if
        it is gone.
        """
        by_owner: dict[NodeConnection, list[str]] = {}
        for volume in sources:
            try:
                by_owner.setdefault(self._nodes.owner(volume.pool), []).append(str(volume))
            except NodeGone as gone:
                raise Refused(f"volume {volume} is on node {gone.node}, which is gone") from None
        return by_owner

    async def _whole(self, key: Key, members: Sequence[str]) -> csi.VolumeGroupSnapshot:
        """Return the group with these members in the given order, each as its node describes it."""
        snapshots = await asyncio.gather(*map(self._member, members))
        return csi.VolumeGroupSnapshot(
            group_snapshot_id=key,
            snapshots=snapshots,
            creation_time=snapshots[0].creation_time if snapshots else Timestamp(),
            ready_to_use=True,
        )

    async def _member(self, text: str) -> csi.Snapshot:
        node = self._nodes.owner(parse_snapshot_id(text).pool)
        request = csi.GetSnapshotRequest(snapshot_id=text)
        response = await calls.ask(node, lambda node: node.controller().GetSnapshot, request)
        return response.snapshot

    def _check_all_reachable(self, key: Key) -> None:
        names = [node.name for node in self._nodes.all() if not node.reachable]
        if names:
            raise PoolUnavailable(
                f"group snapshot {key} may be on a node that is unavailable: {', '.join(names)}"
            )


def _snapshot_ids(texts: frozenset[str]) -> Sequence[SnapshotId]:
    return [parse_snapshot_id(text) for text in texts]
