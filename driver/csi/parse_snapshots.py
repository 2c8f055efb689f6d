"""Parses the requests about snapshots, groups and changed blocks into the requests of the use
cases; see parse.
"""

from __future__ import annotations

from csi_proto import csi_pb2 as csi
from driver.core import ids
from driver.core.errors import Invalid, NotFound
from driver.core.model import ObjectKind
from driver.csi import parameters, parse
from driver.volumes import snapshot_requests


def create(request: csi.CreateSnapshotRequest) -> snapshot_requests.CreateSnapshot:
    """Return the request to create a snapshot.

    Raises: NotFound: the source's id does not have the form of this driver's ids; Invalid: a
    parameter is not supported.
    """
    source = ids.parse_volume_id(request.source_volume_id)
    parameters.refuse_parameters(request.parameters)
    objects = parameters.object_names(request.parameters, ObjectKind.SNAPSHOT, request.name)
    return snapshot_requests.CreateSnapshot(
        snapshot_requests.Member(ids.snapshot_key(request.name), request.name, source, objects)
    )


def delete(snapshot_id: str) -> snapshot_requests.DeleteSnapshot:
    """Return the request to delete the snapshot with this id.

    Raises: NotFound: the id does not have the form of this driver's ids.
    """
    return snapshot_requests.DeleteSnapshot(ids.parse_snapshot_id(snapshot_id))


def get(snapshot_id: str) -> snapshot_requests.GetSnapshot:
    """Return the request to read the snapshot with this id.

    Raises: NotFound: the id does not have the form of this driver's ids.
    """
    return snapshot_requests.GetSnapshot(ids.parse_snapshot_id(snapshot_id))


def list_snapshots(request: csi.ListSnapshotsRequest) -> snapshot_requests.ListSnapshots:
    """Return the request for a page of snapshots.

    Raises: NotFound if the id in a filter does not have the form of this driver's ids, so that the
    list is empty; Invalid: the number of entries is negative; StaleToken: the message's page token
    is not one that this driver issued.
    """
    most, after = parse.page_arguments(request, ids.parse_snapshot_id)
    snapshot_id, source = request.snapshot_id, request.source_volume_id
    return snapshot_requests.ListSnapshots(
        most,
        after,
        snapshot_id=ids.parse_snapshot_id(snapshot_id) if snapshot_id else None,
        source=ids.parse_volume_id(source) if source else None,
    )


def get_allocated(request: csi.GetMetadataAllocatedRequest) -> snapshot_requests.GetChangedBlocks:
    """Return the request for the allocated ranges of a snapshot.

    Raises: NotFound: the snapshot id does not have the form of this driver's ids.
    """
    target = ids.parse_snapshot_id(request.snapshot_id)
    return snapshot_requests.GetChangedBlocks(target=target, start=request.starting_offset)


def get_delta(request: csi.GetMetadataDeltaRequest) -> snapshot_requests.GetChangedBlocks:
    """Return the request for the ranges in which two snapshots differ.

    Raises: NotFound: a snapshot id does not have the form of this driver's ids.
    """
    base = ids.parse_snapshot_id(request.base_snapshot_id)
    target = ids.parse_snapshot_id(request.target_snapshot_id)
    return snapshot_requests.GetChangedBlocks(
        target=target, base=base, start=request.starting_offset
    )


def max_results(number: int, default: int, limit: int) -> int:
    """Return how many entries one message may have: `number`, or `default` if `number` is 0; at
    most `limit`.

    Raises: Invalid if `number` is negative.
    """
    if number < 0:
        raise Invalid("max_results must not be negative; 0 leaves the number to the driver")
    return min(number or default, limit)


def create_group(
    request: csi.CreateVolumeGroupSnapshotRequest,
) -> snapshot_requests.CreateGroupSnapshot:
    """Return the request to create a group snapshot.

    Raises: NotFound: a source's id does not have the form of this driver's ids; Invalid: a
    parameter is not supported, or a source is named twice.
    """
    sources = sorted(ids.parse_volume_id(volume) for volume in request.source_volume_ids)
    parameters.refuse_group_parameters(request.parameters)
    if len(set(sources)) < len(sources):
        raise Invalid("source_volume_ids: a volume is named twice")
    key = ids.group_key(request.name)
    objects = parameters.object_names(request.parameters, ObjectKind.GROUP_SNAPSHOT)
    members = (
        snapshot_requests.Member(ids.member_key(key, source), request.name, source, objects)
        for source in sources
    )
    return snapshot_requests.CreateGroupSnapshot(key, request.name, tuple(members))


def group_ref(
    request: csi.DeleteVolumeGroupSnapshotRequest | csi.GetVolumeGroupSnapshotRequest,
) -> snapshot_requests.GroupSnapshotRef:
    """Return which group snapshot the request means, and the ids of its member snapshots that the
    request contains.

    Raises: NotFound: the group snapshot's id does not have the form of this driver's ids; Invalid:
    a member's id does not have that form.
    """
    key = ids.parse_group_id(request.group_snapshot_id)
    return snapshot_requests.GroupSnapshotRef(key, tuple(map(_member, request.snapshot_ids)))


def _member(text: str) -> ids.SnapshotId:
    """Return the id of a member.

    Raises: Invalid if it is not an id of ours, and so not of this group: CSI has a code of its
    own for that.
    """
    try:
        return ids.parse_snapshot_id(text)
    except NotFound as error:
        raise Invalid(f"snapshot_ids: {error}") from None
