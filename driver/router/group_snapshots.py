"""Group snapshots. Their ids name no pool, so that the nodes are asked for their parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from csi_proto import csi_pb2 as csi
from driver.core.errors import Conflict, Invalid, NotFound, PoolUnavailable, Refused
from driver.core.ids import (
    Key,
    PoolId,
    SnapshotId,
    VolumeId,
    group_key,
    member_key,
    parse_group_id,
    parse_snapshot_id,
    parse_volume_id,
)
from driver.router import group_coordinator
from driver.router.delete import GivesUp, never
from driver.router.forwarding import Unary
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.lost import NodeGone
from driver.router.nodes.registry import Nodes

PATH: Final = "/csi.v1.GroupController/"
CREATE: Final = f"{PATH}CreateVolumeGroupSnapshot"
DELETE: Final = f"{PATH}DeleteVolumeGroupSnapshot"
GET: Final = f"{PATH}GetVolumeGroupSnapshot"
SNAPSHOT: Final = "/csi.v1.Controller/GetSnapshot"

Check = Callable[[csi.CreateVolumeGroupSnapshotRequest], object]


class Groups:
    """Serve the group snapshot RPCs, for groups with volumes on one or several nodes.

    `check` validates a create request as a node does, and raises Invalid. `gives_up` is asked
    whether members on a node that is gone may be lost.
    """

    def __init__(self, nodes: Nodes, check: Check, gives_up: GivesUp = never) -> None:
        self._nodes = nodes
        self._check = check
        self._gives_up = gives_up

    def all(self) -> Mapping[str, Unary]:
        """Return the RPC functions by method name."""
        return {
            "CreateVolumeGroupSnapshot": self.create,
            "DeleteVolumeGroupSnapshot": self.delete,
            "GetVolumeGroupSnapshot": self.get,
        }

    async def create(
        self, request: csi.CreateVolumeGroupSnapshotRequest, context: Context
    ) -> csi.CreateVolumeGroupSnapshotResponse:
        """Take a snapshot of all source volumes at one moment, or return the group that exists.

        Raises: PoolUnavailable if the node of a source volume is unavailable; Refused if the
        volumes cannot be quiesced at once, or if one is on a node that is gone; Conflict if the
        name is taken by a group of other volumes; Invalid by `check`.
        """
        key = group_key(request.name)
        sources = sorted(parse_volume_id(one) for one in request.source_volume_ids)
        mine = self._by_owner(sources)
        wanted = [SnapshotId(one.pool, member_key(key, one)) for one in sources]
        found = await group_coordinator.find(self._nodes.there(), key)
        if len(mine) == 1 and found.there <= set(map(str, wanted)):
            [link] = mine
            answer = await calls.forward(link, CREATE, request, context)
            return csi.CreateVolumeGroupSnapshotResponse.FromString(answer)
        self._check(request)
        if found.there and not self._missing(found):
            if found.members != set(map(str, wanted)):
                raise Conflict(f"group snapshot {request.name!r} exists, of other volumes")
        else:
            await group_coordinator.delete(
                self._nodes.there(), key
            )  # half made: nobody was told of a group
            ids = {link: list(map(str, each)) for link, each in mine.items()}
            await group_coordinator.take(ids, request.name, key, time.time())
        return csi.CreateVolumeGroupSnapshotResponse(
            group_snapshot=await self._whole(key, sorted(map(str, wanted)))
        )

    async def get(
        self, request: csi.GetVolumeGroupSnapshotRequest, context: Context
    ) -> csi.GetVolumeGroupSnapshotResponse:
        """Return the group with all its members, as their nodes describe them.

        Raises: NotFound if there is no such group, or if a member of it is missing;
        PoolUnavailable if it may be on a node that is unavailable; Invalid if `snapshot_ids`
        are not its members.
        """
        key, named = parse_group_id(request.group_snapshot_id), _named(request.snapshot_ids)
        found = await group_coordinator.find(self._nodes.there(), key)
        self._compare(key, found, named)
        if missing := self._missing(found):
            raise NotFound(f"group snapshot {key} is not whole: no {missing[0]}")
        return csi.GetVolumeGroupSnapshotResponse(
            group_snapshot=await self._whole(key, sorted(found.members))
        )

    async def delete(
        self, request: csi.DeleteVolumeGroupSnapshotRequest, context: Context
    ) -> csi.DeleteVolumeGroupSnapshotResponse:
        """Delete all members of the group; no-op if there is no such group.

        Raises: PoolUnavailable if the node of a member is unavailable, in which case nothing
        was deleted; Invalid if `snapshot_ids` are not the members.
        """
        try:
            key = parse_group_id(request.group_snapshot_id)
        except NotFound:
            return csi.DeleteVolumeGroupSnapshotResponse()
        named = _named(request.snapshot_ids)
        found = await group_coordinator.find(self._nodes.there(), key)
        try:
            self._compare(key, found, named)
        except NotFound:
            return csi.DeleteVolumeGroupSnapshotResponse()
        for pool in sorted({parse_snapshot_id(one).pool for one in found.members | named}):
            await self._there_or_lost(key, pool)
        await group_coordinator.delete(self._nodes.there(), key)
        return csi.DeleteVolumeGroupSnapshotResponse()

    async def _there_or_lost(self, key: Key, pool: PoolId) -> None:
        """Raise PoolUnavailable if the node of `pool` is unavailable, unless what it had is given
        up.
        """
        try:
            self._nodes.owner(pool)
        except NodeGone as gone:
            if not await self._gives_up(f"members of group snapshot {key}", gone.node):
                raise

    def _compare(self, key: Key, found: group_coordinator.Found, named: frozenset[str]) -> None:
        """Check that the group was found and that `named` (if any) are its members.

        Raises: NotFound if there is no such group; PoolUnavailable if it may be on a node that
        is unavailable; Invalid if other members are named.
        """
        if not found.there:
            for one in sorted(named):
                self._nodes.owner(parse_snapshot_id(one).pool)
            if not named:
                self._all_there(key)
            raise NotFound(f"no group snapshot {key}")
        if named and named != found.members:
            members = ", ".join(sorted(found.members))
            raise Invalid(f"snapshot_ids: the members of group {key} are {members}")

    def _missing(self, found: group_coordinator.Found) -> Sequence[str]:
        """Return the ids of members that no longer exist.

        Raises: PoolUnavailable if one may exist on a node that is unavailable.
        """
        missing = sorted(found.members - found.there)
        for one in missing:
            self._nodes.owner(parse_snapshot_id(one).pool)
        return missing

    def _by_owner(self, sources: Sequence[VolumeId]) -> Mapping[NodeConnection, Sequence[VolumeId]]:
        """Return the source volumes of each node.

        Raises: PoolUnavailable if a node is unavailable; Refused, which is a final answer, if
        it is gone.
        """
        mine: dict[NodeConnection, list[VolumeId]] = {}
        for one in sources:
            try:
                mine.setdefault(self._nodes.owner(one.pool), []).append(one)
            except NodeGone as gone:
                raise Refused(f"volume {one} is on node {gone.node}, which is gone") from None
        return mine

    async def _whole(self, key: Key, members: Sequence[str]) -> csi.VolumeGroupSnapshot:
        """Return the group with these members in the given order, each as its node describes it."""
        found = await asyncio.gather(*map(self._member, members))
        return csi.VolumeGroupSnapshot(
            group_snapshot_id=key,
            snapshots=found,
            creation_time=found[0].creation_time if found else Timestamp(),
            ready_to_use=True,
        )

    async def _member(self, text: str) -> csi.Snapshot:
        link = self._nodes.owner(parse_snapshot_id(text).pool)
        request = csi.GetSnapshotRequest(snapshot_id=text)
        answer = await calls.ask(link, SNAPSHOT, request, csi.GetSnapshotResponse)
        return answer.snapshot

    def _all_there(self, key: str) -> None:
        if away := [link.name for link in self._nodes.all() if not link.there]:
            raise PoolUnavailable(
                f"group snapshot {key} may be on a node that is away: {', '.join(away)}"
            )


def _named(snapshot_ids: Sequence[str]) -> frozenset[str]:
    """Return the snapshot ids in their normal form.

    Raises: Invalid if one is not an id of ours, so that it cannot be a member of the group.
    """
    try:
        return frozenset(str(parse_snapshot_id(one)) for one in snapshot_ids)
    except NotFound as error:
        raise Invalid(f"snapshot_ids: {error}") from None
