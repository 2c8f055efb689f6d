"""Nouns into responses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from csi_proto import csi_pb2 as csi
from driver.core.devices import Usage
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import AccessMode, Allocation, FsType, Publication, Snapshot, Volume
from driver.core.results import Group, VolumeStats
from driver.csi import present
from driver.csi.topology import NodeTopology

NODE_TOPOLOGY: Final = NodeTopology("cellar.csi.internal/node", "a")
TOPOLOGY: Final = csi.Topology(segments={"cellar.csi.internal/node": "a"})
VOLUME: Final = Volume(
    id=VolumeId("0123456789ab", "0" * 32),
    name="data",
    size=4096,
    fs=FsType.EXT4,
    allocation=Allocation.THICK,
    block_size=4096,
    incarnation="x",
)
SNAPSHOT: Final = Snapshot(
    id=SnapshotId("0123456789ab", "1" * 32),
    name="s",
    size=4096,
    source=VOLUME.id,
    created=12.5,
    fs=FsType.EXT4,
    allocation=Allocation.THICK,
    block_size=4096,
    incarnation="y",
)
OLD, LOST = (
    Fault(FaultKind.VOLUME_UNHEALTHY, "it is old"),
    Fault(FaultKind.BACKING_FILE_GONE, "it is lost", Severity.DATA_LOSS),
)


def test_a_volume_says_where_it_is_and_what_it_was_made_of() -> None:
    assert present.volume(VOLUME, NODE_TOPOLOGY) == csi.Volume(
        capacity_bytes=4096, volume_id=str(VOLUME.id), accessible_topology=[TOPOLOGY]
    )
    for source, field in ((VOLUME.id, "volume"), (SNAPSHOT.id, "snapshot")):
        copy = present.volume(replace(VOLUME, source=source), NODE_TOPOLOGY)
        assert copy.content_source.WhichOneof("type") == field
        assert str(source) in str(copy.content_source)


def test_a_snapshot_is_ready_when_it_is_there() -> None:
    presented = present.snapshot(SNAPSHOT, NODE_TOPOLOGY)
    assert presented.ready_to_use
    assert (presented.creation_time.seconds, presented.creation_time.nanos) == (12, 500_000_000)
    assert presented.source_volume_id == str(VOLUME.id)
    assert list(presented.accessible_topology) == [TOPOLOGY]
    assert not presented.group_snapshot_id


def test_a_group_holds_its_members() -> None:
    member = replace(SNAPSHOT, group="g" * 32)
    presented = present.group(Group("g" * 32, "name", 12.5, (member,)), NODE_TOPOLOGY)
    assert presented.group_snapshot_id == presented.snapshots[0].group_snapshot_id == "g" * 32
    assert presented.ready_to_use
    assert presented.creation_time == presented.snapshots[0].creation_time


def test_nodes_are_those_that_it_is_published_to() -> None:
    assert present.nodes(VOLUME) == []
    published = Publication("a", read_only=False, mode=AccessMode.SINGLE_NODE_WRITER)
    assert present.nodes(replace(VOLUME, published=published)) == ["a"]


def test_faults_are_told_in_both_languages() -> None:
    presented = present.health(VOLUME.id, (OLD, LOST, OLD))
    assert [(entry.status, entry.reason) for entry in presented.health_statuses] == [
        (csi.DEGRADED, "VolumeUnhealthy"),
        (csi.DATA_LOSS, "BackingFileGone"),
    ]
    assert present.condition((OLD, LOST)) == csi.VolumeCondition(
        abnormal=True, message="VolumeUnhealthy: it is old; BackingFileGone: it is lost"
    )
    assert present.condition(()) == csi.VolumeCondition(message="healthy")
    assert not present.health(VOLUME.id, ()).health_statuses


def test_one_entry_for_each_kind_of_fault_of_storage() -> None:
    unavailable = Fault(FaultKind.POOL_AWAY, "pool b is away", Severity.INACCESSIBLE)
    presented = list(present.storage((OLD, replace(OLD, text="so is that"), unavailable)))
    assert [(entry.status, entry.reason, entry.message) for entry in presented] == [
        (csi.STORAGE_DEGRADED, "VolumeUnhealthy", "it is old; so is that"),
        (csi.STORAGE_UNREACHABLE, "PoolAway", "pool b is away"),
    ]


def test_usage_of_a_filesystem_and_of_a_block_device() -> None:
    used = Usage(total=10, used=4, available=5, inodes=100, inodes_used=1, inodes_free=99)
    size, inodes = present.usage(VolumeStats(used, 16, ()))
    assert (size.unit, size.total, size.used, size.available) == (csi.VolumeUsage.BYTES, 10, 4, 5)
    assert (inodes.unit, inodes.total, inodes.available) == (csi.VolumeUsage.INODES, 100, 99)
    [uncounted] = present.usage(VolumeStats(replace(used, inodes=0), 16, ()))
    assert uncounted == size
    [block] = present.usage(VolumeStats(None, 16, ()))
    assert (block.unit, block.total, block.used) == (csi.VolumeUsage.BYTES, 16, 0)


def test_a_confirmation_repeats_what_was_asked() -> None:
    request = csi.ValidateVolumeCapabilitiesRequest(
        volume_capabilities=[csi.VolumeCapability()],
        volume_context={"a": "b"},
        parameters={"c": "d"},
        mutable_parameters={"e": "f"},
    )
    confirmed = present.validation(request, "").confirmed
    assert confirmed.volume_capabilities == request.volume_capabilities
    assert dict(confirmed.parameters) == {"c": "d"}
    refused = present.validation(request, "it is not")
    assert not refused.HasField("confirmed")
    assert refused.message == "it is not"
