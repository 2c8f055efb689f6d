"""Claims: what changes something has it alone, what reads it shares it, what only looks needs none."""

from __future__ import annotations

from pathlib import Path

from driver.core.capacity import CapacityRange
from driver.core.ids import InlineHandle, SnapshotId, VolumeId
from driver.volumes import node_requests, requests, snapshot_requests
from driver.volumes.locks import Locks, WorkerGroup
from driver.volumes.snapshot_requests import Member
from tests.unit.volumes.world import BLOCK, MOUNT

VOLUME = VolumeId("a" * 12, "1" * 32)
OTHER = VolumeId("b" * 12, "2" * 32)
SNAPSHOT = SnapshotId("a" * 12, "3" * 32)
GROUP = "4" * 32
STAGING, TARGET = Path("/staging"), Path("/target")
ONLY = Locks(frozenset({VOLUME.key}))


def test_a_volume_that_is_changed_is_had_alone() -> None:
    size = CapacityRange()
    for intent in (
        requests.DeleteVolume(VOLUME),
        requests.Publish(volume_id=VOLUME, node="n", read_only=False, capability=MOUNT),
        requests.Unpublish(VOLUME, None),
        requests.Expand(VOLUME, size),
        requests.Modify(VOLUME, {}),
        node_requests.NodeExpand(VOLUME, TARGET, size),
    ):
        assert intent.locks == ONLY


def test_a_path_is_had_alone_with_its_volume() -> None:
    for path, intent in (
        (STAGING, node_requests.Stage(volume_id=VOLUME, staging=STAGING, capability=BLOCK)),
        (STAGING, node_requests.Unstage(VOLUME, STAGING)),
        (
            TARGET,
            node_requests.NodePublish(
                volume_id=VOLUME,
                staging=STAGING,
                target=TARGET,
                read_only=False,
                capability=MOUNT,
            ),
        ),
        (TARGET, node_requests.NodeUnpublish(VOLUME, TARGET)),
    ):
        assert intent.locks == Locks(frozenset({VOLUME.key, f"path:{path}"}))


def test_a_source_is_shared() -> None:
    wanted = requests.CreateVolume(name="v", key=OTHER.key, range=CapacityRange(), fs=None)
    assert wanted.locks == Locks(frozenset({OTHER.key}))
    clone = requests.CreateVolume(
        name="v", key=OTHER.key, range=CapacityRange(), fs=None, source=VOLUME
    )
    assert clone.locks == Locks(frozenset({OTHER.key}), frozenset({VOLUME.key}))
    member = Member(SNAPSHOT.key, "s", VOLUME)
    assert snapshot_requests.CreateSnapshot(member).locks == Locks(
        frozenset({SNAPSHOT.key}), frozenset({VOLUME.key})
    )


def test_snapshots_that_are_compared_are_shared() -> None:
    other = SnapshotId(SNAPSHOT.pool, "7" * 32)
    one, both = (
        snapshot_requests.GetChangedBlocks(target=SNAPSHOT),
        snapshot_requests.GetChangedBlocks(target=SNAPSHOT, base=other),
    )
    assert one.locks == Locks(shared=frozenset({SNAPSHOT.key}))
    assert both.locks == Locks(shared=frozenset({SNAPSHOT.key, other.key}))


def test_a_group_has_its_members_alone_and_shares_their_sources() -> None:
    members = (Member("5" * 32, "g", VOLUME), Member("6" * 32, "g", OTHER))
    assert snapshot_requests.CreateGroupSnapshot(GROUP, "g", members).locks == Locks(
        frozenset({GROUP, "5" * 32, "6" * 32}), frozenset({VOLUME.key, OTHER.key})
    )
    assert snapshot_requests.GroupSnapshotRef(GROUP, (SNAPSHOT,)).locks == Locks(
        frozenset({GROUP, SNAPSHOT.key})
    )
    assert snapshot_requests.DeleteSnapshot(SNAPSHOT).locks == Locks(frozenset({SNAPSHOT.key}))


def test_who_only_looks_claims_nothing() -> None:
    for intent in (
        requests.GetVolume(VOLUME),
        snapshot_requests.GetSnapshot(SNAPSHOT),
        requests.ListVolumes(),
        snapshot_requests.ListSnapshots(),
        requests.GetCapacity(),
        node_requests.GetVolumeStats(VOLUME, TARGET),
        requests.ValidateCapabilities(volume_id=VOLUME, capabilities=(), context={}),
    ):
        assert intent.locks == Locks()


def test_what_a_pod_waits_for_has_workers_of_its_own() -> None:
    create = requests.CreateVolume(name="v", key=OTHER.key, range=CapacityRange(), fs=None)
    handle = InlineHandle("csi-" + "0" * 64)
    groups = {
        WorkerGroup.POD: (
            requests.Publish(volume_id=VOLUME, node="n", read_only=False, capability=MOUNT),
            requests.Unpublish(VOLUME, None),
            node_requests.Stage(volume_id=VOLUME, staging=STAGING, capability=BLOCK),
            node_requests.InlinePublish(create, TARGET, MOUNT),
            node_requests.InlineStats(handle, None),
            node_requests.NodeExpand(VOLUME, TARGET, CapacityRange()),
            node_requests.GetVolumeStats(VOLUME, TARGET),
        ),
        WorkerGroup.UNMOUNT: (
            node_requests.Unstage(VOLUME, STAGING),
            node_requests.NodeUnpublish(VOLUME, TARGET),
            node_requests.InlineUnpublish(handle, TARGET),
        ),
        WorkerGroup.PROVISION: (create, requests.DeleteVolume(VOLUME), requests.GetVolume(VOLUME)),
    }
    for workers, given in groups.items():
        assert {request.locks.workers for request in given} == {workers}
