"""What the requests about snapshots and groups lock."""

from __future__ import annotations

from driver.core.ids import SnapshotId, VolumeId
from driver.volumes import snapshot_requests
from driver.volumes.locks import Locks
from driver.volumes.snapshot_requests import Member

VOLUME = VolumeId("a" * 12, "1" * 32)
OTHER = VolumeId("b" * 12, "2" * 32)
SNAPSHOT = SnapshotId("a" * 12, "3" * 32)
GROUP = "4" * 32


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
