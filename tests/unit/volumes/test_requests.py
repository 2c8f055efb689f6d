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
STAGING = Path("/staging")
TARGET = Path("/target")
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
