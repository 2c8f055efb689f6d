"""Converts volumes, snapshots and their health to CSI messages.

The VolumeCondition of CSI 1.12 is set in addition to the health of CSI 1.13.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int64Value

from csi_proto import csi_pb2 as csi
from csi_proto import inspect_pb2
from driver.core.capacity import Capacity
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import ImageId, VolumeId
from driver.core.model import Bytes, Snapshot, Unreadable, Volume
from driver.core.ports.conditions import Condition
from driver.core.results import Group, VolumeStats
from driver.csi.topology import NodeTopology

StorageHealth = csi.NodeGetStorageHealthResponse.StorageBackendHealth

_VOLUME_HEALTH: Final = {
    Severity.DEGRADED: csi.DEGRADED,
    Severity.INACCESSIBLE: csi.INACCESSIBLE,
    Severity.DATA_LOSS: csi.DATA_LOSS,
}

_HEALTHY: Final = csi.VolumeCondition(abnormal=False, message="healthy")  # copied into each answer


def volume(image: Volume | Unreadable, topology: NodeTopology) -> csi.Volume:
    """Convert a volume to its CSI message, which says that it is accessible on the node of
    `topology`.
    """
    source = image.source if isinstance(image, Volume) else None
    return csi.Volume(
        capacity_bytes=image.size,
        volume_id=str(image.id),
        content_source=_source(source) if source else None,
        accessible_topology=[topology.present()],
    )


def snapshot(image: Snapshot | Unreadable, topology: NodeTopology) -> csi.Snapshot:
    """Convert a snapshot to its CSI message; a snapshot with a damaged record is not ready to use.
    `topology`: that of its node.
    """
    return csi.Snapshot(
        size_bytes=image.size,
        snapshot_id=str(image.id),
        source_volume_id=str(image.source or ""),
        creation_time=moment(image.created),
        ready_to_use=isinstance(image, Snapshot),  # one that is being made is not listed yet
        group_snapshot_id=image.group or "",
        accessible_topology=[topology.present()],
    )


def group(result: Group, topology: NodeTopology) -> csi.VolumeGroupSnapshot:
    """Convert a group snapshot to its CSI message, in which the members are sorted by id."""
    members = sorted(result.snapshots, key=lambda snapshot: snapshot.id)
    return csi.VolumeGroupSnapshot(
        group_snapshot_id=result.id,
        snapshots=[snapshot(member, topology) for member in members],
        creation_time=moment(result.created),
        ready_to_use=True,
    )


def validation(
    request: csi.ValidateVolumeCapabilitiesRequest, reason: str | None
) -> csi.ValidateVolumeCapabilitiesResponse:
    """Return a ValidateVolumeCapabilities response: without a `reason` it confirms the capabilities
    in the request; with one it confirms nothing, and its message is the reason.
    """
    if reason:
        return csi.ValidateVolumeCapabilitiesResponse(message=reason)
    return csi.ValidateVolumeCapabilitiesResponse(
        confirmed=csi.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_context=request.volume_context,
            volume_capabilities=request.volume_capabilities,
            parameters=request.parameters,
            mutable_parameters=request.mutable_parameters,
        )
    )


def nodes(image: Volume | Unreadable) -> list[str]:
    """Return a list with the node to which the volume is published; the list is empty if the volume
    is not published.
    """
    published = image.published if isinstance(image, Volume) else None
    return [published.node] if published else []


def health(volume_id: ImageId | str, faults: Iterable[Fault]) -> csi.VolumeHealth:
    """Return the health of a volume, with one entry for each pair of status and reason, as CSI
    requires.
    """
    entry = csi.VolumeHealth.VolumeHealthEntry
    entries = {
        (fault.severity, fault.kind): entry(
            status=_VOLUME_HEALTH[fault.severity], reason=fault.kind, message=fault.text
        )
        for fault in faults
    }
    return csi.VolumeHealth(volume_id=str(volume_id), health_statuses=entries.values())


def storage(faults: Iterable[Fault]) -> Iterable[StorageHealth]:
    """Return the health of pools, with one entry for each pair of status and reason.

    If several pools have the same fault, their texts are in one entry.
    """
    texts: dict[tuple[Severity, FaultKind], list[str]] = {}
    for fault in faults:
        texts.setdefault((fault.severity, fault.kind), []).append(fault.text)
    for (severity, kind), messages in texts.items():
        yield StorageHealth(
            status=csi.STORAGE_DEGRADED
            if severity is Severity.DEGRADED
            else csi.STORAGE_UNREACHABLE,
            reason=kind,
            message="; ".join(messages),
        )


def capacity(result: Capacity) -> csi.GetCapacityResponse:
    """Convert a capacity to its CSI message; `available_capacity` is the size of the largest volume
    that can be created.
    """
    return csi.GetCapacityResponse(
        available_capacity=result.largest,
        maximum_volume_size=Int64Value(value=result.largest),
        minimum_volume_size=Int64Value(value=result.smallest),
    )


def condition(faults: tuple[Fault, ...]) -> csi.VolumeCondition:
    """Return the VolumeCondition of a volume: abnormal, with the texts of `faults`, if there are
    faults.
    """
    if not faults:
        return _HEALTHY
    message = "; ".join(f"{fault.kind}: {fault.text}" for fault in faults)
    return csi.VolumeCondition(abnormal=True, message=message)


def usage(stats: VolumeStats) -> list[csi.VolumeUsage]:
    """Return the usage of the volume's filesystem, in bytes and inodes; of a block volume only its
    size.
    """
    if not (used := stats.usage):
        return [csi.VolumeUsage(total=stats.size, unit=csi.VolumeUsage.BYTES)]
    amounts = [_amount(csi.VolumeUsage.BYTES, used.total, used.used, used.available)]
    if used.inodes:
        inodes = (used.inodes, used.inodes_used, used.inodes_free)
        amounts.append(_amount(csi.VolumeUsage.INODES, *inodes))
    return amounts


def moment(seconds: float) -> Timestamp:
    """Convert seconds since the epoch to a Timestamp."""
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))


def _amount(
    unit: csi.VolumeUsage.Unit.ValueType, total: Bytes, used: Bytes, available: Bytes
) -> csi.VolumeUsage:
    return csi.VolumeUsage(unit=unit, total=total, used=used, available=available)


def _source(image: ImageId) -> csi.VolumeContentSource:
    if isinstance(image, VolumeId):
        return csi.VolumeContentSource(
            volume=csi.VolumeContentSource.VolumeSource(volume_id=str(image))
        )
    return csi.VolumeContentSource(
        snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id=str(image))
    )


def alert_condition(each: Condition, node: str) -> inspect_pb2.Condition:
    """Convert the fact that the condition of an alert rule is true to its protobuf message. `node`:
    the node that the alert concerns; "": the router.
    """
    return inspect_pb2.Condition(
        node=node,
        alert=each.alert,
        severity=each.severity,
        text=each.text,
        volume_id=each.volume_id,
    )
